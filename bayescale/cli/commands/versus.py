"""The command that compares recipes."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.options import Figure, Json, LogOptions, Seed
from bayescale.cli.output import draw, figure_lines, progress_wanted, require_figure, show
from bayescale.cli.parsing import size_of


def versus(
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="RUNS|FIT...", help="A run log with a column of recipes, or fits."),
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
    seed: Seed = 0,
    draws: Annotated[int, typer.Option("--draws", min=100, help="Draws a chain.")] = 1000,
    allow_unconverged: Annotated[
        bool, typer.Option("--allow-unconverged", help="Answer although sampling failed.")
    ] = False,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Compare recipes at a target scale: which is better, by how much, what would decide."""
    from dataclasses import replace

    from bayescale.decisions.versus import versus as compare_recipes
    from bayescale.inference.recipes import fit_recipes
    from bayescale.posterior import open_posterior
    from bayescale.posterior.recipes import runs_of_fits

    require_figure(figure)
    if (flops is None) == (params is None or tokens is None):  # before minutes of sampling
        raise typer.BadParameter(
            "say where recipes are compared: this, or --params and --tokens", param_hint="--flops"
        )
    options = log_options
    if family is not None:
        options = replace(options, column=[*(options.column or ()), f"family={family}"])
    if logs[1:] or logs[0].suffix == ".nc":
        if len({path.stem for path in logs}) < len(logs):
            raise typer.BadParameter("two fits have one name: rename a file", param_hint="FIT")
        runs = runs_of_fits({path.stem: open_posterior(path) for path in logs})
    else:
        runs = options.read(logs[0])
    fitted = fit_recipes(runs, only=recipe, seed=seed, draws=draws, show_progress=progress_wanted())
    result = compare_recipes(
        fitted,
        flops=size_of(flops, "--flops"),
        params=size_of(params, "--params"),
        tokens=size_of(tokens, "--tokens"),
        allow_unconverged=allow_unconverged,
    )
    path = draw("plot_result", result, figure)
    answer = result.to_json() | {"figure": path}
    show(answer, result, json_, notes=figure_lines(path), passed=result.passed)
