"""The PyMC model of the valley of learning rate and batch size: see :mod:`bayescale.tuning`.

The compiled code depends on the number of model sizes in a sweep and not on its data, so sweeps
with as many sizes share it.
"""

from typing import Any, cast

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayescale.tuning import Sweep, TuningCard, excess
from bayescale.tuning.basis import N_DIRECTIONS
from bayescale.tuning.valley import FRONTIER

AWAY = 0.1
"""Distance of a chain's start from the prior mean, in prior standard deviations: at the mean itself
some gradients vanish."""


def valley_data(sweep: Sweep, card: TuningCard) -> dict[str, np.ndarray]:
    """Return the arrays that the model reads from a sweep, by name."""
    n, d = sweep.of_cells
    basis = sweep.basis(card)
    mean, directions = basis.at(n, d)
    noise = float(np.exp(card.priors["cells_level"].mean))
    center, turn = basis.whitened(sweep.log_loss[sweep.cells["best"].to_numpy()], noise)
    lr, batch = sweep.settings
    data = {"log_lr": lr, "log_batch": batch, "log_loss": sweep.log_loss, "cell_index": sweep.cell}
    data |= {"log_params": n, "log_tokens": d, "frontier_mean": mean, "directions": directions}
    data |= {"frontier_center": center, "frontier_turn": turn}
    return {name: np.asarray(x) for name, x in data.items() if x is not None}


def valley_start(sweep: Sweep, card: TuningCard) -> dict[str, np.ndarray | float]:
    """Return where chains start, in the model's own coordinates: at the cells' best runs."""
    best = sweep.cells["best"].to_numpy()
    lr, batch = sweep.settings
    start: dict[str, Any] = {
        "u": sweep.log_loss[best],
        "v": 0.7 * lr[best] + 0.01,
        "k": np.full(len(best), card.priors["curve_lr"].mean),
        "frontier_z": np.full(N_DIRECTIONS, AWAY),
    }
    if batch is not None:
        start["w"] = 0.7 * batch[best] + 0.01
        start["curve_ratio"] = card.priors["curve_batch"].mean - card.priors["curve_lr"].mean
    for name in _names(sweep, card):
        prior = card.priors[name]
        if not (prior.log or prior.half):
            start[name] = prior.mean + AWAY * prior.sd
    return start


def build_valley(sweep: Sweep, card: TuningCard) -> pm.Model:
    """Build the PyMC model of a sweep."""
    start = valley_start(sweep, card)
    directions = np.arange(N_DIRECTIONS)
    coords = {"cell": np.arange(len(sweep.cells))}
    coords |= {"direction": directions, "whitened": directions}
    with pm.Model(coords=coords) as model:
        data: dict[str, Any] = {n: pm.Data(n, x) for n, x in valley_data(sweep, card).items()}
        cell, n, d = data["cell_index"], data["log_params"], data["log_tokens"]
        values = {name: _variable(name, card) for name in _names(sweep, card)}
        z2 = None
        if sweep.batch is not None:
            values["curve_ratio"] = _curve_ratio(values["curve_lr"], card)
            z2 = data["log_batch"] - _of_cells("w", "batch", values, n, d, start)[cell]
        floor = _frontier(data)
        u: Any = pm.Normal("u", floor, values["cells_level"], dims="cell", initval=start["u"])
        z1 = data["log_lr"] - _of_cells("v", "lr", values, n, d, start)[cell]
        curve: Any = values["curve_lr"] + values["curve_params"] * n + values["curve_tokens"] * d
        k: Any = pm.Normal("k", curve, values["cells_curve"], dims="cell", initval=start["k"])
        g = excess(values, k[cell], z1, z2)
        _observe(data["log_loss"] - u[cell] - g, g, values)
    return model


def _names(sweep: Sweep, card: TuningCard) -> list[str]:
    """Return the coefficients of the sweep that are sampled one by one."""
    names = [name for name in card.priors if name not in {*FRONTIER, "curve_batch"}]
    if sweep.batch is not None:
        return names
    of_batch = {"coupling", "turn_lr", "turn_batch"}
    return [name for name in names if "batch" not in name and name not in of_batch]


def _variable(name: str, card: TuningCard) -> Any:
    prior = card.priors[name]
    if prior.half:
        return pm.HalfNormal(name, prior.sd)
    if prior.log:
        return pm.LogNormal(name, prior.mean, prior.sd)
    return pm.Normal(name, prior.mean, prior.sd, initval=prior.mean + AWAY * prior.sd)


def _curve_ratio(curve_lr: Any, card: TuningCard) -> Any:
    """Sample the log ratio of the two curvatures, which runs determine better than either one."""
    of_lr, of_batch = card.priors["curve_lr"], card.priors["curve_batch"]
    start = of_batch.mean - of_lr.mean
    ratio = pm.Normal("curve_ratio", of_batch.mean - curve_lr, of_batch.sd, initval=start)
    pm.Deterministic("curve_batch", curve_lr + ratio)
    return ratio


def _of_cells(
    name: str, what: str, values: dict[str, Any], n: Any, d: Any, start: dict[str, Any]
) -> Any:
    """Sample the log of each cell's best setting, normal about the power law of the settings."""
    law = values[f"{what}_0"] + values[f"{what}_params"] * n + values[f"{what}_tokens"] * d
    return pm.Normal(name, law, values[f"cells_{what}"], dims="cell", initval=start[name])


def _frontier(data: dict[str, Any]) -> Any:
    """Sample the frontier at the cells, in coordinates that are nearly independent a posteriori."""
    z = pm.Flat("frontier_z", dims="whitened", initval=np.full(N_DIRECTIONS, AWAY))
    moved: Any = data["frontier_center"] + pt.dot(data["frontier_turn"], z)
    moved = pm.Deterministic("frontier", moved, dims="direction")
    pm.Potential("frontier_prior", -(moved**2).sum() / 2)
    return data["frontier_mean"] + pt.dot(moved, data["directions"])


def _observe(residual: Any, g: Any, values: dict[str, Any]) -> None:
    """Observe log losses: a Student-t of two scales that grow with the excess."""
    nu, above = values["noise_dof"], cast(Any, pt.exp(values["noise_skew"]))
    scale: Any = pt.sqrt(values["noise"] ** 2 + (values["noise_excess"] * g) ** 2)
    side: Any = pt.where(residual > 0, above, 1 / above)
    t2 = (residual / (scale * side)) ** 2
    upper, lower = (cast(Any, pt.gammaln(x / 2)) for x in (nu + 1, nu))
    constant: Any = upper - lower - cast(Any, pt.log(nu * np.pi)) / 2
    constant = constant + pt.log(2 / (above + 1 / above))
    density: Any = constant - (nu + 1) / 2 * pt.log1p(t2 / nu) - pt.log(scale)
    pm.Potential("log_likelihood", density.sum())
