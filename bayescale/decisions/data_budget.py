"""How much data a model needs, how large a model the data support, and what a target loss needs.

The number of tokens may be infinite: if the loss with unlimited data is above a target, no amount
of data reaches it. The answer gives the probability of that.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from bayescale.conventions import LossUnit
from bayescale.decisions.data_answer import FURTHEST, DataBudget
from bayescale.errors import DecisionError, LawError, UnitError
from bayescale.forecasting import forecast
from bayescale.laws.optimum import require_split
from bayescale.posterior import (
    Fit,
    Posterior,
    View,
    cautions,
    loss_unit_of,
    require_plausible_sizes,
)
from bayescale.posterior.methods import asks_fit
from bayescale.results import DEFAULT_CI_PROB, interval_text, quantiles, with_each_law
from bayescale.units import as_size, checked_ci_prob, format_size
from bayescale.verdict import sizes

OVERFIT = 0.02
"""The default bound on L(N, D) / L(N, infinite data) - 1: about the noise of seeds."""

UNLIMITED = 1e30
"""Without drift, more tokens or params than this count as infinite."""

UNLIMITED_DATA = 1e100
"""The number of tokens that stands for unlimited data; finite, so that ratios are numbers."""

_GRID, _PRECISION = 61, 1e-10
"""Points of the first search, two per decade up to UNLIMITED, and the precision of the
logarithm."""

_OTHER = {"params": "tokens", "tokens": "params"}


@asks_fit
def data_budget(
    fit: Fit,
    *,
    params: float | str | None = None,
    tokens: float | str | None = None,
    overfit: float | None = None,
    target: float | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    drift: bool = True,
    loss_unit: str | LossUnit | None = None,
    allow_unconverged: bool = False,
) -> DataBudget:
    """Return the tokens that a model needs, or the size of model that tokens support.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens.
    params, tokens : float or str
        One of them, as a raw count or as text (``"7B"``); the other is the answer.
    overfit : float, optional
        Bound on L(N, D) / L(N, infinite data) - 1; by default 0.02 unless a target is given. With
        params, the answer is the fewest tokens that keep to it; with tokens, the most params.
    target : float, optional
        A loss to reach instead, in ``loss_unit``: the answer is the fewest tokens, or params, that
        reach it.
    ci_prob : float
        Mass of the central intervals.
    family : str, optional
        A family of the fit; by default a new family, if families are partially pooled.
    drift : bool
        Whether to allow for the laws' drift on the way to a target.
    loss_unit : str, optional
        The unit of the target; by default the fitted log's own: see :func:`bayescale.forecast`.
    allow_unconverged : bool
        Answer although the fit failed its convergence checks.

    Returns
    -------
    DataBudget

    Raises
    ------
    DecisionError
        If not exactly one of params and tokens is given, a value is not finite and above zero, both
        bounds are given, or no draw reaches the target.
    LawError
        If the law is not a function of params and tokens, or has no value for unlimited data.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    Overfit is defined as in Kaplan et al. 2020, section 4.2. It compares with unlimited data, where
    no run can show how the law drifts, so the law is taken to hold exactly. A target under drift is
    searched up to 1,000 times the largest run's count. No number is given beyond that, or if the
    laws of an average disagree (:mod:`bayescale.agreement`); :attr:`DataBudget.refusal` then says
    why. The verdict is that of a forecast at the median. No backtest compares with unlimited data,
    so for a bound on overfit it is never ``trusted``.

    Examples
    --------
    Kaplan's Table 2 solved for 2 %, which the paper rounds to 5e3 N^0.74:

    >>> from bayescale.cards import load_card
    >>> from bayescale.posterior import point
    >>> card = load_card("kaplan")
    >>> kaplan = point(card, card.published_values("kaplan_2020"))
    >>> f"{data_budget(kaplan, params=1e9).needed.item():.3e}"
    '2.414e+10'
    """
    for member in fit.members:
        require_split(member.law)
    fit.require_converged(allow_unconverged)
    given, value = _given(as_size(params, "params"), as_size(tokens, "tokens"))
    require_plausible_sizes(fit, {given: value})
    if overfit is not None and target is not None:
        raise DecisionError("give `overfit=` or `target=`, not both")
    if target is None:
        overfit = checked_overfit(OVERFIT if overfit is None else overfit)
    elif not isinstance(target, Real):
        raise DecisionError(f"target is {target!r}, but must be a number, such as 1.95")
    elif not 0 < target < np.inf:
        raise DecisionError(f"target is {target:g}, but a loss must be greater than zero")
    unit = loss_unit_of(fit, loss_unit)
    fitted_target = None if target is None else unit.to_fitted(target)
    question = _Question(given, value, family, overfit, fitted_target)
    drifts = drift and target is not None and fit.runs is not None
    ranges = _ranges(fit)
    within = FURTHEST * ranges[question.wanted][1] if drifts else None
    parts = [_solve(member, question, drifts, within) for member in fit.members]

    def result(fit: Fit, parts: list[_Part], **more: Any) -> DataBudget:
        exponents = [part.exponent for part in parts if part.exponent is not None]
        lowest = [part.least for part in parts if part.least is not None]
        return DataBudget(
            law=fit.name,
            given=given,
            wanted=question.wanted,
            value=value,
            overfit=overfit,
            target=target,
            ci_prob=checked_ci_prob(ci_prob),
            needed=fit.mix([part.needed for part in parts]),
            exponent=fit.mix(exponents) if len(exponents) == len(parts) else None,
            least=unit.of(fit.mix(lowest)) if lowest else None,
            loss_unit=unit,
            within=within,
            ranges=ranges,
            drift=drifts,
            provenance=fit.record["provenance"],
            cautions=cautions(fit),
            **more,
        )

    answer = with_each_law(fit, parts, result)
    if target is not None and loss_unit is None:
        _require_likely(fit, unit, target, parts)
    if target is not None and answer.p_reachable == 0:
        raise DecisionError(_unreachable_text(answer))
    members = zip(fit.members, answer.by_law, strict=bool(answer.by_law))
    return replace(
        _with_verdict(fit, answer, family),
        by_law=tuple(_with_verdict(member, own, family) for member, own in members),
    )


def _require_likely(fit: Fit, unit: LossUnit, target: float, parts: list["_Part"]) -> None:
    """Refuse a target that seems to be in another unit."""
    known = [] if fit.runs is None else [fit.runs["loss"]]
    lowest = [np.atleast_1d(part.least.median()) for part in parts if part.least is not None]
    unit.require_likely(target, np.concatenate([*known, *lowest]))


def _ranges(fit: Fit) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest params, tokens and flops of the runs."""
    if fit.runs is None:
        return {}
    columns = {name: fit.runs[name] for name in ("params", "tokens")}
    columns["flops"] = sizes(fit.runs.frame, fit.inputs)
    return {name: (float(x.min()), float(x.max())) for name, x in columns.items()}


