"""The losses and learning rates that a run has logged so far, from a table or a tracker."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from bayescale.curves.condition import Observed
from bayescale.curves.noise import Noise
from bayescale.curves.schedule import Schedule
from bayescale.errors import RunLogError, listed
from bayescale.findings import Finding, note
from bayescale.runs.table import load_table
from bayescale.units import three_digits

STEPS = ("step", "_step", "global_step", "train/global_step", "trainer/global_step", "iteration")
RATES = ("lr", "learning_rate", "train/learning_rate", "train/lr", "lr-adamw", "optim/lr")
EVALUATED = ("eval/loss", "eval_loss", "val/loss", "val_loss", "validation/loss", "valid_loss")
TRAINED = ("loss", "train/loss", "train_loss")
"""Known names of columns and metrics, in lower case."""

EMPTY = ("", "nan", "na", "none", "null")
"""Cells that hold nothing, in lower case: trackers write them where a metric was not logged."""

Restarts = Literal["error", "last"]

FAR_OFF = 8.0
"""A loss is a spike if it lies this many standard deviations of the noise above its neighbors on
both sides."""

NEIGHBORS = 5
"""How many losses on each side a loss is compared with."""

LEAST_NOISE = 5e-4
"""The smallest standard deviation of a loss's white noise, as a share of the loss."""

LONGEST_WINDOW = 0.01
"""The longest window over which dense losses are averaged, as a share of the run."""

HIGHEST = 12.0
"""Nats per token of a uniform guess among 160,000 tokens: losses after warm-up lie below."""

GAP = 0.05
"""The shortest stretch without a loss that a finding reports, as a share of the run."""


