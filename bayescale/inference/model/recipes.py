"""Recipes that share a law in a PyMC model: their differences and drifts, sampled jointly."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.linalg import cholesky

from bayescale.cards import ModelCard, RecipeColumns, recipe_columns
from bayescale.drift import TILT
from bayescale.inference.model.drift_steps import noise_variance
from bayescale.inference.model.transforms import ConditionalWhitening, standard_steps
from bayescale.inference.model.variables import variable
from bayescale.runs import Runs


def recipe_data(runs: Runs, card: ModelCard, weights: np.ndarray) -> dict[str, Any]:
    """Return the columns of all fields at the runs, their products with weights, and the sizes."""
    columns = recipe_columns(card, runs)
    every = columns.matrix()
    return {
        "field_columns": every,
        "drift_overlap": every.T * weights @ every,
        "members": columns.size,
        "n_members": np.bincount(columns.size).astype(float),
    }


def field_of_recipes(
    card: ModelCard, runs: Runs, residual: Any, known: dict[str, Any], data: dict[str, Any]
) -> Any:
    """Sample all fields at the runs, given the residuals of the law."""
    assert card.drift is not None
    assert card.recipes is not None
    columns, about = recipe_columns(card, runs), card.recipes
    sizes = {n: variable(n, d, data) for n, d in card.drift.parameters.items()}
    own, scale = (variable(n, about.parameters[n], data) for n in ("drift_own", "drift_difference"))
    shared, apart = shares_of_drift(own, pt)
    across = f"drift_{card.drift.along[1]}"
    walks = {n: sizes[across if n == TILT else f"drift_{n}"] for n in columns.shared}
    differs = np.array([about.level, about.compute, about.tokens_per_param]) / np.sqrt(2)
    each = [shared * q * np.ones(columns.shared[n].shape[1]) for n, q in walks.items()]
    of_one = [apart * q * np.ones(columns.own[n].shape[1]) for n, q in walks.items()]
    n_recipes = len(columns.names)
    sd: Any = pt.concatenate([*each, *of_one * n_recipes, *[scale * differs] * n_recipes])
    variance, every = noise_variance(known, data), data["field_columns"]
    pull = sd * pt.dot(every.T, data["drift_weights"] * residual) / variance
    precision = pt.eye(sd.shape[0]) + sd[:, None] * data["drift_overlap"] * sd / variance
    steps = standard_steps(
        "drift_steps",
        ConditionalWhitening(),
        cholesky(precision),
        pull,
        signature="(k,k),(k)->(k)",
        dims="any_step",
    )
    _store(columns, sd * steps)
    return pt.dot(every, sd * steps)


def shares_of_drift(own: Any, xp: Any) -> tuple[Any, Any]:
    """Return standard deviations of shared and own drift, whose squares add up to one."""
    whole = xp.sqrt(1 + own**2 / 2)
    return 1 / whole, own / np.sqrt(2) / whole


def _store(columns: RecipeColumns, values: Any) -> None:
    """Store the parts by name: shared walks, and the walks and the trend of each recipe."""
    n, start = len(columns.names), 0
    for name, basis in columns.shared.items():
        pm.Deterministic(f"drift_walk_{name}", values[start : start + basis.shape[1]], dims="step")
        start += basis.shape[1]
    k = sum(basis.shape[1] for basis in columns.own.values())
    own: Any = values[start : start + n * k].reshape((n, k))
    at = 0
    for name, basis in columns.own.items():
        part = own[:, at : at + basis.shape[1]]
        pm.Deterministic(f"own_walk_{name}", part, dims=("recipe", "own_step"))
        at += basis.shape[1]
    trend: Any = values[start + n * k :].reshape((n, 3))
    pm.Deterministic("trend", trend, dims=("recipe", "trend_part"))
