"""Drift with normal noise, integrated out while sampling and drawn afterwards.

Given coefficients, q and sigma, the steps of the walk and the residual noise are both normal, and
so is their sum. Its components along the singular directions of the basis are independent. The
sampler then moves in a handful of dimensions instead of dozens.
"""

from typing import Any

import numpy as np
import xarray as xr

from bayescale.cards import ModelCard, drift_bases
from bayescale.posterior import View
from bayescale.random import Purpose
from bayescale.runs import Runs


def rotation(basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return orthogonal directions of the runs, and the walk's variance along each for q = 1.

    Parameters
    ----------
    basis : (run, step)

    Returns
    -------
    directions : (run, run)
        One in each column.
    variance : (run,)
    """
    directions, singular, _ = np.linalg.svd(basis, full_matrices=True)
    variance = np.zeros(len(basis))
    variance[: len(singular)] = singular**2
    return directions, variance


def with_walk(tree: xr.DataTree, runs: Runs, card: ModelCard, seed: int) -> xr.DataTree:
    """Draw the steps of the walk given everything else, and add them as ``drift_walk_<axis>``."""
    ((axis, basis),) = drift_bases(card, runs).items()
    draws = tree["posterior"].to_dataset()
    exact = View(draws, card.without_drift(), runs, seed)
    log_mean = np.log(exact.loss_of_runs().transpose("chain", "draw", "run").values)
    residual = np.log(runs["loss"]) - log_mean
    q, sigma = draws[f"drift_{axis}"].values[..., None], draws["sigma"].values[..., None]
    walk = _conditional_walk(residual, basis, q, sigma, exact.rng(Purpose.INTEGRATED_DRIFT))
    tree["posterior"] = xr.DataTree(
        draws.assign({f"drift_walk_{axis}": (("chain", "draw", "step"), walk)})
    )
    return tree


def _conditional_walk(
    residual: np.ndarray, basis: np.ndarray, q: Any, sigma: Any, rng: np.random.Generator
) -> np.ndarray:
    """Draw steps given residuals (chain, draw, run), in the singular directions of the basis."""
    left, singular, right = np.linalg.svd(basis, full_matrices=False)
    total = (q * singular) ** 2 + sigma**2
    mean = q**2 * singular / total * (residual @ left)
    # draw from the prior in every direction, and replace the directions that runs inform
    walk = q * rng.standard_normal((*residual.shape[:-1], basis.shape[1]))
    along = walk @ right.T
    return walk + (mean + along * (sigma / np.sqrt(total)) - along) @ right
