"""Commands for decisions: split a budget, size the data, choose the next run or its settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from bayescale.cli.parsing import (
    number,
    refuse_unread,
    several_values,
    size_of,
    sizes_of,
    stated,
)
from bayescale.errors import shortened
from bayescale.units import parse_size

if TYPE_CHECKING:
    from bayescale.splits.hardware import Cluster
    from bayescale.splits.utilization import Utilization


@dataclass(frozen=True)
class ClusterOptions:
    """Options of the GPUs on which a budget is spent."""

    gpus: Annotated[int | None, typer.Option("--gpus", min=1, help="How many GPUs there are.")] = (
        None
    )
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Its type: a100, h100, h200 or b200.")
    ] = None
    gpu_flops: Annotated[
        str | None, typer.Option("--gpu-flops", help="Or peak FLOP/s of one GPU: 989e12.")
    ] = None
    gpu_memory: Annotated[
        str | None, typer.Option("--gpu-memory", help="Bytes of one GPU: 80e9. Caps the model.")
    ] = None
    gpu_price: Annotated[
        float | None, typer.Option("--gpu-price", help="Dollars per hour of one GPU.")
    ] = None
    utilization: Annotated[
        list[str] | None,
        typer.Option(
            "--utilization",
            metavar="SHARE|PARAMS=SHARE|RUNS",
            help="Share of the peak that training reaches, default 0.4; by size 1B=0.45, "
            "repeatable; or a run log with a column mfu.",
        ),
    ] = None
    days: Annotated[
        str | None, typer.Option("--days", help="The budget in days, instead of --flops: 14,30.")
    ] = None

    def cluster(self) -> "Cluster | None":
        """Return the cluster, or None if no number of GPUs is given."""
        from bayescale.splits.hardware import Cluster

        if self.gpus is None:
            given = (self.days, self.gpu, self.gpu_flops, self.gpu_memory, self.gpu_price)
            if self.utilization or any(each is not None for each in given):
                raise typer.BadParameter("say how many GPUs there are", param_hint="--gpus")
            return None
        if self.gpu is not None and self.gpu_flops is not None:
            raise typer.BadParameter(
                "name the GPU or state its FLOP/s, not both", param_hint="--gpu-flops"
            )
        memory = size_of(self.gpu_memory, "--gpu-memory")
        more: dict[str, Any] = {"price": self.gpu_price}
        if self.utilization:
            more["utilization"] = _utilization(self.utilization)
        if memory is not None:
            more["memory"] = memory
        if self.gpu is not None:
            return Cluster.of(self.gpu, self.gpus, **more)
        peak = size_of(self.gpu_flops, "--gpu-flops")
        if peak is None:
            raise typer.BadParameter(
                "name the GPU, or state the FLOP/s of one with --gpu-flops", param_hint="--gpu"
            )
        return Cluster(self.gpus, peak, **more)

    def budgets(self, flops: str | None) -> dict[str, list[float]]:
        """Return the budgets in FLOP or in days, under the name that allocate takes."""
        if flops is not None and self.days is None:
            return {"flops": sizes_of(flops, "--flops")}
        if flops is None and self.days is not None:
            return {"days": sizes_of(self.days, "--days")}
        raise typer.BadParameter(
            "give the budget: --flops 1e22, or --gpus N --gpu NAME --days 30",
            param_hint="--flops",
        )


def _utilization(texts: list[str]) -> "float | Utilization":
    """Return one share, or shares by size from the options or from a run log."""
    from bayescale.runs import read_runs
    from bayescale.splits.utilization import Utilization

    option = "--utilization"
    if any("=" in text for text in texts):
        pairs = [
            (size, number(share, size, option))
            for size, shares in several_values(texts, option).items()
            for share in shares
        ]
        return Utilization.of(pairs)
    if len(texts) > 1:
        raise typer.BadParameter(
            "give one share, or one for each size, such as 1B=0.45 and 70B=0.35", param_hint=option
        )
    if _is_file(texts[0]):
        return Utilization.of_runs(read_runs(Path(texts[0])))
    try:
        return float(texts[0])
    except ValueError:
        raise typer.BadParameter(
            f"{shortened(texts[0])!r} is neither a share such as 0.4, nor a size and share such as "
            "1B=0.45, nor a run log",
            param_hint=option,
        ) from None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a path
        return False


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
