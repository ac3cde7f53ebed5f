"""Priors learned from earlier fits, as a card.

For each coefficient (or its term, where the card states it at a scale) the earlier logs are a
sample of a population: the posterior of log k has mean m_k and standard deviation s_k, and

    m_k ~ Normal(mu, tau^2 + s_k^2),    mu ~ Normal(m_0, w_0^2),

with m_0 and w_0 from the card. A few logs do not determine the spread tau between logs. Its prior
is log-normal about a share of w_0, because logs of one team are more alike than those of all teams.
The prior of the next log is the mixture of its predictive distributions over tau. It is stated as a
log-normal whose 90 % interval holds 90 % of the mixture and whose tails are no thinner than the
mixture's at 99 %.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayescale.cards.card import ModelCard
from bayescale.cards.load import parse_card
from bayescale.errors import CardError

SHARE_OF_WIDTH, FACTOR = 0.6, 2.0
"""Median of the spread between logs as a share of the card's width, and the factor either way."""

FEWEST_UNLIKE = 3
"""The fewest logs that can show that logs differ by more than the card says. With fewer logs, a
learned prior is no wider than the card's."""

_GRID = np.exp(np.linspace(-2.5, 2.5, 41))
_Q95, _Q995 = 1.6448536269514722, 2.5758293035489004


@dataclass(frozen=True)
class Seen:
    """What earlier fits say about a coefficient: mean and standard deviation of its log in each."""

    means: np.ndarray
    deviations: np.ndarray


def predictive(seen: Seen, mean: float, width: float) -> tuple[float, float]:
    """Return mean and standard deviation of the log of a coefficient in the next log.

    Parameters
    ----------
    seen : Seen
    mean, width : float
        Mean and standard deviation of the log under the card's prior.

    Returns
    -------
    mean, sd : float
    """
    spread = SHARE_OF_WIDTH * width * _GRID
    log_weight = -0.5 * (np.log(_GRID) / np.log(FACTOR)) ** 2
    variance = spread[:, None] ** 2 + seen.deviations**2
    precision = 1 / width**2 + (1 / variance).sum(axis=1)
    centers = (mean / width**2 + (seen.means / variance).sum(axis=1)) / precision
    # the evidence of tau, with mu integrated out
    squares = (seen.means**2 / variance).sum(axis=1) + mean**2 / width**2
    squares -= precision * centers**2
    log_weight -= 0.5 * (np.log(variance).sum(axis=1) + np.log(precision) + squares)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    deviations = np.sqrt(spread**2 + 1 / precision)
    ends = [_quantile(p, centers, deviations, weight) for p in (0.005, 0.05, 0.95, 0.995)]
    sd = max((ends[2] - ends[1]) / (2 * _Q95), (ends[3] - ends[0]) / (2 * _Q995))
    if len(seen.means) < FEWEST_UNLIKE:
        sd = min(sd, width)
    return float((ends[1] + ends[2]) / 2), float(sd)


def _quantile(p: float, means: np.ndarray, sds: np.ndarray, weight: np.ndarray) -> float:
    """Return a quantile of a mixture of normals."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    low, high = float((means - 9 * sds).min()), float((means + 9 * sds).max())
    found: Any = brentq(lambda x: weight @ ndtr((x - means) / sds) - p, low, high)
    return float(found)


def learned_card(
    card: ModelCard, seen: Mapping[str, Seen], sources: Sequence[str], digests: Sequence[str] = ()
) -> ModelCard:
    """Return a card with learned priors on coefficients, and the reasons for them.

    Parameters
    ----------
    card : ModelCard
        The card before learning.
    seen : mapping of str to Seen
        Results of earlier fits by coefficient, in the unit in which the card states its prior.
    sources : sequence of str
        The logs that were learned from.
    digests : sequence of str
        Digests of these logs, which the card keeps together with those of earlier logs.

    Raises
    ------
    CardError
        If one of the card's priors cannot be learned.
    """
    text = re.sub(r"(?m)^learned_from = .*\n", "", card.text, count=1)
    known = json.dumps([*card.learned_from, *digests])
    head = f'name = "{card.name.removesuffix("_learned")}_learned"\nlearned_from = {known}'
    text = re.sub(r"(?m)^name = .*$", head, text, count=1)
    for name, each in seen.items():
        known = card.coefficients[name].prior.log_normal
        if known is None or card.coefficients[name].prior.relative:
            raise CardError(
                f"the prior of {name} is not stated by low and high, so it cannot be learned: "
                "state both in the card"
            )
        mean, sd = predictive(each, *known)
        low, high = np.exp(mean - _Q95 * sd), np.exp(mean + _Q95 * sd)
        medians = ", ".join(f"{x:.3g}" for x in np.exp(each.means))
        logs = ", ".join(sources)
        why = f"Learned from {logs} (medians {medians}); the more these differ, the wider."
        text = _with_prior(text, name, float(low), float(high), why)
    return parse_card(text, law=card.law, place="the learned card")


def _with_prior(text: str, name: str, low: float, high: float, why: str) -> str:
    section = re.compile(rf"(?ms)^\[coefficients\.{name}\]\n.*?(?=^\[|\Z)")
    found = section.search(text)
    if found is None:
        raise CardError(
            f"the card has no section [coefficients.{name}], so its prior cannot be replaced: "
            "write each coefficient in a section of its own"
        )
    old = found.group()
    new = re.sub(r"low = [^,}]*", f"low = {low:.4g}", old, count=1)
    new = re.sub(r"high = [^,}]*", f"high = {high:.4g} ", new, count=1)
    new = re.sub(r'(?ms)^why = (""".*?"""|".*?"$)', lambda _: f'why = "{why}"', new, count=1)
    return text.replace(old, new)
