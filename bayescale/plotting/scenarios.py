"""Figures of scenarios: pruned data, and scores that emerge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayescale.plotting.style import (
    BLACK,
    BLUE,
    COLORS,
    GREY,
    ORANGE,
    color_and_line,
    draw_band,
    draws_from,
    finish_axes,
    log_sizes,
    name_ends,
    new_axes,
    percents,
)
from bayescale.scenarios.emergence import Emergence
from bayescale.scenarios.perceptron import PrunedPerceptron
from bayescale.scenarios.pruning import Pruning

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draws_from(Pruning)
def plot_pruning(result: Pruning, ax: "Axes | None" = None) -> "Axes":
    """Draw the gain of pruning over keeping everything, against the share that is kept.

    Above the dashed line pruned data give the lower loss. The line is the median, the band its
    interval, the diamond the share with the least expected loss. At the right end everything is
    kept.

    Parameters
    ----------
    result : Pruning
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame()
    x, chosen = frame["kept_fraction"], frame.iloc[result.choice]
    draw_band(ax, x, frame, "gain", color=BLUE, alpha=0.3, label=f"{result.ci_prob:.0%} interval")
    ax.plot(x, frame["gain_median"], color=BLUE, label=f"{result.law}, median")
    ax.axhline(0.0, color=GREY, linestyle="--", label="everything kept")
    kept = chosen["kept_fraction"]
    look = {"color": ORANGE, "zorder": 3, "label": f"least expected loss: keep {kept:.0%}"}
    ax.plot(kept, chosen["gain_median"], "D", **look)
    ax.set_xscale("log")
    percents(ax.xaxis, (0.02, 0.05, 0.1, 0.2, 0.5, 1.0), decimals=0)
    ax.set_xlabel("share of the data kept")
    ax.set_ylabel(f"gain over keeping everything ({result.loss_unit.words})")
    if result.scenario:
        ax.set_title("Scenario: the metric's quality is a prior", loc="left", fontsize="medium")
    return finish_axes(ax)


@draws_from(PrunedPerceptron)
def plot_perceptron(result: PrunedPerceptron, ax: "Axes | None" = None) -> "Axes":
    """Draw the test error of a pruned perceptron against the examples it is trained on.

    Each line keeps one share, the hardest or the easiest, of a growing set of examples; the black
    line keeps all. A line that falls more steeply than the black one beats its power law.

    Parameters
    ----------
    result : PrunedPerceptron
        Result over several sizes of the set, or several fractions.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame()
    frame["kept"] = frame["kept"].where(frame["kept_fraction"] < 1, "all")  # equal for all ways
    frame = frame.drop_duplicates(["kept", "kept_fraction", "examples_per_param"])
    groups = frame.groupby(["kept", "kept_fraction"], sort=False)
    for i, ((kept, fraction), part) in enumerate(groups):
        style: dict[str, Any] = {"color": BLACK} if kept == "all" else color_and_line(i)
        label = "all kept" if fraction == 1 else f"{fraction:.0%} kept, {kept}"
        trained = part["examples_per_param"] * part["kept_fraction"]
        ax.plot(trained, part["error"], marker="o", markersize=3, label=label, **style)
    ax.set(xscale="log", yscale="log", ylabel="test error")
    ax.set_xlabel("examples trained on, per parameter")
    return finish_axes(ax)


@draws_from(Emergence)
def plot_emergence(
    result: Emergence, ax: "Axes | None" = None, *, metrics: Sequence[str] | None = None
) -> "Axes":
    """Draw each metric along the path, above the loss that it is computed from.

    Colored lines and bands are scores. The thick gray line is the loss, between the ends that its
    name states. If a score rises late although the gray line falls evenly, the reason is the metric
    and not the model.

    Parameters
    ----------
    result : Emergence
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    metrics : sequence of str, optional
        Metrics of the result to draw; by default those between 0 and 1, for the mean over seeds.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame()
    ends: list[tuple[float, float, str, Any]] = []
    shown = metrics or [
        metric.name
        for metric in result.metrics
        if not (metric.name.startswith("edit_distance") or metric.name.endswith("_new"))
    ]
    for i, name in enumerate(shown):
        part = frame[frame["metric"] == name]
        x, color = part[result.scale], COLORS[i % len(COLORS)]
        ax.fill_between(x, part["lower"], part["upper"], color=color, alpha=0.2, linewidth=0)
        label = name.replace("_", " ")
        ax.plot(x, part["median"], label=label, **color_and_line(i))
        ends.append((x.iloc[-1], part["median"].iloc[-1], label, color))
    log_sizes(ax, result.scale)
    ax.set_ylabel(f"score (median, {result.ci_prob:.0%} interval)")
    ends.append(_draw_loss(ax, frame[frame["metric"] == shown[0]], result.scale))
    name_ends(ax, ends)
    return finish_axes(ax)


def _draw_loss(ax: "Axes", path: pd.DataFrame, scale: str) -> tuple[float, float, str, Any]:
    """Draw the loss over the height of the axes, and return its end."""
    loss, (low, high) = path["loss_median"], ax.get_ylim()
    share = (loss - loss.min()) / max(float(np.ptp(loss)), 1e-12)
    y = low + (0.05 + 0.9 * share) * (high - low)
    name = f"loss, {loss.iloc[0]:.3g} to {loss.iloc[-1]:.3g} nats per token"
    ax.plot(path[scale], y, color=GREY, linewidth=2.5, alpha=0.7, label=name, zorder=1)
    return (path[scale].iloc[-1], y.iloc[-1], name, GREY)
