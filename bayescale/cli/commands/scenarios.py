"""Commands for scenarios: pruned data and its theory, and scores that seem to emerge."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bayescale.cli.options import (
    FamilyOptions,
    Figure,
    FitFile,
    FitOptions,
    GivenMass,
    Json,
    LossUnitName,
    Mass,
    QuestionOptions,
)
from bayescale.cli.output import draw, figure_lines, show
from bayescale.cli.parsing import (
    low_high,
    name_values,
    path_between,
    refuse_unread,
    size_of,
    sizes_of,
    stated,
)
from bayescale.errors import ScenarioError, collected
from bayescale.units import parse_size


@dataclass(frozen=True)
class PruneOptions:
    """Options of what is pruned, and of what is assumed about the metric."""

    params: Annotated[str | None, typer.Option("--params", help="The model: 7B.")] = None
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Unique tokens before pruning: 140B.")
    ] = None
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="Shares to keep: 0.3,0.5; repeatable; default: many."),
    ] = None
    train_tokens: Annotated[
        str | None,
        typer.Option("--train-tokens", help="Tokens to train on; default: as many as --tokens."),
    ] = None
    quality: Annotated[
        str | None,
        typer.Option(
            "--quality",
            metavar="LOW,HIGH",
            help="90% interval of the metric's quality: 1 is like random, 2 loses nothing.",
        ),
    ] = None
    floor: Annotated[
        str | None,
        typer.Option(
            "--floor", metavar="LOW,HIGH", help="Share kept below which the metric helps no more."
        ),
    ] = None
    repeat_worth: Annotated[
        str | None,
        typer.Option("--repeat-worth", metavar="LOW,HIGH", help="R_D: what repeats are worth."),
    ] = None
    theory: Annotated[
        bool,
        typer.Option("--theory", help="Prune a perceptron in theory, without a fit."),
    ] = False
    examples: Annotated[
        str | None,
        typer.Option("--examples-per-param", help="With --theory, before pruning: 1,3,10,30."),
    ] = None
    probe_angle: Annotated[
        float | None,
        typer.Option("--probe-angle", help="With --theory: degrees by which the metric is off."),
    ] = None


def prune(
    given: PruneOptions,
    options: FamilyOptions,
    fit_file: Annotated[
        Path | None, typer.Argument(metavar="FIT.nc", help="The output of bayescale fit.")
    ] = None,
    loss_unit: LossUnitName = None,
    ci_prob: GivenMass = None,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Show the effect of keeping the best part of the data: a scenario, unless runs were pruned.

    With --theory, show the test error of a perceptron that is trained on the kept part of its data,
    which is the theory behind the scenario.
    """
    fractions = [share for text in given.keep or () for share in sizes_of(text, "--keep")]
    of_fit = {"FIT.nc": fit_file, "--params": given.params, "--tokens": given.tokens}
    of_theory = {"--examples-per-param": given.examples, "--probe-angle": given.probe_angle}
    if given.theory:
        optional = {
            "--train-tokens": given.train_tokens,
            "--quality": given.quality,
            "--floor": given.floor,
        }
        optional |= {
            "--repeat-worth": given.repeat_worth,
            **options.typed(),
            "--loss-unit": loss_unit,
            "--ci-prob": ci_prob,
        }
        needed = {"--examples-per-param": given.examples, "--keep": given.keep}
        _require("prune --theory", needed, foreign={**of_fit, **optional})
        result: Any = _in_theory(str(given.examples), fractions, given.probe_angle or 0.0)
        path = draw("plot_perceptron", result, figure)
        answer = result.to_json() | {"figure": path}
        show(answer, result, json_, notes=figure_lines(path))
        return
    _require("prune", of_fit, foreign=of_theory, hint=", or --theory")
    from bayescale.scenarios.pruning import prune as prune_data

    fitted = options.open(Path(str(fit_file)))
    result = prune_data(
        fitted,
        params=parse_size(str(given.params), "--params"),
        tokens=parse_size(str(given.tokens), "--tokens"),
        keep=fractions or None,
        trained=size_of(given.train_tokens, "--train-tokens"),
        quality=low_high(given.quality, "--quality"),
        floor=low_high(given.floor, "--floor"),
        repeat_worth=low_high(given.repeat_worth, "--repeat-worth"),
        loss_unit=loss_unit,
        **stated(ci_prob=ci_prob),
        **options.to_ask(),
    )
    path = draw("plot_pruning", result, figure)
    answer = result.to_json() | {"figure": path}
    passed = fitted.diagnostics["passed"]
    show(answer, result, json_, notes=figure_lines(path), passed=passed)


