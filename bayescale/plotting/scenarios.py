"""Figures of scenarios: pruned data, and scores that emerge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bayescale.plotting.style import (
    BLACK,
    BLUE,
    COLORS,
    GREY,
    LINES,
    ORANGE,
    axes,
    finished,
    log_sizes,
    percents,
)
from bayescale.scenarios.emergence import Emergence
from bayescale.scenarios.perceptron import PrunedPerceptron
from bayescale.scenarios.pruning import Pruning

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_pruning(result: Pruning, ax: "Axes | None" = None) -> "Axes":
    """What pruning gains on keeping everything, against the share that is kept.

    Above the dashed line the pruned data give the lower loss; the line is the median, the band
    its interval, the diamond the share of least expected loss. At the right, all is kept.

    Parameters
    ----------
    result : Pruning
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame, mass = axes(ax), result.to_frame(), f"{result.ci_prob:.0%}"
    x, chosen = frame["kept_fraction"], frame.iloc[result.choice]
    ax.fill_between(
        x, frame["gain_lower"], frame["gain_upper"], color=BLUE, alpha=0.3, linewidth=0,
        label=f"{mass} interval",
    )  # fmt: skip
    ax.plot(x, frame["gain_median"], color=BLUE, label=f"{result.law}, median")
    ax.axhline(0.0, color=GREY, linestyle="--", label="everything kept")
    ax.plot(
        chosen["kept_fraction"], chosen["gain_median"], "D", color=ORANGE, zorder=3,
        label=f"least expected loss: keep {chosen['kept_fraction']:.0%}",
    )  # fmt: skip
    ax.set_xscale("log")
    percents(ax.xaxis, (0.02, 0.05, 0.1, 0.2, 0.5, 1.0))
    ax.set_xlabel("kept share of the data")
    ax.set_ylabel("gain on keeping everything (nats per token)")
    if result.scenario:
        ax.set_title("Scenario: the metric's quality is a prior", loc="left", fontsize="medium")
    return finished(ax)


def plot_perceptron(result: PrunedPerceptron, ax: "Axes | None" = None) -> "Axes":
    """Test error of a pruned perceptron against the examples it is trained on.

    A line keeps one share of a growing pool, its hardest or easiest examples; the black one keeps
    all. A line that falls steeper than the black one beats the power law of keeping everything.

    Parameters
    ----------
    result : PrunedPerceptron
        Over several pools or fractions.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = axes(ax), result.to_frame()
    frame["kept"] = frame["kept"].where(frame["kept_fraction"] < 1, "all")  # whichever way
    frame = frame.drop_duplicates(["kept", "kept_fraction", "examples_per_param"])
    groups = frame.groupby(["kept", "kept_fraction"], sort=False)
    for i, ((kept, fraction), part) in enumerate(groups):
        label = "all kept" if fraction == 1 else f"{fraction:.0%} kept, {kept}"
        look = (BLACK, "-") if kept == "all" else (COLORS[i % 6], LINES[i % 6])
        ax.plot(
            part["examples_per_param"] * part["kept_fraction"], part["error"], marker="o",
            markersize=3, color=look[0], linestyle=look[1], label=label,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("examples trained on, per parameter")
    ax.set_ylabel("test error")
    return finished(ax)


def plot_emergence(
    result: Emergence, ax: "Axes | None" = None, *, metrics: Sequence[str] | None = None
) -> "Axes":
    """How far each metric has come along the path, with the loss on the right-hand axis.

    Colored lines and bands are scores, which read on the left; the thick grey line is the loss
    they are computed from, on the right. A score that turns up late while the grey line falls
    evenly is a matter of the metric, and not of the model.

    Parameters
    ----------
    result : Emergence
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.
    metrics : sequence of str, optional
        Which of the result's; those that lie between 0 and 1, of the mean run, where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = axes(ax), result.to_frame()
    shown = metrics or [
        metric.name
        for metric in result.metrics
        if not (metric.name.startswith("edit_distance") or metric.name.endswith("_new"))
    ]
    for i, name in enumerate(shown):
        part = frame[frame["metric"] == name]
        color = COLORS[i % len(COLORS)]
        ax.fill_between(
            part[result.scale], part["lower"], part["upper"], color=color, alpha=0.2, linewidth=0
        )
        ax.plot(
            part[result.scale], part["median"], color=color, linestyle=LINES[i % len(LINES)],
            label=name.replace("_", " "),
        )  # fmt: skip
    right, loss = ax.twinx(), frame[frame["metric"] == shown[0]]
    right.plot(loss[result.scale], loss["loss_median"], color=GREY, linewidth=2.5, alpha=0.7)
    right.set_ylabel("loss (nats per token), grey")
    right.spines["top"].set_visible(False)
    ax.plot([], [], color=GREY, linewidth=2.5, alpha=0.7, label="loss (right-hand axis)")
    log_sizes(ax, result.scale)
    ax.set_ylabel(f"score (median, {result.ci_prob:.0%} interval)")
    ax.legend(frameon=False, loc="upper left", fontsize="small")
    for side in (ax, right):  # room for the legend above all curves
        low, high = side.get_ylim()
        side.set_ylim(top=high + 0.07 * (len(shown) + 1) * (high - low))
    ax.spines["top"].set_visible(False)
    return ax
