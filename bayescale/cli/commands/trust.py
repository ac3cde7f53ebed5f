"""Commands for trust in a fit: backtests, comparisons of laws, and the trust horizon."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.long_work import note_long_refits
from bayescale.cli.options import (
    Cluster,
    FamilyOptions,
    Figure,
    FitFile,
    FitOptions,
    GivenSeed,
    Json,
    LawOptions,
    LogOptions,
    Mass,
    RunLogOrFit,
    Workers,
)
from bayescale.cli.output import (
    draw,
    dropped_json,
    dropped_lines,
    figure_lines,
    progress_wanted,
    require_figure,
    show,
)
from bayescale.cli.parsing import executor_for, refuse_unread, size_of
from bayescale.errors import PosteriorError
from bayescale.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bayescale.cards import ModelCard
    from bayescale.posterior import Fit
    from bayescale.results import Result
    from bayescale.runs import Runs
    from bayescale.validation.backtest_result import Backtest

_AGAIN = ", or add --again"


@dataclass(frozen=True)
class BacktestOptions:
    """Options of a backtest."""

    cutoff: Annotated[
        list[str] | None,
        typer.Option("--cutoff", metavar="SIZE", help="Fit up to this size; repeatable."),
    ] = None
    workers: Workers = None
    executor: Cluster = None
    seed: GivenSeed = None

    def run(
        self,
        log: "Runs",
        cards: "list[ModelCard]",
        weights: tuple[float, ...] | None = None,
        then: str = "",
    ) -> "Backtest":
        """Return the backtest of these laws; ``then`` is a text on the work that follows.

        Long work is announced, unless it runs on a cluster, whose speed is unknown.
        """
        from bayescale.tasks import Serial
        from bayescale.validation.backtest import backtest as make_backtest

        cutoffs = [parse_size(text, "--cutoff") for text in self.cutoff or ()]
        if self.executor is None:
            note_long_refits(log, cards, cutoffs or None, self.workers, then)
        here = Serial() if self.workers == 1 else None
        with executor_for(self.executor, self.workers) as cluster:
            return make_backtest(
                log,
                cards,
                cutoffs=cutoffs or None,
                weights=weights,
                executor=cluster or here,
                workers=self.workers,
                seed=self.seed or 0,
                show_progress=progress_wanted(),
            )


def backtest(
    runs: RunLogOrFit,
    laws: LawOptions,
    options: BacktestOptions,
    log_options: LogOptions,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Test how well the smaller runs would have forecast the larger ones."""
    require_figure(figure)
    log, cards, fitted = _opened(runs, laws, log_options)
    weights = None
    if fitted is not None and len(cards) == len(fitted.members):
        weights = fitted.weights
    result = options.run(log, cards, weights)
    _show_with_log(result, log, json_, figure)


