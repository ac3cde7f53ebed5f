"""Scores of forecasts against what was reached, on plain arrays.

Draws go along the first axis, what is forecast along the others: ``draws`` has shape
(draw, ...) and ``observed`` shape (...). Each score is returned for each forecast, unless
it exists only for many. All work on any scale that both are given on; this package scores
log loss, so that a score of 0.01 is about 1 % of the loss.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MSCE_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def crps(draws: Any, observed: Any) -> np.ndarray:
    """Continuous ranked probability score, in the units of the draws; smaller is better.

    The fair form, E|x - y| - E|x - x'| / 2 over pairs of different draws: unbiased for any
    number of them. Takes O(n log n). It needs a forecast with a finite mean, which a loss with
    Student-t scatter of its logarithm has not: score the logarithm. Infinite draws score so.

    Parameters
    ----------
    draws : array_like, shape (draw, ...)
        At least two.
    observed : array_like, shape (...)

    References
    ----------
    Gneiting and Raftery 2007, eq. 21; Ferro 2014 for the fair form.

    Examples
    --------
    Half the distance between two draws is taken off the mean distance to each.

    >>> float(crps([0.0, 2.0], 3.0))
    1.0
    """
    x = np.sort(np.asarray(draws, dtype=float), axis=0)
    n = len(x)
    if n < 2:
        raise ValueError(f"the fair score needs at least two draws, and there is {n}")
    weights = (2 * np.arange(n) - n + 1).reshape(n, *[1] * (x.ndim - 1))
    # sum over pairs of |x_i - x_j| of sorted draws, each pair once
    with np.errstate(invalid="ignore"):
        between = (weights * x).sum(axis=0)
        score = np.abs(x - np.asarray(observed)).mean(axis=0) - between / (n * (n - 1))
    return np.where(np.isfinite(x).all(axis=0), score, np.inf)


def limited(draws: Any, mass: float = 0.99) -> np.ndarray:
    """Draws with those outside the central interval moved to its ends.

    Scatter with hardly more than one degree of freedom has a mean that a single draw decides.
    """
    x = np.asarray(draws, dtype=float)
    ends = np.quantile(x, [(1 - mass) / 2, (1 + mass) / 2], axis=0, method="nearest")
    return np.clip(x, *ends)


def rmsle(median: Any, observed: Any) -> float:
    """Root mean square error of log medians, over all forecasts; inputs are positive.

    Examples
    --------
    >>> round(rmsle([2.0, 2.0], [2.0 * np.exp(0.03), 2.0 * np.exp(-0.04)]), 5)
    0.03536
    """
    return float(np.sqrt(np.mean(np.square(np.log(median) - np.log(observed)))))


def central_interval(draws: Any, mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the central interval that holds ``mass`` of the draws, shape (...) each."""
    lower, upper = np.quantile(
        np.asarray(draws, dtype=float), [(1 - mass) / 2, (1 + mass) / 2], axis=0
    )
    return lower, upper


def half_width(draws: Any, mass: float) -> np.ndarray:
    """Half the width of the central interval, shape (...)."""
    lower, upper = central_interval(draws, mass)
    return (upper - lower) / 2


def covered(draws: Any, observed: Any, mass: float) -> np.ndarray:
    """Whether the central interval holds what was reached, its ends included, shape (...)."""
    lower, upper = central_interval(draws, mass)
    return (lower <= observed) & (observed <= upper)


def pit(draws: Any, observed: Any) -> np.ndarray:
    """The share of draws at or below what was reached, shape (...): uniform if calibrated."""
    return (np.asarray(draws, dtype=float) <= np.asarray(observed)).mean(axis=0)


def msce(shares: Any) -> float:
    """Mean squared error of coverage over the levels .5, .6, .7, .8, .9, .95 and .99.

    Parameters
    ----------
    shares : array_like, shape (forecast,)
        Of each forecast's draws at or below what was reached: see :func:`pit`.

    Examples
    --------
    Forecasts that hit their median every time cover everything at every level.

    >>> round(msce([0.5, 0.5]), 4)
    0.0789
    """
    off_center = np.abs(2 * np.asarray(shares, dtype=float) - 1)
    return float(np.mean([(np.mean(off_center <= level) - level) ** 2 for level in MSCE_LEVELS]))


def log_predictive(log_densities: Any) -> np.ndarray:
    """Log of the mean over draws of the density of what was reached, shape (...).

    Parameters
    ----------
    log_densities : array_like, shape (draw, ...)
    """
    density = np.asarray(log_densities, dtype=float)
    return log_mixture(density, np.full(len(density), 1 / len(density)))


def log_mixture(log_densities: Any, weights: Any) -> np.ndarray:
    """Log density of a weighted mixture, shape (...).

    Parameters
    ----------
    log_densities : array_like, shape (part, ...)
    weights : array_like, shape (part,)
        Zero or more, with sum one.

    Examples
    --------
    >>> round(float(np.exp(log_mixture(np.log([0.2, 0.6]), [0.25, 0.75]))), 12)
    0.5
    """
    density = np.asarray(log_densities, dtype=float)
    weight = np.asarray(weights, dtype=float).reshape(-1, *[1] * (density.ndim - 1))
    top = density.max(axis=0)
    base = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):  # a density of zero has the logarithm it should
        return base + np.log((weight * np.exp(density - base)).sum(axis=0))


def mixed(draws: Mapping[str, np.ndarray] | Sequence[np.ndarray], weights: Any) -> np.ndarray:
    """Draws of a mixture: each part gives evenly spaced ones in proportion to its weight.

    Parameters
    ----------
    draws : sequence of array_like, shape (draw, ...)
        One a part; their numbers of draws may differ.
    weights : array_like, shape (part,)
        Zero or more, with sum one.
    """
    parts = list(draws.values() if isinstance(draws, Mapping) else draws)
    # as many draws in all as keep the most heavily weighted part's nearly whole
    total = min(len(part) / w for part, w in zip(parts, weights, strict=True) if w > 0)
    return np.concatenate(
        [thinned(part, round(total * w)) for part, w in zip(parts, weights, strict=True)]
    )


def thinned(draws: np.ndarray, most: int) -> np.ndarray:
    """Evenly spaced draws, at most so many."""
    n = len(draws)
    return draws if n <= most else draws[np.linspace(0, n - 1, most).round().astype(int)]
