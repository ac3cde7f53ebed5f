"""The run log as an immutable value: training runs in raw units, and how they were read."""

import hashlib
import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.conventions import SIX_ND, Conventions, FlopCount
from bayescale.conventions.configuration import SIZES, SWITCHES
from bayescale.errors import (
    RunLogError,
    argument,
    collected,
    did_you_mean,
    listed,
    nearest,
    shortened,
)
from bayescale.findings import Finding
from bayescale.laws import Law

SCALES = ("params", "tokens", "flops")
ERRORS = ("loss_se", *(f"{scale}_se" for scale in SCALES))
"""Standard errors: of the loss in nats, of scales in e-folds; zero for exact numbers."""

NUMBERS = (
    *SCALES, "loss", *ERRORS, "loss_step", "unique_tokens", "epochs", "kept_fraction", "lm_loss",
    "steps", "params_no_embed",
)  # fmt: skip
SHAPES = (*SIZES, *SWITCHES)
"""Columns of the model's configuration, which laws do not need and rows may lack."""

NOTHING_STATED = Conventions()

LABELS = ("family", "isoflop", "run_id", "run", "schedule_complete")

HELPERS = ("tokens_per_param", "batch_size", "batch_tokens")
"""Numbers from which a scale may follow, and which are not kept as columns of runs."""


_SHOWN = 5  # the number of runs shown in a notebook


