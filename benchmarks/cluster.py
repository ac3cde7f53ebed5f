"""Speed of refits on two Dask workers, relative to one.

Refits of the 240 Chinchilla runs that Besiroglu et al. 2024 (arXiv 2404.10102) kept, with the law
``chinchilla``, each with its own seed and on one core, as in a backtest. Cold workers have only
been started; warm ones have imported the package and loaded the model. One worker and two take
turns, so that both are timed under the same load of the computer.

Run: ``python benchmarks/cluster.py``. Writes ``benchmarks/results/cluster.json`` and
``cluster.md``.
"""

import logging
import os
import sys
import time
from functools import partial
from importlib import metadata
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.progress import Progress
from run_sets import machine, table, write
from speed import problem

from bayescale import refit
from bayescale.tasks import outcomes

TARGET = 1.7
"""Speed of two workers relative to one that is required."""

KINDS = {"cold": "only been started", "warm": "loaded the model"}
"""State of the workers when the clock starts."""


def measured(refits: int, rounds: int, progress: Progress) -> list[dict[str, Any]]:
    """Time the refits: a row for each round, kind and number of workers."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of workers too: each has one core
    runs, card = problem()
    tasks = [partial(refit, runs, card, seed) for seed in range(refits)]
    tasks[0]()  # compiles the model that all workers load
    return [
        {"round": i, "workers": workers, "kind": kind, "seconds": seconds}
        for i in progress.track(range(rounds), description="refitting")
        for workers in ((1, 2), (2, 1))[i % 2]  # a computer that slows down favors neither
        for kind, seconds in _on_dask(tasks, workers).items()
    ]


def _on_dask(tasks: list[Any], workers: int) -> dict[str, float]:
    from dask.distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
        silence_logs=logging.ERROR,
    )  # fmt: skip
    with cluster, Client(cluster) as client:
        seconds = {}
        for kind in KINDS:
            if kind == "warm":
                client.run(tasks[0])  # on every worker, also those that were idle before
            began = time.perf_counter()
            for outcome in outcomes(tasks, client.get_executor(pure=False)):
                if outcome.error is not None:
                    raise outcome.error
            seconds[kind] = time.perf_counter() - began
        return seconds


def compared(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Compare one worker with two: medians over rounds and their ratio, by kind."""
    seconds = pd.DataFrame(rows).groupby(["kind", "workers"])["seconds"]
    found = []
    for kind, state in KINDS.items():
        one, two = (seconds.get_group((kind, workers)) for workers in (1, 2))
        ratio = one.median() / two.median()
        each = one.to_numpy() / two.to_numpy()
        found.append(
            {
                "workers have": state,
                "seconds on one": f"{one.median():.1f}",
                "on two": f"{two.median():.1f}",
                "times as fast": f"{ratio:.2f}",
                "by round": ", ".join(f"{value:.2f}" for value in each),
                "at least": f"{TARGET:g}",
                "met": "yes" if ratio >= TARGET else "**no**",
            }
        )
    return pd.DataFrame(found)


def markdown(results: dict[str, Any]) -> str:
    """Write the report as a page."""
    page = [
        "# A cluster of two",
        f"Made by `{results['command']}`.",
        table(compared(results["rows"])),
        f"Medians of {results['rounds']} rounds of {results['refits']} refits of the 240 runs on "
        f"Dask workers with one core each; {results['cpu_count']} CPUs, load {results['load']} "
        f"before the start. {results['machine']}.",
    ]
    return "\n\n".join(page) + "\n"


def main(
    refits: Annotated[int, typer.Option(min=1, help="Number of refits.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 3,
) -> None:
    """Time refits on one Dask worker and on two."""
    busy = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    with Progress(console=Console(stderr=True)) as progress:
        rows = measured(refits, rounds, progress)
    results = {
        "command": " ".join(["python", "benchmarks/cluster.py", *sys.argv[1:]]),
        "rounds": rounds,
        "refits": refits,
        "cpu_count": os.cpu_count(),
        "rows": rows,
        "load": busy,
        "machine": f"{machine()}, dask {metadata.version('dask')}",
    }
    write("cluster", results, markdown(results))


if __name__ == "__main__":
    typer.run(main)
