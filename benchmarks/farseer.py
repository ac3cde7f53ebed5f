"""Forecasts of larger runs by the law farseer, against the default law.

Each of four public run logs is cut at up to eight levels of compute. The runs up to a cutoff are
fitted by the laws unified and farseer, with the cards that are shipped, which have the same drift,
and all larger runs are forecast. Cutoffs and runs are the same for both. Scores are means over sets
of equal weight, with standard errors over sets.

Run: ``BAYESCALE_DATA=folder python benchmarks/farseer.py``. It takes a quarter of an hour of
processor time, and writes ``benchmarks/results/farseer.json`` and ``farseer.md``.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from default_law import bin_name, rows_of_sets
from run_sets import SAMPLER, SETS, RunSet, machine, table, write

from bayescale import refit
from bayescale.cards import ModelCard, load_card
from bayescale.posterior import Posterior
from bayescale.runs import Runs
from bayescale.tasks import Serial
from bayescale.validation.backtest import backtest
from bayescale.validation.backtest_result import RATIO_BINS

DEFAULT, FARSEER = "unified", "farseer"
NAMES = ("Chinchilla", "Porian", "Gadre, rpj", "Datablations, one epoch")
CHOSEN = tuple(chosen for chosen in SETS if chosen.name in NAMES)
"""One set of each family that determines the exponents of both params and tokens."""
SCORES = {"crps": "CRPS", "lpd": "log density", "width": "width of the 90 % interval"}
FEWEST = 5
"""Sets with fewer forecasts in a bin are left out of it."""


def forecasts(chosen: RunSet, folder: Path) -> pd.DataFrame:
    """Forecast a log's larger runs by both laws."""

    def fitted(training: Runs, card: ModelCard, seed: int) -> Posterior:
        return refit(training, card, seed, drift=True, **SAMPLER)

    runs, cards = chosen.read(folder), [load_card(DEFAULT), load_card(FARSEER)]
    tested = backtest(runs, cards, refit=fitted, executor=Serial())
    converged = {key: sample.converged for key, sample in tested.samples.items()}
    rows = tested.forecasts[tested.forecasts["law"].isin((DEFAULT, FARSEER))]
    keys = zip(rows["law"], rows["cutoff"], strict=True)
    return rows.assign(converged=[converged[key] for key in keys])


def by_ratio(rows: pd.DataFrame) -> pd.DataFrame:
    """Average both laws' scores over sets, and their differences, by extrapolation ratio."""
    found = []
    for low, high in (*RATIO_BINS, (1.0, np.inf)):
        part = rows[(rows["ratio"] > low) & (rows["ratio"] <= high)]
        counted = part[part["law"] == DEFAULT].groupby("set").size()
        part = part[part["set"].isin(counted[counted >= FEWEST].index)]
        means = {
            law: part[part["law"] == law].groupby("set")[["covered90", *SCORES]].mean()
            for law in (DEFAULT, FARSEER)
        }
        for law, of_sets in means.items():
            row: dict[str, Any] = {"ratio": bin_name(low, high), "law": law, "sets": len(of_sets)}
            row["90 % held"] = f"{of_sets['covered90'].mean():.1%}"
            row |= {name: f"{of_sets[column].mean():.4f}" for column, name in SCORES.items()}
            found.append(row)
        apart = means[FARSEER] - means[DEFAULT]
        row = {
            "ratio": bin_name(low, high),
            "law": "difference (standard error)",
            "sets": len(apart),
        }
        row["90 % held"] = ""
        for column, name in SCORES.items():
            error = apart[column].std() / np.sqrt(len(apart))
            row[name] = f"{apart[column].mean():+.4f} ({error:.4f})"
        found.append(row)
    return pd.DataFrame(found)


def by_set(rows: pd.DataFrame) -> pd.DataFrame:
    """Tabulate both laws' scores by set."""
    found = []
    for name, part in rows.groupby("set", sort=False):
        row: dict[str, Any] = {"set": name, "forecasts": int((part["law"] == DEFAULT).sum())}
        for law in (DEFAULT, FARSEER):
            own = part[part["law"] == law]
            rmse = np.sqrt((own["log_error"] ** 2).mean())
            row[f"error, {law}"] = f"{rmse:.2%}"
            row[f"CRPS, {law}"] = f"{own['crps'].mean():.4f}"
            row[f"90 % held, {law}"] = f"{own['covered90'].mean():.0%}"
        found.append(row)
    return pd.DataFrame(found)


def refits(rows: pd.DataFrame) -> pd.DataFrame:
    """Count refits, and those that failed the convergence checks."""
    each = rows.groupby(["law", "set", "cutoff"], sort=False)["converged"].first()
    counted = each.groupby("law").agg(["size", "sum"]).loc[[DEFAULT, FARSEER]].reset_index()
    return pd.DataFrame(
        {"law": counted["law"], "refits": counted["size"], "passed": counted["sum"].astype(int)}
    )


def main() -> None:
    """Evaluate every public set, and write the page."""
    rows = rows_of_sets(CHOSEN, forecasts)
    tables = {"by_ratio": by_ratio(rows), "by_set": by_set(rows), "refits": refits(rows)}
    page = [
        "# Farseer's law against the default law",
        f"Made by `python benchmarks/farseer.py`. {DEFAULT} and {FARSEER} are fitted to the same "
        "runs, up to at most eight cutoffs in compute, with the same drift, and forecast all "
        "larger ones. Ratio is the compute of a forecast over that of the largest run fitted. "
        "Width is that of the 90 % interval of a single new run, on log loss. CRPS is of log loss; "
        "less is better. The log density is that of the loss, per nat; more is better. Differences "
        f"are {FARSEER} less {DEFAULT}. The priors of {DEFAULT}'s kappa and of drift were chosen "
        f"on these sets. Those of {FARSEER} were chosen before any forecast, with its fit of "
        "Chinchilla's runs known.",
        "## By ratio, means over sets of equal weight",
        table(tables["by_ratio"]),
        "## By set",
        "Error is the root mean square of log loss less the median forecast.",
        table(tables["by_set"]),
        "## Convergence checks",
        table(tables["refits"]),
        f"{machine()}.",
    ]
    results = {name: found.to_dict(orient="records") for name, found in tables.items()}
    write("farseer", results, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
