"""Splits of larger budgets, and losses at other tokens per parameter, forecast from smaller runs.

*Splits.* The runs up to each budget of an isoFLOP sweep are fitted, and the best size at every
larger budget is forecast. It is compared with the minimum of the parabola through the runs of that
budget, whose own error is included. *Across.* The runs of the least, or of the most, tokens per
parameter are fitted, and others of like compute forecast.

The default law, the model average of chinchilla and kaplan_irreducible, and approach 2 (a power
law through the parabolas' minima) are compared on the same runs.

Run: ``BAYESCALE_DATA=folder python benchmarks/allocation.py``. It takes about twenty minutes on one
core and writes ``benchmarks/results/allocation.json`` and ``allocation.md``.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from run_sets import SETS, kept, machine, table, write

from bayescale import refit
from bayescale.cards import load_card
from bayescale.runs import Runs
from bayescale.validation.across import across_tasks
from bayescale.validation.approaches import isoflop_groups, parabolas, take
from bayescale.validation.cutoffs import training_mask
from bayescale.validation.held_out import mixed_sample
from bayescale.validation.split_forecasts import (
    FEWEST_RUNS,
    SPREAD,
    Optima,
    measured_optima,
    mixed_splits,
    sample_splits,
    scored_splits,
)

METHODS = {"unified": ("unified",), "model average": ("chinchilla", "kaplan_irreducible")}
APPROACH_2 = "approach 2"
FEWEST_BUDGETS = 3
"""Budgets with a measured optimum that are fitted at least."""

SAMPLER = {"draws": 500, "tune": 300}
MARGIN = 1.02  # budgets of digitized runs differ by so much
DISTANCES = ((0.0, 1.0), (1.0, 2.3), (2.3, np.inf))


def splits(runs: Runs, name: str) -> pd.DataFrame:
    """Forecast the best sizes of larger budgets from each budget on, by every method."""
    optima, size, parts = measured_optima(runs), runs["flops"], []
    for cutoff in optima.flops[FEWEST_BUDGETS - 1 : -1] * MARGIN:
        training, larger = runs.take(training_mask(size, cutoff)), optima.above(cutoff)
        later = np.flatnonzero(optima.flops > cutoff)[0] / len(optima) >= 0.5
        rows = [approach_2(training, cutoff, larger)]
        for method, laws in METHODS.items():
            fits = [refit(training, load_card(law), **SAMPLER) for law in laws]
            samples = [sample_splits(fitted, larger) for fitted in fits]
            mixed = mixed_splits(samples, [1 / len(laws)] * len(laws))
            rows.append(scored_splits(method, cutoff, mixed))
        parts.append(pd.concat(rows).assign(set=name, half=later))
        print(f"{name}, {cutoff:.3g}", file=sys.stderr, flush=True)
    return pd.concat(parts) if parts else pd.DataFrame()


def approach_2(training: Runs, cutoff: float, larger: Optima) -> pd.DataFrame:
    """Extrapolate the power law through the parabolas' minima."""
    groups, _ = isoflop_groups(training, SPREAD)
    groups = tuple(group for group in groups if len(group.runs) >= FEWEST_RUNS)
    found = parabolas(training, groups, np.random.default_rng(0))
    line, rng = take(found.frontier, found.inside), np.random.default_rng(1)
    rows = []
    for flops, measured, error, square in zip(
        larger.flops, larger.log_params, larger.error, larger.square, strict=True
    ):
        draws = line.log_params_at(flops)
        noisy = draws[1:] + error * rng.standard_normal(len(draws) - 1)
        low, middle, high = np.nanquantile(noisy, [0.05, 0.5, 0.95])
        rows.append(
            {"law": APPROACH_2, "cutoff": cutoff, "flops": flops, "ratio": flops / cutoff}
            | {"params": np.exp(measured), "error": error, "params_median": np.exp(middle)}
            | {"params_lower90": np.exp(low), "params_upper90": np.exp(high)}
            | {"covered90": low <= measured <= high, "choice": np.exp(draws[0])}
            | {"regret": square * (draws[0] - measured) ** 2}
        )
    return pd.DataFrame(rows)


def across(runs: Runs, name: str) -> pd.DataFrame:
    """Forecast runs outside the tokens per parameter of those fitted, by every law's method."""
    parts = []
    for method, laws in METHODS.items():
        cards = [load_card(law) for law in laws]
        least = max(len(load_card(law).law.coefficients) for law in ("unified", *laws))
        by_law = [list(across_tasks(runs, card, _refit, least, 0)) for card in cards]
        for tasks in zip(*by_law, strict=True):
            mixed = mixed_sample([task() for task in tasks], [1 / len(laws)] * len(laws))
            parts.append(tasks[0].scored(method, mixed))
    return pd.concat(parts).assign(set=name) if parts else pd.DataFrame()


