"""Backtests: fit the smaller runs, forecast the larger ones, and score the forecasts.

Runs themselves can give no other evidence on extrapolation. Refits are a callable, so this module
needs no sampler, and run on any executor of :mod:`concurrent.futures`.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard, choose_card
from bayescale.errors import TrustError, collected, listed
from bayescale.laws import Law
from bayescale.progress import progress
from bayescale.results import Result, TextTable
from bayescale.runs import Runs, as_runs, require_runs_for
from bayescale.tasks import outcomes
from bayescale.validation import scores
from bayescale.validation.cutoffs import choose_cutoffs
from bayescale.validation.held_out import (
    AVERAGE,
    Refit,
    Samples,
    Task,
    aggregate,
    scored,
    scored_average,
)
from bayescale.verdict import size_scale, sizes

RATIO_BINS = ((1.0, 3.0), (3.0, 10.0), (10.0, 30.0), (30.0, 100.0), (100.0, np.inf))

_LEGEND = """\
times larger: than the largest run fitted. RMSLE, CRPS: error on log loss (0.01 is about 1 %).
log density: of the observed loss, higher is better. 50%, 90%: share of runs inside these intervals;
near 50 and 90 is right, less is overconfident."""


class Missing(NamedTuple):
    """A refit without a result."""

    law: str
    cutoff: float
    why: str


@dataclass(frozen=True, eq=False)
class Backtest(Result):
    """Forecasts of held-out larger runs, with the losses that those runs reached.

    Attributes
    ----------
    laws : tuple of str
        Two or more are also scored as their model average, named ``average``.
    weights : tuple of float
        Each law's weight in the average.
    scale : str
        The scale of sizes and cutoffs: ``flops``, or the laws' only input.
    forecasts : pandas.DataFrame
        One row per law, cutoff and held-out run: ``law``, ``cutoff``, ``run_id``, ``ratio``
        (size over that of the largest training run), ``n_train``, ``loss`` (observed),
        ``median``, ``lower50``, ``upper50``, ``lower90``, ``upper90`` (of a single new run, nats
        per token), ``log_error`` (log median minus log observed), ``lpd`` (log predictive
        density per nat per token), ``crps`` (of log loss, the outermost 1 % of draws moved
        inward), ``pit`` (share of draws below),
        ``half_width90`` (of the interval of log mean loss), ``covered50``, ``covered90``,
        ``converged``.
    missing : tuple of Missing
        Refits that failed or were lost with their worker.
    samples : mapping of (str, float) to Sample
        The scored forecasts, by law and cutoff.
    """

    laws: tuple[str, ...]
    weights: tuple[float, ...]
    scale: str
    cutoffs: tuple[float, ...]
    forecasts: pd.DataFrame
    missing: tuple[Missing, ...]
    samples: Samples
    runs: Runs
    seed: int

    @property
    def answer(self) -> str:
        """The name that stands for all laws: the average, or the only law."""
        return AVERAGE if self.laws[1:] else self.laws[0]

    def averaged(self, weights: Sequence[float]) -> pd.DataFrame:
        """Return forecasts of the model average with other weights, rows like ``forecasts``."""
        return scored_average(self.runs, self.samples, self.laws, weights, self.cutoffs, self.scale)

    def rows(self) -> pd.DataFrame:
        """Return scores by law, cutoff and bin of ratio, under the keys of the command line.

        ``ratio`` is the geometric mean of the ratios in the row.
        """
        rows = []
        for (law, cutoff, _), part in self._binned().groupby(["law", "cutoff", "bin"], sort=False):
            rows.append(
                {
                    "law": law,
                    "cutoff_flops": cutoff if self.scale == "flops" else None,
                    "cutoff": cutoff,
                    "ratio": float(np.exp(np.log(part["ratio"]).mean())),
                    "n_train": int(part["n_train"].iloc[0]),
                    "n_test": len(part),
                    **aggregate(part),
                }
            )
        return pd.DataFrame(rows)

    def summary(self) -> pd.DataFrame:
        """Return scores by law and bin of ratio over all cutoffs, and by law over all ratios.

        ``n`` forecasts from ``n_cutoffs`` cutoffs, ``rmsle``, ``crps``, ``lpd``,
        ``coverage50``, ``coverage90``, ``msce``: plain means over forecasts.
        """
        rows = []
        for law, of_law in self._binned().groupby("law", sort=False):
            parts = [(RATIO_BINS[cast(int, i)], part) for i, part in of_law.groupby("bin")]
            for (lower, upper), part in [*parts, ((1.0, np.inf), of_law)]:
                row = {"law": law, "lower": lower, "upper": None if upper == np.inf else upper}
                row |= {"n": len(part), "n_cutoffs": part["cutoff"].nunique()}
                row |= aggregate(part) | {"msce": scores.msce(part["pit"])}
                rows.append(row | {"ratios": _bin_name(lower, upper)})
        return pd.DataFrame(rows)

    def _binned(self) -> pd.DataFrame:
        ends = [upper for _, upper in RATIO_BINS[:-1]]
        ratio = self.forecasts["ratio"]
        return self.forecasts.assign(bin=np.digitize(ratio, ends, right=True))

    def unconverged(self) -> list[dict[str, Any]]:
        """Return law and cutoff of refits that failed their convergence checks."""
        return [
            {"law": law, "cutoff": cutoff}
            for (law, cutoff), sample in self.samples.items()
            if not sample.converged
        ]

    def _table(self) -> pd.DataFrame:
        return self.forecasts

    def _json(self) -> dict[str, Any]:
        return {
            "laws": self.laws,
            "weights": dict(zip(self.laws, self.weights, strict=True)),
            "scale": self.scale,
            "cutoffs": self.cutoffs,
            "interval": 0.9,
            "rows": self.rows(),
            "summary": {
                law: part.drop(columns="law")
                for law, part in self.summary().groupby("law", sort=False)
            },
            "missing": [item._asdict() for item in self.missing],
            "unconverged": self.unconverged(),
            "seed": self.seed,
            "runs_sha256": self.runs.digest,
        }

    def _content(self) -> Iterator[str | TextTable]:
        n = self.forecasts.drop_duplicates(["cutoff", "run_id"]).shape[0]
        cutoffs = ", ".join(f"{cutoff:.3g}" for cutoff in self.cutoffs)
        yield (
            f"Backtest of {' and '.join(self.laws)} on {len(self.runs)} runs from "
            f"{self.runs.source}:"
        )
        yield (
            f"{n} forecasts of larger runs from the smaller ones, at {len(self.cutoffs)} cutoff"
            f"{'' if len(self.cutoffs) == 1 else 's'} in {self.scale} ({cutoffs})."
        )
        yield ""
        yield TextTable.of(
            {
                "law": row["law"],
                "times larger": row["ratios"],
                "forecasts": str(row["n"]),
                "cutoffs": str(row["n_cutoffs"]),
                "RMSLE": f"{row['rmsle']:.4f}",
                "CRPS": f"{row['crps']:.4f}",
                "log density": f"{row['lpd']:.2f}",
                "50%": f"{row['coverage50']:.0%}",
                "90%": f"{row['coverage90']:.0%}",
            }
            for row in self.summary().to_dict(orient="records")
        )
        yield ""
        yield _LEGEND
        if len(self.laws) > 1:
            shares = zip(self.laws, self.weights, strict=True)
            yield f"average: their mixture, {', '.join(f'{w:.0%} {law}' for law, w in shares)}."
        for sentence in refit_problems(self.missing, len(self.unconverged()), len(self.samples)):
            yield f"\n{sentence}"


def _bin_name(lower: float, upper: float) -> str:
    if upper == np.inf:
        return "all" if lower == 1 else f"above {lower:g}"
    return f"{lower:g} to {upper:g}"


def refit_problems(missing: Sequence[Missing], unconverged: int, n: int) -> list[str]:
    """Write sentences on refits without a result, or scored although unconverged."""
    sentences = []
    if missing:
        which = listed(f"{item.law} at {item.cutoff:.3g} ({item.why})" for item in missing)
        sentences.append(f"Missing: {len(missing)} of {len(missing) + n} refits: {which}.")
    if unconverged:
        sentences.append(
            f"{unconverged} of {n} refits failed their convergence checks; they are scored all the "
            "same."
        )
    return sentences


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
    show_progress: bool = False,
) -> Backtest:
    """Fit the runs up to each cutoff and forecast the larger ones.

    Parameters
    ----------
    runs : Runs, pandas.DataFrame or path
    laws : iterable of str, Law or ModelCard
        Laws of the same inputs, or their cards; several are also scored as their model average.
    refit : callable, optional
        ``refit(runs, card, seed)`` makes a posterior; :func:`bayescale.refit` where not given.
        It must pickle where the executor's workers are processes.
    cutoffs : iterable of float, optional
        Sizes up to which runs are fitted, in flops, or in the laws' only input; a run within
        1 % of a cutoff is fitted. Without them up to eight, evenly spread in log size over
        those that leave enough runs to fit (five, or the coefficients of the largest law) and
        at least one larger to forecast.
    weights : sequence of float, optional
        Each law's weight in the average; equal where not given.
    executor : concurrent.futures.Executor, optional
        Where refits run; it is not shut down. A Dask client has one (``client.get_executor()``);
        :class:`bayescale.tasks.Serial` stays in this process. Without it processes of this
        computer, which need a script to guard its own start with
        ``if __name__ == "__main__":``.
    workers : int, optional
        Number of processes where no executor is given; one per core by default.
    seed : int
        The same seed gives the same scores, wherever refits run.
    show_progress : bool
        Show progress on standard error.

    Returns
    -------
    Backtest
        A refit that fails, or is lost with its worker, is listed as missing and the others
        are kept; one that fails its convergence checks is scored and counted.

    Raises
    ------
    TrustError
        If the laws take different inputs or repeat, the runs cannot be held out, cutoffs leave
        nothing, or no refit succeeded.
    RunLogError, LawError, CardError
        If a law cannot be fitted to these runs at all.

    Notes
    -----
    Families in the log are forecast with their own coefficients where the smaller runs hold
    some of them, else as a new family. Measurement errors (``loss_se``) of held-out runs are
    not added to the intervals.
    """
    runs = as_runs(runs)
    cards = [law if isinstance(law, ModelCard) else choose_card(runs, law) for law in laws]
    _require_comparable(cards)
    names = tuple(card.law.name for card in cards)
    shares = _shares(names, weights)
    for card in cards:
        require_runs_for(card.law, runs)
    inputs = cards[0].law.inputs
    scale, size = size_scale(inputs), sizes(runs.frame, inputs)
    at = choose_cutoffs(runs, cards, cutoffs)
    make = refit or default_refit()
    tasks = [Task(make, card, runs, size, cutoff, seed) for cutoff in at for card in cards]
    samples, missing = _run(tasks, executor, workers, show_progress)
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
        missing=missing,
        samples=samples,
        runs=runs,
        seed=seed,
    )


def default_refit() -> Any:
    """Return :func:`bayescale.refit`, which this room must not import: it needs the sampler."""
    import bayescale

    return bayescale.refit


def _run(
    tasks: Sequence[Task], executor: Executor | None, workers: int | None, show_progress: bool
) -> tuple[Samples, tuple[Missing, ...]]:
    """Run the refits; their samples are in the order of the tasks."""
    samples, failed = {}, []
    with progress(show_progress) as stage:
        done = stage(f"{len(tasks)} refits", total=len(tasks))
        for n, outcome in enumerate(outcomes(tasks, executor, workers), start=1):
            task = tasks[outcome.index]
            if outcome.error is None:
                samples[task.key] = outcome.result
            else:
                failed.append(Missing(task.card.law.name, task.cutoff, outcome.reason))
            done(n)
    if not samples:
        why = [f"{item.law} at {item.cutoff:.3g}: {item.why}" for item in failed[:5]]
        raise TrustError(collected(f"all of the {len(tasks)} refits failed:", why))
    in_order = {task.key: samples[task.key] for task in tasks if task.key in samples}
    return in_order, tuple(failed)


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
