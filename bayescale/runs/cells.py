"""Cells of a run log: their values, and their places as text."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.errors import UnitError, listed
from bayescale.units import parse_size

MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none"})
_WITHOUT_VALUE = MISSING_WORDS | {"<na>", "nat"}
TRUTHS = MappingProxyType(
    {"yes": "yes", "true": "yes", "1": "yes", "no": "no", "false": "no", "0": "no"}
)
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
"""A number with commas between thousands; with one comma it may be a decimal comma."""

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_DOTTED = re.compile(r"[1-9]\d{0,2}(\.\d{3})+")


def is_missing(value: Any) -> bool:
    """Return whether a cell has no value."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, str):
        return value.strip().lower() in MISSING_WORDS
    return isinstance(value, float | np.floating) and math.isnan(value)


def yes_or_no(value: Any) -> str:
    """Return ``yes`` or ``no``, or an empty text if the cell is neither."""
    return TRUTHS.get(str(value).strip().lower().removesuffix(".0"), "")


def equals(value: Any, wanted: str) -> bool:
    """Return whether a cell has a value, compared as numbers if both are numbers, else as text."""
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError, OverflowError):
        return str(value).strip() == str(wanted).strip()


def parse_number(cell: Any) -> float:
    """Return a cell as a number; raise ValueError for booleans, underscores and other text."""
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):
        raise ValueError(f"{cell!r} is not a number")
    return float(cell)


class Numbers(NamedTuple):
    """The numbers of a column.

    Attributes
    ----------
    values : numpy.ndarray, shape (row,)
        The numbers: NaN if a cell is missing or its row is not kept, and 1 if the cell has text.
    texts : list of int
        Kept rows that have text instead of a number.
    sizes : list of int
        Kept rows that have a size with a suffix or commas, ``1.3B`` or ``33,554,432``.
    """

    values: np.ndarray
    texts: list[int]
    sizes: list[int]


def read_numbers(cells: Sequence[Any], keep: np.ndarray, *, sizes: bool = False) -> Numbers:
    """Return the numbers of a column; with ``sizes``, also of texts such as ``1.3B``."""
    plain = _all_plain(cells)
    if plain is not None:
        return Numbers(np.where(keep, plain, np.nan), [], [])
    values, texts, written = np.full(len(cells), np.nan), [], []
    groups = sizes and any(isinstance(c, str) and c.count(",") > 1 for c in cells)
    for i in map(int, np.flatnonzero(keep)):
        cell = cells[i]
        if is_missing(cell):
            continue
        try:
            values[i] = parse_number(cell)
        except (TypeError, ValueError):
            size = _as_written(cell, groups) if sizes else None
            if size is None:
                texts.append(i)
            else:
                values[i] = size
                written.append(i)
        except OverflowError:
            values[i] = math.inf
    values[texts] = 1.0  # so that texts are not reported as missing as well
    return Numbers(values, texts, written)


def _all_plain(cells: Sequence[Any]) -> np.ndarray | None:
    """Return the numbers of a column that has only numbers, else None."""
    kinds = set(map(type, cells))
    if not (kinds <= {int, float} or (kinds == {str} and "_" not in "".join(cells))):
        return None
    try:
        return np.array(list(map(float, cells)))
    except (ValueError, OverflowError):
        return None


def _as_written(cell: Any, groups: bool) -> float | None:
    """Return the number of ``1.3B``, or of ``33,554,432`` if commas separate thousands."""
    if not isinstance(cell, str) or "_" in cell:
        return None
    text = cell.strip()
    if groups and THOUSANDS.fullmatch(text):
        return float(text.replace(",", ""))
    try:
        return parse_size(text)
    except UnitError:
        return None


def dots_between_thousands(cells: Sequence[Any]) -> list[int]:
    """Return the rows in which dots probably separate thousands.

    This is so if every dot in the column is followed by three digits, and other numbers have no
    dot.
    """
    texts = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
    dotted = [i for i, text in enumerate(texts) if "." in text]
    whole = any(text.isdigit() for text in texts)
    if len(dotted) < 2 or not whole or not all(_DOTTED.fullmatch(texts[i]) for i in dotted):
        return []
    return dotted


def where(rows: Iterable[int], ids: list[str], values: Any = None) -> str:
    """Return a text with the number (from 1) and id of each row, and its value if given."""

    def place(i: int) -> str:
        run = ids[i] if ids[i] == f"row {i + 1}" else f"row {i + 1} ({ids[i]})"
        return run if values is None else f"{values[i]!r} in {run}"

    return listed(place(int(i)) for i in rows)


def named(column: str, header: str) -> str:
    """Return the name of a column, with the header in the log if that differs."""
    return column if header == column else f"{column} (column {header!r})"


def holds(cells: Sequence[Any] | pd.Series, most: int = 4) -> str:
    """Return a text on the values of a column: a few values with their counts, or their number.

    Examples
    --------
    >>> holds(pd.Series(["a", "b", "a"])), holds(pd.Series([0.1, 0.2, 0.3, 0.4, 0.5]))
    ('a 2, b 1', '5 values')
    """
    texts = Counter(str(cell).strip() for cell in cells)
    counts = [(t, n) for t, n in texts.most_common() if t.lower() not in _WITHOUT_VALUE]
    if not counts:
        return "empty"
    repeats = len(counts) <= most and (len(counts) < len(cells) or len(counts) == 1)
    if not repeats or max(len(text) for text, _ in counts) > 30:
        return f"{len(counts)} value{'' if len(counts) == 1 else 's'}"
    if len(counts) == 1 and counts[0][1] == len(cells):
        return f"{counts[0][0]} in all"
    return ", ".join(f"{value} {n}" for value, n in counts)
