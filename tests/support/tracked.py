"""Training runs, written as each tracker writes them."""

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import google_crc32c
import numpy as np
import pandas as pd

from bayescale.laws import CHINCHILLA
from bayescale.simulation import simulate

LOSS, TOKENS = "eval/loss", "train/tokens"
Point = tuple[int, float, float]  # step, loss, tokens seen


@dataclass(frozen=True)
class Run:
    """A training run as a tracker would hold it: params once, loss and tokens by step."""

    name: str
    params: float
    points: Sequence[Point]
    finished: bool = True
    id: str = ""

    @property
    def key(self) -> str:
        return self.id or f"id-{self.name}"

    def with_points(self, points: Sequence[Point]) -> "Run":
        return replace(self, points=points)


def float32(values: Any) -> np.ndarray:
    """Values that event files, which hold float32, give back unchanged."""
    return np.asarray(values, dtype=np.float32).astype(float)


def log_of(count: int) -> pd.DataFrame:
    """A run log of known truth whose values are float32 exactly."""
    rng = np.random.default_rng(7)
    scales = {
        "params": float32(10 ** rng.uniform(7, 9.5, count)),
        "tokens": float32(10 ** rng.uniform(9, 11, count)),
    }
    besiroglu = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
    log = simulate(CHINCHILLA, besiroglu, scales, sigma=0.004)
    return log.assign(loss=float32(log["loss"]))


def runs_of(log: pd.DataFrame) -> list[Run]:
    """Runs that end as the log says, with two evaluations before."""
    return [
        Run(
            row.run_id,
            row.params,
            [
                (100, float(float32(row.loss + 0.5)), row.tokens / 4),
                (200, float(float32(row.loss + 0.2)), row.tokens / 2),
                (400, row.loss, row.tokens),
            ],
        )
        for row in log.itertuples()
    ]


SMALL = runs_of(log_of(5))


# MLflow


def mlflow_tables(path: Path, runs: Iterable[Run], *, experiment: str = "scaling") -> Path:
    """The tables of an MLflow store that are read, as it fills them."""
    with closing(sqlite3.connect(path)) as store, store:
        store.executescript(
            """
            CREATE TABLE IF NOT EXISTS alembic_version (version_num);
            CREATE TABLE IF NOT EXISTS experiments (experiment_id, name, lifecycle_stage);
            CREATE TABLE IF NOT EXISTS runs
                (run_uuid, name, status, experiment_id, lifecycle_stage, start_time);
            CREATE TABLE IF NOT EXISTS metrics (key, value, timestamp, run_uuid, step, is_nan);
            CREATE TABLE IF NOT EXISTS latest_metrics (key, run_uuid);
            CREATE TABLE IF NOT EXISTS params (key, value, run_uuid);
            CREATE TABLE IF NOT EXISTS tags (key, value, run_uuid);
            INSERT INTO alembic_version VALUES ('0123abcd');
            """
        )
        (number,) = store.execute("SELECT COUNT(*) FROM experiments").fetchone()
        store.execute("INSERT INTO experiments VALUES (?, ?, 'active')", (number, experiment))
        for start, run in enumerate(runs):
            state = "FINISHED" if run.finished else "RUNNING"
            row = (run.key, run.name, state, number, "active", start)
            store.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", row)
            store.execute(
                "INSERT INTO params VALUES ('n_params', ?, ?)", (str(run.params), run.key)
            )
            for place, key in ((1, LOSS), (2, TOKENS)):
                if run.points:
                    store.execute("INSERT INTO latest_metrics VALUES (?, ?)", (key, run.key))
                store.executemany(
                    "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        (
                            key,
                            *_stored(point[place]),
                            run.key,
                            point[0],
                            point[place] != point[place],
                        )
                        for point in run.points
                    ),
                )
    return path


def _stored(value: float) -> tuple[float, int]:
    """Value and time: MLflow writes zero for NaN and the largest number for infinity."""
    return (0.0 if value != value else float(np.nan_to_num(value))), 0


