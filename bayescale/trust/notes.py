"""What a fit warns of, in one list."""

from bayescale.posterior import Fit
from bayescale.runs import Note
from bayescale.trust.identifiability import posterior_notes
from bayescale.trust.resampling import resampling_notes


def fit_notes(fit: Fit) -> tuple[Note, ...]:
    """What the log, its design and the posterior warn of.

    Returns
    -------
    tuple of Note
        Those of the log as it was read, of :func:`posterior_notes` and, where the fit holds the
        draws for them, of :func:`resampling_notes`.
    """
    before = () if fit.runs is None else fit.runs.warnings
    known = all("log_likelihood" in member.tree.children for member in fit.members)
    return (*before, *posterior_notes(fit), *(resampling_notes(fit) if known else ()))
