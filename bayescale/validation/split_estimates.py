"""Estimates of the compute-optimal split: by a law, by parabolas, by an envelope.

Draws are those of the exponents ``a`` and ``b``, and of ``params`` and ``tokens`` at a budget. The
first draw is the estimate; for the posterior this is the split that every command chooses.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import FlopCount
from bayescale.conventions.flop_count import SIX
from bayescale.laws import compute_optimal
from bayescale.posterior import Fit, Posterior, View
from bayescale.results import quantiles
from bayescale.runs import Runs
from bayescale.splits import default_split
from bayescale.validation.approaches import (
    Envelope,
    Frontier,
    Group,
    Parabolas,
    noiseless,
    parabolas,
    take,
)

POSTERIOR, ISOFLOP, ENVELOPE = "posterior", "isoflop", "envelope"
TITLES = {
    POSTERIOR: "posterior",
    ISOFLOP: "approach 2, isoFLOP parabolas",
    ENVELOPE: "approach 1, envelope",
}
QUANTITIES = ("a", "b", "params", "tokens")
BIASES = ("a", "params", "tokens")
ENDS = {"estimate": "", "lower": "_lower", "upper": "_upper"}

_BIAS_DRAWS = 400

Draws = Mapping[str, np.ndarray]
"""Draws by quantity."""


def fit_parabolas(
    runs: Runs, groups: tuple[Group, ...], rng: np.random.Generator
) -> Parabolas | str:
    """Return the parabolas of approach 2, or a sentence on why the log does not allow it."""
    if len(groups) < 2:
        return (
            f"{len(groups)} budget{'' if len(groups) == 1 else 's'} with three sizes or more, and "
            "a power law needs two: runs of one budget are those of like compute, or of one "
            "value in a column isoflop"
        )
    fitted = parabolas(runs, groups, rng)
    inside = int(fitted.inside.sum())
    if inside < 2:
        return (
            f"of {len(groups)} budgets {inside} ha{'s' if inside == 1 else 've'} a minimum between "
            "the sizes tried, and a power law needs two: try smaller and larger models"
        )
    return fitted


def frontier_of(found: Parabolas | Envelope) -> Frontier:
    """Return the points of the power law; for parabolas, the minima between tried sizes."""
    return take(found.frontier, found.inside) if isinstance(found, Parabolas) else found.frontier


def _over_laws(fit: Fit, compute: Callable[[Posterior], np.ndarray]) -> np.ndarray:
    """Return the laws' values (chain, draw, ...) mixed by weight, shape (draw, ...)."""
    values = []
    for member in fit.members:
        found = compute(member)
        coords = {name: np.arange(found.shape[i]) for i, name in enumerate(("chain", "draw"))}
        dims = ("chain", "draw", *(f"dim_{i}" for i in range(found.ndim - 2)))
        values.append(xr.DataArray(found, dims=dims, coords=coords))
    mixed = fit.mix(values).values
    return mixed.reshape(-1, *mixed.shape[2:])


def _log_optima(
    view: View, budgets: np.ndarray, family: str | None, count: FlopCount
) -> np.ndarray:
    """Return the log of the law's best params, shape (chain, draw, budget)."""
    values = {n: draws.values[..., None] for n, draws in view.coefficients(family).items()}
    if count.is_constant:  # the law's own optimum is exact, and for 6 N D
        return np.log(compute_optimal(view.law, budgets * (SIX / count.level), values)[0])
    return np.log(compute_optimal(view.law, budgets, values, tokens=count.tokens)[0])


def law_draws(
    fit: Fit, frontiers: Mapping[str, Frontier], budget: float, family: str | None
) -> Draws:
    """Return the law's draws, with exponents averaged over the budgets of the other approaches."""
    log_flops = np.concatenate([frontier.log_flops[0] for frontier in frontiers.values()])
    low, high = np.exp(np.nanmin(log_flops)), np.exp(np.nanmax(log_flops))
    split = default_split(fit, np.array([low, high, budget]), family)
    best = _by_draw(split.best["params"])
    a = np.log(best[:, 1] / best[:, 0]) / np.log(high / low)
    return _draws(
        np.append(np.median(a), a),
        np.append(split.params[2], best[:, 2]),
        np.append(split.tokens[2], _by_draw(split.best["tokens"])[:, 2]),
    )


def law_optima(fit: Fit, flops: np.ndarray, family: str | None) -> np.ndarray:
    """Return the best params at each budget: the choice, then each draw's, (1 + draw, budget)."""
    split = default_split(fit, flops, family)
    return np.vstack([split.params, _by_draw(split.best["params"])])


def _by_draw(draws: xr.DataArray) -> np.ndarray:
    values = draws.transpose("chain", "draw", "point").values
    return values.reshape(-1, values.shape[-1])


