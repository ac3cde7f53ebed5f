"""How to split a compute budget between parameters and tokens, and the regret of a split.

Each draw has its own best split, so the answer is a distribution of best splits. The single split
that has to be chosen now is evaluated under every draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import FlopCount, LossUnit
from bayescale.decisions.allocation import Allocation
from bayescale.decisions.evaluated import EvaluatedSplits
from bayescale.decisions.given_up import across_laws, given_up, more_data
from bayescale.errors import DecisionError, collected
from bayescale.forecasting import Forecast, forecast
from bayescale.laws.optimum import require_split
from bayescale.posterior import (
    Fit,
    cautions,
    flop_count_of,
    loss_unit_of,
    require_plausible_sizes,
)
from bayescale.posterior.methods import asks_fit
from bayescale.results import DEFAULT_CI_PROB
from bayescale.runs import Runs
from bayescale.splits import (
    Constraints,
    Solved,
    best_split,
    checked_budgets,
    chosen,
    limits_of,
    losses_of,
    solve,
    solve_down_to,
    without_rounding,
)
from bayescale.splits.hardware import Cluster
from bayescale.splits.served import mean_served
from bayescale.splits.utilization import GpuTimeCount, Utilization
from bayescale.units import as_size, checked_ci_prob, format_size
from bayescale.verdict import TOLERANCE

_HALF_DECADE = np.sqrt(10.0)


@asks_fit
def allocate(  # noqa: PLR0913
    fit: Fit,
    flops: float | str | Sequence[float | str] | np.ndarray | None = None,
    *,
    days: float | str | Sequence[float | str] | np.ndarray | None = None,
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
        Budgets in FLOP as the fitted log counts them (6 N D unless it says otherwise), for training
        and, with ``inference_tokens``, for serving.
    days : float, str or array_like, shape (budget,), optional
        Budgets in days of all GPUs of ``cluster``, instead of ``flops``. If utilization depends on
        the model's size, the same time is another compute for each size, and all splits are
        compared at equal time. Serving is assumed to reach the utilization of training.
    max_tokens : float or str, optional
        The largest number of training tokens that are available. Each is used once, except by laws
        with ``unique_tokens``, which repeat them as often as it pays.
    max_params : float or str, optional
        The largest model, in params.
    sizes : sequence of float or str, optional
        The models that can be built, in params.
    inference_tokens : float, str or tuple of two
        Tokens T to be served later. Each costs a third of a training token (2 N T), which the
        budget has to pay, so that the best model is smaller. Two numbers are the ends of a
        log-normal 90 % interval: the budget of the choice then holds on average, and each draw has
        its own tokens, see below.
    options : sequence of (params, tokens)
        Splits to evaluate besides the choice. If tokens is None, the rest of the largest budget is
        spent on tokens. Each option is compared with the best split of the same cost.
    price : float, optional
        Dollars per FLOP, for wasted compute in dollars as well.
    cluster : Cluster, optional
        The GPUs to train on. Budgets are then also given in days, GPU-hours and dollars, and the
        model's training state has to fit into their memory.
    ci_prob : float
        Mass of the central intervals.
    tolerance : float
        As for :func:`bayescale.forecast`, for the verdict.
    family : str, optional
        A family of the fit; by default a new family, if families are partially pooled.
    drift : bool
        Whether to allow for the laws' drift.
    losses : bool
        Whether to forecast the losses of the choice and of options, and to compute how params grow
        with compute, which takes half of the time. Otherwise the answer has only splits and their
        regret.
    loss_unit : str, optional
        The unit of losses and regret; by default the fitted log's own: see
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
    The best split of each draw is searched among the splits that spend the budget, over the runs'
    range of tokens per parameter and 1.5 e-folds (a factor of 4.5) beyond it on both sides. Within
    a draw, all splits are compared by the same law and drift: drift along compute is equal for all
    of them, and drift across tokens per parameter makes the best split as uncertain as the law's
    form. The choice minimizes the loss averaged over draws, with laws in proportion to their
    weights. If drift differs between splits, the loss of each draw is here the law's own, moved so
    that its minimum is the draw's best split and its least loss: the drift's own minima would make
    the choice jump as the budget grows. Losses and regret of the choice include the drift.

    Tokens to be served that are uncertain are independent of the law: each draw is paired with its
    own, at random and the same in every call. The best split of a draw spends the budget with its
    own tokens. The choice minimizes the loss averaged over draws, among the splits whose cost,
    averaged over the tokens, is the budget; because cost is proportional to them, only their mean
    matters for it. In each draw a split has its own cost, and its regret and wasted compute compare
    it with the best split of that cost.

    Wasted compute is the cost of a split minus the least compute at which the same draw's
    best split reaches the same loss (up to a factor of 400). If utilization depends on size and
    budgets are in days, it is GPU time, converted to the FLOP that a model of the split's size
    trains with in that time.

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
        _require_one_price(price, cluster)
    if price is not None and not 0 < price <= 1:
        raise DecisionError(
            f"price is {price:g} dollars per FLOP, but must be above zero and at most 1"
        )
    budgets, count = _budgets(flops, days, cluster, flop_count_of(fit))
    require_plausible_sizes(fit, {"flops": budgets if days is None else None})
    served, interval = _served(inference_tokens)
    limits = limits_of(
        fit,
        max_tokens=_count(max_tokens, "max_tokens"),
        max_params=_count(max_params, "max_params"),
        cluster=cluster,
        sizes=None if sizes is None else tuple(_count(size, "sizes") for size in sizes),
        inference_tokens=served,
        inference_interval=interval,
        count=count,
    )
    named = _named(options, limits, budgets.max())
    unit = loss_unit_of(fit, loss_unit)
    mass = checked_ci_prob(ci_prob)
    question = _Question(budgets, limits, family, drift, mass, price, unit, cluster)
    evaluation = _Evaluation(question, tolerance if losses else None)
    asked = without_rounding(np.concatenate([budgets, named["flops"]]))
    limits.require_a_model(asked)
    laws = solve(fit, asked, limits, family, drift)
    for law in laws:
        law.limits.require_a_model(budgets)
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
        across=across_laws(fit, laws, own, budgets, question.flops(choice), unit),
    )


def _require_one_price(price: float | None, cluster: Cluster) -> None:
    if price is not None and isinstance(cluster.utilization, Utilization):
        raise DecisionError(
            "utilization depends on the model's size, and so does the price of a FLOP: leave "
            "`price=` out, and give the price of an hour of one GPU"
        )


def _budgets(
    flops: Any, days: Any, cluster: Cluster | None, count: FlopCount
) -> tuple[np.ndarray, FlopCount]:
    """Return budgets and their unit, which is GPU time if utilization depends on size."""
    if (flops is None) == (days is None):
        raise DecisionError("give one budget: `flops=`, or `days=` of a cluster")
    if flops is not None:
        return checked_budgets(flops), count
    if cluster is None:
        raise DecisionError("a budget in days needs its GPUs: give `cluster=` as well")
    times = np.atleast_1d(as_size(days, "days"))
    utilization = cluster.utilization
    if not isinstance(utilization, Utilization):
        return checked_budgets(cluster.flops_in(times), "days"), count
    bought = cluster.flops_in(times, utilization.sizes[0])
    return checked_budgets(bought, "days"), GpuTimeCount.of(count, utilization)


def _served(tokens: Any) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of the tokens to be served, and their interval or None."""
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
    """Return a limit as a number if it is text; :class:`Constraints` checks all limits together."""
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
        """Return the split of least expected loss, one row per budget."""
        return _points(*chosen(laws, weights, self.budgets, self.limits), self.limits)

    def flops(self, points: pd.DataFrame) -> np.ndarray:
        """Return the budgets in FLOP, for models with the params of these points."""
        return self.limits.count.in_flops(self.budgets, points["params"].to_numpy())

    def price_at(self, points: pd.DataFrame) -> np.ndarray | None:
        """Return dollars per FLOP for models with the params of these points, or None."""
        if self.price is not None or self.cluster is None:
            return None if self.price is None else np.full(len(points), self.price)
        found = self.cluster.price_per_flop(points["params"].to_numpy())
        return None if found is None else np.broadcast_to(found, len(points))

    def exponent(self, law: Solved, runs: Runs | None, budgets: np.ndarray) -> xr.DataArray:
        """Return the exponent of params in compute, without limits, on average over the scales.

        The average is over the compute of the runs and of the budgets, because a local slope is
        noisy.
        """
        count = self.limits.count.plain
        low, high = budgets.min() / _HALF_DECADE, budgets.max() * _HALF_DECADE
        if runs is not None:
            flops = count.flops(runs["params"], runs["tokens"])
            low, high = min(flops.min(), budgets.min()), max(flops.max(), budgets.max())
        ends = np.array([low, max(high, low * _HALF_DECADE)])
        limits = Constraints(searched=self.limits.searched, count=count)
        free = best_split(losses_of(law.view, self.family), ends, limits)
        growth = np.diff(np.log(free.params), axis=1) / np.log(ends[1] / ends[0])
        return law.view.as_draws(growth, "budget").isel(budget=0, drop=True)


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """The evaluation of splits; ``tolerance`` is None if losses are not requested."""

    question: _Question
    tolerance: float | None

    def forecast(self, fit: Fit, points: pd.DataFrame) -> Forecast | None:
        """Return a forecast of the loss of splits, or None if losses are not requested."""
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
        """Return the losses of splits, and their regret compared with the best of these budgets."""
        reached = self.forecast(fit, points)
        return self._evaluated(laws, points, budgets, fit, reached)

    def _evaluated(
        self,
        laws: Sequence[Solved],
        points: pd.DataFrame,
        budgets: np.ndarray,
        fit: Fit,
        reached: Forecast | None,
    ) -> EvaluatedSplits:
        question = self.question
        found = given_up(laws, points, budgets, fit, question.unit)
        params = points["params"].to_numpy()
        in_flops = xr.DataArray(question.limits.count.in_flops(1.0, params), dims="point")
        return EvaluatedSplits(
            points.assign(flops=points["flops"] * in_flops.values),
            loss=None if reached is None else reached.loss,
            regret=found["regret"],
            wasted=found["wasted"] * in_flops,
            cost=found["cost"] * in_flops if "cost" in found else None,
            price=question.price_at(points),
            loss_unit=question.unit,
        )

    def allocation(
        self, fit: Fit, laws: Sequence[Solved], points: pd.DataFrame, **more: Any
    ) -> Allocation:
        """Return the result for a fit of these laws and their chosen splits."""
        question = self.question
        budgets, limits, flops = question.budgets, question.limits, question.flops(points)
        at_choice = self.forecast(fit, points)
        at = laws[0].best.at(budgets)
        return Allocation(
            law=fit.name,
            flops=flops,
            limits=limits,
            ci_prob=question.ci_prob,
            params=fit.mix([law.view.as_draws(law.best.params[:, at], "budget") for law in laws]),
            tokens=fit.mix([law.view.as_draws(law.best.tokens[:, at], "budget") for law in laws]),
            choice=self._evaluated(laws, points, budgets, fit, at_choice),
            exponent=None
            if at_choice is None
            else fit.mix([question.exponent(law, fit.runs, flops) for law in laws]),
            at_choice=at_choice,
            more_data=more_data(laws, limits, budgets, flops, fit, question.unit, question.family),
            at_end=float(np.mean([_at_end(law, at, limits) for law in laws])),
            drift=question.drift,
            drift_across=any(member.card.drifts_across_splits for member in fit.members),
            cluster=question.cluster,
            provenance=fit.record["provenance"],
            meaning=fit.meaning,
            tested=(fit.record.get("backtest") or {}).get("splits"),
            cautions=cautions(fit),
            loss_unit=question.unit,
            **more,
        )


def _points(params: np.ndarray, tokens: np.ndarray, limits: Constraints) -> pd.DataFrame:
    cost = limits.cost(params, tokens)
    return pd.DataFrame({"params": params, "tokens": tokens, "flops": cost})


def _named(
    options: Sequence[tuple[float, float | None]], limits: Constraints, budget: float
) -> pd.DataFrame:
    """Return the options as a table; tokens of None are what the rest of the budget buys."""
    problems, splits = [], []
    for params, given in options:
        if not 0 < params < np.inf:
            problems.append(f"{params:g} params: must be finite and above zero")
            continue
        tokens = limits.tokens_left(budget, params) if given is None else given
        if not 0 < tokens < np.inf:
            problems.append(
                f"{format_size(params)} params: serving {format_size(limits.inference_tokens)} "
                f"tokens takes {limits.cost(params, 0.0):.3g} {limits.count.unit}, all of the "
                f"budget of {budget:.3g}"
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
