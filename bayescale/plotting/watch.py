"""The figure of a run in progress."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bayescale.decisions.watch_answer import Watch
from bayescale.plotting.style import BLACK, BLUE, GREEN, ORANGE, draws_from, finish_axes, new_axes
from bayescale.results import quantiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAST = 1.03  # place of the first interval beyond the run's end, as a multiple of its last step
_WARM = 0.04  # the first share of the run, whose losses are too high to show


@draws_from(Watch)
def plot_watch(result: Watch, ax: "Axes | None" = None) -> "Axes":
    """Draw the losses so far, the forecast curve, and the final loss beside its earlier forecast.

    Parameters
    ----------
    result : Watch
        A run in progress. The shaded band is the 90 % interval of the mean loss; bars at the end
        are intervals of the final loss with mass ``ci_prob``.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(ax)
    seen = result.history[result.history["step"] >= _WARM * result.last_step]
    ax.plot(seen["step"], seen["loss"], color=BLACK, linewidth=1)
    curve = result.curve
    ax.fill_between(curve["step"], curve["lower"], curve["upper"], color=BLUE, alpha=0.2, lw=0)
    ax.plot(curve["step"], curve["median"], color=BLUE)
    bars = [("now", result.final_loss, BLUE)]
    if result.forecast is not None:
        bars.append(("before the run", result.forecast, GREEN))
    for i, (name, draws, color) in enumerate(bars):
        _bar(ax, result.last_step * (_PAST + 0.05 * i), draws, result.ci_prob, color, name)
    if result.target is not None:
        ax.axhline(result.target, color=ORANGE, linestyle="--", linewidth=1)
        about = {"xycoords": ("axes fraction", "data"), "color": ORANGE, "va": "bottom"}
        ax.annotate(f"target {result.target:g}", (0.01, result.target), **about)
    since = None if result.course is None else result.course.alarm_step
    if since is not None:
        ax.axvline(since, color=ORANGE, linewidth=1)
        about = {"xycoords": ("data", "axes fraction"), "color": ORANGE, "va": "top"}
        ax.annotate(" off its course", (since, 0.98), **about)
    _frame(ax, result, seen["loss"].to_numpy())
    return finish_axes(ax)


def _bar(ax: "Axes", at: float, draws: np.ndarray, ci_prob: float, color: str, name: str) -> None:
    found = quantiles(draws, ci_prob)
    ax.plot([at, at], [found["lower"], found["upper"]], color=color, lw=3, solid_capstyle="butt")
    ax.plot([at], [found["median"]], "o", color=color, markersize=5)
    about: dict[str, Any] = {"textcoords": "offset points", "rotation": 90, "color": color}
    ax.annotate(name, (at, found["upper"]), (0, 4), **about, ha="center", va="bottom")


def _frame(ax: "Axes", result: Watch, losses: np.ndarray) -> None:
    low = min(float(losses.min()), float(result.curve["lower"].min()))
    if result.target is not None:
        low = min(low, result.target)
    high = float(np.quantile(losses, 0.97))
    ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    ax.set_xlim(0, result.last_step * 1.16)
    ax.set_xlabel("step")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_ylabel(f"loss ({result.unit})")
    ax.set_title(f"{result.name}: {result.fraction_done:.0%} done", loc="left", fontsize="medium")
