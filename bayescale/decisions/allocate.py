"""How to split a compute budget between parameters and tokens, and what a split gives up.

The answer is the distribution of the decision, not the decision of the average: each draw
has a best split of its own, and any one split, chosen now, is judged by what every draw says
that it gives up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decisions.allocation import Allocation, EvaluatedSplits, MoreData
from bayescale.decisions.constraints import TOKENS_PER_PARAM, Constraints, checked_budgets
from bayescale.decisions.optimum import (
    Best,
    Losses,
    best_choice,
    best_split,
    draws_for_splits,
    ladder,
    least_compute,
    losses_of,
)
from bayescale.errors import DecisionError, collected
from bayescale.forecasting import Forecast, forecast
from bayescale.laws.law import require_split
from bayescale.posterior import DEFAULT_CI_PROB, Fit, Posterior
from bayescale.units import format_size
from bayescale.verdict import TOLERANCE

MOST_DRAWS = 4000
"""Draws that are optimized, in all; evenly spaced ones where a fit has more."""

MORE_DATA = (2.0, np.inf)
"""Times the unique tokens there are, whose worth is told."""

_HALF_DECADE = np.sqrt(10.0)


def allocate(
    fit: Fit,
    flops: float | Sequence[float] | np.ndarray,
    *,
    max_tokens: float | None = None,
    max_params: float | None = None,
    sizes: Sequence[float] | None = None,
    inference_tokens: float = 0.0,
    options: Sequence[tuple[float, float | None]] = (),
    price: float | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    drift: bool = True,
    losses: bool = True,
    allow_unconverged: bool = False,
) -> Allocation:
    """Split compute budgets between parameters and tokens.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        Of laws of params and tokens.
    flops : float or array_like, shape (budget,)
        Budgets in FLOP: training, 6 N D, and serving where ``inference_tokens`` are given.
    max_tokens : float, optional
        Most training tokens there are. Each is seen once, but by laws that ask how many tokens
        are unique they are repeated as often as pays.
    max_params : float, optional
        Largest model.
    sizes : sequence of float, optional
        The models that can be built, in params.
    inference_tokens : float
        Tokens T to be served later; they cost 2 N T, which the budget pays for, so that the
        best model is smaller.
    options : sequence of (params, tokens)
        Splits to be judged beside the choice. With tokens None, the option has what the
        largest budget leaves it. Each is compared with the best split of what it costs.
    price : float, optional
        Dollars per FLOP, to tell wasted compute in dollars as well.
    ci_prob : float
        Mass of the central intervals.
    tolerance : float
        As for :func:`bayescale.forecast`, for the verdict.
    family : str, optional
        A family of the fit; a new family where not given and families are pooled.
    drift : bool
        Whether to allow for the laws' drift.
    losses : bool
        Whether to forecast the losses of the choice and of options, which takes half of the
        time: else the answer is of splits and what they give up alone.
    allow_unconverged : bool
        Answer although the convergence gate was missed.

    Returns
    -------
    Allocation

    Raises
    ------
    DecisionError
        If a budget, limit or option leaves nothing to choose.
    LawError
        If the law is not of params and tokens.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    The best split of each draw is searched for on the line of all splits that spend the
    budget, from 1e-4 to 1e7 tokens per parameter, under the draw's own law. Splits are
    compared by laws as they stand, with coefficients inferred beside a drift along compute,
    which moves all of them alike (:func:`bayescale.decisions.optimum.deciding`); the loss told of
    the choice allows for any drift. The choice has the least loss averaged over draws, laws in
    proportion to their weights.
    Compute wasted is what remains of its cost beyond the least compute at which the same
    draw's best split reaches the same loss (told up to a factor of 400).

    Examples
    --------
    >>> from bayescale.cards import load_card
    >>> from bayescale.posterior import point
    >>> card = load_card("chinchilla")
    >>> fit = point(card, card.published_values("besiroglu_2024"))
    >>> answer = allocate(fit, 5.76e23).to_json()
    >>> round(answer["tokens_per_param"]["median"], 2)
    18.39
    """
    for member in fit.members:
        require_split(member.law)
    fit.require_converged(allow_unconverged)
    if not 0 < ci_prob < 1:
        raise DecisionError(f"ci_prob is {ci_prob:g}, but must lie between 0 and 1")
    if price is not None and not 0 < price <= 1:
        raise DecisionError(
            f"price is {price:g} dollars per FLOP, but must be above zero and at most 1"
        )
    budgets = checked_budgets(flops)
    repeats = "unique_tokens" in fit.inputs
    limits = Constraints(
        max_tokens=None if repeats else max_tokens,
        unique_tokens=max_tokens if repeats else None,
        max_params=max_params,
        sizes=None if sizes is None else tuple(float(size) for size in sizes),
        inference_tokens=float(inference_tokens),
    )
    named = _named(options, limits, budgets.max())
    rungs = ladder(np.concatenate([budgets, named["flops"]]))
    if limits.sizes is not None:
        limits.buildable(np.concatenate([budgets, named["flops"]]))  # or say which cannot build any
        rungs = rungs[limits.can_build(rungs)]
    most = max(1, MOST_DRAWS // len(fit.members))
    laws = [
        _answering(draws_for_splits(m, drift).thinned(most), family, rungs, budgets, limits)
        for m in fit.members
    ]
    at = laws[0].best.at(budgets)

    def unique(points: pd.DataFrame) -> dict[str, Any]:
        if limits.unique_tokens is None:
            return {}
        return {"unique_tokens": np.minimum(points["tokens"], limits.unique_tokens)}

    def reached(fit: Fit, points: pd.DataFrame) -> Forecast | None:
        if not losses:
            return None
        return forecast(
            fit, params=points["params"], tokens=points["tokens"], **unique(points),
            ci_prob=ci_prob, tolerance=tolerance, family=family, drift=drift,
            allow_unconverged=True,
        )  # fmt: skip

    def told(of: Sequence[_Answering], points: pd.DataFrame, fit: Fit, **more: Any) -> Allocation:
        at_choice = reached(fit, points)
        return Allocation(
            law=fit.name,
            flops=budgets,
            limits=limits,
            ci_prob=ci_prob,
            params=fit.mix([law.as_draws(law.best.params[:, at], "budget") for law in of]),
            tokens=fit.mix([law.as_draws(law.best.tokens[:, at], "budget") for law in of]),
            choice=_judged(of, points, budgets, fit, at_choice),
            exponent=fit.mix([law.exponent for law in of]),
            at_choice=at_choice,
            more_data=_more_data(of, budgets, limits, family, fit),
            at_end=float(np.mean([_at_end(law.best, at) for law in of])),
            drift=drift,
            price=price,
            provenance=fit.record["provenance"],
            meaning=fit.meaning,
            **more,
        )  # fmt: skip

    def chosen(of: Sequence[_Answering], weights: tuple[float, ...]) -> pd.DataFrame:
        choice = best_choice([law.losses for law in of], weights, budgets, limits)
        return _points(*choice, limits)

    judged_options = None
    if len(named):
        spent = named["flops"].to_numpy()
        judged_options = _judged(laws, named, spent, fit, reached(fit, named))
    choice = chosen(laws, fit.weights)
    if len(laws) == 1:
        return told(laws, choice, fit, options=judged_options)
    own = [chosen([law], (1.0,)) for law in laws]
    each = zip(laws, own, fit.members, strict=True)
    return told(
        laws,
        choice,
        fit,
        options=judged_options,
        by_law=tuple(told([law], points, member, options=None) for law, points, member in each),
        weights=fit.weights,
        across=_across(fit, laws, own, budgets),
    )


@dataclass(frozen=True, eq=False)
class _Answering:
    """One law's draws, and the best split in each of every budget on the ladder."""

    posterior: Posterior
    losses: Losses
    best: Best
    exponent: xr.DataArray

    def as_draws(self, values: np.ndarray, dim: str) -> xr.DataArray:
        """Values of shape (draw, ...) under their chain and draw."""
        return _as_draws(self.posterior, values, dim)


