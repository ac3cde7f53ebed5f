"""Shared style of figures: colors, axes in readable units, bands, points and legends."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayescale.conventions import NATS, LossUnit
from bayescale.units import format_size

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bayescale.runs import Runs

# Okabe and Ito's colors, which color-blind readers can tell apart
BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#000000"
GREEN, PURPLE, AMBER, SKY, GREY = "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY)
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
AXIS_LABELS = {
    "params": "parameters",
    "tokens": "training tokens",
    "flops": "training compute (FLOP)",
    "lm_loss": "loss of the language model (nats per token)",
}
RATIO_LABEL = "times larger than the largest fitted run"
_NARROW = 100.0  # a log axis shorter than this ratio needs labels between powers of ten
_MANY = 100  # points, from which on they are drawn smaller


def new_axes(ax: "Axes | None") -> "Axes":
    """Return the given axes, or those of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    return ax


def finish_axes(ax: "Axes", **legend: Any) -> "Axes":
    """Remove the frame's upper and right sides, and add a legend."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(**{"edgecolor": "none", "framealpha": 0.7, "fontsize": "small"} | legend)
    return ax


def color_and_line(i: int, shift: int = 0) -> dict[str, Any]:
    """Return the color of the i-th curve, and its line style, ``shift`` styles later."""
    return {"color": COLORS[i % len(COLORS)], "linestyle": LINES[(i + shift) % len(LINES)]}


def draw_band(ax: "Axes", x: Any, frame: "pd.DataFrame", name: str, **look: Any) -> None:
    """Shade between the columns ``{name}_lower`` and ``{name}_upper``."""
    ax.fill_between(x, frame[f"{name}_lower"], frame[f"{name}_upper"], linewidth=0, **look)


def draw_points(ax: "Axes", x: Any, y: Any, marker: str = "o", **look: Any) -> None:
    """Draw markers without a line."""
    ax.plot(x, y, marker, linestyle="none", **look)


def marker_size(count: int) -> float:
    """Return a size of markers that suits how many there are."""
    return 6 if count < _MANY else 3


def loss_label(unit: LossUnit) -> str:
    """Label an axis of losses."""
    return f"loss ({unit.words})"


def draw_runs(
    ax: "Axes",
    runs: "Runs | pd.DataFrame | None",
    scale: str,
    unit: LossUnit = NATS,
    **look: Any,
) -> None:
    """Draw the loss of the fitted runs, which is in nats per token, in a unit."""
    if runs is not None:
        look = {"color": GREY, "markersize": marker_size(len(runs))} | look
        draw_points(ax, runs[scale], unit.of(runs["loss"]), label="fitted runs", **look)


def label_rows(ax: "Axes", names: Sequence[str], room: float) -> None:
    """Name the rows of a figure, the first on top, with room for the legend above them."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -room)
    ax.tick_params(axis="y", length=0)


def log_sizes(ax: "Axes", scale: str, which: str = "x") -> None:
    """Make an axis logarithmic, with sizes as people write them (1B, 10T) and FLOP as powers."""
    from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter

    ax.set(**{f"{which}scale": "log"})
    axis, (low, high) = (ax.xaxis, ax.get_xlim()) if which == "x" else (ax.yaxis, ax.get_ylim())
    narrow = high / low < _NARROW
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,), numticks=9))
    axis.set_minor_formatter(NullFormatter())
    if scale != "flops":
        axis.set_major_formatter(FuncFormatter(lambda value, _: format_size(value)))
    elif narrow:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+", "e")))
    else:
        axis.set_major_formatter(LogFormatterSciNotation())
    axis.set_label_text(AXIS_LABELS[scale])


def log_ratios(ax: "Axes") -> None:
    """Make the horizontal axis logarithmic, with extrapolation ratios: 1, 3, 10, 30."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel(RATIO_LABEL)


def percents(axis: Any, ticks: Sequence[float] = (), decimals: int | None = None) -> None:
    """Write shares as percentages, at the given ticks or at matplotlib's own."""
    from matplotlib.ticker import FixedLocator, NullFormatter, PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))
    if ticks:
        axis.set_major_locator(FixedLocator(list(ticks)))
        axis.set_minor_formatter(NullFormatter())
