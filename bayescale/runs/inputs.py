"""Columns that only some laws need, read from a log when a law names them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale.errors import RunLogError, argument, collected, listed
from bayescale.laws import Law
from bayescale.runs.cells import is_missing, read_numbers
from bayescale.runs.columns import ALIASES, canonical
from bayescale.runs.log import SCALES, Runs


def with_inputs(runs: Runs, law: Law) -> Runs:
    """Return runs with the further inputs of a law: see :func:`read_inputs`."""
    return read_inputs(runs, law.foreign, f"law {law.name!r} cannot be fitted to")


def read_inputs(runs: Runs, names: Sequence[str], use: str) -> Runs:
    """Return runs with further columns, which only some questions need.

    Parameters
    ----------
    runs : Runs
    names : sequence of str
        Inputs that the package does not know, which are found by name or alias among the unread
        columns.
    use : str
        The start of messages: ``law 'chinchilla' cannot be fitted to``.

    Returns
    -------
    Runs
        The runs with those of these columns that the log has.

    Raises
    ------
    RunLogError
        If such a column has cells that are not positive finite numbers, several columns could be
        meant, or a column equals a known scale up to a constant factor.
    """
    frame, columns, problems = runs.frame, dict(runs.columns), []
    for name in (n for n in names if n not in frame):
        headers = _headers(name, runs.others)
        if len(headers) > 1:
            problems.append(
                f"columns {listed(map(repr, headers))} could each be {name}: choose with "
                f"{argument('columns', **{name: headers[0]})} or another of them"
            )
        if len(headers) != 1:
            continue
        values, problem = _values(runs, name, headers[0])
        problems += problem
        frame = frame.assign(**{name: values})
        columns[name] = f"column {headers[0]!r}"
    if not problems:
        problems += [text for name in names for text in _equal_scales(frame, name)]
    if problems:
        raise RunLogError(collected(f"{use} {runs.source}:", problems))
    read = {source.removeprefix("column ").strip("'") for source in columns.values()}
    unused = tuple(text for text in runs.unused if text.rpartition(" (")[0] not in read)
    return replace(runs, frame=frame, columns=columns, unused=unused, _arrays={})


def _headers(name: str, others: pd.DataFrame) -> list[str]:
    plain = {str(header): canonical(str(header)) for header in others}
    exact = [header for header, text in plain.items() if text == name]
    return exact or [header for header, text in plain.items() if text in ALIASES.get(name, ())]


def _values(runs: Runs, name: str, header: str) -> tuple[np.ndarray, list[str]]:
    cells = runs.others[header].tolist()
    values, texts, _ = read_numbers(cells, np.ones(len(cells), dtype=bool))
    gaps = np.array([is_missing(cell) for cell in cells])
    low = ~gaps & ~(np.isfinite(values) & (values > 0))
    low[texts] = False
    what = name if header == name else f"{name} (column {header!r})"
    problems = []
    for rows, need in (
        (texts, "has text instead of numbers"),
        (np.flatnonzero(gaps), "is missing"),
        (np.flatnonzero(low), "must be finite and greater than zero, because laws take its log"),
    ):
        if len(rows):
            ids = runs["run_id"]
            places = listed(f"{cells[i]!r} in {ids[i]}" for i in rows)
            leave = argument("exclude", run_id=",".join(str(ids[i]) for i in rows[:5]))
            problems.append(
                f"{what} {need}: {places}; correct it, or leave such rows out ({leave})"
            )
    return values, problems


def _equal_scales(frame: pd.DataFrame, name: str) -> list[str]:
    """Return messages on known scales that an input equals up to a constant factor."""
    if name not in frame or frame[name].nunique() < 2:
        return []
    values = np.log(frame[name].to_numpy(float))
    found = []
    for scale in (s for s in SCALES if s in frame):
        apart = values - np.log(frame[scale].to_numpy(float))
        if np.isfinite(apart).all() and np.ptp(apart) < 1e-6:
            times = float(np.exp(apart[0]))
            equal = scale if abs(times - 1) < 1e-6 else f"{times:.4g} times {scale}"
            found.append(
                f"{name} is {equal} in every run, so nothing tells them apart: name the law's "
                f"input {scale}, or add runs in which they differ"
            )
    return found
