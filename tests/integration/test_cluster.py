"""Fits and backtests on a cluster: Dask's scheduler and two worker processes, started for real."""

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.refits import dying, failing, known, power_law_log

from bayescale import fit, fit_many, open_posterior
from bayescale.cards import load_card
from bayescale.clusters import executor_at
from bayescale.laws import find_law
from bayescale.tasks import Outcome, Serial, outcomes
from bayescale.validation.backtest import backtest
from bayescale.validation.held_out import Task

distributed = pytest.importorskip(
    "distributed", reason="Dask is not installed: uv sync --extra cluster"
)
dask_config = pytest.importorskip("dask.config")

LAW = "kaplan_compute"
BOTH = (LAW, "henighan_compute")
LOG = power_law_log([0.3, -0.2, 0.1, -0.4, 0.2, 0.5, -0.3, 0.1])
LOGS = {f"log{i}": power_law_log([0.3, -0.2, 0.1, -0.4, i]) for i in range(3)}
OWN_LAW = """
from bayescale.laws import CriticalScale, Law
def loss(flops, *, C_c, alpha_C):
    return {times}(C_c / flops) ** alpha_C
MINE = Law(name="kaplan_compute", inputs=("flops",), coefficients=("C_c", "alpha_C"), loss=loss,
    terms={{"C_c": CriticalScale(input="flops", exponent="alpha_C")}}, sum_of_terms=False)
"""
QUICK: dict[str, Any] = {"draws": 400, "tune": 300}


