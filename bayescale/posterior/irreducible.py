"""The irreducible loss of a fit, below which no training run gets if its laws hold."""

import xarray as xr

from bayescale.conventions import LossUnit
from bayescale.laws.terms import Constant
from bayescale.posterior.average import ModelAverage
from bayescale.posterior.posterior import Posterior
from bayescale.results import interval_text, quantiles

MOST_DRAWS = 0.5
"""The share of draws with an irreducible loss above a target from which this is said."""


def irreducible_loss(fit: Posterior | ModelAverage, drift: bool) -> xr.DataArray | None:
    """Return draws of the irreducible loss, dims (chain, draw), or None if a law has none."""
    each = []
    for member in fit.members:
        constants = [n for n, term in member.law.terms.items() if isinstance(term, Constant)]
        if len(constants) != 1:
            return None
        each.append(member.view(drift).draws[constants[0]])
    return fit.mix(each)


def target_below_irreducible(
    fit: Posterior | ModelAverage, target: float | None, drift: bool, unit: LossUnit, ci_prob: float
) -> str:
    """Return a sentence if a target is below the irreducible loss in most draws, else no text.

    Examples
    --------
    >>> from bayescale.cards import load_card
    >>> from bayescale.conventions import NATS
    >>> from bayescale.posterior import point
    >>> card = load_card("chinchilla")
    >>> fit = point(card, card.published_values("besiroglu_2024"))
    >>> target_below_irreducible(fit, 0.5, False, NATS, 0.9)[:46]
    'The target 0.5 is below the irreducible loss E'
    """
    floor = None if target is None else irreducible_loss(fit, drift)
    if floor is None:
        return ""
    share = float((unit.of(floor) > target).mean())
    if share <= MOST_DRAWS:
        return ""
    interval = interval_text(quantiles(unit.of(floor), ci_prob), lambda x: f"{x:.4f}", ci_prob)
    return (
        f"The target {target:g} is below the irreducible loss E in {share:.0%} of draws: E is "
        f"{interval} {unit.label}, which no scale of model or data gets below if the law holds. "
        "Ask for a higher target"
    )
