"""Drift: the model discrepancy of a law, near zero among the runs and growing outward.

No law is exact. Its error on log loss is modeled as a random walk outward from the center of the
runs, in e-folds of scale. The walk is of the *level*, whose variance grows as q^2 h at h e-folds,
or of the local *slope*, whose variance grows as q^2 h^3 / 3. A slope may fade: each change of it
decays over M e-folds, so that a bend among the runs does not continue forever. The variance is
then

    q^2 M^2 (h - 2 M (1 - e^(-h/M)) + M (1 - e^(-2h/M)) / 2),

which is that of a lasting slope for h far below M, and of a walk of the level, M^2 q^2 h, far
above: an integrated Ornstein-Uhlenbeck process (Uhlenbeck and Ornstein 1930).

The walk has steps at fixed places and of unknown size, so it is linear in standard normals. Steps
within the runs are inferred with the law; steps beyond are drawn at random, by the same equation.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN

Walk = Literal["level", "slope"]

STEPS = {"level": 16, "slope": 6}
"""Steps from the runs' center to their edge in each direction, unless each run has one."""

FIRST_GAP_BEYOND, GAP_GROWTH = 0.05, 1.15
"""E-folds of the first step beyond the last run, and the growth factor of the next ones."""


def coordinate(inputs: Any, axis: str) -> Any:
    """Return the logarithm of the scale along which losses drift.

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
    """The places of a walk's steps in one direction from the center, in e-folds of distance.

    Attributes
    ----------
    start, gap : numpy.ndarray, shape (step,)
        Start and length of each step.
    """

    start: np.ndarray
    gap: np.ndarray

    @property
    def end(self) -> float:
        """The distance at which the last step ends; zero without steps."""
        return float(self.start[-1] + self.gap[-1]) if len(self.start) else 0.0

    def reach(self, distance: Any, walk: Walk, fades_over: float | None = None) -> Any:
        """Return what unit steps have added to log loss at these distances.

        Parameters
        ----------
        distance : numpy.ndarray or xarray.DataArray, shape (..., 1)
            The last axis is for the steps. The dims of xarray objects are kept.
        walk : {"level", "slope"}
        fades_over : float, optional
            E-folds over which a change of the slope decays; it lasts where not given.

        Returns
        -------
        array_like, shape (..., step)
            The drift is its sum over steps, each times q and a standard normal.
        """
        start, gap = self.start, self.gap
        if isinstance(distance, xr.DataArray):
            dims = distance.dims[-1:]
            start, gap = (xr.DataArray(values, dims=dims) for values in (start, gap))
            distance = distance.squeeze(dims[0])
        if walk == "level":
            return ((distance - start).clip(0.0, gap)) / np.sqrt(np.maximum(gap, 1e-12))
        # a slope that changes at the middle of each gap keeps the variance of the walk
        past = (distance - start - gap / 2).clip(0.0, None)
        if fades_over is not None:
            past = -fades_over * np.expm1(-past / fades_over)
        return past * np.sqrt(gap)


@dataclass(frozen=True)
class Frame:
    """A walk's steps among the runs along one axis, out from their center.

    Attributes
    ----------
    center : float
        The mean of the runs' logs of scale.
    walk : {"level", "slope"}
    fades_over : float or None
        E-folds over which a change of the slope decays.
    down, up : Steps
        Within the runs, towards the smallest and the largest.
    """

    center: float
    walk: Walk
    fades_over: float | None
    down: Steps
    up: Steps

    @classmethod
    def of(
        cls,
        log_x: np.ndarray,
        walk: Walk,
        fades_over: float | None = None,
        *,
        each_run: bool = False,
    ) -> "Frame":
        """Make the frame of runs with these logs of scale, shape (run,).

        With ``each_run``, a walk of the level has a step at each run, else a fixed number of steps.
        """
        center = float(log_x.mean())
        sides = (_within(side * (log_x - center), walk, each_run) for side in (-1, 1))
        return cls(center, walk, fades_over, *sides)

    def beyond(self, distance: tuple[float, float]) -> tuple[Steps, Steps]:
        """Return the steps beyond the runs that reach these distances: down, up."""
        return _lengthening(self.down.end, distance[0]), _lengthening(self.up.end, distance[1])

    def basis(self, log_x: np.ndarray) -> np.ndarray:
        """Return the reach of every step within the runs at these places, shape (point, step)."""
        away = log_x[:, None] - self.center
        return np.concatenate([self.reach(self.down, -away), self.reach(self.up, away)], axis=1)

    def reach(self, steps: Steps, distance: Any) -> Any:
        """Return what unit steps of this walk have added: see :meth:`Steps.reach`."""
        return steps.reach(distance, self.walk, self.fades_over)


def _within(distance: np.ndarray, walk: Walk, each_run: bool) -> Steps:
    edges = np.unique(np.append(distance[distance > 0].round(6), 0.0))
    n = STEPS[walk]
    if walk == "slope":
        edges = np.linspace(0.0, edges[-1], n + 1)
    elif not each_run and len(edges) > n + 1:
        edges = edges[np.linspace(0, len(edges) - 1, n + 1).round().astype(int)]
    elif not each_run:  # steps of no length fill up the number
        edges = np.append(edges, [edges[-1]] * (n + 1 - len(edges)))
    return Steps(edges[:-1], np.diff(edges))


def _lengthening(edge: float, distance: float) -> Steps:
    past = max(distance - edge, 0.0)
    # the sum of n growing gaps is FIRST (G^n - 1) / (G - 1)
    n = np.log1p(past * (GAP_GROWTH - 1) / FIRST_GAP_BEYOND) / np.log(GAP_GROWTH)
    gap = FIRST_GAP_BEYOND * GAP_GROWTH ** np.arange(int(np.ceil(n)))
    return Steps(edge + np.concatenate([[0.0], gap.cumsum()[:-1]])[: len(gap)], gap)
