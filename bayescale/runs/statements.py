"""Conventions that the rows of a log or its reader state."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from bayescale.conventions import UNKNOWN
from bayescale.conventions.stated import NAMES, choices_text, parse_convention, parse_conventions
from bayescale.errors import argument
from bayescale.runs.cells import is_missing
from bayescale.runs.draft import Draft

COLUMN_OF: Mapping[str, str] = MappingProxyType(
    {
        "params": "params_convention",
        "flops": "flops_convention",
        "loss": "loss_unit",
        "evaluation_set": "evaluation_set",
        "tokenizer": "tokenizer",
        "tokens_per_byte": "tokens_per_byte",
    }
)
"""The column that states each convention for each row."""


def read_statements(draft: Draft, conventions: Mapping[str, Any]) -> None:
    """Read the conventions that columns and arguments state, and add findings on contradictions."""
    chosen, problems = parse_conventions(conventions)
    problems += _loss_unit_problems(draft, chosen)
    for problem in problems:
        draft.stop("unknown_convention", problem)
    for name in NAMES:
        rows = unstated(name, len(draft.raw))
        if COLUMN_OF[name] in draft.headers:
            _read_column(draft, name, rows)
            if name in chosen:
                _require_no_contradiction(draft, name, rows, chosen[name])
        if name in chosen:
            rows[:] = chosen[name]
        draft.stated[name] = rows


def _loss_unit_problems(draft: Draft, chosen: dict[str, Any]) -> list[str]:
    """Take a unit of the loss that the caller names as its convention; return contradictions."""
    if "loss" not in draft.units:
        return []
    place = argument("units", loss=draft.units["loss"])
    unit = parse_convention("loss", draft.units["loss"])
    if unit is not None and chosen.setdefault("loss", unit) != unit:
        return [
            f"{place} and {argument('conventions', loss=chosen['loss'])} contradict each other: "
            "keep one"
        ]
    if unit is None and ("loss" in chosen or "loss_unit" in draft.headers):
        return [f"{place} is a factor, and the unit is stated as well: keep one"]
    return []


def unstated(name: str, n: int) -> np.ndarray:
    """Return an array of rows that do not state a convention."""
    return np.full(n, np.nan) if name == "tokens_per_byte" else np.full(n, UNKNOWN, dtype=object)


def _read_column(draft: Draft, name: str, rows: np.ndarray) -> None:
    cells = draft.raw[draft.headers[COLUMN_OF[name]]].tolist()
    wrong = []
    for i in np.flatnonzero(draft.keep):
        if is_missing(cells[i]) or str(cells[i]).strip() == UNKNOWN:
            continue
        value = parse_convention(name, cells[i])
        if value is None:
            wrong.append(i)
        else:
            rows[i] = value
    if wrong:
        draft.stop(
            "unknown_convention",
            f"{draft.named(COLUMN_OF[name])} says {draft.where(wrong, cells)}, which is not "
            f"{choices_text(name)}",
        )


def _require_no_contradiction(draft: Draft, name: str, rows: np.ndarray, chosen: Any) -> None:
    against = np.flatnonzero(draft.keep & is_stated(rows) & (rows != chosen))
    if against.size:
        draft.stop(
            "contradicting_convention",
            f"{draft.named(COLUMN_OF[name])} says {draft.where(against, rows.tolist())}, and "
            f"{argument('conventions', **{name: chosen})} contradicts it: leave that out, or "
            "correct the column",
        )


def is_stated(rows: np.ndarray) -> np.ndarray:
    """Return which rows state a convention."""
    return ~np.isnan(rows) if rows.dtype.kind == "f" else rows != UNKNOWN
