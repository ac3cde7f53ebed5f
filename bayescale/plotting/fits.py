"""The figure of a fit: its runs, the law beyond them, and the limit of trust."""

from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from bayescale.errors import FigureError
from bayescale.forecasting import Forecast, forecast
from bayescale.plotting.forecasts import plot_forecast
from bayescale.plotting.style import BLACK, ORANGE, draws_from, is_narrow, new_axes
from bayescale.posterior import MEAN, Fit, ModelAverage, Posterior, loss_unit_of
from bayescale.units import format_size, three_digits
from bayescale.validation.horizon import own_path, trust
from bayescale.verdict import TITLES, own_scale, size_scale, sizes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_POINTS = 60
_OF_RUN = ("params", "tokens")
_ROOM = 0.2  # share of the height that is kept for words below the curve
_BEYOND, _BEYOND_LOSS = 30.0, 1.3  # factors beyond the largest run, or the lowest loss


@draws_from(Posterior, ModelAverage)
def plot_fit(
    fit: Fit,
    ax: "Axes | None" = None,
    *,
    point: Forecast | None = None,
    allow_unconverged: bool = False,
) -> "Axes":
    """Draw runs, the law through and beyond them, and the trust horizon.

    The law is drawn at the tokens per parameter of the largest runs, so runs and forecasts at other
    ratios lie off it. Runs far above the law are drawn as triangles at the upper end of the axis.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of runs.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    point : Forecast, optional
        Forecasts to mark, each with the interval of the mean as a bar and its median as text. The
        title of a single one is its verdict.
    allow_unconverged : bool
        Draw the figure even if the fit failed its convergence checks.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FigureError
        If the fit is a point estimate, which has no runs.
    """
    if fit.runs is None:
        raise FigureError(
            "a point estimate has no runs to be drawn beside the law: draw a forecast of several "
            "points with plot_forecast"
        )
    scale, unit = size_scale(fit.inputs), loss_unit_of(fit)
    size = sizes(fit.runs.frame, fit.inputs)
    ends = [size.min(), size.max() * (_BEYOND_LOSS if scale == "lm_loss" else _BEYOND)]
    shown = None if point is None else point.to_frame()
    if shown is not None:
        at = own_scale(shown[scale].to_numpy(float), fit.inputs)
        ends += [at.min(), at.max() * 1.3]
    scales, along = own_path(fit, np.geomspace(min(ends), max(ends), _POINTS))
    options: dict[str, Any] = {"allow_unconverged": allow_unconverged}
    if point is not None:
        unit = point.loss_unit
    curve = forecast(fit, **scales, loss_unit=unit, **options)
    horizon = trust(fit, **options)
    ax = new_axes(ax)
    if shown is not None and len(shown) == 1:
        ax.set_title(_title(shown.iloc[0]), loc="left", fontsize="medium")
    plot_forecast(curve, ax, scale=scale, runs=fit.runs, horizon=horizon)
    if point is not None:
        mark_forecasts(ax, point, scale)
    if along is not None:
        at = f"Line and horizon: at {along:.3g} tokens per parameter, as in the largest runs."
        at = "\n".join(wrap(f"{at} Other ratios can lie off it.", 40 if is_narrow(ax) else 68))
        ax.set_xlabel(f"{ax.get_xlabel()}\n{at}")
    return ax


def _title(row: "pd.Series") -> str:
    """Return what was forecast, and its verdict."""
    sizes = " on ".join(f"{format_size(row[n])} {n}" for n in _OF_RUN if np.isfinite(row[n]))
    if np.isfinite(row["flops"]):
        sizes += f"{', ' if sizes else ''}{row['flops']:.3g} FLOP".replace("e+", "e")
    ratio = row["extrapolation_ratio"]
    far = f", at {three_digits(ratio)} times the largest run" if np.isfinite(ratio) else ""
    return f"{sizes}\n{TITLES[row['verdict']]}{far}".strip()


def mark_forecasts(ax: "Axes", point: Forecast, scale: str) -> None:
    """Mark forecasts at their scale with their intervals, and write the medians beside them.

    The target is a line across; a single forecast says with which probability it ends below.
    """
    low, high = ax.get_ylim()
    rows, unit = point.to_frame().to_dict(orient="records"), point.loss_unit
    least = min(row["loss_median"] for row in rows)
    ax.set_ylim(min(low, (least - _ROOM * high) / (1 - _ROOM)), high)
    if point.target is not None:
        ax.axhline(point.target, color=ORANGE, linewidth=1, linestyle="--")
        text = f"target {point.target:g}"
        if len(rows) == 1:
            text += f": below with {rows[0]['p_below_target']:.0%}"
        ax.annotate(text, (0.01, point.target), xycoords=("axes fraction", "data"),
                    xytext=(0, 2), textcoords="offset points", fontsize="small")  # fmt: skip
    for row in rows:
        lower, middle, upper = (row[f"loss_{name}"] for name in ("lower", "median", "upper"))
        x = row[scale]
        ends: dict[str, Any] = {"color": ORANGE, "zorder": 4}
        ax.plot(
            [x, x], [lower, upper], "_-", linewidth=2.5, markersize=11, markeredgewidth=2, **ends
        )
        ax.plot([x], [middle], "D", color=ORANGE, markeredgecolor=BLACK, markersize=5, zorder=5)
        interval = f"{point.ci_prob:.0%} interval {lower:.3f} to {upper:.3f}"
        what = "loss" if unit.is_loss else "error"
        what = f"{'mean ' if point.meaning == MEAN else ''}{what} {middle:.3f}"
        of_run = " on ".join(f"{format_size(row[n])} {n}" for n in _OF_RUN if np.isfinite(row[n]))
        lines = ["" if ax.get_title(loc="left") else of_run, what, interval]
        text = "\n".join(filter(None, lines))
        # losses fall with scale, so the place below and to the left is free
        place: dict[str, Any] = {"xytext": (-8, -9), "textcoords": "offset points", "va": "top"}
        place["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        ax.annotate(text, (x, middle), fontsize="small", ha="right", zorder=6, **place)
