"""What to read from each run: which points of its loss, and the places of the other columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from bayescale.errors import MOST_NAMES, TrackerError, argument, collected, did_you_mean, listed
from bayescale.runs.log import LABELS, NUMBERS, SCALES, SHAPES
from bayescale.runs.statements import COLUMN_OF
from bayescale.trackers.tracked import History

Refusal = Literal["error", "drop", "keep"]
Repeats = Literal["error", "drop", "last"]

NAMES = tuple(
    name
    for name in (*NUMBERS, *LABELS, *SHAPES, *COLUMN_OF.values())
    if name not in ("loss", "run_id")
)
"""Columns of a run log that a place in a tracker can fill."""
GROWING = ("tokens", "flops", "unique_tokens", "epochs", "steps")
"""Columns that grow while a run trains."""


class Smoothing(NamedTuple):
    """A mean of the last ``constant`` points, or of all points with weights ``constant ** age``."""

    kind: Literal["mean", "ema"]
    constant: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to read from each run, and how to treat runs that lack it.

    Attributes
    ----------
    metric : str
        The tracker's name of the loss.
    columns : mapping of str to str
        The tracker's places of the other columns, such as ``{"params": "config.n_params"}``.
    step : int or None
        The step of the loss; None for the last step.
    smooth : str or None
        None for the point as logged; ``"mean:K"`` for the mean of the last K points up to the step;
        ``"ema:A"`` for the mean of all points up to the step, in which each point has A times the
        weight of the next one.
    unfinished : {"error", "drop", "keep"}
        What to do with runs that have not finished, or whose files end within a record.
    repeated : {"error", "drop", "last"}
        What to do with runs whose metric was logged more than once, with different values, at a
        step that is used: raise an error, leave them out, or take the value logged last.
    missing : {"error", "drop", "keep"}
        What to do with runs that lack the metric, the step, a finite value or a value at a place;
        runs that are kept have an empty cell there.
    run_id : {"name", "id"}
        Whether runs are named by their name or by the tracker's identifier.
    """

    metric: str
    columns: Mapping[str, str]
    step: int | None = None
    smooth: str | None = None
    unfinished: Refusal = "error"
    repeated: Repeats = "error"
    missing: Refusal = "error"
    run_id: Literal["name", "id"] = "name"

    def __post_init__(self) -> None:
        problems = [
            "the loss is named by `metric=`, and not among the columns"
            if name == "loss"
            else f"column {name!r} is not one of {listed(NAMES, MOST_NAMES)}"
            f"{did_you_mean(name, NAMES)}"
            for name in self.columns
            if name not in NAMES
        ]
        if not {*SCALES, "layers"} & set(self.columns):
            problems.append(
                "none of params, tokens and flops has a place: name at least one, for example "
                f"{argument('columns', params='config.n_params')}"
            )
        try:
            _ = self.smoothing
        except TrackerError as error:
            problems.append(str(error))
        if problems:
            raise TrackerError(collected("runs cannot be imported so:", problems))

    @property
    def smoothing(self) -> Smoothing | None:
        """How the points are averaged, read from ``smooth``."""
        if self.smooth is None:
            return None
        kind, _, text = self.smooth.partition(":")
        try:
            constant = float(text)
            if kind == "mean" and constant >= 2 and constant == int(constant):
                return Smoothing("mean", constant)
            if kind == "ema" and 0 < constant < 1:
                return Smoothing("ema", constant)
        except (ValueError, OverflowError):
            pass
        raise TrackerError(
            f"smoothing {self.smooth!r} is neither mean:K, with K a whole number from 2, nor "
            "ema:A, with A between 0 and 1"
        )

    def __str__(self) -> str:
        at = "the last step" if self.step is None else f"step {self.step}"
        match self.smoothing:
            case None:
                text = f"{self.metric} at {at}, as logged"
            case Smoothing("mean", constant):
                text = f"mean of the last {constant:g} points of {self.metric} up to {at}"
            case Smoothing(_, constant):
                text = f"exponential mean of {self.metric} up to {at}, {constant:g} a point"
        later = ", the later value where a step was logged twice"
        return text + (later if self.repeated == "last" else "")

    def series(self, prefix: str) -> tuple[str, ...]:
        """Return the metrics to read: the loss, and those that columns name."""
        places = (place for place in self.columns.values() if place.startswith(prefix))
        return tuple(dict.fromkeys([self.metric, *(p.removeprefix(prefix) for p in places)]))


class Selected(NamedTuple):
    """The value selected for a run, or the reason why it has none."""

    value: float
    step: int
    last: int
    lacking: str = ""
    repeats: str = ""


def select(history: History, step: int | None, smoothing: Smoothing | None) -> Selected:
    """Return the value of a metric at a step, smoothed if requested.

    Returns
    -------
    Selected
        The value, with ``lacking`` set if there is no finite value, and ``repeats`` if a step that
        is used has more than one value; the later of them is taken.
    """
    steps, values, differs = _by_step(history)
    last = int(steps[-1])
    end = len(steps) if step is None else int(np.searchsorted(steps, step, side="right"))
    if step is not None and (end == 0 or steps[end - 1] != step):
        near = [f"{steps[i]}" for i in (end - 1, end) if 0 <= i < len(steps)]
        return Selected(np.nan, step, last, f"no step {step}, but {' and '.join(near)}")
    at = int(steps[end - 1])
    count = 1 if smoothing is None else end
    if smoothing is not None and smoothing.kind == "mean":
        count = int(smoothing.constant)
        if count > end:
            points = f"{end} point{'' if end == 1 else 's'}"
            return Selected(
                np.nan, at, last, f"{points} up to step {at}, but the mean is of {count}"
            )
    used = slice(end - count, end)
    wrong = np.flatnonzero(~np.isfinite(values[used]))
    if wrong.size:
        where = end - count + wrong[-1]
        return Selected(np.nan, at, last, f"{values[where]} at step {steps[where]}")
    again = np.flatnonzero(differs[used])
    repeats = f"step {steps[end - count + again[-1]]}" if again.size else ""
    if smoothing is None:
        value = values[end - 1]
    else:
        ratio = smoothing.constant if smoothing.kind == "ema" else 1.0
        value = np.average(values[used], weights=ratio ** np.arange(count - 1, -1, -1.0))
    return Selected(float(value), at, last, "", repeats)


def at_or_before(history: History, step: int) -> float:
    """Return the last value logged up to a step, or NaN."""
    steps, values, _ = _by_step(history)
    end = int(np.searchsorted(steps, step, side="right"))
    return float(values[end - 1]) if end else np.nan


def _by_step(history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return increasing steps, the last value logged at each, and whether another preceded it."""
    order = np.argsort(history.steps, kind="stable")
    steps, values = history.steps[order], history.values[order]
    same = steps[1:] == steps[:-1]
    changed = same & (values[1:] != values[:-1]) & ~(np.isnan(values[1:]) & np.isnan(values[:-1]))
    final = np.append(~same, True)
    first = np.flatnonzero(np.append(True, ~same))
    differs = np.logical_or.reduceat(np.append(False, changed), first)
    return steps[final], values[final], differs
