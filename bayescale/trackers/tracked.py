"""Runs of any tracker, and how to read their values."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from bayescale.errors import TrackerError
from bayescale.findings import Finding

_POINT = np.dtype([("step", np.int64), ("value", np.float64)])


class History(NamedTuple):
    """A metric in the order in which it was logged: arrays of shape (point,)."""

    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, points: Iterable[tuple[int, float]]) -> "History":
        """Collect points as a reader yields them, in 16 bytes each."""
        table = np.fromiter(points, dtype=_POINT)
        return cls(table["step"], table["value"])


class Points:
    """Histories of several metrics as they arrive, 16 bytes per point."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._points = {metric: (array("q"), array("d")) for metric in metrics}

    def __contains__(self, metric: str) -> bool:
        return metric in self._points

    def add(self, metric: str, step: int, value: float | None) -> None:
        """Add a point, where there is a value."""
        if value is not None:
            steps, values = self._points[metric]
            steps.append(step)
            values.append(value)

    def histories(self) -> dict[str, History]:
        """Return the histories of metrics that have points."""
        return {
            metric: History(np.frombuffer(steps, np.int64), np.frombuffer(values, np.float64))
            for metric, (steps, values) in self._points.items()
            if len(steps)
        }


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """One run, with the histories that were asked for.

    Attributes
    ----------
    id, name : str
        The tracker's identifier, and the run's name.
    state : str
        The tracker's word for the run's state; empty where it has none.
    finished : bool or None
        None where the tracker does not say.
    cut : str
        Where its files end within a record; empty where they do not.
    places : mapping
        Values that the tracker holds once per run, by place: ``config.n_params``.
    metrics : tuple of str
        Names of its metrics, for the message where the one asked for is absent.
    histories : mapping of str to History
    """

    id: str
    name: str
    state: str = ""
    finished: bool | None = None
    cut: str = ""
    places: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    histories: Mapping[str, History] = field(default_factory=dict)

    def history(self, metric: str) -> History | None:
        """A metric's history, where it has points."""
        found = self.histories.get(metric)
        return found if found is not None and len(found.steps) else None


@dataclass(frozen=True)
class Tracked:
    """The runs of one source, read one at a time.

    Attributes
    ----------
    source : str
        Its name in messages, with its tracker: ``MLflow runs.db``.
    runs : iterator of TrackedRun
    keeps : tuple of str
        Prefixes of places that hold one value per run: ``params.``, ``tags.``.
    series : str
        Prefix of the places of metrics: ``metrics.``.
    notes : tuple of Finding
        What was noticed about the source.
    """

    source: str
    runs: Iterator[TrackedRun]
    keeps: tuple[str, ...]
    series: str
    notes: tuple[Finding, ...] = ()


def flattened(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Flatten nested values, by their path with dots: ``config.model.width``."""
    flat: dict[str, Any] = {}
    left = [(prefix, values)]  # not by recursion, for which files can be nested too deeply
    while left:
        before, inside = left.pop()
        for key, value in inside.items():
            if isinstance(value, Mapping):
                left.append((f"{before}{key}.", value))
            else:
                flat[f"{before}{key}"] = value
    return flat


def as_number(value: Any) -> float | None:
    """Return a number, NaN and infinity in words included; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def as_step(value: Any) -> int | None:
    """Return a whole number that fits 64 bits; None for anything else."""
    number = as_number(value)
    if number is None or not -(2.0**63) <= number < 2.0**63 or number != int(number):
        return None
    return int(number)


def require_package(module: str, extra: str, what: str) -> None:
    """Require the package that a tracker is read with."""
    if find_spec(module) is None:
        raise TrackerError(
            f"{what} needs the package {module}, which is not installed: "
            f'python -m pip install "bayescale[{extra}]"'
        )
