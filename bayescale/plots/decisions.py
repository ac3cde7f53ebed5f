"""Figures of decisions: a budget's frontier, and which run to buy."""

from typing import TYPE_CHECKING

import numpy as np

from bayescale.decide.allocation import Allocation
from bayescale.decide.next_run import NextRun
from bayescale.plots.looks import (
    AXIS_LABELS,
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    axes,
    finished,
    log_sizes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEFORE = {"loss": "sd", "regret": "regret"}


def plot_allocation(result: Allocation, ax: "Axes | None" = None) -> "Axes":
    """Parameters and tokens to choose against the budget, with each draw's best split.

    Parameters
    ----------
    result : Allocation
        Of one or, for a frontier, several budgets.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = axes(ax), result.to_frame().sort_values("flops")
    mass = f"{result.interval:.0%}"
    for name, colour, marker, line in (
        ("params", BLUE, "o", "-"), ("tokens", ORANGE, "s", "--")
    ):  # fmt: skip
        lower, upper = frame[f"{name}_lower"], frame[f"{name}_upper"]
        if len(frame) > 1:
            ax.fill_between(frame["flops"], lower, upper, color=colour, alpha=0.2, linewidth=0)
        ax.vlines(frame["flops"], lower, upper, color=colour, alpha=0.6)
        ax.plot(
            frame["flops"], frame[f"choice_{name}"], color=colour, marker=marker, linestyle=line,
            label=f"{name} of least expected loss (band: each draw's best, {mass})",
        )  # fmt: skip
    log_sizes(ax, "params", "y")
    log_sizes(ax, "flops")
    ax.set_ylabel("parameters, tokens")
    ax.set_xlabel("budget (FLOP)")
    return finished(ax)


def plot_next_run(result: NextRun, ax: "Axes | None" = None) -> "Axes":
    """Candidate runs by what buying each would leave of the uncertainty.

    Parameters
    ----------
    result : NextRun
        For laws of params and tokens a map of both, darker where less is left; else what is
        left against the price.
    ax : matplotlib Axes, optional
        Drawn into; a new figure where not given. The map adds a colour bar to its figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = axes(ax), result.to_frame()
    kind = _BEFORE[result.target]
    left, before = frame[f"{kind}_after"], float(frame[f"{kind}_before"].iloc[0])
    told = "sd of log loss" if result.target == "loss" else "expected regret, nats per token"
    dear = ~frame["affordable"].astype(bool)
    batch = result.batch
    if {"params", "tokens"} <= set(frame.columns):
        x, y = "params", "tokens"
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        norm = Normalize(float(left.min()), max(before, float(left.max())))
        colours = ScalarMappable(norm, "cividis")
        for which, marker, size in ((~dear, "o", 90), (dear, "X", 40)):
            label = "candidate within the budget" if marker == "o" else "beyond the budget"
            if which.any():
                ax.scatter(
                    frame.loc[which, x], frame.loc[which, y], c=left[which], cmap="cividis",
                    norm=norm, marker=marker, s=size, edgecolors=GREY, linewidths=0.6, label=label,
                )  # fmt: skip
        ax.figure.colorbar(colours, ax=ax, label=f"left of {before:.3g}: {told}")
        places = [(row[x], row[y]) for row in batch.to_dict(orient="records")]
        log_sizes(ax, y, "y")
    else:
        x = "flops"
        for which, marker in ((~dear, "o"), (dear, "X")):
            label = "candidate within the budget" if marker == "o" else "beyond the budget"
            if which.any():
                ax.plot(
                    frame.loc[which, x], left[which], marker, color=BLUE, linestyle="none",
                    label=label,
                )  # fmt: skip
        ax.axhline(before, color=GREY, linestyle="--", label=f"now, {before:.3g}")
        ax.set_ylabel(f"left: {told}")
        alone = dict(zip(frame[x], left, strict=True))
        places = [(row[x], alone[row[x]]) for row in batch.to_dict(orient="records")]
    if places:
        ax.plot(
            *np.array(places).T, "s", markerfacecolor="none", markeredgecolor=ORANGE,
            markeredgewidth=2, markersize=13, linestyle="none", label="to buy, in this order",
        )  # fmt: skip
    seen: dict[tuple[float, float], list[str]] = {}
    for i, place in enumerate(places, 1):
        seen.setdefault(place, []).append(str(i))
    for place, order in seen.items():
        ax.annotate(
            ", ".join(order), place, xytext=(10, 8), textcoords="offset points", color=BLACK,
            fontweight="bold",
        )  # fmt: skip
    log_sizes(ax, x)
    if x == "flops":
        ax.set_xlabel(f"price of the run: {AXIS_LABELS['flops']}")
    return finished(ax)
