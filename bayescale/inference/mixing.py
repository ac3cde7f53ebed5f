"""R-hat and effective sample sizes of many variables at once (Vehtari et al. 2021).

``arviz_stats`` computes the same numbers one scalar at a time, and a log of a thousand families has
six thousand. Measured on 4,000 draws of 1,000 scalars, in 2 alternating pairs: 0.43 times the CPU
time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

TAIL = (0.11, 0.89)
"""The quantiles at which the tails are measured: the default of ``arviz_stats``."""

AT_ONCE = 100_000
"""Draws that are measured at once."""

_CONSTANT = 1e-15


class Mixing(NamedTuple):
    """How well chains mix: an array of each, with an element for each scalar."""

    rhat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray


def mixing(draws: np.ndarray) -> Mixing:
    """Measure how well chains mix; NaN if draws are not finite, or too few.

    Parameters
    ----------
    draws : numpy.ndarray, shape (chain, draw, ...)
        R-hat needs two chains, and all need four draws.
    """
    return Mixing(*_of_scalars(_all_three, 3, draws))


def ess_of_mean(draws: np.ndarray) -> np.ndarray:
    """Return the effective sample size of each scalar's mean; parameters as for :func:`mixing`."""
    return _of_scalars(lambda some: _effective(_split(some))[None], 1, draws)[0]


def _of_scalars(
    measure: Callable[[np.ndarray], np.ndarray], n_measures: int, draws: np.ndarray
) -> np.ndarray:
    """Measure scalars in parts that fit the cache; NaN if draws are not finite, or too few."""
    n_chains, n_draws = draws.shape[:2]
    flat = draws.reshape(n_chains, n_draws, -1)
    found = np.full((n_measures, flat.shape[2]), np.nan)
    if n_draws < 4:
        return found
    at_once = max(1, AT_ONCE // (n_chains * n_draws))
    for start in range(0, flat.shape[2], at_once):
        part = slice(start, start + at_once)
        some = np.array(flat[:, :, part].transpose(2, 0, 1), dtype=float, order="C")
        valid = np.isfinite(some).all((1, 2))
        if valid.any():
            found[:, part][:, valid] = measure(some[valid])
    return found


def _all_three(draws: np.ndarray) -> np.ndarray:
    """Return R-hat and effective sample sizes, (3, scalar), of draws (scalar, chain, draw)."""
    split = _split(draws)
    bulk = _normal_scores(split)
    folded = np.abs(split - np.median(split, axis=(1, 2), keepdims=True))
    rhat = np.maximum(_rhat(bulk), _rhat(_normal_scores(folded)))
    if draws.shape[1] < 2:
        rhat = np.full(len(draws), np.nan)
    ends = np.quantile(draws, TAIL, axis=(1, 2))[:, :, None, None]
    tails = [_effective(_split((draws <= end).astype(float))) for end in ends]
    return np.array([rhat, _effective(bulk), np.minimum(*tails)])


def _split(draws: np.ndarray) -> np.ndarray:
    half = draws.shape[2] // 2
    return np.concatenate([draws[:, :, :half], draws[:, :, -half:]], axis=1)


def _normal_scores(draws: np.ndarray) -> np.ndarray:
    """Replace each draw by the normal quantile of its rank among all chains."""
    from scipy import special, stats

    flat = draws.reshape(len(draws), -1)
    rank = stats.rankdata(flat, axis=1)
    return special.ndtri((rank - 3 / 8) / (flat.shape[1] + 1 / 4)).reshape(draws.shape)


def _rhat(draws: np.ndarray) -> np.ndarray:
    n = draws.shape[2]
    between = n * draws.mean(2).var(1, ddof=1)
    with np.errstate(all="ignore"):  # constant draws have no variance
        return np.sqrt((between / draws.var(2, ddof=1).mean(1) + n - 1) / n)


def _effective(draws: np.ndarray) -> np.ndarray:
    """Return effective sample sizes by Geyer's initial monotone sequence."""
    n_chains, n_draws = draws.shape[1:]
    total = n_chains * n_draws
    covariance = _mean_covariance(draws)
    within = covariance[:, 0] * n_draws / (n_draws - 1)
    whole = covariance[:, 0] + (draws.mean(2).var(1, ddof=1) if n_chains > 1 else 0.0)
    with np.errstate(all="ignore"):
        correlation = 1 - (within[:, None] - covariance) / whole[:, None]
    correlation[:, 0] = 1.0
    n_pairs = max(1, (n_draws - 1) // 2)
    pairs = correlation[:, : 2 * n_pairs].reshape(len(draws), n_pairs, 2)
    sums = pairs.sum(2)
    ends = ~(sums > 0)
    ends[:, -1] = True
    first = np.argmax(ends, axis=1)  # the first pair that is not added
    kept = np.arange(n_pairs) < first[:, None]
    time = 2 * np.where(kept, np.minimum.accumulate(sums, axis=1), 0.0).sum(1) - 1
    at = np.arange(len(draws)), first
    half = pairs[..., 0][at]
    time += np.where((half > 0) | (sums[at] >= 0), half, 0.0)
    found = total / np.maximum(time, 1 / np.log10(total))
    return np.where(np.ptp(draws, axis=(1, 2)) < _CONSTANT, total, found)


def _mean_covariance(draws: np.ndarray) -> np.ndarray:
    """Return the autocovariance at each lag, averaged over chains, shape (scalar, draw)."""
    from scipy import fft

    n = draws.shape[2]
    length = fft.next_fast_len(2 * n, real=True)
    waves: Any = fft.rfft(draws - draws.mean(2, keepdims=True), length, axis=2)
    covariance: Any = fft.irfft((np.abs(waves) ** 2).mean(1), length, axis=1)
    return covariance[:, :n] / n
