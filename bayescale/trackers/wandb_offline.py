"""Weights & Biases runs that were written on this computer: folders with a ``run-ID.wandb``."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bayescale.errors import TrackerError
from bayescale.trackers.records import Records, message, run_frames
from bayescale.trackers.tracked import (
    Points,
    Tracked,
    TrackedRun,
    as_number,
    flattened,
    require_package,
)

KEEPS, SERIES = ("config.", "summary."), "history."


def run_files(folder: Path) -> list[Path]:
    """Return run files below a folder, without links to the latest run."""
    paths = sorted(folder.rglob("run-*.wandb"))
    return [p for p in paths if not (p.is_symlink() or p.parent.is_symlink())]


def offline_runs(folder: str | Path, metrics: Sequence[str]) -> Tracked:
    """Return the runs below a folder in which Weights & Biases wrote, offline or online."""
    require_package("wandb", "wandb", "reading Weights & Biases run files")
    folder = Path(folder)
    files = run_files(folder)
    if not files:
        raise TrackerError(
            f"{str(folder)!r} holds no Weights & Biases run files (run-ID.wandb): name the folder "
            "in which wandb wrote"
        )
    source = f"Weights & Biases {folder.resolve().name}"
    return Tracked(source, (_run(path, metrics) for path in files), KEEPS, SERIES)


def _run(path: Path, metrics: Sequence[str]) -> TrackedRun:
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    run_id = name = path.stem.removeprefix("run-")
    points = Points(metrics)
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    code: int | None = None

    def take(data: bytes) -> None:
        nonlocal name, config, summary, code
        record = message(Record, data)
        match record.WhichOneof("record_type"):
            case "run":
                name = record.run.display_name or name
                config |= _values(record.run.config.update)
            case "config":
                config |= _values(record.config.update)
            case "summary":
                summary |= _values(record.summary.update)
            case "history":
                for item in record.history.item:
                    if (key := _key(item)) in points:
                        points.add(key, record.history.step.num, as_number(_value(item)))
            case "exit":
                code = record.exit.exit_code

    records = Records(path, run_frames)
    records.each(take)
    state = "without an end" if code is None else "finished" if code == 0 else "failed"
    return TrackedRun(
        id=run_id,
        name=name,
        state=state,
        finished=code == 0,
        cut=records.cut,
        places=flattened(config, "config.") | flattened(summary, "summary."),
        metrics=tuple(sorted(key for key in summary if not key.startswith("_"))),
        histories=points.histories(),
    )


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _values(items: Iterable[Any]) -> dict[str, Any]:
    return {_key(item): _value(item) for item in items}


def _value(item: Any) -> Any:
    try:
        return json.loads(item.value_json)
    except RecursionError as error:
        raise ValueError(f"{_key(item)} is nested too deeply") from error
