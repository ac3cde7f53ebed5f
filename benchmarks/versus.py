"""Comparisons of recipes at larger scales, jointly and by separate fits.

Pairs of recipes are cut at three levels of compute. The runs up to a cutoff are compared, and the
sizes beyond at which both have a run are forecast: which is better, and by how much. Jointly, they
share a law (``bayescale.fit_recipes``); separately, each is fitted by ``unified`` alone. The third
method takes the recipe that was better at the largest size that both were measured at. Pairs: the
three training sets of Gadre et al. by their loss on C4; six pairs of a fixed learning rate and
batch size from the sweep of Li et al.; and logs simulated from Chinchilla's law with slow
departures, of recipes that are equal or differ.

Run: ``BAYESCALE_DATA=folder python benchmarks/versus.py [CACHE]``. It takes about an hour on two
cores and writes ``benchmarks/results/versus.json`` and ``versus.md``.
"""

import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from run_sets import kept, machine, table, write

from bayescale import fit_recipes, refit
from bayescale.runs import Runs, read_runs

SAMPLER = {"draws": 500, "tune": 300}
CUTS = (0.4, 0.6, 0.8)
"""Cutoffs, as shares of the sizes that both recipes were measured at, in order of compute."""

FEWEST = 5
SWEEP_PAIRS = 6
SIMULATED = 6
SURE = 0.95
JOINT, SEPARATE, LAST = "joint", "separate", "last winner"


@dataclass(frozen=True)
class Pair:
    """Two recipes: a table of runs with the recipe in the column ``family``."""

    group: str
    name: str
    log: pd.DataFrame


def gadre(folder: Path) -> Iterator[Pair]:
    """Yield pairs of training sets."""
    frame = pd.read_csv(folder / "gadre_overtraining.csv")
    frame = frame[frame["chinchilla_mult"] >= 1]
    columns = {"dataset": "family", "loss_c4_val": "loss"}
    log = frame[["run_id", "params", "tokens", *columns]].rename(columns=columns)
    for a, b in itertools.combinations(sorted(log["family"].unique()), 2):
        yield Pair("Gadre, C4", f"{a} and {b}", log[log["family"].isin([a, b])])


def sweep(folder: Path) -> Iterator[Pair]:
    """Yield pairs of fixed learning rates and batch sizes that many cells have."""
    frame = pd.read_csv(folder / "lr_batch_sweep.csv")
    best = frame.groupby(["params_non_embedding", "tokens"])["loss"].transform("min")
    frame = frame[frame["loss"] < 1.1 * best]  # others have diverged
    frame["family"] = frame["lr"].map("{:.3g}".format) + " x " + frame["batch_size"].astype(str)
    frame = frame.rename(columns={"params_non_embedding": "params"})
    frame = frame.drop_duplicates(["family", "params", "tokens"])
    counts = frame["family"].value_counts()
    common = sorted(counts[counts >= 12].index)
    rng, found = np.random.default_rng(0), []
    candidates = list(itertools.combinations(common, 2))
    for i in rng.permutation(len(candidates)):
        a, b = candidates[i]
        both = frame[frame["family"].isin([a, b])]
        if both.groupby(["params", "tokens"]).size().eq(2).sum() >= 12:
            found.append((a, b))
        if len(found) == SWEEP_PAIRS:
            break
    for a, b in found:
        rows = frame[frame["family"].isin([a, b])][["params", "tokens", "family", "loss"]]
        log = rows.assign(run_id=[f"run {i}" for i in range(len(rows))])
        yield Pair("learning rate and batch size", f"{a} and {b}", log)


def simulated(kind: str) -> Iterator[Pair]:
    """Yield logs of two recipes that are equal, or different by a level and a trend."""
    for seed in range(SIMULATED):
        rng, rows = np.random.default_rng(seed), []
        differ = kind == "different"
        level, trend = (rng.normal(0, 0.02), rng.normal(0, 0.004)) if differ else (0.0, 0.0)
        bend = rng.normal(0, 0.004, 2)
        for second, name in enumerate("ab"):
            for n, ratio in itertools.product(np.geomspace(1e7, 1e9, 5), (10, 20, 40)):
                c = np.log(n * n * ratio / 2e17)
                mean = 1.7 + 400 / n**0.34 + 410 / (n * ratio) ** 0.28
                off = bend @ [np.sin(c / 3), np.cos(c / 3)] + second * (level + trend * c)
                loss = mean * np.exp(off + 0.003 * rng.standard_normal())
                rows.append((f"{name}{len(rows)}", name, n, n * ratio, loss))
        columns = ["run_id", "family", "params", "tokens", "loss"]
        yield Pair(f"simulated, {kind}", str(seed), pd.DataFrame(rows, columns=columns))


def both_measured(log: pd.DataFrame) -> pd.DataFrame:
    """Return the sizes at which both recipes have a run, with the loss of each."""
    wide = log.pivot_table(index=["params", "tokens"], columns="family", values="loss")
    return wide.dropna().reset_index()


