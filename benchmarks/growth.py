"""Growth of time and memory with the problem: rows, families, refits, points of a forecast.

Each size is run in a process of its own, whose peak memory is measured; models were compiled
before. *Rows* are checkpoints of longer and longer loss curves, and *families* have 8 runs each.
Both are simulated from Besiroglu et al.'s Chinchilla law (arXiv 2404.10102) and fitted with the
card ``chinchilla`` and the defaults of ``bayescale.fit``. *Forecasts* are tables by an average of
two laws, of 4,000 draws each, fitted to the 240 runs that the paper kept, at random params and
tokens up to far beyond the runs.

Run: ``python benchmarks/growth.py``, or with ``--what`` and ``--most``. Writes
``benchmarks/results/growth.json`` and ``growth.md``; kinds that were not run stay as they were.
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
NOISE, RUNS_OF_A_FAMILY = 0.005, 8


# the kinds of problem: each takes a size, and returns time and memory


def rows(n: int, folder: Path) -> dict[str, Any]:
    """Fit this many checkpoints; those of one run share half of the noise variance."""
    n_runs = 8 if n < 100 else 50
    rng, each = np.random.default_rng(0), -(-n // n_runs)
    params = np.repeat(np.geomspace(5e7, 2e10, n_runs), each)[:n]
    ratios = np.geomspace(2, 100, each) if each > 1 else np.array([5.0, 80.0])
    ratio = np.resize(ratios, n)
    of_run = np.repeat(rng.standard_normal(n_runs), each)[:n]
    log = _simulated(params, params * ratio)
    log["loss"] *= np.exp(NOISE * of_run)
    if each > 1:
        log["run"] = np.repeat([f"run{i}" for i in range(n_runs)], each)[:n]
    return _fitted(log)


def families(n: int, folder: Path) -> dict[str, Any]:
    """Fit this many families, whose terms of params differ by a tenth."""
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
    return simulate(CHINCHILLA, TRUTH, scales, sigma=NOISE, seed=0)


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
    """Refit the 240 runs this many times, with drift, in one process per core."""
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
    """Forecast a table of this many points."""
    from bayescale import fit, forecast_table, open_posterior
    from bayescale.posterior import save

    path = folder / "average.nc"
    if not path.exists():
        save(fit(problem()[0], ["chinchilla", "kaplan_irreducible"]), path)
    average, rng = open_posterior(path), np.random.default_rng(0)
    params, tokens = (np.exp(rng.uniform(*np.log(ends), n)) for ends in (PARAMS, TOKENS))
    forecast_table(average, params=params[:1], tokens=tokens[:1])  # imports
    taken = _taken(
        lambda: forecast_table(
            average, params=params, tokens=tokens, target=2.0, show_progress=sys.stderr.isatty()
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
    """A kind of problem, and the sizes at which it is run."""

    ask: Callable[[int, Path], dict[str, Any]]
    title: str
    numbers: tuple[int, ...]
    caption: str


KINDS = {
    "rows": Kind(
        rows,
        "Rows of a log",
        (8, 100, 1_000, 10_000, 100_000),
        "A fit of this many checkpoints. Those of one run share half of the noise variance.",
    ),
    "families": Kind(
        families,
        "Families of 8 runs",
        (1, 10, 100, 1_000),
        "A fit of this many families, whose terms of params differ by a tenth.",
    ),
    "refits": Kind(
        refits,
        "Refits",
        (20, 200),
        "This many refits of the 240 runs, with drift, in one process per core.",
    ),
    "forecasts": Kind(
        forecasts,
        "Points of a forecast",
        (1_000, 10_000, 100_000, 1_000_000),
        "A table of this many points.",
    ),
}


# all kinds


def grown(name: str, most: int) -> dict[str, Any]:
    """Run every size of a kind, each in a process of its own."""
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
    """Write the report as a page."""
    lines = ["# Growth", "", "Made by `python benchmarks/growth.py`.", ""]
    for name, about in results.items():
        lines += [f"## {KINDS[name].title}", ""]
        lines += ["| size | seconds | growth of time, of size | peak MB |"]
        lines[-1] += " smallest ESS | passed |"
        lines += ["|---:|---:|---:|---:|---:|---|"]
        last: dict[str, Any] = {}
        for row in about["found"]:
            if "failed" in row:
                lines.append(f"| {row['n']:,} | FAILED with exit status {row['failed']} | | | | |")
                continue
            times = ""
            if last:
                seconds, number = row["seconds"] / last["seconds"], row["n"] / last["n"]
                times = f"{seconds:.1f} times, {number:.3g} times"
            ess = f"{row['smallest_ess']:,.0f}" if "smallest_ess" in row else ""
            lines.append(
                f"| {row['n']:,} | {row['seconds']:,.1f} | {times} | {row['peak_mb']:,.0f} | "
                f"{ess} | {row.get('passed', '')} |"
            )
            last = row
        machine = about["machine"]
        lines += ["", f"{KINDS[name].caption} {machine['system']}, "]
        lines[-1] += f"{machine['cpu_count']} CPUs, Python {machine['python']}; "
        lines[-1] += ", ".join(f"{name} {of}" for name, of in about["versions"].items()) + "."
        lines.append("")
    lines += [
        "Size is the number that the table's title names. Seconds depend on the computer and "
        "its other load: compare them within a table. Peak memory is that of the main process, "
        "which holds about 300 MB after its imports; memory of workers is not included. ESS is "
        "the effective sample size. For refits, it is the median over refits of the smallest "
        "ESS, and passed is how many passed the convergence checks.",
        "",
    ]
    return "\n".join(lines)


def main(
    what: Annotated[
        list[str] | None, typer.Option(help="The kinds to run; all by default.")
    ] = None,
    most: Annotated[int, typer.Option(help="The largest number.")] = 1_000_000,
    only: Annotated[int | None, typer.Option(hidden=True)] = None,
    folder: Annotated[Path, typer.Option("--in", hidden=True)] = Path(),
) -> None:
    """Run larger and larger problems, each in a process of its own."""
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
