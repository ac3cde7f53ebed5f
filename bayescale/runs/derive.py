"""Scales that follow from other columns: derived if a log lacks them, or filled in on request."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.conventions import UNKNOWN
from bayescale.errors import argument, did_you_mean, listed
from bayescale.findings import SCALE_NOT_READ, Finding, note
from bayescale.runs.columns import hold_numbers, likely, name_it
from bayescale.runs.draft import Draft
from bayescale.runs.log import SCALES

APART = 0.1
"""Two formulas for a scale may differ by this share, because counts are rounded."""

MOST_SEQUENCES = 65_536
"""A larger batch may be counted in tokens instead of sequences."""

_ORDER = ("unique_tokens", "tokens", "params", "flops")

Values = Mapping[str, np.ndarray]


class Formula(NamedTuple):
    """A formula for a scale from other columns."""

    name: str
    needs: tuple[str, ...]
    value: Callable[[Values], np.ndarray]
    text: str


def _product(*names: str) -> Formula:
    def value(columns: Values) -> np.ndarray:
        return np.prod([columns[name] for name in names], axis=0)

    return Formula("*".join(names), names, value, " * ".join(names))


FORMULAS: Mapping[str, tuple[Formula, ...]] = MappingProxyType(
    {
        "params": (
            Formula(
                "D/tokens_per_param",
                ("tokens", "tokens_per_param"),
                lambda c: c["tokens"] / c["tokens_per_param"],
                "tokens / tokens_per_param",
            ),
            Formula(
                "C/6D",
                ("flops", "tokens"),
                lambda c: c["flops"] / (6.0 * c["tokens"]),
                "flops / (6 * tokens)",
            ),
            Formula(
                "sqrt(C/6/tokens_per_param)",
                ("flops", "tokens_per_param"),
                lambda c: np.sqrt(c["flops"] / (6.0 * c["tokens_per_param"])),
                "sqrt(flops / (6 * tokens_per_param))",
            ),
        ),
        "tokens": (
            _product("params", "tokens_per_param"),
            _product("epochs", "unique_tokens"),
            _product("steps", "batch_tokens"),
            _product("steps", "batch_size", "sequence_length"),
            Formula(
                "C/6N",
                ("flops", "params"),
                lambda c: c["flops"] / (6.0 * c["params"]),
                "flops / (6 * params)",
            ),
            _product("steps", "batch_size"),
        ),
        "flops": (
            Formula(
                "6ND",
                ("params", "tokens"),
                lambda c: 6.0 * c["params"] * c["tokens"],
                "6 * params * tokens",
            ),
        ),
        "unique_tokens": (
            Formula(
                "D/epochs",
                ("tokens", "epochs"),
                lambda c: c["tokens"] / c["epochs"],
                "tokens / epochs",
            ),
        ),
    }
)
"""Formulas for each scale, the most direct first."""

_OWN_RULES = ("C/6N", "C/6D", "6ND", "D/epochs")
"""Formulas whose agreement with the log's columns is checked by other rules."""

_ON_REQUEST = ("steps*batch_size",)
"""Formulas that are used only on request: a batch is more often in sequences than in tokens."""


def fill_problems(fill: Mapping[str, str]) -> list[str]:
    """Return messages on formulas that cannot fill the columns that the caller names."""
    problems = []
    for column, name in fill.items():
        place = argument("fill", **{column: name})
        if column not in FORMULAS:
            problems.append(
                f"{place}: {column!r} cannot be filled; {listed(FORMULAS, 9)} can"
                f"{did_you_mean(column, FORMULAS)}"
            )
        elif _formula(column, name) is None:
            ways = listed((formula.name for formula in FORMULAS[column]), 9)
            problems.append(
                f"{place}: {column} is filled by one of {ways}"
                f"{did_you_mean(name, [formula.name for formula in FORMULAS[column]])}"
            )
    return problems


def _formula(column: str, name: str) -> Formula | None:
    plain = name.replace(" ", "").lower()
    return next((f for f in FORMULAS[column] if f.name.lower() == plain), None)


def fillable(draft: Draft, column: str) -> np.ndarray:
    """Return which rows the caller's formula for a column can fill, shape (row,)."""
    formula = _formula(column, draft.options.fill[column]) if column in draft.options.fill else None
    nowhere = np.zeros(len(draft.raw), dtype=bool)
    if formula is None:
        return nowhere
    known = {**draft.helpers, **draft.shapes, **draft.numbers}
    if not set(formula.needs) <= set(known):
        return nowhere
    return np.all([np.isfinite(known[name]) for name in formula.needs], axis=0)


