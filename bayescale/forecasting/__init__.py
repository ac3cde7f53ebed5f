"""The loss at unseen scale: the mean over seeds, and a single new run."""

from bayescale.forecasting.answer import extrapolation_ratio, forecast
from bayescale.forecasting.curves import optimal_curve, slices
from bayescale.forecasting.result import Forecast
from bayescale.forecasting.table import forecast_table

__all__ = [
    "Forecast",
    "extrapolation_ratio",
    "forecast",
    "forecast_table",
    "optimal_curve",
    "slices",
]
