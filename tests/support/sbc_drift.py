"""Simulation-based calibration of forecasts and splits, under a card's drift in two dimensions.

The drift of a simulated world is drawn from the exact covariance of its continuous walks, by
Cholesky's decomposition, and not from the steps that the model has. Ranked are the mean loss at 10
and 30 times the largest run, at both sides of the runs' tokens per parameter, among the runs'
compute and at 10 times it, how the effect of the ratio changes from the one to the other, and the
params of the best split at 30 times.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import ModelCard, parse_card
from bayescale.inference.fit import refit
from bayescale.posterior import Posterior, View
from bayescale.runs import Runs, read_runs
from bayescale.splits import Constraints, best_split, losses_of, searched_range
from support.sbc import THINNED_DRAWS

SIZES, RATIOS = np.geomspace(5e7, 2e9, 6), np.geomspace(5.0, 100.0, 5)
TIMES, BEYOND, LINE = (10.0, 30.0), 1.5, 241
"""Compute in multiples of the largest run, e-folds beyond the runs' ratios, splits of a budget."""

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
SplitView = Callable[[View], View]


def clean(card: ModelCard) -> ModelCard:
    """The card for runs that are cleaner than most, so that drift is what is not known."""
    text = card.text.replace("prior = { low = 0.002, high = 0.05 }", "prior = { low = 0.0005, "
                             "high = 0.003 }", 1)  # fmt: skip
    assert text != card.text
    return parse_card(text)


def without_tilt(card: ModelCard) -> ModelCard:
    """The card whose slope across tokens per parameter stays as compute grows."""
    text = card.text.replace("tilt = 0.25\n", "", 1)
    assert text != card.text
    return parse_card(text)


# a world


def fading_slope(s: np.ndarray, t: np.ndarray, over: float) -> np.ndarray:
    """Covariance, at distances s and t, of the integral of a slope whose changes fade."""
    s, t = np.minimum(s, t), np.maximum(s, t)
    short, long = np.exp(-s / over), np.exp(-t / over)
    apart, together = np.exp(-(t - s) / over), np.exp(-(t + s) / over)
    fading = over * (1 - short + apart - long) - over / 2 * (apart - together)
    return over**2 * (s - fading)


def walk(at: np.ndarray, kernel: Kernel, rng: np.random.Generator) -> np.ndarray:
    """A walk with this covariance away from zero, on each side apart, at any places."""
    places, index = np.unique(at, return_inverse=True)
    values = np.zeros(len(places))
    for side in (-1, 1):
        there = side * places > 0
        if there.any():
            away = abs(places[there])
            cov = kernel(away[:, None], away)
            cov += 1e-10 * cov.diagonal().max() * np.eye(len(away))
            values[there] = np.linalg.cholesky(cov) @ rng.standard_normal(len(away))
    return values[index]


def world(card: ModelCard, truth: dict[str, float], seed: int) -> tuple[Runs, dict[str, float]]:
    """Runs of a truth with its drift, and the true values of what is ranked."""
    rng, drift = np.random.default_rng([seed, 9]), card.drift
    assert drift is not None
    assert drift.fades_over is not None
    n = np.repeat(SIZES, len(RATIOS))
    d = n * np.tile(RATIOS, len(SIZES))
    n_runs, places = len(n), list(targets(n, d).values())
    budget = TIMES[-1] * (6 * n * d).max()
    ratio = np.exp(np.linspace(*np.log(line_ends(d / n)), LINE))
    line_n = np.sqrt(budget / 6 / ratio)
    every_n = np.concatenate([n, [a for a, _ in places], line_n])
    every_d = np.concatenate([d, [b for _, b in places], ratio * line_n])
    c, x = np.log(6 * every_n * every_d), np.log(every_d / every_n)
    c, x = c - c[:n_runs].mean(), x - x[:n_runs].mean()
    slope = partial(fading_slope, over=drift.fades_over)
    along, across = truth["drift_flops"], truth["drift_tokens_per_param"]
    delta = along * walk(c, slope, rng) + across * walk(x, slope, rng)
    if drift.tilt is not None:
        delta += drift.tilt * across * x * walk(c, np.minimum, rng)
    law = {name: truth[name] for name in card.law.coefficients}
    mean = card.law.loss(every_n, every_d, **law) * np.exp(delta)
    single = mean[:n_runs] * np.exp(truth["sigma"] * rng.standard_t(truth["nu"], n_runs))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": single})
    table = table.assign(run_id=[f"run {i}" for i in range(n_runs)])
    known = with_turn(dict(zip(targets(n, d), mean[n_runs:], strict=False)))
    best = line_n[mean[n_runs + len(places) :].argmin()]
    return read_runs(table, units={"loss": "nats"}), {**known, "best_params": float(best)}


