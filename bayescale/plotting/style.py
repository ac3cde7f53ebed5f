"""Shared style of figures: colors, axes in readable units, bands, points and legends."""

from collections.abc import Callable, Sequence
from functools import wraps
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

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
NAME_ALONG = 14.0
"""Points of width that words along an upright line need."""
_ROOM = 0.05  # share of the width that words along a line need
_LETTER = 5.0  # points of height of a small letter of upright text, with its gap
_SLIM = 3.5  # inches, below which axes have room for half as many sizes
_PHONE = 5.0  # inches, below which a figure has room for one column of names
_PHONE_LINE = 30  # characters of a line there
_NAME_WIDTH = 19  # characters of a name beside the axes
_APART = 1.0  # sizes of a letter, by which a name of several lines stands further from others
_MANY = 100  # points, from which on they are drawn smaller
_FEW = 0.05  # share of the points that an axis may leave out
_FAR_ABOVE = 0.25  # share of the bands' range above them, beyond which points are far above
_CROWD = 1500  # points, from which on they would hide each other and the curve


def draws_from[**P, R](*kinds: type) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that checks the type of a figure's first argument."""

    def decorate(draw: Callable[P, R]) -> Callable[P, R]:
        @wraps(draw)
        def checked(*arguments: P.args, **look: P.kwargs) -> R:
            given = arguments[0] if arguments else next(iter(look.values()), None)
            if not isinstance(given, kinds):
                wanted = " or ".join(_with_article(kind) for kind in kinds)
                table = ": give the result itself, not its table, which holds no draws"
                raise FigureError(
                    f"{draw.__name__} draws {wanted}, but {_with_article(type(given))} was given"
                    + (table if hasattr(given, "iloc") else "")
                )
            return draw(*arguments, **look)

        return checked

    return decorate


def _with_article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOUaeiou' else 'a'} {kind.__name__}"


def new_axes(ax: "Axes | None") -> "Axes":
    """Return the given axes, or those of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    return ax


def finish_axes(ax: "Axes", **legend: Any) -> "Axes":
    """Remove the upper and right sides of the frame, and add a legend above the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    written = {" ".join(text.get_text().split()) for text in ax.texts}  # names beside the data
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
    """Return whether a figure is drawn for a phone."""
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
    """Return a marker size that suits the number of points."""
    return 6 if count < _MANY else 3 if count < _CROWD else 1.5


def write_along(
    ax: "Axes", x: float, text: str, *, after: float | None = None, level: float | None = None
) -> bool:
    """Write the name of an upright line along it, and return whether it is on the right.

    The name begins on the top of the axes, on the left of the line.

    It is on the right if ``after``, which is another such line or the edge, leaves no room on the
    left. It begins below ``level``, a horizontal line, if that would cross it.
    """
    places = ax.transData.transform([(x, 0.0), (x if after is None else after, 0.0)])[:, 0]
    room = (places[0] - places[1]) / ax.bbox.width
    right = after is not None and room < _ROOM
    top = 0.99
    if level is not None:
        at = ax.transAxes.inverted().transform(ax.transData.transform((x, level)))[1]
        length = _LETTER * len(text) * ax.figure.dpi / 72 / ax.bbox.height
        top = at - 0.02 if top - length < at < top + 0.02 and at > length else top
    ax.annotate(
        text,
        (x, top),
        xycoords=("data", "axes fraction"),
        xytext=(3 if right else -3, 0),
        textcoords="offset points",
        rotation=90,
        ha="left" if right else "right",
        va="top",
        fontsize="small",
        color=BLACK,  # pages replace black by their color of text
    )
    return right


def name_ends(ax: "Axes", ends: Sequence[tuple[float, float, str, Any]], size: float = 8) -> None:
    """Write names to the right of the axes without overlap, each connected to its line's end.

    On a phone there is no room, so the names stay in the legend.

    Parameters
    ----------
    ends : sequence of (x, y, name, color)
    size : float
        The size of the letters, in points.
    """
    if is_narrow(ax) or not ends:
        return
    ordered = sorted(ends, key=lambda end: end[1])
    names = [fill(name, _NAME_WIDTH, break_long_words=False) for _, _, name, _ in ordered]
    lines = np.array([1 + name.count("\n") for name in names])
    heights = size * (1.25 * lines + _APART * (lines > 1)) * ax.figure.dpi / 72 / ax.bbox.height
    line: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.8, "shrinkA": 3, "relpos": (0, 0.5)}
    line["patchA"] = None  # it begins beside the name, so that no part of it lies behind it
    beside: dict[str, Any] = {"textcoords": "axes fraction", "va": "center", "fontsize": size}
    written = [
        ax.annotate(
            name,
            (x, y),
            xytext=(1.02, 0.5),
            annotation_clip=False,
            arrowprops=line | {"color": color},
            **beside,
        )
        for (x, y, _, color), name in zip(ordered, names, strict=True)
    ]

    def place(ax: "Axes") -> None:
        ends = ax.transData.transform([(x, y) for x, y, _, _ in ordered])[:, 1]
        wanted = (ends - ax.bbox.y0) / ax.bbox.height
        for text, at in zip(written, _spread(wanted, heights), strict=True):
            text.set_position((1.02, at))

    place(ax)
    ax.callbacks.connect("ylim_changed", place)


