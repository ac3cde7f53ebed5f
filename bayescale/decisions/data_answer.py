"""The result of a data budget: tokens or params, and how far they extrapolate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayescale.agreement import disagreement
from bayescale.conventions import NATS, LossUnit
from bayescale.results import (
    DEFAULT_CI_PROB,
    Result,
    interval_text,
    laws_json,
    quantiles,
    quantiles_by_rank,
    withheld,
)
from bayescale.units import format_size, three_digits

FURTHEST = 1000.0
"""Factor beyond the runs' range to which a target is searched under drift. Beyond it no answer is
given."""

EXACT_LAW = "The laws are taken to hold exactly: runs cannot show drift at unlimited data."

_MOST = {"params": "params", "tokens": "tokens", "flops": "FLOP"}


@dataclass(frozen=True, eq=False)
class DataBudget(Result):
    """Tokens that a model needs, or params that the data support or a target needs.

    Attributes
    ----------
    given, wanted : str
        ``params`` and ``tokens``, or vice versa.
    value : float
        The given raw count.
    overfit, target : float or None
        The bound on overfit, or the loss to be reached, in ``loss_unit``.
    needed : xarray.DataArray
        Dims (chain, draw): the fewest tokens or params that reach the target, the fewest tokens
        that keep to the bound on overfit, or the most params for which the tokens are enough.
        Infinite if no number reaches the target or bound, or if any number of params is fine.
    exponent : xarray.DataArray or None
        Dims (chain, draw): d log wanted / d log given; for a bound on overfit only.
    least : xarray.DataArray or None
        Dims (chain, draw): the lowest loss within reach, for a target.
    within : float or None
        The largest raw count that was searched; None if the search has no limit.
    ranges : mapping of str to tuple of float
        Smallest and largest params, tokens and flops of the fitted runs; empty without runs.
    flops : float or None
        Compute of a run at the median; None if the median is not finite or the fit has no runs.
    verdict, verdict_text : str or None
        Whether the loss at the median was tested: see :mod:`bayescale.verdict`.
    """

    law: str
    given: str
    wanted: str
    value: float
    overfit: float | None
    target: float | None
    needed: xr.DataArray
    exponent: xr.DataArray | None
    least: xr.DataArray | None
    within: float | None
    ranges: Mapping[str, tuple[float, float]]
    drift: bool
    provenance: Mapping[str, Any]
    ci_prob: float = DEFAULT_CI_PROB
    flops: float | None = None
    verdict: str | None = None
    verdict_text: str | None = None
    loss_unit: LossUnit = NATS
    by_law: tuple["DataBudget", ...] = ()
    weights: tuple[float, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def p_reachable(self) -> float:
        """Probability that a finite number is enough, or that params have an upper limit."""
        return float(np.isfinite(self.needed).mean())

    @property
    def quantiles(self) -> dict[str, float]:
        """Median and interval of ``needed``; by rank, because draws may be infinite."""
        return quantiles_by_rank(self.needed, self.ci_prob)

    @property
    def refusal(self) -> str | None:
        """Why no number is given: the laws disagree, or it is too far from the runs. Else None."""
        apart = disagreement(self, lambda answer: answer.needed, self.wanted)
        return self._too_far() if apart is None else apart

    @property
    def answered(self) -> bool:
        """Whether a number is given."""
        return self.refusal is None

    def _too_far(self) -> str | None:
        median = self.quantiles["median"]
        if self.wanted not in self.ranges or not np.isfinite(median):
            return None
        low, high = self.ranges[self.wanted]
        if low <= FURTHEST * median and median <= FURTHEST * high:
            return None
        side, end = ("above the most", high) if median > high else ("below the fewest", low)
        bound = "bound on overfit (`overfit=`)" if self.overfit is not None else "loss (`target=`)"
        return (
            f"The answer lies more than {FURTHEST:,.0f} times {side} {self.wanted} of any fitted "
            f"run, {format_size(end)}. So far out, the form of the law and its prior decide, not "
            f"the runs, and no number is given. Ask with another {bound}, or fit runs that come "
            "nearer."
        )

    @property
    def extrapolation(self) -> dict[str, float]:
        """Params, tokens and FLOP at the median, as multiples of the largest run's."""
        at = {self.given: self.value, self.wanted: self.quantiles["median"], "flops": self.flops}
        return {
            name: float(at[name] / self.ranges[name][1])
            for name in ("params", "tokens", "flops")
            if name in self.ranges and at[name] is not None and np.isfinite(at[name])
        }

    @property
    def _bounds_params(self) -> bool:
        return self.overfit is not None and self.wanted == "params"

    def _answer(self) -> dict[str, Any]:
        key = "params_allowed" if self._bounds_params else f"{self.wanted}_needed"
        answer: dict[str, Any] = {
            key: self.quantiles,
            "p_reachable": self.p_reachable,
            "exponent": self.exponent,
            "extrapolation": self.extrapolation,
        }
        return answer if self.refusal is None else withheld(answer)

    def _json(self) -> dict[str, Any]:
        given = self.refusal is None
        return {
            "law": self.law,
            "interval": self.ci_prob,
            self.given: self.value,
            "overfit": self.overfit,
            "target": self.target,
            "unit": self.loss_unit.label,
            "answered": given,
            **self._answer(),
            "least_loss": self.least if given else None,
            "within": self.within,
            "verdict": self.verdict if given else None,
            "why": self.verdict_text if given else self.refusal,
            "drift": self.drift,
            "laws": laws_json(self, DataBudget._law_json),
            "provenance": self.provenance,
        }

    def _law_json(self) -> dict[str, Any]:
        return {**self._answer(), "why": self.refusal}

    def _content(self) -> Iterator[str]:
        bound = (
            f"overfit of at most {self.overfit:.3g}"
            if self.overfit is not None
            else f"a loss of {self.target:.4g} {self.loss_unit.label}"
        )
        verb = "support at most" if self._bounds_params else "need"
        yield f"{self.law}: for {bound}, {format_size(self.value)} {self.given} {verb}"
        refusal = self.refusal
        yield f"  {self.amount_text()}"
        for law in self.by_law:
            yield f"    {law.law:<20} {law.amount_text()}"
        if refusal is None:
            yield from self._more_lines()

    def _more_lines(self) -> Iterator[str]:
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
        if self.wanted in self.extrapolation:
            times = [
                f"{three_digits(x)} times the {_MOST[name]}"
                for name, x in self.extrapolation.items()
            ]
            yield f"  At the median, a run has {', '.join(times)} of the largest fitted ones."
        if self.verdict_text is not None:
            yield f"  {self.verdict_text}"
        if self.target is not None and not self.drift:
            yield "  Without drift: these intervals take the law to hold exactly."

    def amount_text(self) -> str:
        """Return the needed number with its interval as text, or why no number is given."""
        if self.refusal is not None:
            return self.refusal
        infinite = "any number of" if self._bounds_params else "out of reach"
        q = {name: size_text(value, infinite) for name, value in self.quantiles.items()}
        return (
            f"{q['median']} {self.wanted}  ({self.ci_prob:.0%} interval {q['lower']} to "
            f"{q['upper']})"
        )


def size_text(value: float, infinite: str = "out of reach") -> str:
    """Return a raw count as text, or the words for an infinite one."""
    return format_size(value) if np.isfinite(value) else infinite