def forecasts(pair: Pair) -> pd.DataFrame:
    """Forecast the differences of a pair at larger sizes from each cutoff."""
    log, parts = pair.log, []
    a, b = sorted(log["family"].unique())
    sizes = both_measured(log)
    compute = (6 * sizes["params"] * sizes["tokens"]).to_numpy()
    order = np.sort(compute)
    for cut in CUTS:
        cutoff = order[int(cut * (len(order) - 1))] * 1.01
        train = log[6 * log["params"] * log["tokens"] <= cutoff]
        test = sizes[compute > cutoff]
        if train["family"].value_counts().min() < FEWEST or not len(test):
            continue
        parts.append(_from(pair, read_runs(train), test, cutoff, (a, b)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _from(
    pair: Pair, runs: Runs, test: pd.DataFrame, cutoff: float, names: tuple[str, str]
) -> pd.DataFrame:
    a, b = names
    points = {n: xr.DataArray(test[n].to_numpy(float), dims="point") for n in ("params", "tokens")}
    joint = fit_recipes(runs, **SAMPLER)
    found = joint.log_loss(points).transpose("recipe", "chain", "draw", "point").values
    noise = joint.noise(2)
    family, rng = runs["family"].astype(str), np.random.default_rng(0)
    logs, noises = zip(*(_alone(runs, family == name, points, rng) for name in names), strict=True)
    differences = {
        JOINT: ((found[1] - found[0]).reshape(-1, len(test)), (noise[1] - noise[0]).reshape(-1, 1)),
        SEPARATE: (logs[1] - rng.permutation(logs[0]), noises[1] - noises[0]),
    }
    truth = np.log(test[b].to_numpy() / test[a].to_numpy())
    rows = []
    for method, (latent, of_runs) in differences.items():
        new = latent + of_runs
        lower, upper = np.quantile(new, [0.05, 0.95], axis=0)
        low, high = np.quantile(latent, [0.05, 0.95], axis=0)
        held = (lower <= truth) & (truth <= upper)
        columns = {"p": (new < 0).mean(axis=0), "held": held, "width": high - low}
        rows.append(pd.DataFrame(columns).assign(method=method, better=truth < 0))
    rows.append(_last_winner(pair, cutoff, names, truth))
    about = {"group": pair.group, "pair": pair.name, "cutoff": cutoff}
    return pd.concat(rows).assign(**about, passed=joint.diagnostics["passed"])


def _alone(
    runs: Runs, which: np.ndarray, points: dict[str, xr.DataArray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Fit one recipe alone; return log losses (draw, point) and noise (draw, 1)."""
    frame = runs.take(which).to_frame()[["run_id", "params", "tokens", "loss"]]
    view = refit(read_runs(frame), "unified", **SAMPLER).drifting
    losses = view.loss(points).transpose("chain", "draw", "point").values
    sigma = view.draws["sigma"].values.reshape(-1, 1)
    return np.log(losses).reshape(len(sigma), -1), sigma * rng.standard_normal(sigma.shape)


def _last_winner(
    pair: Pair, cutoff: float, names: tuple[str, str], truth: np.ndarray
) -> pd.DataFrame:
    a, b = names
    sizes = both_measured(pair.log)
    seen = sizes[6 * sizes["params"] * sizes["tokens"] <= cutoff]
    largest = seen.iloc[int((seen["params"] * seen["tokens"]).argmax())]
    p = float(largest[b] < largest[a])
    return pd.DataFrame({"p": p, "better": truth < 0}).assign(method=LAST, held=None, width=np.nan)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Average scores over pairs of equal weight."""
    rows = rows.assign(
        brier=(rows["p"] - rows["better"]) ** 2,
        sure=(rows["p"] > SURE) | (rows["p"] < 1 - SURE),
        right=(rows["p"] > 0.5) == rows["better"],
    )
    found = []
    for (group, method), part in rows.groupby(["group", "method"], sort=False):
        by_pair = part.groupby("pair")
        brier = by_pair["brier"].mean()
        error = brier.std() / np.sqrt(len(brier)) if len(brier) > 1 else np.nan
        sure = part[part["sure"]]
        known = part["held"].notna().all()
        found.append(
            {"group": group, "method": method, "pairs": len(brier), "forecasts": len(part)}
            | {"Brier": f"{brier.mean():.3f} ({error:.3f})"}
            | {"90 % held": f"{by_pair['held'].mean().mean():.0%}" if known else "-"}
            | {"latent width": f"{by_pair['width'].mean().mean():.3f}" if known else "-"}
            | {"sure": f"{part['sure'].mean():.0%}"}
            | {"sure and right": f"{sure['right'].mean():.1%}" if len(sure) else "-"}
        )
    return pd.DataFrame(found)


def main() -> None:
    """Evaluate every pair, and write the page."""
    folder = Path(os.environ["BAYESCALE_DATA"])
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    every = [*gadre(folder), *sweep(folder), *simulated("equal"), *simulated("different")]
    parts = []
    for i, pair in enumerate(every):
        keep = None if cache is None else cache / f"{i}.pkl"
        parts.append(kept(keep, partial(forecasts, pair)))
        print(f"{i + 1} of {len(every)}: {pair.group}, {pair.name}", file=sys.stderr, flush=True)
    found = summary(pd.concat(parts, ignore_index=True))
    page = [
        "# Recipes compared",
        "Made by `python benchmarks/versus.py`. Scores are means over pairs of equal weight, "
        "with standard errors over pairs in brackets. A forecast is of the difference between "
        "the log losses of a single run of each recipe, at sizes beyond the cutoff. Brier is "
        "the score of the probability that the second recipe is better. Latent width is that of "
        "the 90 % interval of the difference of mean log losses. Sure is the share of "
        "probabilities above 95 or below 5 %. Last winner takes the recipe that is better at "
        "the largest size fitted. Of two equal recipes, none is better, so every sure call "
        "there is wrong.",
        table(found),
        f"{machine()}.",
    ]
    write("versus", {"summary": found.to_dict(orient="records")}, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
