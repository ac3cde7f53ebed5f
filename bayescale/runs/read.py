"""Read a run log: find its columns, check every value, convert units.

Bad input is never fixed, dropped or guessed. Everything wrong with a log is told at once,
and every row that the caller asks to leave out is listed with its reason.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayescale.conventions import UNKNOWN, Configuration
from bayescale.conventions.configuration import (
    NEEDED_FOR,
    SIZES,
    SWITCHES,
    configuration_problems,
)
from bayescale.errors import RunLogError, collected, listed
from bayescale.runs.audit import LOSS_LIKE, audit_notes
from bayescale.runs.cells import is_missing, named, where, yes_or_no
from bayescale.runs.columns import map_columns
from bayescale.runs.files import load_table
from bayescale.runs.log import ERRORS, LABELS, NUMBERS, SCALES, LeftOut, Note, Runs
from bayescale.runs.plausible import (
    epoch_problems,
    kept_problems,
    plausibility_problems,
    repeat_problems,
)
from bayescale.runs.statements import Stated, harmonize, read_statements
from bayescale.units import PER_RUN_UNITS, to_nats, unit_factor


def read_runs(
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    exclude: Mapping[str, str] | None = None,
    missing: Literal["error", "drop", "keep"] = "error",
    conventions: Mapping[str, Any] | None = None,
    convert: Mapping[str, Any] | None = None,
) -> Runs:
    """Read a run log: one row a finished training run.

    Parameters
    ----------
    source : path or pandas.DataFrame
        CSV, Parquet or JSON lines (``.csv``, ``.parquet``, ``.jsonl``), or a frame. What a
        column ``NAME_from`` tells of where NAME was read is kept.
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
    conventions : mapping, optional
        What all rows count, where no column says: ``{"params": "non_embedding"}``. Names and
        values are those of :class:`bayescale.conventions.Conventions`; what neither says stays
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
        With every problem of the log at once, naming values and rows. Rows count from 1
        without the header.

    Examples
    --------
    >>> log = pd.DataFrame({"N": [1e9, 2e9], "D": [2e10, 4e10], "loss": [2.9, 2.6]})
    >>> read_runs(log)["flops"]
    array([1.2e+20, 4.8e+20])
    """
    raw, name = load_table(source)
    units = dict(units or {})
    mapping = map_columns(raw, dict(columns or {}), units, name)
    ids = _run_ids(raw, mapping)
    keep, dropped = _exclude(raw, mapping, dict(exclude or {}), ids, name)

    problems: list[str] = []
    values: dict[str, np.ndarray] = {}
    for column in NUMBERS:
        if column in mapping:
            values[column] = _numbers(raw, column, mapping[column], ids, keep, problems)
    shapes = _shapes(raw, mapping, ids, keep, problems)
    labels = {c: raw[mapping[c]].astype(object) for c in LABELS if c in mapping}

    for column, rows in _lacking(values, labels, keep).items():
        if missing == "drop":
            out = np.flatnonzero(rows & keep)
            dropped += [LeftOut(ids[i], f"{column} is missing") for i in out]
            keep &= ~rows
        elif not (missing == "keep" and column in SCALES):
            problems.append(_missing_problem(column, mapping[column], rows, ids))
    problems += _value_problems(values, mapping, ids, keep)
    if "schedule_complete" in labels:
        complete = [yes_or_no(value) for value in labels["schedule_complete"]]
        problems += _neither_problems(raw, mapping["schedule_complete"], complete, ids, keep)
    stated, wrong = read_statements(raw, mapping, conventions or {}, units.get("loss"), ids, keep)
    problems += wrong
    problems += _per_byte_problems(stated, ids, keep)
    if "params" not in values:
        problems += _uncounted_problems(values, shapes, stated, keep)
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))

    source_of = {column: _origin(raw, column, header) for column, header in mapping.items()}
    _convert(values, units, stated, source_of)
    frame = pd.DataFrame({"run_id": ids} | values | shapes)
    if "family" in labels:
        frame["family"] = [str(value) for value in labels["family"]]
    if "isoflop" in labels:  # a run without one shares its budget with no other
        frame["isoflop"] = ["" if is_missing(v) else str(v) for v in labels["isoflop"]]
    if "run" in labels:
        frame["run"] = [str(value).strip() for value in labels["run"]]
    if "schedule_complete" in labels:
        frame["schedule_complete"] = complete
    _count_params(frame, shapes, stated, source_of)
    loss_said = _loss_said(units, stated, keep)
    harmonized = harmonize(
        frame.loc[keep], {c: rows[keep] for c, rows in stated.items()}, convert or {}, ids, mapping
    )
    frame = harmonized.frame
    for column, record in harmonized.records.items():
        source_of[column] = f"{source_of.get(column, 'nowhere')}, {record}"
    problems = plausibility_problems(frame, ids, [*units, *loss_said])
    problems += epoch_problems(frame, ids)
    problems += kept_problems(frame, ids)
    problems += harmonized.problems
    others = _other_losses(raw.loc[frame.index], mapping)
    frame = frame.reset_index(drop=True)
    conventions_known = harmonized.conventions
    if "unique_tokens" not in frame and {"tokens", "epochs"} <= set(frame.columns):
        frame["unique_tokens"] = frame["tokens"] / frame["epochs"]
        source_of["unique_tokens"] = "tokens / epochs"
    if "flops" not in frame and {"params", "tokens"} <= set(frame.columns):
        frame["flops"] = 6.0 * frame["params"] * frame["tokens"]
        source_of["flops"] = "6 * params * tokens"
        conventions_known = replace(conventions_known, flops="6ND")
    problems += repeat_problems(frame)
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))
    notes = [*harmonized.notes]
    if source_of.get("flops") == "6 * params * tokens":
        notes.append(Note("flops_derived", "flops is not in the log; taken as 6 * params * tokens"))
    told = replace(conventions_known, loss="nats") if loss_said else conventions_known
    notes += audit_notes(frame, told, others)
    return Runs(
        frame=frame,
        columns=MappingProxyType(source_of),
        dropped=tuple(dropped),
        warnings=tuple(notes),
        source=name,
        conventions=conventions_known,
    )


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


def _exclude(
    raw: pd.DataFrame, mapping: dict[str, str], exclude: dict[str, str], ids: list[str], name: str
) -> tuple[np.ndarray, list[LeftOut]]:
    keep = np.ones(len(raw), dtype=bool)
    dropped: list[LeftOut] = []
    for column, wanted in exclude.items():
        header = mapping.get(column, column)
        if header not in raw.columns:
            raise RunLogError(
                f"{name} has no column {column!r} to exclude runs by; it has "
                f"{listed(raw.columns, 20)}"
            )
        hits = np.array([_same(value, wanted) for value in raw[header]])
        dropped += [
            LeftOut(ids[i], f"{column} = {wanted}, excluded on request")
            for i in np.flatnonzero(hits & keep)
        ]
        keep &= ~hits
    if not keep.any():
        raise RunLogError(f"{name} has no rows left: all {len(raw)} are excluded on request")
    return keep, dropped


def _same(value: Any, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value).strip() == str(wanted).strip()


def _origin(raw: pd.DataFrame, column: str, header: str) -> str:
    stated = raw.get(f"{column}_from", pd.Series(dtype=object))
    texts = [text for text in map(str.strip, map(str, stated.dropna().unique())) if text]
    return f"column {header!r}" + (f" ({listed(texts)})" if texts else "")


def _run_ids(raw: pd.DataFrame, mapping: dict[str, str]) -> list[str]:
    if "run_id" not in mapping:
        return [f"row {i}" for i in range(1, len(raw) + 1)]
    return [
        f"row {i}" if is_missing(value) else str(value).strip()
        for i, value in enumerate(raw[mapping["run_id"]], 1)
    ]


# values


def _numbers(
    raw: pd.DataFrame,
    column: str,
    header: str,
    ids: list[str],
    keep: np.ndarray,
    problems: list[str],
) -> np.ndarray:
    cells = raw[header]
    values = np.full(len(cells), np.nan)
    texts, given = [], cells.tolist()
    for i, cell in enumerate(given):
        if is_missing(cell) or not keep[i]:
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
            f"{named(column, header)} has text in place of numbers: "
            f"{where(texts, ids, given)}; write plain numbers such as 1.4e12"
        )
        values[texts] = 1.0  # named once, as text, and not again as missing
    return values


def _lacking(
    values: dict[str, np.ndarray], labels: dict[str, pd.Series], keep: np.ndarray
) -> dict[str, np.ndarray]:
    lacking = {
        column: np.isnan(array) & keep
        for column, array in values.items()
        if column != "params_no_embed"  # no law needs it
    }
    for label in ("family", "run", "schedule_complete"):
        if label in labels:
            lacking[label] = keep & np.array([is_missing(v) for v in labels[label]], dtype=bool)
    return {column: rows for column, rows in lacking.items() if rows.any()}


def _neither_problems(
    raw: pd.DataFrame, header: str, answers: list[str], ids: list[str], keep: np.ndarray
) -> list[str]:
    given = raw[header].tolist()
    wrong = [i for i, v in enumerate(given) if keep[i] and not answers[i] and not is_missing(v)]
    if not wrong:
        return []
    return [
        f"{named('schedule_complete', header)} is neither yes nor no: "
        f"{where(wrong, ids, given)}; write yes for runs that were trained to the end of their "
        "learning-rate schedule, and no for the others"
    ]


def _missing_problem(column: str, header: str, rows: np.ndarray, ids: list[str]) -> str:
    keep = " or keep them for laws that do not need it with --missing keep"
    return (
        f"{named(column, header)} is missing in {where(np.flatnonzero(rows), ids)}: fill it in, "
        f"leave such rows out with --missing drop{keep if column in SCALES else ''}"
    )


def _value_problems(
    values: dict[str, np.ndarray], mapping: dict[str, str], ids: list[str], keep: np.ndarray
) -> list[str]:
    problems = []
    for column, array in values.items():
        infinite = np.flatnonzero(np.isinf(array) & keep)
        low = (array < 0) if column in ERRORS else (array <= 0)
        wrong = np.flatnonzero(low & np.isfinite(array) & keep)
        label = named(column, mapping[column])
        if infinite.size:
            problems.append(
                f"{label} is infinite: {where(infinite, ids, array.tolist())}; correct it or "
                "leave such runs out of the log"
            )
        if wrong.size:
            needed = "must not be negative" if column in ERRORS else "must be greater than zero"
            problems.append(f"{label} {needed}: {where(wrong, ids, array.tolist())}")
    return problems


def _shapes(
    raw: pd.DataFrame,
    mapping: dict[str, str],
    ids: list[str],
    keep: np.ndarray,
    problems: list[str],
) -> dict[str, np.ndarray]:
    """Each model's configuration, missing where a row does not give it."""
    switch = {"yes": 1.0, "no": 0.0}
    shapes = {}
    for column in (*SIZES, *SWITCHES):
        if column not in mapping:
            continue
        cells = raw[[mapping[column]]].astype(object)
        if column in SWITCHES:
            cells = cells.map(lambda cell: switch.get(yes_or_no(cell), cell))
        shapes[column] = _numbers(cells, column, mapping[column], ids, keep, problems)
    places = np.flatnonzero(keep)
    problems += configuration_problems(
        {column: rows[keep] for column, rows in shapes.items()},
        lambda rows, values: listed(
            f"{values[i]:.12g} in {where([int(places[i])], ids)}" for i in rows
        ),
    )
    return shapes


