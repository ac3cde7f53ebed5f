"""The figure of a comparison of recipes."""

from typing import TYPE_CHECKING

import numpy as np

from bayescale.decisions.versus_answer import Versus
from bayescale.plotting.style import BLACK, COLORS, draws_from, finish_axes, log_sizes, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@draws_from(Versus)
def plot_versus(result: Versus, ax: "Axes | None" = None) -> "Axes":
    """Draw the loss of each recipe by compute, relative to the one that is most probably best.

    Parameters
    ----------
    result : Versus
        A comparison. Bands are intervals of its ``ci_prob``; the dashed line is the largest run.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(ax)
    best = int(result.p_best().argmax())
    tail = (1 - result.ci_prob) / 2
    ax.plot(result.scales, 0 * result.scales, color=COLORS[best % len(COLORS)])
    at = {best: 0.0}
    for i, draws in enumerate(result.order):
        if i == best:
            continue
        color = COLORS[i % len(COLORS)]
        relative = 100 * np.expm1(draws - result.order[best])
        lower, median, upper = np.quantile(relative, [tail, 0.5, 1 - tail], axis=0)
        ax.fill_between(result.scales, lower, upper, color=color, alpha=0.2, linewidth=0)
        ax.plot(result.scales, median, color=color)
        at[i] = float(median[-1])
    ax.axvline(result.largest_run, color=BLACK, linestyle="--", linewidth=0.8)
    about = {"xycoords": ("data", "axes fraction"), "rotation": 90, "fontsize": "small"}
    ax.annotate(
        "largest run",
        (result.largest_run, 0.98),
        (-3, 0),
        textcoords="offset points",
        ha="right",
        va="top",
        **about,
    )
    for i, height in at.items():
        _name(ax, result, i, height)
    log_sizes(ax, "flops")
    ax.set_ylabel(f"loss relative to {result.recipes[best]} (%)")
    return finish_axes(ax)


def _name(ax: "Axes", result: Versus, i: int, at: float) -> None:
    color = COLORS[i % len(COLORS)]
    ax.annotate(
        result.recipes[i],
        (result.scales[-1], at),
        (4, 0),
        textcoords="offset points",
        color=color,
        va="center",
        annotation_clip=False,
    )
