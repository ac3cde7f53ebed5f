"""Trackers as they are: stores, servers and folders that they wrote themselves, and long histories.

MLflow and wandb warn of their own dependencies while they write, so they write in processes of
their own.
"""

import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support import tracked as written
from support.tracked import LOSS, TOKENS, Run

from bayescale.inference.fit import fit
from bayescale.posterior import open_posterior, save
from bayescale.runs import read_runs
from bayescale.trackers import read_huggingface, read_mlflow, read_tensorboard, read_wandb

LOG = written.log_of(50)
POINTS = 1_000_000
MOST_MEGABYTES = 120  # a million points are 16 MB as they are held; as objects 300 or more


def alone(code: str, *arguments: object, cwd: Path) -> str:
    """Run code in a process of its own."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "PYTHONWARNINGS": "ignore",
        "WANDB_SILENT": "true",
    }
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WRITE_MLFLOW = """
import sys
from support import tracked
address, count = sys.argv[1], int(sys.argv[2])
tracked.mlflow_written(address, tracked.runs_of(tracked.log_of(count)))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that MLflow made."""
    folder = tmp_path_factory.mktemp("mlflow")
    alone(WRITE_MLFLOW, f"sqlite:///{folder / 'runs.db'}", 50, cwd=folder)
    return folder / "runs.db"


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[str]:
    """A tracking server on the loopback address, over that store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{store}", "--workers", "1"]
    with subprocess.Popen(
        command, cwd=store.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            while not _healthy(address):
                assert process.poll() is None, "the server ended before it served"
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5):
            return True
    except OSError:
        return False


MLFLOW = {"params": "params.n_params", "tokens": f"metrics.{TOKENS}"}


@pytest.mark.slow
def test_a_store_that_mlflow_wrote(store: Path) -> None:
    assert read_mlflow(store, metric=LOSS, columns=MLFLOW).digest == read_runs(LOG).digest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_tracking_server_gives_what_its_store_gives(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayescale.trackers.mlflow_server.PAGE", 7)
    monkeypatch.setattr("bayescale.trackers.mlflow_server.POINTS", 2)  # histories in two pages
    runs = read_mlflow(server, metric=LOSS, columns=MLFLOW)
    assert runs.digest == read_runs(LOG).digest
    assert runs.source == f"MLflow {server}, experiment 'scaling'"
    mean = read_mlflow(server, metric=LOSS, columns=MLFLOW, smooth="mean:3")
    assert mean["loss"][0] == pytest.approx(LOG["loss"][0] + 0.7 / 3, rel=1e-6)


WRITE_WANDB = """
import sys, wandb
from support import tracked
for run in tracked.runs_of(tracked.log_of(3)):
    started = wandb.init(
        project="scaling", name=run.name, mode="offline", config={"n_params": run.params},
        settings=wandb.Settings(x_disable_stats=True, x_disable_meta=True, console="off"),
    )
    for step, loss, tokens in run.points:
        started.log({tracked.LOSS: loss, tracked.TOKENS: tokens}, step=step)
    started.finish()
"""


@pytest.mark.slow
def test_offline_runs_that_wandb_wrote(tmp_path: Path) -> None:
    alone(WRITE_WANDB, cwd=tmp_path)
    columns = {"params": "config.n_params", "tokens": f"summary.{TOKENS}"}
    runs = read_wandb(tmp_path / "wandb", metric=LOSS, columns=columns)
    assert runs.digest == read_runs(written.log_of(3)).digest


WRITE_EVENTS = """
import sys
from support import tracked
from pathlib import Path
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.event_file_writer import EventFileWriter
for run in tracked.runs_of(tracked.log_of(3)):
    writer = EventFileWriter(str(Path("events") / run.name))
    for step, loss, tokens in run.points:
        event = Event(step=step)
        event.summary.value.add(tag=tracked.LOSS, simple_value=loss)
        event.summary.value.add(tag=tracked.TOKENS, simple_value=tokens)
        writer.add_event(event)
    writer.close()
"""


@pytest.mark.slow
def test_event_files_that_tensorboard_wrote(tmp_path: Path) -> None:
    alone(WRITE_EVENTS, cwd=tmp_path)
    columns = {"tokens": f"scalars.{TOKENS}"}
    runs = read_tensorboard(tmp_path / "events", metric=LOSS, columns=columns)
    np.testing.assert_array_equal(runs["loss"], written.log_of(3)["loss"])
    np.testing.assert_array_equal(runs["tokens"], written.log_of(3)["tokens"])


@pytest.mark.slow
def test_one_seed_gives_one_posterior_whatever_the_tracker(store: Path, tmp_path: Path) -> None:
    runs = written.runs_of(LOG)
    LOG.to_csv(tmp_path / "runs.csv", index=False)
    for run in runs:
        written.event_file(tmp_path / "events", run)
        written.trainer_state(tmp_path / "trainer", run)
    table = written.wandb_table(tmp_path / "export.csv", runs)
    seen = "history.num_input_tokens_seen"
    logs = {
        "csv": read_runs(tmp_path / "runs.csv"),
        "mlflow": read_mlflow(store, metric=LOSS, columns=MLFLOW),
        "wandb": read_wandb(
            table, metric=LOSS, columns={"params": "table.n_params", "tokens": f"table.{TOKENS}"}
        ),
        "tensorboard": read_tensorboard(
            tmp_path / "events",
            metric=LOSS,
            columns={"params": "hparams.n_params", "tokens": f"scalars.{TOKENS}"},
        ),
        "huggingface": read_huggingface(
            tmp_path / "trainer", columns={"params": "config.n_params", "tokens": seen}
        ),
    }
    fits = {name: fit(log, "chinchilla", seed=3) for name, log in logs.items()}
    for name, posterior in fits.items():
        for coefficient in ("E", "A", "B", "alpha", "beta"):
            np.testing.assert_array_equal(
                posterior.tree["posterior"][coefficient],
                fits["csv"].tree["posterior"][coefficient],
                err_msg=name,
            )
    kept = open_posterior(save(fits["mlflow"], tmp_path / "fit.nc")).runs
    assert kept is not None
    assert kept.columns["loss"] == logs["mlflow"].columns["loss"]
    assert "eval/loss at the last step, as logged" in kept.columns["loss"]


# long histories


def long_store(folder: Path, points: int) -> Path:
    path = written.mlflow_tables(folder / "runs.db", [Run("long", 1e8, [])])
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, 'id-long', ?, 0)",
            ((LOSS, 2.0 + 1 / (1 + step), step, step) for step in range(points)),
        )
    return path


