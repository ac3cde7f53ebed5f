"""Draws of a law's coefficients, with all they came from: keep, open, summarize."""

from bayescale.posterior.average import Fit, ModelAverage, model_weights, worst_diagnostics
from bayescale.posterior.files import open_posterior, save
from bayescale.posterior.posterior import DRIFTING, FLOOR, MEAN, Posterior, point
from bayescale.posterior.summary import (
    ModelAverageSummary,
    Summary,
    contraction,
    diagnosis,
    finite,
    outliers,
    summarize,
)
from bayescale.results import DEFAULT_CI_PROB, quantiles, quantiles_by_rank

__all__ = [
    "DEFAULT_CI_PROB",
    "DRIFTING",
    "FLOOR",
    "MEAN",
    "Fit",
    "ModelAverage",
    "ModelAverageSummary",
    "Posterior",
    "Summary",
    "contraction",
    "diagnosis",
    "finite",
    "model_weights",
    "open_posterior",
    "outliers",
    "point",
    "quantiles",
    "quantiles_by_rank",
    "save",
    "summarize",
    "worst_diagnostics",
]
