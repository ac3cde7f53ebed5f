"""A run log from the runs of a tracker, as a table to check and edit."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from bayescale.errors import TrackerError, collected, first_few, listed
from bayescale.files import replacing
from bayescale.findings import Finding, note
from bayescale.runs import LeftOut, Runs, read_runs
from bayescale.runs.cells import parse_number
from bayescale.runs.log import NUMBERS
from bayescale.trackers.choice import GROWING, NAMES, Choice, Selected, at_or_before, select
from bayescale.trackers.tracked import Tracked, TrackedRun

MOST_NAMES = 12


@dataclass(frozen=True, eq=False)
class TrackerLog:
    """A run log from a tracker, before its values are checked by :func:`read_runs`.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row per run: ``run_id``, the columns that places fill, ``loss``, ``at_step``, ``state``
        and ``tracker_id``; ``finished`` (1 or 0) if unfinished runs were kept; and for each number
        ``NAME_from``, its origin. Do not change it.
    origins : mapping of str to str
        The origin of the loss, and of each other column.
    dropped : tuple of LeftOut
        Runs that were left out on request.
    notes : tuple of Finding
        What was noticed while reading.
    source : str
        The tracker and its source, such as ``MLflow runs.db``.
    """

    frame: pd.DataFrame
    origins: Mapping[str, str]
    dropped: tuple[LeftOut, ...]
    notes: tuple[Finding, ...]
    source: str

    def __len__(self) -> int:
        return len(self.frame)

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the log that the caller may change."""
        return self.frame.copy()

    def records(self) -> list[dict[Hashable, Any]]:
        """Return the rows as dictionaries, with None for missing values."""
        plain = self.frame.astype(object)
        return plain.where(plain.notna(), None).to_dict(orient="records")

    def to_csv(self, path: str | Path) -> Path:
        """Write the log, whole or not at all, with empty cells for missing values."""
        with replacing(path) as temporary:
            self.frame.to_csv(temporary, index=False)
        return Path(path)

    def runs(self, *, units: Mapping[str, str] | None = None) -> Runs:
        """Return the checked log, in raw units."""
        states = [c for c in ("state",) if c in self.frame]  # ``Choice.unfinished`` has handled it
        runs = read_runs(self.frame, units=units, missing="keep", ignore=states)
        return replace(
            runs,
            source=self.source,
            dropped=(*self.dropped, *runs.dropped),
            warnings=(*self.notes, *runs.warnings),
        )

    def __str__(self) -> str:
        steps = self.frame["at_step"].dropna()
        ends = sorted({steps.min(), steps.max()}) if len(steps) else ()
        span = f", at step{'s'[: len(ends) - 1]} {' to '.join(map(str, ends))}" if ends else ""
        return f"{len(self)} run{'s'[: len(self) - 1]} from {self.source}{span}"


@dataclass
class _Reading:
    """The values read from one run, before the decision whether to keep it."""

    name: str
    id: str
    unfinished: str
    unknown: bool
    row: dict[str, Any] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    repeats: str = ""


def collect(tracked: Tracked, choice: Choice) -> TrackerLog:
    """Return a run log of the runs that a tracker holds, which are read one at a time."""
    _require_places(tracked, choice)
    readings = [_read(run, tracked, choice) for run in tracked.runs]
    if not readings:
        raise TrackerError(f"{tracked.source} holds no runs: name what holds some")
    reasons = [_why_left_out(one, choice) for one in readings]
    dropped = [LeftOut(one.name, why) for one, why in zip(readings, reasons, strict=True) if why]
    kept = [one for one, why in zip(readings, reasons, strict=True) if not why]
    if not kept:
        raise TrackerError(
            f"{tracked.source} has no runs left, all are left out: "
            f"{listed(f'{name} ({why})' for name, why in dropped)}"
        )
    problems = _shared_name_problems(kept) + _problems(kept, choice)
    if problems:
        raise TrackerError(collected(f"{tracked.source} cannot be imported:", problems))
    origins = _origins(tracked, choice)
    return TrackerLog(
        frame=_frame([one.row for one in kept], origins, choice),
        origins=MappingProxyType(origins),
        dropped=tuple(dropped),
        notes=(*_notes(kept, tracked), *tracked.notes),
        source=tracked.source,
    )


def _require_places(tracked: Tracked, choice: Choice) -> None:
    known = (*tracked.keeps, tracked.series)
    problems = [
        f"{name} is to come from {place!r}, but a place here begins with {', '.join(known)}"
        + ("" if "." in place else f": write {known[0]}{place}")
        for name, place in choice.columns.items()
        if not any(place.startswith(prefix) and place != prefix for prefix in known)
    ]
    if problems:
        raise TrackerError(collected(f"{tracked.source} cannot be imported:", problems))


def _read(run: TrackedRun, tracked: Tracked, choice: Choice) -> _Reading:
    reading = _Reading(
        name=run.id if choice.run_id == "id" else run.name,
        id=run.id,
        unfinished=run.cut or (f"is {run.state}" if run.finished is False else ""),
        unknown=run.finished is None and not run.cut,
    )
    history, point = run.history(choice.metric), None
    if history is None:
        among = listed(map(repr, run.metrics), MOST_NAMES)
        bare = choice.metric.partition(".")[2]
        among += f"; write {bare}" if bare in run.metrics else ""
        reading.lacks.append(f"no metric {choice.metric!r}" + (f" among {among}" if among else ""))
    else:
        point = select(history, choice.step, choice.smoothing)
        reading.repeats = point.repeats
        if point.lacking:
            reading.lacks.append(f"{choice.metric} has {point.lacking}")
    for column, place in choice.columns.items():
        reading.row[column] = _read_place(reading, run, column, place, tracked, point)
    reading.row |= {
        "run_id": reading.name,
        "loss": math.nan if point is None else point.value,
        "at_step": None if point is None or point.step < 0 else point.step,
        "finished": None if reading.unknown else int(not reading.unfinished),
        "state": run.state or None,
        "tracker_id": run.id,
    }
    return reading


