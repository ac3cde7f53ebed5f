"""Commands for decisions: split a budget, size the data, choose the next run or its settings."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.cluster_options import ClusterOptions
from bayescale.cli.options import (
    Figure,
    FitFile,
    FitOptions,
    GivenSeed,
    Json,
    LogOptions,
    LossOptions,
    Mass,
    Tolerance,
)
from bayescale.cli.output import draw, figure_lines, progress_wanted, require_figure, show
from bayescale.cli.parsing import refuse_unread, size_of, sizes_of, stated
from bayescale.units import parse_size


def _served(text: str | None) -> float | tuple[float, ...]:
    """Return tokens to be served: a number, or the ends of an interval."""
    if text is None:
        return 0.0
    ends = sizes_of(text, "--inference-tokens")
    return ends[0] if len(ends) == 1 else tuple(ends)


def allocate(
    fit_file: FitFile,
    options: LossOptions,
    cluster_options: ClusterOptions,
    flops: Annotated[
        str | None,
        typer.Option("--flops", help="The budget for training and serving, or several: 1e22,1e23."),
    ] = None,
    max_tokens: Annotated[
        str | None,
        typer.Option(
            "--max-tokens", help="Tokens available: 10T; repeated if the law has repetition."
        ),
    ] = None,
    max_params: Annotated[
        str | None, typer.Option("--max-params", help="Largest model: 70B.")
    ] = None,
    sizes: Annotated[
        str | None, typer.Option("--sizes", help="The models that can be built: 7B,13B,70B.")
    ] = None,
    inference_tokens: Annotated[
        str | None,
        typer.Option(
            "--inference-tokens",
            metavar="TOKENS[,HIGH]",
            help="Tokens to be served, paid from the budget: 2T, or a 90 % interval: 1T,10T.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="PARAMS[,TOKENS]",
            help="A split to evaluate beside the choice: 70B,1.4T; repeatable.",
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--price", help="Dollars per FLOP: 1.5e-18 is $2 an hour at 370 TFLOP/s."),
    ] = None,
    tolerance: Tolerance = 0.02,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Split a compute budget between parameters and tokens, with the regret of the split."""
    from bayescale.decisions.allocate import allocate as allocate_budget

    cluster = cluster_options.cluster()
    if price is not None and cluster_options.gpu_price is not None:
        raise typer.BadParameter("give one price: this or --gpu-price", param_hint="--price")
    budgets = cluster_options.budgets(flops)
    splits = [_split(text) for text in option or ()]
    require_figure(figure)
    fitted = options.open(fit_file)
    result = allocate_budget(
        fitted,
        **budgets,
        max_tokens=size_of(max_tokens, "--max-tokens"),
        max_params=size_of(max_params, "--max-params"),
        sizes=None if sizes is None else sizes_of(sizes, "--sizes"),
        inference_tokens=_served(inference_tokens),
        options=splits,
        price=price,
        cluster=cluster,
        tolerance=tolerance,
        **options.to_ask(),
    )
    passed = result.answered and fitted.diagnostics["passed"]
    path = draw("plot_result", result, figure if result.answered else None)
    answer = result.to_json() | {"figure": path}
    show(answer, result, json_, notes=figure_lines(path), passed=passed)


