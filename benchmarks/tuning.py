"""Forecast sizes of a sweep that were left out: losses, the choice of a setting, and its bounds.

    uv run python benchmarks/tuning.py [TASK ...]

Each task fits the valley to the sweep without some of its largest sizes and asks for these. Needs
``BAYESCALE_DATA``, a folder with ``lr_batch_sweep.csv`` (Li et al. 2025, arXiv 2503.04715). Writes
``benchmarks/results/tuning.json`` after each task, so that an interrupted run goes on, and
``tuning.md``; a task that is named is measured again.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale
from bayescale.published_rules import load_rule
from bayescale.random import Purpose
from bayescale.tuning import Sweep, Tuning, read_sweep

RESULTS = Path(__file__).parent / "results"
SEQUENCE = 2048  # tokens of a sequence of the sweep
LARGE = 2.6e19  # FLOP
NEAR = 0.03  # of the lowest loss of a size


def sweep() -> Sweep:
    """Read the sweep."""
    log = pd.read_csv(Path(os.environ["BAYESCALE_DATA"]) / "lr_batch_sweep.csv")
    log = log.rename(columns={"params_non_embedding": "params"})
    return read_sweep(bayescale.read_runs(log, repeats="keep"))


def tasks(whole: Sweep) -> dict[str, list[int]]:
    """List the left-out cells of each task, by its name."""
    flops = 6 * whole.cells["params"] * whole.cells["tokens"]
    by_flops = np.argsort(flops.to_numpy())[::-1]
    single = {f"one of the largest: {i + 1}": [int(c)] for i, c in enumerate(by_flops[:7])}
    large = np.flatnonzero(flops > LARGE)
    return {
        "all runs": [],
        f"{len(large)} above {LARGE:g} FLOP": large.tolist(),
        "the 3 largest": by_flops[:3].tolist(),
        **single,
    }


def cell_result(whole: Sweep, tuning: Tuning, every: Tuning | None, cell: int) -> dict[str, float]:
    """Measure forecasts and the choice at one left-out cell."""
    rows = np.flatnonzero(whole.cell == cell)
    params, tokens = (float(whole.cells[name][cell]) for name in ("params", "tokens"))
    logs = {name: np.log(whole.runs[name][rows]) for name in ("lr", "batch_size", "loss")}
    loss, lowest = logs["loss"], logs["loss"].min()

    def settings(of: Tuning) -> tuple[np.ndarray, np.ndarray]:
        center = of.sweep.center
        return logs["lr"] - center["lr"], logs["batch_size"] - center["batch"]

    valley = tuning.valley(params, tokens)
    g = valley.excess(*settings(tuning))
    predicted = valley.level[:, None] + g + tuning.noise(g, tuning.rng(Purpose.NEW_RUN))
    low, high = np.quantile(predicted, [0.05, 0.95], axis=0)
    held, near = (low <= loss) & (loss <= high), loss < lowest + np.log1p(NEAR)
    ends = np.quantile(predicted.min(axis=1), [0.05, 0.95])
    chosen = int(g.mean(axis=0).argmin())
    answer = bayescale.tune(
        tuning, params=params, tokens=tokens, lr=float(np.exp(logs["lr"][chosen])),
        batch_size=float(np.exp(logs["batch_size"][chosen])), allow_unconverged=True,
    )  # fmt: skip
    regret = answer.named["regret"]
    rule = load_rule("steplaw_2025").at(params=params, tokens=tokens)
    away = (logs["lr"] - np.log(rule["lr"])) ** 2
    away = away + (logs["batch_size"] - np.log(rule["batch_tokens"] / SEQUENCE)) ** 2
    found = {
        "params": params,
        "tokens": tokens,
        "runs": len(rows),
        "held": float(held.mean()),
        "held_near": float(held[near].mean()),
        "lowest_held": bool(ends[0] <= lowest <= ends[1]),
        "level_error": float(np.median(valley.level) - lowest),
        "regret_seen": float(np.expm1(loss[chosen] - lowest)),
        "regret_published": float(np.expm1(loss[int(away.argmin())] - lowest)),
        "bound95": regret["bound95_share"],
        "noise_free_bound95": regret["noise_free_bound95_share"],
    }
    if every is not None:  # noise-free, by the posterior of all runs
        truth = every.valley_of_cell(cell).excess(*settings(every))[:, chosen]
        found["regret_true"] = float(np.expm1(np.median(truth)))
    return found


def measure(whole: Sweep, left_out: list[int], kept: Path) -> dict:
    """Fit without some cells, and measure what is said about them; keep a fit of all runs."""
    train = whole.take(~np.isin(whole.cell, left_out))
    began, cpu = time.perf_counter(), time.process_time()
    tuning = bayescale.fit_tuning(train, seed=1)
    cpu = time.process_time() - cpu
    every = bayescale.open_tuning(kept) if left_out and kept.exists() else None
    if not left_out:
        bayescale.save_tuning(tuning, kept)
    cells = [cell_result(whole, tuning, every, cell) for cell in left_out]
    values = tuning.values()
    exponents = {
        name: np.quantile(values[name], [0.05, 0.5, 0.95]).tolist()
        for name in ("lr_params", "lr_tokens", "batch_params", "batch_tokens")
    }
    return {
        "runs": len(train.runs),
        "sizes": len(train.cells),
        "diagnostics": {
            name: tuning.diagnostics[name]
            for name in ("rhat_max", "ess_bulk_min", "divergences", "passed")
        },
        "seconds": {**tuning.record["seconds"], "task": time.perf_counter() - began, "cpu": cpu},
        "exponents": exponents,
        "cells": cells,
    }


def share(values: list[bool]) -> str:
    """Write how many of some are true."""
    return f"{sum(values)} of {len(values)}"


def row(name: str, cells: list[dict]) -> str:
    """Write a task as a row of the table."""
    n = sum(c["runs"] for c in cells)
    held = sum(c["held"] * c["runs"] for c in cells) / n
    near = np.mean([c["held_near"] for c in cells])
    seen, published = ([c[k] for c in cells] for k in ("regret_seen", "regret_published"))
    true = [c for c in cells if "regret_true" in c]
    noise_free = share([c["regret_true"] <= c["noise_free_bound95"] for c in true]) if true else ""
    parts = (
        name,
        f"{held:.0%} ({near:.0%})",
        f"{np.mean(seen):.2%} ({max(seen):.2%})",
        share([c["regret_seen"] <= c["bound95"] for c in cells]),
        f"{max(c['bound95'] for c in cells):.2%}",
        noise_free,
        f"{max(c['noise_free_bound95'] for c in cells):.2%}",
        share([c["lowest_held"] for c in cells]),
        f"{np.mean(published):.2%} ({max(published):.2%})",
    )
    return f"| {' | '.join(parts)} |"


def page(results: dict) -> str:
    """Write the table of the results."""
    head = (
        "left out", "90 % intervals held (of those within 3 % of the best)",
        "realized regret, mean (largest)", "within its stated bound", "largest bound",
        "noise-free regret within its bound", "largest such bound", "lowest loss held",
        "published regret, mean (largest)",
    )  # fmt: skip
    singles = [c for name, task in results.items() if name.startswith("one") for c in task["cells"]]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    if singles:
        lines.append(row(f"each of the {len(singles)} largest, one at a time", singles))
    lines += [
        row(name, task["cells"])
        for name, task in results.items()
        if task["cells"] and not name.startswith("one")
    ]
    checks = [
        f"{name}: R-hat {task['diagnostics']['rhat_max']:.3f}, "
        f"{task['diagnostics']['divergences']} divergences, {task['seconds']['sample']:.0f} s of "
        f"sampling, {task['seconds']['cpu']:.0f} s of CPU time with compiling"
        for name, task in results.items()
    ]
    return "\n".join([*lines, "", *(f"- {line}" for line in checks)]) + "\n"


def main() -> None:
    """Measure the tasks that are named, or those that have no result."""
    path = RESULTS / "tuning.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    whole = sweep()
    listed = tasks(whole)
    named = sys.argv[1:] or [name for name in listed if name not in results]
    kept = Path(os.environ.get("BAYESCALE_BENCHMARK_CACHE", "/tmp")) / "tuning_all.nc"
    for name in named:
        results[name] = measure(whole, listed[name], kept)
        path.write_text(json.dumps(results, indent=1) + "\n")
        (RESULTS / "tuning.md").write_text(page(results))
        print(name, *(f"{c['held']:.2f}" for c in results[name]["cells"]), flush=True)


if __name__ == "__main__":
    main()