def _as_draws(posterior: Posterior, values: np.ndarray, dim: str) -> xr.DataArray:
    coords = {name: posterior.draws[name] for name in ("chain", "draw")}
    shape = tuple(len(c) for c in coords.values())
    return xr.DataArray(values.reshape(*shape, -1), dims=("chain", "draw", dim), coords=coords)


def _answering(
    posterior: Posterior,
    family: str | None,
    rungs: np.ndarray,
    budgets: np.ndarray,
    limits: Constraints,
) -> _Answering:
    losses = losses_of(posterior, family, limits.unique_tokens)
    ends = np.array([budgets.min() / _HALF_DECADE, budgets.max() * _HALF_DECADE])
    free = best_split(losses_of(posterior, family), ends, Constraints())
    growth = np.diff(np.log(free.params), axis=1) / np.log(ends[1] / ends[0])
    exponent = _as_draws(posterior, growth, "budget").isel(budget=0, drop=True)
    return _Answering(posterior, losses, best_split(losses, rungs, limits), exponent)


def _judged(
    laws: Sequence[_Answering],
    points: pd.DataFrame,
    budgets: np.ndarray,
    fit: Fit,
    reached: Forecast | None,
) -> EvaluatedSplits:
    """What splits reach, and what they give up."""
    loss = None if reached is None else reached.loss
    return EvaluatedSplits(points, loss=loss, **_given_up(laws, points, budgets, fit))