def _with_verdict(fit: Fit, answer: DataBudget, family: str | None) -> DataBudget:
    """Return the answer with the compute at its median, and the verdict of a forecast there."""
    median = answer.quantiles["median"]
    if fit.runs is None or not np.isfinite(median):
        return answer
    at: dict[str, Any] = {answer.given: answer.value, answer.wanted: median}
    drift = answer.drift or answer.target is None
    options: dict[str, Any] = {"family": family, "drift": drift, "allow_unconverged": True}
    try:
        point = forecast(fit, **at, **options).points.iloc[0]
    except UnitError:  # the answer is a size that no run has
        return answer
    state, text = point["verdict"], point["why"]
    if answer.target is None and state == "trusted":
        state, text = "untested", f"{text} But no backtest compares with unlimited data."
    flops = float(point["flops"])
    return replace(answer, flops=flops, verdict=state, verdict_text=text)


def _unreachable_text(answer: DataBudget) -> str:
    far = "unlimited" if answer.within is None else f"up to {format_size(answer.within)}"
    lowest = quantiles(answer.least, answer.ci_prob)
    return (
        f"a loss of {answer.target:g} {answer.loss_unit.words} is out of reach of "
        f"{format_size(answer.value)} {answer.given} in every draw: {far} {answer.wanted} leave "
        f"{interval_text(lowest, lambda x: f'{x:.4f}', answer.ci_prob)}. Ask for a higher loss, "
        f"or for more {answer.given}"
    )


def checked_overfit(overfit: float) -> float:
    """Return a bound on overfit that was checked.

    Raises
    ------
    DecisionError
        If it is not finite and above zero.
    """
    if not 0 < overfit < np.inf:
        raise DecisionError(f"overfit is {overfit:g}, but must be finite and above zero")
    return overfit


def _given(params: float | None, tokens: float | None) -> tuple[str, float]:
    values = {"params": params, "tokens": tokens}
    known = {name: value for name, value in values.items() if value is not None}
    if any(np.ndim(value) for value in known.values()):
        raise DecisionError(f"{next(iter(known))} is a list, but must be one number or text")
    if len(known) != 1:
        raise DecisionError(
            "give either `params=`, to ask for tokens, or `tokens=`, to ask for params; given "
            f"{' and '.join(known) or 'neither'}"
        )
    return next(iter(known.items()))


