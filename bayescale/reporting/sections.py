"""A report: what a fit says about the next scale, in sections.

Each section is a template in ``templates/``, which holds its prose and takes values from the
answers of :class:`bayescale.questions.Questions`. If a section fails, the others are still made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bayescale.decisions.versus_answer import Versus
from bayescale.decisions.watch_answer import Watch
from bayescale.errors import BayescaleError
from bayescale.posterior import Fit
from bayescale.progress import progress
from bayescale.questions import Answer, Questions
from bayescale.reporting.extras import Extra, extra_of
from bayescale.reporting.page import render, section_html
from bayescale.results import Result
from bayescale.splits.hardware import Cluster
from bayescale.verdict import TOLERANCE

SECTIONS = {
    "answer": "The answer",
    "coefficients": "Coefficients: before and after the runs",
    "forecast": "Forecast",
    "trust": "How far to trust it",
    "allocation": "Decision: how to split the budget",
    "data": "Decision: how much data the model needs",
    "next_run": "Decision: which run to buy next",
    "limits": "What the runs cannot tell",
    "checklist": "Checklist for readers",
    "provenance": "Provenance",
}
"""Title of each section by the name of its template, in the order of the page."""

NEEDS_SPLIT = ("allocation", "data")

AFTER_EXTRAS = ("limits", "checklist", "provenance")
"""Sections that come after those of results given with ``also``."""


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes
    ----------
    name : str
        A short and stable name, which is the anchor in the page.
    html : str
        The section's content, up to the failure if there was one.
    error : str or None
        Why the section could not be made; None if it was.
    unfolded : bool
        Whether the page shows the section unfolded at first.
    """

    name: str
    title: str
    html: str
    error: str | None = None
    unfolded: bool = False


