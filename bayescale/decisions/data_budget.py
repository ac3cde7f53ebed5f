"""How much data a model needs, how large a model data can carry, and what a target loss takes.

Tokens needed may be endless: where the loss with endless data is above a target, no amount of
them reaches it. That is an answer, and comes with its probability.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayescale.errors import DecisionError, LawError
from bayescale.laws.law import require_split
from bayescale.posterior import (
    DEFAULT_CI_PROB,
    Fit,
    Posterior,
    finite,
    quantiles,
    quantiles_by_rank,
)
from bayescale.units import format_size

OVERFIT = 0.02
"""L(N, D) / L(N, endless) - 1 up to which a model does not overfit: about what seeds scatter."""

UNLIMITED = 1e30
"""Tokens or params beyond which an answer is taken as endless, where the law holds exactly."""

UNLIMITED_DATA = 1e100
"""Tokens that leave nothing to be learnt; finite, so that ratios of them are numbers."""

FURTHEST = 1000.0
"""Times the largest run's tokens or params up to which a target is looked for under drift."""

_GRID, _HALVINGS = 241, 40
_OTHER = {"params": "tokens", "tokens": "params"}


@dataclass(frozen=True, eq=False)
class DataBudget:
    """Tokens that a model needs, or params that data can carry or need.

    Attributes
    ----------
    given, asked : str
        ``params`` and ``tokens``, or the other way round.
    value : float
        Of what is given, as a raw count.
    overfit, target : float or None
        The bound on overfit, or the loss to be reached, in nats per token.
    needed : xarray.DataArray
        Dims (chain, draw): the least that reaches the target or avoids the overfit; the most
        params for which the data are enough. Infinite where nothing does, or where any size
        is fine.
    exponent : xarray.DataArray or None
        Dims (chain, draw): how what is asked grows with what is given, d log / d log; for a
        bound on overfit only.
    least : xarray.DataArray or None
        Dims (chain, draw): the lowest loss within reach, for a target.
    within : float or None
        How far was looked, as a raw count; None where without end.
    """

    law: str
    given: str
    asked: str
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
        """Chance that a finite amount is enough; for most params, that there is a most."""
        return float(np.isfinite(self.needed).mean())

    def _q(self) -> dict[str, float]:
        """Quantiles, of draws some of which may be infinite."""
        return quantiles_by_rank(self.needed, self.ci_prob)

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line; what is endless is None."""
        what = "params_allowed" if self._most else f"{self.asked}_needed"
        q = {k: finite(v) for k, v in self._q().items()}
        exponent = None if self.exponent is None else quantiles(self.exponent, self.ci_prob)
        return {
            "law": self.law,
            "interval": self.ci_prob,
            self.given: self.value,
            "overfit": self.overfit,
            "target": self.target,
            what: q,
            "p_reachable": self.p_reachable,
            "exponent": exponent,
            "least_loss": None if self.least is None else quantiles(self.least, self.ci_prob),
            "within": self.within,
            "drift": self.drift,
            "laws": {
                law.law: {"weight": weight}
                | {key: law.to_json()[key] for key in (what, "p_reachable", "exponent")}
                for law, weight in zip(self.by_law, self.weights, strict=True)
            },
            "provenance": dict(self.provenance),
        }

    @property
    def _most(self) -> bool:
        return self.overfit is not None and self.asked == "params"

    def __str__(self) -> str:
        given = f"{format_size(self.value)} {self.given}"
        bound = (
            f"overfit of at most {self.overfit:.3g}"
            if self.overfit is not None
            else f"a loss of {self.target:.4g} nats/token"
        )
        verb = "carry at most" if self._most else "need"
        lines = [f"{self.law}: for {bound}, {given} {verb}"]
        lines.append(f"  {self._told()}")
        lines += [f"    {law.law:<20} {law._told()}" for law in self.by_law]
        if self.exponent is not None:
            a = quantiles(self.exponent, self.ci_prob)
            lines.append(
                f"  {self.asked} grow as {self.given}^{a['median']:.3f} ({self.ci_prob:.0%} "
                f"interval {a['lower']:.3f} to {a['upper']:.3f}) about there"
                + ("; Kaplan et al.: 0.74." if self.asked == "tokens" else ".")
            )
            lines.append("  The laws are taken to hold exactly: drift has no say on endless data.")
        if self.least is not None and self.p_reachable < 1:
            low = quantiles(self.least, self.ci_prob)
            far = f"up to {format_size(self.within)} {self.asked}" if self.within else "at all"
            lines.append(
                f"  Not reachable {far} with probability {1 - self.p_reachable:.1%}: the lowest "
                f"loss there is {low['median']:.4f} ({low['lower']:.4f} to {low['upper']:.4f})."
            )
        median = self._q()["median"]
        if self.largest is not None and np.isfinite(median):
            lines.append(
                f"  The median is {median / self.largest:.3g} times the most {self.asked} of any "
                "run fitted."
            )
        if self.target is not None and not self.drift:
            lines.append("  Without drift: these intervals take the law to hold exactly.")
        return "\n".join(lines)

    def _told(self) -> str:
        q = {name: _size_told(value, self._most) for name, value in self._q().items()}
        return (
            f"{q['median']} {self.asked}  ({self.ci_prob:.0%} interval {q['lower']} to "
            f"{q['upper']})"
        )


def _size_told(value: float, most: bool) -> str:
    if np.isfinite(value):
        return format_size(value)
    return "any number of" if most else "out of reach"


def data_budget(
    fit: Fit,
    *,
    params: float | None = None,
    tokens: float | None = None,
    overfit: float | None = None,
    target: float | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    drift: bool = True,
    allow_unconverged: bool = False,
) -> DataBudget:
    """Tokens that a model needs, or the model that tokens can carry.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        Of laws of params and tokens.
    params, tokens : float
        One of them, as a raw count; the other is asked for.
    overfit : float, optional
        Bound on L(N, D) / L(N, endless data) - 1; 0.02 where no target is given. With params,
        the least tokens that keep to it; with tokens, the most params.
    target : float, optional
        A loss in nats per token to be reached instead: the least tokens, or params, that do.
    ci_prob : float
        Mass of the central intervals.
    family : str, optional
        A family of the fit; a new family where not given and families are pooled.
    drift : bool
        Whether to allow for the laws' drift on the way to a target.
    allow_unconverged : bool
        Answer although the convergence gate was missed.

    Returns
    -------
    DataBudget

    Raises
    ------
    DecisionError
        If not exactly one of params and tokens is given, a value makes no sense, both bounds
        are given, or no draw comes near the target.
    LawError
        If the law is not of params and tokens, or has no value for endless data.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    Overfit after Kaplan et al. 2020, section 4.2. It compares with endless data, on which no
    run can show how the law drifts, so the law is taken to hold exactly. A target under drift
    is looked for up to 1,000 times the largest run's count.

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
    given, value = _given(params, tokens)
    if overfit is not None and target is not None:
        raise DecisionError("give a bound on overfit or a target loss, not both")
    if target is None:
        overfit = checked_overfit(OVERFIT if overfit is None else overfit)
    elif not 0 < target < np.inf:
        raise DecisionError(f"target is {target:g}, but a loss must be greater than zero")
    asked = _OTHER[given]
    drifts = drift and target is not None and fit.runs is not None
    largest = None if fit.runs is None else float(fit.runs[asked].max())
    within = None if largest is None or not drifts else FURTHEST * largest

    def told(fit: Fit, parts: list[_Solved], **more: Any) -> DataBudget:
        exponents = [part.exponent for part in parts if part.exponent is not None]
        lowest = [part.least for part in parts if part.least is not None]
        return DataBudget(
            law=fit.name,
            given=given,
            asked=asked,
            value=value,
            overfit=overfit,
            target=target,
            ci_prob=ci_prob,
            needed=fit.mix([part.needed for part in parts]),
            exponent=fit.mix(exponents) if len(exponents) == len(parts) else None,
            least=fit.mix(lowest) if lowest else None,
            within=within,
            largest=largest,
            drift=drifts,
            provenance=fit.record["provenance"],
            **more,
        )

    solved = []
    for member in fit.members:
        if target is None:
            assert overfit is not None
            solved.append(_overfit(member, given, value, overfit, family))
        else:
            source = member.drifting() if drifts else member
            solved.append(_target(source, given, value, target, family, within or UNLIMITED))
    by_law = ()
    if len(fit.members) > 1:
        by_law = tuple(told(m, [part]) for m, part in zip(fit.members, solved, strict=True))
    answer = told(fit, solved, by_law=by_law, weights=fit.weights if by_law else ())
    if target is not None and answer.p_reachable == 0:
        assert answer.least is not None
        low = quantiles(answer.least, ci_prob)
        far = "endless" if within is None else f"up to {format_size(within)}"
        raise DecisionError(
            f"a loss of {target:g} nats per token is out of reach of {format_size(value)} {given} "
            f"in every draw: {far} {asked} leave {low['median']:.4f} ({ci_prob:.0%} interval "
            f"{low['lower']:.4f} to {low['upper']:.4f}). Ask for more than that, or for more "
            f"{given}"
        )
    return answer


