"""Tables of runs exported from the Weights & Biases page, and histories exported with them."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from bayescale.errors import RunLogError, TrackerError, listed
from bayescale.findings import Finding, note
from bayescale.runs.states import finished
from bayescale.runs.table import load_table
from bayescale.trackers.tracked import History, Tracked, TrackedRun, as_number, as_step
from bayescale.trackers.wandb_table import API_KEEPS, api_runs, is_api_table, last_points

KEEPS, SERIES = ("table.",), "history."
STEPS = ("_step", "Step", "step")
_ENDINGS = (".csv", ".jsonl", ".parquet")


def exported_runs(
    table: str | Path, history: str | Path | None, metrics: Sequence[str], *, last_only: bool
) -> Tracked:
    """Return the runs of an exported table; without histories it holds only their last values."""
    path = Path(table)
    try:
        cells, name, _ = load_table(path)
    except RunLogError as error:
        raise TrackerError(str(error)) from error
    source = f"Weights & Biases {name}"
    if is_api_table(cells):
        return Tracked(source, api_runs(cells, name, metrics), API_KEEPS, SERIES)
    if "Name" not in cells.columns:
        raise TrackerError(_no_names(source, name, cells))
    if history is None and not last_only:
        raise TrackerError(
            f"{source} holds last values alone, not those of a step or those that a mean is of: "
            "export the histories and name them with `history=`"
        )
    beside = None if history is None else Path(history)
    axis = _chart_axis(beside)
    return Tracked(source, _runs(cells, beside, metrics, axis), KEEPS, SERIES, _notes(beside, axis))


def _no_names(source: str, name: str, cells: pd.DataFrame) -> str:
    """Return a message about a table without a column Name."""
    if any(str(header).endswith("__MIN") for header in cells.columns):
        return (
            f"{source} is a chart, which has histories and no table of runs: export the table of "
            f"its runs too, and import that with `history={name!r}`"
        )
    return (
        f"{source} has no column Name, as a table of runs exported from Weights & Biases has; "
        f"it has {listed(cells.columns, 12)}. A run log needs no import: "
        "`bayescale.read_runs` reads it"
    )


def _chart_axis(history: Path | None) -> str:
    """Return the x axis of a chart, if that is not the step; empty for other histories."""
    if history is None or not history.is_file() or history.suffix.lower() != ".csv":
        return ""
    first, *others = _chart_headers(history) or ("",)
    is_chart = any(" - " in header for header in others) and " - " not in first
    return first if is_chart and first not in STEPS else ""


def _notes(history: Path | None, axis: str) -> tuple[Finding, ...]:
    if history is None or not axis:
        return ()
    text = f"steps are values of {axis!r}, the x axis of {history.name}"
    return (note("chart_axis", text),)


def _runs(
    cells: pd.DataFrame, history: Path | None, metrics: Sequence[str], axis: str
) -> Iterator[TrackedRun]:
    found = {} if history is None or history.is_file() else _files(history, cells)
    headers = _chart_headers(history) if history is not None and history.is_file() else ()
    for _, row in cells.iterrows():
        name = str(row["Name"]).strip()
        run_id = str(row.get("ID", name)).strip()
        state = str(row.get("State", "")).strip()
        if history is None:
            values = {metric: row.get(metric) for metric in metrics}
            histories, names = last_points(row.get("_step"), values), tuple(map(str, cells.columns))
        elif history.is_file():
            histories, names = _from_file(history, metrics, f"{name} - ", axis), headers
        else:
            file = found.get(run_id) or found.get(name)
            histories = {} if file is None else _from_file(file, metrics)
            names = ()
        yield TrackedRun(
            id=run_id,
            name=name,
            state=state,
            finished=finished(state) if state else None,
            places={f"table.{header}": value for header, value in row.items()},
            metrics=names,
            histories=histories,
        )


def _files(folder: Path, cells: pd.DataFrame) -> dict[str, Path]:
    if not folder.is_dir():
        raise TrackerError(f"history {str(folder)!r} does not exist: name a folder or a CSV file")
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _ENDINGS]
    known = {str(value).strip() for c in ("Name", "ID") if c in cells for value in cells[c]}
    strange = [path.name for path in paths if path.stem not in known]
    if strange:
        raise TrackerError(
            f"history {folder.name} has files of no run in the table: {listed(strange)}; call a "
            "file by the Name or the ID of its run, or take it out of the folder"
        )
    twice = sorted({p.stem for p in paths if sum(q.stem == p.stem for q in paths) > 1})
    if twice:
        raise TrackerError(
            f"history {folder.name} has more than one file for {listed(map(repr, twice))}: leave "
            "one of them"
        )
    return {path.stem: path for path in paths}


def _from_file(
    path: Path, metrics: Sequence[str], prefix: str = "", axis: str = ""
) -> dict[str, History]:
    histories = {}
    for metric in metrics:
        name = metric if axis and metric == axis else f"{prefix}{metric}"
        history = History.of(_points(path, name, axis))
        if len(history.steps):
            histories[metric] = history
    return histories


def _points(path: Path, metric: str, axis: str = "") -> Iterator[tuple[int, float]]:
    rows = {".csv": _csv_rows, ".jsonl": _json_rows, ".parquet": _parquet_rows}
    for number, row in enumerate(rows[path.suffix.lower()](path, metric), 1):
        value = as_number(row.get(metric))
        if value is None:
            continue  # another metric's row
        names = (axis,) if axis else STEPS
        step = next((as_step(row[name]) for name in names if name in row), None)
        if step is None:
            again = "; export the chart over Step" if axis else ""
            raise TrackerError(
                f"{path.name} has no step in row {number}: it needs a column {axis or '_step'} of "
                f"whole numbers{again}"
            )
        yield step, value


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """Open a text file, and raise a TrackerError if it is not text."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            yield stream
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrackerError(f"{path.name} is damaged, or not text: {error}") from error


def _csv_rows(path: Path, metric: str) -> Iterator[dict[str, Any]]:
    with _text(path) as stream:
        csv.field_size_limit(max(path.stat().st_size, csv.field_size_limit()))
        reader = csv.DictReader(stream)
        for row in reader:
            if None in row or None in row.values():
                raise TrackerError(
                    f"{path.name} is uneven or cut short at line {reader.line_num}: write as many "
                    "cells as the header has"
                )
            yield {key: cell for key, cell in row.items() if cell != ""}


def _json_rows(path: Path, metric: str) -> Iterator[dict[str, Any]]:
    with _text(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("it is not an object")
            except (ValueError, RecursionError) as error:
                raise TrackerError(
                    f"{path.name} is cut short or not JSON lines at line {number}: {error}"
                ) from error
            yield row


def _parquet_rows(path: Path, metric: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            wanted = [c for c in (*STEPS, metric) if c in file.schema_arrow.names]
            for batch in file.iter_batches(columns=wanted):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TrackerError(f"{path.name} is a damaged Parquet file: {error}") from error


def _chart_headers(path: Path) -> tuple[str, ...]:
    with _text(path) as stream:
        return tuple(next(csv.reader(stream), ()))