def compare(
    runs: RunLogOrFit,
    laws: LawOptions,
    options: BacktestOptions,
    log_options: LogOptions,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Weight laws by how well each forecasts the largest runs from the smaller ones."""
    from bayescale.validation.comparison import compare as compare_laws
    from bayescale.validation.comparison import require_two

    require_figure(figure)
    log, cards, fitted = _opened(runs, laws, log_options)
    require_two([card.law.name for card in cards])
    result = options.run(log, cards, then="; fits of the laws to all runs follow")

    from bayescale.inference.fit import fit as sample_posterior

    sampled = {} if fitted is None else {member.name: member for member in fitted.members}
    fits = [
        sampled.get(card.law.name)
        or sample_posterior(log, card=card, seed=options.seed or 0, show_progress=progress_wanted())
        for card in cards
    ]
    passed = all(posterior.diagnostics["passed"] for posterior in fits)
    found = compare_laws(result, fits)
    named = " ".join(f"--law {law}" for law in laws.law or found.weights)
    source = "RUNS" if runs.suffix == ".nc" else runs
    use = ["", "To average them with these weights:"]
    use += [f"  bayescale fit {source} {named} --weights stacking"]
    _show_with_log(found, log, json_, figure, passed=passed, notes=use)


def _opened(
    path: Path, laws: LawOptions, log_options: LogOptions
) -> "tuple[Runs, list[ModelCard], Fit | None]":
    """Return the runs of a log or fit, the cards of its laws and of further ones, and the fit."""
    if path.suffix != ".nc":
        log = log_options.read(path)
        return log, laws.cards(log), None
    why = f"{path} is a fit, which holds its runs"
    refuse_unread(log_options.typed(), why, ", or name the log")
    own = [name for name in laws.law or () if ".py:" in name]
    fitted = FitOptions(law=own).open(path)
    if fitted.runs is None:
        raise PosteriorError(f"{path} holds a point estimate, which has no runs: name a run log")
    return fitted.runs, laws.cards(fitted.runs, [m.card for m in fitted.members]), fitted


def _show_with_log(
    result: "Result",
    log: "Runs",
    json_: bool,
    figure: Path | None,
    *,
    passed: bool = True,
    notes: "Sequence[str]" = (),
) -> None:
    path = draw("plot_result", result, figure)
    notes = [
        *([""] * bool(log.dropped)),
        *dropped_lines(log),
        *notes,
        *figure_lines(path),
    ]
    answer = result.to_json() | {"dropped": dropped_json(log), "figure": path}
    show(answer, result, json_, notes=notes, passed=passed)


def trust(
    fit_file: FitFile,
    options: FitOptions,
    backtest_options: BacktestOptions,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Half the 90 % interval, as a share of the loss.")
    ] = 0.02,
    again: Annotated[
        bool, typer.Option("--again", help="Backtest again even if the file holds a backtest.")
    ] = False,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Find the scale up to which a fit can be trusted, and the reason why not further.

    Backtests the fit's own laws and runs, and keeps the outcome in FIT.nc: later calls, and
    bayescale forecast, then answer at once.
    """
    from bayescale.files import require_folder
    from bayescale.posterior import save
    from bayescale.validation.backtest_record import keep
    from bayescale.validation.horizon import require_answerable
    from bayescale.validation.horizon import trust as trust_fit

    require_figure(figure)
    fitted = options.open(fit_file)
    require_answerable(fitted, tolerance, options.allow_unconverged)
    if again or backtest_options.cutoff or "backtest" not in fitted.record:
        require_folder(fit_file)
        assert fitted.runs is not None
        cards = [member.card for member in fitted.members]
        fitted = keep(fitted, backtest_options.run(fitted.runs, cards, fitted.weights))
        save(fitted, fit_file)
    else:
        work = {"--workers": backtest_options.workers, "--executor": backtest_options.executor}
        refuse_unread(work, f"{fit_file} holds a backtest, so nothing is refitted", _AGAIN)
        if backtest_options.seed != fitted.record["backtest"].get("seed"):
            why = f"{fit_file} holds a backtest of another seed"
            refuse_unread({"--seed": backtest_options.seed}, why, _AGAIN)
    result = trust_fit(fitted, tolerance=tolerance, allow_unconverged=options.allow_unconverged)
    n_refits = fitted.record["backtest"]["refits"]
    kept = f"The backtest ({n_refits} refits) is kept in {fit_file}; make a new one: --again"
    path = draw("plot_result", result, figure)
    answer = result.to_json() | {"output": str(fit_file), "figure": path}
    notes = ["", kept, *figure_lines(path)]
    show(answer, result, json_, notes=notes, passed=fitted.diagnostics["passed"])


def cross_check(
    fit_file: FitFile,
    options: FamilyOptions,
    flops: Annotated[
        str | None, typer.Option("--flops", help="A budget; default: the largest run's.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Spread of compute within one budget, as a share."),
    ] = 0.1,
    ci_prob: Mass = 0.9,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """Compare a fit with Chinchilla's approaches 1 and 2: exponents, and the best split.

    IsoFLOP parabolas and the envelope of training runs do not use the fit's law. The answer also
    states the bias that a parabola has on the log's own grid if the law is exact.
    """
    from bayescale.validation.cross_check import cross_check as check_fit

    fitted = options.open(fit_file)
    result = check_fit(
        fitted,
        flops=size_of(flops, "--flops"),
        tolerance=tolerance,
        ci_prob=ci_prob,
        **options.to_ask(),
    )
    path = draw("plot_isoflop_parabolas", result, figure)
    answer, passed = result.to_json() | {"figure": path}, fitted.diagnostics["passed"]
    show(answer, result, json_, notes=figure_lines(path), passed=passed)
