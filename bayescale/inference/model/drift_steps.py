"""Drift in a PyMC model: the steps of its walk at the runs, sampled nearly independent."""

from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.linalg import cholesky

from bayescale.cards import ModelCard
from bayescale.drift import STEPS
from bayescale.inference.model.transforms import (
    ConditionalWhitening,
    DiagonalConditionalWhitening,
    standard_steps,
)
from bayescale.inference.model.variables import variable


def drift_at_runs(
    card: ModelCard, left: Any, known: dict[str, Any], data: dict[str, Any], pooled: Any = None
) -> Any:
    """The law's error on log loss at the runs, by what it and any families leave of them."""
    if card.drift is None:
        return 0.0
    sizes = {name.removeprefix("drift_"): variable(name, size, data)
             for name, size in card.drift.parameters.items()}  # fmt: skip
    scatter = noise_variance(known, data)
    if "drift_turn" in data:
        return _drift_along_one(*next(iter(sizes.items())), left / scatter, scatter, data)
    n = 2 * STEPS[card.drift.walk]
    basis: Any = pt.concatenate([data[f"drift_basis_{axis}"] for axis in sizes], axis=1)
    each = pt.repeat(pt.stack(list(sizes.values())), n)
    overlap, pull = data["drift_overlap"], pt.dot(basis.T, left)
    if pooled is not None:
        absorbed = pooled.absorbed(basis)
        overlap, pull = overlap - absorbed[0], pull - absorbed[1]
    precision = pt.eye(n * len(sizes)) + each[:, None] * overlap * each / scatter
    steps = standard_steps(
        "drift_steps", ConditionalWhitening(), cholesky(precision), each * pull / scatter,
        signature="(k,k),(k)->(k)", dims="any_step",
    )  # fmt: skip
    for i, (axis, q) in enumerate(sizes.items()):
        own = q * steps[i * n : (i + 1) * n]
        pm.Deterministic(f"drift_walk_{axis}", own, dims="step")
    return pt.dot(basis, each * steps)


def noise_variance(known: dict[str, Any], data: dict[str, Any]) -> Any:
    """What a run tells of its mean, as the variance of a normal one."""
    variance = known["sigma"] ** 2
    if "relative_se" in data:
        variance = variance + pt.mean(data["relative_se"] ** 2)
    return variance * (known["nu"] + 3) / (known["nu"] + 1) if "nu" in known else variance


def _drift_along_one(axis: str, q: Any, left: Any, scatter: Any, data: dict[str, Any]) -> Any:
    """The same along one axis: turned, its steps are independent given everything else."""
    basis = data[f"drift_basis_{axis}"]
    pull = q * (basis * left[:, None]).sum(0)
    root = pt.sqrt(1 + q**2 * data["drift_overlap"] / scatter)
    turned = standard_steps(
        "drift_steps", DiagonalConditionalWhitening(), root, pull,
        signature="(k),(k)->(k)", dims="any_step",
    )  # fmt: skip
    walk = (data["drift_turn"] * (q * turned)).sum(1)
    pm.Deterministic(f"drift_walk_{axis}", walk, dims="step")
    return (basis * (q * turned)).sum(1)