def _refit(runs: Runs, card: Any, seed: int) -> Any:
    return refit(runs, card, seed, **SAMPLER)


def _evaluated(runs: Runs, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return splits(runs, name), across(runs, name)


def _alike(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """Average over sets of equal weight, with standard errors over sets in brackets."""
    means = rows.groupby("set")[list(columns)].mean().astype(float)
    return {
        name: f"{means[name].mean():.4g}"
        + (f" ({means[name].std() / np.sqrt(len(means)):.2g})" if len(means) > 1 else "")
        for name in columns
    }


def split_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Tabulate splits by method: fitted up to the middle budget or beyond, and all."""
    rows = rows.assign(
        width=np.log(rows["params_upper90"] / rows["params_lower90"]),
        off=np.abs(np.log(rows["choice"] / rows["params"])),
    )
    columns = ("covered90", "width", "off", "regret", "exceeded", "regret_upper95")
    found = []
    for title, part in (("at least half of the budgets", rows[rows["half"]]), ("any", rows)):
        for law, own in part.groupby("law", sort=False):
            stated = [c for c in columns if own[c].notna().any()]
            found.append(
                {"budgets fitted": title, "method": law, "forecasts": len(own)}
                | dict.fromkeys(columns, "")
                | _alike(own, stated)
            )
    return pd.DataFrame(found)


def across_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Tabulate forecasts across by distance in e-folds of tokens per parameter."""
    rows = rows.assign(error=rows["log_error"].abs())
    found = []
    for low, high in DISTANCES:
        part = rows[(rows["distance"] > low) & (rows["distance"] <= high)]
        for law, own in part.groupby("law", sort=False):
            found.append(
                {"e-folds outside": f"{low:g} to {high:g}" if high < np.inf else f"above {low:g}"}
                | {"method": law, "forecasts": len(own), "sets": own["set"].nunique()}
                | _alike(own, ("covered90", "half_width90", "error"))
            )
    return pd.DataFrame(found)


def main() -> None:
    """Evaluate every public set, and write the page."""
    folder = Path(os.environ["BAYESCALE_DATA"])
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    parts, others = [], []
    for i, chosen in enumerate(SETS):
        runs = chosen.read(folder)
        keep = None if cache is None else cache / f"{i}.pkl"
        made = kept(
            keep, lambda runs=runs, name=chosen.name: (splits(runs, name), across(runs, name))
        )
        parts.append(made[0])
        others.append(made[1])
        print(f"{i + 1} of {len(SETS)}: {chosen.name}", file=sys.stderr, flush=True)
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    off_path = pd.concat([part for part in others if len(part)], ignore_index=True)
    by_set = pd.concat(
        [split_table(part).assign(set=name) for name, part in rows.groupby("set", sort=False)]
    )
    tables = {"splits": split_table(rows), "by_set": by_set, "across": across_table(off_path)}
    page = [
        "# Splits of larger budgets, and other tokens per parameter",
        "Made by `python benchmarks/allocation.py`. Scores are means over sets of equal weight, "
        "with standard errors over sets in brackets. Budgets of one sweep are not independent. "
        "The priors of kappa and of drift were chosen on these public sets. Approach 2 is that "
        "of Hoffmann et al. 2022: a power law through the minima of isoFLOP parabolas.",
        "## Splits",
        "- covered90: share of 90 % intervals that held the best size measured at a larger "
        "budget, the error of its isoFLOP parabola included.\n- width: of these intervals, in "
        "e-folds.\n- off: distance between the choice and the measured optimum, in e-folds.\n- "
        "regret: nats that the choice loses, by the parabola.\n- exceeded: share of choices "
        "that lose more than regret_upper95, the stated 95 % bound in nats. Approach 2 states "
        "no bound.",
        table(tables["splits"]),
        "### By set",
        table(tables["by_set"]),
        "## Across tokens per parameter",
        "Forecasts of runs outside the tokens per parameter of the runs fitted, at a third to "
        "three times their compute. error: mean absolute error of the median, on log loss. "
        "half_width90: half the width of the 90 % interval, on log loss.",
        table(tables["across"]),
        f"{machine()}.",
    ]
    results = {name: found.to_dict(orient="records") for name, found in tables.items()}
    write("allocation", results, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
