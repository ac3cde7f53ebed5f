"""Tables that the snippet for the W&B API writes: summary and config as dictionaries, and name."""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bayescale.errors import TrackerError
from bayescale.runs.states import finished
from bayescale.trackers.tracked import History, TrackedRun, as_number, as_step, flattened

API_KEEPS = ("config.", "summary.", "table.")
UNKNOWN_STEP = -1
_NUMBERS = re.compile(r"(?<=[:\[,(] )(-?)(nan|inf)(?=[,}\])])")
"""NaN and infinity as Python prints them in a dictionary, where they are not literals."""


def is_api_table(cells: pd.DataFrame) -> bool:
    """Return whether a table has the columns that the snippet writes."""
    return {"summary", "config", "name"} <= set(cells.columns)


def api_runs(cells: pd.DataFrame, name: str, metrics: Sequence[str]) -> Iterator[TrackedRun]:
    """Return the runs of such a table, which holds only their last values.

    Raises
    ------
    TrackerError
        If a cell of summary or config is not a dictionary.
    """
    for number, (_, row) in enumerate(cells.iterrows(), 1):
        summary = _dictionary(row["summary"], f"summary in row {number} of {name}")
        config = _dictionary(row["config"], f"config in row {number} of {name}")
        places = flattened(config, "config.") | flattened(summary, "summary.")
        values = {metric: places.get(f"summary.{metric}") for metric in metrics}
        state = str(row.get("state", "")).strip()
        yield TrackedRun(
            id=str(row.get("id", row["name"])).strip(),
            name=str(row["name"]).strip(),
            state=state,
            finished=finished(state) if state else None,
            places=places | {f"table.{header}": value for header, value in row.items()},
            metrics=tuple(key for key in summary if not key.startswith("_")),
            histories=last_points(summary.get("_step"), values),
        )


def last_points(step: Any, values: Mapping[str, Any]) -> dict[str, History]:
    """Return histories of one point each, at a step, of the values that are numbers."""
    known = as_step(step)
    at = UNKNOWN_STEP if known is None else known
    numbers = {metric: as_number(value) for metric, value in values.items()}
    return {m: History.of([(at, number)]) for m, number in numbers.items() if number is not None}


def _dictionary(cell: Any, place: str) -> Mapping[str, Any]:
    value: Any = cell
    if isinstance(cell, str):
        value = _parsed(cell)
    if not isinstance(value, Mapping):
        raise TrackerError(
            f"{place} is {str(cell)[:40]!r}, which is not a dictionary: write the table anew with "
            "dict(run.config) and run.summary._json_dict, one row per run"
        )
    return value


def _parsed(text: str) -> Any:
    """Return a dictionary from JSON or from Python's notation, else None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    plain = _NUMBERS.sub(lambda m: "None" if m[2] == "nan" else f"{m[1]}1e999", text)
    try:
        return ast.literal_eval(plain)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