@dataclass(frozen=True, eq=False)
class Report(Result):
    """The content of a report, which :meth:`to_html` writes as a page.

    Attributes
    ----------
    title : str
    file : str
        The name of the fit's file.
    date : str
        The day on which the report was made (UTC), as YYYY-MM-DD.
    n_runs : int
        Number of fitted runs; 0 for a point estimate.
    converged : bool
        Whether the sampler passed its convergence checks.
    reasons : tuple of str
        Convergence checks that the sampler failed; empty if it passed.
    sections : tuple of Section
    answers : tuple of Answer
        The answers of the commands from which the numbers come.
    extras : tuple of Extra
        Results besides those of the fit, each with its own section.
    """

    title: str
    file: str
    date: str
    law: str
    n_runs: int
    converged: bool
    reasons: tuple[str, ...]
    sections: tuple[Section, ...]
    answers: tuple[Answer, ...]
    extras: tuple[Extra, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether every decision has a number; it has none if the laws of an average disagree."""
        return all(answer.json.get("answered", True) for answer in self.answers)

    def to_html(self) -> str:
        """Return the page's HTML, in which all text from run logs and cards is escaped."""
        return render(self)

    def _json(self) -> dict[str, Any]:
        return {
            "law": self.law,
            "n_runs": self.n_runs,
            "converged": self.converged,
            "answered": self.answered,
            "sections": [
                {"name": s.name, "ok": s.error is None, "error": s.error} for s in self.sections
            ],
            "commands": {answer.key: answer.command for answer in self.answers},
            "also": [extra.result.to_json() for extra in self.extras],
        }

    def _content(self) -> Iterator[str]:
        failed = [section for section in self.sections if section.error is not None]
        failures = f", {len(failed)} of them incomplete:" if failed else "."
        yield f"{self.title}: {len(self.sections)} sections{failures}"
        for section in failed:
            yield f"  {section.title}: {section.error}"


def report(  # noqa: PLR0913
    fit: Fit,
    file: str | Path = "FIT.nc",
    *,
    flops: float | None = None,
    days: float | None = None,
    cluster: Cluster | None = None,
    target: float | None = None,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    also: Sequence[Extra | Versus | Watch] = (),
    laws: tuple[str, ...] = (),
    loss_unit: str | None = None,
    allow_unconverged: bool = False,
    show_progress: bool | None = None,
) -> Report:
    """Collect the answers of a fit about the next scale in a report that can be written as a page.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    file : path
        The fit's file, which the commands in the report name.
    flops : float, optional
        The next scale in FLOP. Ten times the largest run's by default, or ten times the law's only
        input; for a law of the language model's loss, 5 % less than the lowest.
    days : float, optional
        The next scale in days of all GPUs of ``cluster``, instead of ``flops``.
    cluster : Cluster, optional
        The GPUs on which the budgets are spent: see :func:`bayescale.allocate`. The report then
        states days and, with a price, dollars, and its splits fit into their memory.
    target : float, optional
        A loss in the unit of the report, for the probability that the next run ends below it.
    tolerance : float
        See :func:`bayescale.forecast` and :func:`bayescale.trust`.
    family : str, optional
        A family of the fit; by default a new family, if families are partially pooled.
    also : sequence of Versus or Watch
        Results of :func:`bayescale.versus` and :func:`bayescale.watch`, each shown in its own
        section.
    laws : tuple of str
        Files of the caller's own laws, which the commands in the report name.
    loss_unit : str, optional
        The unit of losses; by default the fitted log's own.
    allow_unconverged : bool
        Make the report even if the fit failed its convergence checks.
    show_progress : bool, optional
        Show progress on standard error, or below the cell in a notebook; by default only in
        notebooks.

    Returns
    -------
    Report
        The sections, with an error for each that could not be made.

    Raises
    ------
    LawError
        If the next scale is not an input of the law, or if it must be given; or if a cluster is
        given to a law that does not split a budget.
    DecisionError
        If both ``flops`` and ``days`` are given, or days without a cluster.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    Nothing is sampled: the report shows the backtest that ``bayescale trust`` has stored with the
    fit, or says that there is none.
    """
    questions = Questions(
        fit=fit,
        file=str(file),
        flops=flops,
        target=target,
        tolerance=tolerance,
        family=family,
        own=laws,
        allow=allow_unconverged,
        unit_name=loss_unit,
        cluster=cluster,
        days=days,
    )
    extras = tuple(map(extra_of, also))
    sections = _sections(questions, extras, show_progress)
    n = 0 if fit.runs is None else len(fit.runs)
    subject = f"{n:,} runs say" if n else f"a point estimate of {fit.name} says"
    return Report(
        title=f"What {subject} of the next scale",
        file=Path(file).name,
        date=datetime.now(UTC).date().isoformat(),
        law=fit.name,
        n_runs=n,
        converged=bool(fit.diagnostics["passed"]),
        reasons=tuple(fit.diagnostics["reasons"]),
        sections=sections,
        answers=tuple(questions.answers.values()),
        extras=extras,
    )


def _sections(
    questions: Questions, extras: Sequence[Extra], show_progress: bool | None
) -> tuple[Section, ...]:
    names: list[str | Extra] = [name for name in SECTIONS if _applies(name, questions)]
    at = min(names.index(name) for name in AFTER_EXTRAS)
    wanted = [*names[:at], *extras, *names[at:]]
    found = []
    with progress(show_progress) as stage:
        done = stage("report", len(wanted))
        for i, one in enumerate(wanted):
            done(i, SECTIONS[one] if isinstance(one, str) else one.title)
            found.append(
                _section(one, questions)
                if isinstance(one, str)
                else _extra_section(one, f"extra{i - at + 1}")
            )
    return tuple(found)


def _applies(name: str, questions: Questions) -> bool:
    if name == "next_run":
        return questions.split or questions.scale == "flops"
    return questions.split or name not in NEEDS_SPLIT


def _section(name: str, questions: Questions) -> Section:
    made = section_html(name, q=questions, fit=questions.fit)
    return _made(name, SECTIONS[name], *made)


def _extra_section(extra: Extra, name: str) -> Section:
    made = section_html("extra", extra=extra, name=name)
    return _made(name, extra.title, *made, unfolded=True)


def _made(
    name: str, title: str, html: str, error: Exception | None, unfolded: bool = False
) -> Section:
    if error is None:
        return Section(name, title, html, unfolded=unfolded)
    known = isinstance(error, BayescaleError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    return Section(name, title, html, text, unfolded)
