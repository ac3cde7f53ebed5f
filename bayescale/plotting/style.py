"""What figures share: colors, axes in people's units, and a last touch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayescale.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colors, which color-blind readers tell apart
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
LOSS_LABEL = "loss (nats per token)"
RATIO_LABEL = "times larger than the largest run fitted"
_NARROW = 100.0  # times, below which a log axis needs labels between powers of ten


def axes(ax: "Axes | None") -> "Axes":
    """Where to draw: a new figure's axes where none are given."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    return ax


def finished(ax: "Axes", **legend: Any) -> "Axes":
    """Without the frame's idle sides, and with a legend."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(**{"edgecolor": "none", "framealpha": 0.7, "fontsize": "small"} | legend)
    return ax


def log_sizes(ax: "Axes", scale: str, which: str = "x") -> None:
    """A logarithmic axis labeled as people write sizes: 1B, 10T; FLOP by powers of ten."""
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
    """A logarithmic horizontal axis of times larger: 1, 3, 10, 30."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel(RATIO_LABEL)


def percents(axis: Any, at: Sequence[float]) -> None:
    """Ticks at these shares, as percentages."""
    from matplotlib.ticker import FixedLocator, NullFormatter, PercentFormatter

    axis.set_major_locator(FixedLocator(list(at)))
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.set_minor_formatter(NullFormatter())
