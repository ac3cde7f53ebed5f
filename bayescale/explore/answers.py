"""The answers that the page shows for a view.

This module does not use Streamlit. Every number comes from the functions that the commands call;
the answers of one fit are cached while its controls change.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bayescale.command_lines import cluster_options, command_line
from bayescale.decisions.allocate import allocate
from bayescale.decisions.allocation import Allocation
from bayescale.decisions.data_answer import DataBudget
from bayescale.decisions.data_budget import data_budget
from bayescale.decisions.next_run import next_run
from bayescale.decisions.next_run_answer import NextRun
from bayescale.errors import DecisionError
from bayescale.explore.controls import View, ends_of, scale_of
from bayescale.forecasting import Forecast, forecast, optimal_curve
from bayescale.laws.optimum import splits
from bayescale.posterior import (
    Fit,
    ModelAverageSummary,
    Summary,
    loss_unit_of,
    summarize,
)
from bayescale.splits import Constraints, default_sizes, limits_of
from bayescale.splits.constraints import TOKENS_PER_PARAM
from bayescale.splits.hardware import Cluster
from bayescale.validation.horizon import Trust, trust
from bayescale.verdict import sizes

SPLITS, SPREAD = 15, 10.0
"""Number of splits of a budget, and the factor that their tokens per parameter span up and down."""

CURVE_POINTS = 60
KEPT = 32
"""Number of answers of each kind that are cached."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers to one view.

    Attributes
    ----------
    forecast : Forecast
        The forecast of one run: at the choice, or on the law's own scale.
    choice : tuple of float or None
        Params and tokens of the split with the least expected loss; None for laws of one scale.
    splits : Allocation or None
        The allocation of the budget without losses, if the tab shows it or several laws have to be
        compared.
    run : pandas.Series
        The row of :attr:`forecast`.
    curve : Curve
    cluster : Cluster or None
        The GPUs on which budgets are spent.
    trust : Trust or None
        How far to trust the fit; None for a point estimate.
    """

    view: View
    forecast: Forecast
    run: pd.Series
    choice: tuple[float, float] | None
    splits: Allocation | None
    curve: "Curve"
    cluster: Cluster | None
    trust: Trust | None

    @property
    def allocation(self) -> Allocation | None:
        """:attr:`splits` with :attr:`forecast` as the loss at the choice."""
        return None if self.splits is None else replace(self.splits, at_choice=self.forecast)


@dataclass(frozen=True, eq=False)
class Curve:
    """The loss from the smallest run to well beyond the view's size, at compute-optimal splits.

    Attributes
    ----------
    forecast : Forecast
    table : pandas.DataFrame
        The rows of the forecast, sorted by size.
    """

    forecast: Forecast
    table: pd.DataFrame


def answer(
    fit: Fit,
    view: View,
    *,
    budget: bool = False,
    cluster: Cluster | None = None,
    allow_unconverged: bool = False,
) -> Answers:
    """Return the answers to the question of a view.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    view : View
    budget : bool
        Compute what the Budget tab shows: the regret of the choice, and of splits about it.
    cluster : Cluster, optional
        The GPUs on which budgets are spent.
    allow_unconverged : bool
        Compute the answers even if the fit failed its convergence checks.

    Returns
    -------
    Answers

    Raises
    ------
    BayescaleError
        If one of the functions that compute the answers raises it.
    """
    fit.require_converged(allow_unconverged)
    near, far = ends_of(fit)
    if not near <= view.size <= far:  # within the slider's range one curve serves all sizes
        ends = near, far, 0.5 * view.size, 2 * view.size
        near, far = (
            10.0 ** f(math.log10(x)) for f, x in ((math.floor, min(ends)), (math.ceil, max(ends)))
        )
    curve = _curve(fit, near, far, view.family)
    choice = allocation = None
    places: dict[str, Any] = {scale_of(fit): view.size}
    if splits(fit.inputs):
        limits = view.max_tokens, view.inference_tokens or 0.0, cluster
        if budget or len(fit.members) > 1:
            allocation = _split(fit, curve if budget else None, view.size, *limits, view.family)
            if (why := allocation.refusal(0)) is not None:
                raise DecisionError(why)
            choice = tuple(allocation.choice.points[["params", "tokens"]].iloc[0])
        else:
            choice = _choice(fit, view.size, *limits, view.family)
        places = dict(zip(("params", "tokens"), choice, strict=True))
        if "unique_tokens" in fit.inputs and view.max_tokens is not None:
            places["unique_tokens"] = min(places["tokens"], view.max_tokens)
    run = forecast(
        fit, **places, target=view.target, tolerance=view.tolerance, family=view.family,
        allow_unconverged=True, loss_unit=_unit_of_target(fit, view),
    )  # fmt: skip
    return Answers(
        view=view,
        forecast=run,
        run=run.to_frame().iloc[0],
        choice=choice,
        splits=allocation,
        curve=curve,
        cluster=cluster,
        trust=None if fit.runs is None else _trust(fit, view.tolerance),
    )


def _unit_of_target(fit: Fit, view: View) -> str | None:
    """Return the unit in the target's label, so that the page need not ask for it; else None."""
    unit = loss_unit_of(fit)
    return unit.name if view.target is not None and unit.is_loss else None


