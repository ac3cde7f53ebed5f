"""How much data a model needs, how large a model the data support, and what a target loss takes.

The tokens needed may be infinite: where the loss with unlimited data is above a target, no amount
of data reaches it. That is an answer, and comes with its probability.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayescale.errors import DecisionError, LawError
from bayescale.laws.optimum import require_split
from bayescale.posterior import Fit, Posterior, View
from bayescale.results import (
    DEFAULT_CI_PROB,
    Result,
    interval_text,
    laws_json,
    quantiles,
    quantiles_by_rank,
    with_each_law,
)
from bayescale.units import as_size, checked_ci_prob, format_size

OVERFIT = 0.02
"""L(N, D) / L(N, infinite) - 1 up to which a model does not overfit: about the noise of seeds."""

UNLIMITED = 1e30
"""Tokens or params beyond which an answer counts as infinite, where the law holds exactly."""

UNLIMITED_DATA = 1e100
"""Tokens that stand for unlimited data; finite, so that ratios of them are numbers."""

FURTHEST = 1000.0
"""Multiple of the largest run's tokens or params up to which a target is searched under drift."""

EXACT_LAW = "The laws are taken to hold exactly: runs cannot show drift at unlimited data."

_GRID, _HALVINGS = 241, 40
_OTHER = {"params": "tokens", "tokens": "params"}


