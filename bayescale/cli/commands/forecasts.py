"""Commands for forecasts: of a larger run, of a table of planned runs, and along curves."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.options import Figure, FitFile, ForecastOptions, Json, LossOptions
from bayescale.cli.output import (
    draw,
    figure_lines,
    note_line,
    progress_wanted,
    require_figure,
    show,
)
from bayescale.cli.parsing import path_between, sizes_of
from bayescale.units import parse_size


def forecast(
    fit_file: FitFile,
    options: ForecastOptions,
    params: Annotated[str | None, typer.Option("--params", help="For example 70B.")] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help="For example 1.4T.")] = None,
    flops: Annotated[
        str | None, typer.Option("--flops", help="A budget, for example 5.76e23.")
    ] = None,
    unique_tokens: Annotated[
        str | None,
        typer.Option("--unique-tokens", help="How many of the tokens are unique; default: all."),
    ] = None,
    kept_fraction: Annotated[
        float | None,
        typer.Option("--kept-fraction", help="The share of the data that is kept; default: all."),
    ] = None,
    lm_loss: Annotated[
        float | None,
        typer.Option("--lm-loss", help="For the law downstream: the language model's loss."),
    ] = None,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Forecast the loss of a larger run: the mean over seeds and a single new run."""
    typed = {"params": params, "tokens": tokens, "flops": flops, "unique_tokens": unique_tokens}
    scales = {
        name: parse_size(text, f"--{name.replace('_', '-')}")
        for name, text in typed.items()
        if text is not None
    }
    from bayescale.forecasting import forecast as forecast_loss

    require_figure(figure)
    fitted, notes = options.open_with_notes(fit_file)
    result = forecast_loss(
        fitted, **scales, kept_fraction=kept_fraction, lm_loss=lm_loss, **options.to_ask()
    )
    more = {"point": result, "allow_unconverged": options.allow_unconverged}
    figure = figure if result.answered else None
    if fitted.runs is None:
        path = draw("plot_result", result, figure)
    else:
        path = draw("plot_fit", fitted, figure, **more)
    answer = result.to_json() | {
        "figure": path,
        "robust": options.robust,
        "warnings": [note.to_json() for note in notes],
    }
    below = [*map(note_line, notes), *figure_lines(path)]
    passed = result.answered and fitted.diagnostics["passed"]
    show(answer, result, json_, notes=below, passed=passed)


def forecast_many(
    fit_file: FitFile,
    options: ForecastOptions,
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
    json_: Json = False,
) -> None:
    """Forecast a table of planned runs of any length: one row each, in their order."""
    from bayescale.files import replacing, require_folder
    from bayescale.forecasting import forecast_table
    from bayescale.runs.planned import read_planned

    require_folder(output)
    fitted, notes = options.open_with_notes(fit_file)
    planned = read_planned(points, fitted.inputs)
    question = options.to_ask()
    # One row suffices to find clashing names before the long work.
    one = {name: values[:1] for name, values in planned.scales.items()}
    planned.require_distinct(forecast_table(fitted, **one, **question))
    table = forecast_table(fitted, **planned.scales, **question, show_progress=progress_wanted())
    with replacing(output) as temporary:
        planned.joined(table).to_csv(temporary, index=False)
    verdicts = table["verdict"].value_counts()
    scales, others = list(planned.scales), [str(name) for name in planned.others]
    answer = {
        "n_points": len(table),
        "scales": scales,
        "carried_along": others,
        "target": options.target,
        "drift": question["drift"],
        "robust": options.robust,
        "verdicts": verdicts.to_dict(),
        "warnings": [note.to_json() for note in notes],
        "provenance": fitted.record["provenance"],
        "output": str(output),
    }
    lines = [f"{len(table):,} forecasts by {', '.join(scales)}, written to {output}"]
    lines += [f"  {count:>9,} {state}" for state, count in verdicts.items()]
    if others:
        lines.append(f"Further columns kept: {', '.join(others)}")
    below = list(map(note_line, notes))
    show(answer, lines, json_, notes=below, passed=fitted.diagnostics["passed"])


def slices(
    fit_file: FitFile,
    options: LossOptions,
    by: Annotated[
        str, typer.Option("--by", help="What is fixed on each curve: tokens, or params.")
    ] = "tokens",
    held: Annotated[
        str | None, typer.Option("--held", help="Its values, one per curve: 1B,10B,100B.")
    ] = None,
    along: Annotated[
        str | None, typer.Option("--along", metavar="FROM,TO", help="The range of the other scale.")
    ] = None,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Show the loss against params at fixed tokens, or against tokens at fixed params."""
    from bayescale.forecasting import slices as forecast_slices
    from bayescale.forecasting.curves import slices_content

    held_values = None if held is None else sizes_of(held, "--held")
    path = path_between(along, "--along")
    fitted, question = options.open(fit_file), {"by": by, **options.to_ask()}
    result = forecast_slices(fitted, held_values, along=path, **question)
    drawn = draw("plot_slices", result, figure, scale={"tokens": "params"}.get(by, "tokens"), by=by)
    rows = result.to_frame().drop(columns="why").to_dict(orient="records")
    answer = {
        "law": result.law,
        "by": by,
        "interval": result.ci_prob,
        "unit": result.unit,
        "points": rows,
        "provenance": result.provenance,
        "figure": drawn,
    }
    below, passed = figure_lines(drawn), fitted.diagnostics["passed"]
    show(answer, slices_content(result, by), json_, notes=below, passed=passed)
