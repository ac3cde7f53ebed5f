"""Scores of forecasts against observations, on plain arrays.

``draws`` has shape (draw, ...) and ``observed`` shape (...). Scores are by forecast, unless they
exist only for many. They work on any scale; this package scores log loss, so that a score of 0.01
is about 1 % of the loss.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

MSCE_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def crps(draws: Any, observed: Any) -> np.ndarray:
    """Compute the continuous ranked probability score, in units of the draws; smaller is better.

    The fair form, E|x - y| - E|x - x'| / 2 over pairs of different draws: unbiased for any
    number of them, in O(n log n). It needs a forecast with a finite mean, which a loss with
    Student-t noise on its logarithm does not have: score the logarithm. Infinite draws give an
    infinite score.

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
    """Move draws outside the central interval to its ends.

    Noise with hardly more than one degree of freedom has a mean that a single draw determines.
    """
    x = np.asarray(draws, dtype=float)
    ends = np.quantile(x, [(1 - mass) / 2, (1 + mass) / 2], axis=0, method="nearest")
    return np.clip(x, *ends)


def rmsle(median: Any, observed: Any) -> float:
    """Compute the root mean square error of log medians over all forecasts; inputs are positive.

    Examples
    --------
    >>> round(rmsle([2.0, 2.0], [2.0 * np.exp(0.03), 2.0 * np.exp(-0.04)]), 5)
    0.03536
    """
    return float(np.sqrt(np.mean(np.square(np.log(median) - np.log(observed)))))


def central_interval(draws: Any, mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the central interval with ``mass`` of the draws, shape (...) each."""
    lower, upper = np.quantile(
        np.asarray(draws, dtype=float), [(1 - mass) / 2, (1 + mass) / 2], axis=0
    )
    return lower, upper


def half_width(draws: Any, mass: float) -> np.ndarray:
    """Return half the width of the central interval, shape (...)."""
    lower, upper = central_interval(draws, mass)
    return (upper - lower) / 2


def covered(draws: Any, observed: Any, mass: float) -> np.ndarray:
    """Return whether the closed central interval holds the observation, shape (...)."""
    lower, upper = central_interval(draws, mass)
    return (lower <= observed) & (observed <= upper)


def pit(draws: Any, observed: Any) -> np.ndarray:
    """Return the share of draws at or below the observation, shape (...): uniform if calibrated."""
    return (np.asarray(draws, dtype=float) <= np.asarray(observed)).mean(axis=0)


def msce(shares: Any) -> float:
    """Compute the mean squared error of coverage at levels 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99.

    Parameters
    ----------
    shares : array_like, shape (forecast,)
        Share of each forecast's draws at or below the observation: see :func:`pit`.

    Examples
    --------
    Forecasts that hit their median every time cover everything at every level.

    >>> round(msce([0.5, 0.5]), 4)
    0.0789
    """
    off_center = np.abs(2 * np.asarray(shares, dtype=float) - 1)
    return float(np.mean([(np.mean(off_center <= level) - level) ** 2 for level in MSCE_LEVELS]))


def log_predictive(log_densities: Any) -> np.ndarray:
    """Compute the log of the mean density of the observation over draws, shape (...).

    Parameters
    ----------
    log_densities : array_like, shape (draw, ...)
    """
    density = np.asarray(log_densities, dtype=float)
    return log_mixture(density, np.full(len(density), 1 / len(density)))


def log_mixture(log_densities: Any, weights: Any) -> np.ndarray:
    """Compute the log density of a weighted mixture, shape (...).

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


def mixed(draws: Sequence[np.ndarray], weights: Any) -> np.ndarray:
    """Draw from a mixture: evenly spaced draws of each part, in proportion to its weight.

    Parameters
    ----------
    draws : sequence of array_like, shape (draw, ...)
        One array per part; their numbers of draws may differ.
    weights : array_like, shape (part,)
        Zero or more, with sum one.
    """
    parts = list(zip(draws, weights, strict=True))
    # as many draws in all as nearly use up the part with the largest weight
    total = min(len(part) / w for part, w in parts if w > 0)
    return np.concatenate([thinned(part, round(total * w)) for part, w in parts])


def thinned(draws: np.ndarray, most: int) -> np.ndarray:
    """Keep evenly spaced draws, at most so many."""
    n = len(draws)
    return draws if n <= most else draws[np.linspace(0, n - 1, most).round().astype(int)]