@lru_cache(KEPT)
def _choice(
    fit: Fit,
    flops: float,
    max_tokens: float | None,
    served: float,
    cluster: Cluster | None,
    family: str | None,
) -> tuple[float, float]:
    """Return params and tokens of the choice of :func:`_split`, without its regret."""
    limits = limits_of(fit, max_tokens=max_tokens, cluster=cluster, inference_tokens=served)
    params, tokens = default_sizes(fit, np.array([flops]), family, limits=limits)
    return float(params[0]), float(tokens[0])


@lru_cache(KEPT)
def _split(
    fit: Fit,
    around: Curve | None,
    flops: float,
    max_tokens: float | None,
    served: float,
    cluster: Cluster | None,
    family: str | None,
) -> Allocation:
    """Return the allocation of a budget without the loss at its choice.

    With ``around``, the curve of the best splits, it has splits about the best one as options.
    """
    options = []
    if around is not None:
        # the figure shows splits beyond those that the choice is searched among
        limits = limits_of(fit, max_tokens=max_tokens, cluster=cluster, inference_tokens=served)
        limits = replace(limits, searched=TOKENS_PER_PARAM)
        options = _splits_about(around, flops, limits)
    return allocate(
        fit, flops, max_tokens=max_tokens, inference_tokens=served, options=options,
        cluster=cluster, family=family, losses=False, allow_unconverged=True,
    )  # fmt: skip


def _splits_about(curve: Curve, flops: float, limits: Constraints) -> list[tuple[float, float]]:
    """Return params and tokens of splits of a budget about the best one."""
    path = np.log(curve.table[["flops", "params", "tokens"]].to_numpy()).T
    params, tokens = (np.interp(np.log(flops), path[0], log) for log in path[1:])
    # Serving favors smaller models, so the options go further in proportion to its tokens.
    up = np.log(SPREAD * (1.0 + limits.inference_tokens / np.exp(tokens)))
    least, most = (float(end[0]) for end in limits.range(np.array([flops])))
    middle = min(max(tokens - params, least), most)
    high = min(middle + up, most)
    low = max(middle - np.log(SPREAD), least)
    found = zip(*limits.split(flops, np.linspace(low, high, SPLITS)), strict=True)
    return [(float(params), float(tokens)) for params, tokens in found]


@lru_cache(KEPT)
def _curve(fit: Fit, near: float, far: float, family: str | None) -> Curve:
    options: dict[str, Any] = {"family": family, "allow_unconverged": True}
    scale = scale_of(fit)
    space = np.linspace if scale == "lm_loss" else np.geomspace
    places = space(near, far, CURVE_POINTS)
    if splits(fit.inputs):
        found = optimal_curve(fit, places, **options)
    else:
        found = forecast(fit, **{scale: places}, **options)
    return Curve(found, found.to_frame())


@lru_cache(KEPT)
def _trust(fit: Fit, tolerance: float) -> Trust:
    return trust(fit, tolerance=tolerance, allow_unconverged=True)


@lru_cache(KEPT)
def needs(fit: Fit, params: float, family: str | None) -> DataBudget:
    """Return how much data a model needs."""
    return data_budget(fit, params=params, family=family, allow_unconverged=True)


@lru_cache(KEPT)
def purchase(fit: Fit, size: float) -> NextRun:
    """Return which run to buy, at the price of the largest one, to forecast the loss at a size."""
    if fit.runs is None:
        raise DecisionError(
            "a point estimate has no uncertainty that a run could reduce: fit runs first"
        )
    largest = float(f"{sizes(fit.runs.frame, fit.inputs).max():.3g}")
    return next_run(fit, largest, target_flops=size, allow_unconverged=True)


@lru_cache(KEPT)
def coefficients(fit: Fit) -> Summary | ModelAverageSummary:
    """Return the summary of the coefficients."""
    return summarize(fit)


def commands(
    fit: Fit, answers: Answers, file: str, laws: tuple[str, ...] = (), allow: bool = False
) -> list[str]:
    """Return the command lines that give the same numbers."""
    view, words = answers.view, [word for law in laws for word in ("--law", law)]
    shared = {
        "tolerance": view.tolerance,
        "family": view.family,
        "allow_unconverged": allow,
    }
    lines = []
    if answers.choice is not None:
        budget = {
            "flops": view.size,
            "max_tokens": view.max_tokens,
            "inference_tokens": view.inference_tokens,
            **cluster_options(answers.cluster),
        }
        lines.append(command_line("allocate", file, {**budget, **shared}, *words))
    point = answers.forecast.points.iloc[0]
    places = {name: float(point[name]) for name in fit.inputs}
    asked = {"target": view.target, "loss_unit": _unit_of_target(fit, view)}
    lines.append(command_line("forecast", file, {**places, **asked, **shared}, *words))
    return lines
