"""Backtests: fit the smaller runs, forecast the larger ones, and score the forecasts.

A log contains no other evidence on extrapolation. Refits are a callable, so this module needs no
sampler, and they run on any executor of :mod:`concurrent.futures`.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard, choose_card, runs_for
from bayescale.errors import TrustError, collected
from bayescale.laws import Law
from bayescale.laws.optimum import splits
from bayescale.progress import progress
from bayescale.runs import Runs, as_runs, require_runs_for
from bayescale.tasks import outcomes
from bayescale.validation.across import AcrossTask, across_tasks
from bayescale.validation.backtest_result import Backtest, Missing
from bayescale.validation.cutoffs import choose_cutoffs, fewest_training
from bayescale.validation.held_out import (
    AVERAGE,
    Refit,
    Sample,
    Task,
    by_training,
    scored,
    scored_average,
)
from bayescale.validation.split_forecasts import measured_optima, scored_splits
from bayescale.verdict import size_scale, sizes


def backtest(
    runs: Runs | pd.DataFrame | str | Path,
    laws: Iterable[str | Law | ModelCard],
    *,
    refit: Refit | None = None,
    cutoffs: Iterable[float] | None = None,
    weights: Sequence[float] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    seed: int = 0,
    show_progress: bool | None = None,
) -> Backtest:
    """Fit the runs up to each cutoff, and score forecasts of the larger runs.

    Parameters
    ----------
    runs : Runs, pandas.DataFrame or path
    laws : iterable of str, Law or ModelCard
        Laws of the same inputs, or their cards; several are also scored as their model average.
    refit : callable, optional
        ``refit(runs, card, seed)`` makes a posterior; by default :func:`bayescale.refit`. It must
        be picklable if the executor's workers are processes.
    cutoffs : iterable of float, optional
        Sizes up to which runs are fitted, in flops or in the laws' only input; a run within 1 % of
        a cutoff is fitted. By default up to eight cutoffs, evenly spread in log size over those
        that leave enough runs to fit (five, or as many as the largest law has coefficients) and at
        least one larger run to forecast.
    weights : sequence of float, optional
        Each law's weight in the average; by default equal.
    executor : concurrent.futures.Executor, optional
        Where refits run; it is not shut down. A Dask client has one (``client.get_executor()``);
        :class:`bayescale.tasks.Serial` stays in this process. By default processes of this
        computer; a script must then guard its own start with ``if __name__ == "__main__":``.
    workers : int, optional
        Number of processes if no executor is given; by default one per core.
    seed : int
        The same seed gives the same scores, wherever refits run.
    show_progress : bool, optional
        Show progress on standard error, or below the cell in a notebook; by default only in
        notebooks.

    Returns
    -------
    Backtest
        A refit that raises an error, or is lost with its worker, is listed as missing, and the
        others are kept. A refit that fails its convergence checks is scored, and counted as
        unconverged.

    Raises
    ------
    TrustError
        If the laws take different inputs or repeat, a cutoff leaves too few runs to fit or none to
        forecast, or no refit succeeded.
    RunLogError, LawError, CardError
        If a law cannot be fitted to these runs.

    Notes
    -----
    A family is forecast with its own coefficients if it has runs among the smaller ones, else as a
    new family. Measurement errors (``loss_se``) of held-out runs are not added to the intervals.
    """
    plan = _planned(as_runs(runs), laws, cutoffs, refit or default_refit(), seed)
    runs, cards, at = plan.runs, plan.cards, plan.cutoffs
    names = tuple(card.law.name for card in cards)
    shares = _shares(names, weights)
    scale, size = size_scale(cards[0].law.inputs), plan.size
    samples, missing = _run([*plan.tasks, *plan.across], executor, workers, show_progress)
    forecast_across = {task.key: task for task in plan.across}
    others = {key: samples.pop(key) for key in forecast_across if key in samples}
    by_law = [
        scored(law, cutoff, runs, size, samples[law, cutoff])
        for law in names
        for cutoff in at
        if (law, cutoff) in samples
    ]
    if len(names) > 1:
        by_law.append(scored_average(runs, samples, names, shares, at, scale))
    return Backtest(
        laws=names,
        weights=shares,
        scale=scale,
        cutoffs=at,
        forecasts=pd.concat([part for part in by_law if len(part)], ignore_index=True),
        splits=_together(
            scored_splits(law, cutoff, sample.splits)
            for law, cutoff, sample in by_training(samples, names, shares)
            if sample.splits is not None
        ),
        across=_together(
            forecast_across[cards[0].law.name if law == AVERAGE else law, training].scored(
                law, sample
            )
            for law, training, sample in by_training(others, names, shares)
        ),
        missing=missing,
        samples=samples,
        runs=runs,
        seed=seed,
    )


def planned_refits(
    runs: Runs, laws: Iterable[str | Law | ModelCard], cutoffs: Iterable[float] | None = None
) -> list[tuple[Runs, ModelCard]]:
    """Return what :func:`backtest` would fit, without fitting: runs and card of each refit.

    Raises
    ------
    TrustError, RunLogError, LawError, CardError
        As for :func:`backtest`.
    """
    plan = _planned(runs, laws, cutoffs, default_refit(), 0)
    return [(plan.runs.take(task.training), task.card) for task in (*plan.tasks, *plan.across)]


@dataclass(frozen=True, eq=False)
class _Plan:
    """The refits of a backtest: up to each cutoff, and over parts of the tokens per parameter."""

    runs: Runs
    cards: Sequence[ModelCard]
    cutoffs: tuple[float, ...]
    size: np.ndarray
    tasks: Sequence[Task]
    across: Sequence[AcrossTask]


def _planned(
    runs: Runs,
    laws: Iterable[str | Law | ModelCard],
    cutoffs: Iterable[float] | None,
    refit: Refit,
    seed: int,
) -> _Plan:
    cards = [law if isinstance(law, ModelCard) else choose_card(runs, law) for law in laws]
    _require_comparable(cards)
    for card in cards:
        runs = runs_for(card, runs)
        require_runs_for(card.law, runs)
    inputs = cards[0].law.inputs
    size, at = sizes(runs.frame, inputs), choose_cutoffs(runs, cards, cutoffs)
    optima = measured_optima(runs) if splits(inputs) else None
    tasks = [Task(refit, card, runs, size, cutoff, seed, optima) for cutoff in at for card in cards]
    least = fewest_training(cards)
    across = [task for card in cards for task in across_tasks(runs, card, refit, least, seed)]
    return _Plan(runs, cards, at, size, tasks, across)


def default_refit() -> Any:
    """Return :func:`bayescale.refit`, imported only here because it needs the sampler."""
    import bayescale

    return bayescale.refit


def _together(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    found = list(parts)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame({"law": []})


def _run(
    tasks: Sequence[Task | AcrossTask],
    executor: Executor | None,
    workers: int | None,
    show_progress: bool | None,
) -> tuple[dict[tuple[str, Any], Sample], tuple[Missing, ...]]:
    """Run the refits; return their samples in the order of the tasks, and the missing ones."""
    samples, failed = {}, []
    with progress(show_progress) as stage:
        done = stage(f"{len(tasks)} refits", total=len(tasks))
        for n, outcome in enumerate(outcomes(tasks, executor, workers), start=1):
            task = tasks[outcome.index]
            if outcome.error is None:
                samples[task.key] = outcome.result
            else:
                failed.append(_missing(task, outcome.reason))
            done(n)
    if not any(isinstance(task, Task) and task.key in samples for task in tasks):
        why = [f"{item.law} at {item.cutoff:.3g}: {item.why}" for item in failed[:5]]
        raise TrustError(collected(f"all of the {len(tasks)} refits failed:", why))
    in_order = {task.key: samples[task.key] for task in tasks if task.key in samples}
    return in_order, tuple(failed)


def _missing(task: Task | AcrossTask, reason: str) -> Missing:
    law = task.card.law.name
    if isinstance(task, Task):
        return Missing(law, task.cutoff, reason)
    return Missing(law, np.nan, f"{task.name}: {reason}")


def _require_comparable(cards: Sequence[ModelCard]) -> None:
    if not cards:
        raise TrustError("no law is named: a backtest needs at least one")
    laws = [card.law for card in cards]
    problems = []
    if len({law.name for law in laws}) < len(laws):
        problems.append(f"laws repeat: {', '.join(law.name for law in laws)}")
    if len({frozenset(law.inputs) for law in laws}) > 1:
        inputs = [f"{law.name} is of {' and '.join(law.inputs)}" for law in laws]
        problems.append(
            f"they are for different inputs: {'; '.join(inputs)}. Choose laws of the same inputs"
        )
    if problems:
        raise TrustError(collected("these laws cannot be compared:", problems))


def _shares(names: tuple[str, ...], weights: Sequence[float] | None) -> tuple[float, ...]:
    if weights is None:
        return (1 / len(names),) * len(names)
    given = tuple(float(w) for w in weights)
    if len(given) != len(names) or min(given) < 0 or not np.isclose(sum(given), 1):
        raise TrustError(
            f"weights are {', '.join(f'{w:g}' for w in given)}, but must be one for each of "
            f"{', '.join(names)}, zero or more, with sum one"
        )
    return given
