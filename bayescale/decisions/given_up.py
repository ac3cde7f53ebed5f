"""The regret of splits of a budget, the worth of more data, and the regret under another law.

Budgets and costs are in the unit of the limits: FLOP, or GPU time.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import LossUnit
from bayescale.decisions.allocation import MoreData
from bayescale.posterior import Fit
from bayescale.splits import Constraints, Solved, best_split, least_compute, losses_of

MORE_DATA = (2.0, np.inf)
"""Multiples of the available unique tokens whose worth is reported."""


def given_up(
    laws: Sequence[Solved], points: pd.DataFrame, budgets: np.ndarray, fit: Fit, unit: LossUnit
) -> Mapping[str, xr.DataArray]:
    """Compare splits, under each law's draws, with the best split of these budgets.

    If tokens to be served are a number for each draw, so is the cost of a split, and the best split
    has the same cost in that draw.

    Returns
    -------
    mapping of str to xarray.DataArray
        ``regret`` in the unit and ``wasted``, dims (chain, draw, point); and ``cost`` of the splits
        if it differs between draws.
    """
    answers: dict[str, list[xr.DataArray]] = {"regret": [], "wasted": []}
    params, tokens, cost = (points[name].to_numpy() for name in ("params", "tokens", "flops"))
    for law in laws:
        loss = law.losses(params, tokens)
        if law.limits.inference_interval is None:
            least = law.best.loss[:, law.best.at(budgets)]
        else:
            cost = law.limits.cost(params, tokens)
            law.limits.require_a_model(cost)
            least = best_split(law.losses, cost, law.limits).loss
            answers.setdefault("cost", []).append(law.view.as_draws(cost, "point"))
        enough = least_compute(law.best, np.maximum(loss, least))
        wasted = cost * _share_saved(enough, least_compute(law.best, least), cost)
        regret = np.maximum(unit.of(loss) - unit.of(least), 0.0)
        answers["regret"].append(law.view.as_draws(regret, "point"))
        answers["wasted"].append(law.view.as_draws(wasted, "point"))
    return {name: fit.mix(each) for name, each in answers.items()}


def _share_saved(enough: np.ndarray, needed: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return the share of the needed compute, within a cost, that is saved, (draw, budget).

    Less than the cost is needed where the drift of a draw lets the loss rise with compute. All
    splits share that rise, so the share is of what the best split needs, and the best split itself
    wastes nothing.
    """
    needed = np.minimum(needed, cost)
    return 1 - np.minimum(enough, needed) / needed


def more_data(
    laws: Sequence[Solved],
    limits: Constraints,
    budgets: np.ndarray,
    flops: np.ndarray,
    fit: Fit,
    unit: LossUnit,
    family: str | None,
) -> tuple[MoreData, ...]:
    """Return the worth of more unique tokens; empty if they are not limited.

    ``flops`` are the budgets in FLOP, shape (budget,).
    """
    if limits.unique_tokens is None:
        return ()
    found = []
    for times in MORE_DATA:
        less, saved = [], []
        for law in laws:
            losses = losses_of(law.view, family, times * limits.unique_tokens)
            best = best_split(losses, law.best.flops, law.limits)
            at = law.best.at(budgets)
            now = law.best.loss[:, at]
            gained = unit.of(now) - unit.of(best.loss[:, at])
            less.append(law.view.as_draws(np.maximum(gained, 0.0), "budget"))
            needed = least_compute(law.best, now)
            share = _share_saved(least_compute(best, now), needed, budgets)
            saved.append(law.view.as_draws(share * flops, "budget"))
        found.append(MoreData(times, fit.mix(less), fit.mix(saved)))
    return tuple(found)


def across_laws(
    fit: Fit,
    laws: Sequence[Solved],
    own: Sequence[pd.DataFrame],
    budgets: np.ndarray,
    flops: np.ndarray,
    unit: LossUnit,
) -> pd.DataFrame:
    """Return the regret of one law's choice if another law holds.

    ``flops`` are the budgets in FLOP, shape (budget,).
    """
    rows = []
    for follow, points in zip(fit.members, own, strict=True):
        for holds, law in zip(fit.members, laws, strict=True):
            if holds is follow:
                continue
            found = given_up([law], points, budgets, holds, unit)
            regret, wasted = (
                found[name].mean(("chain", "draw")).values for name in ("regret", "wasted")
            )
            rows += [
                {"flops": flops[i], "follow": follow.name, "holds": holds.name}
                | {"regret": float(regret[i]), "wasted": float(wasted[i] * flops[i] / budgets[i])}
                for i in range(len(budgets))
            ]
    return pd.DataFrame(rows)
