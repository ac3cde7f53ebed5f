"""Draws of a law's coefficients, with all they came from: keep, open, summarise."""

from bayescale.posterior.draws import Posterior, point
from bayescale.posterior.files import open_posterior, save
from bayescale.posterior.pool import Fit, Pool
from bayescale.posterior.summary import (
    DEFAULT_INTERVAL,
    Summary,
    learned,
    quantiles,
    summarise,
    surprising_runs,
)

__all__ = [
    "DEFAULT_INTERVAL",
    "Fit",
    "Pool",
    "Posterior",
    "Summary",
    "learned",
    "open_posterior",
    "point",
    "quantiles",
    "save",
    "summarise",
    "surprising_runs",
]
