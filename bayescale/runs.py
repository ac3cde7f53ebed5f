"""Runs: a run log read, checked and put in raw units.

Bad input is never fixed, dropped or guessed. Everything wrong with a log is told at once,
and every row that the caller asks to leave out is listed with its reason.
"""

import csv
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from bayescale.errors import RunLogError, UnitError, collected, listed
from bayescale.laws import Law
from bayescale.units import unit_factor

SCALES = ("params", "tokens", "flops")
NUMBERS = (*SCALES, "loss", "loss_se", "unique_tokens", "epochs")
LABELS = ("family", "run_id")

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": ("n", "n_params", "num_params", "parameters", "num_parameters", "model_size"),
        "tokens": ("d", "n_tokens", "num_tokens", "training_tokens", "train_tokens"),
        "flops": ("c", "flop", "compute", "training_flop", "training_flops", "train_flops"),
        "loss": ("l", "final_loss", "val_loss", "validation_loss", "eval_loss", "test_loss"),
        "loss_se": ("loss_stderr", "loss_std_err", "loss_standard_error"),
        "family": ("model_family", "group"),
        "unique_tokens": ("unique", "tokens_unique"),
        "epochs": ("n_epochs", "num_epochs"),
        "run_id": ("run", "name", "run_name", "id"),
    }
)
"""Column names understood beside the canonical ones; case, spaces and dashes do not matter."""

MOST_NATS = 15.0  # above the log of any vocabulary in use, so not nats per token
FLOPS_TOLERANCE = 0.2
WRONG_UNIT_FACTOR = 100.0  # 6 N D is off by less than this under any convention of counting
LARGE_RUN = MappingProxyType({"flops": 1e19, "params": 3e8, "tokens": 6e9})
LARGE_RUN_MOST_NATS = 4.5
SMALLEST = MappingProxyType({"params": 1e4, "tokens": 1e6, "flops": 1e12})
_MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none"})
_UNITS_HINT = MappingProxyType(
    {
        "params": "counts of parameters, such as 7e9; if they are in billions, say "
        "--unit params=1e9",
        "tokens": "counts of tokens, such as 1.4e12; if they are in billions, say "
        "--unit tokens=1e9",
        "flops": "FLOP, such as 5.76e23; if they are in PF-days, say --unit flops=PF-day",
    }
)


class Note(NamedTuple):
    """Something the user should know: a stable code and a sentence."""

    code: str
    text: str


class LeftOut(NamedTuple):
    """A row that is not among the runs, and why."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Runs:
    """Training runs in raw units, with the record of how they were read.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row a run: ``run_id``, ``loss`` (nats per token) and those of ``params``,
        ``tokens``, ``flops`` (raw counts, FLOP), ``loss_se``, ``family``, ``unique_tokens``,
        ``epochs`` that the log has. Numbers are float64. Not to be changed.
    columns : mapping of str to str
        For each column, where its values come from.
    dropped : tuple of LeftOut
        Rows left out on request.
    warnings : tuple of Note
        What was noticed while reading.
    source : str
        The file's name, or ``DataFrame``.
    """

    frame: pd.DataFrame
    columns: Mapping[str, str]
    dropped: tuple[LeftOut, ...] = ()
    warnings: tuple[Note, ...] = ()
    source: str = "DataFrame"
    _arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    def __contains__(self, column: str) -> bool:
        return column in self.frame.columns

    def __getitem__(self, column: str) -> np.ndarray:
        """A column as an array of shape (run,), which cannot be written to."""
        if column not in self._arrays:
            if column not in self:
                raise RunLogError(
                    f"{self.source} has no {column}: it has {', '.join(self.frame.columns)}"
                )
            values = self.frame[column].to_numpy(
                dtype=float if column in NUMBERS else object, copy=True
            )
            values.flags.writeable = False
            self._arrays[column] = values
        return self._arrays[column]

    @property
    def digest(self) -> str:
        """SHA-256 of the runs' values, whatever file they came from."""
        record = {
            name: [repr(value) for value in self[name].tolist()]
            for name in sorted(self.frame.columns)
        }
        return hashlib.sha256(json.dumps(record).encode()).hexdigest()

    def to_frame(self) -> pd.DataFrame:
        """A copy of the runs, for the caller to do with as they like."""
        return self.frame.copy()

    def take(
        self, keep: Callable[[pd.DataFrame], Any] | Sequence[bool] | np.ndarray, reason: str = ""
    ) -> "Runs":
        """The runs for which ``keep`` is true; the others are listed as left out.

        Parameters
        ----------
        keep : callable or array of bool, shape (run,)
            A mask, or a function from the frame to one.
        reason : str
            Why the others are left out.
        """
        mask = np.asarray(keep(self.frame) if callable(keep) else keep, dtype=bool)
        if mask.shape != (len(self),):
            raise RunLogError(f"the mask has shape {mask.shape}, but there are {len(self)} runs")
        left = [
            LeftOut(str(run), reason or "not among the runs taken")
            for run in self.frame.loc[~mask, "run_id"]
        ]
        frame = self.frame.loc[mask].reset_index(drop=True)
        return replace(self, frame=frame, dropped=(*self.dropped, *left), _arrays={})

    def __str__(self) -> str:
        sizes = [
            f"{name} {self[name].min():.3g} to {self[name].max():.3g}"
            for name in (*SCALES, "loss")
            if name in self
        ]
        return f"{len(self)} runs from {self.source}: {', '.join(sizes)}"


