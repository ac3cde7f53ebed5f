"""The plan of a run in progress, from a table or a name and from what the run has logged."""

from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.curves.history import RATES, STEPS, History
from bayescale.curves.named import FINAL_SHARE, from_here, named_schedule
from bayescale.curves.schedule import Schedule
from bayescale.errors import RunLogError, listed
from bayescale.runs.table import load_table
from bayescale.units import as_size


def plan_of_table(
    source: Path | pd.DataFrame, history: History | None = None, warm_up: float | None = None
) -> Schedule:
    """Return the plan that a table of steps and learning rates holds.

    Parameters
    ----------
    source : path or pandas.DataFrame
        Columns ``step`` and ``lr``, to the end of the run. If it begins later than the history, the
        rates that the run has logged are put before it.
    history : History, optional
    warm_up : float, optional
        Steps of warm-up; by default, those until the rate first reaches its largest value.

    Raises
    ------
    RunLogError
        If the table has no such columns, a cell is empty, or the rates are not a schedule.
    """
    table = load_table(source)
    lower = {str(column).lower(): column for column in table.cells.columns}
    step = next((lower[name] for name in STEPS if name in lower), None)
    rate = next((lower[name] for name in RATES if name in lower), None)
    if step is None or rate is None:
        raise RunLogError(
            f"{table.name} is not a plan: it needs columns `step` and `lr`, but has "
            f"{listed(table.cells.columns)}: rename two of these"
        )
    cells = table.cells[[step, rate]].apply(pd.to_numeric, errors="coerce")
    if cells.isna().to_numpy().any():
        row = int(cells.isna().any(axis=1).to_numpy().argmax()) + 1
        raise RunLogError(
            f"{table.name} is not a plan: row {row} lacks a number for {step} or {rate}: fill it in"
        )
    steps, rates = cells.to_numpy(dtype=float).T
    if history is not None and len(history.rates) and steps[0] > history.rate_steps[0]:
        before = history.rate_steps < steps[0]
        steps = np.append(history.rate_steps[before], steps)
        rates = np.append(history.rates[before], rates)
    return Schedule.from_table(steps, rates, table.name, warm_up)


def named_plan(
    kind: str,
    final_step: float,
    history: History | None = None,
    *,
    warm_up: float | None = None,
    decay_from: float | None = None,
    final_share: float = FINAL_SHARE,
) -> Schedule:
    """Return a plan by name, with the peak and the warm-up that the run has logged.

    Parameters
    ----------
    kind : {"constant", "cosine", "linear", "wsd", "step"}
        See :func:`bayescale.named_schedule`.
    final_step : float
        The last step of the run.
    history : History, optional
        The run so far. By default, the peak is 1 and there is no warm-up.
    warm_up : float, optional
        Steps of warm-up; by default those of the history.
    decay_from, final_share : float
        See :func:`bayescale.named_schedule`.

    Raises
    ------
    RunLogError
        See :func:`bayescale.named_schedule`.
    """
    peak, rise = 1.0, 0.0
    if history is not None and len(history.rates) and history.rates.max() > 0:
        peak = float(history.rates.max())
        first = history.rate_steps[int(np.argmax(history.rates >= peak * (1 - 1e-9)))]
        rise = float(first)
    return named_schedule(
        kind,
        final_step,
        peak=peak,
        warm_up=rise if warm_up is None else warm_up,
        decay_from=decay_from,
        final_share=final_share,
    )


def other_way(text: str, history: History, plan: Schedule) -> Schedule:
    """Return the plan with another rest: ``linear:80000``, or a table of step and lr.

    Raises
    ------
    RunLogError
        If the text is neither.
    """
    name, _, step = text.rpartition(":")
    if name and not Path(text).exists():
        last = as_size(step, "the step")
        assert isinstance(last, float)
        return from_here(name, plan, history.last_step, last)
    if not Path(text).exists():
        raise RunLogError(
            f"{text!r} is neither a file nor a schedule: write NAME:STEP, such as linear:80000, or "
            "name a table of step and lr"
        )
    return plan.continued(plan_of_table(Path(text)), history.last_step)
