"""Posteriors: draws of a law's coefficients, their files, views and summaries."""

from bayescale.posterior.average import AverageView, ModelAverage, mix, model_weights, shares
from bayescale.posterior.conflicts import cautions, recorded_conflicts
from bayescale.posterior.files import open_posterior, save
from bayescale.posterior.fit import (
    Fit,
    fitted_unit_of,
    flop_count_of,
    loss_unit_of,
    require_plausible_sizes,
    runs_by_family,
)
from bayescale.posterior.methods import FLOOR, MEAN
from bayescale.posterior.posterior import DRIFTING, EXACT, Posterior, point
from bayescale.posterior.predict import View
from bayescale.posterior.record import diagnosis, worst_diagnostics
from bayescale.posterior.summary import (
    ModelAverageSummary,
    Summary,
    contraction,
    finite,
    outliers,
    summarize,
)
from bayescale.results import DEFAULT_CI_PROB, quantiles, quantiles_by_rank

__all__ = [
    "DEFAULT_CI_PROB",
    "DRIFTING",
    "EXACT",
    "FLOOR",
    "MEAN",
    "AverageView",
    "Fit",
    "ModelAverage",
    "ModelAverageSummary",
    "Posterior",
    "Summary",
    "View",
    "cautions",
    "contraction",
    "diagnosis",
    "finite",
    "fitted_unit_of",
    "flop_count_of",
    "loss_unit_of",
    "mix",
    "model_weights",
    "open_posterior",
    "outliers",
    "point",
    "quantiles",
    "quantiles_by_rank",
    "recorded_conflicts",
    "require_plausible_sizes",
    "runs_by_family",
    "save",
    "shares",
    "summarize",
    "worst_diagnostics",
]
