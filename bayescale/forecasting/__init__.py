"""The loss at unseen scale: the mean over seeds, and a single new run."""

from bayescale.forecasting.answer import extrapolation_ratio, forecast, forecast_table
from bayescale.forecasting.curves import optimal_curve, slices
from bayescale.forecasting.result import Forecast

__all__ = [
    "Forecast",
    "extrapolation_ratio",
    "forecast",
    "forecast_table",
    "optimal_curve",
    "slices",
]
