"""Which recipe is better at a scale, by how much, and which runs would decide it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions.loss_unit import unit_of_log
from bayescale.decisions.versus_answer import Versus
from bayescale.errors import DecisionError
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN
from bayescale.plausible import require_plausible
from bayescale.posterior.recipes import Recipes
from bayescale.results import DEFAULT_CI_PROB
from bayescale.units import as_size, checked_ci_prob

MOST_MULTIPLE = 30.0
"""The largest compute multiplier, and the inverse of the smallest."""

MULTIPLES = np.linspace(-np.log(MOST_MULTIPLE), np.log(MOST_MULTIPLE), 61)

SCALES = 25
"""Number of scales of compute at which recipes are ordered."""

RATIOS = 33
"""Number of splits of a budget that are compared."""

MOST_DRAWS = 2000

SURE = 0.95
"""The probability from which a comparison counts as decided."""

PAIRS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of matched pairs of runs that are considered."""


@dataclass(frozen=True)
class _Target:
    """The size at which recipes are compared."""

    params: float
    tokens: float

    @property
    def flops(self) -> float:
        return FLOP_PER_PARAM_TOKEN * self.params * self.tokens

    @property
    def ratio(self) -> float:
        return self.tokens / self.params


def versus(
    recipes: Recipes,
    *,
    flops: float | str | None = None,
    params: float | str | None = None,
    tokens: float | str | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    allow_unconverged: bool = False,
) -> Versus:
    """Compare recipes at a target scale.

    Parameters
    ----------
    recipes : Recipes
        A posterior from :func:`bayescale.fit_recipes`.
    flops : float or str, optional
        A budget C = 6 N D. Recipes are compared at one split, the geometric mean of the runs'
        tokens per parameter, and each recipe at its own best split within the runs' ratios.
    params, tokens : float or str, optional
        A size for all recipes instead of a budget, in raw counts or as text (``"7B"``).
    ci_prob : float
    allow_unconverged : bool
        Answer although the posterior failed its convergence checks.

    Returns
    -------
    Versus

    Raises
    ------
    DecisionError
        If neither a budget nor a size is given, or both are.
    """
    checked_ci_prob(ci_prob)
    recipes.require_converged(allow_unconverged)
    target = _target(recipes, flops, params, tokens)
    losses = _log_losses(recipes, np.array([target.params]), np.array([target.tokens]))[:, :, 0]
    noise = _thin(recipes.noise(len(recipes.names)))
    own = _at_own_split(recipes, target) if flops is not None else None
    scales = _by_scale(recipes, target)
    return Versus(
        recipes=recipes.names,
        params=target.params,
        tokens=target.tokens,
        log_loss=losses,
        log_loss_new=losses + noise,
        log_loss_own_split=own,
        multiplier=_multipliers(recipes, target, losses),
        scales=scales,
        order=_log_losses(recipes, *_sizes(scales, target.ratio)),
        largest_run=float(_flops(recipes).max()),
        ratios=_ratio_range(recipes),
        decide=_what_would_decide(recipes, target, losses),
        unit=unit_of_log(recipes.runs.conventions),
        ci_prob=ci_prob,
        passed=bool(recipes.diagnostics["passed"]),
    )


def _target(recipes: Recipes, flops: Any, params: Any, tokens: Any) -> _Target:
    asked = {"flops": flops, "params": params, "tokens": tokens}
    known = recipes.runs.frame
    c, n, d = (as_size(size, name) for name, size in asked.items())
    for name, size in zip(asked, (c, n, d), strict=True):
        require_plausible(size, name, known=known.get(name))
    if (c is None) == (n is None or d is None) or (c is not None and (n or d)):
        raise DecisionError(
            "give the scale at which recipes are compared: `flops=` for a budget, or `params=` and "
            "`tokens=`"
        )
    if c is None:
        assert isinstance(n, float)
        assert isinstance(d, float)
        return _Target(n, d)
    ratio = float(np.exp(np.log(recipes.runs["tokens"] / recipes.runs["params"]).mean()))
    n = float(np.sqrt(c / (FLOP_PER_PARAM_TOKEN * ratio)))
    return _Target(n, n * ratio)


def _flops(recipes: Recipes) -> np.ndarray:
    return FLOP_PER_PARAM_TOKEN * recipes.runs["params"] * recipes.runs["tokens"]


def _ratio_range(recipes: Recipes) -> tuple[float, float]:
    ratio = recipes.runs["tokens"] / recipes.runs["params"]
    return float(ratio.min()), float(ratio.max())