def read_runs(
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    exclude: Mapping[str, str] | None = None,
    missing: Literal["error", "drop", "keep"] = "error",
) -> Runs:
    """Read a run log: one row a finished training run.

    Parameters
    ----------
    source : path or pandas.DataFrame
        CSV, Parquet or JSON lines (``.csv``, ``.parquet``, ``.jsonl``), or a frame.
    columns : mapping, optional
        Names that differ from ours and the usual aliases: ``{"tokens": "my_column"}``.
    units : mapping, optional
        Units that differ from raw counts, FLOP and nats: ``{"tokens": "1e9"}``,
        ``{"flops": "PF-day"}``, ``{"loss": "bits"}``, ``{"loss": "perplexity"}``. Naming a
        unit, even ``1``, also says that small numbers are meant.
    exclude : mapping, optional
        Rows to leave out: ``{"suspect": "1"}``; compared as numbers where both are.
    missing : {"error", "drop", "keep"}
        What to do with rows that lack a value: refuse the log; leave them out, listed; or
        keep those that lack a scale (params, tokens or flops), for laws that need another.

    Returns
    -------
    Runs
        With ``flops = 6 * params * tokens`` where the log has no such column.

    Raises
    ------
    RunLogError, UnitError
        With every problem of the log at once, naming values and rows. Rows count from 1
        without the header.

    Examples
    --------
    >>> log = pd.DataFrame({"N": [1e9, 2e9], "D": [2e10, 4e10], "loss": [2.9, 2.6]})
    >>> read_runs(log)["flops"]
    array([1.2e+20, 4.8e+20])
    """
    raw, name = _load(source)
    units = dict(units or {})
    mapping = _map_columns(raw, dict(columns or {}), units, name)
    raw, dropped = _exclude(raw, mapping, dict(exclude or {}), name)
    ids = _run_ids(raw, mapping)

    problems: list[str] = []
    values: dict[str, np.ndarray] = {}
    for column in NUMBERS:
        if column in mapping:
            values[column] = _numbers(raw[mapping[column]], column, mapping[column], ids, problems)
    labels = {c: raw[mapping[c]].astype(object) for c in LABELS if c in mapping}

    lacking = _lacking(values, labels, len(raw))
    keep = np.ones(len(raw), dtype=bool)
    for column, rows in lacking.items():
        if missing == "drop":
            keep &= ~rows
            dropped += [LeftOut(ids[i], f"{column} is missing") for i in np.flatnonzero(rows)]
        elif rows.any() and not (missing == "keep" and column in SCALES):
            problems.append(_missing_problem(column, mapping[column], rows, ids))
    problems += _value_problems(values, mapping, ids, keep)
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))

    source_of = {column: f"column {header!r}" for column, header in mapping.items()}
    _convert(values, units, source_of)
    frame = pd.DataFrame({"run_id": ids} | values)
    if "family" in labels:
        frame["family"] = [str(value) for value in labels["family"]]
    frame = frame.loc[keep].reset_index(drop=True)
    if "flops" not in frame and {"params", "tokens"} <= set(frame.columns):
        frame["flops"] = 6.0 * frame["params"] * frame["tokens"]
        source_of["flops"] = "6 * params * tokens"
    problems = [*_plausibility_problems(frame, units), *_repeat_problems(frame)]
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))
    return Runs(
        frame=frame,
        columns=MappingProxyType(source_of),
        dropped=tuple(dropped),
        warnings=tuple(_notes(frame, source_of)),
        source=name,
    )


