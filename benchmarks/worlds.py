"""The default law where no law of the package is true, and what it costs where Chinchilla's is.

Simulated run logs, a grid of six sizes and four counts of tokens per parameter between 8 and 80.
The truth departs from every shipped law in one of five ways, or is Chinchilla's law exactly. The
default law forecasts ten times the compute, other tokens per parameter and the best split of ten
times the compute; verdicts rest on a backtest of the log itself, as users get them.

Run: ``python benchmarks/worlds.py [FOLDER]``; what is done is kept in the folder. It takes about
half an hour on one core and writes ``benchmarks/results/worlds.json`` and ``worlds.md``.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from run_sets import kept, machine, table, write

from bayescale import forecast, read_runs, refit
from bayescale.cards import load_card
from bayescale.posterior import Fit
from bayescale.runs import Runs
from bayescale.splits import default_split
from bayescale.tasks import Serial
from bayescale.validation.backtest import backtest
from bayescale.validation.backtest_record import keep
from bayescale.verdict import TOLERANCE

SIZES, RATIOS = np.geomspace(3e7, 2e9, 6), np.geomspace(8.0, 80.0, 4)
BEYOND, ALONG = 10.0, 20.0
"""Compute in multiples of the largest run, and its tokens per parameter, of the forecast ahead."""

ACROSS = (2.0, 300.0, 1000.0)
"""Tokens per parameter of forecasts at the largest run's compute."""

TRAINED_ON = (10, 16)
"""Numbers of the smallest runs that the backtest inside a log fits."""

SIGMA = 0.004
DRAWS = 400
LINE = 4001  # splits of a budget among which the true best one is found

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]


def chinchilla(rng: np.random.Generator) -> tuple[float, Loss, Loss]:
    """Draw a constant, and the losses due to size and to data."""
    alpha, beta = rng.uniform(0.28, 0.42, 2)
    at_1b, at_20b = rng.uniform(0.2, 0.5, 2)
    return (
        rng.uniform(1.5, 2.0),
        lambda n, _: at_1b * (n / 1e9) ** -alpha,
        lambda _, d: at_20b * (d / 2e10) ** -beta,
    )


def exact(rng: np.random.Generator) -> Loss:
    """Chinchilla's law."""
    constant, of_size, of_data = chinchilla(rng)
    return lambda n, d: constant + of_size(n, d) + of_data(n, d)


def third_power(rng: np.random.Generator) -> Loss:
    """A third power law of size or data, 10 to 30 % of the reducible loss of the central run."""
    constant, of_size, of_data = chinchilla(rng)
    share, exponent = rng.uniform(0.1, 0.3), np.exp(rng.uniform(np.log(0.03), 0.0))
    of_params = rng.random() < 0.5
    n0, d0 = np.exp(np.log(SIZES).mean()), np.exp(np.log(SIZES).mean() + np.log(RATIOS).mean())
    size = share * (of_size(n0, d0) + of_data(n0, d0))

    def loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
        scale = n / n0 if of_params else d / d0
        return constant + of_size(n, d) + of_data(n, d) + size * scale**-exponent

    return loss


def break_in_compute(rng: np.random.Generator) -> Loss:
    """A break within the last e-fold of compute: the exponent changes by 0.02 to 0.08."""
    constant, of_size, of_data = chinchilla(rng)
    at = LARGEST * np.exp(-rng.uniform(0, 1))
    change = rng.choice([-1, 1]) * rng.uniform(0.02, 0.08)

    def loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
        past = np.maximum(6 * n * d / at, 1.0)
        return constant + (of_size(n, d) + of_data(n, d)) * past**change

    return loss


def outer_exponent(rng: np.random.Generator) -> Loss:
    """Size and data combined with an exponent from 0.25 to 1.5, beyond what the prior expects."""
    constant, of_size, of_data = chinchilla(rng)
    kappa = rng.choice([rng.uniform(0.25, 0.4), rng.uniform(1.1, 1.5)])

    def loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
        return constant + (of_size(n, d) ** (1 / kappa) + of_data(n, d) ** (1 / kappa)) ** kappa

    return loss