def targets(n: np.ndarray, d: np.ndarray) -> dict[str, tuple[float, float]]:
    """Params and tokens of the forecasts that are ranked."""
    largest, ratio = (6 * n * d).max(), np.exp(np.log(d / n).mean())
    middle = np.exp(np.log(6 * n * d).mean())
    low, high = (d / n).min() * np.exp(-BEYOND), (d / n).max() * np.exp(BEYOND)
    scales = {f"at {times:g}": (times * largest, ratio) for times in TIMES}
    scales["middle"] = middle, ratio
    for place, of_place in (("below", low), ("above", high)):
        scales |= {place: (middle, of_place), f"{place} at 10": (TIMES[0] * largest, of_place)}
    return {k: (np.sqrt(f / 6 / r), np.sqrt(f * r / 6)) for k, (f, r) in scales.items()}


def with_turn(losses: dict[str, Any]) -> dict[str, Any]:
    """Add how the effect of tokens per parameter changes with compute: what the tilt allows for."""
    further, here = losses["below at 10"] / losses["at 10"], losses["below"] / losses["middle"]
    return losses | {"turn": further / here}


def line_ends(ratio: np.ndarray) -> tuple[float, float]:
    """Ends of the splits that are searched."""
    frame = pd.DataFrame({"params": np.ones(len(ratio)), "tokens": ratio})
    low, high = searched_range(Runs(frame=frame, columns={}))
    return float(low), float(high)


# ranks


def answers(fit: Posterior, of_splits: SplitView) -> dict[str, np.ndarray]:
    """Thinned draws of what is ranked."""
    runs, view = fit.runs, fit.drifting
    assert runs is not None
    n, d = runs["params"], runs["tokens"]
    found: dict[str, Any] = {}
    for name, (params, tokens) in targets(n, d).items():
        at = {
            "params": xr.DataArray([params], dims="p"),
            "tokens": xr.DataArray([tokens], dims="p"),
        }
        found[name] = view.loss(at).transpose("chain", "draw", "p").values
    found = with_turn(found)
    limits = Constraints(searched=searched_range(runs))
    budget = np.array([TIMES[-1] * (6 * n * d).max()])
    found["best_params"] = best_split(losses_of(of_splits(view)), budget, limits).params
    every = np.linspace(0, found["best_params"].size - 1, THINNED_DRAWS).astype(int)
    return {name: np.ravel(draws)[every] for name, draws in found.items()}


def ranks_of_worlds(
    card: ModelCard, used: ModelCard, worlds: int, seed: int, of_splits: SplitView = lambda v: v
) -> dict[str, np.ndarray]:
    """Ranks of the truths of worlds of one card, in fits with another one, by quantity."""
    ranks = list(_ranks(card, used, worlds, seed, of_splits))
    return {name: np.array([rank[name] for rank in ranks]) for name in ranks[0]}


def _ranks(
    card: ModelCard, used: ModelCard, worlds: int, seed: int, of_splits: SplitView
) -> Iterator[dict[str, int]]:
    truths, rng = card.draw_prior(4 * worlds, seed), np.random.default_rng(seed)
    done = 0
    for i in range(4 * worlds):
        truth = {name: float(values[i]) for name, values in truths.items()}
        try:
            runs, true = world(card, truth, seed + i)
        except ValueError:  # losses that no log of nats has: the prior is wider than the reader
            continue
        fit = refit(runs, used, seed=seed + i, draws=600, tune=600)
        drawn = answers(fit, of_splits)
        yield {name: _rank(draws, true[name], rng) for name, draws in drawn.items()}
        done += 1
        if done == worlds:
            return


def _rank(draws: np.ndarray, true: float, rng: np.random.Generator) -> int:
    """Rank a truth, by chance among equal draws: best splits at an end of the line are equal."""
    equal = np.isclose(draws, true, rtol=1e-9)
    return int((draws[~equal] < true).sum()) + int(rng.integers(0, equal.sum() + 1))
