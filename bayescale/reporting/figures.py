"""Figures as part of a page: drawn once, in the page's own colors, light, dark or on paper."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from bayescale.plotting.style import BLACK, BLUE, GREY
from bayescale.reporting.blocks import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DENSE = 2000
"""Points from which on a figure holds a picture of them: as shapes they would fill the page."""

INKS = {BLACK: "text", "#FFFFFF": "page", GREY: "quiet", BLUE: "blue"}
"""Colors that the page sets, by the name of its CSS variable; others are seen on any ground."""

_COLOR = re.compile(r"#[0-9a-f]{6}\b")
_TARGET = re.compile(r"(^|url\()#([^)]+)")
_NAMESPACE = re.compile(r"\{[^}]*\}")
_VARIABLES = {color.lower(): f"var(--{name})" for color, name in INKS.items()}


def drawn(draw: Callable[["Axes"], Any], alt: str, caption: str) -> Figure:
    """A figure of its own, away from pyplot's list of open ones."""
    from io import BytesIO

    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(6.2, 4.0), layout="constrained")
    ax = canvas.subplots()
    draw(ax)
    for line in ax.get_lines():
        line.set_rasterized(len(line.get_xdata()) > DENSE)  # pyright: ignore[reportArgumentType]
    for other in canvas.axes:
        for shades in other.collections if other is not ax else ():
            shades.set(rasterized=False, edgecolor="face")  # a color bar, without seams
    into = BytesIO()
    with rc_context({"svg.hashsalt": "bayescale"}):
        canvas.savefig(into, format="svg", dpi=150, metadata={"Date": None})
    return Figure(into.getvalue(), alt, caption)


def inline(figure: Figure, name: str) -> str:
    """A figure as an element of a page that sets the variables of :data:`INKS`.

    Parameters
    ----------
    figure : Figure
        As matplotlib writes it.
    name : str
        Of letters and digits, other than that of any figure of the page: it keeps names within
        the drawing apart.

    Returns
    -------
    str
        An ``svg`` element without size, comments or style sheet, and with its alternative text.
    """
    root = ElementTree.fromstring(figure.svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _plain(child.tag) in ("metadata", "style"):
                parent.remove(child)
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = {found[2] for value in values if (found := _TARGET.search(value))}

    def own(key: str, value: str) -> str:
        if key == "id":
            return f"{name}-{value}"
        return _TARGET.sub(rf"\1#{name}-\2", _COLOR.sub(_variable, value))

    for element in root.iter():
        element.tag = _plain(element.tag)
        attributes = {_plain(key): value for key, value in element.attrib.items()}
        if attributes.get("id") not in used:
            attributes.pop("id", None)
        element.attrib.clear()
        element.attrib.update({key: own(key, value) for key, value in attributes.items()})
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": figure.alt})
    return ElementTree.tostring(root, encoding="unicode")


def _plain(name: str) -> str:
    """A name without its namespace, which HTML does not know."""
    return _NAMESPACE.sub("", name)


def _variable(found: re.Match[str]) -> str:
    return _VARIABLES.get(found[0], found[0])
