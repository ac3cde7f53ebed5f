"""The command of a run in progress."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.options import Figure, Json, Seed
from bayescale.cli.output import draw, figure_lines, require_figure, show
from bayescale.cli.parsing import size_of

if TYPE_CHECKING:
    from bayescale.curves.history import History
    from bayescale.curves.schedule import Schedule


class Restart(StrEnum):
    """What to do with steps that go back."""

    error = "error"
    last = "last"


@dataclass(frozen=True)
class HistoryOptions:
    """Which columns or metrics of the history are read."""

    metric: Annotated[
        str | None, typer.Option("--metric", help="The loss, where several might be meant.")
    ] = None
    rate: Annotated[str | None, typer.Option("--rate", help="The learning rate's column.")] = None
    run: Annotated[
        str | None, typer.Option("--run", help="Which run, where there are several.")
    ] = None
    restarts: Annotated[
        Restart, typer.Option("--restarts", help="Steps that go back: refuse, or keep the last.")
    ] = Restart.error

    def read(self, path: str) -> "History":
        """Read the history of the run."""
        from bayescale.curves.history import read_history

        return read_history(
            path,
            metric=self.metric,
            rate=self.rate,
            run=self.run,
            restarts=self.restarts.value,
        )


@dataclass(frozen=True)
class PlanOptions:
    """The learning rates of the whole run."""

    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="PLAN.csv", help="A table of step and lr, to the end."),
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", help="Or by name: constant, cosine, linear, wsd or step."),
    ] = None
    final_step: Annotated[
        str | None, typer.Option("--final-step", metavar="N", help="The last step of the run.")
    ] = None
    warm_up: Annotated[
        str | None, typer.Option("--warm-up", metavar="N", help="Steps of the warm-up.")
    ] = None
    decay_from: Annotated[
        str | None,
        typer.Option("--decay-from", metavar="N", help="wsd, step: where the rate falls."),
    ] = None
    final_share: Annotated[
        float, typer.Option("--final-share", help="The last rate, as a share of the peak.")
    ] = 0.1
    then: Annotated[
        list[str] | None,
        typer.Option(
            "--then",
            metavar="NAME:STEP",
            help="Also go on otherwise: linear:80000 decays from now to there; or a table.",
        ),
    ] = None

    def to_schedule(self, history: "History") -> "Schedule":
        """Return the plan of the run."""
        from bayescale.curves.plan import named_plan, plan_of_table

        if (self.plan is None) == (self.schedule is None):
            raise typer.BadParameter(
                "give the plan of the run: --plan PLAN.csv, or --schedule NAME with --final-step N",
                param_hint="--plan",
            )
        of_names = {"--final-step": self.final_step, "--decay-from": self.decay_from}
        unused = [option for option, given in of_names.items() if given is not None]
        if self.plan is not None and unused:
            raise typer.BadParameter(
                f"{self.plan.name} says it already: leave it out", param_hint=unused[0]
            )
        warm_up = size_of(self.warm_up, "--warm-up")
        if self.plan is not None:
            return plan_of_table(self.plan, history, warm_up)
        last = size_of(self.final_step, "--final-step")
        if last is None:
            raise typer.BadParameter("say where the run ends", param_hint="--final-step")
        assert self.schedule is not None
        return named_plan(
            self.schedule,
            last,
            history,
            warm_up=warm_up,
            decay_from=size_of(self.decay_from, "--decay-from"),
            final_share=self.final_share,
        )

    def others(self, history: "History", plan: "Schedule") -> "list[Schedule]":
        """Return the other ways to go on."""
        from bayescale.curves.plan import other_way

        return [other_way(text, history, plan) for text in self.then or ()]


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
        typer.Option("--forecast", metavar="FIT.nc", help="A fit of smaller runs, made before."),
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
        seed=seed,
    )
    path = draw("plot_result", result, figure)
    answer = result.to_json() | {"figure": path}
    show(answer, result, json_, notes=figure_lines(path), passed=result.on_course is not False)
