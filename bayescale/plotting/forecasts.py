"""Figures of forecasts: loss along a scale, at equal compute, and downstream."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayescale.decisions.allocation import Allocation
from bayescale.errors import TrustError
from bayescale.forecasting import Forecast
from bayescale.plotting.style import (
    AXIS_LABELS,
    BLACK,
    BLUE,
    COLORS,
    GREY,
    LINES,
    LOSS_LABEL,
    ORANGE,
    axes,
    finished,
    log_sizes,
)
from bayescale.runs import Runs
from bayescale.units import format_size
from bayescale.validation.horizon import Trust

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_forecast(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    scale: str = "flops",
    runs: Runs | None = None,
    held_out: pd.DataFrame | None = None,
    horizon: Trust | None = None,
) -> "Axes":
    """Loss against one scale: mean and new-run bands, with the runs and how far to trust it.

    The dark band holds the mean over seeds, or the floor, the light one a single new run; the
    line is the median. Points are runs. Nothing was fitted to the right of the dotted line, and
    what is shaded gray is not trusted.

    Parameters
    ----------
    result : Forecast
        Over points that differ in ``scale``. Of a pool, each law's median is drawn as well.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.
    scale : {"flops", "params", "tokens"}
        The horizontal axis, logarithmic.
    runs : Runs, optional
        Fitted runs, as filled points.
    held_out : pandas.DataFrame, optional
        Runs not fitted, with the columns ``scale`` and ``loss``, as hollow points.
    horizon : Trust, optional
        Marks the largest run, and shades what lies beyond the trust horizon. It must be counted
        in ``scale``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TrustError
        If the horizon is counted in another scale.
    """
    if horizon is not None and horizon.scale != scale:
        raise TrustError(
            f"the horizon is counted in {horizon.scale} and the figure in {scale}: draw against "
            f"{horizon.scale}, or leave the horizon out"
        )
    ax = axes(ax)
    if scale != "lm_loss":
        ax.set_xscale("log")  # before anything looks at where the axis ends
    frame = result.to_frame().sort_values(scale)
    x = frame[scale]
    mass = f"{result.ci_prob:.0%}"
    if "loss_new_lower" in frame:
        ax.fill_between(
            x, frame["loss_new_lower"], frame["loss_new_upper"], color=BLUE, alpha=0.15,
            linewidth=0, label=f"{result.meaning_new}, {mass} interval",
        )  # fmt: skip
    ax.fill_between(
        x, frame["loss_lower"], frame["loss_upper"], color=BLUE, alpha=0.35, linewidth=0,
        label=f"{result.meaning}, {mass} interval",
    )  # fmt: skip
    ax.plot(x, frame["loss_median"], color=BLUE, label=f"{result.law}, median")
    for i, law in enumerate(result.by_law, 1):
        own = law.to_frame().sort_values(scale)
        ax.plot(
            own[scale], own["loss_median"], color=COLORS[i % 6], linestyle=LINES[i % 6],
            linewidth=1.2, label=f"{law.law} alone, median",
        )  # fmt: skip
    points: dict[str, Any] = {"linestyle": "none", "zorder": 3}
    points["markersize"] = 6 if runs is None or len(runs) < 100 else 3
    if runs is not None:
        ax.plot(runs[scale], runs["loss"], "o", color=BLACK, label="runs fitted", **points)
    if held_out is not None and len(held_out):
        ax.plot(
            held_out[scale], held_out["loss"], "D", markerfacecolor="white", color=ORANGE,
            markeredgewidth=1.8, label="runs held out", **points,
        )  # fmt: skip
    if horizon is not None:
        _mark(ax, horizon)
    if scale == "lm_loss":
        ax.set_xlabel(AXIS_LABELS[scale])
    else:
        log_sizes(ax, scale)
    ax.set_ylabel(LOSS_LABEL)
    return finished(ax)


def _mark(ax: "Axes", horizon: Trust) -> None:
    """The largest run, and what is not trusted."""
    ax.axvline(horizon.largest, color=GREY, linestyle=":", label="largest run fitted")
    edge, far = horizon.horizon_ratio * horizon.largest, ax.get_xlim()[1]
    told = "not trusted beyond the largest run"
    if horizon.horizon_ratio > 1:
        told = f"not trusted: beyond {horizon.horizon_ratio:.3g} times the largest run"
        ax.axvline(edge, color=ORANGE, linestyle="--", label="trust horizon")
    if edge < far:
        ax.axvspan(edge, far, facecolor=GREY, alpha=0.12, linewidth=0, zorder=0, label=told)
        ax.set_xlim(right=far)


def plot_slices(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    scale: str = "params",
    by: str = "flops",
    best: Allocation | None = None,
) -> "Axes":
    """Loss against one scale, a curve for each value of another: isoFLOP or iso-token curves.

    Along an isoFLOP curve the compute is the same, and its lowest place is the best size: bars
    are where each draw has it, diamonds the split of least expected loss. Along an iso-token
    curve the data are the same: where it is flat, a larger model gains nothing from them. Bands
    are of the mean over seeds.

    Parameters
    ----------
    result : Forecast
        Over a grid of points. Those whose ``by`` agrees to six digits make one curve.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.
    scale : {"params", "tokens"}
        The horizontal axis, logarithmic.
    by : {"flops", "tokens", "params"}
        What is held equal along a curve.
    best : Allocation, optional
        Of the budgets drawn, where ``by`` is ``flops``: each draw's best size as an interval,
        and the split of least expected loss as a diamond, both on the budget's curve.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = axes(ax), result.to_frame()
    units = {"flops": "FLOP"}
    same = frame[by].map(_six_digits)
    for i, (value, part) in enumerate(frame.groupby(same)):
        part, size = part.sort_values(scale), float(value)  # pyright: ignore[reportArgumentType]
        told = f"{size:.3g}".replace("e+", "e") if by == "flops" else format_size(size)
        color = COLORS[i % 6]
        ax.fill_between(
            part[scale], part["loss_lower"], part["loss_upper"], color=color, alpha=0.2,
            linewidth=0,
        )  # fmt: skip
        ax.plot(
            part[scale], part["loss_median"], color=color, linestyle=LINES[i % 6],
            label=f"{told} {units.get(by, by)}",
        )  # fmt: skip
    if best is not None:
        table = best.to_frame()
        on_curve = [
            _median_at(frame[same == _six_digits(row["flops"])], scale, row[f"choice_{scale}"])
            for _, row in table.iterrows()
        ]
        ax.hlines(
            on_curve, table[f"{scale}_lower"], table[f"{scale}_upper"], color=BLACK,
            linewidth=2.5, label=f"best size, {best.ci_prob:.0%} interval",
        )  # fmt: skip
        ax.plot(table[f"choice_{scale}"], on_curve, "D", color=BLACK, label="least expected loss")
    log_sizes(ax, scale)
    ax.set_ylabel(f"{LOSS_LABEL}, {result.ci_prob:.0%} interval")
    return finished(ax)


