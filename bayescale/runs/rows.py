"""Selection of the rows of a file: on request, and of rows that repeat."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from bayescale.errors import RunLogError, did_you_mean, listed
from bayescale.runs.cells import equals, is_missing
from bayescale.runs.columns import canonical
from bayescale.runs.draft import Draft

MOST_VALUES = 12
"""The most values of a column in a message."""

_UNNAMED = frozenset({"", "index", "unnamed_0", "level_0"})
"""Headers of row numbers that pandas writes."""

_SAME_SIZE = 0.01
"""Tokens of runs of one size differ by at most this share, because steps are whole numbers."""


def leave_out_rows(draft: Draft) -> None:
    """Leave out empty rows, and rows that the caller excludes or does not select.

    Raises
    ------
    RunLogError
        If a column or a value that the caller names is not in the log, or no row is left.
    """
    _leave_out_empty(draft)
    options = draft.options
    problems: list[str] = []
    for column, wanted in options.exclude.items():
        for value, rows in _matches(draft, "exclude", column, wanted, problems):
            draft.leave_out(rows, f"{column} = {value}, excluded on request")
    for column, wanted in options.only.items():
        keep = np.zeros(len(draft.raw), dtype=bool)
        for _, rows in _matches(draft, "only", column, wanted, problems):
            keep |= rows
        if not problems:
            draft.leave_out(~keep, f"{column} is not {listed(wanted)}, left out on request")
    if problems:
        raise RunLogError("\n".join(problems))
    if not draft.keep.any():
        raise RunLogError(
            f"{draft.name} has no rows left: all {len(draft.raw)} are excluded on request. Exclude "
            "fewer"
        )


def _leave_out_empty(draft: Draft) -> None:
    if "loss" not in draft.headers:
        return
    suspects = np.array([is_missing(cell) for cell in draft.raw[draft.headers["loss"]]])
    rows = np.flatnonzero(suspects)
    if not rows.size:
        return
    empty = draft.raw.iloc[rows].map(is_missing).all(axis=1).to_numpy(dtype=bool)
    mask = np.zeros(len(draft.raw), dtype=bool)
    mask[rows[empty]] = True
    if not mask.all():
        draft.leave_out(mask, "every cell of the row is empty")


def _matches(
    draft: Draft, option: str, column: str, wanted: Iterable[str], problems: list[str]
) -> list[tuple[str, np.ndarray]]:
    """Return each value with its rows; a text that no row has is split at its commas."""
    cells = _cells(draft, column)
    if cells is None:
        doing = "to exclude runs by" if option == "exclude" else "to choose runs by"
        problems.append(
            f"{draft.name} has no column {column!r} {doing}; it has {listed(draft.raw.columns, 20)}"
            f"{did_you_mean(column, draft.raw.columns)}"
        )
        return []
    found = []
    for text in wanted:
        for value in (text,) if _rows(cells, text, draft).any() else text.split(","):
            rows = _rows(cells, value, draft)
            found.append((value.strip(), rows))
            if not rows.any():
                kinds = _values_there(cells)
                problems.append(
                    f"`{option}={ {column: value.strip()} }` matches no row of {draft.name}: "
                    f"{column} there is {kinds}{did_you_mean(value, set(cells.map(str)))}"
                )
    return found


def _cells(draft: Draft, column: str) -> pd.Series | None:
    if column == "run_id" and column not in draft.headers:
        return pd.Series(draft.ids)
    header = draft.headers.get(column, column)
    if header not in draft.raw.columns:
        return None
    draft.used.add(header)
    cells = draft.raw[header]
    if header == draft.headers.get("run_id"):
        return cells.where(~cells.map(is_missing), pd.Series(draft.ids))
    return cells


def _rows(cells: pd.Series, value: str, draft: Draft) -> np.ndarray:
    wanted = value.strip()
    if wanted == "":
        return np.array([is_missing(cell) for cell in cells])
    return np.fromiter((equals(cell, wanted) for cell in cells), dtype=bool, count=len(cells))


def _values_there(cells: pd.Series) -> str:
    counts = cells.map(lambda cell: str(cell).strip()).value_counts()
    return listed((f"{value!r} ({n})" for value, n in counts.items()), MOST_VALUES)


# rows that repeat


def repeated_rows(draft: Draft) -> tuple[pd.Series, pd.Series]:
    """Return the kept rows that repeat an earlier row in every number and label, or in every cell.

    Returns
    -------
    alike, copies : pandas.Series of bool
        ``alike`` marks equal numbers and labels, ``copies`` equal cells in all other columns as
        well. Ids are not compared.
    """
    frame = draft.frame
    alike = frame.duplicated(subset=[c for c in frame.columns if c != "run_id"], keep="first")
    if not alike.any():
        return alike, alike
    ours = [c for c in frame.columns if c != "run_id"]
    others = draft.unread_cells
    others = others[[h for h in draft.unread if canonical(h) not in _UNNAMED]].map(str)
    both = pd.concat([frame[ours], others.set_axis([f"cell {h}" for h in others], axis=1)], axis=1)
    return alike, both.duplicated(keep="first")


def drop_repeats(draft: Draft) -> None:
    """Leave out copies, or all but the lowest loss at each size, on request."""
    match draft.options.repeats:
        case "drop":
            _, copies = repeated_rows(draft)
            _drop(draft, copies, "it repeats an earlier row in every value")
        case "best":
            size = draft.frame.groupby(sizes(draft.frame), sort=False)["loss"]
            _drop(draft, size.rank(method="first") > 1, "not the lowest loss of its size")


def _drop(draft: Draft, rows: pd.Series, reason: str) -> None:
    mask = np.zeros(len(draft.raw), dtype=bool)
    mask[rows.index[rows]] = True
    draft.leave_out(mask, reason)
    draft.frame = draft.frame.loc[~rows]


def sizes(frame: pd.DataFrame) -> np.ndarray:
    """Return the index of each run's size, shape (run,), by scales, data and family."""
    exact = [c for c in ("params", "unique_tokens", "kept_fraction", "family", "run") if c in frame]
    keys = {column: frame[column] for column in exact}
    for column in ("tokens", "flops"):
        if column in frame and not (column == "flops" and {"params", "tokens"} <= set(frame)):
            keys[column] = np.round(np.log(frame[column]) / np.log1p(_SAME_SIZE))
    return pd.DataFrame(keys).groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy()
