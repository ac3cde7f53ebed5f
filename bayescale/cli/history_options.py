"""Options of a run in progress: its history, and the plan of its learning rates."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli.parsing import given_fields, size_of

if TYPE_CHECKING:
    from bayescale.curves.history import History
    from bayescale.curves.schedule import Schedule


class Restart(StrEnum):
    """What to do with steps that go back."""

    error = "error"
    last = "last"


@dataclass(frozen=True)
class HistoryOptions:
    """Options of which columns or metrics of the history are read."""

    metric: Annotated[
        str | None, typer.Option("--metric", help="The loss, if the history has several.")
    ] = None
    rate: Annotated[str | None, typer.Option("--rate", help="The learning rate's column.")] = None
    run: Annotated[str | None, typer.Option("--run", help="Which run, if there are several.")] = (
        None
    )
    restarts: Annotated[
        Restart, typer.Option("--restarts", help="Steps that go back: refuse, or keep the last.")
    ] = Restart.error

    def typed(self) -> dict[str, Any]:
        """Return the options that were given, by name."""
        return given_fields(self)

    def read(self, path: str) -> "History":
        """Return the history of the run."""
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
    """Options of the plan: the learning rates of the whole run."""

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

    def typed(self) -> dict[str, Any]:
        """Return the options that were given, by name, without the repeatable ``then``."""
        return {name: value for name, value in given_fields(self).items() if name != "then"}

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
                f"{self.plan.name} states it already: leave it out", param_hint=unused[0]
            )
        warm_up = size_of(self.warm_up, "--warm-up")
        if self.plan is not None:
            return plan_of_table(self.plan, history, warm_up)
        last = size_of(self.final_step, "--final-step")
        if last is None:
            raise typer.BadParameter("give the last step of the run", param_hint="--final-step")
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
        """Return the other plans that ``--then`` describes."""
        from bayescale.curves.plan import other_way

        return [other_way(text, history, plan) for text in self.then or ()]
