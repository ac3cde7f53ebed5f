"""Scores of forecasts against observations, on plain arrays.

``draws`` has shape (draw, ...) and ``observed`` shape (...). Scores are given for each forecast,
except those that are defined only for many forecasts. They work on any scale; this package scores
log loss, so that a score of 0.01 is about 1 % of the loss.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

MSCE_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def crps(draws: Any, observed: Any) -> np.ndarray:
    """Return the continuous ranked probability score, shape (...), in units of the draws.

    Smaller is better. This is the fair form, E|x - y| - E|x - x'| / 2 over pairs of different
    draws, which is unbiased for any number of draws; it takes O(n log n). The forecast must have a
    finite mean. A loss with Student-t noise on its logarithm has none: score the logarithm.
    Infinite draws give an infinite score.

    Parameters
    ----------
    draws : array_like, shape (draw, ...)
        At least two draws.
    observed : array_like, shape (...)

    References
    ----------
    Gneiting and Raftery 2007, eq. 21; Ferro 2014 for the fair form.

    Examples
    --------
    Half the distance between two draws is subtracted from the mean distance to them.

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
    """Return the draws with those outside the central interval moved to its ends.

    With few degrees of freedom, a single extreme draw would determine the mean.
    """
    x = np.asarray(draws, dtype=float)
    ends = np.quantile(x, [(1 - mass) / 2, (1 + mass) / 2], axis=0, method="nearest")
    return np.clip(x, *ends)


def rmsle(median: Any, observed: Any) -> float:
    """Return the root mean square error of log medians over all forecasts, for positive inputs.

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
    """Return the mean squared error of coverage at levels 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99.

    Parameters
    ----------
    shares : array_like, shape (forecast,)
        Share of each forecast's draws at or below the observation: see :func:`pit`.

    Examples
    --------
    Observations that always equal the median are covered at every level.

    >>> round(msce([0.5, 0.5]), 4)
    0.0789
    """
    off_center = np.abs(2 * np.asarray(shares, dtype=float) - 1)
    return float(np.mean([(np.mean(off_center <= level) - level) ** 2 for level in MSCE_LEVELS]))


def log_predictive(log_densities: Any) -> np.ndarray:
    """Return the log of the mean density of the observation over draws, shape (...).

    Parameters
    ----------
    log_densities : array_like, shape (draw, ...)
    """
    density = np.asarray(log_densities, dtype=float)
    return log_mixture(density, np.full(len(density), 1 / len(density)))


def log_mixture(log_densities: Any, weights: Any) -> np.ndarray:
    """Return the log density of a weighted mixture, shape (...).

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
    # the log of a density of zero is minus infinity, as it should be
    with np.errstate(divide="ignore"):
        return base + np.log((weight * np.exp(density - base)).sum(axis=0))


def mixed(draws: Sequence[np.ndarray], weights: Any) -> np.ndarray:
    """Return draws of a mixture: evenly spaced draws of each part, in proportion to its weight.

    Parameters
    ----------
    draws : sequence of array_like, shape (draw, ...)
        One array per part; their numbers of draws may differ.
    weights : array_like, shape (part,)
        Zero or more, with sum one.
    """
    parts = list(zip(draws, weights, strict=True))
    # the total with which nearly all draws of the part with the largest weight are used
    total = min(len(part) / w for part, w in parts if w > 0)
    return np.concatenate([thinned(part, round(total * w)) for part, w in parts])


def thinned(draws: np.ndarray, most: int) -> np.ndarray:
    """Return evenly spaced draws, at most ``most``."""
    n = len(draws)
    return draws if n <= most else draws[np.linspace(0, n - 1, most).round().astype(int)]
