"""Figures, drawn from result tables; nothing is computed here."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from bayescale.forecast import Forecast
from bayescale.runs import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers tell apart
BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#000000"
AXIS_LABELS = {
    "params": "parameters",
    "tokens": "training tokens",
    "flops": "training compute (FLOP)",
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
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
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
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax
