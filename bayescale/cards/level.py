"""A check that losses are not so far from a card's priors that these would decide the answer."""

import numpy as np

from bayescale.cards.card import ModelCard
from bayescale.errors import RunLogError, argument
from bayescale.laws.optimum import all_unique
from bayescale.runs import Runs

MOST_DEVIATIONS = 9.0
"""Up to this many prior standard deviations of log loss, the runs can outweigh the prior.

Losses that are a fortieth of what the card ``chinchilla`` expects at the center of the runs are 8.5
standard deviations away and are fitted well. At a hundredth they are 10.7 away, and a posterior
with large noise is more probable.
"""

LEAST_FACTOR = 10.0
"""Losses within this factor of the expected ones are accepted, however narrow the priors are."""

_DRAWS = 2000


def require_level(runs: Runs, card: ModelCard) -> None:
    """Refuse runs whose losses the card's priors all but exclude.

    Raises
    ------
    RunLogError
        If the mean log loss lies more than :data:`MOST_DEVIATIONS`, and a factor of
        :data:`LEAST_FACTOR`, from what the prior of the coefficients gives at the runs' geometric
        means.
    """
    prior = card.anchored(runs).draw_prior(_DRAWS, seed=0)
    center = {name: float(np.exp(np.log(runs[name]).mean())) for name in card.law.inputs}
    values = {name: prior[name] for name in card.law.coefficients}
    expected = np.log(card.law.loss(**all_unique(card.law.inputs, center), **values))
    expected = expected[np.isfinite(expected)]
    found = float(np.log(runs["loss"]).mean())
    distance = abs(found - expected.mean())
    away = distance / expected.std()
    if not (away > MOST_DEVIATIONS and distance > np.log(LEAST_FACTOR)):
        return
    low, high = np.exp(np.quantile(expected, [0.05, 0.95]))
    raise RunLogError(
        f"card {card.name!r} cannot be used with {runs.source}: its losses, {np.exp(found):.3g} on "
        f"average, are {away:.0f} standard deviations from those that the priors expect of such "
        f"runs ({low:.3g} to {high:.3g} {card.law.unit}), so that the priors would decide and not "
        f"the runs. State the unit of the losses, such as {argument('units', loss='bits')}, or "
        "give a card whose priors are about such losses (`card=`)"
    )