def mlflow_written(address: str, runs: Iterable[Run], *, experiment: str = "scaling") -> None:
    """Runs logged by MLflow itself."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri=address)
    number = client.create_experiment(experiment, artifact_location="unused")
    for run in runs:
        made = client.create_run(number, run_name=run.name).info.run_id
        metrics = [
            Metric(key, point[place], time, point[0])
            for time, point in enumerate(run.points)
            for place, key in ((1, LOSS), (2, TOKENS))
        ]
        client.log_batch(made, metrics=metrics, params=[Param("n_params", str(run.params))])
        if run.finished:
            client.set_terminated(made)


# Weights & Biases


def wandb_table(path: Path, runs: Sequence[Run]) -> Path:
    """A table of runs as its page exports it: config and last values."""
    pd.DataFrame(
        {
            "Name": [run.name for run in runs],
            "ID": [run.key for run in runs],
            "State": ["finished" if run.finished else "crashed" for run in runs],
            "n_params": [run.params for run in runs],
            LOSS: [run.points[-1][1] if run.points else None for run in runs],
            TOKENS: [run.points[-1][2] if run.points else None for run in runs],
        }
    ).to_csv(path, index=False)
    return path


def _history(run: Run) -> pd.DataFrame:
    """Rows of a history: another metric is logged between evaluations."""
    rows: list[dict[str, Any]] = []
    for step, loss, tokens in run.points:
        rows += [
            {"_step": step - 1, "train/loss": 9.0},
            {"_step": step, LOSS: loss, TOKENS: tokens},
        ]
    return pd.DataFrame(rows)


def wandb_histories(folder: Path, runs: Sequence[Run], ending: str) -> Path:
    folder.mkdir()
    for run in runs:
        path, table = folder / f"{run.key}.{ending}", _history(run)
        if ending == "csv":
            table.to_csv(path, index=False)
        elif ending == "parquet":
            table.to_parquet(path)
        else:
            rows = (row.dropna().to_dict() for _, row in table.iterrows())
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def wandb_chart(path: Path, runs: Sequence[Run]) -> Path:
    """A chart exported as CSV: one column a run."""
    table = pd.DataFrame({"Step": sorted({step for run in runs for step, *_ in run.points})})
    for run in runs:
        for place, key in ((1, LOSS), (2, TOKENS)):
            values = {point[0]: point[place] for point in run.points}
            table[f"{run.name} - {key}"] = table["Step"].map(values)
    table.to_csv(path, index=False)
    return path


def wandb_file(folder: Path, run: Run) -> Path:
    """A run file as wandb writes it, in its own messages and in a LevelDB log."""
    from wandb.proto.wandb_internal_pb2 import Record

    records = [Record()]
    records[0].run.run_id, records[0].run.display_name = run.key, run.name
    records[0].run.config.update.add(key="n_params", value_json=json.dumps(run.params))
    summary: dict[str, float] = {}
    for step, loss, tokens in run.points:
        record = Record()
        record.history.step.num = step
        for key, value in ((LOSS, loss), (TOKENS, tokens)):
            record.history.item.add(nested_key=[key], value_json=json.dumps(value))
            summary[key] = value
        records.append(record)
    last = Record()
    for key, value in summary.items():
        last.summary.update.add(nested_key=[key], value_json=json.dumps(value))
    records.append(last)
    if run.finished:
        records.append(Record())
        records[-1].exit.exit_code = 0
    home = folder / f"offline-run-{run.key}"
    home.mkdir(parents=True)
    path = home / f"run-{run.key}.wandb"
    path.write_bytes(leveldb(record.SerializeToString() for record in records))
    return path


def leveldb(records: Iterable[bytes]) -> bytes:
    """Records in blocks of 32 KiB, split where they do not fit."""
    out = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for record in records:
        first = True
        while True:
            left = 32_768 - len(out) % 32_768
            if left < 7:
                out += b"\0" * left
                left = 32_768
            part, record = record[: left - 7], record[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[
                first, not record
            ]
            checksum = zlib.crc32(part, zlib.crc32(bytes([kind])))
            out += struct.pack("<IHB", checksum, len(part), kind) + part
            first = False
            if not record:
                break
    return bytes(out)


class FakeWandb:
    """The part of wandb.Api that is asked for: projects, their runs, and histories by key."""

    def __init__(self, projects: dict[str, Sequence[Run]]) -> None:
        self.projects = projects

    def __call__(self, timeout: int) -> "FakeWandb":
        return self

    def runs(self, path: str, order: str) -> Iterable[Any]:
        if path not in self.projects:
            raise ValueError(f"Could not find project {path}")
        return map(self._run, self.projects[path])

    def _run(self, run: Run) -> Any:
        def scan_history(keys: list[str], page_size: int) -> Iterable[dict[str, Any]]:
            place = {LOSS: 1, TOKENS: 2}.get(keys[1])
            points = run.points if place else ()
            return ({"_step": p[0], keys[1]: _in_words(p[place or 0])} for p in points)

        last = run.points[-1] if run.points else (0, 0.0, 0.0)
        return SimpleNamespace(
            id=run.key,
            name=run.name,
            state="finished" if run.finished else "crashed",
            config={"model": {"n_params": run.params}},
            summary_metrics={LOSS: last[1], TOKENS: last[2]},
            scan_history=scan_history,
        )


def _in_words(value: float) -> float | str:
    return value if np.isfinite(value) else str(value).replace("nan", "NaN")


# TensorBoard


def frame(data: bytes) -> bytes:
    """A record of an event file."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    plain = google_crc32c.value(data)
    return struct.pack("<I", ((plain >> 15 | plain << 17) + 0xA282EAD8) % 2**32)


