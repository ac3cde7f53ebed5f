"""Runs in trackers: every tracker tells the same, and nothing that lacks is passed over."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support import tracked as written
from support.tracked import LOSS, SMALL, TOKENS, Run

from bayescale.errors import TrackerError, as_options, listed
from bayescale.runs import LeftOut, Runs, read_runs
from bayescale.trackers import (
    Choice,
    import_runs,
    read_huggingface,
    read_mlflow,
    read_tensorboard,
    read_wandb,
)
from bayescale.trackers.choice import NAMES
from bayescale.trackers.tracked import flattened

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
    return as_options(str(caught.value))


# what every tracker tells


@every_tracker
def test_every_tracker_gives_the_runs_of_the_log(read: Callable, tmp_path: Path) -> None:
    assert read(tmp_path, SMALL).digest == read_runs(LOG).digest


def test_a_table_alone_gives_last_values(tmp_path: Path) -> None:
    assert from_table(tmp_path, SMALL).digest == read_runs(LOG).digest


@every_tracker
def test_an_earlier_step_takes_the_tokens_logged_by_then(read: Callable, tmp_path: Path) -> None:
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


def test_a_point_logged_twice_with_one_value_counts_once(tmp_path: Path) -> None:
    twice = [run.with_points([*run.points, run.points[-1]]) for run in SMALL]
    _, second, last = (point[1] for point in SMALL[0].points)
    assert from_mlflow(tmp_path, twice, smooth="mean:2")["loss"][0] == pytest.approx(
        (second + last) / 2
    )


def test_points_need_not_be_in_the_order_of_their_steps(tmp_path: Path) -> None:
    back = [run.with_points(run.points[::-1]) for run in SMALL]
    assert from_events(tmp_path, back).digest == read_runs(LOG).digest


# where the numbers came from


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, f"{LOSS} at the last step, as logged"),
        ({"step": 200}, f"{LOSS} at step 200, as logged"),
        ({"smooth": "mean:2"}, f"mean of the last 2 points of {LOSS} up to the last step"),
        (
            {"smooth": "ema:0.9", "step": 200},
            f"exponential mean of {LOSS} up to step 200, 0.9 a point",
        ),
        (
            {"repeated": "last"},
            f"{LOSS} at the last step, as logged, the later value where a step was logged twice",
        ),
    ],
)
def test_runs_know_metric_step_and_smoothing(options: dict, told: str, tmp_path: Path) -> None:
    runs = from_mlflow(tmp_path, SMALL, **options)
    assert runs.columns["loss"] == f"column 'loss' (MLflow runs.db, experiment 'scaling': {told})"
    assert runs.columns["params"] == "column 'params' (params.n_params)"
    assert runs.source == "MLflow runs.db, experiment 'scaling'"


def test_the_written_log_is_read_unchanged_and_keeps_its_origin(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL)
    log = import_runs(store, replace(CHOICE, smooth="mean:2"))
    read = read_runs(log.to_csv(tmp_path / "runs.csv"))
    assert read.digest == log.runs().digest
    assert dict(read.columns) == dict(log.runs().columns)
    assert read.source == "runs.csv"


def test_the_log_is_for_people(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", [Run("a", 1e8, [(10, 2.5, 2e9)])])
    assert import_runs(store, CHOICE).to_csv(tmp_path / "runs.csv").read_text() == (
        "run_id,params,tokens,loss,at_step,state,tracker_id,loss_from,params_from,tokens_from\n"
        "a,100000000.0,2000000000.0,2.5,10,FINISHED,id-a,"
        "\"MLflow runs.db, experiment 'scaling': eval/loss at the last step, as logged\","
        "params.n_params,metrics.train/tokens up to the step of the loss\n"
    )


def test_a_source_that_does_not_tell_of_ends_is_noted(tmp_path: Path) -> None:
    (note, _) = from_events(tmp_path, SMALL).warnings
    assert note.code == "finished_unknown"
    assert note.text == (
        "TensorBoard events does not say whether 5 of its runs finished: compare at_step with "
        "what each was to reach"
    )


# runs that lack something


RUNNING = [*SMALL[:3], replace(SMALL[3], finished=False), replace(SMALL[4], finished=False)]
STORE = "MLflow runs.db, experiment 'scaling' cannot be imported:\n"


@pytest.mark.parametrize(
    ("read", "source", "state"),
    [
        (from_mlflow, "MLflow runs.db, experiment 'scaling'", "is RUNNING"),
        (from_table, "Weights & Biases export.csv", "is crashed"),
        (from_offline, "Weights & Biases wandb", "is without an end"),
        (from_api, "Weights & Biases team/scaling", "is crashed"),
        (from_trainer, "Hugging Face Trainer out", "is at step 400 of 1000"),
    ],
)
def test_unfinished_runs_are_refused_dropped_or_marked(
    read: Callable, source: str, state: str, tmp_path: Path
) -> None:
    for name in ("error", "drop", "keep"):
        (tmp_path / name).mkdir()
    assert wrong(read, tmp_path / "error", RUNNING) == (
        f"{source} cannot be imported:\n"
        f"  - 2 runs are unfinished: run3 {state}, run4 {state}; leave such runs out with "
        "--unfinished drop, or keep them, marked in a column finished, with --unfinished keep"
    )
    dropped = read(tmp_path / "drop", RUNNING, unfinished="drop")
    assert dropped.dropped == tuple(
        LeftOut(name, f"unfinished: it {state}") for name in ("run3", "run4")
    )
    assert len(read(tmp_path / "keep", RUNNING, unfinished="keep")) == 5


def test_kept_unfinished_runs_can_be_excluded_by_their_mark(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", RUNNING)
    path = import_runs(store, replace(CHOICE, unfinished="keep")).to_csv(tmp_path / "runs.csv")
    assert pd.read_csv(path)["finished"].tolist() == [1, 1, 1, 0, 0]
    assert len(read_runs(path, exclude={"finished": "0"})) == 3


LACKING = [
    replace(SMALL[0], points=[]),
    SMALL[1].with_points([*SMALL[1].points, (500, float("nan"), 9e9)]),
    SMALL[2].with_points([*SMALL[2].points, (500, float("inf"), 9e9)]),
    *SMALL[3:],
]


@pytest.mark.parametrize("read", [from_mlflow, from_offline, from_api, from_events, from_trainer])
def test_runs_without_a_value_are_refused_dropped_or_left_empty(
    read: Callable, tmp_path: Path
) -> None:
    (tmp_path / "drop").mkdir()
    message = wrong(read, tmp_path, LACKING)
    metric = "eval_loss" if read is from_trainer else LOSS
    assert f"{metric} has nan at step 500 (run1), {metric} has inf at step 500 (run2)" in message
    runs = read(tmp_path / "drop", LACKING, missing="drop")
    assert runs["run_id"].tolist() == ["run3", "run4"]
    assert runs.dropped[1:] == (
        LeftOut("run1", f"{metric} has nan at step 500"),
        LeftOut("run2", f"{metric} has inf at step 500"),
    )


def test_what_lacks_is_reported_together(tmp_path: Path) -> None:
    assert wrong(from_mlflow, tmp_path, LACKING) == (
        STORE + "  - 3 runs are without a value: no metric 'eval/loss' (run0), no "
        "tokens at metrics.train/tokens (run0), eval/loss has nan at step 500 (run1), eval/loss "
        "has inf at step 500 (run2); name what they have, leave such runs out with "
        "--missing drop, or keep them with empty cells, to be filled in, with --missing keep"
    )


def test_kept_runs_have_empty_cells(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", LACKING)
    path = import_runs(store, replace(CHOICE, missing="keep")).to_csv(tmp_path / "runs.csv")
    assert pd.read_csv(path)["loss"].isna().tolist() == [True, True, True, False, False]


def test_a_metric_that_no_run_has(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL[:1])
    assert wrong(import_runs, store, replace(CHOICE, metric="val/loss")) == (
        STORE + "  - one run is without a value: no metric 'val/loss' among 'eval/loss', "
        "'train/tokens' (run0); name what they have, leave such runs out with --missing drop, or "
        "keep them with empty cells, to be filled in, with --missing keep"
    )


def test_places_that_hold_nothing(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL)
    columns = {"params": "tags.n_params", "tokens": "metrics.tokens"}
    assert wrong(import_runs, store, Choice(metric=LOSS, columns=columns)) == (
        STORE
        + "  - 5 runs are without a value: no params at tags.n_params (run0, run1, run2, run3,"
        " run4), no tokens at metrics.tokens (run0, run1, run2, run3, run4); name what they have, "
        "leave such runs out with --missing drop, or keep them with empty cells, to be filled in, "
        "with --missing keep"
    )


def test_event_files_name_the_tags_they_have(tmp_path: Path) -> None:
    folder = written.event_file(tmp_path / "events", SMALL[0]).parent.parent
    choice = Choice(metric="val/loss", columns={"params": "hparams.n_params"})
    assert "no metric 'val/loss' among 'eval/loss', 'train/tokens' (run0)" in wrong(
        import_runs, folder, choice
    )


def test_a_step_that_does_not_exist(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL)
    assert wrong(import_runs, store, replace(CHOICE, step=300)) == (
        STORE + "  - 5 runs are without a value: eval/loss has no step 300, but 200 and 400 (run0, "
        "run1, run2, run3, run4); name what they have, leave such runs out with --missing drop, or "
        "keep them with empty cells, to be filled in, with --missing keep"
    )


def test_a_mean_of_more_points_than_there_are(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL[:1])
    message = wrong(import_runs, store, replace(CHOICE, smooth="mean:5", step=200))
    assert "eval/loss has 2 points up to step 200, but the mean is of 5 (run0)" in message


def test_tokens_of_the_end_do_not_go_with_an_earlier_loss(tmp_path: Path) -> None:
    written.wandb_file(tmp_path / "wandb", SMALL[0])
    columns = {"params": "config.n_params", "tokens": f"summary.{TOKENS}"}
    choice = Choice(metric=LOSS, columns=columns, step=200)
    assert wrong(import_runs, tmp_path / "wandb", choice) == (
        "Weights & Biases wandb cannot be imported:\n"
        "  - tokens at summary.train/tokens is one value per run, but the loss of run0 is of step "
        "200, and it went on to 400: name a place that grows with it, tokens=history.NAME"
    )


def test_two_values_at_the_step_are_refused_dropped_or_the_later_taken(tmp_path: Path) -> None:
    again = (400, 2.0, SMALL[0].points[-1][2])
    runs = [SMALL[0].with_points([*SMALL[0].points, again]), *SMALL[1:]]
    assert wrong(from_mlflow, tmp_path, runs) == (
        STORE + "  - eval/loss has more than one value at step 400 of run0: take the one logged "
        "last with --repeated last, or leave such runs out with --repeated drop"
    )
    store = tmp_path / "runs.db"
    dropped = import_runs(store, replace(CHOICE, repeated="drop")).dropped
    assert dropped == (LeftOut("run0", "eval/loss has more than one value at step 400"),)
    last = import_runs(
        written.event_file(tmp_path / "e", runs[0]).parent.parent,
        Choice(metric=LOSS, columns={"params": "hparams.n_params"}, repeated="last"),
    )
    assert last.frame["loss"].tolist() == [2.0]


def test_two_values_at_a_step_that_is_not_used_do_not_matter(tmp_path: Path) -> None:
    runs = [run.with_points([(100, 9.0, 1e9), *run.points]) for run in SMALL]
    assert from_mlflow(tmp_path, runs).digest == read_runs(LOG).digest


def test_runs_of_the_same_name(tmp_path: Path) -> None:
    alike = [SMALL[0], replace(SMALL[1], name="run0", id="other")]
    assert wrong(from_mlflow, tmp_path, alike) == (
        STORE + "  - more than one run is called 'run0' (ids id-run0, other): rename all but one, "
        "or call runs by their ids with --run-id id"
    )
    by_id = import_runs(tmp_path / "runs.db", replace(CHOICE, run_id="id"))
    assert by_id.frame["run_id"].tolist() == ["id-run0", "other"]


def test_an_exported_table_with_one_run_twice(tmp_path: Path) -> None:
    assert wrong(from_table, tmp_path, [SMALL[0], SMALL[0]]) == (
        "Weights & Biases export.csv cannot be imported:\n"
        "  - more than one run is called 'run0' (ids id-run0, id-run0): rename all but one"
    )


def test_text_in_place_of_a_number(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL[:1])
    with closing(sqlite3.connect(store)) as opened, opened:
        opened.execute("UPDATE params SET value = '70B'")
    assert wrong(import_runs, store, CHOICE) == (
        STORE + "  - params at params.n_params of run0 is '70B': write plain numbers such as 1.4e12"
    )


def test_nothing_left(tmp_path: Path) -> None:
    runs = [replace(run, finished=False) for run in SMALL[:2]]
    assert wrong(from_mlflow, tmp_path, runs, unfinished="drop") == (
        "MLflow runs.db, experiment 'scaling' has no runs left, all are left out: run0 "
        "(unfinished: it is RUNNING), run1 (unfinished: it is RUNNING)"
    )


# choices that cannot be


def test_every_problem_of_a_choice_is_reported_together() -> None:
    assert wrong(
        Choice, metric=LOSS, columns={"token": "a.b", "loss": "c.d"}, smooth="mean:1.5"
    ) == (
        "runs cannot be imported so:\n"
        f"  - column 'token' is not one of {listed(NAMES, 8)}; did you mean 'tokens'?\n"
        "  - the loss is named by --metric, and not among the columns\n"
        "  - none of params, tokens and flops has a place: name at least one, for example "
        "--column params=config.n_params\n"
        "  - smoothing 'mean:1.5' is neither mean:K, with K a whole number from 2, nor ema:A, with "
        "A between 0 and 1"
    )


@pytest.mark.parametrize("smooth", ["mean", "mean:x", "mean:1", "mean:inf", "ema:1", "ema:0", "5"])
def test_smoothing_that_is_none(smooth: str) -> None:
    assert f"smoothing {smooth!r} is neither" in wrong(
        Choice, metric=LOSS, columns=MLFLOW, smooth=smooth
    )


def test_a_place_of_another_tracker(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL)
    choice = Choice(metric=LOSS, columns={"params": "config.n_params", "tokens": "tags."})
    assert wrong(import_runs, store, choice) == (
        STORE + "  - params is to come from 'config.n_params', but a place here begins with "
        "params., tags., metrics.\n"
        "  - tokens is to come from 'tags.', but a place here begins with params., tags., metrics."
    )


# sources that cannot be read


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    assert wrong(import_runs, "team/scaling", CHOICE) == (
        "'team/scaling' is not there: name a file, a folder or an address, or a Weights & Biases "
        "project with --from wandb"
    )
    assert wrong(import_runs, tmp_path / "no.db", CHOICE, tracker="mlflow") == (
        f"MLflow store {str(tmp_path / 'no.db')!r} does not exist: name its SQLite file"
    )


def test_a_folder_of_none_or_of_two_trackers(tmp_path: Path) -> None:
    assert wrong(import_runs, tmp_path, CHOICE) == (
        f"folder {str(tmp_path)!r} holds nothing of a tracker: no *tfevents*, trainer_state.json "
        "or run-ID.wandb file"
    )
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "meta.yaml").write_text("experiment_id: 0")
    assert wrong(import_runs, tmp_path, CHOICE) == (
        f"folder {str(tmp_path)!r} is an MLflow store of loose files: serve it with mlflow server "
        f"--backend-store-uri {tmp_path}, and name the server's address"
    )
    written.trainer_state(tmp_path, SMALL[0])
    written.event_file(tmp_path, SMALL[0])
    assert wrong(import_runs, tmp_path, CHOICE) == (
        f"folder {str(tmp_path)!r} holds files of more than one tracker, tensorboard, "
        "huggingface: choose with --from"
    )


def test_a_file_of_no_tracker(tmp_path: Path) -> None:
    (tmp_path / "runs.txt").write_text("nothing")
    assert wrong(import_runs, tmp_path / "runs.txt", CHOICE) == (
        "runs.txt is neither an SQLite file nor ends in .csv, .parquet or .jsonl: name what a "
        "tracker wrote"
    )
    assert wrong(import_runs, tmp_path / "runs.txt", CHOICE, tracker="mlflow") == (
        "runs.txt is not an SQLite file, as an MLflow store is: name the store's file, or the "
        "address of a tracking server"
    )


def test_options_of_another_tracker(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL)
    assert wrong(import_runs, store, CHOICE, history=tmp_path) == (
        "--history goes with a table exported from Weights & Biases"
    )
    written.event_file(tmp_path / "events", SMALL[0])
    assert wrong(import_runs, tmp_path / "events", CHOICE, experiment="scaling") == (
        "--experiment is for MLflow only: leave it out"
    )


# MLflow


def test_a_server_that_cannot_be_reached() -> None:
    address = "http://127.0.0.1:9"  # the discard service: nothing listens
    assert wrong(import_runs, address, CHOICE) == (
        f"MLflow server {address} cannot be reached (ConnectionError): see that it runs, and that "
        "the address is right"
    )


def test_a_store_of_another_version(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL)
    with closing(sqlite3.connect(store)) as opened, opened:
        opened.execute("ALTER TABLE metrics DROP COLUMN step")
        opened.execute("DROP TABLE tags")
    assert wrong(import_runs, store, CHOICE) == (
        "runs.db is an MLflow store of another version: its schema, 0123abcd, lacks metrics.step, "
        "tags.key, tags.value, tags.run_uuid; bring a copy up to date with mlflow db upgrade "
        "sqlite:///COPY, or name the address of a tracking server that serves it"
    )


def test_an_sqlite_file_that_is_no_store(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "runs.db")) as opened, opened:
        opened.execute("CREATE TABLE other (x)")
    assert wrong(import_runs, tmp_path / "runs.db", CHOICE) == (
        "runs.db is an SQLite file, but not an MLflow store: it has no tables experiments and runs"
    )


def test_a_damaged_store(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL)
    store.write_bytes(store.read_bytes()[:5000])
    assert wrong(import_runs, store, CHOICE) == (
        "MLflow store runs.db cannot be read: database disk image is malformed; restore it, or "
        "wait until nothing writes to it"
    )


def test_which_experiment(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL[:3])
    others = [replace(run, id=f"b{i}") for i, run in enumerate(SMALL[3:])]
    written.mlflow_tables(store, others, experiment="other")
    assert wrong(import_runs, store, CHOICE) == (
        "MLflow runs.db has runs in 2 experiments, 'other', 'scaling': choose one with "
        "--experiment NAME"
    )
    assert len(import_runs(store, CHOICE, experiment="other")) == 2
    assert wrong(import_runs, store, CHOICE, experiment="third") == (
        "MLflow runs.db has no experiment 'third': choose one of 'other', 'scaling'"
    )


def test_an_empty_store(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", [])
    assert wrong(import_runs, store, CHOICE) == (
        "MLflow runs.db holds no runs: name a store that holds some"
    )
    assert wrong(import_runs, store, CHOICE, experiment="scaling") == (
        "MLflow runs.db, experiment 'scaling' holds no runs: name what holds some"
    )


def test_a_store_is_not_written_to(tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", SMALL)
    before = store.read_bytes()
    store.chmod(0o444)
    import_runs(store, CHOICE)
    assert store.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]


# Weights & Biases


def test_a_project_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setattr(wandb, "Api", written.FakeWandb({"team/empty": []}))
    choice = Choice(metric=LOSS, columns={"params": "config.n_params"})
    assert wrong(import_runs, "team/scaling", choice, tracker="wandb") == (
        "Weights & Biases project 'team/scaling' cannot be read (ValueError: Could not find "
        "project team/scaling): see that it is written ENTITY/PROJECT, that you are logged in "
        "(wandb login), and that the network is there"
    )
    assert wrong(import_runs, "team/empty", choice, tracker="wandb") == (
        "Weights & Biases team/empty holds no runs: name what holds some"
    )


def test_settings_are_flattened_by_their_path() -> None:
    shared: dict[str, Any] = {"width": 64}
    twice = {"one": shared, "other": {"same": shared}}
    assert flattened(twice, "config.") == {"config.one.width": 64, "config.other.same.width": 64}


def test_the_client_takes_what_it_is_asked() -> None:
    from wandb.apis.public import Api
    from wandb.apis.public import Run as ClientRun

    fake = written.FakeWandb({"team/scaling": SMALL})
    (run, *_) = fake.runs("team/scaling", order="+created_at")
    for real, stood_in in ((Api.runs, fake.runs), (ClientRun.scan_history, run.scan_history)):
        assert set(signature(stood_in).parameters) <= set(signature(real).parameters)
    assert all(hasattr(ClientRun, name) for name in ("summary_metrics", "config", "state", "name"))


def test_a_run_log_is_not_an_export(tmp_path: Path) -> None:
    LOG.to_csv(tmp_path / "runs.csv", index=False)
    assert wrong(import_runs, tmp_path / "runs.csv", CHOICE) == (
        "Weights & Biases runs.csv has no column Name, as a table of runs exported from Weights & "
        "Biases has; it has run_id, params, tokens, loss. A run log needs no import: bayescale "
        "check reads it"
    )


def test_a_table_alone_has_no_history(tmp_path: Path) -> None:
    assert wrong(from_table, tmp_path, SMALL, step=200) == (
        "Weights & Biases export.csv holds last values alone, not those of a step or those that a "
        "mean is of: export the histories and name them with --history"
    )


def test_histories_and_their_runs(tmp_path: Path) -> None:
    beside = written.wandb_histories(tmp_path / "histories", SMALL, "csv")
    (beside / "strange.csv").write_text("_step,eval/loss\n")
    assert wrong(from_table, tmp_path, SMALL, history=beside) == (
        "history histories has files of no run in the table: strange.csv; call a file by the Name "
        "or the ID of its run, or take it out of the folder"
    )
    (beside / "strange.csv").rename(beside / "id-run0.jsonl")
    assert wrong(from_table, tmp_path, SMALL, history=beside) == (
        "history histories has more than one file for 'id-run0': leave one of them"
    )
    assert wrong(from_table, tmp_path, SMALL, history=tmp_path / "none") == (
        f"history {str(tmp_path / 'none')!r} does not exist: name a folder or a CSV file"
    )


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "run0.csv",
            "_step,eval/loss,train/tokens\n1,2.5,1e9\n2,2.4",
            "run0.csv is uneven or cut short at line 3: write as many cells as the header has",
        ),
        (
            "run0.jsonl",
            '{"_step": 1, "eval/loss": 2.5}\n{"_step": 2, "eval/',
            "run0.jsonl is cut short or not JSON lines at line 2: Unterminated string starting "
            "at: line 1 column 14 (char 13)",
        ),
        (
            "run0.csv",
            "at,eval/loss\n1,2.5\n",
            "run0.csv has no step in row 1: it needs a column _step of whole numbers",
        ),
        ("run0.parquet", "PAR1", None),
    ],
)
def test_half_written_histories(name: str, text: str, told: str | None, tmp_path: Path) -> None:
    (tmp_path / "histories").mkdir()
    (tmp_path / "histories" / name).write_text(text)
    message = wrong(from_table, tmp_path, SMALL[:1], history=tmp_path / "histories")
    assert message == told or message.startswith("run0.parquet is a damaged Parquet file: ")


def test_a_record_longer_than_a_block(tmp_path: Path) -> None:
    from bayescale.trackers.records import Records, run_frames

    records = [b"a" * 32_750, b"b" * 100_000, b"", b"c"]
    (tmp_path / "run.wandb").write_bytes(written.leveldb(records))
    file, read = Records(tmp_path / "run.wandb", run_frames), []
    file.each(read.append)
    assert read == records
    assert file.cut == ""


# files that end within a record


EVENTS = Choice(metric=LOSS, columns={"params": "hparams.n_params", "tokens": f"scalars.{TOKENS}"})
OFFLINE = Choice(metric=LOSS, columns={"params": "config.n_params", "tokens": f"history.{TOKENS}"})


@pytest.mark.parametrize("short_by", [1, 4, 20])
def test_an_event_file_that_is_still_being_written(short_by: int, tmp_path: Path) -> None:
    path = written.event_file(tmp_path / "events", SMALL[0])
    path.write_bytes(path.read_bytes()[:-short_by])
    assert wrong(import_runs, tmp_path / "events", EVENTS) == (
        "TensorBoard events cannot be imported:\n"
        f"  - one run is unfinished: run0 has a file {path.name} that ends within a record; leave "
        "such runs out with --unfinished drop, or keep them, marked in a column finished, with "
        "--unfinished keep"
    )
    kept = import_runs(tmp_path / "events", replace(EVENTS, unfinished="keep")).frame
    assert kept["at_step"].tolist() == [200]
    assert kept["loss"].tolist() == [SMALL[0].points[1][1]]
    assert kept["tokens"].tolist() == [SMALL[0].points[1][2]]
    assert kept["finished"].tolist() == [0]


def test_an_offline_run_that_is_still_being_written(tmp_path: Path) -> None:
    path = written.wandb_file(tmp_path / "wandb", SMALL[0])
    path.write_bytes(path.read_bytes()[:-1])
    assert wrong(import_runs, tmp_path / "wandb", OFFLINE) == (
        "Weights & Biases wandb cannot be imported:\n"
        "  - one run is unfinished: run0 has a file run-id-run0.wandb that ends within a record; "
        "leave such runs out with --unfinished drop, or keep them, marked in a column finished, "
        "with --unfinished keep"
    )


@pytest.mark.parametrize(
    ("write", "choice"), [(written.event_file, EVENTS), (written.wandb_file, OFFLINE)]
)
def test_a_damaged_file(write: Callable, choice: Choice, tmp_path: Path) -> None:
    path = write(tmp_path / "logs", SMALL[0])
    data = bytearray(path.read_bytes())
    data[120] ^= 1
    path.write_bytes(data)
    message = wrong(import_runs, tmp_path / "logs", choice)
    assert message.startswith(f"{path} is damaged at byte ")
    assert message.endswith(
        ": a checksum does not fit its record; restore the file, or take it out of the folder"
    )


def test_a_half_written_state_of_the_trainer(tmp_path: Path) -> None:
    path = written.trainer_state(tmp_path, SMALL[0])
    path.write_text(path.read_text()[:100])
    choice = Choice(metric="eval_loss", columns={"flops": "state.total_flos"})
    message = wrong(import_runs, tmp_path, choice)
    assert message.startswith(f"{path} is cut short or not JSON (")
    assert message.endswith(
        "): take it out of the folder, so that an earlier checkpoint is read, or restore it"
    )
    path.write_text('{"epoch": 1}')
    assert wrong(import_runs, tmp_path, choice) == (
        f"{path} is not a state of the Hugging Face Trainer: it lacks log_history or global_step; "
        "take it out of the folder"
    )


def test_of_a_run_s_checkpoints_the_furthest_is_read(tmp_path: Path) -> None:
    early = SMALL[0].with_points(SMALL[0].points[:2])
    written.trainer_state(tmp_path, early, checkpoint=200)
    written.trainer_state(tmp_path, SMALL[0], checkpoint=400)
    written.trainer_state(tmp_path, early)  # saved before training went on
    choice = Choice(metric="eval_loss", columns={"flops": "state.total_flos"})
    log = import_runs(tmp_path, choice)
    assert log.frame["at_step"].tolist() == [400]
    assert log.frame["run_id"].tolist() == ["run0"]


def test_event_files_of_a_run_that_was_resumed_are_one_history(tmp_path: Path) -> None:
    first = SMALL[0].with_points([*SMALL[0].points[:2], (300, 2.9, 2e9)])
    written.event_file(tmp_path / "events", first)
    written.event_file(
        tmp_path / "events", SMALL[0].with_points([(300, 2.8, 2e9), (400, 2.5, 3e9)])
    )
    assert import_runs(tmp_path / "events", EVENTS).frame["loss"].tolist() == [2.5]
    later = replace(EVENTS, step=300, repeated="last")
    assert import_runs(tmp_path / "events", later).frame["loss"].tolist() == [
        float(np.float32(2.8))
    ]


def test_what_a_tracker_needs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written.event_file(tmp_path / "events", SMALL[0])
    written.wandb_file(tmp_path / "wandb", SMALL[0])
    monkeypatch.setattr("bayescale.trackers.tracked.find_spec", lambda name: None)
    asked = {
        "mlflow": ("http://127.0.0.1:9", CHOICE, "an MLflow tracking server"),
        "tensorboard": (tmp_path / "events", EVENTS, "reading TensorBoard event files"),
        "wandb": (tmp_path / "wandb", OFFLINE, "reading Weights & Biases run files"),
    }
    for extra, (source, choice, what) in asked.items():
        assert wrong(import_runs, source, choice) == (
            f"{what} needs the package {extra}, which is not installed: "
            f'python -m pip install "bayescale[{extra}]"'
        )
    assert wrong(import_runs, "team/scaling", OFFLINE, tracker="wandb") == (
        "the Weights & Biases service needs the package wandb, which is not installed: "
        'python -m pip install "bayescale[wandb]"'
    )


# the command


PLACES = ("--column", "params=params.n_params", "--column", f"tokens=metrics.{TOKENS}")


def test_the_command_writes_a_log_that_check_reads(bayescale: Callable, tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", RUNNING)
    ran = bayescale(
        "import", store, "--metric", LOSS, *PLACES, "--unfinished", "drop", "-o", tmp_path / "r.csv"
    )
    assert ran.code == 0
    assert ran.out == (
        f"3 runs from MLflow runs.db, experiment 'scaling', at step 400, written to "
        f"{tmp_path / 'r.csv'}\n\n"
        "  loss          from MLflow runs.db, experiment 'scaling': eval/loss at the last step, as "
        "logged\n"
        "  params        from params.n_params\n"
        "  tokens        from metrics.train/tokens up to the step of the loss\n\n"
        "Left out: run3, run4: unfinished: it is RUNNING\n"
        f"Next:\n  bayescale check {tmp_path / 'r.csv'}\n"
    )
    assert "eval/loss at the last step, as logged" in bayescale("check", tmp_path / "r.csv").out


def test_the_command_prints_the_log_or_one_object(bayescale: Callable, tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", LACKING)
    words = ("import", store, "--metric", LOSS, *PLACES, "--missing", "keep")
    assert bayescale(*words).out.startswith("run_id,params,tokens,loss,at_step,")
    told = bayescale(*words, "--step", "400", "--json").json
    assert told["n_runs"] == 5
    assert told["step"] == 400
    assert told["runs"][0]["loss"] is None
    assert told["runs"][4]["loss"] == SMALL[4].points[-1][1]


def test_what_was_left_out_is_reported_beside_a_printed_log(
    bayescale: Callable, tmp_path: Path
) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", RUNNING)
    ran = bayescale("import", store, "--metric", LOSS, *PLACES, "--unfinished", "drop")
    assert "Left out" not in ran.out
    assert ran.err.startswith("Left out: run3, run4: unfinished: it is RUNNING\n")


def test_a_step_is_last_or_a_number(bayescale: Callable, tmp_path: Path) -> None:
    ran = bayescale("import", tmp_path, "--metric", LOSS, *PLACES, "--step", "best")
    assert ran.code == 2
    assert "'best' is neither last nor a whole number" in ran.err


def test_bad_input_is_one_message(bayescale: Callable, tmp_path: Path) -> None:
    store = written.mlflow_tables(tmp_path / "runs.db", [])
    ran = bayescale("import", store, "--metric", LOSS, *PLACES)
    assert ran.code == 2
    assert ran.err == "error: MLflow runs.db holds no runs: name a store that holds some\n"


def test_a_place_or_metric_of_a_table_written_otherwise_is_named(
    bayescale: Callable, tmp_path: Path
) -> None:
    table = tmp_path / "export.csv"
    table.write_text("Name,State,n_params,eval/loss\na,finished,1e8,3.0\nb,finished,1e9,2.5\n")
    start = ("import", table, "--metric")
    bare = bayescale(*start, "eval/loss", "--column", "params=n_params")
    assert ": write table.n_params" in bare.err
    prefixed = bayescale(*start, "table.eval/loss", "--column", "params=table.n_params")
    assert "; write eval/loss" in prefixed.err
    right = bayescale(*start, "eval/loss", "--column", "params=table.n_params")
    assert right.code == 0
