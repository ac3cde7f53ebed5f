"""The equations of the valley, for NumPy arrays and PyTensor variables alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np

FRONTIER = ("level", "share_E", "share_B", "alpha", "beta", "kappa")
"""Coefficients of the frontier."""


def frontier(values: Mapping[str, Any], n: Any, d: Any) -> Any:
    """Return the log of the well-tuned loss.

    Parameters
    ----------
    values : mapping of str to array_like
        The coefficients :data:`FRONTIER`; ``level`` is the log loss at the center.
    n, d : array_like
        Logs of params and tokens relative to the center.
    """
    alpha, beta, kappa = (values[name] for name in ("alpha", "beta", "kappa"))
    share_e, share_b = values["share_E"], values["share_B"]
    there = kappa * np.logaddexp(-alpha / kappa * n, (share_b - beta * d) / kappa)
    center = kappa * np.logaddexp(0.0 * share_b, share_b / kappa)
    law = np.logaddexp(share_e, there - center) - np.logaddexp(share_e, 0.0 * share_e)
    return values["level"] + law


def excess(values: Mapping[str, Any], k: Any, z1: Any, z2: Any, xp: Any = np) -> Any:
    """Return how far the log loss of a setting lies above the valley's floor.

    Parameters
    ----------
    values : mapping of str to array_like
        ``skew_lr`` and, where batch sizes vary, ``curve_ratio`` (log curvature in batch size less
        that in learning rate), ``coupling``, ``skew_batch``, and the two turns.
    k : array_like
        Log of the curvature in learning rate.
    z1, z2 : array_like or None
        Logs of learning rate and batch size relative to the best; None without batch sizes.
    xp : module
        Where ``exp`` and ``tanh`` come from.
    """
    if z2 is None:
        skew = values["skew_lr"] * xp.tanh(z1)
        return xp.exp(k + skew) * z1**2
    scaled = xp.exp(values["curve_ratio"] / 2) * z2
    bowl = z1**2 + 2 * xp.tanh(values["coupling"]) * z1 * scaled + scaled**2
    skew = values["skew_lr"] * xp.tanh(z1 - values["turn_lr"] * z2)
    skew = skew + values["skew_batch"] * xp.tanh(z2 + values["turn_batch"] * z1)
    return xp.exp(k + skew) * bowl
