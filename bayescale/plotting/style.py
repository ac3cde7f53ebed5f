"""Shared style of figures: colors, axes in readable units, bands, points and legends."""

from collections.abc import Callable, Sequence
from functools import wraps
from textwrap import fill
from typing import TYPE_CHECKING, Any

from bayescale.conventions import NATS, LossUnit
from bayescale.errors import FigureError
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
_LONG_LABEL = 44  # characters, from which on a legend has one column
_PHONE = 5.0  # inches, below which a figure has room for one column of names
_PHONE_LINE = 30  # characters of a line there
_MANY = 100  # points, from which on they are drawn smaller


def draws_from[**P, R](*kinds: type) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse any other first argument of a figure with a message that names what it draws."""

    def decorate(draw: Callable[P, R]) -> Callable[P, R]:
        @wraps(draw)
        def checked(*arguments: P.args, **look: P.kwargs) -> R:
            given = arguments[0] if arguments else next(iter(look.values()), None)
            if not isinstance(given, kinds):
                wanted = " or a ".join(kind.__name__ for kind in kinds)
                table = ": give the result itself, not its table, which holds no draws"
                raise FigureError(
                    f"{draw.__name__} draws a {wanted}, and a {type(given).__name__} was given"
                    + (table if hasattr(given, "iloc") else "")
                )
            return draw(*arguments, **look)

        return checked

    return decorate


def new_axes(ax: "Axes | None") -> "Axes":
    """Return the given axes, or those of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    return ax


def finish_axes(ax: "Axes", **legend: Any) -> "Axes":
    """Remove the frame's upper and right sides, and name what is drawn above it, off the data."""
    ax.spines[["top", "right"]].set_visible(False)
    written = {text.get_text() for text in ax.texts}  # named where they stand
    handles, labels = ax.get_legend_handles_labels()
    shown = [pair for pair in zip(handles, labels, strict=True) if pair[1] not in written]
    if not shown:
        return ax
    handles, labels = zip(*shown, strict=True)
    if is_narrow(ax):
        labels = [fill(label, _PHONE_LINE) for label in labels]
    long = max(map(len, labels)) > _LONG_LABEL or len(labels) == 1 or is_narrow(ax)
    above_title = 1.06 if ax.get_title(loc="left") or ax.get_title() else 1.0
    place = {"loc": "lower left", "bbox_to_anchor": (0.0, above_title)}
    look = {"frameon": False, "fontsize": "small", "ncols": 1 if long else 2, "borderaxespad": 0.2}
    ax.legend(handles, labels, **place | look | legend)
    return ax


def is_narrow(ax: "Axes") -> bool:
    """Tell whether a figure is drawn for a phone."""
    return ax.figure.bbox.width / ax.figure.dpi < _PHONE


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


def write_along(ax: "Axes", x: float, text: str) -> None:
    """Write what an upright line is, along it and on its left, from the top of the axes."""
    ax.annotate(
        text,
        (x, 0.99),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        va="top",
        fontsize="small",
        color=BLACK,  # pages set the color of words
    )


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
    """Make an axis logarithmic, with sizes as people write them: 1B, 10T, 1e22."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set(**{f"{which}scale": "log"})
    axis, (low, high) = (ax.xaxis, ax.get_xlim()) if which == "x" else (ax.yaxis, ax.get_ylim())
    narrow = high / low < _NARROW
    count = 5 if which == "x" and is_narrow(ax) else 9
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,), numticks=count))
    axis.set_minor_formatter(NullFormatter())
    if scale != "flops":
        axis.set_major_formatter(FuncFormatter(lambda value, _: format_size(value)))
    else:  # an exponent that is raised would be too small to read on a phone
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+", "e")))
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
