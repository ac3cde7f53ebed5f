"""Figures of one answer's draws: the loss of a run, a budget's best size, or the data needed."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bayescale.decisions.allocation import Allocation
from bayescale.decisions.data_answer import DataBudget
from bayescale.errors import DecisionError, FigureError
from bayescale.forecasting import Forecast
from bayescale.plotting.style import (
    AXIS_LABELS,
    BLUE,
    GREEN,
    ORANGE,
    draws_from,
    finish_axes,
    log_sizes,
    loss_label,
    new_axes,
)
from bayescale.results import quantiles
from bayescale.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 200


@draws_from(Forecast)
def plot_point(result: Forecast, ax: "Axes | None" = None) -> "Axes":
    """Draw the distribution of the loss of one run: the mean over seeds, and a single new run.

    Shaded parts are intervals, with their ends in the legend; the dashed line is the target.

    Parameters
    ----------
    result : Forecast
        Forecast of one point.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FigureError
        If the forecast is of several points.
    """
    if len(result.points) != 1:
        raise FigureError(
            f"plot_point draws a forecast of one point, and this is of {len(result.points)}: "
            "plot_forecast draws several"
        )
    ax = new_axes(ax)
    shown = [(result.loss_new, GREEN, result.meaning_new), (result.loss, BLUE, result.meaning)]
    for draws, color, name in shown:
        if draws is not None:
            _density(ax, draws.values.ravel(), result.ci_prob, color, name, "{:.3f}".format)
    if result.target is not None:
        row = result.to_frame().iloc[0]
        ax.axvline(result.target, color=ORANGE, linestyle="--")
        text = f" target {result.target:g}: below with {row['p_below_target']:.0%}"
        ax.annotate(text, (result.target, 0.97), xycoords=("data", "axes fraction"), va="top")
    point = result.points.iloc[0]
    sizes = [f"{format_size(point[n])} {n}" for n in ("params", "tokens") if np.isfinite(point[n])]
    title = f"{result.law} at {', '.join(sizes) or f'{point["flops"]:.3g} FLOP'}"
    ax.set_title(f"{title}: {point['verdict'].replace('_', ' ')}", loc="left", fontsize="medium")
    return _finished(ax, loss_label(result.loss_unit))


@draws_from(DataBudget)
def plot_data_budget(result: DataBudget, ax: "Axes | None" = None) -> "Axes":
    """Draw the distribution of the tokens that a model needs, or of the params that data support.

    Parameters
    ----------
    result : DataBudget
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DecisionError
        If no number is given.
    """
    if result.refusal is not None:
        raise DecisionError(f"there is no answer to draw: {result.refusal}")
    ax, values = new_axes(ax), result.needed.values.ravel()
    values = values[np.isfinite(values)]
    _density(ax, values, result.ci_prob, BLUE, f"{result.wanted}, {result.law}", format_size)
    ax.set_xlim(values.min(), values.max())
    log_sizes(ax, result.wanted)
    finite = f"; {result.p_reachable:.0%} of draws are finite" if result.p_reachable < 1 else ""
    of = f"{format_size(result.value)} {result.given}"
    return _finished(ax, f"{AXIS_LABELS[result.wanted]} for {of}{finite}")


@draws_from(Allocation)
def plot_best_split(result: Allocation, ax: "Axes | None" = None) -> "Axes":
    """Draw the distribution of the best size for one budget, and the choice.

    The shaded part is the interval of the draws' best params; the line is the split of least
    expected loss. Where the density is wide, the runs say little about the split.

    Parameters
    ----------
    result : Allocation
        Allocation of one budget.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FigureError
        If the allocation is of several budgets.
    """
    if len(result.flops) != 1:
        raise FigureError(
            f"plot_best_split draws one budget, and this allocation has {len(result.flops)}: "
            "plot_allocation draws several"
        )
    ax, best = new_axes(ax), result.to_frame().iloc[0]
    _density(ax, result.params.values.ravel(), result.ci_prob, BLUE, "best params", format_size)
    params, tokens = format_size(best["choice_params"]), format_size(best["choice_tokens"])
    label = f"least expected loss: {params} params on {tokens} tokens"
    ax.axvline(best["choice_params"], color=ORANGE, linewidth=2, label=label)
    log_sizes(ax, "params")
    budget = f"{result.flops[0]:.3g}".replace("e+", "e")
    ax.set_title(f"{result.law} at {budget} FLOP", loc="left", fontsize="medium")
    return _finished(ax, AXIS_LABELS["params"])


def _density(ax: "Axes", values: np.ndarray, mass: float, color: str, name: str, form: Any) -> None:
    """Draw the density of the logs of draws, and shade its interval."""
    from scipy.stats import gaussian_kde

    q = quantiles(values, mass)
    logs = np.log(values)
    if np.ptp(logs) < 1e-9:  # a point estimate
        ax.axvline(q["median"], color=color, label=f"{name}: {form(q['median'])}")
        return
    low, high = np.quantile(logs, [0.002, 0.998])
    pad = 0.05 * (high - low)
    x = np.linspace(low - pad, high + pad, _POINTS)
    y, x = gaussian_kde(logs)(x), np.exp(x)
    text = f"{name}: {form(q['median'])} ({mass:.0%}: {form(q['lower'])} to {form(q['upper'])})"
    ax.plot(x, y, color=color, label=text)
    inside = (x >= q["lower"]) & (x <= q["upper"])
    ax.fill_between(x[inside], y[inside], color=color, alpha=0.25, linewidth=0)


def _finished(ax: "Axes", label: str) -> "Axes":
    ax.set_xlabel(label)
    ax.set_ylim(bottom=0.0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    return finish_axes(ax)