def _median_at(curve: pd.DataFrame, scale: str, at: float) -> float:
    """Where a curve's line is, nan of one that is not drawn."""
    if curve.empty:
        return np.nan
    curve = curve.sort_values(scale)
    return float(np.interp(np.log(at), np.log(curve[scale]), curve["loss_median"]))


def _six_digits(value: float) -> float:
    # 6 N D of a split does not give the budget back to the last bit
    return float(f"{value:.6g}")


def plot_downstream(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    runs: Runs | None = None,
    held_out: pd.DataFrame | None = None,
) -> "Axes":
    """Downstream error against the language model's loss, which falls to the right.

    The dark band is of the mean of models, the light one of a single new model, the line their
    median; points are models. Better ones stand to the right.

    Parameters
    ----------
    result : Forecast
        Of the law ``downstream``, over points that differ in ``lm_loss``.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.
    runs : Runs, optional
        Fitted models, as filled points.
    held_out : pandas.DataFrame, optional
        Models not fitted, with the columns ``lm_loss`` and ``loss``, as hollow points.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = plot_forecast(result, ax, scale="lm_loss", runs=runs, held_out=held_out)
    ax.set_xscale("linear")
    ax.xaxis.set_inverted(True)
    ax.set_ylabel("mean error over tasks")
    return ax
