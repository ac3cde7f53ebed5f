"""The figure of isoFLOP parabolas, with each minimum beside the law's best size."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bayescale.conventions import LossUnit
from bayescale.errors import TrustError
from bayescale.plotting.style import (
    BLACK,
    draw_points,
    draws_from,
    finish_axes,
    log_sizes,
    loss_label,
    name_ends,
    new_axes,
)
from bayescale.validation.cross_check import CrossCheck

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 12
"""The most budgets that are drawn: those with the largest weight in the power law."""


@draws_from(CrossCheck)
def plot_isoflop_parabolas(result: CrossCheck, ax: "Axes | None" = None) -> "Axes":
    """Draw the loss against size at each budget: runs, parabola, minimum, and the law's best size.

    Parameters
    ----------
    result : CrossCheck
        A result with isoFLOP budgets. The twelve with the largest weight in the power law are
        drawn.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TrustError
        If the log has no isoFLOP budgets.
    """
    if not len(result.groups):
        raise TrustError(f"there are no parabolas to draw: {result.missing['isoflop']}")
    import matplotlib as mpl

    ax, unit = new_axes(ax), result.loss_unit
    ends: list[tuple[float, float, str, Any]] = []
    shown = result.groups[result.groups["used"]].nlargest(MOST, "weight").sort_values("flops")
    colors = mpl.colormaps["viridis"](np.linspace(0.0, 0.8, len(shown)))
    labels = {"label": "minimum of the parabola"}, {"label": f"best size by {result.law}"}
    for color, row in zip(colors, shown.to_dict(orient="records"), strict=True):
        points = result.points[result.points["budget"] == row["budget"]]
        parabola = np.poly1d([row["square"], row["slope"], row["constant"]])
        x = np.geomspace(points["params"].min(), points["params"].max(), 100)
        y = unit.of(parabola(np.log(x) - row["center"]))
        ax.plot(x, y, color=color, linewidth=1.4)
        draw_points(ax, points["params"], unit.of(points["loss"]), color=color, markersize=3.5)
        _mark(ax, row, parabola, "params", unit, fillstyle="full", marker="D", **labels[0])
        _mark(
            ax, row, parabola, "params_posterior", unit, fillstyle="none", marker="o", **labels[1]
        )
        labels = {}, {}
        ends.append((x[-1], y[-1], f"{row['flops']:.2g}".replace("e+", "e"), color))
    log_sizes(ax, "params")
    ax.set_ylabel(loss_label(unit))
    name_ends(ax, ends, size=7)
    ax.set_title(f"runs of equal compute, in FLOP; bars: {result.ci_prob:.0%} intervals", size=9)
    return finish_axes(ax)


def _mark(
    ax: "Axes",
    row: dict[Any, Any],
    parabola: np.poly1d,
    column: str,
    unit: LossUnit,
    **look: Any,
) -> None:
    """Draw a best size and its interval on the parabola."""
    at = unit.of(parabola(np.log(row[column]) - row["center"]))
    ax.hlines(at, row[f"{column}_lower"], row[f"{column}_upper"], color=BLACK, linewidth=0.9)
    ax.plot(row[column], at, color=BLACK, markersize=6, linestyle="none", zorder=4, **look)
