"""Read a run log: find its columns, check every value, convert units.

Bad input is never fixed, dropped or guessed. Everything wrong with a log is told at once,
and every row that the caller asks to leave out is listed with its reason.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayescale.errors import RunLogError, UnitError, collected, listed
from bayescale.runs.cells import is_missing, named, where, yes_or_no
from bayescale.runs.files import load_table
from bayescale.runs.log import ERRORS, LABELS, NUMBERS, SCALES, LeftOut, Note, Runs
from bayescale.units import unit_factor

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": ("n", "n_params", "num_params", "parameters", "num_parameters", "model_size"),
        "tokens": ("d", "n_tokens", "num_tokens", "training_tokens", "train_tokens"),
        "flops": ("c", "flop", "compute", "training_flop", "training_flops", "train_flops"),
        "loss": ("l", "final_loss", "val_loss", "validation_loss", "eval_loss", "test_loss"),
        "loss_se": ("loss_stderr", "loss_std_err", "loss_standard_error"),
        "loss_step": ("loss_resolution",),
        "family": ("model_family", "group"),
        "isoflop": ("isoflop_group", "isoflop_budget"),
        "unique_tokens": ("unique", "tokens_unique"),
        "epochs": ("n_epochs", "num_epochs"),
        "kept_fraction": ("fraction_kept", "keep_fraction"),
        "lm_loss": ("pretraining_loss",),
        "schedule_complete": ("decay_complete",),
        "steps": ("training_steps", "train_steps", "n_steps", "num_steps"),
        "run_id": ("run", "name", "run_name", "id"),
    }
)
"""Column names understood beside the canonical ones; case, spaces and dashes do not matter."""

MOST_NATS = 15.0  # above the log of any vocabulary in use, so not nats per token
FLOPS_TOLERANCE = 0.2
ROUNDED = 0.01  # counts of tokens and epochs are written in round numbers
WRONG_UNIT_FACTOR = 100.0  # 6 N D is off by less than this under any convention of counting
LARGE_RUN = MappingProxyType({"flops": 1e19, "params": 3e8, "tokens": 6e9})
LARGE_RUN_MOST_NATS = 4.5
SMALLEST = MappingProxyType({"params": 1e4, "tokens": 1e6, "flops": 1e12})
_UNITS_HINT = MappingProxyType(
    {
        "params": "counts of parameters, such as 7e9; if they are in billions, say "
        "--unit params=1e9",
        "tokens": "counts of tokens, such as 1.4e12; if they are in billions, say "
        "--unit tokens=1e9",
        "flops": "FLOP, such as 5.76e23; if they are in PF-days, say --unit flops=PF-day",
    }
)


def read_runs(
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    exclude: Mapping[str, str] | None = None,
    missing: Literal["error", "drop", "keep"] = "error",
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

    Returns
    -------
    Runs
        With ``flops = 6 * params * tokens`` where the log has no such column.

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
    mapping = _map_columns(raw, dict(columns or {}), units, name)
    ids = _run_ids(raw, mapping)
    keep, dropped = _exclude(raw, mapping, dict(exclude or {}), ids, name)

    problems: list[str] = []
    values: dict[str, np.ndarray] = {}
    for column in NUMBERS:
        if column in mapping:
            values[column] = _numbers(raw, column, mapping[column], ids, keep, problems)
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
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))

    source_of = {column: _origin(raw, column, header) for column, header in mapping.items()}
    _convert(values, units, source_of)
    frame = pd.DataFrame({"run_id": ids} | values)
    if "family" in labels:
        frame["family"] = [str(value) for value in labels["family"]]
    if "isoflop" in labels:  # a run without one shares its budget with no other
        frame["isoflop"] = ["" if is_missing(v) else str(v) for v in labels["isoflop"]]
    if "run" in labels:
        frame["run"] = [str(value).strip() for value in labels["run"]]
    if "schedule_complete" in labels:
        frame["schedule_complete"] = complete
    problems = _plausibility_problems(frame.loc[keep], ids, units)
    problems += _epoch_problems(frame.loc[keep], ids)
    problems += _kept_problems(frame.loc[keep], ids)
    frame = frame.loc[keep].reset_index(drop=True)
    if "unique_tokens" not in frame and {"tokens", "epochs"} <= set(frame.columns):
        frame["unique_tokens"] = frame["tokens"] / frame["epochs"]
        source_of["unique_tokens"] = "tokens / epochs"
    if "flops" not in frame and {"params", "tokens"} <= set(frame.columns):
        frame["flops"] = 6.0 * frame["params"] * frame["tokens"]
        source_of["flops"] = "6 * params * tokens"
    problems += _repeat_problems(frame)
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))
    return Runs(
        frame=frame,
        columns=MappingProxyType(source_of),
        dropped=tuple(dropped),
        warnings=tuple(_notes(frame, source_of)),
        source=name,
    )


# columns


def _canonical(header: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in header.lower()).split())


def _map_columns(
    raw: pd.DataFrame, chosen: dict[str, str], units: dict[str, str], name: str
) -> dict[str, str]:
    known = (*NUMBERS, *LABELS)
    problems = [
        f"column {column!r} is not one of {', '.join(known)}"
        for column in {**chosen, **units}
        if column not in known
    ]
    problems += [
        f"column {header!r}, named for {column}, is not there; it has {listed(raw.columns, 20)}"
        for column, header in chosen.items()
        if header not in raw.columns
    ]
    mapping = {c: h for c, h in chosen.items() if c in known and h in raw.columns}
    for column in known:
        if column in mapping:
            continue
        exact = [h for h in raw.columns if _canonical(h) == column]
        found = exact or [h for h in raw.columns if _canonical(h) in ALIASES.get(column, ())]
        found = [h for h in found if h not in mapping.values()]
        if len(found) > 1:
            problems.append(
                f"columns {listed(map(repr, found))} could each be {column}: choose with "
                f"--column {column}=HEADER"
            )
        elif found:
            mapping[column] = found[0]
    for column, unit in units.items():
        if column in known and column not in mapping:
            problems.append(f"a unit is named for {column}, which the log does not have")
        elif column in known and not (column == "loss" and unit.lower() == "perplexity"):
            try:
                unit_factor(column, unit)
            except UnitError as error:
                problems.append(str(error))
    if "loss" not in mapping and not any("be loss" in p or "for loss" in p for p in problems):
        problems.append(
            f"it has no loss among its columns {listed(raw.columns, 20)}: name it with "
            "--column loss=HEADER"
        )
    if not any(column in mapping for column in SCALES):
        problems.append(
            "it has none of params, tokens and flops: name at least one with, for example, "
            "--column params=HEADER"
        )
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))
    return mapping


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
    lacking = {column: np.isnan(array) & keep for column, array in values.items()}
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


def _convert(
    values: dict[str, np.ndarray], units: dict[str, str], source_of: dict[str, str]
) -> None:
    perplexity = units.get("loss", "").lower() == "perplexity"
    for column, unit in units.items():
        source_of[column] += f" in {unit}"
        if not (column == "loss" and perplexity):
            values[column] = values[column] * unit_factor(column, unit)
    beside = [c for c in ("loss_se", "loss_step") if c in values and c not in units]
    if perplexity:
        values |= {column: values[column] / values["loss"] for column in beside}
        values["loss"] = np.log(values["loss"])
    elif "loss" in units:
        factor = unit_factor("loss", units["loss"])
        values |= {column: values[column] * factor for column in beside}


def _plausibility_problems(frame: pd.DataFrame, ids: list[str], units: dict[str, str]) -> list[str]:
    problems = []
    loss = frame["loss"]
    high = frame.index[loss > MOST_NATS]
    if len(high):
        problems.append(
            f"loss is above {MOST_NATS:g} in {len(high)} of {len(loss)} runs, "
            f"{where(high, ids, loss.to_dict())}: that is not nats per token; if it is "
            "perplexity, say --unit loss=perplexity"
        )
    elif "loss" not in units:
        column, large = next((c, v) for c, v in LARGE_RUN.items() if c in frame)
        losses = frame.loc[frame[column] >= large, "loss"]
        if len(losses) and losses.median() > LARGE_RUN_MOST_NATS:
            problems.append(
                f"the median loss of the {len(losses)} runs with {column} of {large:g} or more is "
                f"{losses.median():.3g}, where language models reach below 4 nats per token; if "
                "it is perplexity, say --unit loss=perplexity; if nats are meant, --unit loss=nats"
            )
    for column, smallest in SMALLEST.items():
        if column not in frame or column in units:
            continue
        low = frame.index[frame[column] < smallest]
        if len(low):
            problems.append(
                f"{column} is below {smallest:g} in {len(low)} of {len(frame)} runs, "
                f"{where(low, ids, frame[column].to_dict())}: raw {_UNITS_HINT[column]}; "
                f"if they are meant, say --unit {column}=1"
            )
    if not problems and {"params", "tokens", "flops"} <= set(frame.columns):
        ratio = (frame["flops"] / (6.0 * frame["params"] * frame["tokens"])).median()
        if ratio > WRONG_UNIT_FACTOR or ratio < 1 / WRONG_UNIT_FACTOR:
            problems.append(
                f"flops is {ratio:.3g} times 6 * params * tokens (median), so one of the three is "
                "in another unit: state it with --unit, for example --unit tokens=1e9"
            )
    return problems


def _epoch_problems(frame: pd.DataFrame, ids: list[str]) -> list[str]:
    problems = []
    if "epochs" in frame:
        low = frame.index[frame["epochs"] < 1 - ROUNDED]
        if len(low):
            problems.append(
                f"epochs must be one or more: {where(low, ids, frame['epochs'].to_dict())}; they "
                "count how often the unique tokens were seen"
            )
    if {"tokens", "unique_tokens"} <= set(frame.columns):
        more = frame.index[frame["unique_tokens"] > frame["tokens"] * (1 + ROUNDED)]
        if len(more):
            problems.append(
                "unique_tokens is above tokens, those seen: "
                f"{where(more, ids, frame['unique_tokens'].to_dict())}; count the tokens that "
                "were trained on, each once"
            )
    return problems


def _kept_problems(frame: pd.DataFrame, ids: list[str]) -> list[str]:
    if "kept_fraction" not in frame:
        return []
    more = frame.index[frame["kept_fraction"] > 1]
    if not len(more):
        return []
    return [
        f"kept_fraction is above 1: {where(more, ids, frame['kept_fraction'].to_dict())}; it is "
        "the share of the data that pruning kept, 1 for all of it"
    ]


def _repeat_problems(frame: pd.DataFrame) -> list[str]:
    problems = []
    repeated_ids = frame.loc[frame["run_id"].duplicated(), "run_id"].unique()
    if len(repeated_ids):
        problems.append(
            f"run_id {listed(map(repr, repeated_ids))} stands for more than one run: give each "
            "run its own; rows that are checkpoints of one training run say which in another "
            "column, --column run=HEADER"
        )
    values = [c for c in frame.columns if c != "run_id"]
    again = frame.duplicated(subset=values, keep="first")
    if again.any():
        first = frame.loc[frame.duplicated(subset=values, keep=False) & ~again, "run_id"]
        problems.append(
            f"{int(again.sum())} runs repeat an earlier one in every value: "
            f"{listed(frame.loc[again, 'run_id'])} (the first is {first.iloc[0]}); a run counted "
            "twice makes the fit too sure, so remove the copies"
        )
    return problems


def _notes(frame: pd.DataFrame, source_of: dict[str, str]) -> list[Note]:
    notes = []
    if source_of.get("flops") == "6 * params * tokens":
        notes.append(Note("flops_derived", "flops is not in the log; taken as 6 * params * tokens"))
    elif {"params", "tokens", "flops"} <= set(frame.columns):
        ratio = (frame["flops"] / (6.0 * frame["params"] * frame["tokens"])).dropna()
        off = (ratio > 1 + FLOPS_TOLERANCE) | (ratio < 1 / (1 + FLOPS_TOLERANCE))
        if off.any():
            notes.append(
                Note(
                    "flops_convention",
                    f"flops differs from 6 * params * tokens by more than {FLOPS_TOLERANCE:.0%} in "
                    f"{int(off.sum())} of {len(ratio)} runs: their ratio goes from "
                    f"{ratio.min():.3g} to {ratio.max():.3g}, median {ratio.median():.3g}; "
                    "check how compute, embeddings and repeated data were counted",
                )
            )
    return notes
