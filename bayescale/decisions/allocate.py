"""How to split a compute budget between parameters and tokens, and what a split gives up.

The answer is the distribution of the decision, not the decision of the average: each draw
has a best split of its own, and any single split, chosen now, is evaluated under every draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import LossUnit
from bayescale.decisions.allocation import Allocation, MoreData
from bayescale.decisions.evaluated import EvaluatedSplits
from bayescale.errors import DecisionError, collected
from bayescale.forecasting import Forecast, forecast
from bayescale.laws.optimum import require_split
from bayescale.posterior import Fit, cautions, flop_count_of, loss_unit_of
from bayescale.posterior.methods import asks_fit
from bayescale.results import DEFAULT_CI_PROB
from bayescale.runs import Runs
from bayescale.splits import (
    Constraints,
    Solved,
    best_split,
    checked_budgets,
    chosen,
    least_compute,
    losses_of,
    searched_range,
    solve,
    solve_down_to,
    without_rounding,
)
from bayescale.splits.constraints import mean_served
from bayescale.splits.hardware import Cluster
from bayescale.units import as_size, checked_ci_prob, format_size
from bayescale.verdict import TOLERANCE

MORE_DATA = (2.0, np.inf)
"""Multiples of the available unique tokens whose worth is reported."""

_HALF_DECADE = np.sqrt(10.0)


@asks_fit
def allocate(  # noqa: PLR0913
    fit: Fit,
    flops: float | str | Sequence[float | str] | np.ndarray,
    *,
    max_tokens: float | str | None = None,
    max_params: float | str | None = None,
    sizes: Sequence[float | str] | None = None,
    inference_tokens: float | str | Sequence[float | str] = 0.0,
    options: Sequence[tuple[float, float | None]] = (),
    price: float | None = None,
    cluster: Cluster | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    drift: bool = True,
    losses: bool = True,
    loss_unit: str | LossUnit | None = None,
    allow_unconverged: bool = False,
) -> Allocation:
    """Split compute budgets between parameters and tokens.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens.
    flops : float, str or array_like, shape (budget,)
        Budgets in FLOP as the fitted log counts them (6 N D where it does not say): training,
        and serving where ``inference_tokens`` are given.
    max_tokens : float or str, optional
        Most training tokens there are. Each is used once, but laws that ask how many tokens
        are unique repeat them as often as pays.
    max_params : float or str, optional
        Largest model.
    sizes : sequence of float or str, optional
        The models that can be built, in params.
    inference_tokens : float, str or tuple of two
        Tokens T to be served later; each costs a third of training on it (2 N T), which the
        budget pays for, so that the best model is smaller. Two numbers are the ends of a 90 %
        interval, log-normal: the budget then holds on average, and the answer says how far the
        cost may lie from that.
    options : sequence of (params, tokens)
        Splits to be evaluated beside the choice. With tokens None, the option has what the
        largest budget leaves it. Each is compared with the best split of its own cost.
    price : float, optional
        Dollars per FLOP, to report wasted compute in dollars as well.
    cluster : Cluster, optional
        GPUs: budgets are also told in days, GPU-hours and dollars, and the model's training state
        has to fit into their memory. ``cluster.flops_in(days)`` is a budget in days.
    ci_prob : float
        Mass of the central intervals.
    tolerance : float
        As for :func:`bayescale.forecast`, for the verdict.
    family : str, optional
        A family of the fit; a new family where not given and families are partially pooled.
    drift : bool
        Whether to allow for the laws' drift.
    losses : bool
        Whether to forecast the losses of the choice and of options, and to find how params grow
        with compute, which takes half of the time. Without them the answer holds splits and their
        regret alone.
    loss_unit : str, optional
        The unit of losses and regret; the fitted log's own where not given: see
        :func:`bayescale.forecast`.
    allow_unconverged : bool
        Answer although the fit failed its convergence checks.

    Returns
    -------
    Allocation

    Raises
    ------
    DecisionError
        If a budget, limit or option leaves nothing to choose.
    LawError
        If the law is not a function of params and tokens.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    The best split of each draw is searched for on the line of splits that spend the budget,
    from the runs' least tokens per parameter to their most and 1.5 e-folds (a factor of 4.5)
    beyond, each way. Splits are compared by the law with its drift, the same draw for draw:
    drift along compute is equal for all of them, and drift across tokens per parameter makes the
    best split as uncertain as the law's form is. The choice has the least loss averaged over
    draws, laws in proportion to their weights.
    Wasted compute is the cost of a split less the least compute at which the same draw's best
    split reaches the same loss (reported up to a factor of 400).

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
    if cluster is not None:
        price = cluster.price_per_flop if price is None else price
        most = [x for x in (_count(max_params, "max_params"), cluster.max_params) if x is not None]
        max_params = min(most, default=None)
    if price is not None and not 0 < price <= 1:
        raise DecisionError(
            f"price is {price:g} dollars per FLOP, but must be above zero and at most 1"
        )
    budgets = checked_budgets(flops)
    most_tokens = _count(max_tokens, "max_tokens")
    repeats = "unique_tokens" in fit.inputs
    served, interval = _served(inference_tokens)
    limits = Constraints(
        max_tokens=None if repeats else most_tokens,
        unique_tokens=most_tokens if repeats else None,
        max_params=_count(max_params, "max_params"),
        sizes=None if sizes is None else tuple(_count(size, "sizes") for size in sizes),
        inference_tokens=served,
        inference_interval=interval,
        count=flop_count_of(fit),
        searched=searched_range(fit.runs),
    )
    named = _named(options, limits, budgets.max())
    unit = loss_unit_of(fit, loss_unit)
    mass = checked_ci_prob(ci_prob)
    question = _Question(budgets, limits, family, drift, mass, price, unit, cluster)
    evaluation = _Evaluation(question, tolerance if losses else None)
    asked = without_rounding(np.concatenate([budgets, named["flops"]]))
    limits.require_a_model(asked)
    laws = solve(fit, asked, limits, family, drift)
    choice = question.choose(laws, fit.weights)
    own = [question.choose([law], (1.0,)) for law in laws] if len(laws) > 1 else []
    laws = solve_down_to(fit, asked, pd.concat([named, choice, *own]), limits, family, drift)
    evaluated = None
    if len(named):
        evaluated = evaluation.splits(laws, named, named["flops"].to_numpy(), fit)
    if not own:
        return evaluation.allocation(fit, laws, choice, options=evaluated)
    each = zip(fit.members, laws, own, strict=True)
    return evaluation.allocation(
        fit,
        laws,
        choice,
        options=evaluated,
        by_law=tuple(
            evaluation.allocation(member, [law], points, options=None)
            for member, law, points in each
        ),
        weights=fit.weights,
        across=_across(fit, laws, own, budgets, unit),
    )


