"""Figures of the report, as HTML elements of its page."""

from collections.abc import Callable
from html import escape
from typing import Any

from bayescale import drawings
from bayescale.decisions.versus_answer import Versus
from bayescale.decisions.watch_answer import Watch
from bayescale.drawings import Drawing
from bayescale.plotting.inline import NARROW, SIZE, inline
from bayescale.questions import Questions


def html(name: str, questions: Questions, *more: Any) -> str:
    """Return a figure of :data:`DRAWINGS` as an HTML element."""
    drawing = DRAWINGS[name](questions, *more)
    return _figure(drawing, "".join(filter(str.isalnum, f"{name}{''.join(i.law for i in more)}")))


def answer_html(questions: Questions) -> str:
    """Return the figure of the first screen as an HTML element."""
    runs = questions.fit.runs
    drawing = drawings.loss_along(
        questions.curve,
        questions.scale,
        runs=runs,
        horizon=None if runs is None else questions.trust[0],
        run=None if questions.refusal else questions.forecast[0],
    )
    return _figure(drawing, "answer")


def extra_html(result: Versus | Watch, name: str) -> str:
    """Return the figure of a comparison of recipes, or of a run in progress."""
    drawing = drawings.recipes(result) if isinstance(result, Versus) else drawings.watched(result)
    return _figure(drawing, name)


def _figure(drawing: Drawing, name: str) -> str:
    """Return two drawings, for wide pages and for phones; the style sheet shows one of them."""
    svgs = [
        f'<div class="{kind}">'
        + inline(drawing.draw, f"{kind}{name}", drawing.alt, named=drawing.named, size=size)
        + "</div>"
        for kind, size in (("roomy", SIZE), ("slim", NARROW))
    ]
    caption = escape(drawing.caption)
    return f"<figure>\n{svgs[0]}\n{svgs[1]}\n<figcaption>{caption}</figcaption>\n</figure>"


DRAWINGS: dict[str, Callable[..., Drawing]] = {
    "slices": lambda q: drawings.slices_drawing(q.slices),
    "allocation": lambda q: drawings.frontier(q.allocation[0]),
    "next_run": lambda q: drawings.candidates(q.next_run[0]),
    "trust": lambda q: drawings.precision(q.trust[0]),
    "coverage": lambda q: drawings.coverage(q.trust[0]),
    "coefficients": lambda q, law: drawings.coefficients(law, named=len(q.fit.members) > 1),
}
"""The function that draws each figure, by the figure's name in templates."""