def long_events(folder: Path, points: int) -> Path:
    from tensorboard.compat.proto.event_pb2 import Event

    path = written.event_file(folder / "events", Run("long", 1e8, []))
    event = Event()
    value = event.summary.value.add(tag=LOSS)
    with path.open("ab") as stream:
        for step in range(points):
            event.step, value.simple_value = step, 2.0 + 1 / (1 + step)
            stream.write(written.frame(event.SerializeToString()))
    return folder / "events"


def long_offline(folder: Path, points: int) -> Path:
    from wandb.proto.wandb_internal_pb2 import Record

    def records() -> Iterator[bytes]:
        record = Record()
        record.run.config.update.add(key="n_params", value_json="1e8")
        yield record.SerializeToString()
        record = Record()
        item = record.history.item.add(nested_key=[LOSS])
        for step in range(points):
            record.history.step.num, item.value_json = step, str(2.0 + 1 / (1 + step))
            yield record.SerializeToString()
        record = Record()
        record.exit.exit_code = 0
        yield record.SerializeToString()

    home = folder / "wandb" / "offline-run-long"
    home.mkdir(parents=True)
    (home / "run-long.wandb").write_bytes(written.leveldb(records()))
    return folder / "wandb"


def long_state(folder: Path, points: int) -> Path:
    path = written.trainer_state(folder / "out", Run("long", 1e8, []))
    start, _, end = path.read_text().partition('"log_history": [')
    with path.open("w") as stream:
        stream.write(f'{start}"log_history": [')
        for step in range(points):
            comma = "," if step else ""
            stream.write(f'{comma}{{"{LOSS}": {2.0 + 1 / (1 + step)}, "step": {step}}}')
        stream.write(end)
    return folder / "out"


def long_history(folder: Path, points: int) -> Path:
    (folder / "histories").mkdir()
    with (folder / "histories" / "long.csv").open("w") as stream:
        stream.write(f"_step,{LOSS}\n")
        stream.writelines(f"{step},{2.0 + 1 / (1 + step)}\n" for step in range(points))
    return written.wandb_table(folder / "export.csv", [Run("long", 1e8, [])])


READ = """
import sys
from pathlib import Path
from bayescale.trackers import Choice, import_runs

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1e3

def loss(source):
    choice = Choice(metric="eval/loss", columns={"params": sys.argv[3]}, smooth="mean:100")
    beside = Path(source).parent / "histories"
    history = beside if beside.exists() else None
    return import_runs(source, choice, history=history).frame["loss"][0]

loss(sys.argv[1])
before = peak()
value = loss(sys.argv[2])
print(peak() - before, value)
"""
LONG = [
    (long_store, "params.n_params"),
    pytest.param(long_events, "hparams.n_params", marks=pytest.mark.slow),
    pytest.param(long_state, "config.n_params", marks=pytest.mark.slow),
    pytest.param(long_history, "table.n_params", marks=pytest.mark.slow),
    pytest.param(long_offline, "config.n_params", marks=pytest.mark.slow),
]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to tell memory")
@pytest.mark.parametrize(("write", "place"), LONG)
def test_a_million_points_take_bounded_memory(
    write: Callable[[Path, int], Path], place: str, tmp_path: Path
) -> None:
    for name in ("short", "long"):
        (tmp_path / name).mkdir()
    short, long = write(tmp_path / "short", 1000), write(tmp_path / "long", POINTS)
    took, value = map(float, alone(READ, short, long, place, cwd=tmp_path).split())
    print(f"{write.__name__}: {took:.0f} MB")
    assert took < MOST_MEGABYTES
    assert value == pytest.approx(2.0 + 1 / (POINTS - 50), rel=1e-6)
