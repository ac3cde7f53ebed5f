"""Random variables with the priors of a card."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayescale.cards import Described


def variable(name: str, described: Described, data: dict[str, Any]) -> Any:
    """Make the random variable of a parameter, in raw units."""
    prior, factor = described.prior, 1.0 if described.prior.at else described.unit_factor
    if prior.log_normal is not None:
        mu, sigma = prior.log_normal
        if prior.across is not None:
            first, length = data[f"log_first_{prior.across}"], data[f"log_range_{prior.across}"]
            return pm.LogNormal(name, mu=first + length * mu, sigma=length * sigma)
        return pm.LogNormal(name, mu=mu + np.log(factor), sigma=sigma)
    if prior.dist == "NearOne":
        z = pm.Normal(f"{name}_z")
        near_one: Any = pt.exp(prior.kwargs["scale"] * z * pt.abs(z))
        return pm.Deterministic(name, factor * near_one)
    distribution = getattr(pm, str(prior.dist))
    if factor == 1.0:
        return distribution(name, **prior.kwargs)
    stated = distribution(f"{name}_stated", **prior.kwargs)
    return pm.Deterministic(name, factor * stated)
