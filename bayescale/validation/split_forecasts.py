"""Splits of larger budgets, forecast from smaller runs and compared with measured optima."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.posterior import Posterior
from bayescale.runs import Runs
from bayescale.splits import Constraints, searched_range, solved
from bayescale.validation import scores
from bayescale.validation.approaches import isoflop_groups, parabolas

SPREAD = 0.03
"""Runs of one budget differ by at most this share of compute: a larger spread would tilt the
parabola by the slope of the loss along compute."""

FEWEST_RUNS = 5
"""The fewest runs of a budget for which the minimum of the parabola counts as a measurement."""

MOST_DRAWS = 1000
_POINTS = 97
_SEED = 5


@dataclass(frozen=True, eq=False)
class Optima:
    """Best sizes measured at the budgets of a log, by parabolas in log params.

    Attributes
    ----------
    flops : numpy.ndarray, shape (budget,)
        Budgets from small to large.
    log_params, error : numpy.ndarray, shape (budget,)
        The minimum, and its standard error by the runs' residuals about the parabolas.
    square : numpy.ndarray, shape (budget,)
        Nats lost per squared e-fold of params away from the minimum.
    """

    flops: np.ndarray
    log_params: np.ndarray
    error: np.ndarray
    square: np.ndarray

    def __len__(self) -> int:
        return len(self.flops)

    def above(self, flops: float) -> "Optima":
        """Return the optima of larger budgets."""
        return self.part(self.flops > flops)

    def part(self, which: np.ndarray) -> "Optima":
        """Return some of the optima."""
        return Optima(
            self.flops[which], self.log_params[which], self.error[which], self.square[which]
        )


def measured_optima(runs: Runs) -> Optima:
    """Return the best sizes at all budgets of a log with enough runs around the minimum.

    A budget needs :data:`FEWEST_RUNS` runs within :data:`SPREAD` of one compute, and a parabola
    with its minimum between the sizes tried.
    """
    none = Optima(*(np.empty(0) for _ in range(4)))
    if not {"params", "tokens", "flops"} <= set(runs.frame.columns):
        return none
    groups, _ = isoflop_groups(runs, SPREAD)
    groups = tuple(group for group in groups if len(group.runs) >= FEWEST_RUNS)
    if not groups:
        return none
    found = parabolas(runs, groups, np.random.default_rng(_SEED))
    log_params = found.frontier.log_params
    flops = np.array([np.exp(np.log(runs["flops"][group.runs]).mean()) for group in groups])
    usable = found.inside & np.isfinite(log_params[1:]).all(axis=0)
    errors = np.full(len(groups), np.nan)
    errors[usable] = log_params[1:, usable].std(axis=0)
    optima = Optima(flops, log_params[0], errors, found.coefficients[:, 0])
    return optima.part(usable)


@dataclass(frozen=True, eq=False)
class SplitSample:
    """Losses of splits of larger budgets, draw by draw.

    Attributes
    ----------
    optima : Optima
        The measured optima of the budgets.
    log_params : numpy.ndarray, shape (budget, split)
    losses : numpy.ndarray, shape (draw, budget, split)
    curves : numpy.ndarray, shape (draw, budget, split)
        The losses by which splits are compared for a choice: see :mod:`bayescale.splits.choice`.
    """

    optima: Optima
    log_params: np.ndarray
    losses: np.ndarray
    curves: np.ndarray


def sample_splits(posterior: Posterior, optima: Optima) -> SplitSample:
    """Return losses of splits of these budgets over the searched range, for at most 1,000 draws."""
    assert posterior.runs is not None
    limits = Constraints(searched=searched_range(posterior.runs), count=posterior.runs.flop_count)
    low, high = limits.range(optima.flops)
    params, tokens = limits.split(optima.flops[:, None], np.linspace(low, high, _POINTS, axis=1))
    law = solved(posterior.drifting.thinned(MOST_DRAWS), optima.flops, limits)
    losses = law.losses(params.ravel(), tokens.ravel()).reshape(-1, *params.shape)
    by_budget = zip(law.curves(optima.flops, limits), params, tokens, strict=True)
    curves = np.stack([curve(n, d) for curve, n, d in by_budget], axis=1)
    return SplitSample(optima, np.log(params), losses.astype("float32"), curves.astype("float32"))


def mixed_splits(samples: Sequence[SplitSample], weights: Sequence[float]) -> SplitSample:
    """Return the samples of several laws, mixed by weight."""
    first = samples[0]
    losses = scores.mixed([sample.losses for sample in samples], weights)
    curves = scores.mixed([sample.curves for sample in samples], weights)
    return SplitSample(first.optima, first.log_params, losses, curves)


def scored_splits(law: str, cutoff: float, sample: SplitSample) -> pd.DataFrame:
    """Return scores of the splits of larger budgets by their measured optima, one row per budget.

    Returns
    -------
    pandas.DataFrame
        ``law``, ``cutoff``, ``flops``, ``ratio`` (to the cutoff), ``params`` and ``error`` (the
        measured optimum, and its standard error in logs), ``params_median``, ``params_lower90``,
        ``params_upper90`` (of the forecast optimum, with the measurement's error), ``covered90``,
        ``choice`` (params of least expected loss), ``regret_mean``, ``regret_upper95`` (as
        stated, nats), ``regret`` (realized, by the parabola) and ``exceeded`` (whether that is
        above the stated bound).
    """
    rng = np.random.default_rng(_SEED)
    rows: list[dict[str, Any]] = []
    for i, flops in enumerate(sample.optima.flops):
        log_params, losses = sample.log_params[i], sample.losses[:, i].astype(float)
        best = log_params[losses.argmin(axis=1)]
        at = int(sample.curves[:, i].astype(float).mean(axis=0).argmin())
        given_up = losses[:, at] - losses.min(axis=1)
        measured, error = float(sample.optima.log_params[i]), float(sample.optima.error[i])
        seen = best + error * rng.standard_normal(len(best))
        lower, median, upper = np.quantile(seen, [0.05, 0.5, 0.95])
        regret = float(sample.optima.square[i]) * (log_params[at] - measured) ** 2
        bound = float(np.quantile(given_up, 0.95))
        rows.append(
            {
                "law": law,
                "cutoff": cutoff,
                "flops": flops,
                "ratio": flops / cutoff,
                "params": np.exp(measured),
                "error": error,
                "params_median": np.exp(median),
                "params_lower90": np.exp(lower),
                "params_upper90": np.exp(upper),
                "covered90": lower <= measured <= upper,
                "choice": np.exp(log_params[at]),
                "regret_mean": float(given_up.mean()),
                "regret_upper95": bound,
                "regret": regret,
                "exceeded": regret > bound,
            }
        )
    return pd.DataFrame(rows)


def splits_record(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what a fit stores: ratio, coverage and bound of every split, as plain values."""
    if not len(rows):
        return []
    return [
        {"ratio": float(ratio), "covered": bool(covered), "exceeded": bool(exceeded)}
        for ratio, covered, exceeded in zip(
            rows["ratio"], rows["covered90"], rows["exceeded"], strict=True
        )
    ]