def checked_overfit(overfit: float) -> float:
    """A bound on overfit.

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
    known = {name: float(value) for name, value in values.items() if value is not None}
    if len(known) != 1:
        raise DecisionError(
            "give either params, to ask for tokens, or tokens, to ask for params; given "
            f"{' and '.join(known) or 'neither'}"
        )
    ((name, value),) = known.items()
    if not 0 < value < np.inf:
        raise DecisionError(f"{name} is {value:g}, but must be finite and above zero")
    return name, value


@dataclass(frozen=True, eq=False)
class _Solved:
    """One law's answer, each dims (chain, draw)."""

    needed: xr.DataArray
    exponent: xr.DataArray | None = None
    least: xr.DataArray | None = None


def overfit_bound(
    posterior: Posterior, given: str, bound: float, family: str | None
) -> Callable[[float], xr.DataArray]:
    """What keeps to a bound on overfit, draw by draw, as a function of the count that is given.

    Parameters
    ----------
    posterior : Posterior
    given : {"params", "tokens"}
    bound : float
        On L(N, D) / L(N, endless data) - 1.
    family : str or None

    Returns
    -------
    callable
        From a raw count to the other one, dims (chain, draw): the least tokens, or most params.

    Raises
    ------
    LawError
        By the callable, if the law has no value for endless data.
    """
    asked = _OTHER[given]

    def unlimited(params: xr.DataArray) -> xr.DataArray:
        loss = posterior.loss(
            {"params": params, "tokens": xr.full_like(params, UNLIMITED_DATA)}, family
        )
        if not np.isfinite(loss).all():
            raise LawError(f"law {posterior.name!r} has no value for endless tokens")
        return loss

    def needed(at: float) -> xr.DataArray:
        fixed = unlimited(xr.DataArray(at)) if asked == "tokens" else None  # whatever the tokens

        def excess(x: xr.DataArray) -> xr.DataArray:
            loss = _loss(posterior, given, at, asked, x, family)
            least = unlimited(x) if fixed is None else fixed
            over = xr.ufuncs.log(loss / least) - np.log1p(bound)
            return over if asked == "tokens" else -over

        return _first(posterior, excess, 1.0, UNLIMITED)

    return needed


