"""Draws of a law's coefficients, with all they came from: keep, open, summarise."""

from bayescale.posterior.average import Fit, Pool, pool_weights, worst_diagnostics
from bayescale.posterior.files import open_posterior, save
from bayescale.posterior.posterior import DRIFTING, FLOOR, MEAN, Posterior, point
from bayescale.posterior.summary import (
    DEFAULT_INTERVAL,
    PoolSummary,
    Summary,
    diagnosis,
    endless_quantiles,
    finite,
    learned,
    quantiles,
    summarise,
    surprising_runs,
)

__all__ = [
    "DEFAULT_INTERVAL",
    "DRIFTING",
    "FLOOR",
    "MEAN",
    "Fit",
    "Pool",
    "PoolSummary",
    "Posterior",
    "Summary",
    "diagnosis",
    "endless_quantiles",
    "finite",
    "learned",
    "open_posterior",
    "point",
    "pool_weights",
    "quantiles",
    "save",
    "summarise",
    "surprising_runs",
    "worst_diagnostics",
]