def _spread(wanted: "np.ndarray", heights: "np.ndarray") -> "np.ndarray":
    """Return ascending positions, moved as little as possible so that names do not overlap."""
    from scipy.optimize import isotonic_regression

    least = np.cumsum(heights) - heights / 2
    moved = isotonic_regression(wanted - least).x
    return np.clip(moved, 0.0, max(1.0 - heights.sum(), 0.0)) + least


def write_beside(ax: "Axes", place: tuple[float, float], text: str, others: np.ndarray) -> None:
    """Write a text beside a place, on the first side without any of the others (point, 2)."""
    points = ax.transData.transform(others) - ax.transData.transform([place])
    points *= 72 / ax.figure.dpi
    for right, above in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        x, y = points[:, 0] * right, points[:, 1] * above
        if not ((x > 6) & (x < 14 + 6 * len(text)) & (y > -6) & (y < 20)).any():
            break
    else:
        right, above = 1, 1
    look: dict[str, Any] = {"textcoords": "offset points", "color": BLACK}
    look |= {"ha": "left" if right > 0 else "right", "va": "bottom" if above > 0 else "top"}
    ax.annotate(text, place, xytext=(9 * right, 5 * above), **look)


def name_points(ax: "Axes", x: Any, y: Any, name: str, above: bool = False) -> None:
    """Name points of a falling curve, to the lower left of the middle one or the upper right."""
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    middle = np.argsort(xs)[(len(xs) - above) // 2]  # the left one of two if the name is right
    beside: dict[str, Any] = {"xytext": (-8, -8), "ha": "right", "va": "top"}
    if above:
        beside = {"xytext": (8, 6), "ha": "left", "va": "bottom"}
    look: dict[str, Any] = {"textcoords": "offset points", "fontsize": "small"}
    ax.annotate(name, (xs[middle], ys[middle]), **beside, **look)


def loss_label(unit: LossUnit) -> str:
    """Return the label of an axis of losses."""
    return f"loss ({unit.words})"


def draw_runs(
    ax: "Axes",
    runs: "Runs | pd.DataFrame | None",
    scale: str,
    unit: LossUnit = NATS,
    **look: Any,
) -> None:
    """Draw the losses of the fitted runs, converted from nats per token to a unit."""
    if runs is not None:
        look = {"color": GREY, "markersize": marker_size(len(runs))} | look
        if len(runs) >= _CROWD:  # a cloud behind the curve, whose shade shows its density
            look |= {"color": GREY, "alpha": 0.3, "markeredgewidth": 0, "zorder": 1.5}
        draw_points(ax, runs[scale], unit.of(runs["loss"]), label="fitted runs", **look)
        name_points(ax, runs[scale], unit.of(runs["loss"]), "fitted runs")


def end_below_outliers(ax: "Axes", x: Any, y: Any) -> None:
    """End the vertical axis below a few points far above the others, and mark these at its end."""
    bands = [area.get_datalim(ax.transData) for area in ax.collections]
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    low = min(band.y0 for band in bands)
    high = max(*(band.y1 for band in bands), np.quantile(ys, 1 - _FEW, method="lower"))
    top = high + _FAR_ABOVE * (high - low)
    if not 0 < (ys > top).sum() <= max(_FEW * len(ys), 1):
        return
    look: dict[str, Any] = {"color": BLACK, "clip_on": False, "markersize": 5}
    look["transform"] = ax.get_xaxis_transform()
    [marks] = ax.plot([], [], "^", linestyle="none", **look)
    place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    place |= {"xytext": (6, -2), "va": "top", "fontsize": "small"}
    text = ax.annotate("", (xs.max(), 1.0), **place)

    def mark(ax: "Axes") -> None:
        above = ys > ax.get_ylim()[1]
        marks.set_data(xs[above], np.ones(above.sum()))
        text.set_visible(bool(above.any()))
        if above.any():
            between = "\n" if is_narrow(ax) else " "
            runs = "1 run" if above.sum() == 1 else f"{above.sum()} runs"
            text.set_text(f"{runs} above,{between}up to {ys.max():.3g}")
            text.xy = xs[above].max(), 1.0

    ax.callbacks.connect("ylim_changed", mark)
    ax.set_ylim(top=top)


def label_rows(ax: "Axes", names: Sequence[str], room: float) -> None:
    """Name the rows of a figure, the first on top, with room for the legend above them."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -room)
    ax.tick_params(axis="y", length=0)


def log_sizes(ax: "Axes", scale: str, which: str = "x") -> None:
    """Make an axis logarithmic, with sizes such as 1B, 10T and 1e22."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set(**{f"{which}scale": "log"})
    axis, (low, high) = (ax.xaxis, ax.get_xlim()) if which == "x" else (ax.yaxis, ax.get_ylim())
    narrow = high / low < _NARROW
    slim = is_narrow(ax) or ax.bbox.width / ax.figure.dpi < _SLIM
    count = 5 if which == "x" and slim else 9
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,), numticks=count))
    axis.set_minor_formatter(NullFormatter())
    if scale != "flops":
        axis.set_major_formatter(FuncFormatter(lambda value, _: format_size(value)))
    else:  # an exponent that is raised would be too small to read on a phone
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+", "e")))
    axis.set_label_text(AXIS_LABELS[scale])


def log_ratios(ax: "Axes") -> None:
    """Make the horizontal axis logarithmic, with extrapolation ratios such as 1, 3, 10 and 30."""
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
