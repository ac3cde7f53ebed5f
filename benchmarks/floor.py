"""Whether the floor is found below runs of which many were not tuned.

Logs of 48 runs, eight sizes by six counts of tokens per parameter, about Chinchilla's law at
Besiroglu's coefficients. Runs scatter by 0.3 %, and lie above the law by the absolute value of a
Student-t of three degrees of freedom, of scale 2 %: a family of densities that no card has. Each
is fitted by the card chinchilla_floor and by the card chinchilla, both with the law taken to
hold exactly. Scored is whether the 90 % interval of the law's loss holds the truth: amid the
runs, at the largest, and at ten times its compute.

Run: ``python benchmarks/floor.py``. A log takes about 5 s on one core; writes
``benchmarks/results/floor.json`` and ``floor.md``.
"""

import json
import time
from pathlib import Path
from typing import Annotated

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
    """A log of undertuned runs."""
    scales = {"params": PARAMS, "tokens": TOKENS}
    frame = simulate(CHINCHILLA, TRUTH, scales, sigma=SIGMA, seed=seed)
    rng = np.random.default_rng([seed, 1])
    above = EXCESS * np.abs(rng.standard_t(HEAVY, len(frame)))
    return read_runs(frame.assign(loss=frame["loss"] * np.exp(above)))


def scored(seed: int) -> list[dict[str, float | str | bool]]:
    """What each card says of the floor of one log."""
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
                    "seed": seed, "card": name, "place": place, "truth": truth, **found,
                    "covered": bool(found["lower"] <= truth <= found["upper"]),
                    "passed": bool(posterior.diagnostics["passed"]), "seconds": seconds,
                }
            )  # fmt: skip
    return rows


def told(frame: pd.DataFrame) -> str:
    """A table of coverage and bias."""
    n = frame["seed"].nunique()
    lines = [
        f"{n} logs. Covered: logs whose 90 % interval of the law's loss held the true floor. Bias: "
        "median of the log of median over truth.",
        "",
        "| card | place | covered | alone | bias, % | half-width, % | seconds a fit |",
        "|---|---|---|---|---|---|---|",
    ]
    held = frame.pivot_table("covered", ["place", "seed"], "card").astype(bool)
    for place in PLACES:
        for name in CARDS:
            part = frame[(frame["card"] == name) & (frame["place"] == place)]
            other = next(card for card in CARDS if card != name)
            alone = int((held.loc[place][name] & ~held.loc[place][other]).sum())
            bias = 100 * np.log(part["median"] / part["truth"]).median()
            width = 50 * np.log(part["upper"] / part["lower"]).median()
            lines.append(
                f"| {name} | {place} | {int(part['covered'].sum())} | {alone} | {bias:+.2f} | "
                f"{width:.2f} | {part['seconds'].median():.1f} |"
            )
    missed = int((~frame["passed"]).sum() / len(PLACES))
    return "\n".join([*lines, "", f"{missed} of {2 * n} fits missed the gate of refits.", ""])


def main(logs: Annotated[int, typer.Option("--logs", min=1)] = 100) -> None:
    """Score both cards on simulated logs."""
    rows = []
    for seed in range(logs):
        rows += scored(seed)
        if (seed + 1) % 10 == 0:
            print(told(pd.DataFrame(rows)), flush=True)
    folder = Path(__file__).parent / "results"
    (folder / "floor.json").write_text(json.dumps(rows, indent=1) + "\n")
    (folder / "floor.md").write_text(told(pd.DataFrame(rows)))


if __name__ == "__main__":
    typer.run(main)
