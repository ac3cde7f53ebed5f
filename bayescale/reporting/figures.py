"""Figures as part of a page: drawn once, in the page's own colors, light, dark or on paper."""

import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from bayescale.plotting import (
    plot_allocation,
    plot_coefficients,
    plot_coverage,
    plot_downstream,
    plot_forecast,
    plot_next_run,
    plot_slices,
    plot_trust,
)
from bayescale.plotting.style import BLACK, BLUE, GREY
from bayescale.questions import Questions
from bayescale.reporting.formatting import SIZE, UNIT
from bayescale.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayescale.posterior import Summary

DENSE = 2000
"""Points above which a figure holds an image of them: as shapes they would fill the page."""

INKS = {BLACK: "text", "#FFFFFF": "page", GREY: "quiet", BLUE: "blue"}
"""Colors that the page sets, by the name of its CSS variable; others suit any background."""

_COLOR = re.compile(r"#[0-9a-f]{6}\b")
_TARGET = re.compile(r"(^|url\()#([^)]+)")
_NAMESPACE = re.compile(r"\{[^}]*\}")
_VARIABLES = {color.lower(): f"var(--{name})" for color, name in INKS.items()}


class Drawing(NamedTuple):
    """What draws a figure on axes, its text alternative and its caption."""

    draw: Callable[["Axes"], Any]
    alt: str
    caption: str