def fill_gaps(draft: Draft) -> None:
    """Fill the gaps that the caller names formulas for, and note the filled rows."""
    for column, name in draft.options.fill.items():
        formula, place = _formula(column, name), argument("fill", **{column: name})
        if formula is None:
            continue
        known = _known(draft)
        absent = [need for need in formula.needs if need not in known]
        if absent:
            draft.stop(
                "cannot_fill",
                f"{place} needs {' and '.join(absent)}, which the log does not have: name its "
                f"column with {argument('columns', **{absent[0]: 'HEADER'})}, or leave that out",
            )
            continue
        values = pd.Series(formula.value(known), draft.frame.index)
        old = draft.frame.get(column, pd.Series(np.nan, draft.frame.index))
        gaps = old.isna() & values.notna() & pd.Series(draft.keep, draft.frame.index)
        if not gaps.any():
            draft.stop(
                "nothing_to_fill", f"{place} fills nothing: {column} has no gaps; leave that out"
            )
            continue
        draft.frame[column] = old.where(~gaps, values)
        rows, whole = draft.frame.index[gaps], column not in draft.sources
        draft.sources[column] = (
            formula.text
            if whole
            else f"{draft.sources[column]}, filled in {len(rows)} by {formula.text}"
        )
        draft.findings.append(
            note(
                "filled",
                f"{column} is taken as {formula.text} in "
                f"{'all rows' if whole else draft.where(rows)}, as {place} asks for",
            )
        )


def derive_columns(draft: Draft) -> None:
    """Derive the scales that a log lacks, if its other columns determine them."""
    draft.frame = draft.frame.copy()
    absent = [column for column in _ORDER if column not in draft.frame]
    if "tokens" in draft.headers:  # this also compares params with tokens_per_param
        _compare(draft, "tokens")
    for column in absent * 2:  # twice, because one scale may follow from another derived one
        if column not in draft.frame:
            _derive(draft, column)
    unread: list[Finding] = []
    for scale in SCALES:
        found = [
            header
            for header in likely(scale, draft.unread)
            if hold_numbers(draft.raw[header].tolist(), draft.keep)
        ]
        if scale in absent and found:
            unread.append(
                note(
                    SCALE_NOT_READ,
                    f"{scale} is not in the log under a known name, but column "
                    f"{found[0]!r} may hold it: if so, say {name_it(scale, found)}; if not, "
                    f"`ignore={found[0]!r}`",
                )
            )
    draft.findings[:0] = unread  # first, because it may explain the others


def _known(draft: Draft) -> dict[str, np.ndarray]:
    """Return all numbers of the kept rows from which a scale may follow."""
    rows = draft.frame.index.to_numpy()
    helpers = {name: draft.helpers[name][rows] for name in draft.helpers}
    return helpers | {
        name: draft.frame[name].to_numpy(dtype=float)
        for name in draft.frame.columns
        if pd.api.types.is_numeric_dtype(draft.frame[name])
    }


def _ways(draft: Draft, column: str) -> list[tuple[Formula, np.ndarray]]:
    known = _known(draft)
    ways = [f for f in FORMULAS[column] if set(f.needs) <= set(known) and f.name not in _ON_REQUEST]
    if any("batch_size" in f.needs for f in ways) and (
        np.nanmax(known["batch_size"], initial=0.0) > MOST_SEQUENCES
    ):
        ways = [f for f in ways if "batch_size" not in f.needs]
    return [(formula, formula.value(known)) for formula in ways]


def _derive(draft: Draft, column: str) -> None:
    ways = _ways(draft, column)
    if not ways:
        return
    formula, values = ways[0]
    draft.frame[column] = values
    draft.sources[column] = formula.text
    if column == "unique_tokens":
        return
    if formula.name in ("6ND", "C/6N", "C/6D") and draft.conventions.flops == UNKNOWN:
        draft.conventions = replace(draft.conventions, flops="6ND")
    draft.findings.append(
        note(f"{column}_derived", f"{column} is not in the log; taken as {formula.text}")
    )
    for other, found in ways[1:]:
        _note_disagreement(draft, column, formula.text, values, other, found)


def _compare(draft: Draft, column: str) -> None:
    values = draft.frame[column].to_numpy()
    for formula, found in _ways(draft, column):
        if formula.name not in _OWN_RULES:
            _note_disagreement(draft, column, "the column", values, formula, found)


def _note_disagreement(
    draft: Draft,
    column: str,
    ours: str,
    values: np.ndarray,
    formula: Formula,
    found: np.ndarray,
) -> None:
    """Note that two formulas for a scale disagree."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = found / values
    off = np.flatnonzero(np.abs(np.log(ratio)) > np.log1p(APART))
    if not off.size:
        return
    rows = draft.frame.index[off]
    shown = dict(zip(rows, (float(f"{r:.3g}") for r in ratio[off]), strict=True))
    draft.findings.append(
        note(
            "scale_disagrees",
            f"{column} as {formula.text} is not what {ours} says in {len(off)} of {len(values)} "
            f"runs, {draft.where(rows, shown)} times; {ours} is used. "
            f"{_way_out(draft, column, ours, formula)}",
        )
    )


def _way_out(draft: Draft, column: str, ours: str, formula: Formula) -> str:
    if ours != "the column":
        return f"Take the other with {argument('fill', **{column: formula.name})}"
    names = (n for n in formula.needs if n in draft.headers and n not in SCALES)
    header = draft.headers[next(names)]
    return f"Correct one of them, or leave the other unread with `ignore={header!r}`"
