"""Commands for pages: a report, and a page with controls."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.cluster_options import ClusterOptions, GpuOptions
from bayescale.cli.history_options import HistoryOptions, PlanOptions
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

if TYPE_CHECKING:
    from bayescale.posterior import Fit
    from bayescale.reporting.extras import Extra


@dataclass(frozen=True)
class ExtraOptions:
    """Options of results that a report shows besides those of its fit."""

    recipes: Annotated[
        Path | None,
        typer.Option(
            "--recipes",
            metavar="RECIPES.nc",
            help="Also compare recipes at the next scale, from what bayescale versus -o has kept.",
        ),
    ] = None
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="HISTORY",
            help="Also show a run in progress; its plan as for bayescale watch.",
        ),
    ] = None
    params: Annotated[
        str | None,
        typer.Option("--params", help="Size of the run in progress, to compare with this fit."),
    ] = None
    tokens: Annotated[str | None, typer.Option("--tokens", help="Tokens of that whole run.")] = None

    def compared(self, fit: "Fit", flops: float | None) -> "list[Extra]":
        """Return the comparison of stored recipes at the next scale of the report, if requested."""
        if self.recipes is None:
            return []
        from bayescale.command_lines import command_line
        from bayescale.decisions.versus import versus
        from bayescale.laws.optimum import splits
        from bayescale.posterior.recipe_files import open_recipes
        from bayescale.reporting.extras import Extra
        from bayescale.verdict import next_scale

        if flops is None and not (fit.runs is not None and splits(fit.inputs)):
            raise typer.BadParameter(
                f"recipes are compared at a budget, which {fit.name} does not have: give --flops, "
                "use bayescale versus, or report a fit of params and tokens",
                param_hint="--recipes",
            )
        at = flops or next_scale(fit.runs.frame, fit.inputs)  # type: ignore[union-attr]
        result = versus(open_recipes(self.recipes), flops=at)
        return [Extra(result, command_line("versus", str(self.recipes), {"flops": at}))]

    def watched(
        self,
        fit: "Fit",
        fit_file: Path,
        target: float | None,
        history_options: HistoryOptions,
        plan_options: PlanOptions,
    ) -> "list[Extra]":
        """Return the run in progress, if requested; its size compares it with this fit."""
        if self.history is None:
            given = {"params": self.params, "tokens": self.tokens, "then": plan_options.then}
            given = {name: value for name, value in given.items() if value is not None}
            given |= history_options.typed() | plan_options.typed()
            if given:
                option = f"--{next(iter(given)).replace('_', '-')}"
                raise typer.BadParameter(
                    f"name the history of the run to which {option} belongs", param_hint="--history"
                )
            return []
        from bayescale.command_lines import command_line
        from bayescale.decisions.watch import watch
        from bayescale.reporting.extras import Extra

        logged = history_options.read(self.history)
        plan = plan_options.to_schedule(logged)
        sized = self.params is not None or self.tokens is not None
        result = watch(
            logged,
            plan,
            forecast=fit if sized else None,
            params=size_of(self.params, "--params"),
            tokens=size_of(self.tokens, "--tokens"),
            target=target,
            then=plan_options.others(logged, plan),
        )
        typed = history_options.typed() | plan_options.typed() | {"target": target}
        if sized:
            typed |= {"forecast": fit_file, "params": self.params, "tokens": self.tokens}
        others = [word for text in plan_options.then or () for word in ("--then", text)]
        return [Extra(result, command_line("watch", self.history, typed, *others))]


def report(
    fit_file: FitFile,
    options: FamilyOptions,
    extra_options: ExtraOptions,
    history_options: HistoryOptions,
    plan_options: PlanOptions,
    cluster_options: ClusterOptions,
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
    run bayescale trust first, so that it can show a backtest. With --recipes and --history it
    also shows which recipe is better, and whether a run in progress is on course.
    """
    from bayescale.files import require_folder
    from bayescale.reporting.page import write
    from bayescale.reporting.sections import report as make_report

    page = require_folder(output or Path(f"{fit_file.stem}.html"))
    fitted, budget = options.open(fit_file), size_of(flops, "--flops")
    cluster, days = cluster_options.cluster(), size_of(cluster_options.days, "--days")
    at = budget
    if days is not None and extra_options.recipes is not None:
        from bayescale.decisions.allocate import allocate

        # recipes are compared at the compute that the choice reaches in these days
        at = float(allocate(fitted, days=days, cluster=cluster, **options.to_ask()).flops[0])
    also = [
        *extra_options.compared(fitted, at),
        *extra_options.watched(fitted, fit_file, target, history_options, plan_options),
    ]
    result = make_report(
        fitted,
        fit_file,
        flops=budget,
        days=days,
        cluster=cluster,
        target=target,
        tolerance=tolerance,
        also=also,
        laws=tuple(options.law or ()),
        loss_unit=loss_unit,
        show_progress=progress_wanted(),
        **options.to_ask(),
    )
    write(result, page)
    answer, text = {"output": str(page), **result.to_json()}, [str(result), f"Written to {page}."]
    passed = result.answered and fitted.diagnostics["passed"] and all(x.passed for x in also)
    show(answer, text, json_, passed=passed)


def explore(
    fit_file: FitFile,
    options: FitOptions,
    gpu_options: GpuOptions,
    port: Annotated[int, typer.Option("--port", help="Where the page is, on this computer.")] = (
        8501
    ),
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Serve a page with sliders for budget, data, tolerance and target, and a tab a question.

    It also takes another fit, or a run log, which it fits. Only this computer reaches it. Its
    address holds the question. With --gpus, budgets are also in days, and with --gpu-price in
    dollars. Ctrl-C ends it.
    """
    from bayescale.explore import explore as serve

    serve(
        fit_file,
        laws=tuple(options.law or ()),
        cluster=gpu_options.cluster(),
        port=port,
        browser=browser,
        allow_unconverged=options.allow_unconverged,
    )