def exponent_of_size(rng: np.random.Generator) -> Loss:
    """An exponent of data that changes with size, as in Farseer's surface (arXiv 2506.10972)."""
    constant, of_size, _ = chinchilla(rng)
    at_20b, beta = rng.uniform(0.2, 0.5), rng.uniform(0.28, 0.42)
    change = rng.choice([-1, 1]) * rng.uniform(0.02, 0.06)

    def loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
        return constant + of_size(n, d) + at_20b * (d / 2e10) ** -(beta * (n / 1e9) ** change)

    return loss


def tuned_near_20(rng: np.random.Generator) -> Loss:
    """Runs that get worse away from 20 tokens per parameter: 0.1 to 0.4 % per e-fold squared."""
    inside, worse = exact(rng), rng.uniform(0.001, 0.004)
    return lambda n, d: inside(n, d) * np.exp(worse * np.log(d / n / ALONG) ** 2)


WORLDS: dict[str, Callable[[np.random.Generator], Loss]] = {
    "third power law": third_power,
    "break": break_in_compute,
    "outer exponent": outer_exponent,
    "exponent that depends on size": exponent_of_size,
    "tuned near 20": tuned_near_20,
}
LARGEST = 6 * SIZES[-1] ** 2 * RATIOS[-1]


def simulated(loss: Loss, rng: np.random.Generator) -> Runs:
    """Simulate the grid of runs."""
    n = np.repeat(SIZES, len(RATIOS))
    d = n * np.tile(RATIOS, len(SIZES))
    noisy = loss(n, d) * np.exp(SIGMA * rng.standard_normal(len(n)))
    frame = pd.DataFrame({"params": n, "tokens": d, "loss": noisy})
    return read_runs(frame.assign(run_id=[f"run {i}" for i in range(len(n))]))


def targets() -> dict[str, tuple[float, float]]:
    """Params and tokens of what is forecast."""
    places = {f"ahead {BEYOND:g} times": (BEYOND * LARGEST, ALONG)}
    places |= {f"across at {ratio:g}": (LARGEST, ratio) for ratio in ACROSS}
    return {k: (np.sqrt(f / 6 / r), np.sqrt(f * r / 6)) for k, (f, r) in places.items()}


def evaluate(kind: str, seed: int) -> pd.DataFrame:
    """Forecast one world by the default law, and by Chinchilla's with drift where it is exact."""
    rng = np.random.default_rng([seed, 0 if kind == "exact" else 1 + list(WORLDS).index(kind)])
    loss = exact(rng) if kind == "exact" else WORLDS[kind](rng)
    runs, rows = simulated(loss, rng), []
    for law in ("unified", "chinchilla") if kind == "exact" else ("unified",):
        fit: Fit = refit(runs, load_card(law), seed, draws=DRAWS, tune=DRAWS)
        if kind != "exact":
            inside = np.sort(runs["flops"])[np.array(TRAINED_ON) - 1]
            settings: dict[str, Any] = {"cutoffs": inside, "executor": Serial(), "seed": seed}
            again = partial(refit, draws=DRAWS, tune=DRAWS)
            fit = keep(fit, backtest(runs, [law], refit=again, **settings))
        rows += [
            {"kind": kind, "world": seed, "law": law, **row}
            for row in (*_losses(fit, loss), _split(fit, loss))
        ]
    return pd.DataFrame(rows)


def _losses(fit: Fit, loss: Loss) -> list[dict[str, Any]]:
    n, d = (np.array(values) for values in zip(*targets().values(), strict=True))
    answer = forecast(fit, params=n, tokens=d, allow_unconverged=True)
    frame, truth = answer.to_frame(), np.log(loss(n, d))
    low, high = np.log(frame["loss_lower"]), np.log(frame["loss_upper"])
    return [
        {
            "place": place,
            "held": bool(low[i] <= truth[i] <= high[i]),
            "width": high[i] - low[i],
            "error": float(np.log(frame["loss_median"][i]) - truth[i]),
            "verdict": frame["verdict"][i],
        }
        for i, place in enumerate(targets())
    ]


def _split(fit: Fit, loss: Loss) -> dict[str, Any]:
    budget = BEYOND * LARGEST
    best = np.log(default_split(fit, np.array([budget])).best["params"].values.ravel())
    n = np.sqrt(budget / 6 / ALONG) * np.exp(np.linspace(-4.0, 4.0, LINE))
    truth = np.log(n[loss(n, budget / 6 / n).argmin()])
    low, middle, high = np.quantile(best, [0.05, 0.5, 0.95])
    return {
        "place": f"best params at {BEYOND:g} times",
        "held": bool(low <= truth <= high),
        "width": high - low,
        "error": middle - truth,
        "verdict": None,
    }


