"""What a report says, section by section; one that fails leaves the others standing."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from bayescale.errors import BayescaleError
from bayescale.posterior import Fit
from bayescale.reporting.blocks import Block, Failed, Report, Section
from bayescale.reporting.decisions import told_allocation, told_data, told_next_run
from bayescale.reporting.evidence import told_coefficients, told_limits, told_trust
from bayescale.reporting.outlook import told_answer, told_forecast
from bayescale.reporting.questions import Questions
from bayescale.reporting.sources import told_checklist, told_provenance
from bayescale.verdict import TOLERANCE

Make = Callable[[Questions], Iterator[Block]]


def report(
    fit: Fit,
    file: str | Path = "FIT.nc",
    *,
    flops: float | None = None,
    target: float | None = None,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    laws: tuple[str, ...] = (),
    allow_unconverged: bool = False,
) -> Report:
    """Everything that a fit says of the next scale, for a page that can be sent.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    file : path
        The fit's file, as the commands in the report name it.
    flops : float, optional
        The next scale in FLOP. Ten times the largest run's where not given, or ten times the
        law's only input; for a law of the language model's loss, 5 % less than the lowest.
    target : float, optional
        A loss in nats per token, for the chance of ending below it.
    tolerance : float
        As for :func:`bayescale.forecast` and :func:`bayescale.trust`.
    family : str, optional
        A family of the fit; a new family where not given and families are pooled.
    laws : tuple of str
        The caller's own laws, as the command line names them.
    allow_unconverged : bool
        Report although the convergence gate was missed.

    Returns
    -------
    Report
        Its sections hold what could be made, and errors in the place of what could not.

    Raises
    ------
    LawError
        If the next scale is not one of the law, or must be named.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    Nothing is sampled: of backtests, the report tells the one that ``bayescale trust`` has kept
    with the fit, or that there is none.
    """
    questions = Questions(
        fit=fit, file=str(file), flops=flops, target=target, tolerance=tolerance, family=family,
        own=laws, allow=allow_unconverged,
    )  # fmt: skip
    sections = tuple(
        _section(name, title, make, questions) for name, title, make in _sections(questions)
    )
    n = 0 if fit.runs is None else len(fit.runs)
    whose = f"{n} runs say" if n else f"a point estimate of {fit.name} says"
    return Report(
        title=f"What {whose} of the next scale",
        file=Path(file).name,
        date=datetime.now(UTC).date().isoformat(),
        law=fit.name,
        n_runs=n,
        converged=bool(fit.diagnostics["passed"]),
        reasons=tuple(fit.diagnostics["reasons"]),
        sections=sections,
        answers=tuple(questions.answers.values()),
    )


def _sections(questions: Questions) -> list[tuple[str, str, Make]]:
    decisions: list[tuple[str, str, Make]] = []
    if questions.split:
        decisions += [
            ("allocation", "Decision: how to split the budget", told_allocation),
            ("data", "Decision: how much data the model needs", told_data),
        ]
    if questions.split or questions.scale == "flops":
        decisions.append(("next_run", "Decision: which run to buy next", told_next_run))
    return [
        ("answer", "The answer", told_answer),
        ("coefficients", "Coefficients: before and after the runs", told_coefficients),
        ("forecast", "Forecast", told_forecast),
        ("trust", "How far to trust it", told_trust),
        *decisions,
        ("limits", "What the runs cannot tell", told_limits),
        ("checklist", "Checklist for readers", told_checklist),
        ("provenance", "Provenance", told_provenance),
    ]


def _section(name: str, title: str, make: Make, questions: Questions) -> Section:
    blocks: list[Block] = []
    try:
        blocks.extend(make(questions))
    except Exception as error:  # whatever it is, the other sections stand
        known = isinstance(error, BayescaleError)
        told = str(error) if known else f"{type(error).__name__}: {error}"
        return Section(name, title, (*blocks, Failed(title, told)), told)
    return Section(name, title, tuple(blocks))