def _require(
    command: str, needed: dict[str, Any], *, foreign: dict[str, Any], hint: str = ""
) -> None:
    """Raise an error if needed options are missing, or options of the other form are given."""
    problems = []
    if missing := [name for name, value in needed.items() if not value]:
        problems.append(f"it needs {', '.join(missing)}{hint}")
    if given := [n for n, value in foreign.items() if value is not None and value is not False]:
        them = "it" if len(given) == 1 else "them"
        problems.append(f"it does not take {', '.join(given)}: leave {them} out")
    if problems:
        raise ScenarioError(collected(f"bayescale {command} cannot run:", problems))


def _in_theory(examples: str, keep: list[float], probe_angle: float) -> Any:
    from bayescale.scenarios.perceptron import prune_perceptron

    sizes = sizes_of(examples, "--examples-per-param")
    return prune_perceptron(sizes, keep, probe_angle=probe_angle)


def perceptron(context: typer.Context) -> None:
    """Replaced by prune --theory."""
    options = " ".join(context.args) or "--examples-per-param 1,3,10,30 --keep 0.1,0.3,1"
    raise ScenarioError(
        f"the command perceptron is part of prune now: bayescale prune --theory {options}"
    )


@dataclass(frozen=True)
class EmergenceOptions:
    """Options of the path of scale, and of how answers are scored."""

    params: Annotated[
        str | None, typer.Option("--params", metavar="FROM,TO", help="Ends of the path.")
    ] = None
    tokens: Annotated[str | None, typer.Option("--tokens", metavar="FROM,TO")] = None
    flops: Annotated[
        str | None,
        typer.Option("--flops", metavar="FROM,TO", help="Budgets, split as is best: 1e19,1e25."),
    ] = None
    answer_tokens: Annotated[
        str, typer.Option("--answer-tokens", help="Lengths of answers: 1,5,25.")
    ] = "1,5,25"
    choices: Annotated[
        int | None, typer.Option("--choices", help="Answers to choose from, for multiple choice.")
    ] = None
    wrong_loss: Annotated[
        float | None,
        typer.Option("--wrong-loss", help="Loss on wrong answers; default: that at the start."),
    ] = None
    dispersion: Annotated[
        float | None,
        typer.Option("--dispersion", help="Standard deviation of answers' log-odds; default: 0."),
    ] = None
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate", metavar="CSV", help="Models' loss and score, to estimate the dispersion."
        ),
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=HEADER", help="In that file: score=lambada_acc."),
    ] = None
    greedy: Annotated[
        bool | None,
        typer.Option(
            "--greedy/--sampled",
            help="The most probable token, or a random one; greedy if --calibrate is given.",
        ),
    ] = None
    downstream: Annotated[
        Path | None,
        typer.Option("--downstream", metavar="FIT.nc", help="A fit of the law downstream."),
    ] = None
    downstream_family: Annotated[
        str | None, typer.Option("--downstream-family", help="One of that fit's.")
    ] = None


def emerge(
    fit_file: FitFile,
    given: EmergenceOptions,
    options: QuestionOptions,
    ci_prob: Mass = 0.9,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Show at which scale a score seems to emerge although the loss is smooth, and why."""
    from bayescale.scenarios.answers import calibrate_dispersion, read_scores
    from bayescale.scenarios.emergence import emergence

    lengths = sizes_of(given.answer_tokens, "--answer-tokens")
    takes_best = given.calibrate is not None if given.greedy is None else given.greedy
    how: Any = "greedy" if takes_best else "sampled"
    spread: Any = given.dispersion or 0.0
    if given.calibrate is not None:
        if given.dispersion is not None:
            raise typer.BadParameter("it is calibrated by --calibrate", param_hint="--dispersion")
        scores = read_scores(given.calibrate, name_values(given.column, "--column"))
        spread = calibrate_dispersion(
            scores["loss"], scores["score"], tokens=lengths[0], decoding=how
        )
    else:
        refuse_unread(
            {"--column": given.column},
            "it is about models' scores, and none are named",
            ", or name them: --calibrate CSV",
        )
    if given.downstream is None:
        refuse_unread(
            {"--downstream-family": given.downstream_family},
            "it is about a fit of the law downstream, and none is named",
            ", or name one: --downstream FIT.nc",
        )
    fitted = options.open(fit_file)
    second = None if given.downstream is None else FitOptions().open(given.downstream)
    result = emergence(
        fitted,
        params=path_between(given.params, "--params"),
        tokens=path_between(given.tokens, "--tokens"),
        flops=path_between(given.flops, "--flops"),
        answer_tokens=lengths,
        choices=given.choices,
        wrong_loss=given.wrong_loss,
        dispersion=spread,
        decoding=how,
        downstream=second,
        downstream_family=given.downstream_family,
        ci_prob=ci_prob,
        **options.to_ask(),
    )
    path = draw("plot_emergence", result, figure)
    passed = fitted.diagnostics["passed"] and (second is None or second.diagnostics["passed"])
    answer = result.to_json() | {"figure": path}
    show(answer, result, json_, notes=figure_lines(path), passed=passed)
