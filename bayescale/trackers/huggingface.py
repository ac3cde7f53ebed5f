"""What the Hugging Face Trainer leaves beside its checkpoints: ``trainer_state.json``."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayescale.errors import TrackerError
from bayescale.trackers.tracked import History, Tracked, TrackedRun, flattened

KEEPS, SERIES = ("state.", "config."), "history."
_CHECKPOINT = re.compile(r"checkpoint-\d+")


def state_files(folder: Path) -> dict[str, list[Path]]:
    """State files by run: a run's folder holds one, or checkpoints that do."""
    runs: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("trainer_state.json")):
        home = path.parent
        if _CHECKPOINT.fullmatch(home.name) and home != folder:
            home = home.parent
        below = home.relative_to(folder).as_posix()
        runs.setdefault(folder.resolve().name if below == "." else below, []).append(path)
    return runs


def trainer_runs(folder: str | Path, metrics: Sequence[str]) -> Tracked:
    """The runs below a folder in which the Hugging Face Trainer wrote.

    Of a run's state files the one that got furthest is read: it holds the whole history. A run
    has finished when it got as far as its ``max_steps``.

    Parameters
    ----------
    folder : path
    metrics : sequence of str
        Keys of ``log_history`` to read, such as ``eval_loss``.

    Raises
    ------
    TrackerError
        If the folder holds no state files, or one is not the Trainer's.
    """
    folder = Path(folder)
    runs = state_files(folder)
    if not runs:
        raise TrackerError(
            f"{str(folder)!r} holds no trainer_state.json of the Hugging Face Trainer"
        )
    source = f"Hugging Face Trainer {folder.resolve().name}"
    return Tracked(source, (_run(n, f, metrics) for n, f in runs.items()), KEEPS, SERIES)


def _run(name: str, files: Sequence[Path], metrics: Sequence[str]) -> TrackedRun:
    seen: set[str] = set()
    read = {path: _state(path, metrics, seen) for path in _candidates(files)}
    path, state = max(read.items(), key=lambda item: item[1]["global_step"])
    step, most = state["global_step"], state.get("max_steps") or 0
    entries = [entry for entry in state["log_history"] if entry is not None]
    single = {k: v for k, v in state.items() if isinstance(v, str | int | float)}
    places = flattened(single, "state.")
    configs = (home / "config.json" for home in (path.parent, path.parent.parent))
    if config := next(filter(Path.is_file, configs), None):
        places |= flattened(_json(config), "config.")
    return TrackedRun(
        id=name,
        name=name,
        state=f"at step {step} of {most}" if most > 0 else f"at step {step}",
        finished=step >= most if most > 0 else None,
        places=places,
        metrics=tuple(sorted(seen - {"step", "epoch"})),
        histories={
            metric: History.of((at, values[metric]) for at, values in entries if metric in values)
            for metric in metrics
        },
    )


def _candidates(files: Sequence[Path]) -> list[Path]:
    """The last checkpoint's, and the one beside the checkpoints: either may be further."""
    inside = [path for path in files if _CHECKPOINT.fullmatch(path.parent.name)]
    beside = [path for path in files if path not in inside]
    last = sorted(inside, key=lambda path: int(path.parent.name.removeprefix("checkpoint-")))
    return [*beside, *last[-1:]]


def _state(path: Path, metrics: Sequence[str], seen: set[str]) -> dict[str, Any]:
    """The state, of whose history only what was asked for is kept while it is parsed."""

    def kept(record: dict[str, Any]) -> Any:
        if "log_history" in record or "step" not in record:
            return record
        seen.update(record)
        values = {metric: record[metric] for metric in metrics if metric in record}
        return (record["step"], values) if values else None

    state = _json(path, kept)
    if not (isinstance(state, dict) and {"log_history", "global_step"} <= set(state)):
        raise TrackerError(
            f"{path} is not a state of the Hugging Face Trainer: it lacks log_history or "
            "global_step; take it out of the folder"
        )
    return state


def _json(path: Path, hook: Any = None) -> Any:
    try:
        with path.open(encoding="utf-8") as stream:
            return json.load(stream, object_hook=hook)
    except ValueError as error:
        raise TrackerError(
            f"{path} is cut short or not JSON ({error}): take it out of the folder, so that an "
            "earlier checkpoint is read, or restore it"
        ) from error
