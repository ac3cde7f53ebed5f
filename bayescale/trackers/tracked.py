"""Runs of any tracker, and readers of their values."""

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
    """Steps and values of a metric in the order in which they were logged, each (point,)."""

    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, points: Iterable[tuple[int, float]]) -> "History":
        """Return the history of points that a reader yields, in 16 bytes each."""
        table = np.fromiter(points, dtype=_POINT)
        return cls(table["step"], table["value"])


class Points:
    """Collects histories of several metrics point by point, in 16 bytes each."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._points = {metric: (array("q"), array("d")) for metric in metrics}

    def __contains__(self, metric: str) -> bool:
        return metric in self._points

    def add(self, metric: str, step: int, value: float | None) -> None:
        """Add a point, unless its value is None."""
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
    """One run, with the histories of the requested metrics.

    Attributes
    ----------
    id, name : str
        The tracker's identifier, and the run's name.
    state : str
        The tracker's word for the run's state; empty if it has none.
    finished : bool or None
        Whether the run finished; None if the tracker does not say.
    cut : str
        Says so if a file of the run ends within a record, else empty.
    places : mapping
        Values that the tracker holds once per run, by place, such as ``config.n_params``.
    metrics : tuple of str
        Names of the run's metrics, for the message if the requested one is absent.
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
        """Return a metric's history, or None if it has no points."""
        found = self.histories.get(metric)
        return found if found is not None and len(found.steps) else None


@dataclass(frozen=True)
class Tracked:
    """The runs of one source, read one at a time.

    Attributes
    ----------
    source : str
        The name in messages, with the tracker, such as ``MLflow runs.db``.
    runs : iterator of TrackedRun
    keeps : tuple of str
        Prefixes of places that hold one value per run, such as ``params.`` and ``tags.``.
    series : str
        Prefix of the places of metrics, such as ``metrics.``.
    notes : tuple of Finding
        Findings about the source.
    """

    source: str
    runs: Iterator[TrackedRun]
    keeps: tuple[str, ...]
    series: str
    notes: tuple[Finding, ...] = ()


def flattened(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return nested values by their path with dots, such as ``config.model.width``."""
    flat: dict[str, Any] = {}
    left = [(prefix, values)]  # without recursion, which fails for deeply nested files
    while left:
        before, inside = left.pop()
        for key, value in inside.items():
            if isinstance(value, Mapping):
                left.append((f"{before}{key}.", value))
            else:
                flat[f"{before}{key}"] = value
    return flat


def as_number(value: Any) -> float | None:
    """Return a number, also from a text such as "nan" or "inf"; None for anything else."""
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
    """Raise an error if the package that reads a tracker is not installed."""
    if find_spec(module) is None:
        raise TrackerError(
            f"{what} needs the package {module}, which is not installed: "
            f'python -m pip install "bayescale[{extra}]"'
        )
