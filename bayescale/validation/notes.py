"""All warnings of a fit."""

from bayescale.findings import Finding
from bayescale.posterior import Fit, recorded_conflicts
from bayescale.posterior.resampling import resampling_notes
from bayescale.validation.design import layout_checks
from bayescale.validation.identifiability import posterior_notes
from bayescale.validation.other_factors import other_factor_notes, other_factors_of
from bayescale.validation.run_quality import imperfect_notes
from bayescale.validation.sensitivity import counting_notes


def fit_notes(fit: Fit) -> tuple[Finding, ...]:
    """Return the warnings of the log, its design and the posterior.

    Returns
    -------
    tuple of Finding
        Warnings from reading the log, and those of :func:`counting_notes`,
        :func:`other_factors_of`, :func:`imperfect_notes`, :func:`posterior_notes`,
        :func:`resampling_notes` and :func:`recorded_conflicts`.
    """
    before = () if fit.runs is None else fit.runs.warnings
    of_runs = (*other_factor_notes(other_factors_of(fit)), *imperfect_notes(fit))
    shown = (
        *before,
        *_counting_notes(fit),
        *of_runs,
        *posterior_notes(fit),
        *resampling_notes(fit),
    )
    return (*shown, *recorded_conflicts(fit))


def _counting_notes(fit: Fit) -> tuple[Finding, ...]:
    runs = fit.runs
    if runs is None:
        return ()
    laws = [member.law for member in fit.members if "params" in member.law.inputs]
    return counting_notes(runs, laws[0], layout_checks(runs, laws[0])) if laws else ()
