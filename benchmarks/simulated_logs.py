"""Drift and the trust horizon where the truth is known: their benefit and their cost.

Small run logs, a grid of five sizes and four counts of tokens per parameter, of three kinds:
Chinchilla's law exactly; the same with a third power law that no fitted law has; and with a break
within the last e-fold of compute. The model average with drift and Chinchilla's law without drift
forecast larger runs at 20 tokens per parameter. The horizon comes from the log alone.

Run: ``python benchmarks/simulated_logs.py``. A log takes about ten seconds on one core. Writes
``benchmarks/results/simulated_logs.json`` and ``simulated_logs.md``.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import typer
from run_sets import AVERAGED, LAWS, PLAIN, kept, machine, sampled, table, timed, write

from bayescale import read_runs
from bayescale.laws import CHINCHILLA
from bayescale.runs import Runs
from bayescale.simulation import simulate
from bayescale.verdict import TOLERANCE

PARAMS = np.geomspace(2e7, 1e9, 5)
TOKENS_PER_PARAM = np.array([5.0, 10.0, 20.0, 40.0])
RATIOS = np.array([1.5, 2.0, 3.0, 5.0, 10.0, 30.0])
AHEAD = 20.0
"""Tokens per parameter of the runs that are forecast."""

SIGMA = 0.005
TRAINED_ON = (8, 14)
"""Numbers of the smallest runs that the backtest inside a log fits."""

SAMPLER = {"draws": 300, "tune": 400}
MEAN_WITHIN = f"within {TOLERANCE:.0%}, mean"
RUN_WITHIN = f"within {TOLERANCE:.0%}, single run"
KINDS = {
    "exact": "Chinchilla's law",
    "third term": "with 10 to 30 % of the reducible loss of the central run in a third power law, "
    "of params or of tokens, with an exponent from 0.03 to 1",
    "break": "with a break within the last e-fold of compute, from where on the reducible loss "
    "falls faster or slower: its exponent of compute changes by 0.02 to 0.08",
}


class Simulated(NamedTuple):
    """A run log with the larger runs to be forecast, and the truth.

    Attributes
    ----------
    runs : Runs
    largest : float
        Compute of the largest run fitted, in FLOP.
    log_mean : pandas.Series
        Log of the mean loss, without residual noise, by ``run_id``.
    """

    runs: Runs
    largest: float
    log_mean: pd.Series


def simulated(kind: str, seed: int) -> Simulated:
    """Simulate a run log of this kind."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    alpha, beta = rng.uniform(0.28, 0.42, 2)
    at_1b, at_20b = rng.uniform(0.2, 0.5, 2)
    truth = {
        "E": rng.uniform(1.5, 2.0),
        "A": at_1b * 1e9**alpha,
        "alpha": alpha,
        "B": at_20b * 2e10**beta,
        "beta": beta,
    }
    params = np.repeat(PARAMS, len(TOKENS_PER_PARAM))
    tokens = params * np.tile(TOKENS_PER_PARAM, len(PARAMS))
    largest = float((6 * params * tokens).max())
    ahead = np.sqrt(RATIOS * largest / (6 * AHEAD))
    params, tokens = np.append(params, ahead), np.append(tokens, AHEAD * ahead)
    log = simulate(
        CHINCHILLA, truth, {"params": params, "tokens": tokens}, sigma=SIGMA,
        seed=int(rng.integers(2**31)),
    )  # fmt: skip
    mean = CHINCHILLA.loss(params=params, tokens=tokens, **truth)
    reducible = mean - truth["E"]
    extra = np.zeros(len(log))
    if kind == "third term":
        scale = params if rng.random() < 0.5 else tokens
        center = np.exp(np.log(scale[: -len(RATIOS)]).mean())
        share, exponent = rng.uniform(0.1, 0.3), np.exp(rng.uniform(np.log(0.03), 0.0))
        size = share * np.exp(np.log(reducible[: -len(RATIOS)]).mean())
        extra = size * (scale / center) ** -exponent
    if kind == "break":
        flops = 6 * params * tokens
        past = np.maximum(flops / (largest * np.exp(-rng.uniform(0, 1))), 1.0)
        change = rng.choice([-1, 1]) * rng.uniform(0.02, 0.08)
        extra = reducible * (past**change - 1)
    runs = read_runs(log.assign(loss=log["loss"] * (1 + extra / mean)))
    return Simulated(runs, largest, pd.Series(np.log(mean + extra), runs["run_id"]))


def evaluate(kind: str, seed: int) -> pd.DataFrame:
    """Forecast the larger runs of one log, with the horizon.

    ``mean_error`` is the error of log loss relative to the mean without residual noise, and
    ``log_error`` relative to the run itself.
    """
    runs, largest, log_mean = simulated(kind, seed)
    inside = np.sort(runs["flops"])[np.array(TRAINED_ON) - 1]
    averaged, _ = sampled(runs, LAWS, drift=True, cutoffs=[*inside, largest], seed=seed, **SAMPLER)
    plain, _ = sampled(runs, (PLAIN,), drift=False, cutoffs=[largest], seed=seed, **SAMPLER)
    rows = pd.concat([averaged, plain], ignore_index=True)
    rows = rows[rows["cutoff"] == rows["cutoff"].max()]
    mean_error = np.log(rows["median"]) - rows["run_id"].map(log_mean)
    return rows.assign(kind=kind, log=seed, mean_error=mean_error)


