"""TensorBoard event files: one folder per run, read record by record."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayescale.errors import TrackerError
from bayescale.trackers.records import Records, event_frames, message
from bayescale.trackers.tracked import Points, Tracked, TrackedRun, require_package

KEEPS, SERIES = ("hparams.",), "scalars."
_HPARAMS = "_hparams_/session_start_info"


def event_files(folder: Path) -> dict[str, list[Path]]:
    """Return event files by run; a run is a folder, named by its path below ``folder``."""
    runs: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*tfevents*")):
        if path.is_file():
            below = path.parent.relative_to(folder).as_posix()
            runs.setdefault(folder.resolve().name if below == "." else below, []).append(path)
    return runs


def event_runs(folder: str | Path, metrics: Sequence[str]) -> Tracked:
    """Return the runs below a folder of TensorBoard event files.

    Event files hold scalars as float32, and do not say whether a run finished.
    """
    require_package("tensorboard", "tensorboard", "reading TensorBoard event files")
    require_package("google_crc32c", "tensorboard", "reading TensorBoard event files")
    folder = Path(folder)
    runs = event_files(folder)
    if not runs:
        raise TrackerError(
            f"{str(folder)!r} holds no TensorBoard event files (*tfevents*): name the folder that "
            "holds the runs' folders"
        )
    source = f"TensorBoard {folder.resolve().name}"
    return Tracked(source, (_run(n, f, metrics) for n, f in runs.items()), KEEPS, SERIES)


def _run(name: str, files: Sequence[Path], metrics: Sequence[str]) -> TrackedRun:
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    points = Points(metrics)
    marks = [text.encode() for text in (*metrics, _HPARAMS)]
    places: dict[str, Any] = {}
    cuts = []

    def take(record: bytes) -> None:
        if not any(mark in record for mark in marks):
            return  # most records hold other values, and parsing takes time
        event = message(Event, record)
        for value in event.summary.value:
            if value.tag in points:
                points.add(value.tag, event.step, _scalar(value))
            elif value.tag == _HPARAMS:
                places.update(_hparams(value.metadata.plugin_data.content))

    for path in files:
        records = Records(path, event_frames)
        records.each(take)
        cuts += [records.cut] if records.cut else []
    histories = points.histories()
    return TrackedRun(
        id=name,
        name=name,
        cut="; ".join(cuts),
        places=places,
        metrics=() if set(metrics) <= set(histories) else _tags(files),
        histories=histories,
    )


def _scalar(value: Any) -> float | None:
    """Return a scalar, or the number in a tensor of one; None for anything else."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return value.simple_value
    if kind != "tensor" or value.metadata.plugin_data.plugin_name not in ("scalars", ""):
        return None
    from tensorboard.util.tensor_util import make_ndarray

    try:
        number = make_ndarray(value.tensor)
    except (TypeError, KeyError) as error:  # of an unknown type
        raise ValueError(f"a tensor of type {value.tensor.dtype}: {error}") from error
    return float(number) if number.size == 1 and number.dtype.kind in "fiu" else None


def _hparams(content: bytes) -> dict[str, Any]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]

    given = message(HParamsPluginData, content).session_start_info.hparams
    return {
        f"hparams.{k}": getattr(v, v.WhichOneof("kind") or "null_value") for k, v in given.items()
    }


def _tags(files: Sequence[Path]) -> tuple[str, ...]:
    """Return the tags of all scalars, for the message if a metric is absent."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    tags = set[str]()

    def take(record: bytes) -> None:
        values = message(Event, record).summary.value
        tags.update(value.tag for value in values if _scalar(value) is not None)

    for path in files:
        Records(path, event_frames).each(take)
    return tuple(sorted(tags))
