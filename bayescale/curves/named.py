"""Schedules by name, for runs whose plan is not a table."""

from typing import Literal, get_args

import numpy as np

from bayescale.curves.schedule import Schedule
from bayescale.errors import RunLogError

Kind = Literal["constant", "cosine", "linear", "wsd", "step"]
KINDS: tuple[str, ...] = get_args(Kind)

FINAL_SHARE = 0.1
"""The default of the last rate, as a share of the peak."""

DECAY_SHARE = 0.2
"""The default length of the fall of a WSD schedule, as a share of the run."""

_CURVED = 100


def named_schedule(
    kind: str,
    final_step: float,
    *,
    peak: float = 1.0,
    warm_up: float = 0.0,
    decay_from: float | None = None,
    final_share: float = FINAL_SHARE,
) -> Schedule:
    """Make the schedule of a whole run.

    Parameters
    ----------
    kind : {"constant", "cosine", "linear", "wsd", "step"}
        ``linear`` and ``cosine`` fall from the end of the warm-up; ``wsd`` falls linearly, and
        ``step`` at once, from ``decay_from``.
    final_step : float
        The last step of the run.
    peak : float
        The largest learning rate.
    warm_up : float
        Steps of a linear rise from zero.
    decay_from : float, optional
        The step from which the rate falls; by default the last fifth of ``wsd`` and ``step``.
    final_share : float
        The last rate as a share of the peak.

    Returns
    -------
    Schedule

    Raises
    ------
    RunLogError
        If the name is unknown, the steps are not in order, or the last rate is not a share.
    """
    fall = (1 - DECAY_SHARE) * final_step if decay_from is None else decay_from
    start = fall if kind in ("wsd", "step") else warm_up
    problems = []
    if kind not in KINDS:
        problems.append(f"schedule {kind!r} is unknown: use {', '.join(KINDS)}, or a table")
    if not 0 <= warm_up <= start < final_step:
        problems.append(
            f"warm-up ends at {warm_up:g}, the fall begins at {start:g} and the run ends at "
            f"{final_step:g}: they must come in this order"
        )
    if not 0 <= final_share <= 1:
        problems.append(f"the last rate is {final_share:g} of the peak, but must be 0 to 1")
    if problems:
        raise RunLogError("; ".join(problems))
    steps, shares = falling(kind, start, final_step, 1.0, final_share)
    if start > warm_up:
        steps, shares = np.append(warm_up, steps), np.append(1.0, shares)
    if warm_up > 0:
        steps, shares = np.append(0.0, steps), np.append(0.0, shares)
    return Schedule.from_table(steps, peak * shares, f"{kind} schedule", warm_up=warm_up)


def from_here(kind: str, schedule: Schedule, step: float, final_step: float) -> Schedule:
    """Return the schedule up to a step, continued from there to another end in a named way.

    Raises
    ------
    RunLogError
        If the name is unknown, or the new end does not come after the step.
    """
    if kind not in KINDS:
        raise RunLogError(f"schedule {kind!r} is unknown: use {', '.join(KINDS)}, or a table")
    if final_step <= step:
        raise RunLogError(
            f"the run is at step {step:,.0f}, so it cannot end at {final_step:,.0f}: name a later "
            "step"
        )
    begin = float(schedule.rate(np.array([step]))[0])
    how = "linear" if kind == "wsd" else kind
    steps, rates = falling(how, step, final_step, begin, FINAL_SHARE * schedule.peak)
    name = f"{kind} to step {final_step:,.0f}"
    return schedule.continued(Schedule(steps, np.minimum(rates, begin), 0.0, name), step)


def falling(
    kind: str, start: float, end: float, first: float, last: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and rates of the knots of a named fall from one rate to another."""
    if kind == "constant":
        return np.array([start, end]), np.array([first, first])
    if kind == "step":
        return np.array([start, start, end]), np.array([first, last, last])
    if kind == "cosine":
        turn = np.linspace(0.0, 1.0, _CURVED)
        return start + turn * (end - start), last + (first - last) * (1 + np.cos(np.pi * turn)) / 2
    return np.array([start, end]), np.array([first, last])
