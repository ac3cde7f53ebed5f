"""Runs bought one at a time: the compute that each way of choosing needs for good forecasts.

The largest runs of public run logs are held out. Each start has a few cheap runs, and a random
part of the others for sale, whose losses are known only once they are bought. After each purchase,
Chinchilla's law is fitted again, with drift, and the held-out runs are forecast. ``next_run`` buys
the run that reduces the uncertainty of the loss at the held-out runs' typical size most for its
price. The others buy at random, the cheapest first, or where the law is least certain (D-optimal),
all from the same starts.

Run: ``BAYESCALE_DATA=folder python benchmarks/design.py``. It takes half an hour on one core and
writes ``benchmarks/results/design.json`` and ``design.md``.
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
import xarray as xr
from run_sets import SETS, kept, machine, table, timed, unseen, write

from bayescale import forecast, next_run, refit
from bayescale.cards import ModelCard
from bayescale.posterior import Posterior
from bayescale.runs import Runs
from bayescale.validation import scores
from bayescale.verdict import sizes

CHOSEN = ("Chinchilla", "Gadre, c4", "Datablations, one epoch")
STARTING, AMONG, PURCHASES = 6, 12, 24
"""Runs to start from, the number of cheapest runs they are from, and runs that are then bought."""

HELD_OUT, FOR_SALE = 0.1, 0.6
"""Shares of runs: held out (the largest), and for sale (of all others)."""

STARTS = 12

LIMITS = {"error": (0.04, 0.03, 0.02), "crps": (0.03, 0.02, 0.01), "half_width": (0.08, 0.05, 0.03)}
SHOWN_AFTER = (0, 3, 6, 12, PURCHASES)

SAMPLER: dict[str, Any] = {"draws": 400, "tune": 500}
NEXT, RANDOM = "next_run", "random"
REACHED, STAYS = "reached", "for good"
CHEAPEST, D_OPTIMAL = "cheapest first", "D-optimal"
SHOWN = {REACHED: (NEXT, CHEAPEST, D_OPTIMAL), STAYS: (NEXT,)}

HEADS = {"error": "error", "crps": "CRPS", "half_width": "width"}

Choose = Callable[[Posterior, pd.DataFrame], int]
"""A function from a fit and the runs for sale to the position of the run to buy."""


def by_next_run(target: pd.Series) -> Choose:
    """Choose the run that reduces the uncertainty at a target most for its price."""

    def choose(fit: Posterior, left: pd.DataFrame) -> int:
        candidates = next_run(
            fit, float(left["flops"].sum()),
            target_params=target["params"], target_tokens=target["tokens"],
            candidates=left[["params", "tokens", "flops"]], allow_unconverged=True,
        ).candidates  # fmt: skip
        best = candidates.iloc[0]
        same = np.isclose(left[["params", "tokens"]], best[["params", "tokens"]].astype(float))
        return int(np.flatnonzero(same.all(axis=1))[0])

    return choose


def d_optimal(fit: Posterior, left: pd.DataFrame) -> int:
    """Choose the run at which the law is least certain."""
    places = {name: xr.DataArray(left[name].to_numpy(), dims="point") for name in fit.inputs}
    return int(np.log(fit.drifting.loss(places)).var(("chain", "draw")).values.argmax())


def cheapest(fit: Posterior, left: pd.DataFrame) -> int:
    """Choose the smallest run."""
    return int(left["flops"].to_numpy().argmin())


def at_random(seed: int) -> Choose:
    """Choose a run at random."""
    rng = np.random.default_rng(seed)
    return lambda fit, left: int(rng.integers(len(left)))


def bought(runs: Runs, card: ModelCard, choose: Choose, start: int) -> Iterator[dict[str, Any]]:
    """Yield the compute spent and the scores of forecasts after each purchase."""
    size = sizes(runs.frame, card.law.inputs)
    order = np.argsort(size, kind="stable")
    smaller, largest = np.split(order, [-max(2, round(HELD_OUT * len(runs)))])
    rng, have, for_sale = np.random.default_rng(start), *np.zeros((2, len(runs)), dtype=bool)
    have[rng.choice(order[:AMONG], STARTING, replace=False)] = True
    for_sale[rng.choice(smaller, round(FOR_SALE * len(smaller)), replace=False)] = True
    ahead = runs.frame.iloc[np.sort(largest)]
    for purchase in range(PURCHASES + 1):
        fit = refit(runs.take(have), card, **SAMPLER)
        answer = forecast(
            fit, params=ahead["params"], tokens=ahead["tokens"], allow_unconverged=True
        )
        median = answer.loss.median(("chain", "draw")).values
        mean = np.log(answer.loss.values.reshape(-1, len(ahead)))
        assert answer.loss_new is not None
        with np.errstate(divide="ignore"):  # with few degrees of freedom a loss may be zero
            new = np.log(answer.loss_new.values.reshape(-1, len(ahead)))
        crps = scores.crps(scores.limited(new), np.log(ahead["loss"].to_numpy()))
        yield {
            "purchase": purchase,
            "spent": float(size[have].sum()),
            "error": scores.rmsle(median, ahead["loss"]),
            "crps": float(crps.mean()),
            "half_width": float(scores.half_width(mean, 0.9).mean()),
        }
        rest = np.flatnonzero(for_sale & ~have)
        if not len(rest):
            return
        have[rest[choose(fit, runs.frame.iloc[rest].assign(flops=size[rest]))]] = True


def paths(runs: Runs, card: ModelCard) -> pd.DataFrame:
    """Buy in every way of choosing, one row per purchase."""
    size = sizes(runs.frame, card.law.inputs)
    largest = runs.frame[size >= np.quantile(size, 1 - HELD_OUT)]
    target = np.exp(np.log(largest[["params", "tokens"]]).mean())
    parts = []
    for start in range(STARTS):
        ways = {
            NEXT: by_next_run(target),
            CHEAPEST: cheapest,
            D_OPTIMAL: d_optimal,
            RANDOM: at_random(start),
        }
        for way, choose in ways.items():
            rows = pd.DataFrame(bought(runs, card, choose, start))
            parts.append(rows.assign(way=way, start=start))
            print(f"  {way} {start}", file=sys.stderr, flush=True)
    return pd.concat(parts, ignore_index=True)


def on_average(part: pd.DataFrame, column: str, bought: np.ndarray) -> np.ndarray:
    """Return the mean over starts of a score, after some amount of compute."""
    paths = [path.sort_values("purchase") for _, path in part.groupby("start")]
    last = [np.searchsorted(path["bought"], bought, side="right") - 1 for path in paths]
    each = [path[column].to_numpy()[at] for path, at in zip(paths, last, strict=True)]
    return np.mean(each, axis=0)


def compute_to(part: pd.DataFrame, column: str, limit: float) -> dict[str, float]:
    """Find the compute at which the mean over starts reaches a limit, and stays below it.

    Infinite if it never does.
    """
    bought = np.unique(part["bought"])
    there = on_average(part, column, bought) <= limit
    stays = np.logical_and.accumulate(there[::-1])[::-1]
    return {
        what: float(bought[at.argmax()]) if at.any() else np.inf
        for what, at in ((REACHED, there), (STAYS, stays))
    }


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Compare the compute up to limits with that of random choices, by set."""
    found = found.assign(
        bought=found["spent"] - found.groupby(["set", "way", "start"])["spent"].transform("min")
    )
    rows = []
    for name, of_set in found.groupby("set", sort=False):
        for column, limit in ((column, at) for column, limits in LIMITS.items() for at in limits):
            at = {
                str(way): compute_to(part, column, limit)
                for way, part in of_set.groupby("way", sort=False)
            }
            row = {"set": name, "limit on": HEADS[column], "limit": f"{limit:.0%}"}
            for what, ways in SHOWN.items():
                random = at[RANDOM][what]
                known = np.isfinite(random) and random > 0
                row |= {f"{RANDOM}, {what}": f"{random:.2g}"}
                row |= {f"{way}, {what}": at[way][what] / random if known else None for way in ways}
            rows.append(row)
    return pd.DataFrame(rows)