def _read_place(
    reading: _Reading,
    run: TrackedRun,
    column: str,
    place: str,
    tracked: Tracked,
    point: Selected | None,
) -> Any:
    """Return the value at a place; of a metric, the last value up to the step of the loss."""
    if place.startswith(tracked.series):
        history = run.history(place.removeprefix(tracked.series))
        if history is not None and point is None:
            return None  # the loss itself is missing, which is reported
        value = math.nan if history is None or point is None else at_or_before(history, point.step)
    else:
        value = run.places.get(place)
    if _is_missing(value):
        reading.lacks.append(f"no {column} at {place}")
        return None
    if place.startswith(tracked.series):
        return value
    if column in GROWING and point is not None and point.step < point.last:
        reading.wrong.append(
            f"{column} at {place} is one value per run, but the loss of {reading.name} is of step "
            f"{point.step}, and it went on to {point.last}: name a place that grows with it, "
            f"{column}={tracked.series}NAME"
        )
        return None
    if column not in NUMBERS:
        return value
    try:
        return parse_number(value)
    except (TypeError, ValueError, OverflowError):
        reading.wrong.append(
            f"{column} at {place} of {reading.name} is {value!r}: write plain numbers such as "
            "1.4e12"
        )
    return None


def _is_missing(value: Any) -> bool:
    return value is None or str(value).strip() == "" or value != value


def _why_left_out(reading: _Reading, choice: Choice) -> str:
    """Return why a run is left out on request; empty if it is kept."""
    if reading.unfinished and choice.unfinished == "drop":
        return f"unfinished: it {reading.unfinished}"
    if reading.lacks and choice.missing == "drop":
        return "; ".join(reading.lacks)
    if reading.repeats and choice.repeated == "drop":
        return f"{choice.metric} has more than one value at {reading.repeats}"
    return ""


def _shared_name_problems(kept: Sequence[_Reading]) -> list[str]:
    ids: dict[str, list[str]] = {}
    for one in kept:
        ids.setdefault(one.name, []).append(one.id)
    shared = {name: of for name, of in ids.items() if len(of) > 1}
    if not shared:
        return []
    names = listed(f"{name!r} (ids {listed(of)})" for name, of in shared.items())
    apart = all(len(set(of)) == len(of) for of in shared.values())
    by_id = ", or call runs by their ids with `run_id='id'`" if apart else ""
    return [f"more than one run is called {names}: rename all but one{by_id}"]


def _problems(kept: Sequence[_Reading], choice: Choice) -> list[str]:
    problems = []
    unfinished = [f"{one.name} {one.unfinished}" for one in kept if one.unfinished]
    if unfinished and choice.unfinished == "error":
        problems.append(
            f"{_counted(unfinished)} unfinished: {listed(unfinished)}; leave such runs out with "
            "`unfinished='drop'`, or keep them, marked in a column finished, with "
            "`unfinished='keep'`"
        )
    lacking = [one for one in kept if one.lacks]
    if lacking and choice.missing == "error":
        names: dict[str, list[str]] = {}
        for one in lacking:
            for reason in one.lacks:
                names.setdefault(reason, []).append(one.name)
        reasons = listed(f"{reason} ({listed(of)})" for reason, of in names.items())
        problems.append(
            f"{_counted(lacking)} without a value: {reasons}; name what they have, leave "
            "such runs out with `missing='drop'`, or keep them with empty cells, to be filled in, "
            "with `missing='keep'`"
        )
    repeats = [f"{one.repeats} of {one.name}" for one in kept if one.repeats]
    if repeats and choice.repeated == "error":
        problems.append(
            f"{choice.metric} has more than one value at {listed(repeats)}: take the one logged "
            "last with `repeated='last'`, or leave such runs out with `repeated='drop'`"
        )
    wrong = [text for one in kept for text in one.wrong]
    return problems + first_few(wrong, " of this kind")


def _counted(items: Sequence[Any]) -> str:
    return "one run is" if len(items) == 1 else f"{len(items)} runs are"


def _notes(kept: Sequence[_Reading], tracked: Tracked) -> tuple[Finding, ...]:
    unknown = sum(one.unknown for one in kept)
    if not unknown:
        return ()
    text = (
        f"{tracked.source} does not say whether {unknown} of its runs finished: compare at_step "
        "with what each was to reach"
    )
    return (note("finished_unknown", text),)


def _origins(tracked: Tracked, choice: Choice) -> dict[str, str]:
    origins = {"loss": f"{tracked.source}: {choice}"}
    for column, place in choice.columns.items():
        series = " up to the step of the loss" if place.startswith(tracked.series) else ""
        origins[column] = f"{place}{series}"
    return origins


def _frame(rows: list[dict[str, Any]], origins: Mapping[str, str], choice: Choice) -> pd.DataFrame:
    placed = [name for name in NAMES if name in choice.columns]
    flag = ["finished"] if choice.unfinished == "keep" else []
    columns = ["run_id", *placed, "loss", "at_step", *flag, "state", "tracker_id"]
    frame = pd.DataFrame(rows, columns=columns)
    for name in ("at_step", *flag):
        frame[name] = frame[name].astype("Int64")
    for name in ("state", "tracker_id"):
        if frame[name].isna().all() or frame[name].equals(frame["run_id"]):
            frame = frame.drop(columns=name)
    for name in ("loss", *placed):
        frame[f"{name}_from"] = origins[name]
    return frame