@dataclass(frozen=True, eq=False)
class DataBudget(Result):
    """Tokens that a model needs, or params that data can carry or need.

    Attributes
    ----------
    given, wanted : str
        ``params`` and ``tokens``, or the other way round.
    value : float
        The raw count that is given.
    overfit, target : float or None
        The bound on overfit, or the loss to be reached, in nats per token.
    needed : xarray.DataArray
        Dims (chain, draw): the least that reaches the target or avoids the overfit; the most
        params for which the data are enough. Infinite where nothing does, or where any size
        is fine.
    exponent : xarray.DataArray or None
        Dims (chain, draw): d log wanted / d log given; for a bound on overfit only.
    least : xarray.DataArray or None
        Dims (chain, draw): the lowest loss within reach, for a target.
    within : float or None
        The largest raw count that was searched; None where the search has no limit.
    largest : float or None
        The largest count of the wanted quantity among the runs.
    """

    law: str
    given: str
    wanted: str
    value: float
    overfit: float | None
    target: float | None
    ci_prob: float
    needed: xr.DataArray
    exponent: xr.DataArray | None
    least: xr.DataArray | None
    within: float | None
    largest: float | None
    drift: bool
    provenance: Mapping[str, Any]
    by_law: tuple["DataBudget", ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def p_reachable(self) -> float:
        """Probability that a finite amount is enough; for most params, that there is a most."""
        return float(np.isfinite(self.needed).mean())

    @property
    def quantiles(self) -> dict[str, float]:
        """Median and interval of ``needed``, by rank because draws may be infinite."""
        return quantiles_by_rank(self.needed, self.ci_prob)

    @property
    def _bounds_params(self) -> bool:
        return self.overfit is not None and self.wanted == "params"

    def _answer(self) -> dict[str, Any]:
        key = "params_allowed" if self._bounds_params else f"{self.wanted}_needed"
        return {key: self.quantiles, "p_reachable": self.p_reachable, "exponent": self.exponent}

    def _json(self) -> dict[str, Any]:
        return {
            "law": self.law,
            "interval": self.ci_prob,
            self.given: self.value,
            "overfit": self.overfit,
            "target": self.target,
            **self._answer(),
            "least_loss": self.least,
            "within": self.within,
            "drift": self.drift,
            "laws": laws_json(self, DataBudget._answer),
            "provenance": self.provenance,
        }

    def _content(self) -> Iterator[str]:
        bound = (
            f"overfit of at most {self.overfit:.3g}"
            if self.overfit is not None
            else f"a loss of {self.target:.4g} nats/token"
        )
        verb = "support at most" if self._bounds_params else "need"
        yield f"{self.law}: for {bound}, {format_size(self.value)} {self.given} {verb}"
        yield f"  {self.amount_text()}"
        for law in self.by_law:
            yield f"    {law.law:<20} {law.amount_text()}"
        if self.exponent is not None:
            exponent = interval_text(
                quantiles(self.exponent, self.ci_prob), lambda x: f"{x:.3f}", self.ci_prob
            )
            published = "; Kaplan et al.: 0.74." if self.wanted == "tokens" else "."
            yield f"  {self.wanted} grow there as {self.given}^{exponent}{published}"
            yield f"  {EXACT_LAW}"
        if self.least is not None and self.p_reachable < 1:
            far = f"up to {format_size(self.within)} {self.wanted}" if self.within else "at all"
            lowest = interval_text(quantiles(self.least, self.ci_prob), lambda x: f"{x:.4f}")
            yield (
                f"  Not reachable {far} with probability {1 - self.p_reachable:.1%}: the lowest "
                f"loss there is {lowest}."
            )
        median = self.quantiles["median"]
        if self.largest is not None and np.isfinite(median):
            yield (
                f"  The median is {median / self.largest:.3g} times the most {self.wanted} of any "
                "fitted run."
            )
        if self.target is not None and not self.drift:
            yield "  Without drift: these intervals take the law to hold exactly."

    def amount_text(self) -> str:
        """Write what is needed, with its interval."""
        infinite = "any number of" if self._bounds_params else "out of reach"
        q = {name: size_text(value, infinite) for name, value in self.quantiles.items()}
        return (
            f"{q['median']} {self.wanted}  ({self.ci_prob:.0%} interval {q['lower']} to "
            f"{q['upper']})"
        )


def size_text(value: float, infinite: str = "out of reach") -> str:
    """Write a raw count, or the words for an infinite one."""
    return format_size(value) if np.isfinite(value) else infinite


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
    allow_unconverged: bool = False,
) -> DataBudget:
    """Find the tokens that a model needs, or the model that tokens support.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens.
    params, tokens : float or str
        One of them, as a raw count or as people write it (``"7B"``); the other is the answer.
    overfit : float, optional
        Bound on L(N, D) / L(N, infinite data) - 1; 0.02 where no target is given. With params,
        the answer is the least tokens that keep to it; with tokens, the most params.
    target : float, optional
        A loss in nats per token to be reached instead: the answer is the least tokens, or
        params, that reach it.
    ci_prob : float
        Mass of the central intervals.
    family : str, optional
        A family of the fit; a new family where not given and families are partially pooled.
    drift : bool
        Whether to allow for the laws' drift on the way to a target.
    allow_unconverged : bool
        Answer although the fit failed its convergence checks.

    Returns
    -------
    DataBudget

    Raises
    ------
    DecisionError
        If not exactly one of params and tokens is given, a value makes no sense, both bounds
        are given, or no draw comes near the target.
    LawError
        If the law is not a function of params and tokens, or has no value for unlimited data.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    Overfit as in Kaplan et al. 2020, section 4.2. It compares with unlimited data, where no run
    can show how the law drifts, so the law is taken to hold exactly. A target under drift is
    searched up to 1,000 times the largest run's count.

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
    if overfit is not None and target is not None:
        raise DecisionError("give `overfit=` or `target=`, not both")
    if target is None:
        overfit = checked_overfit(OVERFIT if overfit is None else overfit)
    elif not 0 < target < np.inf:
        raise DecisionError(f"target is {target:g}, but a loss must be greater than zero")
    question = _Question(given, value, family, overfit, target)
    drifts = drift and target is not None and fit.runs is not None
    largest = None if fit.runs is None else float(fit.runs[question.wanted].max())
    within = None if largest is None or not drifts else FURTHEST * largest
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
            least=fit.mix(lowest) if lowest else None,
            within=within,
            largest=largest,
            drift=drifts,
            provenance=fit.record["provenance"],
            **more,
        )

    answer = with_each_law(fit, parts, result)
    if target is not None and answer.p_reachable == 0:
        raise DecisionError(_unreachable_text(answer))
    return answer


def _unreachable_text(answer: DataBudget) -> str:
    far = "unlimited" if answer.within is None else f"up to {format_size(answer.within)}"
    lowest = quantiles(answer.least, answer.ci_prob)
    return (
        f"a loss of {answer.target:g} nats per token is out of reach of "
        f"{format_size(answer.value)} {answer.given} in every draw: {far} {answer.wanted} leave "
        f"{interval_text(lowest, lambda x: f'{x:.4f}', answer.ci_prob)}. Ask for more than that, "
        f"or for more {answer.given}"
    )


def checked_overfit(overfit: float) -> float:
    """Return a bound on overfit, if it is one.

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

    def loss(self, view: View, value: float, x: xr.DataArray) -> xr.DataArray:
        """Loss at a value of what is given, and x of what is wanted."""
        return view.loss({self.given: xr.full_like(x, value), self.wanted: x}, self.family)


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
    """Make the function from a raw count to the other count that keeps to a bound on overfit.

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
        From a raw count to the other one, dims (chain, draw): the least tokens, or most params.

    Raises
    ------
    LawError
        By the callable, if the law has no value for unlimited data.
    """
    question, view = _Question(given, np.nan, family), posterior.exact
    wants_tokens = question.wanted == "tokens"

    def unlimited(params: xr.DataArray) -> xr.DataArray:
        tokens = xr.full_like(params, UNLIMITED_DATA)
        loss = view.loss({"params": params, "tokens": tokens}, family)
        if not np.isfinite(loss).all():
            raise LawError(f"law {posterior.name!r} has no value for unlimited tokens")
        return loss

    def needed(value: float) -> xr.DataArray:
        floor = unlimited(xr.DataArray(value)) if wants_tokens else None

        def excess(x: xr.DataArray) -> xr.DataArray:
            loss = question.loss(view, value, x)
            over = xr.ufuncs.log(loss / (unlimited(x) if floor is None else floor))
            over = over - np.log1p(bound)
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

    def excess(x: xr.DataArray) -> xr.DataArray:
        return xr.ufuncs.log(question.loss(view, question.value, x) / target)

    grid = xr.DataArray(np.geomspace(1.0, furthest, _GRID), dims="point")
    least = question.loss(view, question.value, grid).min("point")
    return _Part(_first(view, excess, 1.0, furthest), least=least)


def _first(
    view: View,
    excess: Callable[[xr.DataArray], xr.DataArray],
    low: float,
    high: float,
) -> xr.DataArray:
    """Find, draw by draw, the smallest x at which the excess is gone; infinite if none."""
    grid = np.linspace(np.log(low), np.log(high), _GRID)
    each, coords = ("chain", "draw"), view.coords
    on_grid = excess(xr.DataArray(np.exp(grid), dims="point")).transpose(*each, "point")
    gone = on_grid.values <= 0
    first = gone.argmax(axis=-1)
    left, right = (grid[(first - back).clip(0)] for back in (1, 0))
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        there = excess(xr.DataArray(np.exp(middle), dims=each, coords=coords))
        enough = there.transpose(*each).values <= 0
        left, right = np.where(enough, left, middle), np.where(enough, middle, right)
    found = np.where(gone.any(axis=-1), np.exp(right), np.inf)
    return xr.DataArray(found, dims=each, coords=coords)