class LeftOut(NamedTuple):
    """A row that is not among the runs, and why."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Runs:
    """Training runs in raw units, and how they were read.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row per run: ``run_id``, ``loss`` (nats per token), and the following columns if the log
        has them: ``params``, ``tokens``, ``flops`` (raw counts, FLOP), ``loss_se`` (standard
        error), ``params_se``, ``tokens_se``, ``flops_se`` (standard errors of their logs),
        ``loss_step`` (the rounding of losses, nats), ``family``, ``isoflop`` (which runs share a
        budget; empty for none), ``run`` (which rows are checkpoints of one training run),
        ``schedule_complete`` (yes or no), ``steps``, ``unique_tokens``, ``epochs``,
        ``kept_fraction``, ``lm_loss``, ``params_no_embed`` (a second count, without embeddings) and
        the model's configuration (see :class:`Configuration`). Numbers are float64. Do not change
        the frame.
    columns : mapping of str to str
        The origin of each column's values.
    dropped : tuple of LeftOut
        Rows left out on request.
    warnings : tuple of Finding
        Warnings from reading the log.
    source : str
        The file's name, or ``DataFrame``.
    conventions : Conventions
        The stated conventions of params, compute and losses.
    flop_count : FlopCount
        How the log counts compute, and so how budgets are counted. It is that of the whole log,
        also for a selection of its runs.
    unused : tuple of str
        Columns of the file that were not read, each with a text on its values: ``arch (2 values)``.
    others : pandas.DataFrame
        Cells of those columns, one row per run, from which :func:`bayescale.runs.with_inputs` reads
        further inputs of a law. Empty for runs from a posterior file.
    """

    frame: pd.DataFrame
    columns: Mapping[str, str]
    dropped: tuple[LeftOut, ...] = ()
    warnings: tuple[Finding, ...] = ()
    source: str = "DataFrame"
    conventions: Conventions = NOTHING_STATED
    flop_count: FlopCount = SIX_ND
    unused: tuple[str, ...] = ()
    others: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    _arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    def __contains__(self, column: str) -> bool:
        return column in self.frame.columns

    def __getitem__(self, column: str) -> np.ndarray:
        """Return a column as a read-only array of shape (run,)."""
        if column not in self._arrays:
            if column not in self:
                raise RunLogError(
                    f"{self.source} has no {column}: it has {', '.join(self.frame.columns)}"
                    f"{did_you_mean(column, self.frame.columns)}"
                )
            cells = self.frame[column]
            is_number = column in (*NUMBERS, *SHAPES) or cells.dtype.kind == "f"
            values = cells.to_numpy(dtype=float if is_number else object, copy=True)
            values.flags.writeable = False
            self._arrays[column] = values
        return self._arrays[column]

    def __getstate__(self) -> dict[str, Any]:  # a mapping proxy does not pickle
        return self.__dict__ | {"columns": dict(self.columns), "_arrays": {}}

    @property
    def digest(self) -> str:
        """SHA-256 of the runs' values, whatever file they came from."""
        record = {
            name: [repr(value) for value in self[name].tolist()]
            for name in sorted(self.frame.columns)
        }
        return hashlib.sha256(json.dumps(record).encode()).hexdigest()

    @property
    def has_checkpoints(self) -> bool:
        """Whether several rows belong to one training run."""
        return "run" in self and len(np.unique(self["run"])) < len(self)

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the frame, which the caller may change."""
        return self.frame.copy()

    def take(
        self, keep: Callable[[pd.DataFrame], Any] | Sequence[bool] | np.ndarray, reason: str = ""
    ) -> "Runs":
        """Return the runs for which ``keep`` is true; the others are listed as left out.

        Parameters
        ----------
        keep : callable or array of bool, shape (run,)
            A mask, or a function that returns one for the frame.
        reason : str
            Why the other runs are left out.
        """
        mask = np.asarray(keep(self.frame) if callable(keep) else keep, dtype=bool)
        if mask.shape != (len(self),):
            raise RunLogError(
                f"`keep=` has shape {mask.shape}, but there are {len(self)} runs: give one value "
                "for each"
            )
        left = [
            LeftOut(str(run), reason or "not among the runs taken")
            for run in self.frame.loc[~mask, "run_id"]
        ]
        frame, others = (
            table.loc[mask].reset_index(drop=True) if len(table) else table
            for table in (self.frame, self.others)
        )
        dropped = (*self.dropped, *left)
        return replace(self, frame=frame, dropped=dropped, others=others, _arrays={})

    def __repr__(self) -> str:
        return f"<Runs: {shortened(str(self))}>"

    def _repr_html_(self) -> str:
        """Show the first runs, and the warnings from reading the log."""
        names = [name for name in ("run_id", *SCALES, "loss", "family") if name in self]
        first = self.frame[names].head(_SHOWN)
        table = first.to_html(index=False, float_format="{:.4g}".format, border=0)
        more = len(self) - len(first)
        lines = [f"and {more} more"] if more > 0 else []
        lines += [f"Note ({found.code}): {found.text}" for found in self.warnings]
        below = "<br>".join(map(html.escape, lines))
        return f"<p>{html.escape(str(self))}</p>{table}<p>{below}</p>"

    def __str__(self) -> str:
        sizes = [
            f"{name} {np.nanmin(self[name]):.3g} to {np.nanmax(self[name]):.3g}"
            for name in (*SCALES, "loss")
            if name in self
        ]
        return f"{len(self):,} runs from {self.source}: {', '.join(sizes)}"


def require_runs_for(law: Law, runs: Runs) -> None:
    """Refuse runs to which a law cannot be fitted.

    Raises
    ------
    RunLogError
        If there are fewer than two runs, an input of the law is absent or incomplete, or all
        runs have one size of an input.
    """
    if len(runs) < 2:
        raise RunLogError(
            f"{runs.source} holds {len(runs)} run{'' if len(runs) == 1 else 's'}, and a law of "
            "scale needs at least two of different size: add runs"
        )
    problems = []
    for name in law.inputs:
        if name not in runs:
            near = nearest(name, runs.others)
            column = argument("columns", **{name: near or "HEADER"})
            problems.append(
                f"it has no {name}: name its column with {column}, or choose a law of what it has"
            )
            continue
        values = runs[name]
        if values.dtype.kind != "f" or (values <= 0).any():
            problems.append(f"{name} holds something else than numbers above zero: correct it")
            continue
        lacking = np.isnan(values)
        if lacking.any():
            rows = listed(runs["run_id"][lacking])
            problems.append(
                f"{name} is missing for {rows}: leave such runs out with `missing='drop'`, or "
                "choose a law that does not need it"
            )
        elif np.ptp(np.log(values)) < 1e-3:
            problems.append(
                f"all {len(runs)} runs have one size, {name} = {values[0]:.6g}, so nothing can be "
                f"learned about how loss depends on {name}: add runs of another size"
                + ("" if len(law.inputs) == 1 else ", or choose a law of what varies")
            )
    if problems:
        raise RunLogError(
            collected(f"law {law.name!r} cannot be fitted to {runs.source}:", problems)
        )
