"""A prior for the next log, learned from earlier fits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescale.cards import ModelCard, load_card
from bayescale.cards.learned import Seen, learned_card
from bayescale.errors import PosteriorError
from bayescale.posterior.fit import Fit
from bayescale.posterior.posterior import Posterior


def prior_from(
    fits: Sequence[Fit], card: ModelCard | None = None, *, allow_unconverged: bool = False
) -> ModelCard:
    """Make a card whose priors are learned from earlier fits, for a log of few runs.

    Parameters
    ----------
    fits : sequence of Posterior or ModelAverage
        Fits of one law to different logs; of a model average, the card's law is used.
    card : ModelCard, optional
        The card whose priors are updated; by default the card of the first fit's law.
    allow_unconverged : bool
        Use draws that failed the convergence checks.

    Returns
    -------
    ModelCard
        A card whose priors are centered on the coefficients of the fits. The more the fits differ,
        the wider the priors are.

    Raises
    ------
    PosteriorError
        If a fit has no draws of the law, two fits are of the same log, or the card has learned from
        one of the logs before.
    """
    if not fits:
        raise PosteriorError("no fit is given: give at least one")
    base = card or load_card(fits[0].members[0].law.name)
    posteriors = [_of_law(fit, base) for fit in fits]
    for each in posteriors:
        each.require_converged(allow_unconverged)
    sources = [each.runs.source for each in posteriors if each.runs is not None]
    digests = [
        each.runs.digest if each.runs is not None else name
        for each, name in zip(posteriors, sources, strict=True)
    ]
    if len(set(digests)) < len(digests):
        raise PosteriorError(
            "two of the fits are of the same log, which would count twice: leave one of them out"
        )
    _require_new(base, posteriors, digests, sources)
    learned = [
        name
        for name, described in base.coefficients.items()
        if described.prior.log_normal is not None and not described.prior.relative
    ]
    seen = {}
    for name in learned:
        logs = [_log_stated(each, base, name) for each in posteriors]
        seen[name] = Seen(np.array([x.mean() for x in logs]), np.array([x.std() for x in logs]))
    return learned_card(base, seen, sources, digests)


def _require_new(
    base: ModelCard,
    posteriors: Sequence[Posterior],
    digests: Sequence[str],
    sources: Sequence[str],
) -> None:
    """Refuse logs that the card, or the card of one of the fits, has learned from before."""
    cards = (base, *(each.card for each in posteriors))
    known = {digest: card.name for card in cards for digest in card.learned_from}
    twice = [
        f"{source}, in card {known[digest]}"
        for digest, source in zip(digests, sources, strict=True)
        if digest in known
    ]
    if twice:
        raise PosteriorError(
            f"logs that were learned from before would count twice ({'; '.join(twice)}): leave "
            "their fits out, or start from a card, and from fits, that have not learned from them"
        )


def _of_law(fit: Fit, card: ModelCard) -> Posterior:
    for member in fit.members:
        if member.law.name == card.law.name and member.runs is not None:
            return member
    laws = ", ".join(member.law.name for member in fit.members)
    raise PosteriorError(
        f"one of the fits is of {laws}, and the card is for {card.law.name}: fit that law"
    )


def _log_stated(posterior: Posterior, card: ModelCard, name: str) -> np.ndarray:
    """Return draws of the log of a coefficient as the card states it: itself, or its term."""
    draws, described = posterior.drifting.draws, card.coefficients[name]
    value: Any = np.log(draws[name].values)
    if not described.prior.stated_at:
        return value.ravel() - np.log(described.unit_factor)
    term = card.law.terms[name]
    known = {n: draws[n].values for n in card.law.coefficients}
    return term.log_value(value, known, described.prior.log_at(term)).ravel()
