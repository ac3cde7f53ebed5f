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

A law of params and tokens may drift along compute c and across tokens per parameter x, both in
logs, and may tilt: the slope of the error across x walks as compute grows,

    delta(c, x) = q_C W1(c) + q_X W2(x) + t q_X (x - mean x) T(c).

W1 is equal for all splits of a budget. W2 and the tilt are not: they are what a law may get wrong
about the best split, and about how it moves with compute.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN

Walk = Literal["level", "slope"]

STEPS = {"level": 16, "slope": 6}
"""Steps from the runs' center to their edge in each direction, unless each run has one."""

TILT = "tilt"
"""Name of the walk, along compute, of the slope of the error across tokens per parameter."""

FIRST_GAP_BEYOND, GAP_GROWTH = 0.05, 1.15
"""E-folds of the first step beyond the last run, and the growth factor of the next ones."""


def coordinate(inputs: Any, axis: str) -> Any:
    """Return the logarithm of the scale along which losses drift.

    Parameters
    ----------
    inputs : mapping of str to array_like
        The law's inputs in raw units.
    axis : str
        One of them; for a law of params and tokens also ``flops``, C = 6 N D, or
        ``tokens_per_param``, D / N.
    """
    if axis in inputs:
        return np.log(inputs[axis])
    if axis == "tokens_per_param":
        return np.log(inputs["tokens"]) - np.log(inputs["params"])
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
        steps: int | None = None,
    ) -> "Frame":
        """Make the frame of runs with these logs of scale, shape (run,).

        It has this many steps on each side; without ``steps``, a walk of the level has one at
        each run.
        """
        center = float(log_x.mean())
        sides = (_within(side * (log_x - center), walk, steps) for side in (-1, 1))
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


@dataclass(frozen=True)
class Component:
    """One walk of the drift: its steps among the runs, its size, and what multiplies it.

    Attributes
    ----------
    axis : str
        The scale along which it walks: see :func:`coordinate`.
    frame : Frame
    sized_by : str
        The axis whose size q scales its steps.
    share : float
        A fixed factor on that size.
    across : tuple of (str, float) or None
        An axis and its center: the walk is multiplied by the distance from there, in e-folds.
    """

    axis: str
    frame: Frame
    sized_by: str
    share: float = 1.0
    across: tuple[str, float] | None = None

    def distance(self, inputs: Any) -> Any:
        """Return e-folds from the center of the runs along the walk's axis."""
        return coordinate(inputs, self.axis) - self.frame.center

    def factor(self, inputs: Any) -> Any:
        """Return what multiplies the walk at these inputs."""
        if self.across is None:
            return self.share
        axis, center = self.across
        return self.share * (coordinate(inputs, axis) - center)

    def basis(self, inputs: Any) -> np.ndarray:
        """Return the contribution of each step among the runs for q = 1, shape (run, step)."""
        factor = np.broadcast_to(self.factor(inputs), np.shape(inputs[next(iter(inputs))]))
        return self.frame.basis(coordinate(inputs, self.axis)) * factor[:, None]


def _within(distance: np.ndarray, walk: Walk, n: int | None) -> Steps:
    edges = np.unique(np.append(distance[distance > 0].round(6), 0.0))
    if walk == "slope":
        edges = np.linspace(0.0, edges[-1], (STEPS[walk] if n is None else n) + 1)
    elif n is not None and len(edges) > n + 1:
        edges = edges[np.linspace(0, len(edges) - 1, n + 1).round().astype(int)]
    elif n is not None:  # steps of no length fill up the number
        edges = np.append(edges, [edges[-1]] * (n + 1 - len(edges)))
    return Steps(edges[:-1], np.diff(edges))


def _lengthening(edge: float, distance: float) -> Steps:
    past = max(distance - edge, 0.0)
    # the sum of n growing gaps is FIRST (G^n - 1) / (G - 1)
    n = np.log1p(past * (GAP_GROWTH - 1) / FIRST_GAP_BEYOND) / np.log(GAP_GROWTH)
    gap = FIRST_GAP_BEYOND * GAP_GROWTH ** np.arange(int(np.ceil(n)))
    return Steps(edge + np.concatenate([[0.0], gap.cumsum()[:-1]])[: len(gap)], gap)
