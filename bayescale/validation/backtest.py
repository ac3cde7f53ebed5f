"""Backtests: fit the smaller runs, forecast the larger ones, and see how that went.

The one evidence on extrapolation that runs themselves can give. Refits reach this module as a
callable, so it needs no sampler, and run on any executor of :mod:`concurrent.futures`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import ModelCard, choose_card
from bayescale.errors import TrustError, collected, listed
from bayescale.forecasting import forecast
from bayescale.laws import Law
from bayescale.posterior import Posterior
from bayescale.progress import progress
from bayescale.runs import Runs, require_runs_for
from bayescale.tasks import outcomes
from bayescale.validation import scores
from bayescale.verdict import size_scale, sizes

Refit = Callable[[Runs, ModelCard, int], Posterior]
"""``refit(runs, card, seed)``: a posterior, such as :func:`bayescale.refit` makes."""

POOL = "pool"
"""The name under which several laws are scored as one."""

FEWEST_TRAINING = 5
MOST_CUTOFFS = 8
SAME_SIZE = 0.01
"""Runs whose sizes differ by less than this share are of one size: digitized logs scatter."""

RATIO_BINS = ((1.0, 3.0), (3.0, 10.0), (10.0, 30.0), (30.0, 100.0), (100.0, np.inf))
MOST_DRAWS = 1000


class Missing(NamedTuple):
    """A refit that did not come back."""

    law: str
    cutoff: float
    why: str


@dataclass(frozen=True, eq=False)
class Sample:
    """What one refit said of the runs larger than its cutoff.

    Attributes
    ----------
    new, mean : numpy.ndarray
        Draws of log loss of one new run and of the mean run, shape (draw, run), at most
        1,000 evenly spaced ones.
    lpd : numpy.ndarray
        Log predictive density of the observed loss, per nat per token, shape (run,).
    converged : bool
        Whether the refit passed its gate.
    """

    new: np.ndarray
    mean: np.ndarray
    lpd: np.ndarray
    converged: bool


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts of held-out larger runs, beside what those runs reached.

    Attributes
    ----------
    laws : tuple of str
        As asked for; two or more are also scored as one, named ``pool``.
    weights : tuple of float
        Each law's share of the pool.
    scale : str
        What sizes and cutoffs are counted in: ``flops``, or the laws' only input.
    forecasts : pandas.DataFrame
        One row a law, cutoff and held-out run: ``law``, ``cutoff``, ``run_id``, ``ratio``
        (size over that of the largest training run), ``n_train``, ``loss`` (observed),
        ``median``, ``lower50``, ``upper50``, ``lower90``, ``upper90`` (of one new run, nats
        per token), ``log_error`` (log median minus log observed), ``lpd`` (log predictive
        density per nat per token), ``crps`` (of log loss, the outermost 1 % of draws moved
        inward), ``pit`` (share of draws below),
        ``half_width90`` (of the interval of log mean loss), ``covered50``, ``covered90``,
        ``converged``.
    missing : tuple of Missing
        Refits that failed or were lost with their worker.
    samples : mapping of (str, float) to Sample
        By law and cutoff: what the forecasts were scored from.
    """

    laws: tuple[str, ...]
    weights: tuple[float, ...]
    scale: str
    cutoffs: tuple[float, ...]
    forecasts: pd.DataFrame
    missing: tuple[Missing, ...]
    samples: Mapping[tuple[str, float], Sample]
    runs: Runs
    seed: int

    @property
    def answer(self) -> str:
        """The law that stands for all of them: the pool, or the only one."""
        return POOL if self.laws[1:] else self.laws[0]

    def pooled(self, weights: Sequence[float]) -> pd.DataFrame:
        """Forecasts as of a pool with other weights: rows like ``forecasts``."""
        return _pooled(self.runs, self.samples, self.laws, weights, self.cutoffs, self.scale)

    def rows(self) -> pd.DataFrame:
        """One row a law, cutoff and bin of ratio, under the keys of the command line.

        ``ratio`` is the geometric mean of the ratios in the row.
        """
        frame = self.forecasts.assign(bin=_ratio_bin(self.forecasts["ratio"]))
        rows = []
        for (law, cutoff, _), part in frame.groupby(["law", "cutoff", "bin"], sort=False):
            in_flops = self.scale == "flops"
            row = {"law": law, "cutoff_flops": cutoff if in_flops else None, "cutoff": cutoff}
            row |= {"ratio": float(np.exp(np.log(part["ratio"]).mean()))}
            row |= {"n_train": int(part["n_train"].iloc[0]), "n_test": len(part)}
            rows.append(row | aggregate(part))
        return pd.DataFrame(rows)

    def summary(self) -> pd.DataFrame:
        """One row a law and bin of ratio over all cutoffs, and one a law over all ratios.

        ``n`` forecasts from ``n_cutoffs`` cutoffs, ``rmsle``, ``crps``, ``lpd``,
        ``coverage50``, ``coverage90``, ``msce``: plain means over forecasts.
        """
        frame = self.forecasts.assign(bin=_ratio_bin(self.forecasts["ratio"]))
        rows = []
        for law, of_law in frame.groupby("law", sort=False):
            parts = [(RATIO_BINS[cast(int, i)], part) for i, part in of_law.groupby("bin")]
            for (lower, upper), part in [*parts, ((1.0, np.inf), of_law)]:
                row = {"law": law, "lower": lower, "upper": None if upper == np.inf else upper}
                row |= {"n": len(part), "n_cutoffs": part["cutoff"].nunique()}
                row |= aggregate(part) | {"msce": scores.msce(part["pit"])}
                rows.append(row | {"ratios": _bin_name(lower, upper)})
        return pd.DataFrame(rows)

    def to_frame(self) -> pd.DataFrame:
        """A copy of ``forecasts``."""
        return self.forecasts.copy()

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        summary = self.summary()
        return {
            "laws": list(self.laws),
            "weights": dict(zip(self.laws, self.weights, strict=True)),
            "scale": self.scale,
            "cutoffs": list(self.cutoffs),
            "interval": 0.9,
            "rows": _records(self.rows()),
            "summary": {
                str(law): _records(part.drop(columns="law"))
                for law, part in summary.groupby("law", sort=False)
            },
            "missing": [item._asdict() for item in self.missing],
            "unconverged": self.unconverged(),
            "seed": self.seed,
            "runs_sha256": self.runs.digest,
        }

    def unconverged(self) -> list[dict[str, Any]]:
        """Law and cutoff of refits that missed their convergence gate; they are scored."""
        return [
            {"law": law, "cutoff": cutoff}
            for (law, cutoff), sample in self.samples.items()
            if not sample.converged
        ]

    def __str__(self) -> str:
        n = self.forecasts.drop_duplicates(["cutoff", "run_id"]).shape[0]
        lines = [
            f"Backtest of {' and '.join(self.laws)} on {len(self.runs)} runs from "
            f"{self.runs.source}:",
            f"{n} forecasts of larger runs from the smaller ones, at {len(self.cutoffs)} cutoff"
            f"{'' if len(self.cutoffs) == 1 else 's'} in {self.scale}"
            f" ({', '.join(f'{cutoff:.3g}' for cutoff in self.cutoffs)}).",
            "",
            *score_table(self.summary()),
            "",
            "times larger: than the largest run fitted. RMSLE, CRPS: error on log loss (0.01 is "
            "about 1 %).",
            "log density: of the loss reached, higher is better. 50%, 90%: share of runs that "
            "these intervals",
            "held; near 50 and 90 is right, less is too sure.",
        ]
        if len(self.laws) > 1:
            shares = ", ".join(
                f"{w:.0%} {law}" for law, w in zip(self.laws, self.weights, strict=True)
            )
            lines.append(f"pool: their forecasts mixed, {shares}.")
        lines += problems_told(self.missing, len(self.unconverged()), len(self.samples))
        return "\n".join(lines)


