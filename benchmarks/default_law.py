"""Forecasts of larger runs by the default law, against the laws that it contains.

Each public run log is cut at up to eight levels of compute. The runs up to a cutoff are fitted by
the law unified, by chinchilla, and by the model average of chinchilla and kaplan_irreducible, all
with the drift of their shipped cards, and all larger runs are forecast. Cutoffs and runs are the
same for all three. Scores are means over sets of equal weight, with standard errors over sets.

Run: ``BAYESCALE_DATA=folder python benchmarks/default_law.py``. It takes about half an hour on one
core and writes ``benchmarks/results/default_law.json`` and ``default_law.md``.
"""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from run_sets import SAMPLER, SETS, RunSet, kept, machine, sampled, table, write

from bayescale.cards import load_card
from bayescale.validation.backtest_result import RATIO_BINS
from bayescale.validation.cutoffs import choose_cutoffs
from bayescale.validation.held_out import AVERAGE
from bayescale.verdict import TOLERANCE

OURS, OTHERS = "unified", (AVERAGE, "chinchilla")
FEWEST = 5
"""Sets with fewer forecasts in a bin, such as Cerebras-GPT with one in all, are left out of it."""

WITHIN = f"within {TOLERANCE:.0%}"
SCORES = {"crps": "CRPS", "lpd": "log density", "width": "width of the 90 % interval"}
APART = "Porian"
"""A sweep whose training runs are short and small, and lie off the trend of its larger ones."""


def forecasts(chosen: RunSet, folder: Path) -> pd.DataFrame:
    """Forecast a log's larger runs by every method."""
    runs, cards = chosen.read(folder), [load_card("chinchilla"), load_card("kaplan_irreducible")]
    ours = load_card(OURS)
    cutoffs = choose_cutoffs(runs, [ours, *cards])
    tested = (
        sampled(runs, laws, drift=True, cutoffs=cutoffs, **SAMPLER) for laws in ([ours], cards)
    )
    return pd.concat([rows for rows, _ in tested], ignore_index=True)


def by_ratio(rows: pd.DataFrame) -> pd.DataFrame:
    """Average each method's scores over sets, by extrapolation ratio."""
    found = []
    for low, high, part in _bins(rows):
        for law in (OURS, *OTHERS):
            own = part[part["law"] == law]
            means = own.groupby("set")[["covered90", *SCORES]].mean()
            error = means["covered90"].std() / np.sqrt(len(means))
            found.append(
                {
                    "ratio": bin_name(low, high),
                    "law": law,
                    "forecasts": len(own),
                    "sets": len(means),
                }
                | {"90 % held": f"{means['covered90'].mean():.1%} ({error:.1%})"}
                | {name: f"{means[column].mean():.4f}" for column, name in SCORES.items()}
            )
    return pd.DataFrame(found)


def paired(rows: pd.DataFrame, other: str) -> pd.DataFrame:
    """Average differences to another method on the same forecasts over sets, with their errors."""
    found = []
    for low, high, part in _bins(rows):
        ours, theirs = (
            part[part["law"] == law].groupby("set")[list(SCORES)].mean() for law in (OURS, other)
        )
        difference = ours - theirs
        row: dict[str, Any] = {"ratio": bin_name(low, high), "sets": len(ours)}
        for column, name in SCORES.items():
            error = difference[column].std() / np.sqrt(len(difference))
            row[name] = f"{difference[column].mean():+.4f} ({error:.4f})"
        row["width, share"] = f"{ours['width'].mean() / theirs['width'].mean() - 1:+.0%}"
        found.append(row)
    return pd.DataFrame(found)


def by_horizon(rows: pd.DataFrame) -> pd.DataFrame:
    """Score forecasts within the 2 % horizon that the runs up to the cutoff give."""
    found = []
    for law in (OURS, AVERAGE):
        own = rows[(rows["law"] == law) & rows["horizon"].notna()]
        reached = own.groupby(["set", "cutoff"])["horizon"].first()
        inside = own[own["ratio"] <= own["horizon"]]
        within = inside["log_error"].abs() <= TOLERANCE
        found.append(
            {"law": law, "horizons": len(reached), "none": int((reached <= 1).sum())}
            | {"median reach": f"{reached.median():.1f}", "largest": f"{reached.max():.1f}"}
            | {"forecasts inside": len(inside), "sets": inside["set"].nunique()}
            | {"90 % held": f"{inside['covered90'].mean():.1%}", WITHIN: f"{within.mean():.1%}"}
        )
    return pd.DataFrame(found)