@dataclass(frozen=True)
class _Question:
    given: str
    value: float
    family: str | None
    overfit: float | None = None
    target: float | None = None

    @property
    def wanted(self) -> str:
        return _OTHER[self.given]

    def loss(self, view: View, value: float, x: np.ndarray) -> np.ndarray:
        """Return the loss (draw, point) at a value of the given scale and x of the wanted scale.

        x has shape (point,) or (draw, point).
        """
        return view.losses({self.given: np.full_like(x, value), self.wanted: x}, self.family)


@dataclass(frozen=True, eq=False)
class _Part:
    """One law's answer, each dims (chain, draw)."""

    needed: xr.DataArray
    exponent: xr.DataArray | None = None
    least: xr.DataArray | None = None


def _solve(posterior: Posterior, question: _Question, drift: bool, within: float | None) -> _Part:
    if question.target is None:
        return _solve_overfit(posterior, question)
    return _solve_target(posterior.view(drift), question, within or UNLIMITED)


def overfit_bound(
    posterior: Posterior, given: str, bound: float, family: str | None
) -> Callable[[float], xr.DataArray]:
    """Return the function from a raw count to the other count that keeps to a bound on overfit.

    Parameters
    ----------
    posterior : Posterior
    given : {"params", "tokens"}
    bound : float
        Bound on L(N, D) / L(N, infinite data) - 1.
    family : str or None

    Returns
    -------
    callable
        From a raw count to the other one, dims (chain, draw): the fewest tokens, or the most
        params.

    Raises
    ------
    LawError
        Raised by the callable if the law has no value for unlimited data.
    """
    question, view = _Question(given, np.nan, family), posterior.exact
    wants_tokens = question.wanted == "tokens"

    def unlimited(params: np.ndarray) -> np.ndarray:
        tokens = np.full_like(params, UNLIMITED_DATA)
        loss = view.losses({"params": params, "tokens": tokens}, family)
        if not np.isfinite(loss).all():
            raise LawError(
                f"law {posterior.name!r} has no value for unlimited tokens, so it has no bound on "
                "overfit: ask for a loss with `target=`"
            )
        return loss

    def needed(value: float) -> xr.DataArray:
        floor = unlimited(np.array([value])) if wants_tokens else None

        def excess(x: np.ndarray) -> np.ndarray:
            loss = question.loss(view, value, x)
            over = np.log(loss / (unlimited(x) if floor is None else floor)) - np.log1p(bound)
            return over if wants_tokens else -over

        return _first(view, excess, 1.0, UNLIMITED)

    return needed


def _solve_overfit(posterior: Posterior, question: _Question) -> _Part:
    assert question.overfit is not None
    half_step = 0.5
    needed = overfit_bound(posterior, question.given, question.overfit, question.family)
    less, more = (needed(question.value * np.exp(side)) for side in (-half_step, half_step))
    known = bool(np.isfinite(more).all())
    exponent = xr.ufuncs.log(more / less) / (2 * half_step) if known else None
    return _Part(needed(question.value), exponent)


def _solve_target(view: View, question: _Question, furthest: float) -> _Part:
    target = question.target
    assert target is not None

    def excess(x: np.ndarray) -> np.ndarray:
        return np.log(question.loss(view, question.value, x) / target)

    grid = np.geomspace(1.0, furthest, _GRID)
    least = question.loss(view, question.value, grid).min(axis=1)
    return _Part(_first(view, excess, 1.0, furthest), least=view.as_draws(least))


def _first(
    view: View,
    excess: Callable[[np.ndarray], np.ndarray],
    low: float,
    high: float,
) -> xr.DataArray:
    """Return, draw by draw, the smallest x with an excess of zero or less; infinite if none."""
    from scipy.optimize import elementwise

    grid = np.linspace(np.log(low), np.log(high), _GRID)
    gone = excess(np.exp(grid)) <= 0
    first = gone.argmax(axis=1)
    finite = grid[first]  # for draws that never get there, the least x
    logs = np.where(gone.any(axis=1), finite, np.inf)

    def of_draws(x: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """Return the excess of some draws, each at its own x; the law takes all draws."""
        there = finite.copy()
        there[draw] = x
        return excess(np.exp(there)[:, None])[draw, 0]

    crosses = np.flatnonzero(np.isfinite(logs) & (first > 0))
    if crosses.size:  # SciPy takes no empty arrays
        ends = tuple(grid[first[crosses] - back] for back in (1, 0))
        logs[crosses] = elementwise.find_root(
            of_draws, ends, args=(crosses,), tolerances={"xatol": _PRECISION}
        ).x
    return view.as_draws(np.exp(logs))