def _served(tokens: Any) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of tokens to be served, and their interval where it is given."""
    if isinstance(tokens, str) or not isinstance(tokens, Sequence):
        return _count(tokens, "inference_tokens"), None
    if len(tokens) != 2:
        raise DecisionError(
            f"inference_tokens has {len(tokens)} numbers, but must be one number, or the two ends "
            "of a 90 % interval"
        )
    low, high = (_count(end, "inference_tokens") for end in tokens)
    return mean_served(low, high), (low, high)


def _count(value: Any, name: str) -> Any:
    """Read a limit given as text; :class:`Constraints` checks all limits together."""
    return as_size(value, name) if isinstance(value, str) else value


@dataclass(frozen=True, eq=False)
class _Question:
    """Budgets and limits, and how their splits are compared."""

    budgets: np.ndarray
    limits: Constraints
    family: str | None
    drift: bool
    ci_prob: float
    price: float | None
    unit: LossUnit
    cluster: Cluster | None = None

    def choose(self, laws: Sequence[Solved], weights: tuple[float, ...]) -> pd.DataFrame:
        """Find the split of least expected loss, one row a budget."""
        return _points(*chosen(laws, weights, self.budgets, self.limits), self.limits)

    def exponent(self, law: Solved, runs: Runs | None) -> xr.DataArray:
        """Return how params grow with compute, without limits, on average over the scales.

        They are those of the runs and of the budgets; a local slope would be noisy.
        """
        low, high = self.budgets.min() / _HALF_DECADE, self.budgets.max() * _HALF_DECADE
        if runs is not None:
            flops = self.limits.count.flops(runs["params"], runs["tokens"])
            low, high = min(flops.min(), self.budgets.min()), max(flops.max(), self.budgets.max())
        ends = np.array([low, max(high, low * _HALF_DECADE)])
        limits = Constraints(searched=self.limits.searched, count=self.limits.count)
        free = best_split(losses_of(law.view, self.family), ends, limits)
        growth = np.diff(np.log(free.params), axis=1) / np.log(ends[1] / ends[0])
        return law.as_draws(growth, "budget").isel(budget=0, drop=True)


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """How splits become results; ``tolerance`` is None where losses are not asked for."""

    question: _Question
    tolerance: float | None

    def forecast(self, fit: Fit, points: pd.DataFrame) -> Forecast | None:
        """Forecast the loss of splits."""
        if self.tolerance is None:
            return None
        question, unique = self.question, {}
        if question.limits.unique_tokens is not None:
            unique["unique_tokens"] = np.minimum(points["tokens"], question.limits.unique_tokens)
        return forecast(
            fit,
            params=points["params"],
            tokens=points["tokens"],
            **unique,
            ci_prob=question.ci_prob,
            tolerance=self.tolerance,
            family=question.family,
            drift=question.drift,
            loss_unit=question.unit,
            allow_unconverged=True,
        )

    def splits(
        self, laws: Sequence[Solved], points: pd.DataFrame, budgets: np.ndarray, fit: Fit
    ) -> EvaluatedSplits:
        """Say what splits reach, and what they give up beside the best of these budgets."""
        reached = self.forecast(fit, points)
        loss = None if reached is None else reached.loss
        unit = self.question.unit
        given_up = _given_up(laws, points, budgets, fit, unit)
        return EvaluatedSplits(points, loss=loss, loss_unit=unit, **given_up)

    def allocation(
        self, fit: Fit, laws: Sequence[Solved], points: pd.DataFrame, **more: Any
    ) -> Allocation:
        """Make the result for a fit of these laws and their chosen splits."""
        question = self.question
        budgets, limits = question.budgets, question.limits
        at_choice = self.forecast(fit, points)
        at = laws[0].best.at(budgets)
        choice = EvaluatedSplits(
            points,
            loss=None if at_choice is None else at_choice.loss,
            loss_unit=question.unit,
            **_given_up(laws, points, budgets, fit, question.unit),
        )
        return Allocation(
            law=fit.name,
            flops=budgets,
            limits=limits,
            ci_prob=question.ci_prob,
            params=fit.mix([law.as_draws(law.best.params[:, at], "budget") for law in laws]),
            tokens=fit.mix([law.as_draws(law.best.tokens[:, at], "budget") for law in laws]),
            choice=choice,
            exponent=None
            if at_choice is None
            else fit.mix([question.exponent(law, fit.runs) for law in laws]),
            at_choice=at_choice,
            more_data=_more_data(laws, question, fit),
            at_end=float(np.mean([_at_end(law, at, limits) for law in laws])),
            drift=question.drift,
            drift_across=any(member.card.drifts_across_splits for member in fit.members),
            price=question.price,
            cluster=question.cluster,
            provenance=fit.record["provenance"],
            meaning=fit.meaning,
            tested=(fit.record.get("backtest") or {}).get("splits", ()),
            cautions=cautions(fit),
            loss_unit=question.unit,
            **more,
        )


def _given_up(
    laws: Sequence[Solved], points: pd.DataFrame, budgets: np.ndarray, fit: Fit, unit: LossUnit
) -> dict[str, xr.DataArray]:
    """Compare splits, under each law's draws, with the best split of these budgets."""
    answers: dict[str, list[xr.DataArray]] = {"regret": [], "wasted": []}
    params, tokens, cost = (points[name].to_numpy() for name in ("params", "tokens", "flops"))
    for law in laws:
        loss = law.losses(params, tokens)
        least = law.best.loss[:, law.best.at(budgets)]
        wasted = cost - np.minimum(least_compute(law.best, np.maximum(loss, least)), cost)
        regret = np.maximum(unit.of(loss) - unit.of(least), 0.0)
        answers["regret"].append(law.as_draws(regret, "point"))
        answers["wasted"].append(law.as_draws(wasted, "point"))
    return {name: fit.mix(each) for name, each in answers.items()}


