"""Figures of forecasts: loss along a scale, at equal compute, and downstream."""

from collections.abc import Sequence
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
    NAME_ALONG,
    ORANGE,
    SKY,
    color_and_line,
    draw_band,
    draw_points,
    draw_runs,
    draws_from,
    end_below_outliers,
    finish_axes,
    is_narrow,
    log_sizes,
    loss_label,
    marker_size,
    name_ends,
    name_points,
    new_axes,
    write_along,
)
from bayescale.runs import Runs
from bayescale.units import format_size, three_digits
from bayescale.validation.horizon import Trust

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UPRIGHT = 40.0  # points of width, below which the name of a region is written upright


@draws_from(Forecast)
def plot_forecast(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    scale: str = "flops",
    runs: Runs | None = None,
    held_out: pd.DataFrame | None = None,
    horizon: Trust | None = None,
) -> "Axes":
    """Draw the loss against one scale: bands, runs, and how far to trust the forecast.

    The dark band is the interval of the mean over seeds, or of the floor, and the light band that
    of a single new run; the line is the median. Points are runs; a few of them far above the law,
    which would flatten the rest, are triangles at the upper end of the axis. The dotted line is the
    largest fitted run. The gray region is not trusted, or not tested if no backtest was made.

    Parameters
    ----------
    result : Forecast
        Forecast over points that differ in ``scale``. For a model average, each law's median is
        drawn as well.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    scale : {"flops", "params", "tokens"}
        Horizontal axis, logarithmic.
    runs : Runs, optional
        Fitted runs, drawn as filled points.
    held_out : pandas.DataFrame, optional
        Runs not fitted, with the columns ``scale`` and ``loss`` (nats per token), drawn as hollow
        points.
    horizon : Trust, optional
        The trust in the fit, in terms of ``scale``. The largest run is marked, and the region
        beyond the trust horizon is shaded.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TrustError
        If the horizon is in terms of another scale.
    """
    if horizon is not None and horizon.scale != scale:
        raise TrustError(
            f"the horizon is counted in {horizon.scale} and the figure in {scale}: draw against "
            f"{horizon.scale}, or leave the horizon out"
        )
    ax = new_axes(ax)
    if scale != "lm_loss":
        ax.set_xscale("log")  # before the limits of the axis are read
    frame = result.to_frame().sort_values(scale)
    frame = frame if scale != "lm_loss" else frame[::-1]  # the right end last
    x, mass = frame[scale], f"{result.ci_prob:.0%} interval"
    ends: list[tuple[float, float, str, Any]] = []

    def named(own: pd.DataFrame, columns: Sequence[str], name: str, color: str) -> str:
        ends.append((own[scale].iloc[-1], own[list(columns)].iloc[-1].mean(), name, color))
        return name

    # bands are named within, because a name at an edge would be read as that of a bound
    if "loss_new_lower" in frame:
        edges = "loss_new_upper", "loss_upper"
        label = named(frame, edges, f"light band: {result.meaning_new}, {mass}", SKY)
        draw_band(ax, x, frame, "loss_new", color=BLUE, alpha=0.15, label=label)
    edges = "loss_lower", "loss_median"
    label = named(frame, edges, f"dark band: {result.meaning}, {mass}", BLUE)
    draw_band(ax, x, frame, "loss", color=BLUE, alpha=0.35, label=label)
    label = named(frame, ["loss_median"], f"{result.law}, median", BLUE)
    ax.plot(x, frame["loss_median"], color=BLUE, label=label)
    for i, law in enumerate(result.by_law, 1):
        own = law.to_frame().sort_values(scale, ascending=scale != "lm_loss")
        look = color_and_line(i)
        label = named(own, ["loss_median"], f"{law.law} alone, median", look["color"])
        ax.plot(own[scale], own["loss_median"], linewidth=1.2, label=label, **look)
    draw_runs(ax, runs, scale, result.loss_unit, color=BLACK, zorder=3)
    if runs is not None:
        end_below_outliers(ax, runs[scale], result.loss_unit.of(runs["loss"]))
    if held_out is not None and len(held_out):
        look = {"markerfacecolor": "white", "color": ORANGE, "markeredgewidth": 1.8, "zorder": 3}
        look |= {"markersize": marker_size(0 if runs is None else len(runs))}
        losses = result.loss_unit.of(held_out["loss"])
        draw_points(ax, held_out[scale], losses, "D", label="held-out runs", **look)
        name_points(ax, held_out[scale], losses, "held-out runs", above=True)
    if horizon is not None:
        _mark(ax, horizon)
    if scale == "lm_loss":
        ax.set_xlabel(AXIS_LABELS[scale])
    else:
        log_sizes(ax, scale)
    ax.set_ylabel(loss_label(result.loss_unit))
    name_ends(ax, ends)
    return finish_axes(ax)


def _mark(ax: "Axes", horizon: Trust) -> None:
    """Mark the largest run, and shade the region that is not trusted."""
    if horizon.scale == "lm_loss":
        return  # the axis is inverted, and a horizon in multiples has no place on it
    ax.axvline(horizon.largest, color=GREY, linestyle=":")
    edge, far = horizon.horizon_ratio * horizon.largest, ax.get_xlim()[1]
    write_along(ax, horizon.largest, "largest fitted run")
    inside = False
    if horizon.horizon_ratio > 1:
        ax.axvline(edge, color=ORANGE, linestyle="--")
        times = three_digits(horizon.horizon_ratio)
        text = f"trust horizon, {times} times"
        inside = write_along(ax, edge, text, after=horizon.largest)
    if edge < far:
        ax.axvspan(edge, far, facecolor=GREY, alpha=0.12, linewidth=0, zorder=0)
        ax.set_xlim(right=far)
        _name_region(ax, edge, far, "not trusted" if horizon.bins else "not tested", inside)


