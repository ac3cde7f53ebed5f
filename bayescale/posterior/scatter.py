"""The scatter of runs under every draw: densities where no library has them, and of all runs."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayescale import noise
from bayescale.cards import input_errors, loss_steps, memberships

if TYPE_CHECKING:
    from bayescale.posterior.posterior import Posterior

_ORDER = ("chain", "draw", "run")


def log_density(
    draws: xr.Dataset,
    deviation: xr.DataArray,
    scale: Any,
    *,
    blurred: Any = 0.0,
    steps: tuple[np.ndarray, np.ndarray] | None = None,
) -> xr.DataArray:
    """Log density of deviations, or log probability of steps: :func:`bayescale.noise.log_density`.

    Parameters
    ----------
    draws : xarray.Dataset
        With ``nu`` and ``excess`` where the noise has them.
    deviation : xarray.DataArray
        Dims (chain, draw, ...).
    scale, blurred : xarray.DataArray or float
        Broadcast to the deviation's dims.
    steps : pair of numpy.ndarray, optional
        Along the deviation's last dim.
    """
    ends = () if steps is None else steps
    dim = str(deviation.dims[-1])
    more = {f"end{i}": xr.DataArray(end, dims=dim) for i, end in enumerate(ends)}

    def at_place(x: Any, scale: Any, blurred: Any, **named: Any) -> Any:
        step = tuple(named.pop(name) for name in more)
        return noise.log_density(x, scale, blurred=blurred, step=step or None, **named)

    return _by_place(at_place, draws, deviation, scale, blurred + 0 * deviation, **more)


def cdf(draws: xr.Dataset, deviation: xr.DataArray, scale: Any) -> xr.DataArray:
    """The chance of a smaller deviation, where the noise has an excess."""
    return _by_place(noise.cdf, draws, deviation, scale)


def _by_place(
    function: Any, draws: xr.Dataset, deviation: xr.DataArray, *given: Any, **named: Any
) -> xr.DataArray:
    """A function of flat draws at each place in turn, which spares memory."""
    named |= {name: draws[name] for name in ("nu", "excess") if name in draws}
    _, *broadcast = xr.broadcast(deviation, *given, *named.values())
    flat = [
        values.transpose(*deviation.dims).values.reshape(-1, deviation.shape[-1]).T
        for values in (deviation, *broadcast)
    ]
    n = 1 + len(given)
    found = [
        function(*at_place[:n], **dict(zip(named, at_place[n:], strict=True)))
        for at_place in zip(*flat, strict=True)
    ]
    return deviation.copy(data=np.stack(found, axis=-1).reshape(deviation.shape))


def scatter_of_runs(
    posterior: "Posterior",
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Log likelihood of each run under every draw, and the chance of a lower loss.

    With all that the log knows of errors and steps.

    Returns
    -------
    likelihood : xarray.DataArray
        Dims (chain, draw, run). Rows that share a training run have one likelihood: it is then
        by training run.
    below : xarray.DataArray
        Dims (chain, draw, run), by row.
    log_mean : xarray.DataArray
        The law's log loss that both are about, dims (chain, draw, run), by row.
    """
    runs, draws, inputs = posterior.runs, posterior.draws, posterior.run_inputs()
    assert runs is not None
    log_mean = log_mean_of_runs(posterior)
    deviation = xr.DataArray(np.log(runs["loss"]), dims="run") - log_mean
    deviation = deviation.transpose(*_ORDER)
    variance, sigma = error_variance(posterior), posterior.sigma(inputs)
    likelihood, below = posterior.scatter(deviation, xr.ufuncs.sqrt(variance), inputs)
    steps = loss_steps(posterior.card, runs)
    if steps is not None:
        scale = xr.ufuncs.sqrt(sigma**2 + variance)
        likelihood = log_density(draws, deviation, scale, steps=steps)
    elif "shared" in draws:
        likelihood = _together(posterior, deviation, sigma, variance)
    return likelihood.transpose(*_ORDER), below.transpose(*_ORDER), log_mean


def log_mean_of_runs(posterior: "Posterior") -> xr.DataArray:
    """The law's log loss at the runs under every draw, dims (chain, draw, run)."""
    assert posterior.runs is not None
    log_mean = xr.ufuncs.log(posterior.loss_of_runs()).transpose(*_ORDER)
    return log_mean.assign_coords(run=posterior.runs["run_id"])


def error_variance(posterior: "Posterior") -> xr.DataArray:
    """Variance of the runs' log losses by known errors of the loss and of scales."""
    runs = posterior.runs
    assert runs is not None
    se = runs["loss_se"] / runs["loss"] if "loss_se" in runs else np.zeros(len(runs))
    errors = {
        scale: xr.DataArray(error, dims="run")
        for scale, error in input_errors(posterior.card, runs).items()
    }
    of_scales = noise.input_spread(
        posterior.law, posterior.run_inputs(), errors, posterior.run_coefficients()
    )
    return xr.DataArray(se**2, dims="run") + of_scales


def _together(
    posterior: "Posterior", deviation: xr.DataArray, sigma: xr.DataArray, error: xr.DataArray
) -> xr.DataArray:
    """Log densities of training runs whose rows share part of their scatter."""
    draws, runs = posterior.draws, posterior.runs
    assert runs is not None
    share = draws["shared"]
    own, common = (
        xr.ufuncs.sqrt(variance).broadcast_like(deviation).transpose(*_ORDER).values
        for variance in ((1 - share) * sigma**2 + error, share * sigma**2)
    )
    nu = draws["nu"].transpose(*_ORDER[:2]).values[..., None] if "nu" in draws else None
    density = noise.log_density_together(
        deviation.values, own, common, memberships(runs), nu=nu
    )  # fmt: skip
    coords = {name: draws[name] for name in _ORDER[:2]} | {"run": np.unique(runs["run"])}
    return xr.DataArray(density, dims=_ORDER, coords=coords)
