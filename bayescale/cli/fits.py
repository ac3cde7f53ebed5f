"""Fits: made, of one log or of many, read again, and made again."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bayescale.cli.options import (
    Cards,
    Chains,
    Columns,
    Convert,
    Draws,
    Exclude,
    FitFile,
    Json,
    LawNames,
    Missing,
    MissingRows,
    OwnLaws,
    PoolFamilies,
    Robust,
    RunLog,
    Seed,
    Stated,
    Tune,
    Units,
    Weights,
    Workers,
)
from bayescale.cli.reading import open_fit, own_laws, read_log, shares_of, to_fit
from bayescale.cli.writing import BAD_INPUT, exit_untrusted, tell, told_of


def demo(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the figure and the posterior go.")
    ] = Path(),
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """The whole path on bundled published runs, in under a minute."""
    from bayescale.demo import run_demo
    from bayescale.files import require_folder

    require_folder(folder / "bayescale_demo.nc")
    result = run_demo(folder, seed=seed, show_progress=sys.stderr.isatty())
    tell(result.to_json(), str(result), json_)
    exit_untrusted(result.summary.diagnostics["passed"])


def fit(
    runs: RunLog,
    law: LawNames = None,
    card: Cards = None,
    weight: Weights = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FIT.nc", help="Default: RUNS.nc in this folder."),
    ] = None,
    seed: Seed = 0,
    draws: Draws = 1000,
    tune: Tune = 500,
    chains: Chains = 4,
    pool: PoolFamilies = True,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    convention: Stated = None,
    convert: Convert = None,
    json_: Json = False,
) -> None:
    """Fit scaling laws: the posterior of their coefficients, written to FIT.nc.

    One law, or several that later commands answer from together. Without --law and --card,
    those that the log's columns can carry.
    """
    from bayescale.files import require_folder

    target = require_folder(output or Path(f"{runs.stem}.nc"))
    log = read_log(runs, column, unit, exclude, missing, convention, convert)

    from bayescale.inference.fit import fit as sample_posterior
    from bayescale.posterior import save, summarize
    from bayescale.validation.notes import fit_notes

    more: dict[str, Any] = to_fit(law, card) | {"weights": shares_of(weight)}
    fitted = sample_posterior(
        log, seed=seed, draws=draws, tune=tune, chains=chains, families=pool,
        show_progress=sys.stderr.isatty(), **more,
    )  # fmt: skip
    save(fitted, target)
    notes = fit_notes(fitted)
    result = summarize(fitted)
    answer = result.to_json() | {
        "warnings": [note.to_json() for note in notes],
        "dropped": [item._asdict() for item in log.dropped],
        "output": str(target),
    }
    lines = [str(result), "", *told_of(log, notes), ""]
    lines += [f"Written to {target} in {result.seconds['total']:.0f} s. Next:"]
    lines += [
        f"  bayescale forecast {target}{own_laws(law)} {_example(fitted.inputs)}",
        f"  bayescale trust {target}{own_laws(law)}",
    ]
    tell(answer, "\n".join(lines), json_)
    exit_untrusted(fitted.diagnostics["passed"])


def _example(inputs: "Sequence[str]") -> str:
    sizes = {"params": "70B", "tokens": "1.4T", "flops": "5.76e23", "lm_loss": "2.2"}
    named = {name.replace("_", "-"): sizes[name] for name in inputs if name in sizes}
    return " ".join(f"--{name} {size}" for name, size in named.items())


def summary(
    fit_file: FitFile, law: OwnLaws = None, robust: Robust = False, json_: Json = False
) -> None:
    """The coefficients of a fit, what the runs said of them, and the sampler's state."""
    from bayescale.posterior import summarize
    from bayescale.validation.notes import fit_notes
    from bayescale.validation.resampling import widen

    fitted = open_fit(fit_file, law)
    notes = fit_notes(fitted)
    result = summarize(widen(fitted) if robust else fitted)
    lines = [str(result), ""]
    if fitted.runs is not None:
        lines += told_of(fitted.runs, notes)
    answer = result.to_json() | {
        "warnings": [note.to_json() for note in notes],
        "provenance": fitted.record["provenance"],
        "robust": robust,
        "output": str(fit_file),
    }
    tell(answer, "\n".join(lines).rstrip(), json_)
    exit_untrusted(fitted.diagnostics["passed"])


def fit_many(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUNS...", help="CSV, Parquet or JSON lines; several.")
    ],
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where NAME.nc go.")
    ],
    law: LawNames = None,
    card: Cards = None,
    weight: Weights = None,
    seed: Seed = 0,
    draws: Draws = 1000,
    tune: Tune = 500,
    chains: Chains = 4,
    pool: PoolFamilies = True,
    workers: Workers = None,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    json_: Json = False,
) -> None:
    """Fit many run logs alike, several at once: a failure does not cost the others.

    What the folder holds already of the same runs and settings is kept: call it again to go on
    where it stopped.
    """
    names = [path.stem for path in runs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise typer.BadParameter(
            f"several logs are named {', '.join(repeated)}, and their fits would be too: rename "
            "them",
            param_hint="RUNS",
        )
    logs = {path.stem: read_log(path, column, unit, exclude, missing) for path in runs}

    from bayescale.inference.many import fit_many as fit_logs

    results = fit_logs(
        logs, **to_fit(law, card), weights=shares_of(weight), folder=folder, workers=workers,
        seed=seed, draws=draws, tune=tune, chains=chains, families=pool,
        show_progress=sys.stderr.isatty(),
    )  # fmt: skip
    rows, passed = [], []
    for done in results:
        row: dict[str, Any] = {"name": done.name, "output": None, "error": done.error or None}
        if not done.error:
            passed.append(done.fit.diagnostics["passed"])
            row |= {"output": str(done.path), "passed": passed[-1], "resumed": done.resumed}
        rows.append(row)
    rows.sort(key=lambda row: names.index(row["name"]))
    tell({"fits": rows}, "\n".join(map(_ended, rows)), json_)
    if len(passed) < len(rows):
        raise typer.Exit(BAD_INPUT)
    exit_untrusted(all(passed))


def _ended(row: Mapping[str, Any]) -> str:
    if row["error"]:
        return f"{row['name']}: FAILED: {row['error']}"
    was = "was there already" if row["resumed"] else "fitted"
    trusted = "" if row["passed"] else "; its sampler missed its gate: NOT TO BE TRUSTED"
    return f"{row['name']}: {was}, {row['output']}{trusted}"


def reproduce(fit_file: FitFile, law: OwnLaws = None, json_: Json = False) -> None:
    """Make a fit again from the runs, cards, seed and settings in its file, and compare.

    Exits with 3 where medians differ by more than chance.
    """
    from bayescale.inference.reproduce import reproduce as make_again

    result = make_again(open_fit(fit_file, law), show_progress=sys.stderr.isatty())
    tell(result.to_json(), str(result), json_)
    exit_untrusted(result.agrees)
