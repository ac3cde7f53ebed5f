"""Read a run log: find its columns, check every value, convert units.

Bad input is never fixed, dropped or guessed. All problems of a log are reported together, and
every row that the caller asks to leave out is listed with its reason.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayescale.conventions.configuration import SWITCHES
from bayescale.errors import RunLogError, listed
from bayescale.findings import note
from bayescale.runs.cells import equals, is_missing, read_numbers, yes_or_no
from bayescale.runs.columns import map_columns
from bayescale.runs.draft import Draft
from bayescale.runs.harmonize import harmonize_draft
from bayescale.runs.log import LABELS, NUMBERS, SCALES, SHAPES, Runs
from bayescale.runs.rules import CELL_RULES, NUMBER_RULES, SIGN_RULES
from bayescale.runs.statements import read_statements
from bayescale.runs.table import load_table
from bayescale.runs.units import convert_units, count_params

Missing = Literal["error", "drop", "keep"]


def read_runs(
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    exclude: Mapping[str, str] | None = None,
    missing: Missing = "error",
    conventions: Mapping[str, Any] | None = None,
    convert: Mapping[str, Any] | None = None,
) -> Runs:
    """Read a run log: one row for each finished training run.

    Parameters
    ----------
    source : path or pandas.DataFrame
        CSV, Parquet or JSON lines (``.csv``, ``.parquet``, ``.jsonl``), or a frame. A column
        ``NAME_from``, which says where NAME was read, is kept as the source of NAME.
    columns : mapping, optional
        Names that differ from ours and the usual aliases: ``{"tokens": "my_column"}``.
    units : mapping, optional
        Units that differ from raw counts, FLOP and nats: ``{"tokens": "1e9"}``,
        ``{"flops": "PF-day"}``, ``{"loss": "bits"}``, ``{"loss": "perplexity"}``. Naming a
        unit, even ``1``, also confirms that small numbers are intended.
    exclude : mapping, optional
        Rows to leave out: ``{"suspect": "1"}``; compared as numbers where both are.
    missing : {"error", "drop", "keep"}
        What to do with rows that lack a value: refuse the log; leave them out, listed; or
        keep those that lack a scale (params, tokens or flops), for laws that need another.
    conventions : mapping, optional
        What all rows count, where no column says: ``{"params": "non_embedding"}``. Names and
        values are those of :class:`bayescale.conventions.Conventions`; what neither states is
        unknown.
    convert : mapping, optional
        What to convert rows to that state something else: ``{"params": "all"}``,
        ``{"tokenizer": "gpt2"}``.

    Returns
    -------
    Runs
        With ``flops = 6 * params * tokens`` where the log has no such column, and params
        counted from the models' configuration where it has no params.

    Raises
    ------
    RunLogError, UnitError
        With all problems of the log, naming values and rows. Rows count from 1 without the
        header.

    Examples
    --------
    >>> log = pd.DataFrame({"N": [1e9, 2e9], "D": [2e10, 4e10], "loss": [2.9, 2.6]})
    >>> read_runs(log)["flops"]
    array([1.2e+20, 4.8e+20])
    """
    raw, name = load_table(source)
    units = dict(units or {})
    draft = Draft(raw, name, map_columns(raw, dict(columns or {}), units, name), units)
    _exclude_rows(draft, exclude or {})
    _read_cells(draft)
    _leave_out_missing(draft, missing)
    read_statements(draft, conventions or {})
    draft.check(CELL_RULES)
    convert_units(draft)
    draft.frame = _frame(draft)
    count_params(draft)
    harmonize_draft(draft, convert or {})
    draft.check(NUMBER_RULES)
    _derive_columns(draft)
    draft.check(SIGN_RULES)
    return draft.runs()


def as_runs(source: Runs | pd.DataFrame | str | Path) -> Runs:
    """Return runs as they are, and read them where a frame or a path is given.

    Raises
    ------
    RunLogError, UnitError
        If the log cannot be read as it stands; :func:`read_runs` has the options for that.
    """
    if isinstance(source, Runs):
        return source
    if isinstance(source, pd.DataFrame | str | Path):
        return read_runs(source)
    raise RunLogError(
        f"runs are given as {type(source).__name__}: give Runs, a pandas.DataFrame, or the path "
        "of a .csv, .parquet or .jsonl file"
    )


def _exclude_rows(draft: Draft, exclude: Mapping[str, str]) -> None:
    for column, wanted in exclude.items():
        header = draft.headers.get(column, column)
        if header not in draft.raw.columns:
            raise RunLogError(
                f"{draft.name} has no column {column!r} to exclude runs by; it has "
                f"{listed(draft.raw.columns, 20)}"
            )
        hits = draft.raw[header].map(lambda cell, wanted=wanted: equals(cell, wanted))
        draft.leave_out(hits.to_numpy(bool), f"{column} = {wanted}, excluded on request")
    if not draft.keep.any():
        raise RunLogError(
            f"{draft.name} has no rows left: all {len(draft.raw)} are excluded on request"
        )


def _read_cells(draft: Draft) -> None:
    switches = {"yes": 1.0, "no": 0.0}
    for column in (*NUMBERS, *SHAPES):
        if column not in draft.headers:
            continue
        cells = draft.raw[draft.headers[column]].tolist()
        if column in SWITCHES:
            cells = [switches.get(yes_or_no(cell), cell) for cell in cells]
        numbers, texts = read_numbers(cells, draft.keep)
        (draft.numbers if column in NUMBERS else draft.shapes)[column] = numbers
        if texts:
            draft.stop(
                "text_for_number",
                f"{draft.named(column)} has text in place of numbers: "
                f"{draft.where(texts, cells)}; write plain numbers such as 1.4e12",
            )
    for column in LABELS:
        if column in draft.headers:
            draft.labels[column] = draft.raw[draft.headers[column]].tolist()


def _leave_out_missing(draft: Draft, missing: Missing) -> None:
    lacking = {
        column: np.isnan(numbers)
        for column, numbers in draft.numbers.items()
        if column != "params_no_embed"  # no law needs it
    }
    lacking |= {
        column: np.array([is_missing(cell) for cell in draft.labels[column]], dtype=bool)
        for column in ("family", "run", "schedule_complete")
        if column in draft.labels
    }
    lacking = {column: rows & draft.keep for column, rows in lacking.items()}
    for column, rows in lacking.items():
        if not rows.any() or (missing == "keep" and column in SCALES):
            continue
        if missing == "drop":
            draft.leave_out(rows, f"{column} is missing")
            continue
        keep = " or keep them for laws that do not need it with `missing='keep'`"
        draft.stop(
            "missing_value",
            f"{draft.named(column)} is missing in {draft.where(np.flatnonzero(rows))}: fill it "
            f"in, leave such rows out with `missing='drop'`{keep if column in SCALES else ''}",
        )


def _frame(draft: Draft) -> pd.DataFrame:
    frame = pd.DataFrame({"run_id": draft.ids} | draft.numbers | draft.shapes)
    read = {
        "family": str,
        # a run without one shares its budget with no other
        "isoflop": lambda cell: "" if is_missing(cell) else str(cell),
        "run": lambda cell: str(cell).strip(),
        "schedule_complete": yes_or_no,
    }
    for column, read_label in read.items():
        if column in draft.labels:
            frame[column] = [read_label(cell) for cell in draft.labels[column]]
    return frame


def _derive_columns(draft: Draft) -> None:
    frame = draft.frame = draft.frame.copy()
    if "unique_tokens" not in frame and {"tokens", "epochs"} <= set(frame.columns):
        frame["unique_tokens"] = frame["tokens"] / frame["epochs"]
        draft.sources["unique_tokens"] = "tokens / epochs"
    if "flops" not in frame and {"params", "tokens"} <= set(frame.columns):
        frame["flops"] = 6.0 * frame["params"] * frame["tokens"]
        draft.sources["flops"] = "6 * params * tokens"
        draft.conventions = replace(draft.conventions, flops="6ND")
        draft.findings.append(
            note("flops_derived", "flops is not in the log; taken as 6 * params * tokens")
        )
