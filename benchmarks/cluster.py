"""How much sooner two Dask workers refit than one.

Refits of the 240 Chinchilla runs that Besiroglu et al. 2024 (arXiv 2404.10102) kept, law
``chinchilla``, each with a seed of its own and on one core, as a backtest makes them. Cold
workers have only been started; warm ones have imported the package and loaded the model.

Run: ``python benchmarks/cluster.py``. Writes ``benchmarks/results/cluster.json`` and
``cluster.md``.
"""

import logging
import os
import platform
import sys
import time
from functools import partial
from importlib import metadata
from typing import Annotated, Any

import typer
from run_sets import write
from speed import problem

from bayescale import refit
from bayescale.tasks import outcomes

TARGET = 1.7
"""Times as fast as one worker that two are to be."""


def speed_up(refits: int) -> dict[str, Any]:
    """Seconds of so many refits on one worker and on two, cold and warm, and their ratios."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of workers too: each has one core
    runs, card = problem()
    tasks = [partial(refit, runs, card, seed) for seed in range(refits)]
    tasks[0]()  # or the first worker alone would compile the model that all others load
    seconds = {workers: _on_dask(tasks, workers) for workers in (1, 2)}
    return {
        "refits": refits,
        "workers": seconds,
        "times_as_fast": {kind: seconds[1][kind] / seconds[2][kind] for kind in seconds[1]},
        "target": TARGET,
    }


def _on_dask(tasks: list[Any], workers: int) -> dict[str, float]:
    from dask.distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
        silence_logs=logging.ERROR,
    )  # fmt: skip
    with cluster, Client(cluster) as client:
        seconds = {}
        for kind in ("cold", "warm"):
            if kind == "warm":
                client.run(tasks[0])  # on every worker, those included that were idle before
            began = time.perf_counter()
            for outcome in outcomes(tasks, client.get_executor(pure=False)):
                if outcome.error is not None:
                    raise outcome.error
            seconds[kind] = time.perf_counter() - began
        return seconds


def markdown(results: dict[str, Any]) -> str:
    """The report as a page."""
    machine, versions = results["machine"], results["versions"]
    lines = [
        "# A cluster of two",
        "",
        f"Made by `{results['command']}`.",
        "",
        "| workers have | seconds on one | on two | times as fast | at least | met |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for kind, told in (("cold", "only been started"), ("warm", "loaded the model")):
        one, two = (results["workers"][workers][kind] for workers in (1, 2))
        ratio = results["times_as_fast"][kind]
        met = "yes" if ratio >= results["target"] else "**no**"
        lines.append(
            f"| {told} | {one:.1f} | {two:.1f} | {ratio:.2f} | {results['target']:g} | {met} |"
        )
    lines += [
        "",
        f"{results['refits']} refits of the 240 runs on Dask's workers, of one core each. "
        f"{machine['system']}, {machine['cpu_count']} CPUs, load {machine['load_at_start']} before "
        f"the start; Python {machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def main(
    refits: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
) -> None:
    """Time refits on one Dask worker and on two."""
    busy = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    results = {
        "command": " ".join(["python", "benchmarks/cluster.py", *sys.argv[1:]]),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu_count": os.cpu_count(),
            "load_at_start": busy,
            "python": platform.python_version(),
        },
        "versions": {name: metadata.version(name) for name in ("bayescale", "nutpie", "dask")},
        **speed_up(refits),
    }
    write("cluster", results, markdown(results))


if __name__ == "__main__":
    typer.run(main)
