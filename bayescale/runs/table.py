"""Tables of cells from files and frames."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bayescale.errors import RunLogError, listed, shortened
from bayescale.findings import Finding, note

ENDINGS = (".csv", ".parquet", ".jsonl", ".json")
"""Endings of files that run logs are read from."""

_DIRECTIVE = "sep="
"""The start of a line that tells spreadsheets how cells are separated."""

_HEAD = 4096
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Bytes that texts do not have, looked for in the first bytes of a file."""

_SURROGATE = re.compile(r"\\ud[89a-f]", re.IGNORECASE)


class Table(NamedTuple):
    """The cells of a file or frame.

    Attributes
    ----------
    cells : pandas.DataFrame
    name : str
        Its name in messages.
    notes : tuple of Finding
        Notes on lines of a file that are not rows of the table.
    """

    cells: pd.DataFrame
    name: str
    notes: tuple[Finding, ...] = ()


def load_table(source: str | Path | pd.DataFrame) -> Table:
    """Return the cells of a run log.

    Raises
    ------
    RunLogError
        If the file does not exist, is empty or in another format than its ending says, or its
        header repeats a name.
    """
    if isinstance(source, pd.DataFrame):
        raw, name = source.reset_index(drop=True), "DataFrame"
        _refuse_repeated([str(c) for c in raw.columns], name)
        raw.columns = [str(c) for c in raw.columns]
        table = Table(raw, name)
    else:
        table = _load_file(Path(source))
    if table.cells.empty:
        raise RunLogError(f"{table.name} has a header but no rows: a run log has one row per run")
    return table


def _load_file(path: Path) -> Table:
    name = path.name
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        files = sorted(f.name for f in path.glob("*") if f.suffix.lower() in ENDINGS)
        holds = f"; it holds {listed(files)}" if files else ""
        raise RunLogError(
            f"run log {str(path)!r} {what}: give a .csv, .parquet or .jsonl file{holds}"
        )
    if path.stat().st_size == 0:
        raise RunLogError(f"{name} is empty: a run log has a header and one row per run")
    match path.suffix.lower():
        case ".csv":
            return _csv(path)
        case ".parquet":
            return Table(_parquet(path), name)
        case ".jsonl" | ".json":
            return Table(_json(path), name)
    if path.suffix.lower() == ".nc":
        raise RunLogError(
            f"{name} is no run log, but perhaps a fit: open it with `bayescale.open_posterior`"
        )
    raise RunLogError(
        f"{name} ends in {path.suffix or 'nothing'!r}: run logs are read from .csv, "
        ".parquet and .jsonl (JSON lines) files"
    )


def _text(path: Path, what: str) -> str:
    data = path.read_bytes()
    binary = {b"PAR1": "Parquet", b"PK\x03\x04": "Excel or zip", b"\x1f\x8b": "gzip"}
    for magic, kind in binary.items():
        if data.startswith(magic):
            raise RunLogError(f"{path.name} is not {what} but {kind} inside: rename it accordingly")
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        word = "UTF-16" if encoding == "utf-16" else "UTF-8"
        binary = _CONTROL.search(data[:_HEAD]) is not None
        do = "it is binary data, so give a .csv, .parquet or .jsonl file"
        raise RunLogError(
            f"{path.name} is not {what}: byte {error.start} is not {word} text; "
            f"{do if binary else 'save it as UTF-8'}"
        ) from None
    if "\0" in text:
        raise RunLogError(
            f"{path.name} is not {what}: it has binary data; export the table again as text"
        )
    if not text.strip():
        raise RunLogError(f"{path.name} is empty: a run log has a header and one row per run")
    return text


def csv_rows(text: str) -> list[list[str]]:
    """Return the cells of a CSV text, of any length, without lines that have no cells.

    Raises
    ------
    csv.Error
        If it is not CSV.
    """
    limit = csv.field_size_limit(max(len(text), csv.field_size_limit()))
    try:
        return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    finally:
        csv.field_size_limit(limit)


def _csv(path: Path) -> Table:
    text = _text(path, "CSV")
    first = text.lstrip()[0]
    if first in "{[<":
        kind = "HTML or XML" if first == "<" else "JSON"
        raise RunLogError(f"{path.name} is not CSV but {kind} inside: name it accordingly")
    try:
        rows = csv_rows(text)
    except csv.Error as error:
        raise RunLogError(f"{path.name} is not CSV: {error}; write it again as CSV") from None
    rows, notes = _without_comments(rows, path.name)
    header = [cell.strip() for cell in rows[0]]
    _refuse_repeated(header, path.name)
    _refuse_other_marks(rows, path.name)
    width = len(header)
    uneven = [f"row {i} has {len(row)}" for i, row in enumerate(rows[1:], 1) if len(row) != width]
    if uneven:
        _refuse_open_quote(text, rows, path.name)
        raise RunLogError(
            f"{path.name} has {width} columns, but {listed(uneven)}: write as many cells as "
            "the header has, and quote cells that hold commas"
        )
    return Table(pd.DataFrame(rows[1:], columns=header, dtype=object), path.name, notes)


