"""A sweep: runs of several sizes, each at several learning rates and batch sizes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bayescale.errors import RunLogError, argument, collected, listed
from bayescale.runs import Runs, as_runs, read_inputs
from bayescale.tuning.basis import Basis
from bayescale.tuning.card import TuningCard

FEWEST = 4
"""The fewest runs of a sweep that can be fitted."""

_MIXED_GAP, _MIXED_RANGE = 8.0, 1000.0
"""The gap between neighboring batch sizes, and the range of all, from which units seem mixed."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep in logs, relative to its centers.

    Attributes
    ----------
    runs : Runs
    batch : str or None
        The column of batch sizes; None if the log has none.
    cells : pandas.DataFrame
        One row per cell: ``params``, ``tokens``, ``n_runs``, ``best`` (index of its run with the
        lowest loss).
    cell : numpy.ndarray, shape (run,)
        Index of each run's cell.
    center : mapping of str to float
        Logs of the centers of params, tokens, lr and batch.
    """

    runs: Runs
    batch: str | None
    cells: pd.DataFrame
    cell: np.ndarray
    center: dict[str, float]

    @property
    def log_loss(self) -> np.ndarray:
        """Log losses, shape (run,)."""
        return np.log(self.runs["loss"])

    @property
    def settings(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Logs of learning rates and batch sizes relative to the center, shape (run,)."""
        lr = np.log(self.runs["lr"]) - self.center["lr"]
        if self.batch is None:
            return lr, None
        return lr, np.log(self.runs[self.batch]) - self.center["batch"]

    def places(self, params: Any, tokens: Any) -> tuple[Any, Any]:
        """Return logs of sizes relative to the center."""
        return (
            np.log(params) - self.center["params"],
            np.log(tokens) - self.center["tokens"],
        )

    @property
    def of_cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Logs of the cells' sizes relative to the center, shape (cell,)."""
        return self.places(self.cells["params"].to_numpy(), self.cells["tokens"].to_numpy())

    def basis(self, card: TuningCard) -> Basis:
        """Return the directions of the frontier for these cells."""
        lowest = self.log_loss[self.cells["best"].to_numpy()]
        return Basis(card, *self.of_cells, level=float(lowest.mean()))

    def take(self, keep: np.ndarray) -> "Sweep":
        """Return the sweep of the runs of a mask."""
        return _sweep(self.runs.take(keep), self.batch)


def read_sweep(source: Any) -> Sweep:
    """Return the sweep that a log holds: params, tokens, lr, and batch size if it has one.

    Raises
    ------
    RunLogError
        If a column is missing or constant, or batch sizes seem to be in two units.
    """
    runs = as_runs(source)
    batches = (name for name in ("batch_size", "batch_tokens") if name in _read(runs, name))
    batch = next(batches, None)
    inputs = ("params", "tokens", "lr", *([batch] if batch else []))
    runs = _read(runs, "lr", *([batch] if batch else []))
    problems = [
        f"it has no {name}: name its column with {argument('columns', **{name: 'HEADER'})}"
        for name in inputs
        if name not in runs
    ]
    problems += [
        f"{name} is missing for {listed(runs['run_id'][np.isnan(runs[name])])}: leave such runs "
        "out with `missing='drop'`"
        for name in ("params", "tokens")
        if name in runs and np.isnan(runs[name]).any()
    ]
    varied = [name for name in ("lr", batch) if name and name in runs]
    problems += [text for name in varied for text in _flat(runs, name)]
    if batch and batch in runs and (text := _mixed(runs[batch], batch)):
        problems.append(text)
    if len(runs) < FEWEST:
        problems.append(f"it has {len(runs)} runs, but a sweep needs at least {FEWEST}: add runs")
    if problems:
        raise RunLogError(collected(f"{runs.source} is not a sweep to tune from:", problems))
    return _sweep(runs, batch)


def _read(runs: Runs, *names: str) -> Runs:
    return read_inputs(runs, names, "learning rates cannot be tuned from")


def _flat(runs: Runs, name: str) -> list[str]:
    values = runs[name]
    if np.ptp(np.log(values)) >= 1e-3:
        return []
    if name == "lr":
        return [
            f"all runs have one learning rate, lr = {values[0]:.6g}, so nothing can be learned "
            "about the best one: train some runs at half and twice that rate"
        ]
    return [
        f"all runs have one {name}, {values[0]:.6g}, so nothing can be learned about the best one: "
        f"leave the column unread with `ignore='{name}'` to tune the learning rate alone, or train "
        "runs at another"
    ]


def _mixed(values: np.ndarray, name: str) -> str | None:
    """Return a problem if batch sizes form two groups, as if sequences and tokens were mixed."""
    ordered = np.unique(values)
    gaps = ordered[1:] / ordered[:-1]
    if not len(gaps) or gaps.max() < _MIXED_GAP or ordered[-1] / ordered[0] < _MIXED_RANGE:
        return None
    i = int(gaps.argmax())
    return (
        f"{name} runs up to {ordered[i]:.6g} in {int((values <= ordered[i]).sum())} runs and from "
        f"{ordered[i + 1]:.6g} in the others, as if sequences and tokens were mixed: state all in "
        "one unit"
    )


def _sweep(runs: Runs, batch: str | None) -> Sweep:
    sizes = np.column_stack([runs["params"], runs["tokens"]])
    unique, cell = np.unique(sizes, axis=0, return_inverse=True)
    cell = cell.ravel()
    loss = runs["loss"]
    best = [int(np.flatnonzero(cell == c)[loss[cell == c].argmin()]) for c in range(len(unique))]
    cells = pd.DataFrame(unique, columns=["params", "tokens"])
    cells = cells.assign(n_runs=np.bincount(cell), best=best)
    center = {name: float(np.log(cells[name]).mean()) for name in ("params", "tokens")}
    center["lr"] = float(np.log(runs["lr"]).mean())
    center["batch"] = float(np.log(runs[batch]).mean()) if batch else 0.0
    others = pd.DataFrame()
    return Sweep(replace(runs, others=others), batch, cells, cell, center)
