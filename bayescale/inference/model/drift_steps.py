"""Drift in a PyMC model: the steps of its walk, sampled in nearly independent coordinates."""

from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.linalg import cholesky

from bayescale.cards import ModelCard
from bayescale.drift import STEPS, TILT
from bayescale.inference.model.families import FamilySteps
from bayescale.inference.model.transforms import (
    ConditionalWhitening,
    DiagonalConditionalWhitening,
    standard_steps,
)
from bayescale.inference.model.variables import variable


def drift_at_runs(
    card: ModelCard,
    residual: Any,
    known: dict[str, Any],
    data: dict[str, Any],
    families: FamilySteps | None = None,
) -> Any:
    """Sample the drift at the runs, given the law's residuals; return it in log loss, dims run."""
    if card.drift is None:
        return 0.0
    sizes = {
        name.removeprefix("drift_"): variable(name, size, data)
        for name, size in card.drift.parameters.items()
    }
    variance, weighted = noise_variance(known, data), data["drift_weights"] * residual
    if "drift_turn" in data:
        return _drift_along_one(*next(iter(sizes.items())), weighted / variance, variance, data)
    by_walk = _by_walk(card, sizes)
    basis: Any = pt.concatenate([data[f"drift_basis_{name}"] for name in by_walk], axis=1)
    overlap, pull = data["drift_overlap"], pt.dot(basis.T, weighted)
    if families is not None:
        explained = families.explained(basis)
        overlap, pull = overlap - explained[0], pull - explained[1]
    return pt.dot(basis, _steps(card, by_walk, overlap, pull, variance))


def drift_of_condensed(
    card: ModelCard, log_loss: Any, known: dict[str, Any], data: dict[str, Any]
) -> Any:
    """Sample the drift's steps, in units of log loss, given the law's log losses at nodes."""
    assert card.drift is not None
    sizes = {
        name.removeprefix("drift_"): variable(name, size, data)
        for name, size in card.drift.parameters.items()
    }
    pull = data["loss_pull"] - pt.dot(data["law_pull"], log_loss)
    overlap, variance = data["drift_overlap"], noise_variance(known, data)
    return _steps(card, _by_walk(card, sizes), overlap, pull, variance)


def _by_walk(card: ModelCard, sizes: dict[str, Any]) -> dict[str, Any]:
    """Return the size of each walk."""
    assert card.drift is not None
    tilt = {} if card.drift.tilt is None else {TILT: sizes[card.drift.along[1]]}
    return sizes | tilt


def _steps(card: ModelCard, by_walk: dict[str, Any], overlap: Any, pull: Any, variance: Any) -> Any:
    """Sample the steps of all walks, times their sizes."""
    assert card.drift is not None
    n = 2 * STEPS[card.drift.walk]
    each = pt.repeat(pt.stack(list(by_walk.values())), n)
    precision = pt.eye(n * len(by_walk)) + each[:, None] * overlap * each / variance
    steps = standard_steps(
        "drift_steps",
        ConditionalWhitening(),
        cholesky(precision),
        each * pull / variance,
        signature="(k,k),(k)->(k)",
        dims="any_step",
    )
    for i, (name, q) in enumerate(by_walk.items()):
        own = q * steps[i * n : (i + 1) * n]
        pm.Deterministic(f"drift_walk_{name}", own, dims="step")
    return each * steps


def noise_variance(known: dict[str, Any], data: dict[str, Any]) -> Any:
    """Return the variance of normal noise that would tell as much about a run's mean."""
    variance = known["sigma"] ** 2
    if "relative_se" in data:
        variance = variance + pt.mean(data["relative_se"] ** 2)
    return variance * (known["nu"] + 3) / (known["nu"] + 1) if "nu" in known else variance


def _drift_along_one(
    axis: str, q: Any, scaled_residual: Any, variance: Any, data: dict[str, Any]
) -> Any:
    """Sample the drift along a single axis, whose rotated steps are conditionally independent."""
    basis = data[f"drift_basis_{axis}"]
    pull = q * (basis * scaled_residual[:, None]).sum(0)
    root = pt.sqrt(1 + q**2 * data["drift_overlap"] / variance)
    rotated = standard_steps(
        "drift_steps",
        DiagonalConditionalWhitening(),
        root,
        pull,
        signature="(k),(k)->(k)",
        dims="any_step",
    )
    walk = (data["drift_turn"] * (q * rotated)).sum(1)
    pm.Deterministic(f"drift_walk_{axis}", walk, dims="step")
    return (basis * (q * rotated)).sum(1)
