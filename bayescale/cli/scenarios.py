"""Scenarios: pruned data and its theory, scores that seem to emerge."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bayescale.cli.options import Allow, Family, Figure, FitFile, Json, NoDrift, OwnLaws
from bayescale.cli.reading import low_high, name_values, open_fit, path_between, size_of, sizes_of
from bayescale.cli.writing import draw, exit_untrusted, tell
from bayescale.units import parse_size


def prune(
    fit_file: FitFile,
    params: Annotated[str, typer.Option("--params", help="The model: 7B.")],
    tokens: Annotated[str, typer.Option("--tokens", help="Unique tokens before pruning: 140B.")],
    keep: Annotated[
        list[float] | None,
        typer.Option("--keep", help="A share to keep: 0.5; may be repeated, else many."),
    ] = None,
    train_tokens: Annotated[
        str | None,
        typer.Option("--train-tokens", help="Tokens to train on, else as many as --tokens."),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            "--quality",
            metavar="LOW,HIGH",
            help="90% of your prior on the metric: 1 is no better than random, 2 loses nothing.",
        ),
    ] = None,
    floor: Annotated[
        str | None,
        typer.Option("--floor", metavar="LOW,HIGH", help="Share below which it helps no more."),
    ] = None,
    repeat_worth: Annotated[
        str | None,
        typer.Option("--repeat-worth", metavar="LOW,HIGH", help="R_D: what repeats are worth."),
    ] = None,
    figure: Figure = None,
    family: Family = None,
    law: OwnLaws = None,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """What keeping only the best part of the data would do: a scenario, unless runs were pruned."""
    from bayescale.scenarios.pruning import prune as prune_data

    fitted = open_fit(fit_file, law)
    result = prune_data(
        fitted,
        params=parse_size(params, "--params"),
        tokens=parse_size(tokens, "--tokens"),
        keep=keep,
        trained=size_of(train_tokens, "--train-tokens"),
        quality=low_high(quality, "--quality"),
        floor=low_high(floor, "--floor"),
        repeat_worth=low_high(repeat_worth, "--repeat-worth"),
        family=family,
        allow_unconverged=allow_unconverged,
    )
    drawn = draw("plot_pruning", result, figure)
    tell(result.to_json() | {"figure": drawn}, str(result), json_)
    exit_untrusted(fitted.diagnostics["passed"])


def perceptron(
    examples: Annotated[str, typer.Option("--examples-per-param", help="In the pool: 1,3,10,30.")],
    keep: Annotated[str, typer.Option("--keep", help="Shares to keep: 0.1,0.3,1.")],
    probe_angle: Annotated[
        float, typer.Option("--probe-angle", help="Degrees by which the metric is off.")
    ] = 0.0,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """What pruning does in theory: the test error of a perceptron on the data it keeps."""
    from bayescale.scenarios.perceptron import prune_perceptron

    sizes = sizes_of(examples, "--examples-per-param")
    result = prune_perceptron(sizes, sizes_of(keep, "--keep"), probe_angle=probe_angle)
    drawn = draw("plot_perceptron", result, figure)
    tell(result.to_json() | {"figure": drawn}, str(result), json_)


def emerge(
    fit_file: FitFile,
    params: Annotated[
        str | None, typer.Option("--params", metavar="FROM,TO", help="Ends of the path.")
    ] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", metavar="FROM,TO")] = None,
    flops: Annotated[
        str | None,
        typer.Option("--flops", metavar="FROM,TO", help="Compute-optimal on the way: 1e19,1e25."),
    ] = None,
    answer_tokens: Annotated[
        str, typer.Option("--answer-tokens", help="Lengths of answers: 1,5,25.")
    ] = "1,5,25",
    choices: Annotated[
        int | None, typer.Option("--choices", help="Answers to choose from, for multiple choice.")
    ] = None,
    wrong_loss: Annotated[
        float | None,
        typer.Option("--wrong-loss", help="Loss on wrong answers; else that at the start."),
    ] = None,
    dispersion: Annotated[
        float | None,
        typer.Option("--dispersion", help="How much answers differ; else 0, tokens all alike."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate", metavar="CSV", help="Models' loss and score, to learn it from."
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=HEADER", help="In that file: score=lambada_acc."),
    ] = None,
    greedy: Annotated[
        bool | None,
        typer.Option(
            "--greedy/--sampled",
            help="The likeliest token, or a random one; greedy where --calibrate is given.",
        ),
    ] = None,
    downstream: Annotated[
        Path | None,
        typer.Option("--downstream", metavar="FIT.nc", help="A fit of the law downstream."),
    ] = None,
    downstream_family: Annotated[
        str | None, typer.Option("--downstream-family", help="One of that fit's.")
    ] = None,
    figure: Figure = None,
    family: Family = None,
    law: OwnLaws = None,
    no_drift: NoDrift = False,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """Where a score would seem to emerge although the loss is smooth, and why."""
    from bayescale.scenarios.answers import calibrate_dispersion, read_scores
    from bayescale.scenarios.emergence import emergence

    lengths = sizes_of(answer_tokens, "--answer-tokens")
    takes_best = calibrate is not None if greedy is None else greedy
    how: Any = "greedy" if takes_best else "sampled"
    spread: Any = dispersion or 0.0
    if calibrate is not None:
        if dispersion is not None:
            raise typer.BadParameter("it is learnt by --calibrate", param_hint="--dispersion")
        scores = read_scores(calibrate, name_values(column, "--column"))
        spread = calibrate_dispersion(
            scores["loss"], scores["score"], tokens=lengths[0], decoding=how
        )
    fitted = open_fit(fit_file, law)
    second = None if downstream is None else open_fit(downstream, None)
    result = emergence(
        fitted,
        params=path_between(params, "--params"),
        tokens=path_between(tokens, "--tokens"),
        flops=path_between(flops, "--flops"),
        answer_tokens=lengths,
        choices=choices,
        wrong_loss=wrong_loss,
        dispersion=spread,
        decoding=how,
        downstream=second,
        downstream_family=downstream_family,
        family=family,
        drift=not no_drift,
        allow_unconverged=allow_unconverged,
    )
    drawn = draw("plot_emergence", result, figure)
    tell(result.to_json() | {"figure": drawn}, str(result), json_)
    exit_untrusted(
        fitted.diagnostics["passed"] and (second is None or second.diagnostics["passed"])
    )
