"""The posterior of the valley of learning rate and batch size: see :mod:`bayescale.tuning`."""

import time
from typing import Any, cast

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from bayescale.inference.diagnostics import check_convergence
from bayescale.inference.fit import made_with
from bayescale.inference.nuts import nutpie, sampling
from bayescale.progress import progress
from bayescale.tuning import (
    Sweep,
    Tuning,
    TuningCard,
    excess,
    load_tuning_card,
    read_sweep,
)
from bayescale.tuning.basis import N_DIRECTIONS
from bayescale.tuning.valley import FRONTIER

_AWAY = 0.1  # start this many prior deviations off the mean, where no gradient vanishes
TRIES = ((1, 0.85, 1), (2, 0.95, 2))
"""Attempts in order: factor on tuning, target acceptance, factor on draws (thinned back)."""


def fit_tuning(
    source: Any,
    *,
    seed: int = 0,
    draws: int = 500,
    tune: int = 400,
    chains: int = 4,
    cores: int | None = None,
    show_progress: bool = False,
) -> Tuning:
    """Sample the posterior of learning rate and batch size of a sweep.

    Parameters
    ----------
    source : Runs, pandas.DataFrame, path or Sweep
        Runs with params, tokens, lr, and batch_size where the log has it.
    seed, draws, tune, chains, cores, show_progress
        As for :func:`bayescale.fit`.

    Returns
    -------
    Tuning
        Whether or not it passed the convergence checks.

    Raises
    ------
    RunLogError
        If the log is no sweep.
    """
    sweep = source if isinstance(source, Sweep) else read_sweep(source)
    card, started = load_tuning_card(), time.perf_counter()
    with progress(show_progress) as stage:
        stage("compiling the valley")
        compiled: Any = nutpie.compile_pymc_model(build_valley(sweep, card), jitter_rvs=set())
        compiling = time.perf_counter() - started
        tree, diagnostics = xr.DataTree(), {}
        for attempt, (times, accept, thin) in enumerate(TRIES, 1):
            done = stage(f"sampling {chains} chains", total=chains * (draws * thin + tune * times))
            how = {"draws": draws * thin, "tune": tune * times, "chains": chains, "cores": cores}
            how |= {"seed": seed, "target_accept": accept, "done": done}
            with sampling(compiled, **how) as wait:
                tree = wait()
            tree = _thinned(tree, thin)
            diagnostics = check_convergence(tree) | {"attempts": attempt}
            if diagnostics["passed"]:
                break
    total = time.perf_counter() - started
    seconds = {"compile": compiling, "sample": total - compiling, "total": total}
    made = made_with(seed=seed, draws=draws, tune=tune, chains=chains, families=False)
    about = {"runs": sweep.runs.source, "runs_sha256": sweep.runs.digest, "card": card.name, **made}
    record = {"diagnostics": diagnostics, "provenance": about, "seconds": seconds}
    return Tuning(tree["posterior"].to_dataset(), sweep, record)


def _thinned(tree: xr.DataTree, thin: int) -> xr.DataTree:
    each = slice(thin - 1, None, thin)
    groups = {name: group.to_dataset().isel(draw=each) for name, group in tree.children.items()}
    groups["posterior"] = groups["posterior"].drop_vars("frontier_z", errors="ignore")
    return xr.DataTree.from_dict(groups)


def build_valley(sweep: Sweep, card: TuningCard) -> pm.Model:
    """Build the PyMC model of a sweep."""
    n, d = sweep.of_cells
    cell, (lr, batch) = sweep.cell, sweep.settings
    best = sweep.cells["best"].to_numpy()
    lowest = sweep.log_loss[best]
    coords = {"cell": np.arange(len(n)), "direction": np.arange(N_DIRECTIONS)}
    with pm.Model(coords=coords) as model:
        values = {name: _variable(name, card) for name in _names(sweep, card)}
        if batch is not None:
            values["curve_ratio"] = _curve_ratio(values["curve_lr"], card)
        floor = _frontier(sweep, card)
        u: Any = pm.Normal("u", floor, values["cells_level"], dims="cell", initval=lowest)
        v = _best_of_cells("v", "lr", values, n, d, lr[best])
        w: Any = None if batch is None else _best_of_cells("w", "batch", values, n, d, batch[best])
        curve: Any = values["curve_lr"] + values["curve_params"] * n + values["curve_tokens"] * d
        start = np.full(len(n), card.priors["curve_lr"].mean)
        k: Any = pm.Normal("k", curve, values["cells_curve"], dims="cell", initval=start)
        z2 = None if batch is None else batch - w[cell]
        g = excess(values, k[cell], lr - v[cell], z2, pt)
        _observe(sweep.log_loss - u[cell] - g, g, values)
    return model


def _names(sweep: Sweep, card: TuningCard) -> list[str]:
    """Return the coefficients that a sweep needs and that are sampled one by one."""
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
    return pm.Normal(name, prior.mean, prior.sd, initval=prior.mean + _AWAY * prior.sd)


def _curve_ratio(curve_lr: Any, card: TuningCard) -> Any:
    """Sample the ratio of the two curvatures, which runs determine better than either."""
    of_lr, of_batch = card.priors["curve_lr"], card.priors["curve_batch"]
    start = of_batch.mean - of_lr.mean
    ratio = pm.Normal("curve_ratio", of_batch.mean - curve_lr, of_batch.sd, initval=start)
    pm.Deterministic("curve_batch", curve_lr + ratio)
    return ratio


def _best_of_cells(
    name: str, what: str, values: dict[str, Any], n: np.ndarray, d: np.ndarray, start: np.ndarray
) -> Any:
    """Sample the log of the best setting of each cell, about its power law."""
    law = values[f"{what}_0"] + values[f"{what}_params"] * n + values[f"{what}_tokens"] * d
    spread = values[f"cells_{what}"]
    return pm.Normal(name, law, spread, dims="cell", initval=0.7 * start + 0.01)


def _frontier(sweep: Sweep, card: TuningCard) -> Any:
    """Sample the frontier at the cells, in coordinates that are nearly independent given them."""
    basis = sweep.basis(card)
    lowest = sweep.log_loss[sweep.cells["best"].to_numpy()]
    mean, directions = basis.at(*sweep.of_cells)
    center, turn = basis.whitened(lowest, np.exp(card.priors["cells_level"].mean))
    z = pm.Flat("frontier_z", dims="direction", initval=np.full(len(center), _AWAY))
    moved: Any = pm.Deterministic("frontier", center + pt.dot(turn, z), dims="direction")
    pm.Potential("frontier_prior", -(moved**2).sum() / 2)
    return mean + pt.dot(moved, directions)


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