def _name_region(ax: "Axes", edge: float, far: float, text: str, beside: bool) -> None:
    """Name the region between two places at its top, ``beside`` the name of its first line.

    A region without room for words has no name.
    """
    start, end = ax.transData.transform([(edge, 1.0), (far, 1.0)])[:, 0]
    start += beside * NAME_ALONG * ax.figure.dpi / 72
    if (end - start) * 72 / ax.figure.dpi < NAME_ALONG:
        return  # the name of the horizon says it
    upright = (end - start) * 72 / ax.figure.dpi < _UPRIGHT
    if not upright and (end - start < 0.2 * ax.bbox.width or is_narrow(ax)):
        text = text.replace(" ", "\n")
    middle = ax.transAxes.inverted().transform(((start + end) / 2, 0.0))[0]
    look: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": "small"}
    ax.text(middle, 0.99, text, transform=ax.transAxes, rotation=90 * upright, **look)


@draws_from(Forecast)
def plot_slices(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    scale: str = "params",
    by: str = "flops",
    best: Allocation | None = None,
) -> "Axes":
    """Draw the loss against one scale, with a curve for each value of another: isoFLOP curves.

    The compute is the same along an isoFLOP curve, and its lowest point is the best size. Bars are
    intervals of the draws' best sizes, diamonds are the splits with the least expected loss. Along
    an iso-token curve the data are the same: where it is flat, a larger model gains nothing from
    them. Bands are intervals of the mean over seeds.

    Parameters
    ----------
    result : Forecast
        A forecast over a grid. Points whose ``by`` agrees to six digits make one curve.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    scale : {"params", "tokens"}
        Horizontal axis, logarithmic.
    by : {"flops", "tokens", "params"}
        Quantity that is constant along a curve.
    best : Allocation, optional
        An allocation of the budgets drawn, if ``by`` is ``flops``. The interval of the draws' best
        sizes is drawn as a bar, and the split with the least expected loss as a diamond, both on
        the budget's curve.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame()
    ends: list[tuple[float, float, str, Any]] = []
    same = frame[by].map(_six_digits)
    for i, (value, part) in enumerate(frame.groupby(same)):
        part, size = part.sort_values(scale), float(value)  # pyright: ignore[reportArgumentType]
        name = f"{format_size(size)} {by}"
        if by == "flops":
            name = f"{size:.3g} FLOP".replace("e+", "e")
        color = COLORS[i % len(COLORS)]
        draw_band(ax, part[scale], part, "loss", color=color, alpha=0.2)
        ax.plot(part[scale], part["loss_median"], label=name, **color_and_line(i))
        ends.append((part[scale].iloc[-1], part["loss_median"].iloc[-1], name, color))
    if best is not None:
        table = best.to_frame()
        on_curve = [
            _median_at(frame[same == _six_digits(row["flops"])], scale, row[f"choice_{scale}"])
            for _, row in table.iterrows()
        ]
        look = {"linewidth": 2.5, "label": f"best size, {best.ci_prob:.0%} interval"}
        lower, upper = table[f"{scale}_lower"], table[f"{scale}_upper"]
        ax.hlines(on_curve, lower, upper, color=BLACK, **look)
        ax.plot(table[f"choice_{scale}"], on_curve, "D", color=BLACK, label="least expected loss")
    log_sizes(ax, scale)
    ax.set_ylabel(f"{loss_label(result.loss_unit)}, {result.ci_prob:.0%} interval")
    name_ends(ax, ends)
    return finish_axes(ax)


def _median_at(curve: pd.DataFrame, scale: str, at: float) -> float:
    """Return a curve's median, interpolated; NaN if the curve is not drawn."""
    if curve.empty:
        return np.nan
    curve = curve.sort_values(scale)
    return float(np.interp(np.log(at), np.log(curve[scale]), curve["loss_median"]))


def _six_digits(value: float) -> float:
    # 6 N D of a split equals its budget only up to rounding
    return float(f"{value:.6g}")


@draws_from(Forecast)
def plot_downstream(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    runs: Runs | None = None,
    held_out: pd.DataFrame | None = None,
) -> "Axes":
    """Draw the downstream error against the language model's loss, which falls to the right.

    The dark band is the interval of the mean over models, the light one that of a single new
    model, and the line is the median. Points are models; better ones are further right.

    Parameters
    ----------
    result : Forecast
        Forecast by the law ``downstream``, over points that differ in ``lm_loss``.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    runs : Runs, optional
        Fitted models, drawn as filled points.
    held_out : pandas.DataFrame, optional
        Models not fitted, with the columns ``lm_loss`` and ``loss``, drawn as hollow points.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = plot_forecast(result, ax, scale="lm_loss", runs=runs, held_out=held_out)
    ax.set_xscale("linear")
    ax.xaxis.set_inverted(True)
    ax.set_ylabel("mean error over tasks")
    return ax
