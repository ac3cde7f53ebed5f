"""Multipliers of compute, log scores, and recipes of five runs, beside ``versus.py``.

The pairs of Gadre et al. (three training sets, by their loss on C4) are cut at two levels of
compute, jointly and by separate fits as in ``versus.py``; the other sets and the third cutoff are
left out, because a fit takes a minute. A multiplier is how many times the compute the first recipe
needs, at the same tokens per parameter, to reach the loss of a run of the second beyond the cutoff.
It is measured where runs of the first recipe at the same tokens per parameter lie on both sides of
that loss, by a monotone cubic through them. The log score is minus the log of the probability given
to the recipe that turned out better. At the higher cutoff, all is repeated with five runs of the
second recipe: evenly spaced among its runs in order of compute, with the smallest and the largest.

Run: ``BAYESCALE_DATA=folder python benchmarks/versus_worth.py [CACHE]``. It takes seven
minutes of one core's time and writes ``benchmarks/results/versus_worth.json`` and ``.md``.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from run_sets import kept, machine, table, write
from versus import FEWEST, SAMPLER, SURE, Pair, both_measured, gadre

from bayescale import fit_recipes, refit
from bayescale.decisions.versus import MULTIPLES
from bayescale.runs import Runs, read_runs

CUTS = (0.4, 0.6)
FEW_AT = 0.6
SAME_RATIO = 0.03
ALL, FIVE = "all runs", "five of the second"


def compute(log: pd.DataFrame) -> np.ndarray:
    """Return the compute of runs, 6 N D."""
    return (6 * log["params"] * log["tokens"]).to_numpy()


def evaluate(pair: Pair) -> pd.DataFrame:
    """Forecast a pair's runs beyond each cutoff."""
    first, second = sorted(pair.log["family"].unique())
    sizes = both_measured(pair.log)
    order, parts = np.sort(compute(sizes)), []
    for cut in CUTS:
        cutoff = order[int(cut * (len(order) - 1))] * 1.01
        test = sizes[compute(sizes) > cutoff].reset_index(drop=True)
        test["multiplier"] = [
            multiplier(pair.log, first, row, row[second]) for _, row in test.iterrows()
        ]
        train = pair.log[compute(pair.log) <= cutoff]
        one, other = (train[train["family"] == name] for name in (first, second))
        designs = {ALL: other}
        if cut == FEW_AT:
            in_order = other.iloc[np.argsort(compute(other), kind="stable")]
            designs[FIVE] = in_order.iloc[
                np.linspace(0, len(other) - 1, FEWEST).round().astype(int)
            ]
        alone = draws_alone(one, test)
        for design, runs in designs.items():
            methods = {
                "joint": draws_together(pd.concat([one, runs]), test),
                "separate": (alone, draws_alone(runs, test)),
            }
            for method, (a, b) in methods.items():
                rows = scored(a, b, test, (first, second))
                parts.append(rows.assign(design=design, method=method, cut=cut, pair=pair.name))
    return pd.concat(parts, ignore_index=True)


def multiplier(log: pd.DataFrame, name: str, at: pd.Series, loss: float) -> float:
    """Return the measured multiplier of a recipe at a loss; NaN where its runs do not tell."""
    from scipy.interpolate import PchipInterpolator

    ratio = log["tokens"] / log["params"] / (at["tokens"] / at["params"])
    runs = log[(log["family"] == name) & (np.abs(np.log(ratio)) < SAME_RATIO)]
    runs = runs.iloc[np.argsort(compute(runs))]
    losses = np.log(runs["loss"].to_numpy())
    falls = losses < np.append(np.inf, np.minimum.accumulate(losses)[:-1])
    losses, logs = losses[falls], np.log(compute(runs)[falls])
    if len(losses) < 2 or not losses[-1] <= np.log(loss) <= losses[0]:
        return np.nan
    there = PchipInterpolator(losses[::-1], logs[::-1])(np.log(loss))
    return float(np.exp(there) / (6 * at["params"] * at["tokens"]))


def points(test: pd.DataFrame) -> dict[str, xr.DataArray]:
    """Return the sizes, and after them those of every multiple of their compute."""
    factors = np.append(0.0, MULTIPLES)
    return {
        name: xr.DataArray(
            (test[name].to_numpy(float)[:, None] * np.exp(factors / 2)).ravel(), dims="point"
        )
        for name in ("params", "tokens")
    }


Draws = tuple[np.ndarray, np.ndarray]
"""Log losses, (draw, point, 1 + factor), and noise of a single run, (draw, 1)."""


