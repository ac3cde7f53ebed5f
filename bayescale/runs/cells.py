"""Cells of a run log: what they say, and their places in words."""

import math
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from bayescale.errors import listed

MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none"})
TRUTHS = MappingProxyType(
    {"yes": "yes", "true": "yes", "1": "yes", "no": "no", "false": "no", "0": "no"}
)


def is_missing(value: Any) -> bool:
    """Whether a cell says that there is no value."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, str):
        return value.strip().lower() in MISSING_WORDS
    return isinstance(value, float | np.floating) and math.isnan(value)


def yes_or_no(value: Any) -> str:
    """``yes`` or ``no``, or nothing where a cell says neither."""
    return TRUTHS.get(str(value).strip().lower().removesuffix(".0"), "")


def equals(value: Any, wanted: str) -> bool:
    """Whether a cell has a value: compared as numbers where both are numbers, else as text."""
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value).strip() == str(wanted).strip()


def parse_number(cell: Any) -> float:
    """Read a plain number: not a yes or no, and without underscores."""
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):
        raise ValueError(f"{cell!r} is not a number")
    return float(cell)


def read_numbers(cells: Sequence[Any], keep: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Read the numbers of a column.

    Returns
    -------
    numbers : numpy.ndarray, shape (row,)
        NaN where a cell is missing or its row is not kept, and 1 where it holds text.
    texts : list of int
        Kept rows that hold text in place of a number.
    """
    numbers, texts = np.full(len(cells), np.nan), []
    for i in map(int, np.flatnonzero(keep)):
        cell = cells[i]
        if is_missing(cell):
            continue
        try:
            numbers[i] = parse_number(cell)
        except (TypeError, ValueError):
            texts.append(i)
        except OverflowError:
            numbers[i] = math.inf
    numbers[texts] = 1.0  # reported once, as text, and not again as missing
    return numbers, texts


def where(rows: Iterable[int], ids: list[str], values: Any = None) -> str:
    """Rows by number and id, with their values where given; rows count from 1."""

    def place(i: int) -> str:
        run = ids[i] if ids[i] == f"row {i + 1}" else f"row {i + 1} ({ids[i]})"
        return run if values is None else f"{values[i]!r} in {run}"

    return listed(place(int(i)) for i in rows)


def named(column: str, header: str) -> str:
    """A column by our name, and by the log's where that differs."""
    return column if header == column else f"{column} (column {header!r})"
