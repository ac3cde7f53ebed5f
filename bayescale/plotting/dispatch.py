"""The figure that suits a result, for ``result.plot()`` and for notebooks."""

import base64
import io
from collections.abc import Callable
from html import escape
from typing import Any

import pandas as pd

from bayescale.decisions.allocation import Allocation
from bayescale.decisions.data_answer import DataBudget
from bayescale.decisions.next_run_answer import NextRun
from bayescale.decisions.overfit import OverfitLine
from bayescale.decisions.regret import RegretMap
from bayescale.decisions.tuning_answer import Tune
from bayescale.decisions.versus_answer import Versus
from bayescale.decisions.watch_answer import Watch
from bayescale.errors import BayescaleError, FigureError
from bayescale.forecasting import Forecast
from bayescale.plotting.candidates import plot_next_run
from bayescale.plotting.coefficients import plot_coefficients
from bayescale.plotting.comparisons import plot_comparison, plot_published
from bayescale.plotting.decisions import (
    plot_allocation,
    plot_frontier,
    plot_overfit,
    plot_regret,
)
from bayescale.plotting.densities import plot_best_split, plot_data_budget, plot_point
from bayescale.plotting.fits import plot_fit
from bayescale.plotting.forecasts import plot_downstream, plot_forecast, plot_slices
from bayescale.plotting.horizon import plot_errors, plot_trust
from bayescale.plotting.isoflop import plot_isoflop_parabolas
from bayescale.plotting.scenarios import plot_emergence, plot_perceptron, plot_pruning
from bayescale.plotting.tuning import plot_tune
from bayescale.plotting.versus import plot_versus
from bayescale.plotting.watch import plot_watch
from bayescale.posterior import ModelAverage, ModelAverageSummary, Posterior, Summary
from bayescale.published import PublishedComparison
from bayescale.scenarios.emergence import Emergence
from bayescale.scenarios.perceptron import PrunedPerceptron
from bayescale.scenarios.pruning import Pruning
from bayescale.validation.backtest_result import Backtest
from bayescale.validation.comparison import Comparison
from bayescale.validation.cross_check import CrossCheck
from bayescale.validation.horizon import Trust

_SIZE, _DPI = (6.4, 3.6), 100
_SCALES = ("flops", "params", "tokens")
_FEW = 0.2  # up to this share of distinct values, points that share a value make a curve


def plot_result(result: Any, ax: Any = None, **look: Any) -> Any:
    """Draw a result, or a fit, with the function that suits it.

    Parameters
    ----------
    result : Result, Posterior or ModelAverage
    ax : matplotlib Axes, optional
        Axes to draw into; a new figure if not given.
    **look
        Options of that function.

    Raises
    ------
    FigureError
        If there is no figure of such a result.
    """
    draw = DRAWINGS.get(type(result))
    if draw is None:
        table = ": give the result itself, not its table, which holds no draws"
        raise FigureError(
            f"there is no figure of a {type(result).__name__}"
            + (table if isinstance(result, pd.DataFrame) else "")
        )
    return draw(result, ax, **look)


def result_html(result: Any) -> str:
    """Return a figure of a result as an HTML image, or an empty text if it has none."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    try:
        plot_result(result, canvas.subplots())
    except BayescaleError:
        return ""
    into = io.BytesIO()
    canvas.savefig(into, format="png")
    data = base64.b64encode(into.getvalue()).decode()
    alt = escape(repr(result))
    return f'<img alt="{alt}" width="640" src="data:image/png;base64,{data}">'


def _forecast(result: Forecast, ax: Any = None, **look: Any) -> Any:
    """Draw the draws of one point, curves if points form a grid, or else the loss along a scale."""
    if len(result.points) == 1 and not look:
        return plot_point(result, ax)
    frame = result.points
    if "lm_loss" in frame:
        return plot_downstream(result, ax, **look)
    grid = [
        name
        for name in ("tokens", "params", "flops")
        if 1 < _curves(frame[name]) <= _FEW * len(frame)
    ]
    if grid and not look:
        scale = "tokens" if grid[0] == "params" else "params"
        return plot_slices(result, ax, by=grid[0], scale=scale)
    varied = (name for name in _SCALES if name in frame and _curves(frame[name]) > 1)
    scale = next(varied, "flops")
    options: dict[str, Any] = {"scale": scale, **look}
    return plot_forecast(result, ax, **options)


def _allocation(result: Allocation, ax: Any = None) -> Any:
    """Draw the best sizes of one budget without limits, or else the splits of all budgets.

    For several budgets in days, draw the loss that they reach.
    """
    if result.cluster is not None and len(result.flops) > 1:
        return plot_frontier(result, ax)
    limits = result.limits
    limited = any((limits.sizes, limits.max_params, limits.max_tokens))
    one = len(result.flops) == 1 and not limited
    return (plot_best_split if one else plot_allocation)(result, ax)


def _curves(values: pd.Series) -> int:
    """Return the number of distinct values, to six digits."""
    return values.dropna().map(lambda value: float(f"{value:.6g}")).nunique()


def _coefficients_of_laws(result: ModelAverageSummary, ax: Any = None) -> Any:
    """Draw each law's coefficients in separate axes, and return the first of these."""
    import matplotlib.pyplot as plt

    if ax is not None:
        raise FigureError(
            "coefficients of several laws need axes each: draw `fit[...].summary()` of one law"
        )
    n = len(result.laws)
    _, axes = plt.subplots(n, 1, figsize=(7, 4.0 * n), layout="constrained", squeeze=False)
    for law, each in zip(result.laws, axes.ravel(), strict=True):
        plot_coefficients(law, each).set_title(law.law, loc="left")
    return axes.ravel()[0]


DRAWINGS: dict[type, Callable[..., Any]] = {
    Posterior: plot_fit,
    ModelAverage: plot_fit,
    Forecast: _forecast,
    Summary: plot_coefficients,
    ModelAverageSummary: _coefficients_of_laws,
    Trust: plot_trust,
    Backtest: plot_errors,
    Comparison: plot_comparison,
    CrossCheck: plot_isoflop_parabolas,
    PublishedComparison: plot_published,
    Allocation: _allocation,
    DataBudget: plot_data_budget,
    RegretMap: plot_regret,
    OverfitLine: plot_overfit,
    NextRun: plot_next_run,
    Emergence: plot_emergence,
    Pruning: plot_pruning,
    PrunedPerceptron: plot_perceptron,
    Versus: plot_versus,
    Watch: plot_watch,
    Tune: plot_tune,
}
"""The function that draws a result, by the result's type."""
