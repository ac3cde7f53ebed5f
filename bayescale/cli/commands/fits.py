"""Commands for fits: fit one log or many, show a fit, and repeat it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bayescale.cli.long_work import note_long_refits
from bayescale.cli.options import (
    Cluster,
    Figure,
    FitFile,
    FitOptions,
    Json,
    LawOptions,
    LogOptions,
    Mass,
    Robust,
    RunLog,
    SamplerOptions,
    Seed,
    Workers,
)
from bayescale.cli.output import (
    BAD_INPUT,
    draw,
    dropped_json,
    exit_unless,
    figure_lines,
    log_lines,
    progress_wanted,
    require_figure,
    show,
)
from bayescale.cli.parsing import executor_for

EXAMPLES = {"params": "70B", "tokens": "1.4T", "flops": "5.76e23", "lm_loss": "2.2"}


def demo(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the figure and the posterior go.")
    ] = Path(),
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Run the whole path on bundled published runs, in under a minute."""
    from bayescale.demo import run_demo
    from bayescale.files import require_folder

    require_folder(folder / "bayescale_demo.nc")
    result = run_demo(folder, seed=seed, show_progress=progress_wanted())
    show(result.to_json(), result, json_, passed=result.summary.diagnostics["passed"])


def fit(
    runs: RunLog,
    laws: LawOptions,
    sampler: SamplerOptions,
    log_options: LogOptions,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FIT.nc", help="Default: RUNS.nc in this folder."),
    ] = None,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Fit scaling laws: sample the posterior of their coefficients into FIT.nc.

    One law, or several that later commands average. Without --law and --card, those that the
    log's columns support.
    """
    from bayescale.files import require_folder

    require_figure(figure)
    target = require_folder(output or Path(f"{runs.stem}.nc"))
    log = log_options.read(runs)

    from bayescale.inference.fit import fit as sample_posterior
    from bayescale.posterior import save, summarize
    from bayescale.validation.notes import fit_notes

    more: dict[str, Any] = {**laws.to_fit(), **sampler.to_fit()}
    if sampler.weights is not None:
        note_long_refits(log, laws.cards(log), workers=1)
    fitted = sample_posterior(log, show_progress=progress_wanted(), **more)
    save(fitted, target)
    notes, result = fit_notes(fitted), summarize(fitted)
    path = draw("plot_fit", fitted, figure, allow_unconverged=True)
    answer = result.to_json() | {
        "figure": path,
        "warnings": [note.to_json() for note in notes],
        "dropped": dropped_json(log),
        "unused": list(log.unused),
        "output": str(target),
    }
    own = "".join(f" --law {name}" for name in laws.law or () if ".py:" in name)
    lines = [
        "",
        *log_lines(log, [note for note in notes if note.code != "overconfident"]),
        "",
        f"Written to {target} in {result.seconds['total']:.0f} s. Next:",
        f"  bayescale forecast {target}{own} {_example(fitted.inputs)}",
        f"  bayescale trust {target}{own}",
    ]
    below = [*lines, *figure_lines(path)]
    passed = fitted.diagnostics["passed"]
    show(answer, result.short(), json_, brief=result.brief(), notes=below, passed=passed)


def _example(inputs: Sequence[str]) -> str:
    named = {name.replace("_", "-"): EXAMPLES[name] for name in inputs if name in EXAMPLES}
    return " ".join(f"--{name} {size}" for name, size in named.items())


def summary(
    fit_file: FitFile,
    options: FitOptions,
    robust: Robust = False,
    ci_prob: Mass = 0.9,
    json_: Json = False,
) -> None:
    """Show the coefficients of a fit, what the runs added to the prior, and the diagnostics."""
    from bayescale.posterior import summarize
    from bayescale.units import checked_ci_prob
    from bayescale.validation.notes import fit_notes

    fitted = options.open(fit_file)
    notes = fit_notes(fitted)
    result = summarize(fitted, checked_ci_prob(ci_prob), robust=robust)
    below = [] if fitted.runs is None else ["", *log_lines(fitted.runs, notes)]
    answer = result.to_json() | {
        "warnings": [note.to_json() for note in notes],
        "provenance": fitted.record["provenance"],
        "robust": robust,
        "output": str(fit_file),
    }
    show(answer, result, json_, notes=below, passed=fitted.diagnostics["passed"])


def fit_many(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUNS...", help="CSV, Parquet or JSON lines; several.")
    ],
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where the fits NAME.nc go.")
    ],
    laws: LawOptions,
    sampler: SamplerOptions,
    log_options: LogOptions,
    workers: Workers = None,
    executor: Cluster = None,
    json_: Json = False,
) -> None:
    """Fit many run logs with the same settings, several at once; if one fails, the others go on.

    Fits of the same runs and settings that the folder already holds are kept: run the command
    again to resume.
    """
    names = [path.stem for path in runs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise typer.BadParameter(
            f"several logs are named {', '.join(repeated)}, and their fits would be too: rename "
            "them",
            param_hint="RUNS",
        )
    logs = {path.stem: log_options.read(path) for path in runs}

    from bayescale.inference.many import fit_many as fit_logs

    settings: dict[str, Any] = {**laws.to_fit(), **sampler.to_fit()}
    rows, passed = [], []
    with executor_for(executor, workers) as chosen:
        for done in fit_logs(
            logs,
            folder=folder,
            executor=chosen,
            workers=workers,
            show_progress=progress_wanted(),
            **settings,
        ):
            row: dict[str, Any] = {"name": done.name, "output": None, "error": done.error or None}
            if not done.error:
                passed.append(done.fit.diagnostics["passed"])
                row |= {"output": str(done.path), "passed": passed[-1], "resumed": done.resumed}
            rows.append(row)
    rows.sort(key=lambda row: names.index(row["name"]))
    again = "Run the same command again to fit those that failed: the others are kept."
    lines = [*map(_fit_line, rows), *([again] if len(passed) < len(rows) else [])]
    show({"fits": rows}, lines, json_)
    if len(passed) < len(rows):
        raise typer.Exit(BAD_INPUT)
    exit_unless(all(passed))


def _fit_line(row: Mapping[str, Any]) -> str:
    if row["error"]:
        return f"{row['name']}: FAILED: {row['error']}"
    how = "already there" if row["resumed"] else "fitted"
    trusted = "" if row["passed"] else "; it failed its convergence checks: NOT TO BE TRUSTED"
    return f"{row['name']}: {how}, {row['output']}{trusted}"


def reproduce(fit_file: FitFile, options: FitOptions, json_: Json = False) -> None:
    """Make a fit again from the runs, cards, seed and settings in its file, and compare.

    Exits with 3 if medians differ by more than Monte Carlo error.
    """
    from bayescale.inference.reproduce import reproduce as make_again

    result = make_again(options.open(fit_file), show_progress=progress_wanted())
    show(result.to_json(), result, json_, passed=result.agrees)