def _refuse_open_quote(text: str, rows: list[list[str]], name: str) -> None:
    """Refuse a table whose last row is short because a quote in it is never closed."""
    if len(rows[-1]) < len(rows[0]) and "\n" in (cell := rows[-1][-1]):
        start = cell.split("\n", 1)[0].rstrip("\r")
        line = text.count("\n", 0, text.rfind(cell)) + 1
        raise RunLogError(
            f"{name} is not CSV: line {line} opens a quote that is never closed, before "
            f"{shortened(start, 40)!r}: close the quote, or remove it"
        )


def _without_comments(
    rows: list[list[str]], name: str
) -> tuple[list[list[str]], tuple[Finding, ...]]:
    """Return rows without comments, which begin with # and are not as wide as the header."""

    def is_comment(row: list[str], width: int | None) -> bool:
        return row[0].lstrip().startswith("#") and len(row) != width

    directive = len(rows[0]) <= 2 and rows[0][0].strip().lower().startswith(_DIRECTIVE)
    rows = rows[1:] if directive else rows
    kept = next((i for i, row in enumerate(rows) if not row[0].lstrip().startswith("#")), None)
    if kept is None:
        if len(rows) < 2:
            raise RunLogError(f"{name} has only comments: a run log has a header and rows")
        return rows, ()
    # a header may begin with a #, as numpy.savetxt writes it
    start = kept - 1 if kept and len(rows[kept - 1]) == len(rows[kept]) > 1 else kept
    width = len(rows[start])
    comments = [r for i, r in enumerate(rows) if i < start or (i > start and is_comment(r, width))]
    if not comments:
        return rows, ()
    left = [r for i, r in enumerate(rows) if i == start or (i > start and not is_comment(r, width))]
    left[0] = [left[0][0].lstrip("# "), *left[0][1:]]
    texts = listed(repr(",".join(row)) for row in comments)
    return left, (note("comment_lines", f"{name} has lines that are comments, not rows: {texts}"),)


def _refuse_other_marks(rows: list[list[str]], name: str) -> None:
    """Refuse tables with other separators than commas, and say how to read them."""
    header = rows[0]
    for mark, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) > 1 or mark not in header[0]:
            continue
        if any(len(row) > 1 for row in rows[1:]):
            raise RunLogError(
                f"{name} is separated by {word}, and its numbers have commas for points: export it "
                "again with commas between cells and points in numbers, or read it with "
                f"pandas.read_csv({name!r}, sep={mark!r}, decimal=',') and give the frame"
            )
        raise RunLogError(
            f"{name} is separated by {word}: use commas, or read it with "
            f"pandas.read_csv({name!r}, sep={mark!r}) and give the frame"
        )


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
        return table.to_pandas(ignore_metadata=True)  # so that an index is read as a column
    except RunLogError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunLogError(f"{path.name} is a damaged Parquet file: {error}") from None


def _json(path: Path) -> pd.DataFrame:
    """Return the cells of JSON lines, or of one array of objects."""
    text = _text(path, "JSON lines")
    if text.lstrip().startswith("["):
        rows: list[Any] = _json_array(text, path)
    else:
        lines = [line for line in text.split("\n") if line.strip()]
        rows = [_parsed(line, number, path) for number, line in enumerate(lines, 1)]
    records = []
    for number, record in enumerate(rows, 1):
        if not isinstance(record, _Object):
            raise RunLogError(
                f"{path.name} is not JSON lines: row {number} is not a JSON object; write one "
                "object per line"
            )
        _refuse_repeated([key for key, _ in record], f"{path.name} row {number}")
        records.append({key: _plain(value) for key, value in record})
    return pd.DataFrame(records, dtype=object)


class _Object(list):
    """Pairs of a JSON object, in which a name may occur twice."""


def _plain(value: Any) -> Any:
    """Return a cell in which an object is written as text, as in CSV."""
    return json.dumps(dict(value)) if isinstance(value, _Object) else value


def _loads(text: str) -> Any:
    """Return the value of a JSON text; raise ValueError for half of a surrogate pair."""
    value = json.loads(text, object_pairs_hook=_Object)
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _json_array(text: str, path: Path) -> list[Any]:
    try:
        return _loads(text)
    except (ValueError, RecursionError) as error:
        raise RunLogError(
            f"{path.name} is not a JSON array ({error}): write an array of objects, or one object "
            "per line"
        ) from None


def _parsed(line: str, number: int, path: Path) -> Any:
    try:
        return _loads(line)
    except (ValueError, RecursionError) as error:  # raised also for too much nesting
        raise RunLogError(
            f"{path.name} is not JSON lines: row {number} is not a JSON object ({error}); "
            "write one object per line"
        ) from None


def _refuse_repeated(header: Sequence[str], name: str) -> None:
    repeated = sorted(column for column, n in Counter(header).items() if n > 1)
    if repeated:
        raise RunLogError(
            f"{name} has more than one column named {listed(map(repr, repeated))}: rename or "
            "remove all but one"
        )
