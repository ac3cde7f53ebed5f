"""Runs in trackers: every tracker tells the same, and nothing that lacks is passed over."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tracked as written
from tracked import LOSS, SMALL, TOKENS, Run

from bayescale.errors import TrackerError
from bayescale.runs import LeftOut, Runs, read_runs
from bayescale.trackers import (
    Choice,
    import_runs,
    read_huggingface,
    read_mlflow,
    read_tensorboard,
    read_wandb,
)

LOG = written.log_of(5)
MLFLOW = {"params": "params.n_params", "tokens": f"metrics.{TOKENS}"}
CHOICE = Choice(metric=LOSS, columns=MLFLOW)


def from_mlflow(folder: Path, runs: list[Run], **options) -> Runs:
    store = written.mlflow_tables(folder / "runs.db", runs)
    return read_mlflow(store, metric=LOSS, columns=MLFLOW, **options)


def from_table(folder: Path, runs: list[Run], **options) -> Runs:
    table = written.wandb_table(folder / "export.csv", runs)
    columns = {"params": "table.n_params", "tokens": f"history.{TOKENS}"}
    return read_wandb(table, metric=LOSS, columns=columns, **options)


def from_histories(ending: str) -> Callable[..., Runs]:
    def read(folder: Path, runs: list[Run], **options) -> Runs:
        beside = written.wandb_histories(folder / "histories", runs, ending)
        return from_table(folder, runs, history=beside, **options)

    return read


def from_chart(folder: Path, runs: list[Run], **options) -> Runs:
    return from_table(folder, runs, history=written.wandb_chart(folder / "c.csv", runs), **options)


def from_offline(folder: Path, runs: list[Run], **options) -> Runs:
    for run in runs:
        written.wandb_file(folder / "wandb", run)
    columns = {"params": "config.n_params", "tokens": f"history.{TOKENS}"}
    return read_wandb(folder / "wandb", metric=LOSS, columns=columns, **options)


def from_api(folder: Path, runs: list[Run], **options) -> Runs:
    import wandb

    columns = {"params": "config.model.n_params", "tokens": f"history.{TOKENS}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wandb, "Api", written.FakeWandb({"team/scaling": runs}))
        return read_wandb("team/scaling", metric=LOSS, columns=columns, **options)


def from_events(folder: Path, runs: list[Run], *, tensors: bool = False, **options) -> Runs:
    for run in runs:
        written.event_file(folder / "events", run, tensors=tensors)
    columns = {"params": "hparams.n_params", "tokens": f"scalars.{TOKENS}"}
    return read_tensorboard(folder / "events", metric=LOSS, columns=columns, **options)


def from_tensors(folder: Path, runs: list[Run], **options) -> Runs:
    return from_events(folder, runs, tensors=True, **options)


def from_trainer(folder: Path, runs: list[Run], **options) -> Runs:
    for run in runs:
        written.trainer_state(folder / "out", run)
    columns = {"params": "config.n_params", "tokens": "history.num_input_tokens_seen"}
    return read_huggingface(folder / "out", columns=columns, **options)


READERS = {
    "mlflow": from_mlflow,
    "wandb table and csv": from_histories("csv"),
    "wandb table and jsonl": from_histories("jsonl"),
    "wandb table and parquet": from_histories("parquet"),
    "wandb table and chart": from_chart,
    "wandb offline": from_offline,
    "wandb api": from_api,
    "tensorboard": from_events,
    "tensorboard tensors": from_tensors,
    "huggingface": from_trainer,
}
every_tracker = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


def wrong(call: Callable[..., object], *arguments, **options) -> str:
    with pytest.raises(TrackerError) as caught:
        call(*arguments, **options)
    return str(caught.value)


# what every tracker tells


@every_tracker
def test_every_tracker_gives_the_runs_of_the_log(read: Callable, tmp_path: Path) -> None:
    assert read(tmp_path, SMALL).digest == read_runs(LOG).digest


def test_a_table_alone_gives_last_values(tmp_path: Path) -> None:
    assert from_table(tmp_path, SMALL).digest == read_runs(LOG).digest


@every_tracker
def test_an_earlier_step_takes_the_tokens_seen_by_then(read: Callable, tmp_path: Path) -> None:
    runs = read(tmp_path, SMALL, step=200)
    np.testing.assert_array_equal(runs["loss"], [run.points[1][1] for run in SMALL])
    np.testing.assert_array_equal(runs["tokens"], [run.points[1][2] for run in SMALL])


@every_tracker
def test_a_mean_is_of_the_last_points(read: Callable, tmp_path: Path) -> None:
    _, second, last = (point[1] for point in SMALL[0].points)
    assert read(tmp_path, SMALL, smooth="mean:2")["loss"][0] == pytest.approx((second + last) / 2)


def test_an_exponential_mean_weighs_by_age(tmp_path: Path) -> None:
    first, second, last = (point[1] for point in SMALL[0].points)
    by_hand = (0.25 * first + 0.5 * second + last) / 1.75
    assert from_mlflow(tmp_path, SMALL, smooth="ema:0.5")["loss"][0] == pytest.approx(by_hand)
