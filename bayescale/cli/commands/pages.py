"""Pages: one that can be sent, one with controls."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.options import (
    FamilyOptions,
    FitFile,
    FitOptions,
    Json,
    LossUnitName,
    Target,
    Tolerance,
)
from bayescale.cli.output import progress_wanted, show
from bayescale.cli.parsing import size_of


def report(
    fit_file: FitFile,
    options: FamilyOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE.html", help="Default: FIT.html in this folder."
        ),
    ] = None,
    flops: Annotated[
        str | None,
        typer.Option("--flops", help="The next scale; else ten times the largest run's."),
    ] = None,
    target: Target = None,
    tolerance: Tolerance = 0.02,
    loss_unit: LossUnitName = None,
    json_: Json = False,
) -> None:
    """Write one page that can be sent: answer, trust, decisions and provenance.

    Its first screen holds the answer, the figure, the verdict and the next step; sections for
    engineers are folded below. A self-contained HTML file, without scripts. It samples nothing:
    run bayescale trust before, so that it can show a backtest.
    """
    from bayescale.files import require_folder
    from bayescale.reporting.page import write
    from bayescale.reporting.sections import report as make_report

    page = require_folder(output or Path(f"{fit_file.stem}.html"))
    fitted = options.open(fit_file)
    result = make_report(
        fitted,
        fit_file,
        flops=size_of(flops, "--flops"),
        target=target,
        tolerance=tolerance,
        laws=tuple(options.law or ()),
        loss_unit=loss_unit,
        show_progress=progress_wanted(),
        **options.to_ask(),
    )
    write(result, page)
    answer, text = {"output": str(page), **result.to_json()}, [str(result), f"Written to {page}."]
    show(answer, text, json_, passed=result.answered and fitted.diagnostics["passed"])


def explore(
    fit_file: FitFile,
    options: FitOptions,
    port: Annotated[int, typer.Option("--port", help="Where the page is, on this computer.")] = (
        8501
    ),
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Serve a page with sliders for budget, data, tolerance and target, and a tab a question.

    It also takes another fit, or a run log, which it fits. Only this computer reaches it. Its
    address holds the question. Ctrl-C ends it.
    """
    from bayescale.explore import explore as serve

    serve(
        fit_file,
        laws=tuple(options.law or ()),
        port=port,
        browser=browser,
        allow_unconverged=options.allow_unconverged,
    )
