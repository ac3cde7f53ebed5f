"""Figures, drawn from result tables; nothing is computed here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from bayescale.forecast import Forecast
from bayescale.runs import Runs
from bayescale.scenarios.emergence import Emergence
from bayescale.scenarios.perceptron import PrunedPerceptron
from bayescale.scenarios.pruning import Pruning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers tell apart
BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#000000"
GREEN, PURPLE, AMBER, SKY, GREY = "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY)
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
AXIS_LABELS = {
    "params": "parameters",
    "tokens": "training tokens",
    "flops": "training compute (FLOP)",
    "lm_loss": "loss of the language model (nats per token)",
}


def plot_forecast(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    scale: str = "flops",
    runs: Runs | None = None,
    held_out: pd.DataFrame | None = None,
) -> "Axes":
    """Loss against one scale: mean and new-run bands, with the runs.

    Parameters
    ----------
    result : Forecast
        Over points that differ in ``scale``.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.
    scale : {"flops", "params", "tokens"}
        The horizontal axis, logarithmic.
    runs : Runs, optional
        Fitted runs, as filled points.
    held_out : pandas.DataFrame, optional
        Runs not fitted, with the columns ``scale`` and ``loss``, as hollow points.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    frame = result.to_frame().sort_values(scale)
    x = frame[scale]
    mass = f"{result.interval:.0%}"
    if "loss_new_lower" in frame:
        ax.fill_between(
            x, frame["loss_new_lower"], frame["loss_new_upper"], color=BLUE, alpha=0.15,
            linewidth=0, label=f"one new run, {mass} interval",
        )  # fmt: skip
    ax.fill_between(
        x, frame["loss_lower"], frame["loss_upper"], color=BLUE, alpha=0.35, linewidth=0,
        label=f"mean of runs, {mass} interval",
    )  # fmt: skip
    ax.plot(x, frame["loss_median"], color=BLUE, label=f"{result.law}, median")
    points: dict[str, Any] = {"linestyle": "none", "zorder": 3, "markersize": 6}
    if runs is not None:
        ax.plot(runs[scale], runs["loss"], "o", color=BLACK, label="runs fitted", **points)
    if held_out is not None and len(held_out):
        ax.plot(
            held_out[scale], held_out["loss"], "D", markerfacecolor="white", color=ORANGE,
            markeredgewidth=1.8, label="runs held out", **points,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlabel(AXIS_LABELS[scale])
    ax.set_ylabel("loss (nats per token)")
    return _finished(ax)


def plot_pruning(result: Pruning, ax: "Axes | None" = None) -> "Axes":
    """What pruning gains on keeping everything, against the share that is kept.

    Parameters
    ----------
    result : Pruning
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame, mass = _axes(ax), result.to_frame(), f"{result.interval:.0%}"
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
    _percents(ax.xaxis, (0.02, 0.05, 0.1, 0.2, 0.5, 1.0))
    ax.set_xlabel("kept share of the data")
    ax.set_ylabel("gain on keeping everything (nats per token)")
    if result.scenario:
        ax.set_title("Scenario: the metric's quality is a prior", loc="left", fontsize="medium")
    return _finished(ax)


def plot_perceptron(result: PrunedPerceptron, ax: "Axes | None" = None) -> "Axes":
    """Test error of a pruned perceptron against the examples it is trained on.

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
    ax, frame = _axes(ax), result.to_frame()
    frame["kept"] = frame["kept"].where(frame["kept_fraction"] < 1, "all")  # whichever way
    frame = frame.drop_duplicates(["kept", "kept_fraction", "examples_per_param"])
    groups = frame.groupby(["kept", "kept_fraction"], sort=False)
    for i, ((kept, fraction), part) in enumerate(groups):
        label = "all kept" if fraction == 1 else f"{fraction:.0%} kept, {kept}"
        look = (BLACK, "-") if kept == "all" else (COLOURS[i % 6], LINES[i % 6])
        ax.plot(
            part["examples_per_param"] * part["kept_fraction"], part["error"], marker="o",
            markersize=3, color=look[0], linestyle=look[1], label=label,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("examples trained on, per parameter")
    ax.set_ylabel("test error")
    return _finished(ax)


def plot_emergence(
    result: Emergence, ax: "Axes | None" = None, *, metrics: Sequence[str] | None = None
) -> "Axes":
    """How far each metric has come along the path, with the loss on the right-hand axis.

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
    ax, frame = _axes(ax), result.to_frame()
    shown = metrics or [
        metric.name
        for metric in result.metrics
        if not (metric.name.startswith("edit_distance") or metric.name.endswith("_new"))
    ]
    for i, name in enumerate(shown):
        part = frame[frame["metric"] == name]
        colour = COLOURS[i % len(COLOURS)]
        ax.fill_between(
            part[result.scale], part["lower"], part["upper"], color=colour, alpha=0.2, linewidth=0
        )
        ax.plot(
            part[result.scale], part["median"], color=colour, linestyle=LINES[i % len(LINES)],
            label=name.replace("_", " "),
        )  # fmt: skip
    right, loss = ax.twinx(), frame[frame["metric"] == shown[0]]
    right.plot(loss[result.scale], loss["loss_median"], color=GREY, linewidth=2.5, alpha=0.7)
    right.set_ylabel("loss (nats per token), grey")
    right.spines["top"].set_visible(False)
    ax.plot([], [], color=GREY, linewidth=2.5, alpha=0.7, label="loss (right-hand axis)")
    ax.set_xscale("log")
    ax.set_xlabel(AXIS_LABELS[result.scale])
    ax.set_ylabel(f"score (median, {result.interval:.0%} interval)")
    ax.legend(frameon=False, loc="upper center", ncols=2, fontsize="small")
    ax.set_ylim(top=1.25 * ax.get_ylim()[1])  # room for the legend above all curves
    ax.spines["top"].set_visible(False)
    return ax


def plot_downstream(
    result: Forecast,
    ax: "Axes | None" = None,
    *,
    runs: Runs | None = None,
    held_out: pd.DataFrame | None = None,
) -> "Axes":
    """Downstream error against the language model's loss, which falls to the right.

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


def _axes(ax: "Axes | None") -> "Axes":
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    return ax


def _finished(ax: "Axes") -> "Axes":
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    return ax


def _percents(axis: Any, at: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, PercentFormatter

    axis.set_major_locator(FixedLocator(list(at)))
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.set_minor_formatter(NullFormatter())