def by_set(rows: pd.DataFrame) -> pd.DataFrame:
    """Tabulate coverage by set and method."""
    held = rows[rows["law"].isin((OURS, *OTHERS))].groupby(["set", "law"], sort=False)["covered90"]
    wide = held.mean().unstack().map("{:.0%}".format)
    return wide.assign(forecasts=held.size().unstack()[OURS]).reset_index()


def _bins(rows: pd.DataFrame) -> Any:
    for low, high in (*RATIO_BINS, (1.0, np.inf)):
        part = rows[(rows["ratio"] > low) & (rows["ratio"] <= high)]
        counted = part[part["law"] == OURS].groupby("set").size()
        yield low, high, part[part["set"].isin(counted[counted >= FEWEST].index)]


def bin_name(low: float, high: float) -> str:
    """Return the name of a range of ratios."""
    if np.isinf(high):
        return "all" if low == 1 else f"above {low:g}"
    return f"{low:g} to {high:g}"


def rows_of_sets(
    sets: Sequence[RunSet], forecasts: Callable[[RunSet, Path], pd.DataFrame]
) -> pd.DataFrame:
    """Forecast the sets, kept in the folder that the command line names; add the width."""
    folder = Path(os.environ["BAYESCALE_DATA"])
    cache, parts = Path(sys.argv[1]) if len(sys.argv) > 1 else None, []
    for i, chosen in enumerate(sets):
        keep = None if cache is None else cache / f"{i}.pkl"
        parts.append(kept(keep, partial(forecasts, chosen, folder)).assign(set=chosen.name))
        print(f"{i + 1} of {len(sets)}: {chosen.name}", file=sys.stderr, flush=True)
    rows = pd.concat(parts, ignore_index=True)
    with np.errstate(divide="ignore"):
        rows["width"] = np.log(rows["upper90"] / rows["lower90"])
    return rows


def main() -> None:
    """Evaluate every public set, and write the page."""
    rows = rows_of_sets(SETS, forecasts)
    without = rows[rows["set"] != APART]
    tables = {
        "by_ratio": by_ratio(rows),
        "by_ratio_without": by_ratio(without),
        "paired": paired(rows, AVERAGE),
        "paired_without": paired(without, AVERAGE),
        "by_horizon": by_horizon(rows),
        "by_set": by_set(rows),
    }
    page = [
        "# The default law on public run sets",
        "Made by `python benchmarks/default_law.py`. Scores are means over sets of equal "
        "weight, with standard errors over sets in brackets. All laws have drift. The average "
        "is of chinchilla and kaplan_irreducible, with equal weights. Ratio is the compute of a "
        "forecast over that of the largest run fitted. Width is that of the 90 % interval of a "
        "single new run, on log loss. CRPS is of log loss, and the log density is that of the "
        "loss, per nat. A set with fewer than five forecasts in a bin is left out of the bin. "
        "Cerebras-GPT has a single forecast, so near the end of every law's interval that the "
        "sampler's seed decides whether it is held. The priors of kappa and of all laws' drift "
        "were chosen on these sets.",
        "## By ratio",
        table(tables["by_ratio"]),
        f"### Without {APART}'s sweep",
        "Its small runs were trained for a short time, and lie off the trend of its larger ones.",
        table(tables["by_ratio_without"]),
        f"## {OURS} less {AVERAGE}, on the same forecasts",
        table(tables["paired"]),
        f"### Without {APART}'s sweep",
        table(tables["paired_without"]),
        f"## Inside the {TOLERANCE:.0%} horizon",
        "The horizon at a cutoff is what `bayescale trust` gives from the runs up to it alone. "
        "Forecasts of larger runs up to that ratio are inside. All forecasts have equal weight. "
        "None counts the cutoffs at which nothing beyond the largest run is trusted. Reach is "
        "the horizon, in multiples of the compute of the largest run fitted.",
        table(tables["by_horizon"]),
        "## 90 % intervals that held, by set",
        table(tables["by_set"]),
        f"{machine()}.",
    ]
    results = {name: found.to_dict(orient="records") for name, found in tables.items()}
    write("default_law", results, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
