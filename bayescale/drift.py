"""Drift: how far the truth may wander from a law, near zero where there are runs.

No law is exact. Its error on log loss is taken as a random walk outward from the centre of
the runs, in e-folds of scale: of the *level*, whose variance grows as q^2 h at h e-folds, or
of the local *slope*, whose variance grows as q^2 h^3 / 3. The walk goes in steps of fixed
place and unknown size, so it is linear in standard normals: those within the runs are
inferred with the law, those beyond are drawn afresh, and one equation serves both.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN

Walk = Literal["level", "slope"]

STEPS_INSIDE = {"level": 16, "slope": 6}
"""Steps from the runs' centre to their edge, each way."""

FIRST_GAP_BEYOND, GAP_GROWTH = 0.05, 1.15
"""E-folds of the first step past the last run, and how the steps lengthen from there."""


def coordinate(inputs: Any, axis: str) -> Any:
    """The logarithm of the scale that the drift goes along.

    Parameters
    ----------
    inputs : mapping of str to array_like
        The law's inputs in raw units.
    axis : str
        One of them, or ``flops`` for a law of params and tokens: C = 6 N D.
    """
    if axis in inputs:
        return np.log(inputs[axis])
    return np.log(inputs["params"]) + np.log(inputs["tokens"]) + np.log(FLOP_PER_PARAM_TOKEN)


@dataclass(frozen=True)
class Steps:
    """The places of a walk's steps one way out from the centre, in e-folds of distance.

    Attributes
    ----------
    start, gap : numpy.ndarray, shape (step,)
        Where each step begins and how long it is.
    """

    start: np.ndarray
    gap: np.ndarray

    def reach(self, distance: Any, walk: Walk, step: Any = slice(None)) -> Any:
        """What a unit step has added to log loss at these distances.

        Broadcasts ``distance`` against the steps; multiplied by q and standard normals, and
        summed over steps, it is the drift.
        """
        start, gap = self.start[step], self.gap[step]
        if walk == "level":
            share = (distance - start) / np.where(gap > 0, gap, 1.0)
            return share.clip(0.0, 1.0) * np.sqrt(gap)
        # a slope that changes at the middle of each gap keeps the variance of the walk
        return (distance - start - gap / 2).clip(0.0, None) * np.sqrt(gap)


@dataclass(frozen=True)
class Frame:
    """Where runs lie along one axis: their centre, and how far they reach each way.

    Attributes
    ----------
    centre : float
        The mean of their logs.
    down, up : float
        Distance in e-folds from there to the smallest and the largest run.
    """

    centre: float
    down: float
    up: float

    @classmethod
    def of(cls, log_x: np.ndarray) -> "Frame":
        """Of runs with these logs of scale, shape (run,)."""
        centre = float(log_x.mean())
        return cls(centre, centre - float(log_x.min()), float(log_x.max()) - centre)

    def inside(self, walk: Walk) -> tuple[Steps, Steps]:
        """Steps within the runs: down, up."""
        n = STEPS_INSIDE[walk]
        edges = [np.linspace(0.0, reach, n + 1) for reach in (self.down, self.up)]
        down, up = (Steps(edge[:-1], np.diff(edge)) for edge in edges)
        return down, up

    def beyond(self, distance: tuple[float, float]) -> tuple[Steps, Steps]:
        """Steps past the runs, as many as it takes to reach these distances: down, up."""
        return (
            _lengthening(self.down, distance[0]),
            _lengthening(self.up, distance[1]),
        )

    def basis(self, log_x: np.ndarray, walk: Walk) -> np.ndarray:
        """The reach of every step within the runs at these places, shape (point, step)."""
        down, up = self.inside(walk)
        away = log_x[:, None] - self.centre
        return np.concatenate([down.reach(-away, walk), up.reach(away, walk)], axis=1)


def _lengthening(edge: float, distance: float) -> Steps:
    past = max(distance - edge, 0.0)
    # the sum of n growing gaps is FIRST (G^n - 1) / (G - 1)
    n = np.log1p(past * (GAP_GROWTH - 1) / FIRST_GAP_BEYOND) / np.log(GAP_GROWTH)
    gap = FIRST_GAP_BEYOND * GAP_GROWTH ** np.arange(int(np.ceil(n)))
    return Steps(edge + np.concatenate([[0.0], gap.cumsum()[:-1]])[: len(gap)], gap)
