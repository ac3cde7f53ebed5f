"""Forecasts: the loss of a larger run, or of a table of runs that are planned."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli.options import (
    Allow,
    Family,
    FitFile,
    Json,
    NoDrift,
    OwnLaws,
    Robust,
    Tolerance,
)
from bayescale.cli.reading import open_fit
from bayescale.cli.writing import exit_untrusted, tell, told_note
from bayescale.units import parse_size

if TYPE_CHECKING:
    from bayescale.findings import Finding
    from bayescale.posterior import Fit

Target = Annotated[
    float | None, typer.Option("--target", help="A loss: how likely is one below it?")
]


def forecast(
    fit_file: FitFile,
    params: Annotated[str | None, typer.Option("--params", help="For example 70B.")] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help="For example 1.4T.")] = None,
    flops: Annotated[
        str | None, typer.Option("--flops", help="A budget, for example 5.76e23.")
    ] = None,
    unique_tokens: Annotated[
        str | None,
        typer.Option("--unique-tokens", help="How many of the tokens are unique; else all."),
    ] = None,
    kept_fraction: Annotated[
        float | None,
        typer.Option("--kept-fraction", help="The share of the data that is kept; else all."),
    ] = None,
    lm_loss: Annotated[
        float | None,
        typer.Option("--lm-loss", help="For the law downstream: the language model's loss."),
    ] = None,
    target: Target = None,
    family: Family = None,
    tolerance: Tolerance = 0.02,
    law: OwnLaws = None,
    no_drift: NoDrift = False,
    robust: Robust = False,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """The loss of a larger run: the mean over seeds, a single new run, and whether to trust it."""
    scales = {
        name: parse_size(text, f"--{name}")
        for name, text in {
            "params": params,
            "tokens": tokens,
            "flops": flops,
            "unique-tokens": unique_tokens,
        }.items()
        if text is not None
    }
    scales = {name.replace("-", "_"): value for name, value in scales.items()}
    from bayescale.forecasting import forecast as forecast_loss

    fitted, drift, notes = _fit_to_ask(fit_file, law, no_drift, robust)
    result = forecast_loss(
        fitted,
        **scales,
        kept_fraction=kept_fraction,
        lm_loss=lm_loss,
        target=target,
        tolerance=tolerance,
        family=family,
        drift=drift,
        allow_unconverged=allow_unconverged,
    )
    answer = result.to_json() | {
        "robust": robust,
        "warnings": [note.to_json() for note in notes],
    }
    tell(answer, "\n".join([str(result), *map(told_note, notes)]), json_)
    exit_untrusted(fitted.diagnostics["passed"])


def forecast_many(
    fit_file: FitFile,
    points: Annotated[
        Path,
        typer.Argument(
            metavar="PLANNED",
            help="CSV, Parquet or JSON lines: params and tokens, or flops, one row a run.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="TABLE.csv", help="Where forecasts go.")
    ],
    target: Target = None,
    family: Family = None,
    tolerance: Tolerance = 0.02,
    law: OwnLaws = None,
    no_drift: NoDrift = False,
    robust: Robust = False,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """The losses of a table of planned runs, as many as there are: a row each, in their order."""
    from bayescale.files import replacing, require_folder
    from bayescale.forecasting import forecast_table
    from bayescale.runs.planned import read_planned

    require_folder(output)
    planned = read_planned(points)
    fitted, drift, notes = _fit_to_ask(fit_file, law, no_drift, robust)
    asked: dict[str, Any] = {
        "target": target,
        "tolerance": tolerance,
        "family": family,
        "drift": drift,
        "allow_unconverged": allow_unconverged,
    }
    # of one first, so that names that clash are told before the long work
    one = {name: values[:1] for name, values in planned.scales.items()}
    planned.require_distinct(forecast_table(fitted, **one, **asked))
    table = forecast_table(fitted, **planned.scales, **asked, show_progress=sys.stderr.isatty())
    verdicts = table["verdict"].value_counts()
    scales, others = list(planned.scales), [str(name) for name in planned.others]
    with replacing(output) as temporary:
        planned.joined(table).to_csv(temporary, index=False)
    answer = {
        "n_points": len(table),
        "scales": scales,
        "carried_along": others,
        "target": target,
        "drift": drift,
        "robust": robust,
        "verdicts": verdicts.to_dict(),
        "warnings": [note.to_json() for note in notes],
        "provenance": fitted.record["provenance"],
        "output": str(output),
    }
    lines = [f"{len(table):,} forecasts by {', '.join(scales)}, written to {output}"]
    lines += [f"  {count:>9,} {state}" for state, count in verdicts.items()]
    if others:
        lines.append(f"Carried along: {', '.join(others)}")
    tell(answer, "\n".join([*lines, *map(told_note, notes)]), json_)
    exit_untrusted(fitted.diagnostics["passed"])


def _fit_to_ask(
    path: Path, law: list[str] | None, no_drift: bool, robust: bool
) -> "tuple[Fit, bool, tuple[Finding, ...]]":
    """The fit, widened where asked for; whether it drifts; what is to be told where it does not."""
    from bayescale.validation.resampling import resampling_notes, widen

    fitted = open_fit(path, law)
    if robust:
        return widen(fitted), False, ()
    return fitted, not no_drift, resampling_notes(fitted) if no_drift else ()
