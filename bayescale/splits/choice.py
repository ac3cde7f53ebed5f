"""The default split of a budget: the one with the least expected loss over the draws of a fit.

Drift across tokens per parameter moves the best split of each draw. It also bends the loss along a
budget, at the same places for all budgets and as much as the law does. The mean over draws then has
several minima that are about equally low, and the least one may jump between them as the budget
grows. So the loss that a split gives up in a draw is judged by the law's curve, moved to the draw's
best split.

Every command that splits a budget calls these functions, so all of them name the same split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import FlopCount
from bayescale.posterior import Fit, View, flop_count_of
from bayescale.random import Purpose
from bayescale.splits.constraints import Constraints, searched_range
from bayescale.splits.hardware import Cluster
from bayescale.splits.optimum import (
    Best,
    Losses,
    best_choice,
    best_split,
    ladder,
    losses_of,
    with_shape_of_law,
    without_rounding,
)

MOST_DRAWS = 4000
"""The most draws that are optimized, over all laws; evenly spaced ones if a fit has more."""

FEWEST_DRAWS = 1000
"""The fewest draws that are optimized, over all laws, if tokens to be served are uncertain. A fit
with fewer, such as a point estimate, repeats its draws, each time with other tokens."""

DEPTHS = (1.5, 3.0, 6.0)
"""E-folds of compute below the smallest budget in which wasted compute is searched, one after the
other until it is found: at most a factor of 400."""

_FEWEST_RUNGS = 3  # from which the slope of a curve can be estimated
_CLOSER = 2.0 ** -np.arange(0.5, 10, 0.5)  # shares of the way from the lowest cost to the budget

MOST_KEPT = 256
"""Number of budgets whose best splits are kept for each view; each takes 100 kB."""

_KEPT: WeakKeyDictionary[View, dict[Any, tuple[np.ndarray, ...]]] = WeakKeyDictionary()


def limits_of(
    fit: Fit,
    *,
    max_tokens: float | None = None,
    max_params: float | None = None,
    cluster: Cluster | None = None,
    count: FlopCount | None = None,
    **more: Any,
) -> Constraints:
    """Return limits on the splits of a fit, which are searched about the range of its runs.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    max_tokens : float, optional
        The most tokens that are available: of training, or unique ones if the law repeats them.
    max_params : float, optional
        The largest model, in params.
    cluster : Cluster, optional
        The GPUs whose memory has to hold the model's training state.
    count : FlopCount, optional
        How compute is counted; by default as the fitted log counts it.
    more
        Further fields of :class:`Constraints`.
    """
    repeats = "unique_tokens" in fit.inputs
    memory = None if cluster is None else cluster.max_params
    return Constraints(
        max_tokens=None if repeats else max_tokens,
        unique_tokens=max_tokens if repeats else None,
        max_params=min((most for most in (max_params, memory) if most is not None), default=None),
        count=count or flop_count_of(fit),
        searched=searched_range(fit.runs),
        **more,
    )


@dataclass(frozen=True, eq=False)
class Solved:
    """One law's draws, and the best split of every budget in each draw.

    Attributes
    ----------
    view : View
        The law's draws; all laws of a fit have at most :data:`MOST_DRAWS` together.
    losses : callable
        See :data:`bayescale.splits.optimum.Losses`.
    best : Best
    limits : Constraints
        The limits of the draws: uncertain tokens to be served are a number for each draw.
    law : callable or None
        The losses without drift, if drift differs between splits.
    """

    view: View
    losses: Losses
    best: Best
    limits: Constraints
    law: Losses | None = None

    def curves(self, flops: np.ndarray, limits: Constraints) -> list[Losses]:
        """Return the losses by which splits of each of these budgets are compared for a choice."""
        if self.law is None:
            return [self.losses] * len(flops)
        free, best = replace(limits, sizes=None), self.best.of(flops)
        if limits.sizes is not None or limits.inference_interval is not None:
            best = best_split(self.losses, flops, free)
        return with_shape_of_law(self.law, best, free)


def solve(
    fit: Fit, flops: np.ndarray, limits: Constraints, family: str | None = None, drift: bool = True
) -> list[Solved]:
    """Return the best splits of budgets in each draw of each law."""
    budgets = without_rounding(flops)
    drawn = _drawn(fit, limits, drift)
    return [solved(view, budgets, limits, family, own) for view, own in drawn]


def solved(
    view: View,
    flops: np.ndarray,
    limits: Constraints,
    family: str | None = None,
    own: Constraints | None = None,
) -> Solved:
    """Return the best splits of budgets in each draw of a view; ``own`` are its draws' limits."""
    own = limits if own is None else own
    law = None
    if view.drifts and view.card.drifts_across_splits:
        law = losses_of(view.without_walk(), family, limits.unique_tokens)
    return Solved(view, *_best(view, flops, limits, own, family), own, law)


def solve_down_to(
    fit: Fit,
    flops: np.ndarray,
    points: pd.DataFrame,
    limits: Constraints,
    family: str | None = None,
    drift: bool = True,
) -> list[Solved]:
    """Return the best splits of budgets down to the losses of given splits in every draw.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    flops : numpy.ndarray, shape (budget,)
    points : pandas.DataFrame
        The given splits, with the columns ``params`` and ``tokens``.
    limits : Constraints
    """
    splits = points["params"].to_numpy(), points["tokens"].to_numpy()
    drawn = [own for _, own in _drawn(fit, limits, drift)]
    if limits.inference_interval is not None:
        costs = np.concatenate([np.ravel(own.cost(*splits)) for own in drawn])
        flops = np.concatenate([flops, [costs.min(), costs.max()]])
    # more unique tokens may save more compute than any of these splits wastes
    laws = []
    for depth in DEPTHS if limits.unique_tokens is None else DEPTHS[-1:]:
        rungs = ladder(flops, depth)
        if limits.sizes is not None:
            rungs = _trainable(rungs, drawn)
        laws = solve(fit, rungs, limits, family, drift)
        if all((law.losses(*splits).max(axis=1) < law.best.loss[:, 0]).all() for law in laws):
            break
    return laws


