"""Forecasts of very many points: in blocks, on all cores, in bounded memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale import noise
from bayescale.conventions import LossUnit
from bayescale.drift import Component, Path
from bayescale.forecasting.answer import (
    Options,
    count_points,
    given_scales,
    half_width_of_log,
    located,
    n_draws,
    noise_scales,
    placed,
    require_likely,
    require_within_guards,
    same_length,
    with_verdicts,
)
from bayescale.posterior import Fit, View, loss_unit_of, shares
from bayescale.posterior.methods import asks_fit
from bayescale.progress import Stage, progress
from bayescale.random import Purpose
from bayescale.results import DEFAULT_CI_PROB, quantiles_of_sorted
from bayescale.threads import in_threads
from bayescale.verdict import TOLERANCE

MOST_VALUES = 2**18
"""The most values by draw and point of each quantity in a thread: 2 MB."""

_ENDS = ("median", "lower", "upper")

MOST_JUDGED = 2**13
"""The number of points whose verdicts are written at a time."""


@asks_fit
def forecast_table(
    fit: Fit,
    *,
    target: float | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    drift: bool = True,
    loss_unit: str | LossUnit | None = None,
    allow_unconverged: bool = False,
    show_progress: bool | None = None,
    **scales: Any,
) -> pd.DataFrame:
    """Return the table of a forecast of very many points, without holding all their draws.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    target, ci_prob, tolerance, family, drift, loss_unit, allow_unconverged
        As for :func:`forecast`.
    show_progress : bool, optional
        Show progress on standard error, or below the cell in a notebook; by default only in
        notebooks.
    **scales
        ``params``, ``tokens`` and so on, as for :func:`forecast`; also inputs that the package does
        not know.

    Returns
    -------
    pandas.DataFrame
        The table of :meth:`Forecast.to_frame` without the column ``why``. Each row equals that of a
        forecast of its point alone, within rounding. So single new runs have the same noise at all
        points, and rows differ only by the law and its drift. In a forecast of several points, each
        point has noise of its own.

    Raises
    ------
    LawError, UnitError, UnconvergedError
        As for :func:`forecast`.
    """
    fit.require_converged(allow_unconverged)
    given = same_length(given_scales(**scales))
    require_within_guards(fit, given)
    options = Options(target, ci_prob, tolerance, family, drift, loss_unit)
    n_points = count_points(given)
    size = max(1, MOST_VALUES // n_draws(fit))
    blocks = [slice(first, first + size) for first in range(0, n_points, size)]
    with progress(show_progress) as stage:
        points = _points(fit, given, options, blocks, stage)
        laws, unit = _laws(fit, points, options), loss_unit_of(fit, options.loss_unit)
        done = stage(f"{n_points:,} points", total=n_points)
        columns: dict[str, np.ndarray] = {}
        reduce = partial(_columns, fit, laws, points, unit, options)
        for block, found in zip(blocks, in_threads(reduce, blocks), strict=True):
            if block.start == 0 and target is not None:
                require_likely(fit, unit, options, unit.to_fitted(found["loss_median"]))
            for name, values in found.items():
                columns.setdefault(name, np.empty(n_points))[block] = values
            done(min(block.stop, n_points))
        return _judged(fit, points, columns, options, stage)


def _points(
    fit: Fit,
    given: Mapping[str, np.ndarray],
    options: Options,
    blocks: Sequence[slice],
    stage: Stage,
) -> pd.DataFrame:
    """Return the table of points; budgets are split block by block."""
    n_points = count_points(given)
    if "flops" not in given or len(given) > 1:
        return located(fit, placed(fit, given, options)[0])
    done, parts = stage("splitting budgets", total=n_points), []

    def split(block: slice) -> dict[str, np.ndarray]:
        part = {name: values[block] for name, values in given.items()}
        return placed(fit, part, options, best=False)[0]

    for block, part in zip(blocks, in_threads(split, blocks), strict=True):
        parts.append(part)
        done(block.stop)
    return located(fit, {n: np.concatenate([part[n] for part in parts]) for n in parts[0]})


@dataclass(frozen=True, eq=False)
class _Law:
    """One law's draws as arrays of shape (draw,), for blocks of points.

    Attributes
    ----------
    view : View
    taken : numpy.ndarray
        Indices of the draws that the answer holds.
    coefficients : mapping of str to numpy.ndarray
    walks : sequence of (Component, Path)
        The walks of the drift, which reach all points.
    noise : (numpy.ndarray, numpy.ndarray)
        The two parts of what a single new run adds to log loss: the first is multiplied by the
        noise's scale, the second is added as it is. Both are empty for a point estimate without
        noise.
    """

    view: View
    taken: np.ndarray
    coefficients: Mapping[str, np.ndarray]
    walks: Sequence[tuple[Component, Path]]
    noise: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(
        cls, view: View, taken: np.ndarray, family: str | None, points: Mapping[str, xr.DataArray]
    ) -> "_Law":
        """Make the arrays from the taken draws of a view."""

        def flat(values: Any) -> np.ndarray:
            return np.ascontiguousarray(values.reshape(*values.shape[:-2], -1)[..., taken])

        draws = view.draws.transpose("chain", "draw", ...)
        of_family = view.coefficients(family).items()
        walks = view.walks.reaching(points) if view.drifts else []
        return cls(
            view,
            taken,
            {name: flat(x.transpose("chain", "draw").values) for name, x in of_family},
            [
                (walk, replace(path, level=flat(path.level.values), slope=flat(path.slope.values)))
                for walk, path in walks
            ],
            _noise(view, draws, flat) if "sigma" in draws else (np.empty(0), np.empty(0)),
        )

    def loss(self, points: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the mean loss, as :meth:`View.loss` does, shape (point, draw)."""
        columns = {name: values[:, None] for name, values in points.items()}
        loss = self.view.law.loss(**columns, **self.coefficients)
        if not self.walks:
            return loss
        drift = 0.0
        for walk, path in self.walks:
            step = path.at(walk.distance(points))
            step *= np.reshape(walk.factor(points), (-1, 1))
            drift += step
        return loss * np.exp(drift)

    def new_run(self, loss: np.ndarray, points: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return a single new run for each mean loss: see :meth:`View.new_run`."""
        with np.errstate(over="ignore"):  # few degrees of freedom reach an infinite loss
            return loss * (self._noise_anywhere if self.is_alike else self._noise_at(points))

    @property
    def is_alike(self) -> bool:
        """Whether the noise has the same scale at all sizes."""
        return "shrink" not in self.view.draws

    @cached_property
    def _noise_anywhere(self) -> np.ndarray:
        return self._noise_at(None)

    def _noise_at(self, points: Mapping[str, np.ndarray] | None) -> np.ndarray:
        at = None if points is None else _labeled(points)
        sigma = self.view.sigma(at).transpose(..., "chain", "draw").values
        scaled, excess = self.noise
        return np.exp(sigma.reshape(*sigma.shape[:-2], -1)[..., self.taken] * scaled + excess)


def _noise(
    view: View, draws: xr.Dataset, flat: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise of the first point: the part that the scale multiplies, and the excess."""
    shape, nu = draws["sigma"].shape, draws["nu"].values if "nu" in draws else None

    def drawn(excess: Any) -> np.ndarray:
        return noise.draw(view.rng(Purpose.NEW_RUN), shape, nu, excess)

    if "excess" not in draws:
        return flat(drawn(None)), np.zeros(1)
    scaled = drawn(np.zeros(shape))  # noise is linear in the excess
    return flat(scaled), flat(draws["excess"].values * (drawn(np.ones(shape)) - scaled))


def _laws(fit: Fit, points: pd.DataFrame, options: Options) -> list[_Law]:
    views = [member.view(options.drift) for member in fit.members]
    counts = [view.draws.sizes["chain"] * view.draws.sizes["draw"] for view in views]
    at = _labeled({name: points[name].to_numpy() for name in fit.inputs})
    each = zip(views, shares(counts, fit.weights), strict=True)
    return [_Law.of(view, taken, options.family, at) for view, taken in each]


def _columns(
    fit: Fit, laws: list[_Law], points: pd.DataFrame, unit: LossUnit, options: Options, block: slice
) -> dict[str, np.ndarray]:
    """Return quantiles and probabilities from the draws of a block of points."""
    at = {name: points[name].to_numpy()[block] for name in fit.inputs}
    losses = [law.loss(at) for law in laws]
    kinds = {"loss": losses}
    if all(len(law.noise[0]) for law in laws):
        kinds["loss_new"] = [law.new_run(x, at) for law, x in zip(laws, losses, strict=True)]
    found = {}
    for kind, parts in kinds.items():
        values = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        # faster than a partition on processors with vector instructions for sorting
        values.sort(axis=1)
        found[f"half_width_{kind}"] = half_width_of_log(values)
        ends = [0.5, (1 - options.ci_prob) / 2, (1 + options.ci_prob) / 2]
        for name, x in zip(_ENDS, quantiles_of_sorted(values, ends, unit.of), strict=True):
            found[f"{kind}_{name}"] = x
        if options.target is not None:
            found[f"p_{kind}"] = (values < unit.to_fitted(options.target)).mean(axis=1)
    return found | noise_scales(fit, _labeled(at))


def _labeled(points: Mapping[str, np.ndarray]) -> dict[str, xr.DataArray]:
    return {name: xr.DataArray(values, dims="point") for name, values in points.items()}


def _judged(
    fit: Fit,
    points: pd.DataFrame,
    columns: dict[str, np.ndarray],
    options: Options,
    stage: Stage,
) -> pd.DataFrame:
    """Return the table with verdicts."""
    done, n_points = stage("verdicts", total=len(points)), len(points)
    widths = [columns.pop(f"half_width_{kind}", None) for kind in ("loss", "loss_new")]
    half_width, half_width_new = (np.full(n_points, np.nan) if x is None else x for x in widths)
    across, verdicts = np.empty(n_points), []
    for first in range(0, n_points, MOST_JUDGED):
        block = slice(first, first + MOST_JUDGED)
        judged = with_verdicts(
            fit, points[block], half_width[block], half_width_new[block], options.tolerance
        )
        across[block] = judged["across"]
        verdicts.append(judged["verdict"])
        done(min(block.stop, n_points))
    noise_columns = {name: columns.pop(name) for name in [*columns] if name.startswith("noise")}
    new_below, mean_below = (columns.pop(f"p_{kind}", None) for kind in ("loss_new", "loss"))
    table = {str(name): values.to_numpy() for name, values in points.items()} | noise_columns
    table |= {"across": across, "half_width": half_width, "half_width_new": half_width_new}
    table |= {"verdict": pd.concat(verdicts, ignore_index=True), **columns}
    below = {"p_below_target": mean_below if new_below is None else new_below}
    below["p_mean_below_target"] = mean_below
    if mean_below is None:
        return pd.DataFrame(table, copy=False).assign(**below)
    return pd.DataFrame(table | below, copy=False)
