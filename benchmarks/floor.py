"""Coverage of the card ``chinchilla_floor`` on logs with many runs that were not tuned.

Each log has 48 runs: eight sizes by six counts of tokens per parameter, from Chinchilla's law at
Besiroglu's coefficients. Runs have residual noise of 0.3 %. They also lie above the law by the
absolute value of a Student-t with three degrees of freedom and a scale of 2 %, a distribution that
no card has. Each log is fitted with the cards chinchilla_floor and chinchilla, both with the law
taken to hold exactly. The score is whether the 90 % interval of the law's loss contains the truth:
amid the runs, at the largest, and at ten times its compute.

Run: ``python benchmarks/floor.py``. A log takes about 5 s on one core. Writes
``benchmarks/results/floor.json`` and ``floor.md``.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
import xarray as xr

from bayescale import read_runs
from bayescale.cards import load_card
from bayescale.inference.fit import refit
from bayescale.laws import CHINCHILLA
from bayescale.posterior import quantiles
from bayescale.runs import Runs
from bayescale.simulation import simulate

CARDS = ("chinchilla_floor", "chinchilla")
TRUTH = load_card("chinchilla").published_values("besiroglu_2024")
PARAMS = np.repeat(np.geomspace(5e7, 5e9, 8), 6)
TOKENS = PARAMS * np.tile(np.geomspace(5, 160, 6), 8)
SIGMA, EXCESS, HEAVY = 0.003, 0.02, 3.0
PLACES = {
    "amid the runs": (5e8, 1.4e10),
    "the largest": (5e9, 8e11),
    "ten times its compute": (5e9 * 10**0.5, 8e11 * 10**0.5),
}


def simulated(seed: int) -> Runs:
    """Simulate a log of undertuned runs."""
    scales = {"params": PARAMS, "tokens": TOKENS}
    frame = simulate(CHINCHILLA, TRUTH, scales, sigma=SIGMA, seed=seed)
    rng = np.random.default_rng([seed, 1])
    above = EXCESS * np.abs(rng.standard_t(HEAVY, len(frame)))
    return read_runs(frame.assign(loss=frame["loss"] * np.exp(above)))


def scored(seed: int) -> list[dict[str, float | str | bool]]:
    """Fit one log with each card, and score the floor."""
    runs, rows = simulated(seed), []
    for name in CARDS:
        started = time.perf_counter()
        posterior = refit(runs, load_card(name), seed, drift=False)
        seconds = time.perf_counter() - started
        for place, (params, tokens) in PLACES.items():
            at = {"params": xr.DataArray(params), "tokens": xr.DataArray(tokens)}
            found = quantiles(posterior.drifting.loss(at))
            truth = float(CHINCHILLA.loss(params, tokens, **TRUTH))
            rows.append(
                {
                    "seed": seed,
                    "card": name,
                    "place": place,
                    "truth": truth,
                    **found,
                    "covered": bool(found["lower"] <= truth <= found["upper"]),
                    "passed": bool(posterior.diagnostics["passed"]),
                    "seconds": seconds,
                }
            )
    return rows


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Summarize coverage and bias by place and card."""
    held = frame.pivot_table("covered", ["place", "seed"], "card").astype(bool)
    rows = []
    for place in PLACES:
        for name in CARDS:
            part = frame[(frame["card"] == name) & (frame["place"] == place)]
            other = next(card for card in CARDS if card != name)
            rows.append(
                {
                    "card": name,
                    "place": place,
                    "covered": int(part["covered"].sum()),
                    "alone": int((held.loc[place][name] & ~held.loc[place][other]).sum()),
                    "bias_percent": float(100 * np.log(part["median"] / part["truth"]).median()),
                    "half_width_percent": float(
                        50 * np.log(part["upper"] / part["lower"]).median()
                    ),
                    "seconds": float(part["seconds"].median()),
                }
            )
    return {
        "logs": int(frame["seed"].nunique()),
        "failed_checks": int((~frame["passed"]).sum() / len(PLACES)),
        "rows": rows,
    }


def markdown(results: dict[str, Any]) -> str:
    """Write the summary as a table."""
    n = results["logs"]
    lines = [
        f"{n} logs. Covered: logs whose 90 % interval of the law's loss contains the true loss "
        "of well-tuned runs. Alone: those that only this card covers. Bias: median over logs of "
        "the log of the posterior median over the truth.",
        "",
        "| card | place | covered | alone | bias, % | half-width, % | seconds per fit |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['card']} | {row['place']} | {row['covered']} | {row['alone']} | "
        f"{row['bias_percent']:+.2f} | {row['half_width_percent']:.2f} | {row['seconds']:.1f} |"
        for row in results["rows"]
    ]
    failed = f"{results['failed_checks']} of {2 * n} fits failed the convergence checks of refits."
    return "\n".join([*lines, "", failed, ""])


def main(logs: Annotated[int, typer.Option("--logs", min=1)] = 100) -> None:
    """Score both cards on simulated logs."""
    rows = []
    for seed in range(logs):
        rows += scored(seed)
        if (seed + 1) % 10 == 0:
            print(markdown(summary(pd.DataFrame(rows))), flush=True)
    folder = Path(__file__).parent / "results"
    results = summary(pd.DataFrame(rows))
    (folder / "floor.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "floor.md").write_text(markdown(results))


if __name__ == "__main__":
    typer.run(main)
