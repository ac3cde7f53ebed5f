"""How suddenly a score rises along a path of scale, in each draw."""

import numpy as np

VISIBLE = 0.05
"""The share of a metric's range, or of its change, from which a rise counts as visible."""


def reached(size: np.ndarray, risen: np.ndarray, level: float) -> np.ndarray:
    """Return the size at which each draw first reaches a level (chain, draw), or infinity."""
    there = risen >= level
    first = there.argmax(axis=-1)
    before = (first - 1).clip(0)
    low, high = (np.take_along_axis(risen, i[..., None], -1)[..., 0] for i in (before, first))
    share = np.where(first > 0, (level - low) / np.where(high > low, high - low, 1.0), 0.0)
    log_size = np.log(size)
    at = np.exp(log_size[before] + share * (log_size[first] - log_size[before]))
    return np.where(there.any(axis=-1), at, np.inf)


def hidden_share(size: np.ndarray, risen: np.ndarray) -> np.ndarray:
    """Return the share of the path before each draw shows 5 % of its change, (chain, draw)."""
    change = risen[..., -1:] - risen[..., :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = reached(size, (risen - risen[..., :1]) / change, VISIBLE)
    return np.where(change[..., 0] > 0, np.log(at / size[0]) / np.log(size[-1] / size[0]), np.nan)


def steepest_share(size: np.ndarray, risen: np.ndarray) -> np.ndarray:
    """Return the share of each draw's change in its steepest tenfold of size, (chain, draw)."""
    log_size = np.log10(size)
    ends = log_size[log_size - log_size[0] >= 1 - 1e-9]
    if not len(ends):
        return np.full(risen.shape[:-1], np.nan)
    change = risen[..., -1] - risen[..., 0]
    best = np.full(change.shape, -np.inf)
    for end in ends:
        i, start = np.searchsorted(log_size, end), end - 1
        j = int(np.clip(np.searchsorted(log_size, start), 1, len(log_size) - 1))
        weight = (start - log_size[j - 1]) / (log_size[j] - log_size[j - 1])
        there = (1 - weight) * risen[..., j - 1] + weight * risen[..., j]
        best = np.maximum(best, risen[..., i] - there)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(change > 0, best / change, np.nan)
