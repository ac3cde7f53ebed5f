"""Residual noise under every draw: :mod:`bayescale.noise` for labeled arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from bayescale import noise

PARAMETERS = ("nu", "excess")


def log_density(
    draws: xr.Dataset,
    deviation: xr.DataArray,
    scale: Any,
    *,
    variance: Any = None,
    step: tuple[np.ndarray, np.ndarray] | None = None,
    fine: bool = False,
) -> xr.DataArray:
    """Return log densities of deviations, or log probabilities of steps, under every draw.

    Parameters
    ----------
    draws : xarray.Dataset
        Draws, with ``nu`` and ``excess`` if the noise has them.
    deviation : xarray.DataArray
        Log loss minus the law's, dims (chain, draw, ...).
    scale, variance : xarray.DataArray or float
        Scale of the residual noise, and the variance of a further normal deviation.
    step : pair of numpy.ndarray, optional
        Ends of the step that each loss is known to, along the deviation's last dim.
    fine : bool
        Whether a Student-t with a further variance is summed over more nodes than the sampler
        uses.
    """
    arguments = {"scale": scale, "variance": variance}
    if step is not None:
        last = str(deviation.dims[-1])
        arguments |= {f"end_{i}": xr.DataArray(end, dims=last) for i, end in enumerate(step)}
    nodes = None
    if fine and "nu" in draws and "excess" not in draws:
        nodes = noise.fine_precision_nodes(draws["nu"].transpose("chain", "draw").values.ravel())

    def at_place(deviation: np.ndarray, **given: Any) -> np.ndarray:
        ends = tuple(given.pop(f"end_{i}") for i in range(2)) if step is not None else None
        return noise.log_density(deviation, given.pop("scale"), step=ends, nodes=nodes, **given)

    return _place_by_place(at_place, draws, deviation, arguments)


def cdf(draws: xr.Dataset, deviation: xr.DataArray, scale: Any) -> xr.DataArray:
    """Return the probability of a smaller deviation under every draw."""
    return _place_by_place(noise.cdf, draws, deviation, {"scale": scale})


def _place_by_place(
    function: Callable[..., np.ndarray],
    draws: xr.Dataset,
    deviation: xr.DataArray,
    arguments: dict[str, Any],
) -> xr.DataArray:
    """Call a function for one place after the other, with all draws at once, which saves memory."""
    given = {name: value for name, value in arguments.items() if value is not None}
    given |= {name: draws[name] for name in PARAMETERS if name in draws}
    _, *broadcast = xr.broadcast(deviation, *map(xr.DataArray, given.values()))
    columns = [
        values.transpose(*deviation.dims).values.reshape(-1, deviation.shape[-1]).T
        for values in (deviation, *broadcast)
    ]
    found = [
        function(at_place, **dict(zip(given, others, strict=True)))
        for at_place, *others in zip(*columns, strict=True)
    ]
    return deviation.copy(data=np.stack(found, axis=-1).reshape(deviation.shape))
