"""Simulation-based calibration: truths from the prior, data from the law, ranks from the fit.

If prior, likelihood, sampler and every change of coordinates between them agree, a truth's
rank among independent posterior draws is uniform, for each parameter and for any quantity
computed from parameters and data. Talts et al. 2018, arXiv 1804.06788; the log likelihood is
ranked as well because it sees errors that the parameters hide, Modrak et al. 2022, arXiv
2211.02383. Uniformity is judged by the simultaneous band for the ranks' cumulative
distribution of Sailynoja et al. 2022, arXiv 2103.10522.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from bayescale import noise
from bayescale.cards import ModelCard, card_for, drift_bases, input_errors, log_size
from bayescale.inference.compile import compiled_model
from bayescale.inference.diagnostics import check_convergence
from bayescale.inference.schedule import sample
from bayescale.posterior import View
from bayescale.posterior.fitted_runs import densities_of_runs
from bayescale.runs import Runs
from bayescale.simulation import simulate

DATA_SETS = 200
THINNED_DRAWS = 99  # of at least 400 effective ones, so nearly independent
FALSE_ALARM_RATE = 0.001  # of one law, over all of its quantities

LADDER = np.geomspace(2e7, 4e9, 12), 20.0  # params, tokens per parameter
GRID = np.repeat(np.geomspace(5e7, 2e9, 4), 3), np.tile([5.0, 20.0, 80.0], 4)
HARDER = (1, 0.9, 1), (2, 0.95, 2), (4, 0.99, 8)  # times tuning, target acceptance, times draws
EPOCHS, KEPT = np.tile([1.0, 1.0, 4.0, 16.0], 3), np.tile([1.0, 0.5, 0.2], 4)
EXPERTS, VOCABULARY = np.tile([1.0, 8.0, 128.0], 4), np.repeat([4e3, 8e3, 16e3, 64e3], 3)[::-1]
FURTHER = {  # ten times the compute, of the same data; half the highest loss
    "params": 10**0.5, "tokens": 10**0.5, "flops": 10.0, "unique_tokens": 10**0.5,
    "kept_fraction": 1.0, "lm_loss": 0.5, "experts": 2.0, "vocabulary": 2.0, "characters": 10**0.5,
}  # fmt: skip

Simulator = Callable[[ModelCard, Mapping[str, float], int], Runs]


# ranks


def design(card: ModelCard) -> dict[str, np.ndarray]:
    """Scales of twelve runs: a ladder of sizes, or a grid for a law of several inputs."""
    params, ratio = GRID if len(card.law.inputs) > 1 else LADDER
    scales = {"params": params, "tokens": ratio * params, "flops": 6 * ratio * params**2}
    scales |= {"unique_tokens": scales["tokens"] / EPOCHS, "kept_fraction": KEPT}
    scales["lm_loss"] = np.linspace(4.5, 2.8, 12)
    scales |= {"experts": EXPERTS, "vocabulary": VOCABULARY, "characters": 4 * scales["tokens"]}
    return {name: scales[name] for name in card.law.inputs}


def settled(card: ModelCard) -> ModelCard:
    """The card with priors that no data can move: those relative to runs are made absolute."""
    scales = design(card)
    frame = pd.DataFrame({**scales, "loss": 2.5}).assign(run_id="typical")
    return card.anchored(Runs(frame=frame, columns={}))


def simulated_runs(card: ModelCard, truth: Mapping[str, float], seed: int) -> Runs:
    """Twelve runs of this truth, and of a walk of its drift where the truth has one."""
    frame = simulate(
        card.law,
        {name: truth[name] for name in card.law.coefficients},
        design(card),
        sigma=truth["sigma"],
        nu=truth.get("nu"),
        seed=seed,
    )
    runs = Runs(frame=frame, columns=dict.fromkeys(frame.columns, "simulated"))
    rng = np.random.default_rng([seed, 1])
    drift = np.zeros(len(runs))
    for axis, basis in drift_bases(card, runs).items():
        drift += basis @ (truth[f"drift_{axis}"] * rng.standard_normal(basis.shape[1]))
    return replace(runs, frame=frame.assign(loss=frame["loss"] * np.exp(drift)), _arrays={})


def imperfect_runs(card: ModelCard, truth: Mapping[str, float], seed: int) -> Runs:
    """Runs of this truth as the card's noise has them, two checkpoints to a run where shared."""
    rng, scales, n = np.random.default_rng([seed, 2]), design(card), 12
    frame = pd.DataFrame(scales).assign(run_id=[f"run{i:02}" for i in range(n)], loss=1.0)
    if card.noise.shared is not None:
        frame["run"] = [f"of {i // 2}" for i in range(n)]
    stated = Runs(frame=frame, columns=dict.fromkeys(frame.columns, "simulated"))
    errors = input_errors(card, stated)
    reached = {
        k: x * np.exp(errors.get(k, 0.0) * rng.standard_normal(n)) for k, x in scales.items()
    }
    coefficients = {name: truth[name] for name in card.law.coefficients}
    size = log_size(scales)
    sigma = truth["sigma"] * np.exp(-truth.get("shrink", 0.0) * (size - size.mean()))
    if card.noise.shared is not None:
        share, nu = truth["shared"], truth["nu"]
        own, common = rng.standard_normal(n), np.repeat(rng.standard_normal(n // 2), 2)
        width = np.sqrt(np.repeat(rng.chisquare(nu, n // 2), 2) / nu)
        deviation = sigma * (np.sqrt(share) * common + np.sqrt(1 - share) * own) / width
    else:
        excess = truth["excess"] / sigma if "excess" in truth else None
        deviation = sigma * noise.draw(rng, (n,), truth.get("nu"), excess)
    loss = card.law.loss(**reached, **coefficients) * np.exp(deviation)
    if card.noise.rounding is not None:
        step = card.noise.rounding.step
        loss = np.maximum(np.round(loss / step), 1) * step
    return replace(stated, frame=frame.assign(loss=loss), _arrays={})


def log_likelihood(card: ModelCard, runs: Runs, values: Mapping[str, Any]) -> np.ndarray:
    """Sum over all runs, for parameters of any shape."""
    flat = {n: (("chain", "draw"), np.reshape(values[n], (1, -1))) for n in card.parameters}
    coords = {"chain": [0], "draw": np.arange(flat["sigma"][1].size)}
    view = View(xr.Dataset(flat, coords=coords), card, runs, seed=0)
    by_run, *_ = densities_of_runs(view)
    return by_run.sum("run").values.reshape(np.shape(values["sigma"]))


def ranked_quantities(card: ModelCard, runs: Runs, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters; without drift, also a loss far out and the runs' log likelihood."""
    law = card.law
    parameters = {name: np.asarray(values[name]) for name in card.parameters}
    if card.drift is not None:
        return parameters
    larger = {name: FURTHER[name] * runs[name].max() for name in law.inputs}
    coefficients = {name: parameters[name] for name in law.coefficients}
    return parameters | {
        "larger_loss": law.loss(**larger, **coefficients),
        "log_likelihood": log_likelihood(card, runs, parameters),
    }


def posterior_quantities(card: ModelCard, runs: Runs, seed: int) -> dict[str, np.ndarray]:
    """Thinned draws of the ranked quantities, sampled again where the convergence checks fail."""
    sampler, _ = compiled_model(runs, card)
    for times_tune, target_accept, thin in HARDER:
        tree = sample(
            sampler, runs, card, draws=1000, tune=1000 * times_tune, chains=4, cores=None,
            seed=seed, target_accept=target_accept, thin=thin,
        )  # fmt: skip
        posterior = tree["posterior"].to_dataset()
        draws = ranked_quantities(card, runs, posterior)
        gated = posterior.assign({name: (("chain", "draw"), x) for name, x in draws.items()})
        if check_convergence(xr.DataTree.from_dict({**tree.children, "posterior": gated}))[
            "passed"
        ]:
            break
    every = np.linspace(0, draws["sigma"].size - 1, THINNED_DRAWS).astype(int)
    return {name: x.ravel()[every] for name, x in draws.items()}


def calibration_ranks(
    card: ModelCard, seed: int, simulator: Simulator = simulated_runs
) -> dict[str, np.ndarray]:
    """Ranks of the truths of all data sets among their posteriors' draws, by quantity."""
    card = settled(card)
    truths = card.draw_prior(DATA_SETS, seed)
    ranks = []
    for i in range(DATA_SETS):
        truth = {name: values[i] for name, values in truths.items()}
        runs = simulator(card, truth, seed + 1 + i)
        used = card_for(runs, card)
        drawn = posterior_quantities(used, runs, seed + 1 + i)
        true = ranked_quantities(used, runs, truth)
        ranks.append({name: (draws < true[name]).sum() for name, draws in drawn.items()})
    return {name: np.array([rank[name] for rank in ranks]) for name in ranks[0]}


# uniformity


def uniformity_p_value(ranks: np.ndarray) -> float:
    """How often uniform ranks stray at least as far, at their most extreme place.

    Exact. Counts at or below each rank are binomial, and how extreme the worst of them is
    in its two tails is the statistic. Its distribution follows by stepping from rank to rank:
    numbers of uniform ranks are independent Poisson numbers, given their total.
    """
    n = len(ranks)
    counts = np.bincount(ranks, minlength=THINNED_DRAWS + 1).cumsum()[:-1]
    tail, step = _tails_and_step(n)
    worst = tail[np.arange(THINNED_DRAWS), counts].min()
    inside = np.zeros(n + 1)
    inside[0] = 1.0
    for allowed in tail > worst * (1 + 1e-9):
        inside = (inside @ step) * allowed
    return 1.0 - (inside @ step)[n] / stats.poisson.pmf(n, n)


@cache
def _tails_and_step(n: int) -> tuple[np.ndarray, np.ndarray]:
    share = np.arange(1, THINNED_DRAWS + 1)[:, None] / (THINNED_DRAWS + 1)
    count = np.arange(n + 1)
    tail = np.minimum(stats.binom.cdf(count, n, share), stats.binom.sf(count - 1, n, share))
    return tail, stats.poisson.pmf(count - count[:, None], n / (THINNED_DRAWS + 1))


def miscalibrated(ranks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Quantities whose ranks are not uniform, with their p-values: none, but for false alarms."""
    p_values = {name: uniformity_p_value(of_one) for name, of_one in ranks.items()}
    return {name: p for name, p in p_values.items() if p < FALSE_ALARM_RATE / len(ranks)}
