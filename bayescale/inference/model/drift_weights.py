"""Weights of runs, so that outliers do not set the sampling coordinates of the drift.

Steps of drift are sampled relative to their conditional mean with normal noise. The noise is heavy
tailed, and a few outliers would pull that mean far from the drift. The coordinates would then suit
only draws whose drift passes through the outliers. Weights that are found once, at a mode of the
law, prevent this. They change the coordinates and not the density that is sampled.
"""

import numpy as np
import xarray as xr

from bayescale.cards import ModelCard, drift_bases, drift_components, recipe_columns
from bayescale.posterior import View
from bayescale.runs import Runs

NU = 3.0
"""Degrees of freedom of the Student-t noise that the weights assume."""

PASSES = 20
"""Number of reweightings: more of them change no weight by over 0.03 on seven public logs."""

LEAST_NOISE = 1e-3
"""The smallest scale of the noise in log loss, for logs with fewer runs than steps, whose residuals
vanish."""


def robust_weights(draw: xr.Dataset, runs: Runs, card: ModelCard) -> np.ndarray:
    """Return a weight for each run, of mean one, from the residuals of one draw of the law.

    Parameters
    ----------
    draw : xarray.Dataset
        Variables of the model without drift, dims chain and draw of length one.
    runs : Runs
    card : ModelCard
        With drift.

    Returns
    -------
    numpy.ndarray, shape (run,)
    """
    assert card.drift is not None
    law = View(draw, card.without_drift(), runs, seed=0)
    residual = np.log(runs["loss"]) - np.log(law.loss_of_runs().values.reshape(-1))
    sizes, bases = card.drift.parameters, drift_bases(card, runs)
    scaled = [
        sizes[f"drift_{walk.sized_by}"].prior.frozen.ppf(0.5) * bases[name]
        for name, walk in drift_components(card, runs).items()
    ]
    if card.recipes is not None:
        scaled += _typical_differences(card, runs)
    return weights_of_residuals(residual, np.concatenate(scaled, axis=1))


def _typical_differences(card: ModelCard, runs: Runs) -> list[np.ndarray]:
    """Return the columns of recipes' differences, each times its typical size."""
    columns, about = recipe_columns(card, runs), card.recipes
    assert about is not None
    sizes = np.array([about.level, about.compute, about.tokens_per_param])
    return [
        sizes * columns.trend * columns.of_recipe[:, i, None] for i in range(len(columns.names))
    ]


def weights_of_residuals(residual: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return Student-t weights of residuals about a drift of standard normal steps, of mean one.

    Parameters
    ----------
    residual : numpy.ndarray, shape (run,)
        Residuals of log loss.
    basis : numpy.ndarray, shape (run, step)
    """
    weights, scale = np.ones(len(residual)), _scale(residual - np.median(residual))
    for _ in range(PASSES):
        weighted = basis.T * weights / scale**2
        steps = np.linalg.solve(np.eye(basis.shape[1]) + weighted @ basis, weighted @ residual)
        rest = residual - basis @ steps
        scale = _scale(rest)
        weights = (NU + 1) / (NU + (rest / scale) ** 2)
    return weights / weights.mean()


def _scale(residual: np.ndarray) -> float:
    """Return the standard deviation of normal residuals with this median absolute value."""
    return max(1.4826 * float(np.median(np.abs(residual))), LEAST_NOISE)