def held_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Tabulate coverage by place, in all and by kind."""
    wide = rows.pivot_table(index="place", columns="kind", values="held", sort=False)
    held = rows.groupby("place", sort=False)["held"]
    wide.insert(0, "all", held.mean())
    wide = wide.map("{:.0%}".format)
    wide.insert(0, "worlds", held.size())
    return wide.reset_index()


def trusted_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Tabulate how often forecasts that are trusted are wrong by more than the tolerance."""
    found = []
    for place, part in (*rows[rows["verdict"].notna()].groupby("place", sort=False), ("all", rows)):
        trusted = part[part["verdict"].isin(["inside", "trusted"])]
        wrong = (trusted["error"].abs() > TOLERANCE).sum()
        found.append({"place": place, "trusted": len(trusted), "of them wrong": wrong})
    return pd.DataFrame(found)


def cost_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare widths with those of Chinchilla's law, where that is exact."""
    wide = rows.pivot_table(index=["place", "world"], columns="law", values="width", sort=False)
    held = rows.groupby(["place", "law"], sort=False)["held"].mean().unstack()
    ratio = (wide["unified"] / wide["chinchilla"]).groupby("place", sort=False).median()
    return pd.DataFrame(
        {
            "place": ratio.index,
            "width, times chinchilla's": ratio.map("{:.2f}".format).to_numpy(),
            "held by unified": held.loc[ratio.index, "unified"].map("{:.0%}".format).to_numpy(),
            "held by chinchilla": held.loc[ratio.index, "chinchilla"]
            .map("{:.0%}".format)
            .to_numpy(),
        }
    )


def main(
    folder: Annotated[Path | None, typer.Argument(help="Keep each world here.")] = None,
    worlds: Annotated[int, typer.Option(help="Worlds of each kind.")] = 9,
) -> None:
    """Forecast in simulated worlds whose truth is known."""
    parts = []
    for seed in range(worlds):
        for kind in (*WORLDS, "exact"):
            make = partial(evaluate, kind, seed)
            parts.append(kept(folder and folder / f"{kind} {seed}.pkl", make))
        print(f"{seed + 1} of {worlds} of each kind", file=sys.stderr, flush=True)
    rows = pd.concat(parts, ignore_index=True)
    outside, of_chinchilla = rows[rows["kind"] != "exact"], rows[rows["kind"] == "exact"]
    tables = {
        "held": held_table(outside),
        "trusted": trusted_table(outside),
        "cost": cost_table(of_chinchilla),
    }
    kinds = "\n".join(f"- **{kind}**: {make.__doc__}" for kind, make in WORLDS.items())
    page = [
        "# The default law where no law is true",
        "Made by `python benchmarks/worlds.py`.",
        f"Logs of {len(SIZES) * len(RATIOS)} runs, {SIZES[0]:.3g} to {SIZES[-1]:.3g} params at "
        f"{RATIOS[0]:g} to {RATIOS[-1]:g} tokens per parameter, normal residual noise of "
        f"{SIGMA:.1%}, {worlds} of each kind:",
        kinds,
        "## 90 % intervals that held",
        "The share of worlds whose true value lay in the interval. Ahead is the mean loss at "
        f"{BEYOND:g} times the largest run's compute and {ALONG:g} tokens per parameter. Across "
        "is the mean loss at the largest run's compute and other tokens per parameter. Best "
        f"params are those at {BEYOND:g} times the largest run's compute.",
        table(tables["held"]),
        f"## Trusted, and wrong by more than {TOLERANCE:.0%}",
        "Verdicts rest on a backtest of the log's own runs.",
        table(tables["trusted"]),
        "## What it costs where Chinchilla's law is exact",
        "Median width of the 90 % interval over that of `chinchilla` with its drift.",
        table(tables["cost"]),
        f"{machine()}.",
    ]
    results = {name: found.to_dict(orient="records") for name, found in tables.items()}
    write("worlds", results, "\n\n".join(page) + "\n")


if __name__ == "__main__":
    typer.run(main)
