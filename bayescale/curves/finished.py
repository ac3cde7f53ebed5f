"""Finished runs of a recipe, from a table of their curves."""

from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.curves.history import RATES, history_of
from bayescale.curves.learned import Finished
from bayescale.curves.schedule import Schedule
from bayescale.errors import RunLogError, listed
from bayescale.runs.table import load_table
from bayescale.units import as_size

POINTS = 24
"""The number of losses that are taken from a run, evenly spaced in the log of steps."""


def read_finished(source: str | Path | pd.DataFrame) -> list[Finished]:
    """Read finished runs from a table with a row for each logged loss.

    Parameters
    ----------
    source : path or pandas.DataFrame
        Columns ``run``, ``step``, ``lr``, the loss, and ``params`` if sizes differ.

    Returns
    -------
    list of Finished
        One for each run, or for each run and size; the argument ``finished`` of
        :func:`bayescale.watch`.

    Raises
    ------
    RunLogError
        If columns are missing, or the rows of a run are not its history.
    """
    table = load_table(Path(source) if isinstance(source, str) else source)
    cells = table.cells
    if "run" not in cells:
        raise RunLogError(
            f"{table.name} has no column `run`, but {listed(cells.columns)}: name the runs there"
        )
    by = ["run", "params"] if "params" in cells else ["run"]
    return [
        _finished(part, f"{table.name}, run {', '.join(map(str, names))}")
        for names, part in cells.groupby(by)
    ]


def _finished(part: pd.DataFrame, name: str) -> Finished:
    history = history_of(part.drop(columns="run"), name, None, None, None, "error")
    if not len(history.rates):
        raise RunLogError(f"{name} has no learning rates: add a column among {listed(RATES)}")
    schedule = Schedule.from_table(history.rate_steps, history.rates, name)
    first = max(1.15 * schedule.warm_up, 0.03 * schedule.last_step, history.steps[0])
    observed = history.observed(schedule, np.geomspace(first, history.last_step, POINTS))
    params = as_size(str(part["params"].iloc[0]) if "params" in part else "1", "params")
    assert isinstance(params, float)
    return Finished(schedule, observed, params)
