"""Figures as SVG elements of a page, in its colors and with names of points under the pointer."""

import re
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from bayescale.plotting.fonts import naming_fonts
from bayescale.plotting.style import BLACK, BLUE, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
SIZE, NARROW = (6.2, 4.0), (3.6, 3.9)
"""Inches of a figure for 600 pixels or more, and for a phone; words have at least 11 pixels."""

DENSE = 2000
"""Number of points above which a figure contains an image of them, because shapes would be
large."""

MOST_TICKS = 30
"""The most minor ticks of an axis; more are useless, and take half of the time of a figure."""

INKS = {BLACK: "text", "#FFFFFF": "page", GREY: "quiet", BLUE: "blue"}
"""Colors that the page sets, by the name of its CSS variable; others suit any background."""

STYLE = """
.drawing { display: block; width: 100%; height: auto; fill: var(--text); }
.drawing text { font-family: "DejaVu Sans", Verdana, Geneva, sans-serif; }
.drawing * { stroke-linejoin: round; stroke-linecap: butt; }
.named circle { fill: none; pointer-events: all; }
.named g g { pointer-events: none; visibility: hidden; }
.named g:hover circle { stroke: var(--text); stroke-width: 1.5; }
.named g:hover g { visibility: visible; }
.named rect { fill: var(--page); stroke: var(--quiet); }
@media print { .named { display: none; } }
"""
"""Style sheet of a page with figures, with which names appear without a script."""

_COLOR = re.compile(r"#[0-9a-f]{6}\b")
_TARGET = re.compile(r"(^|url\()#([^)]+)")
_NAMESPACE = re.compile(r"\{[^}]*\}")
_FAMILY = re.compile(r"; font-family: [^;]*")
_LONG = re.compile(r"(\.\d\d)\d+")
_VARIABLES = {color.lower(): f"var(--{name})" for color, name in INKS.items()}
_DPI = 150  # of images within a figure
_LETTER, _LINE, _REACH, _MOST = 4.9, 11.0, 5.0, 44  # sizes of names: points, and characters


class Named(NamedTuple):
    """A point of a figure, and the lines that appear while the pointer is on it."""

    x: float
    y: float
    lines: tuple[str, ...]


class Picture(NamedTuple):
    """An ``svg`` element, and the elements of its names, which a page may add to it later.

    A name takes eight elements, so the names of many runs take most of the time in which a browser
    shows a figure.
    """

    svg: str
    names: str


def inline(
    draw: Callable[["Axes"], Any],
    name: str,
    alt: str,
    *,
    named: Sequence[Named] = (),
    size: tuple[float, float] = SIZE,
) -> str:
    """Draw an ``svg`` element for a page that has :data:`STYLE` and the variables of :data:`INKS`.

    Parameters
    ----------
    draw : callable
        A function that draws on axes.
    name : str
        Letters and digits, unique among the figures of the page: the prefix of names in the
        element.
    alt : str
        The text alternative.
    named : sequence of Named
        Points that show their names, in the units of the axes.
    size : tuple of float
        Width and height in inches.

    Returns
    -------
    str
        The element, without size, comments or style sheet. Words are text; Verdana is as wide as
        DejaVu Sans, with which they were measured.
    """
    picture, end = in_parts(draw, name, alt, named=named, size=size), "</svg>"
    return f"{picture.svg.removesuffix(end)}{picture.names}{end}"


def in_parts(
    draw: Callable[["Axes"], Any],
    name: str,
    alt: str,
    *,
    named: Sequence[Named] = (),
    size: tuple[float, float] = SIZE,
) -> Picture:
    """Draw the element of :func:`inline`, and return its names apart from it."""
    svg, placed = _drawn(draw, named, size)
    root = ElementTree.fromstring(svg)
    _clean(root, name)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "class": "drawing", "role": "img", "aria-label": alt})
    names = "".join(_name(point, float(box.split()[2])) for point in placed)
    return Picture(
        ElementTree.tostring(root, encoding="unicode"),
        f'<g class="named">{names}</g>' if names else "",
    )


