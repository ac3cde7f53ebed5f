"""Executors of running clusters, by address: ``dask://HOST:PORT`` or ``ray://HOST:PORT``."""

import logging
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import metadata
from types import MappingProxyType
from typing import Any

from bayescale.errors import ClusterError, listed

LONGEST_WAIT = 15
"""Seconds in which a cluster must answer."""

_ALIKE = ("bayescale", "nutpie", "numpy", "pymc")
"""Packages whose versions affect the draws of a fit."""


@contextmanager
def executor_at(address: str) -> Iterator[Executor]:
    """Connect to a cluster while the block runs.

    Parameters
    ----------
    address : str
        ``dask://HOST:PORT`` of a Dask scheduler, ``ray://HOST:PORT`` of a Ray client server, or
        ``ray://auto`` for the Ray cluster that this computer belongs to.

    Yields
    ------
    concurrent.futures.Executor

    Raises
    ------
    ClusterError
        If the address has another form, the cluster's package is not installed, the cluster cannot
        be reached or has no workers, or the versions of a worker differ from those of this process.
    """
    kind, _, place = address.partition("://")
    if kind not in _CONNECTIONS or not place:
        raise ClusterError(
            f"`executor={address!r}` is not the address of a cluster: write dask://HOST:PORT or "
            "ray://HOST:PORT"
        )
    with _CONNECTIONS[kind](place) as executor:
        yield executor


def versions() -> dict[str, str]:
    """Return the versions that must be equal on all workers."""
    found = {"python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _ALIKE}


@contextmanager
def _dask(place: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError(
            "dask:// needs Dask, which is not installed: pip install 'bayescale[cluster]'"
        ) from None
    try:
        client: Any = Client(f"tcp://{place}", timeout=LONGEST_WAIT, set_as_default=False)
    except (OSError, ValueError):  # TimeoutError is an OSError
        raise ClusterError(
            f"no Dask scheduler answers at {place}: start one with dask scheduler, or correct "
            "`executor=`"
        ) from None
    # failures of the cluster are reported once, by the outcome of each task
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise ClusterError(
                f"the Dask scheduler at {place} has no workers: start some with dask worker "
                f"tcp://{place} --nthreads 1"
            )
        if wide := [name for name, about in workers.items() if about["nthreads"] > 1]:
            raise ClusterError(
                f"workers at {listed(wide)} have several threads, which must not compile models "
                "at the same time: start them with --nthreads 1"
            )
        _require_alike(client.run(versions, on_error="return"))
        yield client.get_executor(pure=False)


@contextmanager
def _ray(place: str) -> Iterator[Executor]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ClusterError("ray:// needs Ray, which is not installed: pip install ray") from None
    try:
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray raises an error besides its warning
            ray.init("auto" if place == "auto" else f"ray://{place}")
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"no Ray cluster can be used at {place} ({error}): start one with ray start --head, "
            "or correct `executor=`"
        ) from None
    try:
        call = ray.remote(_call)
        try:
            found: Any = ray.get(call.remote(versions), timeout=10 * LONGEST_WAIT)
        except Exception as error:  # Ray raises the worker's error in its own types
            found = error
        _require_alike({place: found})
        yield _RayExecutor(call)
    finally:
        with suppress(Exception):  # the cluster may be gone
            ray.shutdown()


def _call(task: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return task(*args, **kwargs)


class _RayExecutor(Executor):
    """Runs each task on whichever core of the cluster is free."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Send the function to the cluster."""
        return self._call.remote(fn, *args, **kwargs).future()


def _require_alike(found: Mapping[str, Any]) -> None:
    """Raise an error if a worker has other versions, or cannot report them."""
    here, problems = versions(), []
    for worker, there in found.items():
        if isinstance(there, Exception):
            problems.append(f"{worker} cannot import this version ({there})")
            continue
        other = [f"{n} {there[n]}, not {v}" for n, v in here.items() if there[n] != v]
        problems += [f"{worker} has {', '.join(other)}"] if other else []
    if problems:
        raise ClusterError(
            f"workers must have the same versions as this process: {listed(problems)}; install "
            "these versions there, and restart the workers"
        )


_CONNECTIONS: Mapping[str, Callable[[str], AbstractContextManager[Executor]]] = MappingProxyType(
    {"dask": _dask, "ray": _ray}
)
