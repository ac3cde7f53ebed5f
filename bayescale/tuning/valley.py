"""The equations of the valley, for NumPy arrays and PyTensor variables alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayescale.laws import UNIFIED

FRONTIER = ("level", "share_E", "share_B", "alpha", "beta", "kappa")
"""Coefficients of the frontier."""


def frontier(values: Mapping[str, Any], n: Any, d: Any) -> Any:
    """Return the log of the well-tuned loss, which follows the law ``unified``.

    Parameters
    ----------
    values : mapping of str to array_like
        The coefficients :data:`FRONTIER`; ``level`` is the log loss at the center.
    n, d : array_like
        Logs of params and tokens relative to the center.
    """
    shape = {name: values[name] for name in ("alpha", "beta", "kappa")}
    floor, ratio = np.exp(values["share_E"]), np.exp(values["share_B"])
    of_size = (1.0 + ratio ** (1.0 / shape["kappa"])) ** -shape["kappa"]
    # at the center, A and B together make up one
    parts = {"E": floor, "A": of_size, "B": ratio * of_size}
    law = UNIFIED.loss(np.exp(n), np.exp(d), **parts, **shape)
    return values["level"] + np.log(law / (1.0 + floor))


def excess(values: Mapping[str, Any], k: Any, z1: Any, z2: Any) -> Any:
    """Return how far the log loss of a setting lies above the valley's floor.

    Parameters
    ----------
    values : mapping of str to array_like
        ``skew_lr`` and, if batch sizes vary, ``curve_ratio`` (log curvature in batch size minus
        that in learning rate), ``coupling``, ``skew_batch``, and the two turns.
    k : array_like
        Log of the curvature in learning rate.
    z1, z2 : array_like or None
        Logs of learning rate and batch size relative to the best; z2 is None without batch sizes.
    """
    if z2 is None:
        skew = values["skew_lr"] * np.tanh(z1)
        return np.exp(k + skew) * z1**2
    scaled = np.exp(values["curve_ratio"] / 2) * z2
    bowl = z1**2 + 2 * np.tanh(values["coupling"]) * z1 * scaled + scaled**2
    skew = values["skew_lr"] * np.tanh(z1 - values["turn_lr"] * z2)
    skew = skew + values["skew_batch"] * np.tanh(z2 + values["turn_batch"] * z1)
    return np.exp(k + skew) * bowl