def _drawn(
    draw: Callable[["Axes"], Any], named: Sequence[Named], size: tuple[float, float]
) -> tuple[bytes, list[Named]]:
    """Return a figure from a canvas apart from pyplot's, and the named points that it shows."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import NullLocator

    with naming_fonts(), rc_context({"svg.hashsalt": "bayescale", "svg.fonttype": "none"}):
        canvas = Canvas(figsize=size, dpi=_DPI, layout="constrained")
        ax = canvas.subplots()
        draw(ax)
        for axis in (axis for other in canvas.axes for axis in (other.xaxis, other.yaxis)):
            if len(axis.get_minorticklocs()) > MOST_TICKS:
                axis.set_minor_locator(NullLocator())
        for line in ax.get_lines():
            line.set_rasterized(len(line.get_xdata()) > DENSE)  # pyright: ignore[reportArgumentType]
        for other in canvas.axes:
            for shades in other.collections if other is not ax else ():
                shades.set(rasterized=False, edgecolor="face")  # a color bar, without seams
        into = BytesIO()
        # `savefig` would draw all of it twice, first to lay it out
        FigureCanvasSVG(canvas).print_svg(into, metadata={"Date": None})
    if not named:
        return into.getvalue(), []
    places = ax.transData.transform([(point.x, point.y) for point in named])
    inside = ax.bbox.padded(_REACH)
    shown = [
        Named(x, y, point.lines)
        for (x, y), point in zip(places, named, strict=True)
        if np.isfinite([x, y]).all() and inside.contains(x, y)
    ]
    height = canvas.bbox.height  # SVG counts from the top, in the points that it was drawn in
    return into.getvalue(), [Named(x, height - y, to) for x, y, to in shown]


def _clean(root: ElementTree.Element, name: str) -> None:
    """Remove metadata and style, and prefix names so that those of different figures differ."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _plain(child.tag) in ("metadata", "style"):
                parent.remove(child)
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = {found[2] for value in values if (found := _TARGET.search(value))}

    def own(key: str, value: str) -> str:
        if key == "id":
            return f"{name}-{value}"
        if key in ("d", "x", "y"):
            return _LONG.sub(r"\1", value)
        value = _FAMILY.sub("", _COLOR.sub(_variable, value))
        return _TARGET.sub(rf"\1#{name}-\2", value)

    for element in root.iter():
        element.tag = _plain(element.tag)
        attributes = {_plain(key): value for key, value in element.attrib.items()}
        if attributes.get("id") not in used:
            attributes.pop("id", None)
        element.attrib.clear()
        element.attrib.update({key: own(key, value) for key, value in attributes.items()})


def _name(point: Named, width: float) -> str:
    """Return a circle for the pointer, and beside it the lines that then appear."""
    lines = [line if len(line) <= _MOST else f"{line[: _MOST - 1]}\N{HORIZONTAL ELLIPSIS}"
             for line in point.lines]  # fmt: skip
    wide, tall = 8 + _LETTER * max(map(len, lines)), 5 + _LINE * len(lines)
    x = point.x + 8 if point.x + 8 + wide < width else max(point.x - 8 - wide, 0.0)
    y = max(point.y - tall / 2, 0.0)
    parts = "".join(
        f'<tspan x="4" y="{_LINE * (i + 1) - 1:g}">{escape(line, quote=False)}</tspan>'
        for i, line in enumerate(lines)
    )
    return (
        f'<g><circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="{_REACH:g}" />'
        f'<g transform="translate({x:.1f} {y:.1f})">'
        f'<rect width="{wide:.0f}" height="{tall:.0f}" rx="2" />'
        f'<text font-size="8.5">{parts}</text></g></g>'
    )


def _plain(name: str) -> str:
    """Return a name without its namespace, which HTML does not have."""
    return _NAMESPACE.sub("", name)


def _variable(found: re.Match[str]) -> str:
    return _VARIABLES.get(found[0], found[0])
