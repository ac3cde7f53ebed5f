"""The command that makes a run log from the runs of a tracker."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.options import Json, Missing
from bayescale.cli.output import dropped_json, dropped_lines, note_beside, note_line, show
from bayescale.cli.parsing import name_values


class From(StrEnum):
    """The trackers that can be read."""

    mlflow = "mlflow"
    wandb = "wandb"
    tensorboard = "tensorboard"
    huggingface = "huggingface"


class Repeated(StrEnum):
    """What to do with runs that have several values at one step."""

    error = "error"
    drop = "drop"
    last = "last"


class RunName(StrEnum):
    """What names the runs."""

    by_name = "name"
    by_id = "id"


@dataclass(frozen=True)
class ImportOptions:
    """Options of which runs are read, and which value of each."""

    metric: Annotated[str, typer.Option("--metric", help="The loss's metric: eval/loss.")]
    column: Annotated[
        list[str],
        typer.Option(
            "--column",
            metavar="NAME=PLACE",
            help="Where other columns are: params=config.n_params.",
        ),
    ]
    from_: Annotated[
        From | None,
        typer.Option(
            "--from",
            metavar="TRACKER",
            help=f"{', '.join(From)}: if SOURCE does not show it.",
        ),
    ] = None
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", metavar="NAME", help="MLflow: the experiment, if several."),
    ] = None
    history: Annotated[
        Path | None,
        typer.Option("--history", metavar="PATH", help="W&B: histories beside an exported table."),
    ] = None
    step: Annotated[
        str, typer.Option("--step", metavar="last|N", help="The step whose loss is taken.")
    ] = "last"
    smooth: Annotated[
        str | None,
        typer.Option(
            "--smooth", metavar="mean:K|ema:A", help="Average the loss; default: as logged."
        ),
    ] = None
    unfinished: Annotated[
        Missing, typer.Option("--unfinished", help="Unfinished runs: refuse, drop or mark them.")
    ] = Missing.error
    repeated: Annotated[
        Repeated, typer.Option("--repeated", help="Runs with several values at one step.")
    ] = Repeated.error
    missing: Annotated[
        Missing, typer.Option("--missing", help="Runs that lack a value: refuse, drop or keep.")
    ] = Missing.error
    unit: Annotated[
        list[str] | None,
        typer.Option(
            "--unit",
            metavar="NAME=UNIT",
            help="A column's unit, for runs.toml beside RUNS.csv.",
        ),
    ] = None
    run_id: Annotated[RunName, typer.Option("--run-id", help="What names the runs.")] = (
        RunName.by_name
    )


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="MLflow's SQLite file or server; a W&B table, folder or ENTITY/PROJECT; a folder "
            "of TensorBoard event files or of the Hugging Face Trainer.",
        ),
    ],
    given: ImportOptions,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="RUNS.csv", help="Default: print.")
    ] = None,
    json_: Json = False,
) -> None:
    """Make a run log from MLflow, Weights & Biases, TensorBoard or the Hugging Face Trainer."""
    from bayescale.files import require_folder
    from bayescale.trackers import Choice, import_runs

    if output is not None:
        require_folder(output)
    units = name_values(given.unit, "--unit")
    if units and output is None:
        raise typer.BadParameter(
            "units are written into runs.toml beside the log: name a file with -o RUNS.csv",
            param_hint="--unit",
        )
    choice = Choice(
        metric=given.metric,
        columns=name_values(given.column, "--column"),
        step=_step_of(given.step),
        smooth=given.smooth,
        unfinished=given.unfinished.value,
        repeated=given.repeated.value,
        missing=given.missing.value,
        run_id=given.run_id.value,
    )
    log = import_runs(
        source,
        choice,
        tracker=None if given.from_ is None else given.from_.value,
        experiment=given.experiment,
        history=given.history,
    )
    answer = {
        "n_runs": len(log),
        "source": log.source,
        "columns": dict(log.origins),
        "metric": given.metric,
        "step": choice.step,
        "smooth": given.smooth,
        "dropped": dropped_json(log),
        "warnings": [note.to_json() for note in log.notes],
        "runs": log.records(),
        "output": output and str(output),
    }
    notes = [*dropped_lines(log), *map(note_line, log.notes)]
    if output is None:
        show(answer, log.to_frame().to_csv(index=False).rstrip("\n"), json_, verbatim=True)
        note_beside(notes)
        return
    _write_units(output, units, log.origins)
    log.to_csv(output)
    lines = [f"{log}, written to {output}", ""]
    lines += [f"  {name:<13} from {place}" for name, place in log.origins.items()]
    below = ["", *notes, "Next:", f"  bayescale check {output}"]
    show(answer, lines, json_, notes=below)


def _write_units(output: Path, units: dict[str, str], columns: Collection[str]) -> None:
    """Write the units of a log's columns into the settings file beside it."""
    from bayescale.runs.columns import unit_problems
    from bayescale.runs.options import ReadOptions
    from bayescale.runs.read import options_for
    from bayescale.runs.settings import write_settings

    if not units:
        return
    if problems := unit_problems(units, columns):
        raise typer.BadParameter("; ".join(problems), param_hint="--unit")
    write_settings(output, options_for(output, ReadOptions.of(units=units))[0])


def _step_of(text: str) -> int | None:
    if text == "last":
        return None
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither last nor a whole number: write last, or a step such as 20000",
            param_hint="--step",
        ) from None