def problems_told(missing: Sequence[Missing], unconverged: int, n: int) -> list[str]:
    """Sentences on refits that are missing, or scored although unconverged."""
    lines = []
    if missing:
        which = listed(f"{item.law} at {item.cutoff:.3g} ({item.why})" for item in missing)
        lines += ["", f"Missing: {len(missing)} of {len(missing) + n} refits: {which}."]
    if unconverged:
        lines += ["", f"{unconverged} of {n} refits missed their convergence gate; they are scored"]
        lines[-1] += " all the same."
    return lines


def score_table(summary: pd.DataFrame) -> list[str]:
    """Lines of a table by law and ratio, within 100 columns."""
    width = max(12, *(len(str(law)) for law in summary["law"]))
    lines = [
        f"{'law':<{width}}  times larger  forecasts  cutoffs   RMSLE    CRPS  log density   50%   "
        "90%"
    ]
    for law, of_law in summary.groupby("law", sort=False):
        lines += [""] * (len(lines) > 1)
        name = str(law)
        for row in of_law.to_dict(orient="records"):
            lines.append(
                f"{name:<{width}}  {row['ratios']:>12}  {row['n']:>9}  {row['n_cutoffs']:>7}  "
                f"{row['rmsle']:>6.4f}  {row['crps']:>6.4f}  {row['lpd']:>11.2f}  "
                f"{row['coverage50']:>4.0%}  {row['coverage90']:>4.0%}"
            )
            name = ""
    return lines