def _uncounted_problems(
    values: dict[str, np.ndarray],
    shapes: dict[str, np.ndarray],
    stated: Stated,
    keep: np.ndarray,
) -> list[str]:
    """Params that were to be counted from a configuration, and cannot be."""
    models = Configuration.of(shapes)
    kinds = list(dict.fromkeys(stated["params"][keep]))
    if models is None:
        if set(SCALES) & set(values):
            return []
        return [
            "it has none of params, tokens and flops, and no width to count params from the "
            "models' configuration: add it, or name a scale with, for example, --column "
            "params=HEADER"
        ]
    if UNKNOWN in kinds:
        return [
            "it has no params; to have them counted from the models' configuration, say what they "
            "are to count with --convention params=NAME, one of all, no_input_embedding and "
            "non_embedding"
        ]
    lacks = {c for kind in kinds for c in models.lacks(*NEEDED_FOR.get(kind, ()))}
    if not lacks:
        return []
    return [
        f"it has no params, and {', '.join(sorted(lacks))} are missing to count them from the "
        "models' configuration: add such columns, or name the column of params with --column "
        "params=HEADER"
    ]


def _count_params(
    frame: pd.DataFrame, shapes: dict[str, np.ndarray], stated: Stated, source_of: dict[str, str]
) -> None:
    models = Configuration.of(shapes)
    kinds = set(stated["params"])
    if "params" in frame or models is None or UNKNOWN in kinds:
        return
    counts = {kind: models.params(kind) for kind in kinds}
    frame["params"] = [counts[kind][i] for i, kind in enumerate(stated["params"])]
    source_of["params"] = "the models' configuration"


