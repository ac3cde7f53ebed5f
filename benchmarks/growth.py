"""How time and memory grow with what is asked: rows, families, refits, points of a forecast.

Each number is asked in a process of its own, whose peak memory is told; what is compiled was
compiled before. *Rows* are checkpoints of ever longer loss curves, *families* have 8 runs each:
both are simulated from Besiroglu et al.'s Chinchilla law (arXiv 2404.10102) and fitted by the card
``chinchilla`` with the defaults of ``bayescale.fit``. *Forecasts* are tables by the default pool of
the 240 runs that the paper kept, two laws of 4,000 draws each, at random params and tokens up to
far beyond the runs.

Run: ``python benchmarks/growth.py``, or with ``--what`` and ``--most``. Writes
``benchmarks/results/growth.json`` and ``growth.md``, kinds that were not asked as they were.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.progress import Progress
from speed import problem, version_of

RESULTS = Path(__file__).parent / "results"
PARAMS, TOKENS = (1e7, 1e12), (1e8, 3e13)
TRUTH = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
SCATTER, RUNS_OF_A_FAMILY = 0.005, 8


# what grows: each takes how many, and returns what that took


def rows(n: int, folder: Path) -> dict[str, Any]:
    """A fit of so many checkpoints, half of whose scatter a training run's have in common."""
    n_runs = 8 if n < 100 else 50
    rng, each = np.random.default_rng(0), -(-n // n_runs)
    params = np.repeat(np.geomspace(5e7, 2e10, n_runs), each)[:n]
    ratios = np.geomspace(2, 100, each) if each > 1 else np.array([5.0, 80.0])
    ratio = np.resize(ratios, n)
    of_run = np.repeat(rng.standard_normal(n_runs), each)[:n]
    log = _simulated(params, params * ratio)
    log["loss"] *= np.exp(SCATTER * of_run)
    if each > 1:
        log["run"] = np.repeat([f"run{i}" for i in range(n_runs)], each)[:n]
    return _fitted(log)


def families(n: int, folder: Path) -> dict[str, Any]:
    """A fit of so many families, whose term of params differs by a tenth."""
    rng = np.random.default_rng(0)
    params = np.tile(np.geomspace(5e7, 2e10, RUNS_OF_A_FAMILY), n)
    ratio = np.exp(rng.uniform(np.log(2), np.log(100), len(params)))
    factor = np.repeat(np.exp(0.1 * rng.standard_normal(n)), RUNS_OF_A_FAMILY)
    log = _simulated(params / factor ** (1 / TRUTH["alpha"]), params * ratio)
    log["params"] = params
    if n > 1:
        log["family"] = np.repeat([f"family{i}" for i in range(n)], RUNS_OF_A_FAMILY)
    return _fitted(log)


def _simulated(params: np.ndarray, tokens: np.ndarray) -> pd.DataFrame:
    from bayescale import simulate
    from bayescale.laws import CHINCHILLA

    scales = {"params": params, "tokens": tokens}
    return simulate(CHINCHILLA, TRUTH, scales, sigma=SCATTER, seed=0)


def _fitted(log: pd.DataFrame) -> dict[str, Any]:
    from bayescale import fit, read_runs
    from bayescale.cards import card_for, load_card
    from bayescale.inference.compile import compiled_model

    runs = read_runs(log)
    card = card_for(runs, load_card("chinchilla"))
    for chosen in (card.without_drift(), card):
        compiled_model(runs, chosen)
    taken = _taken(lambda: fit(runs, card.law.name, show_progress=sys.stderr.isatty()))
    found = taken.pop("result").diagnostics
    return taken | {"smallest_ess": found["ess_bulk_min"], "passed": found["passed"]}


def refits(n: int, folder: Path) -> dict[str, Any]:
    """So many refits of the 240 runs, with drift, on processes of this computer's cores."""
    from functools import partial

    from bayescale import refit
    from bayescale.tasks import outcomes

    os.environ["OMP_NUM_THREADS"] = "1"  # of workers too: each has one core
    runs, card = problem()
    tasks = [partial(refit, runs, card, seed) for seed in range(n)]
    taken = _taken(lambda: [outcome.result for outcome in outcomes(tasks)])
    found = [fitted.diagnostics for fitted in taken.pop("result")]
    return taken | {
        "smallest_ess": float(np.median([of_one["ess_bulk_min"] for of_one in found])),
        "passed": sum(of_one["passed"] for of_one in found),
    }


def forecasts(n: int, folder: Path) -> dict[str, Any]:
    """A table of so many points."""
    from bayescale import fit, forecast_table, open_posterior
    from bayescale.posterior import save

    path = folder / "pool.nc"
    if not path.exists():
        save(fit(problem()[0]), path)
    pool, rng = open_posterior(path), np.random.default_rng(0)
    params, tokens = (np.exp(rng.uniform(*np.log(ends), n)) for ends in (PARAMS, TOKENS))
    forecast_table(pool, params=params[:1], tokens=tokens[:1])  # imports
    taken = _taken(
        lambda: forecast_table(
            pool, params=params, tokens=tokens, target=2.0, show_progress=sys.stderr.isatty()
        )
    )
    assert len(taken.pop("result")) == n
    return taken


def _taken(answer: Callable[[], Any]) -> dict[str, Any]:
    before, began = _peak_mb(), time.perf_counter()
    result = answer()
    seconds = time.perf_counter() - began
    return {"result": result, "seconds": seconds, "peak_mb": _peak_mb(), "peak_mb_before": before}


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


@dataclass(frozen=True)
class Kind:
    """Something that grows: what is asked for, and how many of it."""

    ask: Callable[[int, Path], dict[str, Any]]
    title: str
    numbers: tuple[int, ...]


KINDS = {
    "rows": Kind(rows, "Rows of a log", (8, 100, 1_000, 10_000, 100_000)),
    "families": Kind(families, "Families of 8 runs", (1, 10, 100, 1_000)),
    "refits": Kind(refits, "Refits", (20, 200)),
    "forecasts": Kind(forecasts, "Points of a forecast", (1_000, 10_000, 100_000, 1_000_000)),
}


# all of them


def grown(name: str, most: int) -> dict[str, Any]:
    """Every number of a kind, each in a process of its own, and how what it takes grows."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for n in filter(lambda n: n <= most, KINDS[name].numbers):
            command = [sys.executable, __file__, "--what", name, "--only", f"{n}", "--in", folder]
            child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if child.returncode:
                found.append({"n": n, "failed": child.returncode})
                break
            found.append({"n": n} | json.loads(child.stdout))
    machine = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
    }
    versions = {name: version_of(name) for name in ("bayescale", "nutpie", "numpy", "xarray")}
    return {"found": found, "machine": machine, "versions": versions}


def markdown(results: dict[str, Any]) -> str:
    """The report as a page."""
    lines = ["# Growth", "", "Made by `python benchmarks/growth.py`.", ""]
    for name, about in results.items():
        lines += [f"## {KINDS[name].title}", ""]
        lines += ["| number | seconds | times the last, of so many times as many | peak MB |"]
        lines[-1] += " smallest ESS | passed |"
        lines += ["|---:|---:|---:|---:|---:|---|"]
        last: dict[str, Any] = {}
        for row in about["found"]:
            if "failed" in row:
                lines.append(f"| {row['n']:,} | FAILED with exit status {row['failed']} | | | | |")
                continue
            times = ""
            if last:
                times = f"{row['seconds'] / last['seconds']:.1f} of {row['n'] / last['n']:.3g}"
            ess = f"{row['smallest_ess']:,.0f}" if "smallest_ess" in row else ""
            lines.append(
                f"| {row['n']:,} | {row['seconds']:,.1f} | {times} | {row['peak_mb']:,.0f} | "
                f"{ess} | {row.get('passed', '')} |"
            )
            last = row
        machine = about["machine"]
        lines += ["", f"{(KINDS[name].ask.__doc__ or '').strip()} {machine['system']}, "]
        lines[-1] += f"{machine['cpu_count']} CPUs, Python {machine['python']}; "
        lines[-1] += ", ".join(f"{name} {of}" for name, of in about["versions"].items()) + "."
        lines.append("")
    lines += [
        "Seconds depend on the computer and on what else it did: compare them within a table. "
        "Peak memory is that of the process that asks, which before it asks, with what it has "
        "imported, holds some 300 MB; that of workers is their own. Of refits, ESS is the median "
        "of the smallest, and passed is how many.",
        "",
    ]
    return "\n".join(lines)


def main(
    what: Annotated[list[str] | None, typer.Option(help="What grows; all where not given.")] = None,
    most: Annotated[int, typer.Option(help="The largest number.")] = 1_000_000,
    only: Annotated[int | None, typer.Option(hidden=True)] = None,
    folder: Annotated[Path, typer.Option("--in", hidden=True)] = Path(),
) -> None:
    """Ask for more and more of something, each in a process of its own."""
    names = what or list(KINDS)
    if only is not None:
        print(json.dumps(KINDS[names[0]].ask(only, folder)))
        return
    path = RESULTS / "growth.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    with Progress(console=Console(stderr=True)) as progress:
        for name in progress.track(names, description="growing"):
            results[name] = grown(name, most)
            ordered = {name: results[name] for name in KINDS if name in results}
            path.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
            page = markdown(ordered)
            path.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    typer.run(main)
