"""How far a fit can be trusted: backtests, laws compared, the horizon."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.options import (
    Allow,
    Cards,
    Columns,
    Convert,
    Cutoffs,
    Exclude,
    Family,
    Figure,
    FitFile,
    Json,
    LawNames,
    Missing,
    MissingRows,
    OwnLaws,
    RunLog,
    Seed,
    Stated,
    Units,
    Workers,
)
from bayescale.cli.reading import cards_for, open_fit, read_log, size_of
from bayescale.cli.writing import draw, exit_untrusted, left_out, tell
from bayescale.units import parse_size

if TYPE_CHECKING:
    from bayescale.cards import ModelCard
    from bayescale.runs import Runs
    from bayescale.validation.backtest import Backtest


def backtest(
    runs: RunLog,
    law: LawNames = None,
    card: Cards = None,
    cutoff: Cutoffs = None,
    workers: Workers = None,
    seed: Seed = 0,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    convention: Stated = None,
    convert: Convert = None,
    json_: Json = False,
) -> None:
    """How right forecasts of the larger runs from the smaller ones would have been."""
    log = read_log(runs, column, unit, exclude, missing, convention, convert)
    result = _backtest(log, cards_for(log, law, card), cutoff, workers, seed)
    dropped = [item._asdict() for item in log.dropped]
    lines = [str(result), *([""] * bool(log.dropped)), *left_out(log)]
    tell(result.to_json() | {"dropped": dropped}, "\n".join(lines), json_)


def compare(
    runs: RunLog,
    law: LawNames = None,
    card: Cards = None,
    cutoff: Cutoffs = None,
    workers: Workers = None,
    seed: Seed = 0,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    convention: Stated = None,
    convert: Convert = None,
    json_: Json = False,
) -> None:
    """Weigh laws by how each forecasts the largest runs from the smaller ones."""
    from bayescale.validation.comparison import compare as compare_laws
    from bayescale.validation.comparison import require_two

    log = read_log(runs, column, unit, exclude, missing, convention, convert)
    cards = cards_for(log, law, card)
    require_two([card.law.name for card in cards])
    result = _backtest(log, cards, cutoff, workers, seed)

    from bayescale.inference.fit import fit as sample_posterior

    fits = [
        sample_posterior(log, card=card, seed=seed, show_progress=sys.stderr.isatty())
        for card in cards
    ]
    compared = compare_laws(result, fits)
    dropped = [item._asdict() for item in log.dropped]
    lines = [str(compared), *([""] * bool(log.dropped)), *left_out(log)]
    tell(compared.to_json() | {"dropped": dropped}, "\n".join(lines), json_)
    exit_untrusted(all(posterior.diagnostics["passed"] for posterior in fits))


def trust(
    fit_file: FitFile,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Half the 90 % interval, as a share of the loss.")
    ] = 0.02,
    cutoff: Cutoffs = None,
    workers: Workers = None,
    again: Annotated[
        bool, typer.Option("--again", help="Backtest anew, though the file holds a backtest.")
    ] = False,
    law: OwnLaws = None,
    seed: Seed = 0,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """Up to which scale a fit can be trusted, and why not beyond.

    Backtests the fit's own laws and runs, and keeps the outcome in FIT.nc: later calls, and
    bayescale forecast, then answer at once.
    """
    from bayescale.files import require_folder
    from bayescale.posterior import save
    from bayescale.validation.backtest_record import keep
    from bayescale.validation.horizon import require_answerable
    from bayescale.validation.horizon import trust as trust_fit

    posterior = open_fit(fit_file, law)
    require_answerable(posterior, tolerance, allow_unconverged)
    if again or cutoff or "backtest" not in posterior.record:
        require_folder(fit_file)
        log, cards = posterior.runs, [member.card for member in posterior.members]
        assert log is not None
        result = _backtest(log, cards, cutoff, workers, seed, posterior.weights)
        posterior = keep(posterior, result)
        save(posterior, fit_file)
    answer = trust_fit(posterior, tolerance=tolerance, allow_unconverged=allow_unconverged)
    kept = posterior.record["backtest"]
    told = f"The backtest ({kept['refits']} refits) is kept in {fit_file}; make it anew: --again"
    tell(answer.to_json() | {"output": str(fit_file)}, f"{answer}\n\n{told}", json_)
    exit_untrusted(posterior.diagnostics["passed"])


def cross_check(
    fit_file: FitFile,
    flops: Annotated[
        str | None, typer.Option("--flops", help="A budget; the largest run's where not given.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Spread of compute within one budget, as a share."),
    ] = 0.1,
    family: Family = None,
    law: OwnLaws = None,
    figure: Figure = None,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """A fit beside Chinchilla's approaches 1 and 2: exponents, and the best split of a budget.

    IsoFLOP parabolas and the envelope of training runs know nothing of the fit's law. How far a
    parabola goes astray on the log's own grid, were the law right, is told beside.
    """
    from bayescale.validation.cross_check import cross_check as check_fit

    fitted = open_fit(fit_file, law)
    result = check_fit(
        fitted,
        flops=size_of(flops, "--flops"),
        tolerance=tolerance,
        family=family,
        allow_unconverged=allow_unconverged,
    )
    drawn = draw("plot_isoflop_parabolas", result, figure)
    text = f"{result}\n\nFigure: {drawn}" if drawn else str(result)
    tell(result.to_json() | {"figure": drawn}, text, json_)
    exit_untrusted(fitted.diagnostics["passed"])


def _backtest(
    log: "Runs",
    cards: "list[ModelCard]",
    cutoff: list[str] | None,
    workers: int | None,
    seed: int,
    weights: tuple[float, ...] | None = None,
) -> "Backtest":
    from bayescale.inference.fit import refit
    from bayescale.tasks import Serial
    from bayescale.validation.backtest import backtest as make_backtest

    return make_backtest(
        log,
        cards,
        refit=refit,
        cutoffs=None if not cutoff else [parse_size(text, "--cutoff") for text in cutoff],
        weights=weights,
        executor=Serial() if workers == 1 else None,
        workers=workers,
        seed=seed,
        show_progress=sys.stderr.isatty(),
    )