def _per_byte_problems(stated: Stated, ids: list[str], keep: np.ndarray) -> list[str]:
    lacking = keep & (stated["loss"] == "bits_per_byte") & np.isnan(stated["tokens_per_byte"])
    if not lacking.any():
        return []
    return [
        "losses in bits per byte need tokens_per_byte, the tokenizer's on the evaluation set, to "
        f"be put in nats per token, and it is not stated in {where(np.flatnonzero(lacking), ids)}: "
        "say it with --convention tokens_per_byte=VALUE or a column of that name; with "
        "tokens_per_byte=1 the law is one of nats per byte"
    ]


def _convert(
    values: dict[str, np.ndarray], units: dict[str, str], stated: Stated, source_of: dict[str, str]
) -> None:
    for column, unit in units.items():
        source_of[column] += f" in {unit}"
        if not (column == "loss" and (stated["loss"] != UNKNOWN).any()):
            values[column] = values[column] * unit_factor(column, unit)
    beside = [c for c in PER_RUN_UNITS if c in values and c not in units]
    if "loss" in units and (stated["loss"] == UNKNOWN).all():
        factor = unit_factor("loss", units["loss"])
        values |= {column: values[column] * factor for column in beside}
    loss = values["loss"].copy()
    for unit in set(stated["loss"]) - {UNKNOWN}:
        rows = stated["loss"] == unit
        per_byte = stated["tokens_per_byte"][rows]
        values["loss"][rows] = to_nats(loss[rows], unit, tokens_per_byte=per_byte)
        slope = 1 / loss[rows] if unit == "perplexity" else values["loss"][rows] / loss[rows]
        for column in beside:
            values[column][rows] *= slope
        if unit != "nats" and "loss" not in units:
            source_of["loss"] += f" in {unit}"


def _loss_said(units: dict[str, str], stated: Stated, keep: np.ndarray) -> list[str]:
    """``loss``, where its unit was stated for every run."""
    said = "loss" in units or bool((stated["loss"][keep] != UNKNOWN).all())
    return ["loss"] if said else []


def _other_losses(raw: pd.DataFrame, mapping: dict[str, str]) -> dict[str, np.ndarray]:
    taken = set(mapping.values())
    return {
        header: pd.to_numeric(raw[header], errors="coerce").to_numpy(dtype=float)
        for header in raw.columns
        if header not in taken and LOSS_LIKE.search(header)
    }
