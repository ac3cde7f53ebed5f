"""MLflow's SQLite store, read from disk without MLflow and without writing to it."""

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bayescale.errors import TrackerError, listed
from bayescale.trackers.tracked import History, Tracked, TrackedRun

KEEPS, SERIES = ("params.", "tags."), "metrics."
NEEDED = {
    "experiments": ("experiment_id", "name", "lifecycle_stage"),
    "runs": ("run_uuid", "name", "status", "experiment_id", "lifecycle_stage"),
    "metrics": ("key", "value", "timestamp", "run_uuid", "step", "is_nan"),
    "latest_metrics": ("key", "run_uuid"),
    "params": ("key", "value", "run_uuid"),
    "tags": ("key", "value", "run_uuid"),
}
_INFINITE = 1.7976931348623157e308  # what MLflow stores for infinity


def stored_runs(path: str | Path, experiment: str | None, metrics: Sequence[str]) -> Tracked:
    """Return the runs of one experiment of an MLflow store.

    Runs that were deleted in MLflow are left out, as in MLflow's own lists.
    """
    path = Path(path)
    if not path.is_file():
        raise TrackerError(f"MLflow store {str(path)!r} does not exist: name its SQLite file")
    with path.open("rb") as stream:
        if stream.read(16) != b"SQLite format 3\0":
            raise TrackerError(
                f"{path.name} is not an SQLite file, as an MLflow store is: name the store's file, "
                "or the address of a tracking server"
            )
    chosen = _experiment(path, experiment)
    source = f"MLflow {path.name}, experiment {chosen[1]!r}"
    return Tracked(source, _runs(path, chosen[0], metrics), KEEPS, SERIES)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)


def _experiment(path: Path, name: str | None) -> tuple[int, str]:
    try:
        with closing(_connect(path)) as store:
            _require_schema(store, path)
            found = store.execute(
                "SELECT e.experiment_id, e.name, COUNT(r.run_uuid) FROM experiments e LEFT JOIN "
                "runs r ON r.experiment_id = e.experiment_id AND r.lifecycle_stage = 'active' "
                "WHERE e.lifecycle_stage = 'active' GROUP BY e.experiment_id ORDER BY e.name"
            ).fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error
    return chosen_experiment(f"MLflow {path.name}", found, name)


def chosen_experiment(
    source: str, found: Sequence[tuple[int, str, int]], name: str | None
) -> tuple[int, str]:
    """Return the id and name of the named experiment, or of the only one that has runs."""
    named = [one for one in found if (one[2] > 0 if name is None else one[1] == name)]
    if len(named) == 1:
        return named[0][0], named[0][1]
    if not named and name is None:
        raise TrackerError(f"{source} holds no runs: name a store that holds some")
    names = listed((repr(one[1]) for one in (found if name is not None else named)), 20)
    if name is not None:
        raise TrackerError(f"{source} has no experiment {name!r}: choose one of {names}")
    raise TrackerError(
        f"{source} has runs in {len(named)} experiments, {names}: choose one with "
        "`experiment='NAME'`"
    )


def _require_schema(store: sqlite3.Connection, path: Path) -> None:
    # views are not accepted as tables, because a view could yield rows without end
    rows = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {name for (name,) in rows}
    if not {"experiments", "runs"} <= tables:
        raise TrackerError(
            f"{path.name} is an SQLite file, but not an MLflow store: it has no tables "
            "experiments and runs"
        )
    lacking = []
    for table, needed in NEEDED.items():
        columns = {row[1] for row in store.execute(f"PRAGMA table_info({table})")}
        lacking += [f"{table}.{column}" for column in needed if column not in columns]
    if lacking:
        version = "unknown"
        if "alembic_version" in tables:
            version = next(
                iter(store.execute("SELECT version_num FROM alembic_version")), (version,)
            )[0]
        raise TrackerError(
            f"{path.name} is an MLflow store of another version: its schema, {version}, lacks "
            f"{listed(lacking)}; bring a copy up to date with mlflow db upgrade sqlite:///COPY, or "
            "name the address of a tracking server that serves it"
        )


def _damaged(path: Path, error: Exception) -> TrackerError:
    return TrackerError(
        f"MLflow store {path.name} cannot be read: {error}; restore it, or wait until nothing "
        "writes to it"
    )


def _runs(path: Path, experiment: int, metrics: Sequence[str]) -> Iterator[TrackedRun]:
    try:
        with closing(_connect(path)) as store:
            runs = store.execute(
                "SELECT run_uuid, name, status FROM runs WHERE experiment_id = ? AND "
                "lifecycle_stage = 'active' ORDER BY start_time, run_uuid",
                (experiment,),
            ).fetchall()
            for run, name, status in runs:
                yield TrackedRun(
                    id=run,
                    name=name or run,
                    state=status,
                    finished=status == "FINISHED",
                    places=_pairs(store, "params", run) | _pairs(store, "tags", run),
                    metrics=_metrics(store, run),
                    histories={metric: _history(store, run, metric) for metric in metrics},
                )
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _pairs(store: sqlite3.Connection, table: str, run: str) -> dict[str, str]:
    rows = store.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", (run,))
    return {f"{table}.{key}": value for key, value in rows}


def _metrics(store: sqlite3.Connection, run: str) -> tuple[str, ...]:
    rows = store.execute("SELECT key FROM latest_metrics WHERE run_uuid = ? ORDER BY key", (run,))
    return tuple(key for (key,) in rows)


def _history(store: sqlite3.Connection, run: str, metric: str) -> History:
    rows = store.execute(
        "SELECT step, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ? "
        "ORDER BY timestamp, step, value",
        (run, metric),
    )
    what = f"{metric!r} of run {run!r}"
    return History.of(_point(what, *row) for row in rows)


def _point(what: str, step: Any, value: Any, is_nan: Any) -> tuple[int, float]:
    if not isinstance(step, int) or not (is_nan or isinstance(value, int | float)):
        raise sqlite3.DataError(f"{what} is {value!r} at step {step!r}, and both must be numbers")
    return step, math.nan if is_nan else unbounded(value)


def unbounded(value: float) -> float:
    """Return the value that was logged: MLflow stores the largest number instead of infinity."""
    return math.copysign(math.inf, value) if abs(value) >= _INFINITE else value
