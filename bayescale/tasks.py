"""Many independent tasks on any executor: results as they come, and failures one by one.

Any executor of :mod:`concurrent.futures` can be used: processes of this computer (the default), for
a cluster that of a Dask client (``client.get_executor(pure=False)``) or one of Ray's, and
:class:`Serial` for this process. ``docs/clusters.md`` shows each.
"""

import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bayescale.errors import BayescaleError, ClusterError

MOST_SECONDS = 5.0  # in which a worker may finish writing after it is terminated
MOST_LOSSES = 3  # lost workers in a row, without a result between them
LOST = ("KilledWorker", "NodeDiedError", "WorkerCrashedError")  # names of errors in Dask and Ray

Task = Callable[[], Any]


class LostWorkerError(BayescaleError):
    """The process in which a task ran ended without a result."""


@dataclass(frozen=True)
class Outcome:
    """The index of a task in its sequence, and its result or error."""

    index: int
    result: Any = None
    error: BaseException | None = None

    @property
    def reason(self) -> str:
        """The error in a few words."""
        error = _unwrapped(self.error)
        if isinstance(error, LostWorkerError):
            return str(error)
        if _is_lost(error):
            return "its worker was lost"
        if isinstance(error, CancelledError):
            return "it was cancelled, or its cluster was closed or lost"
        first = str(error).strip().splitlines()
        return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__


def _is_lost(error: BaseException | None) -> bool:
    return isinstance(error, BrokenExecutor) or type(error).__name__ in LOST


def _unwrapped(error: BaseException | None) -> BaseException | None:
    """Return the error of a task from an executor's wrapper.

    Ray keeps it as ``cause``; Dask wraps errors of pickling, which may be this package's.
    """
    error = getattr(error, "cause", None) or error
    inner = error
    while inner is not None and not isinstance(inner, BayescaleError):
        inner = inner.__cause__
    return inner or error


class Serial(Executor):
    """Runs each task immediately in this process: no start-up, one core."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Run the function and return a future that is done."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def outcomes(
    tasks: Sequence[Task], executor: Executor | None = None, workers: int | None = None
) -> Iterator[Outcome]:
    """Run tasks, and yield outcomes in the order in which the tasks end.

    Parameters
    ----------
    tasks : sequence of callable
        Functions that are called without arguments; each must pickle if workers are processes.
    executor : concurrent.futures.Executor, optional
        The executor, which is not shut down; tasks that have not started are cancelled if the
        caller stops iterating. By default, processes of this computer: lost ones are replaced, and
        all end at once if the caller is interrupted or stops iterating.
    workers : int, optional
        Number of processes if no executor is given; by default one per core.

    Raises
    ------
    ClusterError
        If processes of this computer would each run the caller's script again.
    """
    if executor is None:
        _require_guard()
        return _in_processes(tasks, workers or os.cpu_count() or 1)
    return _on_executor(tasks, executor)


def _on_executor(tasks: Sequence[Task], executor: Executor) -> Iterator[Outcome]:
    """Yield outcomes from the caller's executor; tasks of lost workers run again, one by one.

    A cluster reports every task of a lost worker as failed, and its own retries may share a worker
    with the task that ends it each time.
    """
    suspects = []
    for outcome in _as_they_come(tasks, range(len(tasks)), executor):
        if _is_lost(_unwrapped(outcome.error)):
            suspects.append(outcome.index)
        else:
            yield outcome
    for index in sorted(suspects):
        yield from _as_they_come(tasks, [index], executor)


def _as_they_come(
    tasks: Sequence[Task], indices: Sequence[int], executor: Executor
) -> Iterator[Outcome]:
    if isinstance(executor, Serial):  # done on submission
        for index in indices:
            yield _outcome(index, executor.submit(tasks[index]))
        return
    futures: dict[Future, int] = {}
    try:
        for index in indices:
            try:
                futures[executor.submit(tasks[index])] = index
            except Exception as error:  # the executor has broken, or the task cannot be sent
                yield Outcome(index, error=error)
        for future in as_completed(futures):
            yield _outcome(futures.pop(future), future)  # results are not kept here
    finally:
        for future in futures:
            future.cancel()


def _outcome(index: int, future: Future) -> Outcome:
    try:
        error = future.exception()
    except CancelledError as cancelled:
        error = cancelled
    return Outcome(index, error=error) if error is not None else Outcome(index, future.result())


def _in_processes(tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    """Yield outcomes from new processes; lost ones are replaced.

    An executor that lost a worker drops all remaining tasks. They then run one after the other in
    single workers, which shows which task ends its worker.
    """
    left, losses = list(range(len(tasks))), 0
    while left:
        alone = losses > 0
        count = 1 if alone else min(workers, len(left))
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(count, spawn, initializer=_begin_worker)
        broken, ended = False, set[int]()
        try:
            for outcome in _as_they_come([partial(_work, task) for task in tasks], left, pool):
                if isinstance(outcome.error, BrokenExecutor):
                    broken = True
                else:
                    ended.add(outcome.index)
                    yield outcome
        except BaseException:
            _end_workers(pool)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        left = [index for index in left if index not in ended]
        if broken and left:
            losses = 1 if ended else losses + 1
            if alone:  # a single worker takes tasks in turn, so the first one left ended it
                yield Outcome(left.pop(0), error=LostWorkerError("its worker process was lost"))
            if losses > MOST_LOSSES:
                error = LostWorkerError("worker processes were lost repeatedly")
                yield from (Outcome(index, error=error) for index in left)
                left = []


def _require_guard() -> None:
    """Refuse to start processes from a script that each of them would run again, without end."""
    main = sys.modules["__main__"]
    path = Path(getattr(main, "__file__", None) or "")
    if getattr(main, "__spec__", None) is not None or not path.is_file():
        return  # started with -m, or in a notebook
    if not re.search(rb"__name__\s*[!=]=", path.read_bytes()):
        raise ClusterError(
            f"each worker process would run {path.name} again: put what the script does under "
            'if __name__ == "__main__":, or stay in one process with '
            "executor=bayescale.tasks.Serial()"
        )


class _Terminated(SystemExit):
    """The caller terminated this worker."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _begin_worker() -> None:
    """Ignore interrupts, which the caller handles, and end on termination."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    sys.unraisablehook = _end_if_terminated


def _end(number: int, frame: object) -> None:
    raise _Terminated(128 + number)


def _end_if_terminated(unraised: Any) -> None:
    """End the process if Python cannot raise the exception, as while an object is deleted."""
    if isinstance(unraised.exc_value, _Terminated):
        os._exit(unraised.exc_value.status)
    sys.__unraisablehook__(unraised)


def _work(task: Task) -> Any:
    try:
        return task()
    except _Terminated as terminated:  # otherwise the executor catches it and goes on
        os._exit(terminated.status)


def _end_workers(pool: ProcessPoolExecutor) -> None:
    processes = list(pool._processes.values())  # noqa: SLF001 until Python 3.14: terminate_workers
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(MOST_SECONDS)
        if process.is_alive():
            process.kill()
