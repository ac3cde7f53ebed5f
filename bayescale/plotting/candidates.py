"""Figure of the candidates for the next run, and of what a run of each leaves uncertain."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayescale.decisions.next_run_answer import NextRun
from bayescale.plotting.style import (
    AXIS_LABELS,
    BLUE,
    GREY,
    ORANGE,
    draw_points,
    draws_from,
    finish_axes,
    is_narrow,
    log_sizes,
    new_axes,
    write_beside,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_SHADES = 0.05  # share of the uncertainty that colors span: less would color noise
_SHADES = 64  # of a color bar, each an element of the figure
_FEW = 3  # most runs to buy beside which there is room for a share each
_UNCERTAINTIES = {
    "loss": ("sd", "sd of log loss"),
    "regret": ("regret", "expected regret, {unit}"),
}


@draws_from(NextRun)
def plot_next_run(result: NextRun, ax: "Axes | None" = None) -> "Axes":
    """Draw candidate runs with the uncertainty that would remain after each was bought.

    A point is a candidate. The darker it is on the map, or the lower against the cost, the less
    uncertainty would remain. Squares are the runs to buy, numbered in order. If all colors are
    nearly equal, no candidate reduces the uncertainty much.

    Parameters
    ----------
    result : NextRun
        For laws of params and tokens, a map of both is drawn; otherwise the remaining
        uncertainty against the cost.
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given. The map adds a color bar to its figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, frame = new_axes(ax), result.to_frame()
    column, name = _UNCERTAINTIES[result.target]
    name = name.format(unit=result.loss_unit.words)
    after, before = f"{column}_after", float(frame[f"{column}_before"].iloc[0])
    batch = result.batch
    if {"params", "tokens"} <= set(frame.columns):
        _draw_map(ax, frame, after, before, name)
        at = ["params", "tokens"]
        log_sizes(ax, "tokens", "y")
        log_sizes(ax, "params")
    else:
        for part, marker, label in _by_affordability(frame):
            draw_points(ax, part["flops"], part[after], marker, color=BLUE, label=label)
        ax.axhline(before, color=GREY, linestyle="--", label=f"now, {before:.3g}")
        ax.set_ylabel(f"remaining {name}")
        at = ["flops", after]
        log_sizes(ax, "flops")
        ax.set_xlabel(f"cost of the run: {AXIS_LABELS['flops']}")
    if len(batch):
        keys = [name for name in ("params", "tokens", "flops") if name in frame]
        bought = batch[keys].merge(frame.drop_duplicates(keys), on=keys, how="left")
        _number(
            ax, bought[at].to_numpy(), 1 - bought[after].to_numpy() / before, frame[at].to_numpy()
        )
    # a wide legend would push the color bar away, and markers are taller than its lines
    return finish_axes(ax, ncols=1, labelspacing=0.9)


def _by_affordability(frame: pd.DataFrame) -> list[tuple[pd.DataFrame, str, str]]:
    """Return candidates within and beyond the budget, each part with a marker and a label."""
    affordable = frame["affordable"].astype(bool)
    parts = [
        (frame[affordable], "o", "candidate within the budget"),
        (frame[~affordable], "X", "beyond the budget"),
    ]
    return [part for part in parts if len(part[0])]


def _draw_map(ax: "Axes", frame: pd.DataFrame, after: str, before: float, name: str) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    least = min(float(frame[after].min()), (1 - _LEAST_SHADES) * before)
    norm = Normalize(least, max(before, float(frame[after].max())))
    shades: dict[str, Any] = {
        "cmap": "cividis",
        "norm": norm,
        "edgecolors": GREY,
        "linewidths": 1.0,
    }
    for part, marker, label in _by_affordability(frame):
        size = 90 if marker == "o" else 40
        x, y = part["params"], part["tokens"]
        ax.scatter(x, y, c=part[after], marker=marker, s=size, label=label, **shades)
    colors = ScalarMappable(norm, colormaps["cividis"].resampled(_SHADES))
    side = "bottom" if is_narrow(ax) else "right"
    label = f"remaining {name} (now {before:.3g})"
    bar = ax.figure.colorbar(colors, ax=ax, location=side, label=label)
    if side == "bottom":  # numbers are long if candidates hardly differ
        bar.ax.xaxis.set_major_locator(MaxNLocator(2))
    ax.margins(x=0.12)  # leaves room for words at the right


def _number(ax: "Axes", places: np.ndarray, removed: np.ndarray, others: np.ndarray) -> None:
    """Number the runs to buy, shape (run, 2); a few are labeled with what each removes."""
    look: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": ORANGE}
    few = len(places) <= _FEW
    label = "runs to buy, in order" + (", and what each removes" if few else "")
    draw_points(
        ax, places[:, 0], places[:, 1], "s", markersize=13, markeredgewidth=2, label=label, **look
    )
    orders: dict[tuple[float, float], list[str]] = {}
    shares: dict[tuple[float, float], float] = {}
    for i, ((x, y), share) in enumerate(zip(places, removed, strict=True), 1):
        orders.setdefault((x, y), []).append(str(i))
        shares[x, y] = share
    for place, order in orders.items():
        text = f": {100 * shares[place]:.2g}%" if few else ""
        write_beside(ax, place, ", ".join(order) + text, others)
