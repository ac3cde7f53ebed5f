"""A report as one HTML page, which needs no network, no script and no other file."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayescale.errors import BayescaleError, as_options
from bayescale.files import replacing
from bayescale.formatting import FORMATS, SIZE, UNIT
from bayescale.layout import TextTable
from bayescale.plotting.inline import STYLE
from bayescale.posterior import diagnosis
from bayescale.questions import Form, Questions, lowest_losses, words_list
from bayescale.reporting import figures
from bayescale.reporting.checklist import REFERENCE, checklist
from bayescale.validation.identifiability import identifiability_checks
from bayescale.validation.notes import fit_notes
from bayescale.verdict import BREAK, COVERAGE_RULE, NEXT_LOWER_LOSS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2 import Environment

    from bayescale.questions import Answer
    from bayescale.reporting.extras import Extra
    from bayescale.reporting.sections import Report

TRUST_CHECKS = ("converged", "precision", "coverage", "held_out_runs", "laws_agree", "outliers")
"""Findings that concern extrapolation; the others concern what the runs can identify."""

TO = "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"


def render(report: "Report") -> str:
    """Return the page's HTML, in which all text from run logs and cards is escaped."""
    return _environment().get_template("page.html.j2").render(report=report)


def write(report: "Report", path: str | Path) -> Path:
    """Write the page into a file, whole or not at all, and return the path.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path, page = Path(path), render(report)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def section_html(template_name: str, **values: Any) -> tuple[str, Exception | None]:
    """Return a section's HTML and None; if it fails, the HTML up to there and the error."""
    template = _environment().get_template(f"{template_name}.html.j2")
    written: list[str] = []
    try:
        written.extend(template.generate(**values))
    except Exception as error:  # no error of one section may prevent the others
        return "".join(written) if written else "", error
    return "".join(written), None


def _blocks(extra: "Extra") -> "Iterator[tuple[str, str, str | TextTable]]":
    """Yield the parts of a result: kind, caption of a table, and the line or table itself."""
    before, kind = "", "lead"
    for part in extra.result.content():
        if isinstance(part, str):
            if before:
                yield "line", "", before
            if not part.endswith(":"):
                yield "item" if part.startswith("  ") else kind, "", part
            before, kind = part if part.endswith(":") else "", "line"
        else:
            yield "table", before.rstrip(":") or extra.title, part
            before = ""
    if before:
        yield "line", "", before


def _check_name(code: str) -> str:
    """Return a finding's code in words; the law's name before it is unchanged."""
    law, dot, check = code.rpartition(".")
    return f"{law}{dot}{check.replace('_', ' ')}"


def next_step(questions: Questions) -> str:
    """Return what to do next.

    Returns
    -------
    {"fit", "backtest", "train", "between", "larger", "buy", "none"}
        ``none`` if no run at the price of the largest one helps enough.
    """
    if questions.fit.runs is None:
        return "fit"
    if not questions.backtested:
        return "backtest"
    verdict = questions.forecast[0].points["verdict"].iloc[0]
    steps = {"inside": "train", "trusted": "train", "failed": "between", "untested": "larger"}
    if verdict in steps:
        return steps[verdict]
    if not (questions.split or questions.scale == "flops"):
        return "larger"
    try:
        found, _ = questions.next_run
    except BayescaleError:
        return "larger"
    if not found.answered:
        return "larger"
    return "buy" if len(found.batch) else "none"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def between(answer: "Answer", *path: str | int, form: Form, none: str = "unknown") -> Markup:
        lower, upper = (answer(*path, end, form=form, none=none) for end in ("lower", "upper"))
        return Markup(f"{lower.__html__()}{TO}{upper.__html__()}")

    def middle(answer: "Answer", *path: str | int, form: Form, none: str = "unknown") -> Markup:
        median = answer(*path, "median", form=form, none=none).__html__()
        return Markup(f"{median} ({between(answer, *path, form=form)})")

    def figure(name: str, questions: Questions, *more: Any) -> Markup:
        return Markup(figures.html(name, questions, *more))

    environment = Environment(
        loader=PackageLoader("bayescale.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def extra_figure(extra: "Extra", name: str) -> Markup:
        return Markup(figures.extra_html(extra.result, name))

    def answer_figure(questions: Questions) -> Markup:
        return Markup(figures.answer_html(questions))

    environment.filters["check_name"] = _check_name
    environment.filters["unit_name"] = UNIT.get
    environment.filters["as_options"] = as_options
    environment.globals.update(
        FORMATS,
        SIZE=SIZE,
        UNIT=UNIT,
        BREAK=BREAK,
        LOWER_LOSS=1 - NEXT_LOWER_LOSS,
        REFERENCE=REFERENCE,
        TRUST_CHECKS=TRUST_CHECKS,
        COVERAGE_RULE=COVERAGE_RULE,
        between=between,
        middle=middle,
        figure=figure,
        answer_figure=answer_figure,
        blocks=_blocks,
        extra_figure=extra_figure,
        drawing_style=Markup(STYLE),
        next_step=next_step,
        checklist=checklist,
        diagnosis=diagnosis,
        fit_notes=fit_notes,
        identifiability_checks=identifiability_checks,
        lowest_losses=lowest_losses,
        words_list=words_list,
        zip=zip,
    )
    return environment