def _given_up(
    laws: Sequence[_Answering], points: pd.DataFrame, budgets: np.ndarray, fit: Fit
) -> dict[str, xr.DataArray]:
    """Splits as each law's draws see them, against the best split of these budgets."""
    answers: dict[str, list[xr.DataArray]] = {"regret": [], "wasted": []}
    params, tokens, cost = (points[name].to_numpy() for name in ("params", "tokens", "flops"))
    for law in laws:
        loss = law.losses(params, tokens)
        least = law.best.loss[:, law.best.at(budgets)]
        wasted = cost - np.minimum(least_compute(law.best, np.maximum(loss, least)), cost)
        answers["regret"].append(law.as_draws(np.maximum(loss - least, 0.0), "point"))
        answers["wasted"].append(law.as_draws(wasted, "point"))
    return {name: fit.mix(each) for name, each in answers.items()}


def _more_data(
    laws: Sequence[_Answering],
    budgets: np.ndarray,
    limits: Constraints,
    family: str | None,
    fit: Fit,
) -> tuple[MoreData, ...]:
    """What more unique tokens would be worth, where those there are are limited."""
    if limits.unique_tokens is None:
        return ()
    found = []
    for times in MORE_DATA:
        nats, flops = [], []
        for law in laws:
            losses = losses_of(law.posterior, family, times * limits.unique_tokens)
            best = best_split(losses, law.best.flops, limits)
            at = law.best.at(budgets)
            now = law.best.loss[:, at]
            nats.append(law.as_draws(np.maximum(now - best.loss[:, at], 0.0), "budget"))
            enough = np.minimum(least_compute(best, now), budgets)
            flops.append(law.as_draws(budgets - enough, "budget"))
        found.append(MoreData(times, fit.mix(nats), fit.mix(flops)))
    return tuple(found)


def _across(
    fit: Fit, laws: Sequence[_Answering], own: Sequence[pd.DataFrame], budgets: np.ndarray
) -> pd.DataFrame:
    """What one law's choice gives up where another law holds."""
    rows = []
    for follow, points in zip(fit.members, own, strict=True):
        for holds, law in zip(fit.members, laws, strict=True):
            if holds is follow:
                continue
            given_up = _given_up([law], points, budgets, holds)
            rows += [
                {"flops": flops, "follow": follow.name, "holds": holds.name}
                | {name: float(draws.isel(point=i).mean()) for name, draws in given_up.items()}
                for i, flops in enumerate(budgets)
            ]
    return pd.DataFrame(rows)


def _points(params: np.ndarray, tokens: np.ndarray, limits: Constraints) -> pd.DataFrame:
    cost = limits.cost(params, tokens)
    return pd.DataFrame({"params": params, "tokens": tokens, "flops": cost})


def _named(
    options: Sequence[tuple[float, float | None]], limits: Constraints, budget: float
) -> pd.DataFrame:
    """Named splits, checked, with tokens filled in where the rest of the budget is meant."""
    problems, splits = [], []
    for params, given in options:
        if not 0 < params < np.inf:
            problems.append(f"{params:g} params: must be finite and above zero")
            continue
        tokens = limits.tokens_left(budget, params) if given is None else given
        if not 0 < tokens < np.inf:
            problems.append(
                f"{format_size(params)} params: serving {format_size(limits.inference_tokens)} "
                f"tokens takes {limits.cost(params, 0.0):.3g} FLOP, all of the budget of "
                f"{budget:.3g}"
                if given is None
                else f"{tokens:g} tokens: must be finite and above zero"
            )
        elif limits.max_tokens is not None and tokens > limits.max_tokens:
            problems.append(
                f"{format_size(tokens)} tokens: at most {format_size(limits.max_tokens)} are there"
            )
        splits.append((params, tokens))
    if problems:
        raise DecisionError(collected("these splits cannot be judged:", problems))
    params, tokens = np.array(splits, dtype=float).reshape(-1, 2).T
    return _points(params, tokens, limits)


def _at_end(best: Best, at: np.ndarray) -> float:
    """Share of best splits at an end of the tokens per parameter that are looked at."""
    log_ratio = np.log(best.tokens[:, at] / best.params[:, at])
    low, high = np.log(TOKENS_PER_PARAM)
    return float(((log_ratio < low + 0.01) | (log_ratio > high - 0.01)).mean())