@dataclass(frozen=True, eq=False)
class History:
    """The losses and learning rates that a run has logged.

    Attributes
    ----------
    name : str
    steps, losses : numpy.ndarray, shape (point,)
        Steps in increasing order, and their losses.
    rate_steps, rates : numpy.ndarray, shape (row,)
        Learning rates and their steps; empty if none are logged.
    findings : tuple of Finding
        What was noticed while reading, such as spikes.
    """

    name: str
    steps: np.ndarray
    losses: np.ndarray
    rate_steps: np.ndarray
    rates: np.ndarray
    findings: tuple[Finding, ...] = ()

    @property
    def last_step(self) -> float:
        """The last step with a loss."""
        return float(self.steps[-1])

    def observed(self, schedule: Schedule, at: np.ndarray) -> Observed:
        """Return losses near these steps, averaged over short windows where they are dense.

        Parameters
        ----------
        schedule : Schedule
        at : numpy.ndarray, shape (point,)
            Steps; those that the run has not reached are left out.
        """
        reached = at[at <= self.last_step * (1 + 1e-9)]
        half = LONGEST_WINDOW * schedule.last_step / 2
        nearest = np.unique([int(np.abs(self.steps - step).argmin()) for step in reached])
        points = []
        for i in nearest:
            near = np.flatnonzero(np.abs(self.steps - self.steps[i]) <= half)
            symmetric = min(i - near[0], near[-1] - i)
            least = LEAST_NOISE * float(self.losses[i])
            side = min(symmetric, self.scatter.enough(least) // 2)
            window = slice(i - side, i + side + 1)
            each = self.scatter.of_mean(2 * side + 1)
            points.append((self.steps[i], self.losses[window].mean(), max(each, least)))
        table = np.array(points).reshape(-1, 3)
        return Observed(*table.T, scale=float(np.median(table[-3:, 1])) if len(table) else 1.0)

    @cached_property
    def scatter(self) -> Noise:
        """The noise of the losses and of their averages."""
        return Noise(self.losses, LEAST_NOISE * float(self.losses[-1]))

    @property
    def noise(self) -> float:
        """Standard deviation of the noise in one loss."""
        return self.scatter.of_mean(1)


def read_history(
    source: str | Path | pd.DataFrame,
    *,
    metric: str | None = None,
    rate: str | None = None,
    run: str | None = None,
    restarts: Restarts = "error",
) -> History:
    """Read the history of one run.

    Parameters
    ----------
    source : path or pandas.DataFrame
        A table of steps, losses and learning rates (CSV, Parquet, JSON lines), or what
        :func:`bayescale.trackers.import_runs` reads: files of MLflow, Weights & Biases, TensorBoard
        or the Hugging Face Trainer.
    metric : str, optional
        The loss's column or metric; needed if the source holds more than one loss.
    rate : str, optional
        The learning rate's column or metric.
    run : str, optional
        Which run to read, if the source holds several.
    restarts : {"error", "last"}
        If steps go back, raise an error, or keep the later rows of each step.

    Returns
    -------
    History
        Steps, losses and learning rates, with findings about them.

    Raises
    ------
    RunLogError, TrackerError
        If the source cannot be read, or holds no history of one run.
    """
    if isinstance(source, pd.DataFrame):
        return history_of(source, "the table", metric, rate, run, restarts)
    path = Path(source)
    if path.is_file() and path.suffix.lower() in (".csv", ".parquet", ".jsonl"):
        return history_of(load_table(path).cells, path.name, metric, rate, run, restarts)
    from bayescale.trackers.read import tracked_histories

    wanted = (metric,) if metric else (*EVALUATED, *TRAINED)
    tables = tracked_histories(str(source), wanted, (rate,) if rate else RATES)
    return history_of(_only(tables, run, str(source)), str(source), metric, rate, None, restarts)


def _only(tables: dict[str, pd.DataFrame], run: str | None, name: str) -> pd.DataFrame:
    if run is None and len(tables) == 1:
        return next(iter(tables.values()))
    if run not in tables:
        raise RunLogError(
            f"{name} holds {len(tables)} runs, {listed(tables)}: choose one with `run=`"
            if run is None
            else f"{name} holds no run {run!r}, but {listed(tables)}: choose one of these"
        )
    return tables[run]


def history_of(
    table: pd.DataFrame,
    name: str,
    metric: str | None,
    rate: str | None,
    run: str | None,
    restarts: Restarts,
) -> History:
    """Return the history that a table holds: see :func:`read_history`."""
    table = _of_run(table, name, run)
    step = _column(table, None, STEPS, name, "of steps", "`step`")
    loss = _loss_column(table, metric, name)
    found = _column(table, rate, RATES, name, "of learning rates", "`rate=`", required=False)
    steps, losses = _series(table, step, loss, name, restarts, positive=True)
    rate_steps, rates = (
        _series(table, step, found, name, restarts) if found else (np.empty(0), np.empty(0))
    )
    kept, findings = _without_spikes(steps, losses)
    findings += _unit_findings(loss, losses)
    findings += _ending_findings(pd.to_numeric(table[step], errors="coerce").max(), steps)
    if len(rates):
        findings += [] if rates.max() > 0 else [note("no_rate", "all learning rates are zero")]
    return History(name, steps[kept], losses[kept], rate_steps, rates, tuple(findings))


def _of_run(table: pd.DataFrame, name: str, run: str | None) -> pd.DataFrame:
    column = next((c for c in table.columns if str(c).lower() in ("run", "run_id", "name")), None)
    if column is None and run is not None:
        raise RunLogError(f"{name} has no column `run`, so it holds no run {run!r}: leave it out")
    if column is None:
        return table
    runs = table[column].astype(str)
    names = list(dict.fromkeys(runs))
    if run is None and len(names) > 1:
        raise RunLogError(
            f"{name} holds {len(names)} runs, {listed(names)}: choose one with `run=`"
        )
    if run is not None and run not in names:
        raise RunLogError(f"{name} holds no run {run!r}, but {listed(names)}: choose one of these")
    return table[runs == (run or names[0])]


def _column(
    table: pd.DataFrame,
    given: str | None,
    known: Iterable[str],
    name: str,
    what: str,
    option: str,
    *,
    required: bool = True,
) -> str | None:
    if given is not None:
        if given not in table:
            raise RunLogError(
                f"{name} has no column {given!r}, but {listed(table.columns)}: choose one of these"
            )
        return given
    lower = {str(column).lower(): str(column) for column in table.columns}
    found = [lower[each] for each in known if each in lower]
    if found:
        return found[0]
    if required:
        raise RunLogError(
            f"{name} has no column {what} among {listed(table.columns)}: name it {option}"
        )
    return None


def _loss_column(table: pd.DataFrame, metric: str | None, name: str) -> str:
    lower = {str(column).lower(): str(column) for column in table.columns}
    several = [lower[each] for each in (*EVALUATED, *TRAINED) if each in lower]
    if metric is None and len(several) > 1:
        raise RunLogError(
            f"{name} has more than one loss, {listed(several)}: choose with `metric=` the one to "
            "forecast"
        )
    known = (*EVALUATED, *TRAINED)
    found = _column(table, metric, known, name, "of losses", "`loss`, or give `metric=`")
    assert found is not None
    return found


def _series(
    table: pd.DataFrame,
    step: str | None,
    column: str,
    name: str,
    restarts: Restarts,
    *,
    positive: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of the rows that have both, in order."""
    numbers = table[[step, column]].apply(pd.to_numeric, errors="coerce")
    steps, values = numbers.dropna().to_numpy(dtype=float).T
    problems = _texts(table, numbers)
    least = 0.0 if positive else -np.inf
    wrong = np.flatnonzero(~np.isfinite(values) | (values < 0) | (values <= least))
    if not len(steps):
        problems.append(f"column {column!r} holds no numbers: name another column, or fill it in")
    elif steps.min() < 0:
        problems.append(f"step {steps.min():,.0f} is below zero: count from the run's start")
    elif len(wrong):
        need = "above zero" if positive else "zero or more"
        problems.append(
            f"{column!r} is {values[wrong[0]]:g} at step {steps[wrong[0]]:,.0f}, but must be "
            f"finite and {need}: leave such rows out, or watch the run from its restart"
        )
    back = np.flatnonzero(np.diff(steps) < 0)
    same = np.flatnonzero((np.diff(steps) == 0) & (np.diff(values) != 0))
    if restarts == "error" and (len(back) or len(same)):
        where = int(min([*back, *same])) + 1
        problems.append(
            f"step {steps[where]:,.0f} of {column!r} comes after step {steps[where - 1]:,.0f}: a "
            "restart, or two metrics in one column. If it is a restart, `restarts='last'` keeps "
            "the later rows"
        )
    if problems:
        raise RunLogError(f"{name} is not the history of one run: {'; '.join(problems)}")
    last = pd.Series(values, index=steps).groupby(level=0, sort=True).last()
    if restarts == "last" and len(back):  # a restart replaces all earlier rows beyond its step
        keep = np.ones(len(steps), dtype=bool)
        for i in back:
            keep[: i + 1] &= steps[: i + 1] < steps[i + 1]
        last = pd.Series(values[keep], index=steps[keep]).groupby(level=0, sort=True).last()
    return last.index.to_numpy(dtype=float), last.to_numpy()


def _texts(table: pd.DataFrame, numbers: pd.DataFrame) -> list[str]:
    """Return a problem for the first cell of each column that is neither a number nor empty."""
    problems = []
    for column in dict.fromkeys(numbers):
        cells = table[column].reset_index(drop=True)[numbers[column].isna().to_numpy()].dropna()
        odd = cells[~cells.astype(str).str.strip().str.lower().isin(EMPTY)]
        if len(odd):
            problems.append(
                f"{column!r} is {odd.iloc[0]!r} in row {odd.index[0] + 1}: write a number, or "
                "leave the cell empty"
            )
    return problems


def _without_spikes(steps: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    """Return a mask of the losses that are not spikes, and a finding about the spikes."""
    series = pd.Series(losses)
    before = series.rolling(NEIGHBORS, min_periods=1).median().shift(1)
    after = series[::-1].rolling(NEIGHBORS, min_periods=1).median()[::-1].shift(-1)
    away = (series - np.maximum(before, after)).fillna(0.0).to_numpy()  # above both sides
    second = 1.4826 * float(np.median(np.abs(np.diff(losses, 2)))) if len(losses) > 2 else 0.0
    kept = away <= FAR_OFF * max(second, LEAST_NOISE * float(np.median(losses)))
    if kept.all():
        return kept, []
    where = [f"{step:,.0f}" for step in steps[~kept]]
    text = (
        f"{len(where)} loss{'es stand' if len(where) > 1 else ' stands'} far above "
        f"neighbors, at step {listed(where)}: left out, because the curve's law knows no spikes. "
        "A rise that lasts is kept, and counts against the course"
    )
    return kept, [note("spikes", text)]


def _unit_findings(column: str, losses: np.ndarray) -> list[Finding]:
    """Return a finding if the losses look like perplexities."""
    last = float(losses[-1])
    if last <= HIGHEST and not {"ppl", "perplexity"} & set(re.split(r"[^a-z]+", column.lower())):
        return []
    text = (
        f"{column!r} ends at {three_digits(last)}: if that is a perplexity, watch its logarithm, "
        "which is the loss in nats per token that the curve's law describes"
    )
    return [note("perplexity", text)]


def _ending_findings(last_row: float, steps: np.ndarray) -> list[Finding]:
    """Return a finding if the log goes on without a loss."""
    usual = float(np.median(np.diff(steps))) if len(steps) > 1 else np.inf
    if last_row - steps[-1] <= 2 * usual:
        return []
    text = (
        f"no loss after step {steps[-1]:,.0f}, although the log goes on to step {last_row:,.0f}: "
        "it was not logged there, or the run has diverged to NaN, which this answer does not take "
        "into account"
    )
    return [note("no_loss_at_the_end", text)]


def gap_findings(history: History, schedule: Schedule) -> list[Finding]:
    """Return a finding if a long part of the run has no loss."""
    gaps = np.diff(history.steps)
    if not len(gaps) or gaps.max() <= max(GAP * schedule.last_step, 5 * np.median(gaps)):
        return []
    i = int(gaps.argmax())
    first, last = history.steps[i], history.steps[i + 1]
    text = f"no loss between step {first:,.0f} and {last:,.0f}, so a departure there is seen late"
    return [note("gap", text)]
