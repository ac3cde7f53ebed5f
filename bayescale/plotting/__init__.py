"""Figures, drawn from results; nothing is computed here.

Every ``plot_x(result, ax=None)`` draws what ``result.to_frame()`` holds and returns the Axes. The
colors are those of Okabe and Ito, which color-blind readers can distinguish. Line style, marker or
position repeats what a color means.
"""

from bayescale.plotting.candidates import plot_next_run
from bayescale.plotting.coefficients import plot_coefficients
from bayescale.plotting.comparisons import plot_comparison, plot_laws, plot_published
from bayescale.plotting.decisions import (
    plot_allocation,
    plot_frontier,
    plot_options,
    plot_overfit,
    plot_regret,
)
from bayescale.plotting.densities import plot_best_split, plot_data_budget, plot_point
from bayescale.plotting.dispatch import plot_result, result_html
from bayescale.plotting.fits import plot_fit
from bayescale.plotting.forecasts import plot_downstream, plot_forecast, plot_slices
from bayescale.plotting.horizon import plot_coverage, plot_errors, plot_trust
from bayescale.plotting.isoflop import plot_isoflop_parabolas
from bayescale.plotting.scenarios import plot_emergence, plot_perceptron, plot_pruning

__all__ = [
    "plot_allocation",
    "plot_best_split",
    "plot_coefficients",
    "plot_comparison",
    "plot_coverage",
    "plot_data_budget",
    "plot_downstream",
    "plot_emergence",
    "plot_errors",
    "plot_fit",
    "plot_forecast",
    "plot_frontier",
    "plot_isoflop_parabolas",
    "plot_laws",
    "plot_next_run",
    "plot_options",
    "plot_overfit",
    "plot_perceptron",
    "plot_point",
    "plot_pruning",
    "plot_published",
    "plot_regret",
    "plot_result",
    "plot_slices",
    "plot_trust",
    "result_html",
]