def event_file(folder: Path, run: Run, *, tensors: bool = False) -> Path:
    """Scalars as PyTorch writes them, or as tensors, as TensorFlow does; params as a
    hyperparameter.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.util.tensor_util import make_tensor_proto

    data = HParamsPluginData()
    data.session_start_info.hparams["n_params"].number_value = run.params
    start = Event()
    value = start.summary.value.add(tag="_hparams_/session_start_info")
    value.metadata.plugin_data.plugin_name = "hparams"
    value.metadata.plugin_data.content = data.SerializeToString()
    events = [Event(file_version="brain.Event:2"), start]
    for point in run.points:
        event = Event(step=point[0])
        event.summary.value.add(tag="weights").histo.min = 0.0
        for number, tag in ((point[1], LOSS), (point[2], TOKENS)):
            if tensors:
                made = make_tensor_proto(np.float32(number))
                event.summary.value.add(tag=tag).tensor.CopyFrom(made)
            else:
                event.summary.value.add(tag=tag, simple_value=number)
        events.append(event)
    home = folder / run.name
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"events.out.tfevents.{len(list(home.iterdir()))}.host"
    path.write_bytes(b"".join(frame(event.SerializeToString()) for event in events))
    return path


# Hugging Face


def trainer_state(folder: Path, run: Run, *, checkpoint: int | None = None) -> Path:
    """The state that the Trainer keeps: an entry of training and one of evaluation a step."""
    history: list[dict[str, float]] = []
    for step, loss, tokens in run.points:
        seen = {"num_input_tokens_seen": tokens, "step": step, "epoch": step / 400}
        history += [{"loss": 9.0, **seen}, {"eval_loss": loss, **seen}]
    last = run.points[-1][0] if run.points else 0
    state = {
        "global_step": last,
        "max_steps": last if run.finished else 1000,
        "total_flos": 6 * run.params * (run.points[-1][2] if run.points else 0),
        "num_input_tokens_seen": run.points[-1][2] if run.points else 0,
        "log_history": history,
        "stateful_callbacks": {"TrainerControl": {"args": {"should_log": False}}},
    }
    home = folder / run.name / ("" if checkpoint is None else f"checkpoint-{checkpoint}")
    home.mkdir(parents=True, exist_ok=True)
    path = home / "trainer_state.json"
    path.write_text(json.dumps(state))
    (folder / run.name / "config.json").write_text(json.dumps({"n_params": run.params}))
    return path
