"""The command that watches a run in progress."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.history_options import HistoryOptions, PlanOptions
from bayescale.cli.options import Figure, Json, Mass, Seed
from bayescale.cli.output import draw, figure_lines, require_figure, show
from bayescale.cli.parsing import size_of


class CurveLaw(StrEnum):
    """The law of a loss curve."""

    annealing = "annealing"
    multi_power = "multi_power"


def watch(
    history: Annotated[
        str,
        typer.Argument(
            metavar="HISTORY",
            help="Steps, learning rates and losses so far: a table, or what a tracker wrote.",
        ),
    ],
    history_options: HistoryOptions,
    plan_options: PlanOptions,
    forecast: Annotated[
        Path | None,
        typer.Option(
            "--forecast", metavar="FIT.nc", help="A fit of smaller runs, made before the run."
        ),
    ] = None,
    params: Annotated[str | None, typer.Option("--params", help="Size of the run: 7B.")] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Tokens of the whole run: 140B.")
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="A final loss that should be reached.")
    ] = None,
    finished: Annotated[
        Path | None,
        typer.Option(
            "--finished",
            metavar="CURVES.csv",
            help="Finished runs of the recipe: run, params, step, lr, loss.",
        ),
    ] = None,
    law: Annotated[
        CurveLaw, typer.Option("--law", help="How a fall of the learning rate takes effect.")
    ] = CurveLaw.annealing,
    ci_prob: Mass = 0.9,
    figure: Figure = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Forecast the final loss of a run in progress, and test whether it is on course."""
    from bayescale.curves.finished import read_finished
    from bayescale.decisions.watch import watch as watch_run
    from bayescale.posterior import open_posterior

    require_figure(figure)
    logged = history_options.read(history)
    plan = plan_options.to_schedule(logged)
    result = watch_run(
        logged,
        plan,
        forecast=None if forecast is None else open_posterior(forecast),
        params=size_of(params, "--params"),
        tokens=size_of(tokens, "--tokens"),
        target=target,
        then=plan_options.others(logged, plan),
        finished=() if finished is None else read_finished(finished),
        law=law.value,
        ci_prob=ci_prob,
        seed=seed,
    )
    path = draw("plot_result", result, figure)
    answer = result.to_json() | {"figure": path}
    show(answer, result, json_, notes=figure_lines(path), passed=result.on_course is not False)