def backtest(
    runs: Runs,
    laws: Iterable[str | Law | ModelCard],
    *,
    refit: Refit,
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
    runs : Runs
    laws : iterable of str, Law or ModelCard
        Laws of the same inputs, or their cards; several are also scored as a pool.
    refit : callable
        ``refit(runs, card, seed)`` gives a posterior: :func:`bayescale.refit`. It must pickle
        where the executor's workers are processes.
    cutoffs : iterable of float, optional
        Sizes up to which runs are fitted, in flops, or in the laws' only input; a run within
        1 % of a cutoff is fitted. Without them up to eight, evenly spread in log size over
        those that leave enough runs to fit (five, or the coefficients of the largest law) and
        at least one larger to forecast.
    weights : sequence of float, optional
        Each law's share of the pool; equal ones where not given.
    executor : concurrent.futures.Executor, optional
        Where refits run; not shut down. A Dask client has one (``client.get_executor()``);
        :class:`bayescale.tasks.Serial` stays in this process. Without it processes of this
        computer, which need a script to guard its own start with
        ``if __name__ == "__main__":``.
    workers : int, optional
        Processes where no executor is given: one a core where not given either.
    seed : int
        The same seed gives the same scores, wherever refits run.
    show_progress : bool
        Show progress on standard error.

    Returns
    -------
    Backtest
        A refit that fails, or is lost with its worker, is listed as missing and the others
        kept; one that misses its convergence gate is scored and counted.

    Raises
    ------
    TrustError
        If the laws take different inputs or repeat, the runs cannot be held out, cutoffs leave
        nothing, or no refit came back.
    RunLogError, LawError, CardError
        If a law cannot be fitted to these runs at all.

    Notes
    -----
    Families in the log are forecast with their own coefficients where the smaller runs hold
    some of them, else as a new family. Errors of measurement (``loss_se``) of held-out runs are
    not added to the intervals.
    """
    cards = [law if isinstance(law, ModelCard) else choose_card(runs, law) for law in laws]
    _require_comparable(cards)
    names = tuple(card.law.name for card in cards)
    shares = _shares(names, weights)
    for card in cards:
        require_runs_for(card.law, runs)
    inputs, scale = cards[0].law.inputs, size_scale(cards[0].law.inputs)
    size = sizes(runs.frame, inputs)
    at = choose_cutoffs(runs, cards, cutoffs)
    tasks = [Task(refit, card, runs, size, cutoff, seed) for cutoff in at for card in cards]
    with progress(show_progress) as stage:
        done = stage(f"{len(tasks)} refits", total=len(tasks))
        ended = []
        for outcome in outcomes(tasks, executor, workers):
            ended.append(outcome)
            done(len(ended))
    samples = {tasks[o.index].key: o.result for o in ended if o.error is None}
    failed = [(tasks[o.index], o.reason) for o in ended if o.error is not None]
    missing = tuple(Missing(task.card.law.name, task.cutoff, why) for task, why in failed)
    if not samples:
        why = [f"{item.law} at {item.cutoff:.3g}: {item.why}" for item in missing[:5]]
        raise TrustError(collected(f"none of the {len(tasks)} refits came back:", why))
    samples = {task.key: samples[task.key] for task in tasks if task.key in samples}
    by_law = [
        scored(law, cutoff, runs, size, samples[law, cutoff])
        for law in names
        for cutoff in at
        if (law, cutoff) in samples
    ]
    if len(names) > 1:
        by_law.append(_pooled(runs, samples, names, shares, at, scale))
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


# what may be backtested


def _require_comparable(cards: Sequence[ModelCard]) -> None:
    if not cards:
        raise TrustError("no law is named: a backtest needs at least one")
    laws = [card.law for card in cards]
    problems = []
    if len({law.name for law in laws}) < len(laws):
        problems.append(f"laws repeat: {', '.join(law.name for law in laws)}")
    if len({frozenset(law.inputs) for law in laws}) > 1:
        of = [f"{law.name} is of {' and '.join(law.inputs)}" for law in laws]
        problems.append(
            f"they are for different inputs: {'; '.join(of)}. Choose laws of the same inputs"
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


def choose_cutoffs(
    runs: Runs, cards: Sequence[ModelCard], given: Iterable[float] | None = None
) -> tuple[float, ...]:
    """Cutoffs of a backtest, from small to large: those given, or as :func:`backtest` says.

    Raises
    ------
    TrustError
        If one leaves too little to fit or nothing to forecast, or none is left.
    """
    size = sizes(runs.frame, cards[0].law.inputs)
    least = max(FEWEST_TRAINING, *(len(card.law.coefficients) for card in cards))
    if given is not None:
        chosen = tuple(sorted({float(cutoff) for cutoff in given}))
        problems = [_cutoff_problem(runs, cards, size, cutoff, least) for cutoff in chosen]
        if not chosen:
            problems.append("no cutoff is given")
        if any(problems):
            raise TrustError(
                collected(f"{runs.source} cannot be backtested so:", filter(None, problems))
            )
        return chosen
    ordered = np.sort(size)
    steps = ordered[1:] > ordered[:-1] * (1 + SAME_SIZE)
    ends = ordered[np.append(steps, True)]
    usable = [c for c in ends if _cutoff_problem(runs, cards, size, c, least) is None]
    if not usable:
        scale = size_scale(cards[0].law.inputs)
        raise TrustError(
            f"{runs.source} cannot be backtested: its {len(runs)} runs have {len(ends)} size"
            f"{'' if len(ends) == 1 else 's'} in {scale}, and holding out the largest must leave at"
            f" least {least} runs to fit, of two sizes of {' and of '.join(cards[0].law.inputs)}: "
            "add runs"
        )
    targets = np.linspace(np.log(usable[0]), np.log(usable[-1]), MOST_CUTOFFS)
    nearest = {int(np.abs(np.log(usable) - target).argmin()) for target in targets}
    return tuple(float(usable[i]) for i in sorted(nearest))


def _cutoff_problem(
    runs: Runs, cards: Sequence[ModelCard], size: np.ndarray, cutoff: float, least: int
) -> str | None:
    if not (np.isfinite(cutoff) and cutoff > 0):
        return f"cutoff {cutoff:g} must be finite and above zero"
    training = training_mask(size, cutoff)
    n = int(training.sum())
    if n == len(runs):
        return (
            f"cutoff {cutoff:.4g} leaves no larger run to forecast: the largest is {size.max():.4g}"
        )
    if n < least:
        return f"cutoff {cutoff:.4g} leaves {n} of {len(runs)} runs to fit, and {least} are needed"
    for name in cards[0].law.inputs:
        values = runs[name][training]
        if values.max() <= values.min() * (1 + SAME_SIZE):
            return (
                f"cutoff {cutoff:.4g} leaves {n} runs of one size to fit, {name} = "
                f"{values[0]:.4g}, and two are needed"
            )
    return None


def training_mask(size: np.ndarray, cutoff: float) -> np.ndarray:
    """Which runs are fitted at a cutoff: those up to it, within the scatter of one size."""
    return size <= cutoff * (1 + SAME_SIZE)


# one refit


@dataclass(frozen=True, eq=False)
class Task:
    """One refit, as it is sent to a worker; called there, it returns a :class:`Sample`."""

    refit: Refit
    card: ModelCard
    runs: Runs
    size: np.ndarray
    cutoff: float
    seed: int

    @property
    def key(self) -> tuple[str, float]:
        """Law and cutoff."""
        return self.card.law.name, self.cutoff

    def __call__(self) -> Sample:
        """Fit the runs up to the cutoff and forecast the others."""
        training = training_mask(self.size, self.cutoff)
        posterior = self.refit(self.runs.take(training), self.card, self.seed)
        return _forecast_held_out(posterior, self.runs.frame.loc[~training])


def _forecast_held_out(posterior: Posterior, held_out: pd.DataFrame) -> Sample:
    n, inputs = len(held_out), posterior.inputs
    known = posterior.families
    family = np.full(n, "", dtype=object)
    if known and "family" in held_out:
        family[:] = [name if name in known else "" for name in held_out["family"].astype(str)]
    new, mean, lpd = [np.empty(0)] * n, [np.empty(0)] * n, np.empty(n)
    for name in np.unique(family):
        which = np.flatnonzero(family == name)
        rows = held_out.iloc[which]
        scales: dict[str, Any] = {i: rows[i].to_numpy(dtype=float) for i in inputs}
        of: dict[str, Any] = {"family": name or None}
        result = forecast(posterior, **scales, **of, allow_unconverged=True)
        assert result.loss_new is not None
        points = {i: xr.DataArray(x, dims="point") for i, x in scales.items()}
        density = _flat(posterior.log_density(rows["loss"], points, **of))
        lpd[which] = scores.log_predictive(density)
        for into, draws in ((new, result.loss_new), (mean, result.loss)):
            kept = scores.thinned(_flat(draws), MOST_DRAWS)
            with np.errstate(divide="ignore"):  # few degrees of freedom reach a loss of nothing
                log = np.log(kept)
            for i, column in zip(which, log.T, strict=True):
                into[i] = column
    return Sample(
        np.stack(new, axis=1).astype("float32"),
        np.stack(mean, axis=1).astype("float32"),
        lpd,
        bool(posterior.diagnostics["passed"]),
    )


def _flat(draws: xr.DataArray) -> np.ndarray:
    values = draws.transpose("chain", "draw", "point").values
    return values.reshape(-1, values.shape[-1])


# scoring


def scored(law: str, cutoff: float, runs: Runs, size: np.ndarray, sample: Sample) -> pd.DataFrame:
    """Rows of forecasts, as :class:`Backtest` has them, of the runs larger than a cutoff.

    Parameters
    ----------
    law : str
        Under what name.
    cutoff : float
    runs : Runs
        All, those up to the cutoff included.
    size : numpy.ndarray, shape (run,)
        Their sizes, on the cutoff's scale.
    sample : Sample
        What is forecast of the larger runs, in their order, by a refit or by other means.
    """
    training = training_mask(size, cutoff)
    loss = runs["loss"][~training]
    log_loss = np.log(loss)
    lower50, upper50 = scores.central_interval(sample.new, 0.5)
    lower90, upper90 = scores.central_interval(sample.new, 0.9)
    median = np.median(sample.new.astype(float), axis=0)
    return pd.DataFrame(
        {
            "law": law,
            "cutoff": cutoff,
            "run_id": runs["run_id"][~training],
            "ratio": size[~training] / size[training].max(),
            "n_train": int(training.sum()),
            "loss": loss,
            "median": np.exp(median),
            "lower50": np.exp(lower50),
            "upper50": np.exp(upper50),
            "lower90": np.exp(lower90),
            "upper90": np.exp(upper90),
            "log_error": median - log_loss,
            "lpd": sample.lpd,
            "crps": scores.crps(scores.limited(sample.new), log_loss),
            "pit": scores.pit(sample.new, log_loss),
            "half_width90": scores.half_width(sample.mean, 0.9),
            "covered50": (lower50 <= log_loss) & (log_loss <= upper50),
            "covered90": (lower90 <= log_loss) & (log_loss <= upper90),
            "converged": sample.converged,
        }
    )


def _pooled(
    runs: Runs,
    samples: Mapping[tuple[str, float], Sample],
    laws: Sequence[str],
    weights: Sequence[float],
    cutoffs: Sequence[float],
    scale: str,
) -> pd.DataFrame:
    """The mixture of all laws as one more, at cutoffs where every law came back."""
    size = sizes(runs.frame, (scale,) if scale != "flops" else ("params", "tokens"))
    parts = []
    for cutoff in cutoffs:
        of = [samples.get((law, cutoff)) for law in laws]
        there = [sample for sample in of if sample is not None]
        if len(there) < len(laws):
            continue
        mixture = Sample(
            scores.mixed([sample.new for sample in there], weights),
            scores.mixed([sample.mean for sample in there], weights),
            scores.log_mixture([sample.lpd for sample in there], weights),
            all(sample.converged for sample in there),
        )
        parts.append(scored(POOL, cutoff, runs, size, mixture))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def aggregate(part: pd.DataFrame) -> dict[str, float]:
    """Scores of some forecasts together: plain means over them."""
    return {
        "rmsle": scores.rmsle(part["median"], part["loss"]),
        "crps": float(part["crps"].mean()),
        "lpd": float(part["lpd"].mean()),
        "coverage50": float(part["covered50"].mean()),
        "coverage90": float(part["covered90"].mean()),
    }


def _ratio_bin(ratio: pd.Series) -> np.ndarray:
    return np.digitize(ratio, [upper for _, upper in RATIO_BINS[:-1]], right=True)


def _bin_name(lower: float, upper: float) -> str:
    if upper == np.inf:
        return "all" if lower == 1 else f"above {lower:g}"
    return f"{lower:g} to {upper:g}"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict(orient="records")]
