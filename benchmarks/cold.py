"""Cold starts: the time that commands take in the shell, relative to importing the libraries.

Every command runs in a process of its own, as for a user, with bytecode and compiled models kept
from an earlier call that is not counted. Commands and imports take turns, so that both are timed
under the same load of the computer. The fit is of the 240 Chinchilla runs that Besiroglu et al.
2024 (arXiv 2404.10102) kept, with the law ``chinchilla``; ``forecast`` and ``allocate`` use its
file.

Other packages in the environment make imports slower: ``--python`` names that of an environment
with the package alone.

Run: ``python benchmarks/cold.py``. Writes ``benchmarks/results/cold.json`` and ``cold.md``.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.progress import Progress
from run_sets import machine, table, write
from speed import problem

IMPORTS = ("pandas", "xarray", "pymc, nutpie")


class Command(NamedTuple):
    """A command, the import it is compared with, and the largest ratio allowed."""

    arguments: tuple[str, ...]
    baseline: str
    target: float


COMMANDS = (
    Command(("--help",), "pandas", 2.0),
    Command(("models",), "pandas", 2.0),
    Command(("check", "runs.csv"), "pandas", 2.0),
    Command(("forecast", "fit.nc", "--flops", "1e24"), "xarray", 2.0),
    Command(("allocate", "fit.nc", "--flops", "1e24"), "xarray", 2.0),
    Command(("fit", "runs.csv", "--law", "chinchilla", "-o", "fit.nc"), "pymc, nutpie", 1.5),
)


def measured(python: Path, rounds: int, progress: Progress) -> dict[str, list[float]]:
    """Time every import and command, once per round."""
    runs, _ = problem()
    ways = {name: [str(python), "-c", f"import {name}"] for name in IMPORTS}
    script = str(python.parent / "bayescale")
    ways |= {_name(command): [script, *command.arguments] for command in COMMANDS}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        runs.to_frame().to_csv(Path(folder) / "runs.csv", index=False)
        _timed(
            ways[_name(COMMANDS[-1])], folder, kept
        )  # compiles, and writes the file for other commands
        for i in progress.track(range(rounds + 1), description="cold starts"):
            for name, way in ways.items():
                taken = _timed(way, folder, kept)
                if i > 0:  # the first one wrote bytecode
                    seconds[name].append(taken)
    return seconds


def _name(command: Command) -> str:
    return " ".join(("bayescale", *command.arguments[:1]))


def _timed(way: Sequence[str], folder: str, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(way, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def compared(seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Compare each command with its import."""
    rows = []
    for command in COMMANDS:
        own, other = np.array(seconds[_name(command)]), np.array(seconds[command.baseline])
        ratio = float(np.median(own) / np.median(other))
        rows.append(
            {
                "command": f"`{_name(command)}`",
                "seconds": f"{np.median(own):.2f}",
                "importing": command.baseline,
                "import seconds": f"{np.median(other):.2f}",
                "ratio": f"{ratio:.2f}",
                "ratio of the shortest": f"{own.min() / other.min():.2f}",
                "at most": f"{command.target:g}",
                "met": "yes" if ratio <= command.target else "**no**",
            }
        )
    return rows


def markdown(results: dict[str, Any]) -> str:
    """Write the report as a page."""
    rounds = len(next(iter(results["seconds"].values())))
    page = [
        "# Cold starts",
        "Made by `python benchmarks/cold.py`.",
        "The time of a command in a process of its own, after it was run once, relative to the "
        "time that importing the libraries alone takes. `fit` is of 240 runs, and `forecast` "
        "and `allocate` use its file. Other packages in the environment make every import "
        "slower.",
        table(pd.DataFrame(compared(results["seconds"]))),
        f"Medians of {rounds} rounds; load {results['load']} before the start. "
        f"{results['machine']}.",
    ]
    return "\n\n".join(page) + "\n"


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Number of runs of each.")] = 5,
    python: Annotated[Path, typer.Option(help="The Python of the environment to time.")] = Path(
        sys.executable
    ),
) -> None:
    """Time commands from the shell, relative to imports."""
    busy = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    with Progress(console=Console(stderr=True)) as progress:
        seconds = measured(python.absolute(), rounds, progress)
    rows = compared(seconds)
    results = {
        "rows": rows,
        "seconds": seconds,
        "load": busy,
        "machine": machine(),
    }
    write("cold", results, markdown(results))


if __name__ == "__main__":
    typer.run(main)
