"""How time and memory grow with what is asked: here with the points of a forecast.

The pool that is fitted by default to the 240 Chinchilla runs that Besiroglu et al. 2024 (arXiv
2404.10102) kept, two laws of 4,000 draws each, forecasts random params and tokens up to far
beyond the runs: ``bayescale.forecast_table``, in a process of its own for each number of points.

Run: ``python benchmarks/growth.py --what forecasts --json growth.json``
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from speed import problem, version_of

POINTS = (1_000, 10_000, 100_000, 1_000_000)
PARAMS, TOKENS = (1e7, 1e12), (1e8, 3e13)


class What(StrEnum):
    """What grows."""

    forecasts = "forecasts"


def forecasts(most: int) -> list[dict[str, Any]]:
    """Seconds and peak memory of tables of more and more points."""
    from bayescale import fit
    from bayescale.posterior import save

    with tempfile.TemporaryDirectory() as folder:
        path = save(fit(problem()[0]), Path(folder) / "pool.nc")
        rows = []
        for n_points in filter(lambda n: n <= most, POINTS):
            command = [sys.executable, __file__, "--fit-file", str(path), "--most", str(n_points)]
            child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(child.stdout))
            print(line(rows[-1]), flush=True)
    return rows


def one_table(path: Path, n_points: int) -> dict[str, Any]:
    """What one table took in this process."""
    from bayescale import forecast_table, open_posterior

    fit, rng = open_posterior(path), np.random.default_rng(0)
    params, tokens = (np.exp(rng.uniform(*np.log(ends), n_points)) for ends in (PARAMS, TOKENS))
    forecast_table(fit, params=params[:1], tokens=tokens[:1])  # imports
    before = _peak_mb()
    began = time.perf_counter()
    table = forecast_table(
        fit, params=params, tokens=tokens, target=2.0, show_progress=sys.stderr.isatty()
    )
    seconds = time.perf_counter() - began
    assert len(table) == n_points
    return {
        "points": n_points,
        "draws": [member.draws["E"].size for member in fit.members],
        "seconds": seconds,
        "microseconds_a_point": seconds / n_points * 1e6,
        "peak_mb": _peak_mb(),
        "peak_mb_before": before,
    }


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    return (
        f"{row['points']:>9,} points  {row['seconds']:>8.1f} s  "
        f"{row['microseconds_a_point']:>6.0f} us a point  peak {row['peak_mb']:,.0f} MB"
    )


def main(
    what: Annotated[What, typer.Option(help="What grows.")] = What.forecasts,
    most: Annotated[int, typer.Option(help="Points of the largest table.")] = POINTS[-1],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write results here.")] = None,
    fit_file: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Time larger and larger answers, each in a process of its own."""
    if fit_file is not None:
        print(json.dumps(one_table(fit_file, most)))
        return
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    rows = {What.forecasts: forecasts}[what](most)
    ends = rows[0], rows[-1]
    growth = np.log(ends[1]["seconds"] / ends[0]["seconds"])
    if len(rows) > 1:
        exponent = float(growth / np.log(ends[1]["points"] / ends[0]["points"]))
        print(f"time grows as points^{exponent:.3f}")
    if json_file is not None:
        results = {
            "command": " ".join(["python", "benchmarks/growth.py", *sys.argv[1:]]),
            "machine": {
                "system": f"{platform.system()} {platform.machine()}",
                "cpu_count": os.cpu_count(),
                "load_at_start": load,
                "python": platform.python_version(),
            },
            "versions": {name: version_of(name) for name in ("bayescale", "numpy", "xarray")},
            what.value: rows,
        }
        json_file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