def data(
    fit_file: FitFile,
    options: LossOptions,
    params: Annotated[
        str | None, typer.Option("--params", help="A model, to ask for its tokens: 7B.")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Tokens, to ask for the model: 1.4T.")
    ] = None,
    overfit: Annotated[
        float | None,
        typer.Option(
            "--overfit", help="Share that finite data may add to the loss; default: 0.02."
        ),
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="A loss to be reached, instead of overfit.")
    ] = None,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Find how much data a model needs, or how large a model given data support."""
    from bayescale.decisions.data_budget import data_budget

    require_figure(figure)
    fitted = options.open(fit_file)
    result = data_budget(
        fitted,
        params=size_of(params, "--params"),
        tokens=size_of(tokens, "--tokens"),
        overfit=overfit,
        target=target,
        **options.to_ask(),
    )
    passed = result.answered and fitted.diagnostics["passed"]
    path = draw("plot_result", result, figure if result.answered else None)
    answer = result.to_json() | {"figure": path}
    show(answer, result, json_, notes=figure_lines(path), passed=passed)


def next_run(
    fit_file: FitFile,
    options: FitOptions,
    budget: Annotated[str, typer.Option("--budget", help="FLOP to spend on new runs: 1e21.")],
    target_flops: Annotated[
        str | None, typer.Option("--target-flops", help="The target run, by its budget.")
    ] = None,
    target_params: Annotated[
        str | None, typer.Option("--target-params", help="Or by its size, with its tokens.")
    ] = None,
    target_tokens: Annotated[
        str | None, typer.Option("--target-tokens", help="Its tokens.")
    ] = None,
    regret: Annotated[
        bool,
        typer.Option("--regret", help="Reduce the regret of splitting --target-flops instead."),
    ] = False,
    candidates: Annotated[
        Path | None,
        typer.Option(
            "--candidates",
            metavar="CSV",
            help="Runs that could be trained: params, tokens, and flops if not 6 N D.",
        ),
    ] = None,
    no_drift: Annotated[
        bool, typer.Option("--no-drift", help="Take the law to hold exactly, for comparison.")
    ] = False,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Choose the small run that would reduce the uncertainty about a larger one most per FLOP."""
    spend = parse_size(budget, "--budget")
    import pandas as pd

    from bayescale.decisions.next_run import next_run as choose_next
    from bayescale.runs.planned import read_planned

    trainable, fitted = None, options.open(fit_file)
    if candidates is not None:
        trainable = pd.DataFrame(dict(read_planned(candidates, fitted.inputs).scales))
    result = choose_next(
        fitted,
        spend,
        target_params=size_of(target_params, "--target-params"),
        target_tokens=size_of(target_tokens, "--target-tokens"),
        target_flops=size_of(target_flops, "--target-flops"),
        target="regret" if regret else "loss",
        candidates=trainable,
        drift=not no_drift,
        allow_unconverged=options.allow_unconverged,
    )
    passed = result.answered and fitted.diagnostics["passed"]
    path = draw("plot_result", result, figure if result.answered else None)
    answer = result.to_json() | {"figure": path}
    show(answer, result, json_, notes=figure_lines(path), passed=passed)


def tune(
    source: Annotated[
        Path,
        typer.Argument(metavar="RUNS|FIT", help="A sweep of settings, or what tune -o wrote."),
    ],
    log_options: LogOptions,
    params: Annotated[str | None, typer.Option("--params", help="The run: 7B.")] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help="The run: 140B.")] = None,
    flops: Annotated[
        str | None, typer.Option("--flops", help="Or a budget, split over the sweep's ratios.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="A setting to evaluate: its learning rate.")
    ] = None,
    batch_size: Annotated[
        float | None, typer.Option("--batch-size", help="And its batch size, as the log counts it.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FIT.nc", help="Keep the posterior.")
    ] = None,
    seed: GivenSeed = None,
    draws: Annotated[
        int | None, typer.Option("--draws", min=100, show_default="800", help="Draws per chain.")
    ] = None,
    allow_unconverged: Annotated[
        bool,
        typer.Option("--allow-unconverged", help="Answer even if convergence checks failed."),
    ] = False,
    ci_prob: Mass = 0.9,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Find the best learning rate and batch size of a run, and what other settings lose."""
    from bayescale.decisions.tune import tune as tune_run
    from bayescale.files import require_folder
    from bayescale.tuning import open_tuning, save_tuning

    require_figure(figure)
    if output is not None:
        require_folder(output)
    given = stated(seed=seed, draws=draws)
    if source.suffix == ".nc":
        typed = {**log_options.typed(), **{f"--{name}": value for name, value in given.items()}}
        why = f"{source} holds a sweep that was read and sampled before"
        refuse_unread(typed, why, ", or name the log")
        posterior = open_tuning(source)
    else:
        from bayescale.inference.valley import fit_tuning

        log = log_options.read(source)
        posterior = fit_tuning(log, show_progress=progress_wanted(), **given)
    if output is not None:
        save_tuning(posterior, output)
    passed = bool(posterior.diagnostics["passed"])
    result = tune_run(
        posterior,
        params=size_of(params, "--params"),
        tokens=size_of(tokens, "--tokens"),
        flops=size_of(flops, "--flops"),
        lr=lr,
        batch_size=batch_size,
        ci_prob=ci_prob,
        allow_unconverged=allow_unconverged,
    )
    path = draw("plot_result", result, figure)
    kept = {"output": None if output is None else str(output), "figure": path}
    show(result.to_json() | kept, result, json_, notes=figure_lines(path), passed=passed)


def _split(text: str) -> tuple[float, float | None]:
    parts = sizes_of(text, "--option")
    if len(parts) > 2:
        raise typer.BadParameter(f"{text!r} is not PARAMS or PARAMS,TOKENS", param_hint="--option")
    return parts[0], parts[1] if len(parts) > 1 else None