def draws_together(runs: pd.DataFrame, test: pd.DataFrame) -> tuple[Draws, Draws]:
    """Fit both recipes jointly."""
    joint = fit_recipes(read_runs(runs), **SAMPLER)
    found = joint.log_loss(points(test)).transpose("recipe", "chain", "draw", "point").values
    shape = (2, -1, len(test), 1 + len(MULTIPLES))
    noise = joint.noise(2).reshape(2, -1, 1)
    one, other = found.reshape(shape)
    return (one, noise[0]), (other, noise[1])


def draws_alone(runs: pd.DataFrame, test: pd.DataFrame) -> Draws:
    """Fit one recipe alone."""
    log: Runs = read_runs(runs[["run_id", "params", "tokens", "loss"]])
    view = refit(log, "unified", **SAMPLER).drifting
    losses = view.loss(points(test)).transpose("chain", "draw", "point").values
    sigma = view.draws["sigma"].values.reshape(-1, 1)
    noise = sigma * np.random.default_rng(len(runs)).standard_normal(sigma.shape)
    return np.log(losses).reshape(len(sigma), len(test), -1), noise


def scored(one: Draws, other: Draws, test: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """Score the forecasts of which is better, and of the first one's multiplier."""
    (a, noise_a), (b, noise_b) = one, other
    new = b[:, :, 0] + noise_b - a[:, :, 0] - noise_a
    better = (test[names[1]] < test[names[0]]).to_numpy()
    floor = 0.5 / len(new)
    p = (new < 0).mean(axis=0)
    given = np.where(better, p, 1 - p).clip(floor, 1 - floor)
    levels = b[:, :, 0] + noise_b - noise_a
    found = np.array(
        [
            [
                np.interp(-level, np.maximum.accumulate(-curve), MULTIPLES, -np.inf, np.inf)
                for level, curve in zip(levels[:, i], a[:, i, 1:], strict=True)
            ]
            for i in range(len(test))
        ]
    )
    lower, upper = np.quantile(found, [0.05, 0.95], axis=1, method="nearest")
    truth = np.log(test["multiplier"].to_numpy())
    return pd.DataFrame(
        {
            "p": p,
            "better": better,
            "brier": (p - better) ** 2,
            "log_score": -np.log(given),
            "multiplier": np.exp(truth),
            "lower": np.exp(lower),
            "upper": np.exp(upper),
            "held": (lower <= truth) & (truth <= upper),
            "width": upper.clip(*MULTIPLES[[0, -1]]) - lower.clip(*MULTIPLES[[0, -1]]),
        }
    )


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Average scores over pairs of equal weight."""
    found: list[dict[str, Any]] = []
    for (design, cut, method), part in rows.groupby(["design", "cut", "method"], sort=False):
        measured = part[part["multiplier"].notna()]
        sure = part[(part["p"] > SURE) | (part["p"] < 1 - SURE)]
        right = (sure["p"] > 0.5) == sure["better"]
        mean = part.groupby("pair")[["brier", "log_score"]].mean().mean()
        found.append(
            {"runs": design, "cutoff": f"{cut:.0%}", "method": method, "forecasts": len(part)}
            | {"Brier": f"{mean['brier']:.3f}", "log score": f"{mean['log_score']:.3f}"}
            | {"sure and right": f"{right.sum()} of {len(sure)}"}
            | {"multipliers held": f"{measured['held'].sum()} of {len(measured)}"}
            | {"width in logs": f"{measured['width'].mean():.2f}"}
        )
    return pd.DataFrame(found)


def main() -> None:
    """Evaluate the pairs, and write the page."""
    folder = Path(os.environ["BAYESCALE_DATA"])
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    parts = []
    for i, pair in enumerate(gadre(folder)):
        keep = None if cache is None else cache / f"worth_{i}.pkl"
        parts.append(kept(keep, partial(evaluate, pair)))
        print(f"{i + 1} of 3: {pair.name}", file=sys.stderr, flush=True)
    rows = pd.concat(parts, ignore_index=True)
    page = [
        "## Multipliers, log scores, and recipes of five runs",
        "Made by `python benchmarks/versus_worth.py`, on the three pairs of Gadre et al. alone, "
        "at two cutoffs. Scores are means over pairs of equal weight. A multiplier is how many "
        "times the compute the first recipe needs to reach the loss of a single run of the "
        "second. It is scored where the first recipe's own runs at the same tokens per "
        "parameter show it. Held counts the multipliers inside their 90 % interval. The width "
        "is the mean width of this interval in logs, cut at a factor of 30 either way. Five of "
        "the second: only five runs of the second recipe are used.",
        table(summary(rows)),
        f"{machine()}.",
    ]
    write("versus_worth", {"rows": rows.to_dict(orient="records")}, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
