"""State files that the Hugging Face Trainer writes with checkpoints: ``trainer_state.json``."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bayescale.errors import TrackerError
from bayescale.findings import Finding, note
from bayescale.trackers.tracked import (
    History,
    Points,
    Tracked,
    TrackedRun,
    as_number,
    as_step,
    flattened,
)

KEEPS, SERIES = ("state.", "config."), "history."
MEAN_LOSS = "train_loss"
_CHECKPOINT = re.compile(r"checkpoint-\d+")


def state_files(folder: Path) -> dict[str, list[Path]]:
    """Return state files by run, whose folder holds one, or checkpoints with one each."""
    runs: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("trainer_state.json")):
        home = path.parent
        if _CHECKPOINT.fullmatch(home.name) and home != folder:
            home = home.parent
        below = home.relative_to(folder).as_posix()
        runs.setdefault(folder.resolve().name if below == "." else below, []).append(path)
    return runs


def trainer_runs(folder: str | Path, metrics: Sequence[str]) -> Tracked:
    """Return the runs below a folder in which the Hugging Face Trainer wrote.

    Only the latest state file of a run is read, because it holds the whole history. A run has
    finished if it reached its ``max_steps``.
    """
    folder = Path(folder)
    runs = state_files(folder)
    if not runs:
        raise TrackerError(
            f"{str(folder)!r} holds no trainer_state.json of the Hugging Face Trainer: name the "
            "folder that holds the runs' output folders"
        )
    source = f"Hugging Face Trainer {folder.resolve().name}"
    read = (_run(n, f, metrics) for n, f in runs.items())
    return Tracked(source, read, KEEPS, SERIES, _notes(metrics[0]))


def _notes(loss: str) -> tuple[Finding, ...]:
    """Return a note if the loss is the Trainer's ``train_loss``, a mean over all steps."""
    if loss != MEAN_LOSS:
        return ()
    text = (
        f"{MEAN_LOSS} of the Hugging Face Trainer is the mean over the whole training, far above "
        "the loss at its end: take the loss of an evaluation with `metric='eval_loss'`, or the "
        "last training loss with `metric='loss'`"
    )
    return (note("mean_over_training", text),)


def _run(name: str, files: Sequence[Path], metrics: Sequence[str]) -> TrackedRun:
    states = [(_state(path, metrics), path) for path in _candidates(files)]
    state, path = max(states, key=lambda pair: pair[0].step)
    configs = (home / "config.json" for home in (path.parent, path.parent.parent))
    config = next(filter(Path.is_file, configs), None)
    settings = {} if config is None else flattened(_settings(config), "config.")
    most = as_step(state.single.get("max_steps")) or 0
    return TrackedRun(
        id=name,
        name=name,
        state=f"at step {state.step} of {most}" if most > 0 else f"at step {state.step}",
        finished=state.step >= most if most > 0 else None,
        places=flattened(state.single, "state.") | settings,
        metrics=state.metrics,
        histories=state.histories,
    )


def _candidates(files: Sequence[Path]) -> list[Path]:
    """Return the last checkpoint's file and the one beside the checkpoints: either may be later."""
    inside = [path for path in files if _CHECKPOINT.fullmatch(path.parent.name)]
    beside = [path for path in files if path not in inside]
    last = sorted(inside, key=lambda path: int(path.parent.name.removeprefix("checkpoint-")))
    return [*beside, *last[-1:]]


class _State(NamedTuple):
    step: int
    single: dict[str, Any]
    metrics: tuple[str, ...]
    histories: dict[str, History]


def _state(path: Path, metrics: Sequence[str]) -> _State:
    """Return a state; while its history is parsed, only the points of ``metrics`` are kept."""
    points = Points(metrics)
    names: set[str] = set()

    def take(record: dict[str, Any]) -> dict[str, Any] | None:
        if "log_history" in record or "step" not in record:
            return record
        names.update(record)
        for metric in metrics:
            points.add(metric, _step(path, record["step"]), as_number(record.get(metric)))
        return None

    state = _json(path, take)
    if not (isinstance(state, dict) and {"log_history", "global_step"} <= set(state)):
        raise TrackerError(
            f"{path} is not a state of the Hugging Face Trainer: it lacks log_history or "
            "global_step; take it out of the folder"
        )
    single = {key: value for key, value in state.items() if isinstance(value, str | int | float)}
    logged = tuple(sorted(names - {"step", "epoch"}))
    return _State(_step(path, state["global_step"]), single, logged, points.histories())


def _step(path: Path, value: Any) -> int:
    step = as_step(value)
    if step is None:
        raise TrackerError(
            f"{path} has the step {value!r}, which is not a whole number: take it out of the folder"
        )
    return step


def _settings(path: Path) -> Mapping[str, Any]:
    settings = _json(path)
    if not isinstance(settings, Mapping):
        raise TrackerError(f"{path} is not an object of settings: take it out of the folder")
    return settings


def _json(path: Path, hook: Any = None) -> Any:
    try:
        with path.open(encoding="utf-8") as stream:
            return json.load(stream, object_hook=hook)
    except TrackerError:
        raise
    except (ValueError, RecursionError) as error:
        raise TrackerError(
            f"{path} is cut short or not JSON ({error}): take it out of the folder, so that an "
            "earlier checkpoint is read, or restore it"
        ) from error
