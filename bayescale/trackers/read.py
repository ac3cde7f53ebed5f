"""Recognize the tracker that a source belongs to, and read a run log from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack, get_args

import pandas as pd

from bayescale.errors import TrackerError, listed
from bayescale.runs import Runs
from bayescale.trackers.choice import Choice, Refusal, Repeats
from bayescale.trackers.huggingface import SERIES as HISTORY
from bayescale.trackers.huggingface import state_files, trainer_runs
from bayescale.trackers.mlflow_server import served_runs
from bayescale.trackers.mlflow_store import SERIES as METRICS
from bayescale.trackers.mlflow_store import stored_runs
from bayescale.trackers.table import TrackerLog, collect
from bayescale.trackers.tensorboard import SERIES as SCALARS
from bayescale.trackers.tensorboard import event_files, event_runs
from bayescale.trackers.tracked import Tracked
from bayescale.trackers.wandb_api import project_runs
from bayescale.trackers.wandb_export import exported_runs
from bayescale.trackers.wandb_offline import offline_runs, run_files

Tracker = Literal["mlflow", "wandb", "tensorboard", "huggingface"]
_TABLES = (".csv", ".parquet", ".jsonl")
_SERIES = {"mlflow": METRICS, "wandb": HISTORY, "tensorboard": SCALARS, "huggingface": HISTORY}


class Options(TypedDict, total=False):
    """Options of :class:`~bayescale.trackers.choice.Choice`, which has their defaults."""

    step: int | None
    smooth: str | None
    unfinished: Refusal
    repeated: Repeats
    missing: Refusal
    run_id: Literal["name", "id"]


def import_runs(
    source: str | Path,
    choice: Choice,
    *,
    tracker: Tracker | None = None,
    experiment: str | None = None,
    history: str | Path | None = None,
) -> TrackerLog:
    """Read a run log from an experiment tracker, before its values are checked.

    Parameters
    ----------
    source : str or path
        An MLflow SQLite file or server address; a table of runs exported from Weights & Biases,
        a folder in which it wrote, or ``ENTITY/PROJECT``; a folder of TensorBoard event files;
        a folder in which the Hugging Face Trainer wrote.
    choice : Choice
        What to read of each run.
    tracker : {"mlflow", "wandb", "tensorboard", "huggingface"}, optional
        Needed where the source alone does not show it.
    experiment : str, optional
        The name of an MLflow experiment, needed if several have runs.
    history : path, optional
        Weights & Biases histories of the runs in an exported table.

    Raises
    ------
    TrackerError
        If the source cannot be read, or its runs do not hold what was chosen.
    """
    which = tracker or _tracker_of(source)
    if experiment is not None and which != "mlflow":
        raise TrackerError("`experiment=` is for MLflow only: leave it out")
    table = which == "wandb" and Path(source).suffix.lower() in _TABLES
    if history is not None and not table:
        raise TrackerError("`history=` goes with a table exported from Weights & Biases")
    metrics = choice.series(_SERIES[which])
    last_only = choice.step is None and choice.smooth is None
    tracked = _tracked(str(source), which, metrics, experiment, history, last_only=last_only)
    return collect(tracked, choice)


def tracked_histories(
    source: str | Path,
    metrics: Sequence[str],
    beside: Sequence[str] = (),
    *,
    tracker: Tracker | None = None,
) -> dict[str, pd.DataFrame]:
    """Read histories of metrics from an experiment tracker.

    Parameters
    ----------
    source : str or path
        See :func:`import_runs`.
    metrics, beside : sequence of str
        Metrics to read from each run that has them; a run without any of ``metrics`` is left out.
    tracker : {"mlflow", "wandb", "tensorboard", "huggingface"}, optional
        Needed where the source alone does not show it.

    Returns
    -------
    dict of str to pandas.DataFrame
        A table for each run by its name, with ``step`` and a column for each metric that the run
        has; the rows of one metric follow those of another.

    Raises
    ------
    TrackerError
        If the source cannot be read, or no run has any of the metrics.
    """
    which = tracker or _tracker_of(source)
    tracked = _tracked(str(source), which, (*metrics, *beside))
    tables, others = {}, ()
    for run in tracked.runs:
        parts = [
            pd.DataFrame({"step": history.steps, metric: history.values})
            for metric, history in run.histories.items()
            if len(history.steps)
        ]
        if any(metric in run.histories for metric in metrics):
            tables[run.name] = pd.concat(parts, ignore_index=True)
        others = others or run.metrics
    if not tables:
        raise TrackerError(
            f"{source} holds no run with {listed(metrics)}, but {listed(others)}: name the loss "
            "with `metric=`"
        )
    return tables


def read_mlflow(
    source: str | Path,
    *,
    metric: str,
    columns: Mapping[str, str],
    experiment: str | None = None,
    units: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> Runs:
    """Read runs from an MLflow SQLite store or tracking server.

    Parameters
    ----------
    source : str or path
        The SQLite file, or the server's address.
    metric : str
        The loss's name in MLflow.
    columns : mapping of str to str
        ``{"params": "params.n_params", "tokens": "metrics.tokens"}``: ``params.`` and ``tags.``
        hold one value per run, ``metrics.`` the value logged up to the step of the loss.
    experiment : str, optional
        The name of the experiment, needed if several have runs.
    units : mapping, optional
        See :func:`bayescale.read_runs`.
    **options
        ``step``, ``smooth``, ``unfinished``, ``repeated``, ``missing``, ``run_id``: see
        :class:`bayescale.trackers.Choice`.

    Returns
    -------
    Runs

    Raises
    ------
    TrackerError, RunLogError, UnitError
        If the tracker cannot be read, lacks a requested value, or its runs do not make a run log.
    """
    choice = Choice(metric=metric, columns=columns, **options)
    log = import_runs(source, choice, tracker="mlflow", experiment=experiment)
    return log.runs(units=units)


def read_wandb(
    source: str | Path,
    *,
    metric: str,
    columns: Mapping[str, str],
    history: str | Path | None = None,
    units: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> Runs:
    """Read runs from Weights & Biases: a project, an exported table, or a folder it wrote in.

    Parameters
    ----------
    source : str or path
        ``ENTITY/PROJECT``, a table of runs (CSV, Parquet, JSON lines), or a folder with offline
        runs.
    metric : str
        The loss's name in Weights & Biases.
    columns : mapping of str to str
        ``{"params": "config.n_params", "tokens": "summary.tokens"}``: ``config.``, ``summary.``
        and, of an exported table, ``table.`` hold one value per run, ``history.`` the value
        logged up to the step of the loss.
    history : path, optional
        Histories of the runs in an exported table: a folder with one file per run, or a chart's
        CSV.
    units, **options
        See :func:`read_mlflow`.

    Returns
    -------
    Runs

    Raises
    ------
    TrackerError, RunLogError, UnitError
        If the tracker cannot be read, lacks a requested value, or its runs do not make a run log.
    """
    choice = Choice(metric=metric, columns=columns, **options)
    return import_runs(source, choice, tracker="wandb", history=history).runs(units=units)


def read_tensorboard(
    source: str | Path,
    *,
    metric: str,
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> Runs:
    """Read runs from TensorBoard event files, one folder per run.

    Scalars are float32 in these files, exact to about seven digits.

    Parameters
    ----------
    source : path
        The folder that holds the runs' folders.
    metric : str
        The tag of the loss.
    columns : mapping of str to str
        ``{"params": "hparams.n_params", "tokens": "scalars.tokens"}``: ``hparams.`` hold one
        value per run, ``scalars.`` the value logged up to the step of the loss.
    units, **options
        See :func:`read_mlflow`.

    Returns
    -------
    Runs

    Raises
    ------
    TrackerError, RunLogError, UnitError
        If the files cannot be read, lack a requested value, or their runs do not make a run log.
    """
    choice = Choice(metric=metric, columns=columns, **options)
    return import_runs(source, choice, tracker="tensorboard").runs(units=units)


def read_huggingface(
    source: str | Path,
    *,
    columns: Mapping[str, str],
    metric: str = "eval_loss",
    units: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> Runs:
    """Read runs from the ``trainer_state.json`` files of the Hugging Face Trainer.

    Parameters
    ----------
    source : path
        The folder that holds the runs' output folders.
    columns : mapping of str to str
        ``{"flops": "state.total_flos", "tokens": "history.num_input_tokens_seen"}``: ``state.``
        and ``config.`` (of a ``config.json`` beside) hold one value per run, ``history.`` the
        value logged up to the step of the loss.
    metric : str
        A key of ``log_history``.
    units, **options
        See :func:`read_mlflow`.

    Returns
    -------
    Runs

    Raises
    ------
    TrackerError, RunLogError, UnitError
        If the files cannot be read, lack a requested value, or their runs do not make a run log.
    """
    choice = Choice(metric=metric, columns=columns, **options)
    return import_runs(source, choice, tracker="huggingface").runs(units=units)


def _is_address(source: str | Path) -> bool:
    return str(source).startswith(("http://", "https://"))


def _tracker_of(source: str | Path) -> Tracker:
    """Return the tracker that a source belongs to, if exactly one fits."""
    path = Path(source)
    if _is_address(source) or str(source).startswith("sqlite:"):
        return "mlflow"
    if path.is_file():
        with path.open("rb") as stream:
            if stream.read(16) == b"SQLite format 3\0":
                return "mlflow"
        if path.suffix.lower() in _TABLES:
            return "wandb"
        raise TrackerError(
            f"{path.name} is neither an SQLite file nor ends in .csv, .parquet or .jsonl: name "
            "what a tracker wrote"
        )
    if path.is_dir():
        holds: dict[Tracker, bool] = {
            "tensorboard": bool(event_files(path)),
            "huggingface": bool(state_files(path)),
            "wandb": bool(run_files(path)),
        }
        found: list[Tracker] = [tracker for tracker, held in holds.items() if held]
        if len(found) == 1:
            return found[0]
        if found:
            raise TrackerError(
                f"folder {str(source)!r} holds files of more than one tracker, {listed(found)}: "
                "choose with `tracker=`"
            )
        if any(path.glob("*/meta.yaml")):
            raise TrackerError(
                f"folder {str(source)!r} is an MLflow store of loose files: serve it with mlflow "
                f"server --backend-store-uri {source}, and name the server's address"
            )
        raise TrackerError(
            f"folder {str(source)!r} holds nothing of a tracker: no *tfevents*, "
            "trainer_state.json or run-ID.wandb file"
        )
    raise TrackerError(
        f"{str(source)!r} is not there: name a file, a folder or an address, or a Weights & Biases "
        "project with `tracker='wandb'`"
    )


def _tracked(
    source: str,
    tracker: Tracker,
    metrics: tuple[str, ...],
    experiment: str | None = None,
    history: str | Path | None = None,
    *,
    last_only: bool = False,
) -> Tracked:
    path = Path(source)
    match tracker:
        case "mlflow" if _is_address(source):
            return served_runs(source, experiment, metrics)
        case "mlflow":
            return stored_runs(source.removeprefix("sqlite:///"), experiment, metrics)
        case "tensorboard":
            return event_runs(path, metrics)
        case "huggingface":
            return trainer_runs(path, metrics)
        case "wandb" if path.is_dir():
            return offline_runs(path, metrics)
        case "wandb" if path.suffix.lower() in _TABLES:
            return exported_runs(path, history, metrics, last_only=last_only)
        case "wandb":
            return project_runs(source, metrics)
        case _:
            raise TrackerError(f"tracker {tracker!r} is unknown: use {listed(get_args(Tracker))}")
