"""Many independent tasks on any executor: results as they come, and no failure costs another.

Any executor of :mod:`concurrent.futures` will do: processes of this computer (the default), for a
cluster that of a Dask client (``client.get_executor(pure=False)``) or one of Ray's, and
:class:`Serial` to stay in this process. ``docs/clusters.md`` shows each.
"""

import multiprocessing
import os
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
from functools import partial
from typing import Any, NamedTuple

from bayescale.errors import BayescaleError

MOST_SECONDS = 5.0  # that a worker has to put away what it was writing
MOST_LOSSES = 3  # of workers in a row without a result between them
LOST = ("KilledWorker", "NodeDiedError", "WorkerCrashedError")  # as Dask and Ray say it

Task = Callable[[], Any]


class LostWorkerError(BayescaleError):
    """The process that a task ran in ended without a word."""


class Outcome(NamedTuple):
    """How a task ended: which it was in its sequence, and its result or else its error."""

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
    """What a task raised, where an executor wrapped it: Ray's keep it as their ``cause``.

    Dask wraps what pickling raises, which matters where that is an error of ours.
    """
    error = getattr(error, "cause", None) or error
    inner = error
    while inner is not None and not isinstance(inner, BayescaleError):
        inner = inner.__cause__
    return inner or error


class Serial(Executor):
    """Runs each task at once in this process: no start-up, one core."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """A future that is already done."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def outcomes(
    tasks: Sequence[Task], executor: Executor | None = None, workers: int | None = None
) -> Iterator[Outcome]:
    """Run tasks and give each outcome when it is there, in whatever order that is.

    Parameters
    ----------
    tasks : sequence of callable
        Called without arguments; each must pickle where workers are processes.
    executor : concurrent.futures.Executor, optional
        Not shut down; what it has not begun is cancelled when the caller stops asking. Without
        it, processes of this computer, of which a lost one is replaced; they end at once when the
        caller is interrupted or stops asking.
    workers : int, optional
        Processes where no executor is given: one a core where not given either.
    """
    if executor is None:
        return _in_processes(tasks, workers or os.cpu_count() or 1)
    return _on_executor(tasks, executor)


def _on_executor(tasks: Sequence[Task], executor: Executor) -> Iterator[Outcome]:
    """Outcomes from the caller's executor; a task whose workers were lost goes once more, alone.

    A cluster blames every task that a lost worker held, and its own retries may share a worker
    with the one that ends it each time.
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
            except Exception as error:  # broken meanwhile, or a task that cannot be sent
                yield Outcome(index, error=error)
        for future in as_completed(futures):
            yield _outcome(futures.pop(future), future)  # its result is the caller's alone now
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
    """Outcomes from processes of our own; a lost one is replaced.

    A pool that lost a worker drops all that it still had to do. The rest then goes through
    single workers one after the other, which shows which task it is that ends them.
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
                error = LostWorkerError("worker processes were lost again and again")
                yield from (Outcome(index, error=error) for index in left)
                left = []


class _Told(SystemExit):
    """The caller told this worker to end."""

    code: int


def _begin_worker() -> None:
    """Interrupts are the caller's to hear, who then ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    sys.unraisablehook = _end_where_unheard


def _end(number: int, frame: object) -> None:
    raise _Told(128 + number)


def _end_where_unheard(unraised: Any) -> None:
    """End where Python drops what is raised, as while it forgets an object."""
    if isinstance(unraised.exc_value, _Told):
        os._exit(unraised.exc_value.code)
    sys.__unraisablehook__(unraised)


def _work(task: Task) -> Any:
    try:
        return task()
    except _Told as told:  # or the worker would go on to its next task
        os._exit(told.code)


def _end_workers(pool: ProcessPoolExecutor) -> None:
    processes = list(pool._processes.values())  # Python 3.14 has terminate_workers
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(MOST_SECONDS)
        if process.is_alive():
            process.kill()