def _trainable(rungs: np.ndarray, drawn: Sequence[Constraints]) -> np.ndarray:
    """Return the rungs of a ladder that train one of the sizes, in at least one draw.

    If hardly any does, because serving the smallest size takes most of the budget, further rungs
    approach that cost.
    """
    able = [np.atleast_2d(own.can_train(rungs)).any(axis=0) for own in drawn]
    found = rungs[np.any(able, axis=0)]
    if len(found) >= _FEWEST_RUNGS:
        return found
    least = min(float(np.min(own.cost(min(own.sizes or ()), 1.0))) for own in drawn)
    return np.union1d(found, least + (found[-1] - least) * _CLOSER)


def _best(
    view: View, flops: np.ndarray, limits: Constraints, own: Constraints, family: str | None
) -> tuple[Losses, Best]:
    """Return the best splits of budgets, and keep them for later questions.

    Budgets of a :func:`ladder` recur, so a question about another budget solves only that one.
    ``own`` are the limits of the view's draws, which follow from the limits.
    """
    losses, kept = losses_of(view, family, limits.unique_tokens), _KEPT.setdefault(view, {})
    if len(kept) + len(flops) > MOST_KEPT:
        kept.clear()
    keys = [(limits, family, x) for x in flops.tolist()]
    new = [i for i, key in enumerate(keys) if key not in kept]
    if new:
        found = best_split(losses, flops[new], own)
        for at, i in enumerate(new):
            parts = found.params, found.tokens, found.loss
            kept[keys[i]] = tuple(part[:, at].copy() for part in parts)
    columns = zip(*(kept[key] for key in keys), strict=True)
    return losses, Best(flops, *(np.stack(column, axis=1) for column in columns))


def chosen(
    laws: Sequence[Solved], weights: Sequence[float], flops: np.ndarray, limits: Constraints
) -> tuple[np.ndarray, np.ndarray]:
    """Return params and tokens of the splits with the least expected loss, each (budget,)."""
    if all(law.law is None for law in laws):
        return best_choice([law.losses for law in laws], tuple(weights), flops, limits)
    by_budget = zip(*(law.curves(flops, limits) for law in laws), strict=True)
    params, tokens = zip(
        *(
            best_choice(list(curves), tuple(weights), flops[i : i + 1], limits)
            for i, curves in enumerate(by_budget)
        ),
        strict=True,
    )
    return np.concatenate(params), np.concatenate(tokens)


@dataclass(frozen=True, eq=False)
class DefaultSplit:
    """The default split of budgets, without limits.

    Attributes
    ----------
    params, tokens : numpy.ndarray, shape (budget,)
        The split with the least expected loss.
    best : mapping of str to xarray.DataArray
        Dims (chain, draw, point): ``params`` and ``tokens`` of each draw's best split.
    by_law : tuple of mapping
        The best splits of each law of a fit.
    """

    params: np.ndarray
    tokens: np.ndarray
    best: Mapping[str, xr.DataArray]
    by_law: tuple[Mapping[str, xr.DataArray], ...]


def default_split(
    fit: Fit, flops: np.ndarray, family: str | None = None, drift: bool = True
) -> DefaultSplit:
    """Return the default splits of budgets in FLOP, shape (budget,) in any order.

    Raises
    ------
    DecisionError
        If a budget is too small to train any model.
    """
    limits, budgets, place = _with_places(fit, flops)
    laws = solve(fit, budgets, limits, family, drift)
    params, tokens = chosen(laws, fit.weights, budgets, limits)
    by_law = tuple(
        {
            name: law.view.as_draws(getattr(law.best.of(flops), name), "point")
            for name in ("params", "tokens")
        }
        for law in laws
    )
    best = {name: fit.mix([law[name] for law in by_law]) for name in ("params", "tokens")}
    return DefaultSplit(params[place], tokens[place], best, by_law)


def default_sizes(
    fit: Fit,
    flops: np.ndarray,
    family: str | None = None,
    drift: bool = True,
    limits: Constraints | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return params and tokens of :func:`default_split`, each (budget,), or within limits."""
    limits, budgets, place = _with_places(fit, flops, limits)
    laws = solve(fit, budgets, limits, family, drift)
    params, tokens = chosen(laws, fit.weights, budgets, limits)
    return params[place], tokens[place]


def _with_places(
    fit: Fit, flops: np.ndarray, limits: Constraints | None = None
) -> tuple[Constraints, np.ndarray, np.ndarray]:
    """Return limits, the distinct budgets from small to large, and each budget's place in them."""
    if limits is None:
        limits = limits_of(fit)
    budgets, place = np.unique(flops, return_inverse=True)
    limits.require_a_model(budgets)
    return limits, budgets, place


def _drawn(fit: Fit, limits: Constraints, drift: bool) -> list[tuple[View, Constraints]]:
    """Return the draws of each law, with their limits."""
    views = _views(fit, drift)
    if limits.inference_interval is not None:
        views = [view.repeated(FEWEST_DRAWS // len(views)) for view in views]
    return [
        (view, limits.of_draws(view.rng(Purpose.SERVED_TOKENS), view.n_draws)) for view in views
    ]


def _views(fit: Fit, drift: bool) -> list[View]:
    most = max(1, MOST_DRAWS // len(fit.members))
    return [member.view(drift).thinned(most) for member in fit.members]