def frontier_draws(frontier: Frontier, budget: float) -> Draws:
    """Return the draws of an approach without a law."""
    params = np.exp(frontier.log_params_at(budget))
    return _draws(frontier.exponent(), params, frontier.count.tokens(budget, params))


def _draws(a: np.ndarray, params: np.ndarray, tokens: np.ndarray) -> Draws:
    return {"a": a, "b": 1 - a, "params": params, "tokens": tokens}


def estimate(values: np.ndarray, ci_prob: float) -> dict[str, float]:
    """Return the estimate, which is the first draw, and the interval of the others."""
    found = finite_quantiles(values[1:], ci_prob)
    return {"estimate": float(values[0]), "lower": found["lower"], "upper": found["upper"]}


def finite_quantiles(values: np.ndarray, ci_prob: float) -> dict[str, float]:
    """Return the median and interval of the finite draws."""
    found = values[np.isfinite(values)]
    return quantiles(found if found.size else np.array([np.nan]), ci_prob)


def parabola_bias(
    fit: Fit,
    runs: Runs,
    groups: tuple[Group, ...],
    fitted: Parabolas,
    budget: float,
    family: str | None,
) -> np.ndarray:
    """Return the errors of parabolas through each draw's own losses on this grid of runs.

    Returns
    -------
    numpy.ndarray, shape (draw, 3 + budget)
        Errors compared with the draw's optimum: of ``a``, of params and tokens at the budget (as
        shares), and of the params at each minimum (as shares).
    """
    scales = {name: xr.DataArray(runs[name], dims="run") for name in ("params", "tokens")}
    count = runs.flop_count

    def compute(member: Posterior) -> np.ndarray:
        thin = member.exact.thinned(_BIAS_DRAWS)
        losses = thin.loss(scales, family).transpose("chain", "draw", "run").values
        found = noiseless(runs, groups, losses.reshape(-1, len(runs)), fitted.frontier.weights)
        minimum = fitted.inside & np.isfinite(found.log_params).all(axis=0)
        used = take(found, minimum if minimum.sum() > 1 else fitted.inside)
        ends = np.array([used.log_flops.min(), used.log_flops.max()])
        fixed = np.exp([*ends, np.log(budget)])
        law = _log_optima(thin, fixed, family, count).reshape(-1, len(fixed))
        here = np.exp(found.log_flops).reshape(*losses.shape[:2], -1)
        minima = found.log_params - _log_optima(thin, here, family, count).reshape(-1, len(groups))
        a = used.exponent() - (law[:, 1] - law[:, 0]) / np.diff(ends)
        off = used.log_params_at(budget) - law[:, 2]
        errors = [a, np.expm1(off), np.expm1(-off), np.expm1(minima)]
        return np.column_stack(errors).reshape(*losses.shape[:2], -1)

    return _over_laws(fit, compute)


def group_frame(
    runs: Runs,
    groups: tuple[Group, ...],
    fitted: Parabolas,
    bias: np.ndarray,
    optima: np.ndarray,
    ci_prob: float,
) -> pd.DataFrame:
    """Return the table of isoFLOP budgets: see :class:`bayescale.CrossCheck`."""
    frontier, rows = fitted.frontier, []
    for i, group in enumerate(groups):
        row: dict[str, Any] = {
            "budget": group.name,
            "flops": float(np.exp(np.log(runs["flops"][group.runs]).mean())),
            "n_runs": len(group.runs),
            "width": float(fitted.width[i]),
            "used": bool(fitted.inside[i]),
        }
        errors = bias[:, len(BIASES) + i]
        known = errors[~np.isnan(errors)]
        quantities = {
            "params": np.exp(frontier.log_params[:, i]),
            "tokens": np.exp(frontier.log_tokens[:, i]),
            "params_posterior": optima[:, i],
            "bias": np.insert(errors, 0, np.median(known) if len(known) else np.nan),
        }
        for name, draws in quantities.items():
            found = estimate(draws, ci_prob)
            row |= {f"{name}{suffix}": found[end] for end, suffix in ENDS.items()}
        row["weight"] = frontier.weights[i] * fitted.inside[i]
        row |= dict(zip(("square", "slope", "constant"), fitted.coefficients[i], strict=True))
        rows.append(row | {"center": fitted.center[i]})
    return pd.DataFrame(rows)


def group_points(runs: Runs, groups: tuple[Group, ...]) -> pd.DataFrame:
    """Return the runs of the isoFLOP budgets."""
    columns = ["run_id", "params", "tokens", "loss"]
    parts = [runs.frame.loc[group.runs, columns].assign(budget=group.name) for group in groups]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
