"""The loss against one scale with the other held fixed: Kaplan's curves of L against N."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from bayescale.errors import LawError
from bayescale.forecasting.answer import forecast
from bayescale.forecasting.result import Forecast
from bayescale.laws.optimum import splits
from bayescale.posterior import Fit
from bayescale.posterior.methods import asks_fit
from bayescale.results import TextTable, interval_text
from bayescale.splits.choice import default_split
from bayescale.units import as_size, format_size

CURVES, POINTS = 4, 25
"""The default number of curves, and of points on each."""

MOST_ROWS = 9
"""The most rows of the table in a terminal."""

BEYOND = 10.0
"""By default curves end at this multiple of the largest run's size."""

KNOTS = 9
"""The most budgets of a curve that are split; splits between them are interpolated in logs."""

Scale = Literal["params", "tokens"]


@asks_fit
def slices(
    fit: Fit,
    held: Sequence[float | str] | np.ndarray | None = None,
    *,
    by: Scale = "tokens",
    along: Sequence[float | str] | np.ndarray | None = None,
    **options: Any,
) -> Forecast:
    """Forecast the loss against params at fixed tokens, or against tokens at fixed params.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens.
    held : sequence of float or str, optional
        Values of ``by``, one per curve; by default four over the runs' range.
    by : {"tokens", "params"}
        The scale that each curve holds.
    along : sequence of float or str, optional
        Values of the other scale; by default from the smallest run's to ten times the largest's.
    **options
        As for :func:`bayescale.forecast`.

    Returns
    -------
    Forecast
        One point for each pair, which :func:`bayescale.plotting.plot_slices` draws. Where a curve
        is flat, more of the other scale does not lower the loss.

    Raises
    ------
    LawError
        If a law is not of params and tokens, ``by`` is neither of them, a value repeats, or values
        are not given for a point estimate, which has no range of runs.

    Notes
    -----
    Kaplan et al. 2020, figures 4 and 9: the loss falls as a power of params until tokens limit it.

    Examples
    --------
    >>> from bayescale.cards import load_card
    >>> from bayescale.posterior import point
    >>> card = load_card("kaplan")
    >>> kaplan = point(card, card.published_values("kaplan_2020"))
    >>> found = slices(kaplan, ["1B", "10B"], along=["1M", "1B"]).to_frame()
    >>> found["loss_median"].round(2).tolist()
    [3.93, 2.79, 3.92, 2.42]
    """
    if not splits(fit.inputs):
        raise LawError(
            f"law {fit.name!r} is a function of {' and '.join(fit.inputs)}, and slices need params "
            "and tokens: fit a law of both, such as kaplan"
        )
    if by not in ("tokens", "params"):
        raise LawError(f"by is {by!r}, but must be tokens or params")
    other = {"tokens": "params", "params": "tokens"}[by]
    values = _values(fit, held, "held", by, CURVES, 1.0)
    path = _values(fit, along, "along", other, POINTS, BEYOND)
    grid: dict[str, Any] = {by: np.repeat(values, len(path)), other: np.tile(path, len(values))}
    return forecast(fit, **grid, **options)


def optimal_curve(
    fit: Fit, flops: np.ndarray, *, family: str | None = None, **options: Any
) -> Forecast:
    """Return a forecast of the loss along the splits of least expected loss, for a figure.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens.
    flops : numpy.ndarray, shape (point,)
        Budgets in FLOP, ascending.
    family : str, optional
        As for :func:`bayescale.forecast`, as are the other options.

    Returns
    -------
    Forecast
        The loss differs from that of :func:`bayescale.forecast` with ``flops=`` by less than 0.01 %
        where the best split changes smoothly with the budget, and by up to 0.2 % where it jumps, as
        it may at the edge of the runs.
    """
    knots = np.geomspace(flops[0], flops[-1], min(KNOTS, len(flops)))
    found = default_split(fit, knots, family)
    params, tokens = (
        np.exp(np.interp(np.log(flops), np.log(knots), np.log(values)))
        for values in (found.params, found.tokens)
    )
    return forecast(fit, params=params, tokens=tokens, family=family, **options)


def _values(
    fit: Fit, given: Any, argument: str, name: str, count: int, beyond: float
) -> np.ndarray:
    if given is not None:
        values = np.atleast_1d(as_size(given, name))
        found, counts = np.unique(values, return_counts=True)
        if (counts > 1).any():
            again = ", ".join(format_size(value) for value in found[counts > 1])
            raise LawError(f"{name} {again} is given twice in `{argument}=`: name each value once")
        return values
    if fit.runs is None:
        raise LawError(
            f"a point estimate has no runs, and so no range of {name}: give {name} with "
            f"`{argument}=`"
        )
    of_runs = fit.runs[name]
    return np.geomspace(of_runs.min(), of_runs.max() * beyond, count)


def slices_content(result: Forecast, by: str) -> tuple[str, TextTable]:
    """Return a headline, and a table with a row for each of a few sizes and a column per curve."""
    other = {"tokens": "params", "params": "tokens"}[by]
    frame = result.to_frame()
    path = np.unique(frame[other])
    shown = path[:: max(1, -(-len(path) // MOST_ROWS))]
    curves = {size: part.set_index(other) for size, part in frame.groupby(by)}
    rows = [
        {other: format_size(size)}
        | {f"{format_size(at)} {by}": _loss(part.loc[size]) for at, part in curves.items()}  # type: ignore[arg-type]
        for size in shown
    ]
    head = f"{result.law}: the {result.meaning} against {other} at fixed {by}, {result.unit}"
    return f"{head} ({result.ci_prob:.0%} intervals)", TextTable.of(rows)


def _loss(row: Any) -> str:
    values = {name: row[f"loss_{name}"] for name in ("median", "lower", "upper")}
    return interval_text(values, lambda x: f"{x:.3f}")