def summary(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarize each kind of log in one row."""
    rows = rows.assign(width=np.log(rows["upper90"] / rows["lower90"]))
    found = []
    for kind, of_kind in rows.groupby("kind", sort=False):
        averaged = of_kind[of_kind["method"] == AVERAGED]
        inside = averaged[averaged["ratio"] <= averaged["horizon"]]
        mean_within = inside["mean_error"].abs() <= TOLERANCE
        at = {
            (method, ratio): part.set_index("log")
            for (method, ratio), part in of_kind.groupby(["method", of_kind["ratio"].round(1)])
        }
        ours, plain = at[AVERAGED, 10.0], at[PLAIN, 10.0]
        found.append(
            {
                "kind": kind,
                "logs": averaged["log"].nunique(),
                "median horizon": averaged.groupby("log")["horizon"].first().median(),
                "inside": len(inside),
                "of logs": inside["log"].nunique(),
                MEAN_WITHIN: mean_within.mean(),
                RUN_WITHIN: (inside["log_error"].abs() <= TOLERANCE).mean(),
                "within, every mean of a log": mean_within.groupby(inside["log"]).all().mean(),
                "coverage inside": inside["covered90"].mean(),
                "coverage at 10 times": ours["covered90"].mean(),
                "coverage, plain": plain["covered90"].mean(),
                "error at 10 times": ours["log_error"].abs().median(),
                "error, plain": plain["log_error"].abs().median(),
                **{
                    f"width at {ratio:g}, {name}": float(
                        (at[method, ratio]["width"] / at[PLAIN, ratio]["width"]).median()
                    )
                    for name, method in (("drift", "chinchilla + drift"), ("average", AVERAGED))
                    for ratio in (3.0, 10.0, 30.0)
                },
            }
        )
    return found


def targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare each target with the value reached."""
    found = []
    for row in rows:
        for what, column, least, beside in (
            ("inside the horizon, errors of the mean within 2 %", MEAN_WITHIN, 0.9, None),
            ("inside the horizon, errors of a single run within 2 %", RUN_WITHIN, 0.9, None),
            (
                "at 10 times, coverage of 90 % intervals",
                "coverage at 10 times",
                0.8,
                "coverage, plain",
            ),
        ):
            other = f" ({PLAIN} without drift {row[beside]:.0%})" if beside else ""
            found.append(
                {
                    "target": f"{row['kind']}: {what}, at least {least:.0%}",
                    "reached": f"{row[column]:.1%}{other}",
                    "met": bool(row[column] >= least),
                }
            )
    return found


def markdown(results: dict[str, Any]) -> str:
    """Write the report as a page."""
    frame = pd.DataFrame(results["kinds"])
    goals = pd.DataFrame(results["targets"])
    goals["met"] = np.where(goals["met"], "yes", "**no**")
    widths = ["kind", *(name for name in frame if name.startswith("width"))]
    kinds = "\n".join(f"- **{kind}**: {text}." for kind, text in KINDS.items())
    parts = [
        "# Simulated run logs",
        f"Made by `{results['command']}`.",
        f"Logs of {len(PARAMS) * len(TOKENS_PER_PARAM)} runs, {PARAMS[0]:.3g} to {PARAMS[-1]:.3g} "
        f"params at {', '.join(f'{x:g}' for x in TOKENS_PER_PARAM)} tokens per parameter, normal "
        f"residual noise of {SIGMA:.1%}. Runs of {', '.join(f'{r:g}' for r in RATIOS)} times the "
        f"largest compute are forecast at {AHEAD:g} tokens per parameter:",
        kinds,
        table(goals),
        table(frame.drop(columns=widths[1:])),
        f"Inside: forecasts within the {TOLERANCE:.0%} horizon of {AVERAGED}. The horizon comes "
        f"from a fit of the log and a backtest of its {' and '.join(map(str, TRAINED_ON))} "
        "smallest runs. The horizon is about the mean loss, which has no residual noise. Plain "
        "is Chinchilla's law without drift.",
        "Width of the 90 % interval of a single new run over that of the plain law, median over "
        "logs:",
        table(frame[widths]),
        f"{results['minutes']:.0f} minutes on one core. {results['machine']}.",
    ]
    return "\n\n".join(parts) + "\n"


def main(
    logs: Annotated[int, typer.Option(help="Logs of each kind.")] = 100,
    keep: Annotated[
        Path | None, typer.Option(help="Keep each log's forecasts here, and start from them.")
    ] = None,
) -> None:
    """Forecast beyond simulated run logs whose truth is known."""
    parts, seconds = [], 0.0
    for seed in range(logs):
        for kind in KINDS:
            make = partial(timed, partial(evaluate, kind, seed))
            rows, took = kept(keep and keep / f"{kind} {seed}.pkl", make)
            parts.append(rows)
            seconds += took
        print(f"{seed + 1} of {logs} of each kind, {seconds / 60:.1f} min", file=sys.stderr)
    kinds = summary(pd.concat(parts, ignore_index=True))
    results = {
        "command": f"python benchmarks/simulated_logs.py --logs {logs}",
        "machine": machine(),
        "minutes": seconds / 60,
        "targets": targets(kinds),
        "kinds": kinds,
    }
    write("simulated_logs", results, markdown(results))


if __name__ == "__main__":
    typer.run(main)
