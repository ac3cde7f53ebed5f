"""Pages: one that can be sent, one with knobs to turn."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.options import Allow, Family, FitFile, Json, OwnLaws, Tolerance
from bayescale.cli.reading import open_fit, size_of
from bayescale.cli.writing import exit_untrusted, tell


def report(
    fit_file: FitFile,
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
    target: Annotated[
        float | None, typer.Option("--target", help="A loss: how likely is one below it?")
    ] = None,
    family: Family = None,
    tolerance: Tolerance = 0.02,
    law: OwnLaws = None,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """One page that can be sent: the answer, how far to trust it, decisions, and provenance.

    A self-contained HTML file, without scripts. It samples nothing: run bayescale trust before,
    so that it can tell of backtests.
    """
    from bayescale.files import require_folder
    from bayescale.reporting.page import write
    from bayescale.reporting.sections import report as make_report

    page = require_folder(output or Path(f"{fit_file.stem}.html"))
    fitted = open_fit(fit_file, law)
    result = make_report(
        fitted,
        fit_file,
        flops=size_of(flops, "--flops"),
        target=target,
        tolerance=tolerance,
        family=family,
        laws=tuple(law or ()),
        allow_unconverged=allow_unconverged,
    )
    write(result, page)
    tell({"output": str(page), **result.to_json()}, f"{result}\nWritten to {page}.", json_)
    exit_untrusted(fitted.diagnostics["passed"])


def explore(
    fit_file: FitFile,
    port: Annotated[int, typer.Option("--port", help="Where the page is, on this computer.")] = (
        8501
    ),
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    law: OwnLaws = None,
    allow_unconverged: Allow = False,
) -> None:
    """A page to turn the knobs on: budget, data, tolerance and target, and what follows.

    Only this computer reaches it. What is asked stands in its address. Ctrl-C ends it.
    """
    from bayescale.explore import explore as serve

    serve(
        fit_file,
        laws=tuple(law or ()),
        port=port,
        browser=browser,
        allow_unconverged=allow_unconverged,
    )