def _overfit(
    posterior: Posterior, given: str, value: float, bound: float, family: str | None
) -> _Solved:
    needed, half_step = overfit_bound(posterior, given, bound, family), 0.5
    less, more = (needed(value * np.exp(side)) for side in (-half_step, half_step))
    known = bool(np.isfinite(more).all())
    exponent = xr.ufuncs.log(more / less) / (2 * half_step) if known else None
    return _Solved(needed(value), exponent)


def _target(
    posterior: Posterior,
    given: str,
    value: float,
    target: float,
    family: str | None,
    furthest: float,
) -> _Solved:
    asked = _OTHER[given]

    def excess(x: xr.DataArray) -> xr.DataArray:
        return xr.ufuncs.log(_loss(posterior, given, value, asked, x, family) / target)

    grid = xr.DataArray(np.geomspace(1.0, furthest, _GRID), dims="point")
    least = _loss(posterior, given, value, asked, grid, family).min("point")
    return _Solved(_first(posterior, excess, 1.0, furthest), least=least)


def _loss(
    posterior: Posterior,
    given: str,
    value: float,
    asked: str,
    x: xr.DataArray,
    family: str | None,
) -> xr.DataArray:
    return posterior.loss({given: xr.full_like(x, value), asked: x}, family)


def _first(
    posterior: Posterior,
    excess: Callable[[xr.DataArray], xr.DataArray],
    low: float,
    high: float,
) -> xr.DataArray:
    """Draw by draw, the smallest x from low on at which the excess is gone; infinite if none."""
    grid = np.linspace(np.log(low), np.log(high), _GRID)
    each = ("chain", "draw")
    on_grid = excess(xr.DataArray(np.exp(grid), dims="point")).transpose(*each, "point")
    gone = on_grid.values <= 0
    first = gone.argmax(axis=-1)
    coords = {name: posterior.draws[name] for name in each}
    left, right = (grid[(first - back).clip(0)] for back in (1, 0))
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        there = excess(xr.DataArray(np.exp(middle), dims=each, coords=coords))
        enough = there.transpose(*each).values <= 0
        left, right = np.where(enough, left, middle), np.where(enough, middle, right)
    found = np.where(gone.any(axis=-1), np.exp(right), np.inf)
    return xr.DataArray(found, dims=each, coords=coords)