def _more_data(laws: Sequence[Solved], question: _Question, fit: Fit) -> tuple[MoreData, ...]:
    """Find what more unique tokens would be worth, where they are limited."""
    limits, budgets = question.limits, question.budgets
    if limits.unique_tokens is None:
        return ()
    found = []
    for times in MORE_DATA:
        less, flops = [], []
        for law in laws:
            unique = times * limits.unique_tokens
            losses = losses_of(law.view, question.family, unique)
            best = best_split(losses, law.best.flops, limits)
            at = law.best.at(budgets)
            now = law.best.loss[:, at]
            saved = question.unit.of(now) - question.unit.of(best.loss[:, at])
            less.append(law.as_draws(np.maximum(saved, 0.0), "budget"))
            enough = np.minimum(least_compute(best, now), budgets)
            flops.append(law.as_draws(budgets - enough, "budget"))
        found.append(MoreData(times, fit.mix(less), fit.mix(flops)))
    return tuple(found)


def _across(
    fit: Fit,
    laws: Sequence[Solved],
    own: Sequence[pd.DataFrame],
    budgets: np.ndarray,
    unit: LossUnit,
) -> pd.DataFrame:
    """Find what one law's choice gives up where another law holds."""
    rows = []
    for follow, points in zip(fit.members, own, strict=True):
        for holds, law in zip(fit.members, laws, strict=True):
            if holds is follow:
                continue
            given_up = _given_up([law], points, budgets, holds, unit)
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
    """Check named splits, and fill in tokens where the rest of the budget is meant."""
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
                f"{format_size(tokens)} tokens: at most {format_size(limits.max_tokens)} exist"
            )
        splits.append((params, tokens))
    if problems:
        raise DecisionError(collected("these splits cannot be evaluated:", problems))
    params, tokens = np.array(splits, dtype=float).reshape(-1, 2).T
    return _points(params, tokens, limits)


def _at_end(law: Solved, at: np.ndarray, limits: Constraints) -> float:
    """Return the share of best splits at an end of the searched tokens per parameter."""
    if limits.sizes is not None:
        return 0.0
    log_ratio = np.log(law.best.tokens[:, at] / law.best.params[:, at])
    low, high = np.log(limits.searched)
    return float(((log_ratio < low + 0.01) | (log_ratio > high - 0.01)).mean())