@contextmanager
def two_workers() -> Iterator[Any]:
    """Start a cluster that waits as long as it takes for a lost worker to come back.

    By default Dask gives up a worker that takes more than 15 seconds to start again, as it may
    where other tests use all cores, and a cluster without workers keeps its tasks for ever.
    """
    with (
        dask_config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture(scope="module")
def dask() -> Iterator[Executor]:
    """Run the example of the documentation."""
    with two_workers() as client:
        yield client.get_executor(pure=False)


@pytest.fixture
def client() -> Iterator[Any]:
    """A cluster of its own, for a test that costs it workers."""
    with two_workers() as client:
        yield client


def test_a_cluster_is_reached_by_its_address(tmp_path: Path) -> None:
    with two_workers() as client:
        address = client.scheduler.address.replace("tcp://", "dask://")
        with executor_at(address) as executor:
            (done,) = fit_many({"a": LOG}, LAW, folder=tmp_path, executor=executor, **QUICK)
    assert done.fit.runs is not None


def test_a_backtest_scores_alike_wherever_it_runs(dask: Executor) -> None:
    here = backtest(LOG, BOTH, refit=known, executor=Serial())
    there = backtest(LOG, BOTH, refit=known, executor=dask)
    pd.testing.assert_frame_equal(there.forecasts, here.forecasts)
    assert not there.missing


def test_a_failing_refit_costs_no_other(dask: Executor) -> None:
    result = backtest(LOG, [LAW], refit=failing, executor=dask)
    assert [m.why for m in result.missing] == ["ValueError: no minimum"]
    assert len(result.samples) == len(result.cutoffs) - 1


def test_a_refit_that_ends_every_worker_is_reported_and_costs_no_other(client: Any) -> None:
    result = backtest(LOG, BOTH, refit=dying, executor=client.get_executor(pure=False))
    assert [tuple(m) for m in result.missing] == [(LAW, LOG["flops"][5], "its worker was lost")]
    assert len(result.samples) == 2 * len(result.cutoffs) - 1


def test_an_own_law_reaches_workers_by_its_file(dask: Executor, tmp_path: Path) -> None:
    """And as it is written now: a worker outlives many edits."""
    path = tmp_path / "mine.py"
    for times in ("", "1.1 * "):
        path.write_text(OWN_LAW.format(times=times))
        own = load_card(LAW).model_copy(update={"law": find_law(f"{path}:MINE")})
        there, here = (
            backtest(LOG, [own], refit=known, executor=executor) for executor in (dask, Serial())
        )
        assert not there.missing
        pd.testing.assert_frame_equal(there.forecasts, here.forecasts)


def test_a_law_that_differs_where_it_arrives_is_refused(tmp_path: Path) -> None:
    """Another computer may hold an older version of the file of laws."""
    path = tmp_path / "mine.py"
    path.write_text(OWN_LAW.format(times=""))
    sent = pickle.dumps(find_law(f"{path}:MINE"))
    path.write_text(OWN_LAW.format(times="1.1 * "))
    read = "import pickle, sys; pickle.load(sys.stdin.buffer)"
    ran = subprocess.run([sys.executable, "-c", read], input=sent, capture_output=True, check=False)
    assert ran.stderr.decode().splitlines()[-1] == (
        f"bayescale.errors.LawError: law file {str(path)!r} differs from the file that the law "
        "was sent from: copy that file to every computer that runs workers, under the same path"
    )


def test_a_law_that_cannot_be_sent_says_what_to_do(dask: Executor) -> None:
    card = load_card(LAW)
    law = replace(card.law, loss=lambda flops, *, C_c, alpha_C: (C_c / flops) ** alpha_C)
    task = Task(known, card.model_copy(update={"law": law}), LOG, LOG["flops"], 1e21, 0)
    sent, fine = outcomes([task, partial(divmod, 7, 2)], dask)
    assert sent.reason == (
        f"LawError: law {LAW!r} cannot be sent to another process, because it is not at the top of "
        "a file: move it there, or stay in this process with executor=Serial()"
    )
    assert fine.result == (3, 1)


def sleepers(dask_scheduler: Any) -> list[str]:
    return [key for key in dask_scheduler.tasks if key.startswith("sleep-")]


def test_results_come_as_they_end_and_the_rest_can_be_left(client: Any) -> None:
    slow = [partial(time.sleep, seconds) for seconds in (20, 0.01, 20, 20)]
    began = time.monotonic()
    coming = outcomes(slow, client.get_executor(pure=False))
    assert next(coming).index == 1
    coming.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 10
    while client.run_on_scheduler(sleepers):
        assert time.monotonic() - began < 10, "what nobody waits for is still there"
        time.sleep(0.05)


def test_fits_survive_a_worker_that_is_killed(client: Any, tmp_path: Path) -> None:
    """Each is the fit that it would be alone, and is kept."""
    executor = client.get_executor(pure=False)
    coming = fit_many(LOGS, LAW, folder=tmp_path, executor=executor, **QUICK)
    fitted = [next(coming)]
    victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    fitted += coming
    assert {one.name: one.error for one in fitted} == dict.fromkeys(LOGS, "")
    assert victim not in client.run(os.getpid).values()
    for name, runs in LOGS.items():
        alone, kept = fit(runs, LAW, cores=1, **QUICK), open_posterior(tmp_path / f"{name}.nc")
        np.testing.assert_array_equal(kept.draws["alpha_C"], alone.draws["alpha_C"])  # type: ignore[union-attr]


def test_a_task_that_only_shared_a_worker_with_another_is_not_blamed() -> None:
    class KilledWorker(Exception):  # noqa: N818 (its name counts)
        """Carry the name that Dask gives this error."""

    class Shares(Executor):
        """Blames all that are under way when a worker ends."""

        def __init__(self) -> None:
            self.given: list[Any] = []

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
            future: Future = Future()
            self.given.append(fn)
            if len(self.given) <= 2 or fn is dying:
                future.set_exception(KilledWorker("4 workers died"))
            else:
                future.set_result(fn(*args, **kwargs))
            return future

    executor = Shares()
    ended = {outcome.index: outcome for outcome in outcomes([dying, dict, list], executor)}
    assert executor.given == [dying, dict, list, dying, dict]
    assert (ended[1].result, ended[2].result) == ({}, [])
    assert ended[0].reason == "its worker was lost"


def test_what_an_executor_cancels_is_reported() -> None:
    class Closing(Executor):
        """Cancels all, as a client does whose scheduler is gone."""

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
            future: Future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    (outcome,) = outcomes([dict], Closing())
    assert outcome.reason == "it was cancelled, or its cluster was closed or lost"


def test_what_an_executor_wraps_is_reported() -> None:
    wrapped = RuntimeError("ray::call() (pid=7)\n  File ...")
    wrapped.cause = ValueError("no minimum\nfound")  # type: ignore[attr-defined]
    assert Outcome(0, error=wrapped).reason == "ValueError: no minimum"
