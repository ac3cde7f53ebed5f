"""Drift: the model discrepancy of a law, near zero among the runs and growing outward.

No law is exact. Its error on log loss is modeled as a random walk outward from the center of the
runs, in e-folds of scale. Either the *level* walks, and the error's variance grows as q^2 h at h
e-folds, or the local *slope* walks, and the variance grows as q^2 h^3 / 3. A slope may fade: each
change of it decays over M e-folds, so that a bend among the runs does not continue forever. The
variance is then

    q^2 M^2 (h - 2 M (1 - e^(-h/M)) + M (1 - e^(-2h/M)) / 2),

which is that of a lasting slope for h far below M, and of a walk of the level, M^2 q^2 h, far
above: an integrated Ornstein-Uhlenbeck process (Uhlenbeck and Ornstein 1930).

The walk has steps at fixed places and of unknown size, so it is linear in standard normals. Steps
within the runs are inferred with the law; steps beyond are drawn at random, by the same equation.

A law of params and tokens may drift along compute c and across tokens per parameter x, both in
logs, and may tilt: the slope of the error across x walks as compute grows,

    delta(c, x) = q_C W1(c) + q_X W2(x) + t q_X (x - mean x) T(c).

W1 is equal for all splits of a budget. W2 and the tilt are not: they allow for errors of a law
about the best split, and about how it moves with compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr

from bayescale.laws.law import FLOP_PER_PARAM_TOKEN

Walk = Literal["level", "slope"]

STEPS = {"level": 16, "slope": 6}
"""Number of steps from the runs' center to their edge in each direction, unless each run has a
step."""

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
        The name of an input; for a law of params and tokens also ``flops``, C = 6 N D, or
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

    def then(self, others: "Steps") -> "Steps":
        """Return these steps followed by others."""
        return Steps(
            np.concatenate([self.start, others.start]), np.concatenate([self.gap, others.gap])
        )

    def reach(self, distance: Any, walk: Walk, fades_over: float | None = None) -> Any:
        """Return the sum that unit steps have added to log loss at these distances, by step.

        Parameters
        ----------
        distance : numpy.ndarray or xarray.DataArray, shape (..., 1)
            Distances in e-folds; the last axis is for the steps. The dims of xarray objects are
            kept.
        walk : {"level", "slope"}
        fades_over : float, optional
            E-folds over which a change of the slope decays; by default it lasts.

        Returns
        -------
        array_like, shape (..., step)
            The contribution of each step. The drift is the sum of these, each times q and a
            standard normal.
        """
        start, gap = self.start, self.gap
        if isinstance(distance, xr.DataArray):
            dims = distance.dims[-1:]
            start, gap = (xr.DataArray(values, dims=dims) for values in (start, gap))
            distance = distance.squeeze(dims[0])
        if walk == "level":
            return ((distance - start).clip(0.0, gap)) / np.sqrt(np.maximum(gap, 1e-12))
        # a slope that changes at the middle of each gap keeps the variance of the walk
        return _ramp((distance - start - gap / 2).clip(0.0, None), fades_over) * np.sqrt(gap)


@dataclass(frozen=True)
class Path:
    """Draws of a walk in both directions from the center, given at the places where it changes.

    Attributes
    ----------
    node : numpy.ndarray, shape (node,)
        Distances from the center, from zero outward: first those below the center, then those above
        it.
    n_down : int
        Number of nodes below the center.
    level, slope : array_like, dims (node, ...)
        The sum that the walk has added to log loss at each node, and the outward slope from there
        on.
    fades_over : float or None
        E-folds over which the slope decays.
    """

    node: np.ndarray
    n_down: int
    level: Any
    slope: Any
    fades_over: float | None

    @property
    def ends(self) -> tuple[float, float]:
        """How far the walk reaches below and above the center, in e-folds."""
        return float(self.node[self.n_down - 1]), float(self.node[-1])

    def at(self, distance: Any) -> Any:
        """Return the drift of log loss at these distances above the center.

        Parameters
        ----------
        distance : numpy.ndarray or xarray.DataArray
            E-folds; negative below the center.

        Returns
        -------
        array_like, dims (..., of the draws)
            The dims of xarray objects are kept.
        """
        index, past = self._place(np.asarray(distance))
        if not isinstance(distance, xr.DataArray):
            return self.level[index] + past[..., None] * self.slope[index]
        index, past = distance.copy(data=index), distance.copy(data=past)
        return self.level.isel(node=index) + past * self.slope.isel(node=index)

    def of_draws(self, distance: np.ndarray) -> np.ndarray:
        """Return the drift of log loss in each draw, shape (draw, point).

        Distances have shape (point,), or (draw, point) if they differ between draws.
        """
        index, past = self._place(np.atleast_2d(distance))
        level, slope = self._by_draw
        if len(index) == 1:  # the distances of all draws, whose columns are found sooner
            return level[:, index[0]] + past * slope[:, index[0]]
        draw = np.arange(len(level))[:, None]
        return level[draw, index] + past * slope[draw, index]

    @cached_property
    def _by_draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Level and slope, each (draw, node) and cached: searches use them hundreds of times."""
        flat = (np.asarray(x).reshape(len(self.node), -1) for x in (self.level, self.slope))
        level, slope = (np.ascontiguousarray(x.T) for x in flat)
        return level, slope

    def _place(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the last node before these distances, and the effect of a unit slope since."""
        n = self.n_down
        below = np.searchsorted(self.node[:n], -x, side="right")
        index = np.where(x < 0, below, n + np.searchsorted(self.node[n:], x, side="right")) - 1
        return index, _ramp(np.abs(x) - self.node[index], self.fades_over)


def _ramp(distance: Any, fades_over: float | None) -> Any:
    """Return the sum of a slope that is one at first and decays over ``fades_over`` e-folds."""
    return distance if fades_over is None else -fades_over * np.expm1(-distance / fades_over)


@dataclass(frozen=True)
class Frame:
    """The steps of a walk among the runs along one axis, outward from their center.

    Attributes
    ----------
    center : float
        The mean of the runs' logs of scale.
    walk : {"level", "slope"}
    fades_over : float or None
        E-folds over which a change of the slope decays.
    down, up : Steps
        Steps within the runs, towards the smallest and towards the largest.
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
        """Return the frame of runs with these logs of scale, shape (run,).

        It has ``steps`` steps on each side. By default, a walk of the level has one step per run,
        and a walk of the slope has as many as :data:`STEPS` states.
        """
        center = float(log_x.mean())
        sides = (_within(side * (log_x - center), walk, steps) for side in (-1, 1))
        return cls(center, walk, fades_over, *sides)

    def beyond(self, distance: tuple[float, float]) -> tuple[Steps, Steps]:
        """Return the steps beyond the runs, down and up, that reach these distances."""
        return _lengthening(self.down.end, distance[0]), _lengthening(self.up.end, distance[1])

    def basis(self, log_x: np.ndarray) -> np.ndarray:
        """Return the reach of every step within the runs at these places, shape (point, step)."""
        away = log_x[:, None] - self.center
        return np.concatenate([self.reach(self.down, -away), self.reach(self.up, away)], axis=1)

    def path(self, sides: Sequence[Steps], values: Sequence[np.ndarray]) -> Path:
        """Return the path of a walk with these draws of its steps.

        Parameters
        ----------
        sides : (Steps, Steps)
            All steps down, and all steps up.
        values : (numpy.ndarray, numpy.ndarray), each of shape (step, ...)
            Draws of these steps, in units of log loss.

        Returns
        -------
        Path
            The path, which at any distance is the sum over steps of each step's draw times its
            reach.
        """
        nodes, levels, slopes = zip(*map(self._states, sides, values), strict=True)
        level, slope = np.concatenate(levels), np.concatenate(slopes)
        return Path(np.concatenate(nodes), len(nodes[0]), level, slope, self._fades_over)

    @property
    def _fades_over(self) -> float | None:
        return None if self.walk == "level" else self.fades_over

    def _states(self, steps: Steps, values: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the places at which the walk changes, and its level and slope from there on."""
        is_level, fades_over = self.walk == "level", self._fades_over
        root = np.sqrt(steps.gap).reshape(-1, *[1] * (values.ndim - 1))
        change = values / np.maximum(root, 1e-6) if is_level else values * root
        place = steps.start if is_level else steps.start + steps.gap / 2
        node = np.concatenate([[0.0], place, [steps.end]])
        level, slope = np.zeros((2, len(node), *values.shape[1:]))
        for i, length in enumerate(np.diff(node), 1):
            level[i] = level[i - 1] + _ramp(length, fades_over) * slope[i - 1]
            if not is_level:
                stays = 1.0 if fades_over is None else np.exp(-length / fades_over)
                slope[i] = slope[i - 1] * stays
            if i <= len(change):
                slope[i] += change[i - 1]
        return node, level, slope

    def reach(self, steps: Steps, distance: Any) -> Any:
        """Return :meth:`Steps.reach` for the kind of this walk."""
        return steps.reach(distance, self.walk, self.fades_over)


@dataclass(frozen=True)
class Component:
    """One walk of the drift: its steps among the runs, its size, and its factors.

    Attributes
    ----------
    axis : str
        The scale along which the drift walks: see :func:`coordinate`.
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
        """Return the factor of the walk at these inputs."""
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
    elif n is not None:  # steps of length zero complete the number
        edges = np.append(edges, [edges[-1]] * (n + 1 - len(edges)))
    return Steps(edges[:-1], np.diff(edges))


def _lengthening(edge: float, distance: float) -> Steps:
    past = max(distance - edge, 0.0)
    # the sum of n growing gaps is FIRST (G^n - 1) / (G - 1)
    n = np.log1p(past * (GAP_GROWTH - 1) / FIRST_GAP_BEYOND) / np.log(GAP_GROWTH)
    gap = FIRST_GAP_BEYOND * GAP_GROWTH ** np.arange(int(np.ceil(n)))
    return Steps(edge + np.concatenate([[0.0], gap.cumsum()[:-1]])[: len(gap)], gap)