def require_runs_for(law: Law, runs: Runs) -> None:
    """Check that a law can be fitted to these runs.

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
            problems.append(
                f"it has no {name}: name the column with --column {name}=HEADER, or choose a law "
                "of what it has"
            )
            continue
        values = runs[name]
        lacking = np.isnan(values)
        if lacking.any():
            rows = listed(runs["run_id"][lacking])
            problems.append(
                f"{name} is missing for {rows}: leave such runs out with --missing drop, or "
                "choose a law that does not need it"
            )
        elif np.ptp(np.log(values)) < 1e-3:
            problems.append(
                f"all {len(runs)} runs have one size, {name} = {values[0]:.6g}, so nothing can be "
                f"learned of how loss depends on {name}: add runs of another size"
                + ("" if len(law.inputs) == 1 else ", or choose a law of what varies")
            )
    if problems:
        raise RunLogError(
            collected(f"law {law.name!r} cannot be fitted to {runs.source}:", problems)
        )


# reading files


def _load(source: str | Path | pd.DataFrame) -> tuple[pd.DataFrame, str]:
    if isinstance(source, pd.DataFrame):
        raw, name = source.reset_index(drop=True), "DataFrame"
        _refuse_repeated([str(c) for c in raw.columns], name)
        raw.columns = [str(c) for c in raw.columns]
    else:
        path = Path(source)
        name = path.name
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise RunLogError(f"run log {str(path)!r} {what}: give a .csv, .parquet or .jsonl file")
        if path.stat().st_size == 0:
            raise RunLogError(f"{name} is empty: a run log has a header and one row a run")
        readers = {".csv": _csv, ".parquet": _parquet, ".jsonl": _json_lines}
        reader = readers.get(path.suffix.lower())
        if reader is None:
            raise RunLogError(
                f"{name} ends in {path.suffix or 'nothing'!r}: run logs are read from .csv, "
                ".parquet and .jsonl (JSON lines) files"
            )
        raw = reader(path)
    if raw.empty:
        raise RunLogError(f"{name} has a header but no rows: a run log has one row a run")
    return raw, name


def _text(path: Path, what: str) -> str:
    data = path.read_bytes()
    binary = {b"PAR1": "Parquet", b"PK\x03\x04": "Excel or zip", b"\x1f\x8b": "gzip"}
    for magic, kind in binary.items():
        if data.startswith(magic):
            raise RunLogError(f"{path.name} is not {what} but {kind} inside: name it accordingly")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RunLogError(
            f"{path.name} is not {what}: byte {error.start} is not UTF-8 text"
        ) from None
    if "\0" in text:
        raise RunLogError(f"{path.name} is not {what}: it holds binary data")
    if not text.strip():
        raise RunLogError(f"{path.name} is empty: a run log has a header and one row a run")
    return text


def _csv(path: Path) -> pd.DataFrame:
    text = _text(path, "CSV")
    first = text.lstrip()[0]
    if first in "{[<":
        kind = "HTML or XML" if first == "<" else "JSON"
        raise RunLogError(f"{path.name} is not CSV but {kind} inside: name it accordingly")
    rows = [row for row in csv.reader(text.splitlines()) if row]
    header = [cell.strip() for cell in rows[0]]
    _refuse_repeated(header, path.name)
    if len(header) == 1:
        for mark, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if mark in header[0]:
                raise RunLogError(f"{path.name} is separated by {word}: use commas")
    uneven = [
        f"row {i} has {len(row)}" for i, row in enumerate(rows[1:], 1) if len(row) != len(header)
    ]
    if uneven:
        raise RunLogError(
            f"{path.name} has {len(header)} columns, but {listed(uneven)}: write as many cells as "
            "the header has, and quote cells that hold commas"
        )
    return pd.DataFrame(rows[1:], columns=header, dtype=object)


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.read_bytes()[:4] == b"PAR1":
        raise RunLogError(
            f"{path.name} is not a Parquet file: name it for what it is, or rewrite it"
        )
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise RunLogError(f"{path.name} is a damaged Parquet file: {error}") from None
    _refuse_repeated(table.column_names, path.name)
    return table.to_pandas()


def _json_lines(path: Path) -> pd.DataFrame:
    records = []
    lines = [line for line in _text(path, "JSON lines").splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line, object_pairs_hook=list)
        except (json.JSONDecodeError, RecursionError) as error:
            raise RunLogError(
                f"{path.name} is not JSON lines: row {number} is not a JSON object ({error}); "
                "write one object a line"
            ) from None
        if not (isinstance(record, list) and line.lstrip().startswith("{")):
            raise RunLogError(
                f"{path.name} is not JSON lines: row {number} is not a JSON object; write one "
                "object a line"
            )
        _refuse_repeated([key for key, _ in record], f"{path.name} row {number}")
        records.append(dict(record))
    return pd.DataFrame(records, dtype=object)


def _refuse_repeated(header: Sequence[str], name: str) -> None:
    repeated = sorted({column for column in header if list(header).count(column) > 1})
    if repeated:
        raise RunLogError(
            f"{name} has more than one column named {listed(map(repr, repeated))}: rename or "
            "remove all but one"
        )


# columns


def _canonical(header: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in header.lower()).split())


def _map_columns(
    raw: pd.DataFrame, chosen: dict[str, str], units: dict[str, str], name: str
) -> dict[str, str]:
    known = (*NUMBERS, *LABELS)
    problems = [
        f"column {column!r} is not one of {', '.join(known)}"
        for column in {**chosen, **units}
        if column not in known
    ]
    problems += [
        f"column {header!r}, named for {column}, is not there; it has {listed(raw.columns, 20)}"
        for column, header in chosen.items()
        if header not in raw.columns
    ]
    mapping = {c: h for c, h in chosen.items() if c in known and h in raw.columns}
    for column in known:
        if column in mapping:
            continue
        exact = [h for h in raw.columns if _canonical(h) == column]
        found = exact or [h for h in raw.columns if _canonical(h) in ALIASES[column]]
        found = [h for h in found if h not in mapping.values()]
        if len(found) > 1:
            problems.append(
                f"columns {listed(map(repr, found))} could each be {column}: choose with "
                f"--column {column}=HEADER"
            )
        elif found:
            mapping[column] = found[0]
    for column, unit in units.items():
        if column in known and column not in mapping:
            problems.append(f"a unit is named for {column}, which the log does not have")
        elif column in known and not (column == "loss" and unit.lower() == "perplexity"):
            try:
                unit_factor(column, unit)
            except UnitError as error:
                problems.append(str(error))
    if "loss" not in mapping and not any("be loss" in p or "for loss" in p for p in problems):
        problems.append(
            f"it has no loss among its columns {listed(raw.columns, 20)}: name it with "
            "--column loss=HEADER"
        )
    if not any(column in mapping for column in SCALES):
        problems.append(
            "it has none of params, tokens and flops: name at least one with, for example, "
            "--column params=HEADER"
        )
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))
    return mapping


def _exclude(
    raw: pd.DataFrame, mapping: dict[str, str], exclude: dict[str, str], name: str
) -> tuple[pd.DataFrame, list[LeftOut]]:
    keep = np.ones(len(raw), dtype=bool)
    ids = _run_ids(raw, mapping)
    dropped: list[LeftOut] = []
    for column, wanted in exclude.items():
        header = mapping.get(column, column)
        if header not in raw.columns:
            raise RunLogError(f"{name} has no column {column!r} to exclude runs by")
        hits = np.array([_same(value, wanted) for value in raw[header]])
        dropped += [
            LeftOut(ids[i], f"{column} = {wanted}, excluded on request")
            for i in np.flatnonzero(hits & keep)
        ]
        keep &= ~hits
    if not keep.any():
        raise RunLogError(f"{name} has no rows left: all {len(raw)} are excluded on request")
    return raw.loc[keep].reset_index(drop=True), dropped


def _same(value: Any, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value).strip() == str(wanted).strip()


def _run_ids(raw: pd.DataFrame, mapping: dict[str, str]) -> list[str]:
    if "run_id" not in mapping:
        return [f"row {i}" for i in range(1, len(raw) + 1)]
    return [
        f"row {i}" if _is_missing(value) else str(value).strip()
        for i, value in enumerate(raw[mapping["run_id"]], 1)
    ]


# values


def _is_missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, str):
        return value.strip().lower() in _MISSING_WORDS
    return isinstance(value, float | np.floating) and math.isnan(value)


def _where(rows: Sequence[int] | np.ndarray, ids: list[str], values: Any = None) -> str:
    def place(i: int) -> str:
        run = ids[i] if ids[i] == f"row {i + 1}" else f"row {i + 1} ({ids[i]})"
        return run if values is None else f"{values[i]!r} in {run}"

    return listed(place(int(i)) for i in rows)


def _numbers(
    cells: pd.Series, column: str, header: str, ids: list[str], problems: list[str]
) -> np.ndarray:
    values = np.full(len(cells), np.nan)
    texts, given = [], cells.tolist()
    for i, cell in enumerate(given):
        if _is_missing(cell):
            continue
        try:
            if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):
                raise ValueError
            values[i] = float(cell)
        except (TypeError, ValueError):
            texts.append(i)
        except OverflowError:
            values[i] = math.inf
    if texts:
        problems.append(
            f"{_named(column, header)} has text in place of numbers: "
            f"{_where(texts, ids, given)}; write plain numbers such as 1.4e12"
        )
        values[texts] = 1.0  # named once, as text, and not again as missing
    return values


def _named(column: str, header: str) -> str:
    return column if header == column else f"{column} (column {header!r})"


def _lacking(
    values: dict[str, np.ndarray], labels: dict[str, pd.Series], n: int
) -> dict[str, np.ndarray]:
    lacking = {column: np.isnan(array) for column, array in values.items()}
    if "family" in labels:
        lacking["family"] = np.array([_is_missing(v) for v in labels["family"]], dtype=bool)
    return {column: rows for column, rows in lacking.items() if rows.any()}


def _missing_problem(column: str, header: str, rows: np.ndarray, ids: list[str]) -> str:
    keep = " or keep them for laws that do not need it with --missing keep"
    return (
        f"{_named(column, header)} is missing in {_where(np.flatnonzero(rows), ids)}: fill it in, "
        f"leave such rows out with --missing drop{keep if column in SCALES else ''}"
    )


def _value_problems(
    values: dict[str, np.ndarray], mapping: dict[str, str], ids: list[str], keep: np.ndarray
) -> list[str]:
    problems = []
    for column, array in values.items():
        infinite = np.flatnonzero(np.isinf(array) & keep)
        low = (array < 0) if column == "loss_se" else (array <= 0)
        wrong = np.flatnonzero(low & np.isfinite(array) & keep)
        label = _named(column, mapping[column])
        if infinite.size:
            problems.append(
                f"{label} is infinite: {_where(infinite, ids, array.tolist())}; correct it or "
                "leave such runs out of the log"
            )
        if wrong.size:
            needed = "must not be negative" if column == "loss_se" else "must be greater than zero"
            problems.append(f"{label} {needed}: {_where(wrong, ids, array.tolist())}")
    return problems


def _convert(
    values: dict[str, np.ndarray], units: dict[str, str], source_of: dict[str, str]
) -> None:
    perplexity = units.get("loss", "").lower() == "perplexity"
    for column, unit in units.items():
        source_of[column] += f" in {unit}"
        if not (column == "loss" and perplexity):
            values[column] = values[column] * unit_factor(column, unit)
    if perplexity:
        if "loss_se" in values and "loss_se" not in units:
            values["loss_se"] = values["loss_se"] / values["loss"]
        values["loss"] = np.log(values["loss"])
    elif "loss" in units and "loss_se" in values and "loss_se" not in units:
        values["loss_se"] = values["loss_se"] * unit_factor("loss", units["loss"])


def _plausibility_problems(frame: pd.DataFrame, units: dict[str, str]) -> list[str]:
    problems = []
    ids = list(frame["run_id"])
    loss = frame["loss"].to_numpy()
    high = np.flatnonzero(loss > MOST_NATS)
    if high.size:
        problems.append(
            f"loss is above {MOST_NATS:g} in {len(high)} of {len(loss)} runs, "
            f"{_where(high, ids, loss.tolist())}: that is not nats per token; if it is "
            "perplexity, say --unit loss=perplexity"
        )
    elif "loss" not in units:
        column, large = next((c, v) for c, v in LARGE_RUN.items() if c in frame)
        losses = frame.loc[frame[column] >= large, "loss"]
        if len(losses) and losses.median() > LARGE_RUN_MOST_NATS:
            problems.append(
                f"the median loss of the {len(losses)} runs with {column} of {large:g} or more is "
                f"{losses.median():.3g}, where language models reach below 4 nats per token; if "
                "it is perplexity, say --unit loss=perplexity; if nats are meant, --unit loss=nats"
            )
    for column, smallest in SMALLEST.items():
        if column not in frame or column in units:
            continue
        array = frame[column].to_numpy()
        low = np.flatnonzero(array < smallest)
        if low.size:
            problems.append(
                f"{column} is below {smallest:g} in {len(low)} of {len(array)} runs, "
                f"{_where(low, ids, array.tolist())}: raw {_UNITS_HINT[column]}; if they are "
                f"meant, say --unit {column}=1"
            )
    if not problems and {"params", "tokens", "flops"} <= set(frame.columns):
        ratio = (frame["flops"] / (6.0 * frame["params"] * frame["tokens"])).median()
        if ratio > WRONG_UNIT_FACTOR or ratio < 1 / WRONG_UNIT_FACTOR:
            problems.append(
                f"flops is {ratio:.3g} times 6 * params * tokens (median), so one of the three is "
                "in another unit: state it with --unit, for example --unit tokens=1e9"
            )
    return problems


def _repeat_problems(frame: pd.DataFrame) -> list[str]:
    problems = []
    repeated_ids = frame.loc[frame["run_id"].duplicated(), "run_id"].unique()
    if len(repeated_ids):
        problems.append(
            f"run_id {listed(map(repr, repeated_ids))} stands for more than one run: give each "
            "run its own"
        )
    values = [c for c in frame.columns if c != "run_id"]
    again = frame.duplicated(subset=values, keep="first")
    if again.any():
        first = frame.loc[frame.duplicated(subset=values, keep=False) & ~again, "run_id"]
        problems.append(
            f"{int(again.sum())} runs repeat an earlier one in every value: "
            f"{listed(frame.loc[again, 'run_id'])} (the first is {first.iloc[0]}); a run counted "
            "twice makes the fit too sure, so remove the copies"
        )
    return problems


def _notes(frame: pd.DataFrame, source_of: dict[str, str]) -> list[Note]:
    notes = []
    if source_of.get("flops") == "6 * params * tokens":
        notes.append(Note("flops_derived", "flops is not in the log; taken as 6 * params * tokens"))
    elif {"params", "tokens", "flops"} <= set(frame.columns):
        ratio = (frame["flops"] / (6.0 * frame["params"] * frame["tokens"])).dropna()
        off = (ratio > 1 + FLOPS_TOLERANCE) | (ratio < 1 / (1 + FLOPS_TOLERANCE))
        if off.any():
            notes.append(
                Note(
                    "flops_convention",
                    f"flops differs from 6 * params * tokens by more than {FLOPS_TOLERANCE:.0%} in "
                    f"{int(off.sum())} of {len(ratio)} runs: their ratio goes from "
                    f"{ratio.min():.3g} to {ratio.max():.3g}, median {ratio.median():.3g}; "
                    "check how compute, embeddings and repeated data were counted",
                )
            )
    return notes
