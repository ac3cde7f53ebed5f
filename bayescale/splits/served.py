"""Uncertain tokens to be served: a log-normal distribution, stated by its 90 % interval."""

from statistics import NormalDist

import numpy as np

from bayescale.errors import DecisionError

_UPPER = NormalDist().inv_cdf(0.95)


def _center_and_sd(interval: tuple[float, float]) -> tuple[float, float]:
    """Return mean and standard deviation of the log of these tokens."""
    low, high = np.log(interval)
    return float(low + high) / 2, float(high - low) / (2 * _UPPER)


def mean_served(low: float, high: float) -> float:
    """Return the mean of the tokens to be served, a log-normal with this 90 % interval.

    Raises
    ------
    DecisionError
        If the ends do not form an interval above zero.

    Examples
    --------
    >>> print(f"{mean_served(1e12, 1e13):.3g}")
    4.04e+12
    """
    if not 0 < low < high < np.inf:
        raise DecisionError(
            f"inference_tokens is {low:g} to {high:g}, but must be one number, or a 90 % interval "
            "whose lower end is above zero and below the upper one"
        )
    center, sd = _center_and_sd((low, high))
    return float(np.exp(center + sd**2 / 2))


def spread_served(
    interval: tuple[float, float], rng: np.random.Generator, n_draws: int
) -> np.ndarray:
    """Return tokens to be served for each draw, shape (draw,), independent of the draws.

    They are the quantiles of the log-normal at the middles of as many equal shares of probability,
    in random order, because a sample would add its own error to every answer.

    Examples
    --------
    >>> spread_served((1e12, 1e13), np.random.default_rng(1), 3).round(-10)
    array([1.61e+12, 3.16e+12, 6.22e+12])
    """
    center, sd = _center_and_sd(interval)
    normal = NormalDist(center, sd)
    shares = (np.arange(n_draws) + 0.5) / n_draws
    return np.exp([normal.inv_cdf(share) for share in rng.permutation(shares)])