def html(name: str, questions: Questions, *more: Any) -> str:
    """Draw a figure of :data:`DRAWINGS` as an HTML element."""
    drawing = DRAWINGS[name](questions, *more)
    identity = "".join(filter(str.isalnum, f"{name}{''.join(item.law for item in more)}"))
    caption = escape(drawing.caption)
    return (
        f'<figure>\n<div class="wide" role="region" tabindex="0" aria-label="{caption}">'
        f"{inline(_svg(drawing.draw), identity, drawing.alt)}</div>\n"
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def _svg(draw: Callable[["Axes"], Any]) -> bytes:
    """Draw on a canvas of its own, away from pyplot's list of open figures."""
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
    return into.getvalue()


def inline(svg: bytes, name: str, alt: str) -> str:
    """Turn a drawing into an element of a page that sets the variables of :data:`INKS`.

    Parameters
    ----------
    svg : bytes
        The drawing, as matplotlib writes it.
    name : str
        Letters and digits, unique among the figures of the page: a prefix for names within.
    alt : str
        The text alternative.

    Returns
    -------
    str
        An ``svg`` element without size, comments or style sheet, and with its alternative text.
    """
    root = ElementTree.fromstring(svg)
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
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": alt})
    return ElementTree.tostring(root, encoding="unicode")


def _plain(name: str) -> str:
    """Strip the namespace of a name, which HTML does not know."""
    return _NAMESPACE.sub("", name)


def _variable(found: re.Match[str]) -> str:
    return _VARIABLES.get(found[0], found[0])


def _forecast(questions: Questions) -> Drawing:
    runs, curve, scale = questions.fit.runs, questions.curve, questions.scale
    horizon = None if runs is None else questions.trust[0]
    frame = curve.to_frame().sort_values(scale)
    first, last = (row for _, row in frame.iloc[[0, -1]].iterrows())
    size, unit = SIZE[scale], questions.unit
    alt = (
        f"{unit.capitalize()} against {UNIT[scale]}, both ends: {first['loss_median']:.3f} "
        f"at {size(first[scale])}, {last['loss_median']:.3f} at {size(last[scale])} "
        f"(90% interval of the mean {last['loss_lower']:.3f} to {last['loss_upper']:.3f}), with "
        f"bands of the {curve.meaning} and of {curve.meaning_new}"
        + ("." if runs is None else f", and {len(runs)} runs as points.")
    )
    caption = f"The line is the median, the bands are the {curve.meaning} and {curve.meaning_new}."
    if questions.split and runs is not None:
        caption += (
            " The curve is at the split that the laws find best; runs trained at another split "
            "lie above it."
        )

    def draw(ax: "Axes") -> None:
        if scale == "lm_loss":
            plot_downstream(curve, ax, runs=runs)
        else:
            plot_forecast(curve, ax, scale=scale, runs=runs, horizon=horizon)

    return Drawing(draw, alt, caption)


def _slices(questions: Questions) -> Drawing:
    result = questions.slices
    frame = result.to_frame()
    ends = "; ".join(
        f"{part['loss_median'].iloc[0]:.3f} to {part['loss_median'].iloc[-1]:.3f} on "
        f"{format_size(tokens)} tokens"  # pyright: ignore[reportArgumentType]
        for tokens, part in frame.groupby("tokens")
    )
    low, high = (format_size(size) for size in (frame["params"].min(), frame["params"].max()))
    return Drawing(
        lambda ax: plot_slices(result, ax, scale="params", by="tokens"),
        f"Loss against parameters from {low} to {high}, a curve for each number of tokens: {ends}.",
        "The loss against parameters at fixed tokens: where a curve is flat, data limit it. "
        f"Bands are {result.ci_prob:.0%} intervals; bayescale slices has the numbers.",
    )


def _allocation(questions: Questions) -> Drawing:
    result, _ = questions.allocation
    ends = " to ".join(
        f"{format_size(row['choice_params'])} params on {format_size(row['choice_tokens'])} tokens "
        f"at {row['flops']:.3g} FLOP"
        for row in result.to_frame().iloc[[0, -1]].to_dict(orient="records")
    )
    return Drawing(
        lambda ax: plot_allocation(result, ax),
        f"Parameters and tokens of least expected loss against the budget: {ends}.",
        "Parameters and tokens to choose; the bands hold each draw's own best split.",
    )


def _next_run(questions: Questions) -> Drawing:
    result, _ = questions.next_run
    left = result.candidates["sd_after"]
    return Drawing(
        lambda ax: plot_next_run(result, ax),
        f"{len(left)} candidate runs by the uncertainty that buying each would leave: from "
        f"{left.min():.2%} to {left.max():.2%}; {len(result.batch)} marked to buy.",
        "Candidate runs, and the uncertainty about the next scale that each would leave.",
    )


def _trust(questions: Questions) -> Drawing:
    result, _ = questions.trust
    far = result.path.iloc[-1]
    return Drawing(
        lambda ax: plot_trust(result, ax),
        f"Half the width of the interval of the mean loss against how many times larger: "
        f"{result.path['half_width'].iloc[0]:.1%} at the largest run, {far['half_width']:.1%} at "
        f"{far['ratio']:g} times. Tolerance {result.tolerance:.1%}; horizon "
        f"{result.horizon_ratio:.3g} times.",
        "How precisely the mean loss is known, by how many times larger the run is.",
    )


def _coverage(questions: Questions) -> Drawing:
    result, _ = questions.trust
    covered = "; ".join(
        f"{b['n_covered']} of {b['n']} at {b['lower']:g} to {b['upper']:g} times"
        for b in result.bins
    )
    return Drawing(
        lambda ax: plot_coverage(result, ax),
        f"Held-out larger runs inside their 90% interval: {covered}.",
        "Held-out larger runs inside their 90% interval, by how many times larger they are.",
    )


def _coefficients(questions: Questions, summary: "Summary") -> Drawing:
    rows = [
        f"{name} {row['median']:.4g}, {row['lower']:.4g} to {row['upper']:.4g}, before "
        f"{row['prior_lower']:.4g} to {row['prior_upper']:.4g}"
        for name, row in summary.to_frame().iterrows()
        if row["prior_lower"] == row["prior_lower"]
    ]
    law = f"{summary.law}: " if len(questions.fit.members) > 1 else ""
    return Drawing(
        lambda ax: plot_coefficients(summary, ax),
        f"Posterior intervals of {summary.law} beside their priors. {'; '.join(rows)}.",
        f"{law}Posterior beside prior. Each row has a log scale of its own: the gray bar is the "
        "prior's interval.",
    )


DRAWINGS: dict[str, Callable[..., Drawing]] = {
    "forecast": _forecast,
    "slices": _slices,
    "allocation": _allocation,
    "next_run": _next_run,
    "trust": _trust,
    "coverage": _coverage,
    "coefficients": _coefficients,
}
"""What draws each figure, by the name under which templates know it."""