def _log_losses(recipes: Recipes, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return log losses, shape (recipe, draw, point)."""
    inputs = {
        name: xr.DataArray(np.asarray(x, dtype=float), dims="point")
        for name, x in (("params", params), ("tokens", tokens))
    }
    found = recipes.log_loss(inputs).transpose("recipe", "chain", "draw", "point").values
    return _thin(found)


def _thin(values: np.ndarray) -> np.ndarray:
    """Return draws with the chains joined, at most MOST_DRAWS of them, evenly spaced."""
    flat = values.reshape(values.shape[0], -1, *values.shape[3:])
    return flat[:, :: -(-flat.shape[1] // MOST_DRAWS)]


def _sizes(flops: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    params = np.sqrt(flops / (FLOP_PER_PARAM_TOKEN * ratio))
    return params, params * ratio


def _at_own_split(recipes: Recipes, target: _Target) -> np.ndarray:
    """Return each recipe's log loss at its split of least expected loss, shape (recipe, draw)."""
    ratios = np.geomspace(*_ratio_range(recipes), RATIOS)
    params = np.sqrt(target.flops / (FLOP_PER_PARAM_TOKEN * ratios))
    found = _log_losses(recipes, params, params * ratios)
    best = found.mean(axis=1).argmin(axis=1)
    return np.stack([each[:, i] for each, i in zip(found, best, strict=True)])


def _by_scale(recipes: Recipes, target: _Target) -> np.ndarray:
    """Return scales of compute from the smallest run to the target or the largest run."""
    compute = _flops(recipes)
    return np.geomspace(compute.min(), max(target.flops, float(compute.max())), SCALES)


def _multipliers(recipes: Recipes, target: _Target, losses: np.ndarray) -> np.ndarray:
    """Return the multiple of compute that the second recipe needs to reach the first one's loss.

    Returns
    -------
    numpy.ndarray, shape (recipe, recipe, draw)
        Infinite if no factor up to the largest reaches the loss, and zero if the smallest does.
    """
    flops = target.flops * np.exp(MULTIPLES)
    curves = _log_losses(recipes, *_sizes(flops, target.ratio))
    n, draws = losses.shape
    found = np.ones((n, n, draws))
    for i in range(n):
        for j in range(n):
            if i != j:
                found[i, j] = _inverted(curves[j], losses[i])
    return found


def _inverted(curves: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the factor of compute at which each curve, (draw, factor), falls to its level."""
    falling = np.minimum.accumulate(curves, axis=1)
    reached = falling <= levels[:, None]
    i = reached.argmax(axis=1)
    rows = np.arange(len(levels))
    j = np.maximum(i - 1, 0)
    high, low = falling[rows, j], falling[rows, i]
    share = np.where(high > low, (high - levels) / np.where(high > low, high - low, 1.0), 0.0)
    log_factor = MULTIPLES[j] + share * (MULTIPLES[i] - MULTIPLES[j])
    factor = np.exp(np.where(i == 0, -np.inf, log_factor))
    return np.where(reached.any(axis=1), factor, np.inf)


def _what_would_decide(recipes: Recipes, target: _Target, losses: np.ndarray) -> pd.DataFrame:
    """Return how many matched pairs of runs would decide between the two best recipes.

    A pair's difference is taken to be normal; its covariance with the difference at the target is
    that of the draws.
    """
    compute = _flops(recipes)
    sizes = np.array([compute.max() / 3, compute.max(), 3 * compute.max(), 10 * compute.max()])
    sizes = sizes[sizes <= target.flops * 1.001] if (sizes <= target.flops).any() else sizes[:2]
    order = losses.mean(axis=1).argsort()
    first, second = order[0], order[1]
    goal = losses[first] - losses[second]
    there = _log_losses(recipes, *_sizes(sizes, target.ratio))
    differences = there[first] - there[second]
    noise = 2 * float((recipes.draws["sigma"] ** 2).mean()) * (1 - _paired(recipes))
    rows = []
    for k, size in enumerate(sizes):
        covariance = np.cov(goal, differences[:, k])
        row: dict[str, Any] = {"flops": size, "pairs": None, "p_expected": np.nan}
        for pairs in PAIRS:
            gained = covariance[0, 1] ** 2 / (covariance[1, 1] + noise / pairs)
            p = _expected_certainty(float(goal.mean()), covariance[0, 0], gained)
            row["p_expected"] = p
            if p >= SURE:
                row["pairs"] = pairs
                break
        rows.append(row)
    return pd.DataFrame(rows)


def _paired(recipes: Recipes) -> float:
    assert recipes.card.recipes is not None
    return recipes.card.recipes.paired


def _expected_certainty(mean: float, variance: float, gained: float) -> float:
    """Return the expected probability of the better side once this variance is explained."""
    from scipy.special import ndtr

    rest = max(variance - gained, 1e-300)
    z = np.linspace(-4, 4, 161)
    weight = np.exp(-(z**2) / 2)
    later = mean + np.sqrt(gained) * z
    return float((ndtr(np.abs(later) / np.sqrt(rest)) * weight).sum() / weight.sum())
