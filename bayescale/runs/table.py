"""Tables of cells from files and frames."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bayescale.errors import RunLogError, listed


def load_table(source: str | Path | pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Load the cells of a run log, and its name in messages.

    Raises
    ------
    RunLogError
        If the file is absent, empty or of another format than its ending, or its header repeats a
        name.
    """
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
            raise RunLogError(f"{name} is empty: a run log has a header and one row per run")
        readers = {".csv": _csv, ".parquet": _parquet, ".jsonl": _json_lines}
        reader = readers.get(path.suffix.lower())
        if reader is None:
            raise RunLogError(
                f"{name} ends in {path.suffix or 'nothing'!r}: run logs are read from .csv, "
                ".parquet and .jsonl (JSON lines) files"
            )
        raw = reader(path)
    if raw.empty:
        raise RunLogError(f"{name} has a header but no rows: a run log has one row per run")
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
        raise RunLogError(f"{path.name} is empty: a run log has a header and one row per run")
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
        table.validate(full=True)
        _refuse_repeated(table.column_names, path.name)
        return table.to_pandas(ignore_metadata=True)  # an index is a column like any other
    except RunLogError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunLogError(f"{path.name} is a damaged Parquet file: {error}") from None


def _json_lines(path: Path) -> pd.DataFrame:
    records = []
    lines = [line for line in _text(path, "JSON lines").splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line, object_pairs_hook=list)
        except (
            ValueError,
            RecursionError,
        ) as error:  # also for too much nesting
            raise RunLogError(
                f"{path.name} is not JSON lines: row {number} is not a JSON object ({error}); "
                "write one object per line"
            ) from None
        if not (isinstance(record, list) and line.lstrip().startswith("{")):
            raise RunLogError(
                f"{path.name} is not JSON lines: row {number} is not a JSON object; write one "
                "object per line"
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
