"""A run log while it is read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from bayescale.conventions import UNKNOWN, Conventions, read_flop_count
from bayescale.errors import RunLogError, collected, listed
from bayescale.findings import Finding, Severity
from bayescale.runs.cells import holds, is_missing, named, where
from bayescale.runs.log import NOTHING_STATED, LeftOut, Runs
from bayescale.runs.options import ReadOptions

SET_ASIDE = "column_not_read"
"""The code of notes on known columns that cannot be read."""

Stated = dict[str, np.ndarray]
"""Each convention by row, shape (row,); ``unknown`` or NaN if a row does not state it."""


@dataclass(eq=False)
class Draft:
    """A run log while it is read: cells, rows to keep, numbers, and findings.

    The steps of :func:`bayescale.runs.read_runs` fill it in, and rules read it. Arrays have one
    item for each row of the file; ``frame`` has the kept rows in raw units, indexed by their place
    in the file. By column, ``headers`` has the file's header, ``sources`` where the values come
    from, and ``units`` the unit that the caller or a header states. ``ignored`` are headers that
    are not read on request, and ``used`` are further headers by which rows were chosen.
    """

    raw: pd.DataFrame
    name: str
    headers: dict[str, str]
    units: dict[str, str]
    options: ReadOptions = field(default_factory=ReadOptions)
    ignored: tuple[str, ...] = ()
    used: set[str] = field(default_factory=set)
    ids: list[str] = field(init=False)
    keep: np.ndarray = field(init=False)
    dropped: list[LeftOut] = field(default_factory=list)
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, np.ndarray] = field(default_factory=dict)
    helpers: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, list[Any]] = field(default_factory=dict)
    stated: Stated = field(default_factory=dict)
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)
    conventions: Conventions = NOTHING_STATED
    sources: dict[str, str] = field(init=False)
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = [f"row {i}" for i in range(1, len(self.raw) + 1)]
        if "run_id" in self.headers:
            cells = self.raw[self.headers["run_id"]]
            self.ids = [
                row if is_missing(cell) else str(cell).strip()
                for row, cell in zip(self.ids, cells, strict=True)
            ]
        self.keep = np.ones(len(self.raw), dtype=bool)
        self.sources = {column: self._source(column) for column in self.headers}

    def _source(self, column: str) -> str:
        stated = self.raw.get(f"{column}_from", pd.Series(dtype=object))
        texts = [text for text in map(str.strip, map(str, stated.dropna().unique())) if text]
        source = f"column {self.headers[column]!r}"
        return f"{source} ({listed(texts)})" if texts else source

    @property
    def unread(self) -> list[str]:
        """Headers that are not known columns and are not ignored on request."""
        known = {*self.headers.values(), *self.ignored}
        known |= {f"{column}_from" for column in self.headers}
        return [header for header in self.raw.columns if header not in known]

    @property
    def unread_cells(self) -> pd.DataFrame:
        """Cells of the kept rows under the unread headers."""
        return self.raw.loc[self.frame.index, self.unread]

    def where(
        self, rows: Iterable[int], values: Sequence[Any] | Mapping[Any, Any] | None = None
    ) -> str:
        """Return the places of rows as text, with their values if given."""
        return where(rows, self.ids, values)

    def places(self, rows: pd.Series, column: str) -> str:
        """Return the places and values of a mask's rows in a column as text; empty for no rows."""
        chosen = self.frame.index[rows]
        return self.where(chosen, self.frame[column].to_dict()) if len(chosen) else ""

    def named(self, column: str) -> str:
        """Return a column's name, with its header if that differs."""
        return named(column, self.headers[column])

    @property
    def loss_unit_is_stated(self) -> bool:
        """Whether the unit of the loss was stated for every run."""
        return "loss" in self.units or bool((self.stated["loss"][self.keep] != UNKNOWN).all())

    @property
    def stated_units(self) -> set[str]:
        """Columns whose units were stated."""
        return {*self.units, *(["loss"] if self.loss_unit_is_stated else [])}

    def leave_out(self, rows: np.ndarray, reason: str) -> None:
        """Leave out those rows of a mask that are still kept."""
        self.dropped += [LeftOut(self.ids[i], reason) for i in np.flatnonzero(rows & self.keep)]
        self.keep &= ~rows

    def stop(self, code: str, text: str) -> None:
        """Add a finding for which the log is refused."""
        self.findings.append(stop(code, text))

    def check(self, rules: "Iterable[Rule]") -> None:
        """Apply rules, and refuse the log if anything found so far stops it.

        Raises
        ------
        RunLogError
            With every finding that stops the log.
        """
        for rule in rules:
            self.findings += rule(self)
        problems = [found.text for found in self.findings if found.severity is Severity.STOPS]
        if problems:  # a column that was set aside may be the cause
            problems += [found.text for found in self.findings if found.code == SET_ASIDE]
            raise RunLogError(collected(f"{self.name} cannot be used:", problems))

    def runs(self) -> Runs:
        """Return the runs that were read."""
        return Runs(
            frame=self.frame.reset_index(drop=True),
            columns=MappingProxyType(self.sources),
            dropped=tuple(self.dropped),
            warnings=tuple(self.findings),
            source=self.name,
            conventions=self.conventions,
            flop_count=read_flop_count(self.frame),
            unused=self.unused(),
            others=self.others(),
        )

    def others(self) -> pd.DataFrame:
        """Return cells of kept rows in unread columns, and numbers that are not columns of runs."""
        cells = self.unread_cells
        helpers = {n: x[cells.index] for n, x in self.helpers.items() if n not in cells}
        return cells.assign(**helpers).reset_index(drop=True)

    def unused(self) -> tuple[str, ...]:
        """Return the columns that were not read, each with a text on its values."""
        kept = self.raw.loc[self.frame.index]
        return tuple(
            f"{header} ({holds(kept[header])})"
            for header in (*self.unread, *self.ignored)
            if header not in self.used
        )


Rule = Callable[[Draft], Iterable[Finding]]
"""A function that yields findings of one kind about a run log."""


def needs(*columns: str) -> Callable[[Rule], Rule]:
    """Apply a rule only to logs that have these columns."""

    def applied(rule: Rule) -> Rule:
        @wraps(rule)
        def applied_rule(draft: Draft) -> Iterable[Finding]:
            return rule(draft) if set(columns) <= set(draft.frame.columns) else ()

        return applied_rule

    return applied


def stop(code: str, text: str) -> Finding:
    """Make a finding for which a log is refused."""
    return Finding(code, Severity.STOPS, text)
