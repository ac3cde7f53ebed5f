"""Forecasts from five and six runs with a prior learned from earlier logs, against the default.

For each public log ``bayescale prior`` makes a card from fits of the logs of all other families,
and for logs of one team, a second one from fits of the team's other logs: what its own past
adds. Runs and forecasts are those of ``benchmarks/few_runs.py``.

Run: ``BAYESCALE_DATA=folder python benchmarks/learned_prior.py [KEEP]``; what is done is kept in
the folder. It takes about twenty minutes on one core and writes
``benchmarks/results/learned_prior.json`` and ``learned_prior.md``.
"""

import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from few_runs import LAW, by_number, forecasts_by
from run_sets import SETS, RunSet, kept, machine, table, write

from bayescale import refit
from bayescale.cards import ModelCard, load_card
from bayescale.posterior import Posterior
from bayescale.posterior.learned import prior_from

NUMBERS = (5, 6)
BINS = ((1.0, 3.0), (3.0, 30.0), (30.0, float("inf")), (1.0, float("inf")))
OTHERS, OWN = "other families", "own family"
OF_ONE_TEAM = "Gadre"
"""The family whose logs have no run in common."""

ONE_FORECAST = "Cerebras-GPT"
"""A set with a single larger run, which is learned from and not forecast."""


def cards_for(chosen: RunSet, fit_of: Callable[[RunSet], Posterior]) -> dict[str, ModelCard]:
    """Make the cards that a log is forecast with; its own fit is in none of them."""
    others = [fit_of(s) for s in SETS if s.family != chosen.family]
    cards = {"shipped": load_card(LAW), OTHERS: prior_from(others, allow_unconverged=True)}
    if chosen.family == OF_ONE_TEAM:
        own = [fit_of(s) for s in SETS if s.family == chosen.family and s is not chosen]
        cards[OWN] = prior_from(own, allow_unconverged=True)
    return cards


def main() -> None:
    """Evaluate the public sets, and write the page."""
    folder = Path(os.environ["BAYESCALE_DATA"])
    keep, parts = Path(sys.argv[1]) if len(sys.argv) > 1 else None, []

    @cache
    def fit_of(chosen: RunSet) -> Posterior:
        return refit(chosen.read(folder), load_card(LAW))

    def forecast(chosen: RunSet) -> pd.DataFrame:
        return forecasts_by(cards_for(chosen, fit_of), chosen, folder, NUMBERS)

    forecast_sets = [chosen for chosen in SETS if chosen.name != ONE_FORECAST]
    for i, chosen in enumerate(forecast_sets):
        parts.append(kept(keep and keep / f"{i}.pkl", partial(forecast, chosen)))
        print(f"{i + 1} of {len(forecast_sets)}: {chosen.name}", file=sys.stderr, flush=True)
    rows = pd.concat(parts, ignore_index=True)
    with np.errstate(divide="ignore"):
        rows["width"] = np.log(rows["upper90"] / rows["lower90"])
    with_own = rows[rows["family"] == OF_ONE_TEAM]
    with_own = with_own.assign(family=with_own["set"])
    tables = {
        "others": by_number(rows, OTHERS, BINS),
        "own": by_number(with_own, OWN, BINS),
    }
    page = [
        "# Priors learned from earlier logs",
        "Made by `python benchmarks/learned_prior.py`. Scores are means over families of equal "
        "weight, with standard errors over families in brackets. Priors are also learned from "
        "Cerebras-GPT, which is not forecast, because it has one larger run. Shipped is the "
        "card of `unified`. CRPS is of log loss. The log ratio is that of the CRPS with the "
        "learned prior over the CRPS of the shipped card; worst family is the largest such "
        "ratio of a family.",
        "## Learned from the logs of all other families",
        table(tables["others"]),
        "## Learned from the other logs of the same family",
        f"{OF_ONE_TEAM}'s three training sets, which share no run: each from the other two. They "
        "take the place of families.",
        table(tables["own"]),
        f"{machine()}.",
    ]
    results = {name: found.to_dict(orient="records") for name, found in tables.items()}
    write("learned_prior", results, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
