"""The runs that a law was fitted to: their likelihood under each draw, and their known errors."""

import numpy as np
import xarray as xr

from bayescale import noise
from bayescale.cards import input_errors, loss_steps, memberships
from bayescale.posterior import residuals
from bayescale.posterior.predict import ORDER, View


def error_variance(view: View) -> xr.DataArray:
    """Return the variance of the runs' log losses due to known errors of loss and inputs."""
    runs = view.runs
    assert runs is not None
    se = runs["loss_se"] / runs["loss"] if "loss_se" in runs else np.zeros(len(runs))
    errors = {
        scale: xr.DataArray(error, dims="run")
        for scale, error in input_errors(view.card, runs).items()
    }
    of_inputs = noise.input_error_variance(
        view.law, view.run_inputs(), errors, view.run_coefficients()
    )
    return xr.DataArray(se**2, dims="run") + of_inputs


def densities_of_runs(view: View) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return the likelihood of each run under every draw, with known errors of loss and inputs.

    Returns
    -------
    log_likelihood : xarray.DataArray
        Dims (chain, draw, run). Checkpoints of a training run have a common likelihood, so that
        the dim run then counts training runs.
    below : xarray.DataArray
        Probability of a lower loss, dims (chain, draw, run), by row.
    log_mean : xarray.DataArray
        The law's log loss, dims (chain, draw, run), by row.
    """
    runs, draws = view.runs, view.draws
    assert runs is not None
    log_mean = view.log_mean_of_runs()
    deviation = xr.DataArray(np.log(runs["loss"]), dims="run") - log_mean
    deviation = deviation.transpose(*ORDER)
    variance, sigma = error_variance(view), view.sigma(view.run_inputs())
    scale = xr.ufuncs.sqrt(sigma**2 + variance)
    below = residuals.cdf(draws, deviation, scale)
    if "shared" in draws:
        likelihood = _density_of_checkpoints(view, deviation, sigma, variance)
    else:
        step = loss_steps(view.card, runs)
        likelihood = residuals.log_density(draws, deviation, scale, step=step)
    return likelihood.transpose(*ORDER), below.transpose(*ORDER), log_mean


def _density_of_checkpoints(
    view: View, deviation: xr.DataArray, sigma: xr.DataArray, error: xr.DataArray
) -> xr.DataArray:
    draws, runs = view.draws, view.runs
    assert runs is not None
    share, members = draws["shared"], memberships(runs)
    alike = "run" not in sigma.dims and not bool((error > 0).any())
    like = deviation.isel(run=slice(1)) if alike else deviation  # one scale for all rows
    own, shared = (
        xr.ufuncs.sqrt(variance).broadcast_like(like).transpose(*ORDER).values
        for variance in ((1 - share) * sigma**2 + (0.0 if alike else error), share * sigma**2)
    )
    nu = draws["nu"].transpose("chain", "draw").values[..., None] if "nu" in draws else None
    density = noise.log_density_of_checkpoints(
        deviation.values,
        own,
        shared,
        members,
        nu=nu,
        counts=np.bincount(members) if alike else None,
    )
    return xr.DataArray(density, dims=ORDER, coords={**view.coords, "run": np.unique(runs["run"])})
