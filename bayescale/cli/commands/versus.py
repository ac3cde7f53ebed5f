"""The command that compares recipes."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.options import Figure, GivenSeed, Json, LogOptions, Mass
from bayescale.cli.output import draw, figure_lines, progress_wanted, require_figure, show
from bayescale.cli.parsing import refuse_unread, size_of, stated

if TYPE_CHECKING:
    from bayescale.runs import Runs


def versus(
    logs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS|RECIPES.nc|FIT...",
            help="A run log with a column of recipes, what -o has kept, or two fits.",
        ),
    ],
    log_options: LogOptions,
    family: Annotated[
        str | None, typer.Option("--family", metavar="COLUMN", help="The column of recipes.")
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", metavar="NAME", help="A recipe; repeatable. Default: all."),
    ] = None,
    flops: Annotated[str | None, typer.Option("--flops", help="The target's budget: 1e24.")] = None,
    params: Annotated[str | None, typer.Option("--params", help="Or its size: 70B.")] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help="And its tokens: 1.4T.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RECIPES.nc", help="Keep the posterior."),
    ] = None,
    seed: GivenSeed = None,
    draws: Annotated[
        int | None,
        typer.Option("--draws", min=100, show_default="1000", help="Draws per chain."),
    ] = None,
    allow_unconverged: Annotated[
        bool, typer.Option("--allow-unconverged", help="Answer even if convergence checks failed.")
    ] = False,
    ci_prob: Mass = 0.9,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Compare recipes at a target scale: which is better, by how much, and what would decide."""
    from bayescale.decisions.versus import versus as compare_recipes
    from bayescale.files import require_folder
    from bayescale.inference.recipes import fit_recipes
    from bayescale.posterior.recipe_files import open_recipes, save_recipes

    require_figure(figure)
    if output is not None:
        require_folder(output)
    if (flops is None) == (params is None or tokens is None):  # before minutes of sampling
        raise typer.BadParameter(
            "give the scale at which to compare: --flops, or --params and --tokens",
            param_hint="--flops",
        )
    kept = len(logs) == 1 and logs[0].suffix == ".nc"
    of_log = {"--family": family, **log_options.typed()}
    of_sampler = stated(seed=seed, draws=draws)
    if kept:
        typed = {f"--{name}": value for name, value in of_sampler.items()}
        why = f"{logs[0]} holds recipes that were read and sampled before"
        refuse_unread({**of_log, "--recipe": recipe, **typed}, why, ", or name the log")
        fitted = open_recipes(logs[0])
    else:
        if logs[1:]:
            refuse_unread(of_log, "fits hold their runs, and name their recipes")
        runs = _runs(logs, log_options, family)
        shown = progress_wanted()
        fitted = fit_recipes(runs, only=recipe, show_progress=shown, **of_sampler)
    if output is not None:
        save_recipes(fitted, output)
    result = compare_recipes(
        fitted,
        flops=size_of(flops, "--flops"),
        params=size_of(params, "--params"),
        tokens=size_of(tokens, "--tokens"),
        ci_prob=ci_prob,
        allow_unconverged=allow_unconverged,
    )
    path = draw("plot_result", result, figure)
    files = {"output": None if output is None else str(output), "figure": path}
    notes = [*figure_lines(path), *([] if output is None else [f"Recipes kept in {output}."])]
    show(result.to_json() | files, result, json_, notes=notes, passed=result.passed)


def _runs(logs: list[Path], log_options: LogOptions, family: str | None) -> "Runs":
    """Return the runs of all recipes, from one log or from several fits."""
    from bayescale.posterior import open_posterior
    from bayescale.posterior.recipes import runs_of_fits

    if not logs[1:]:
        column = [] if family is None else [f"family={family}"]
        return replace(log_options, column=[*(log_options.column or ()), *column]).read(logs[0])
    if len({path.stem for path in logs}) < len(logs):
        raise typer.BadParameter("two fits have one name: rename a file", param_hint="FIT")
    return runs_of_fits({path.stem: open_posterior(path) for path in logs})