def progress(found: pd.DataFrame) -> pd.DataFrame:
    """Return medians over starts after some numbers of purchases, by set and way of choosing."""
    shown = found[found["purchase"].isin(SHOWN_AFTER)]
    by = shown.groupby(["set", "way", "purchase"], sort=False)
    return by[["spent", "error", "half_width"]].median().reset_index()


def progress_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Write the result of :func:`progress` in a row for each set and way of choosing."""
    return pd.DataFrame(
        {"set": name, "way": way}
        | {
            f"after {at.purchase}": f"{at.spent:.2g} FLOP, {at.error:.2%}, ±{at.half_width:.2%}"
            for at in part.itertuples()
        }
        for (name, way), part in rows.groupby(["set", "way"], sort=False)
    )


def markdown(results: dict[str, Any]) -> str:
    """Write the report as a page."""
    parts = [
        "# Buying runs one at a time",
        f"Made by `{results['command']}`.",
        f"From {STARTING} of the {AMONG} cheapest runs of each log, {PURCHASES} more are bought "
        f"one by one, out of {FOR_SALE:.0%} of the others, drawn at random for each of {STARTS} "
        "starts. The largest tenth of runs by compute is held out, and forecast after each "
        "purchase by Chinchilla's law with drift.",
        "The table shows the compute bought until the mean over starts reaches a limit. It is "
        "in FLOP for random choices, and a multiple of this for the others. *For good*: until "
        "it also stays below the limit. The runs at the start are not counted. Error and CRPS "
        "are of log loss at the held-out runs; width is half that of 90 % intervals of their "
        f"mean loss. Infinite: not within {PURCHASES} purchases. Empty: random choices did not "
        "reach it either, or needed none.",
        table(pd.DataFrame(results["summary"])),
        "Total compute, error and half width after some numbers of purchases, medians over starts:",
        table(progress_table(pd.DataFrame(results["progress"]))),
        f"{results['minutes']:.0f} minutes on one core. {results['machine']}.",
    ]
    return "\n\n".join(parts) + "\n"


def main(
    keep: Annotated[
        Path | None, typer.Option(help="Keep each set's purchases here, and start from them.")
    ] = None,
) -> None:
    """Buy runs of public logs one at a time."""
    folder = os.environ.get("BAYESCALE_DATA")
    if not folder:
        sys.exit("BAYESCALE_DATA must name the folder of run logs")
    parts, minutes = [], 0.0
    for chosen in SETS:
        if chosen.name in CHOSEN:
            print(chosen.name, file=sys.stderr, flush=True)
            make = partial(paths, chosen.read(Path(folder)), unseen(chosen.family)[0])
            found, took = kept(keep and keep / f"{chosen.name}.pkl", partial(timed, make))
            parts.append(found.assign(set=chosen.name))
            minutes += took / 60
    everything = pd.concat(parts, ignore_index=True)
    results = {
        "command": "python benchmarks/design.py",
        "machine": machine(),
        "minutes": minutes,
        "summary": summary(everything).to_dict(orient="records"),
        "progress": progress(everything).to_dict(orient="records"),
    }
    write("design", results, markdown(results))


if __name__ == "__main__":
    typer.run(main)
