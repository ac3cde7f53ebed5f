"""Which run to buy next: how much each candidate would reduce the uncertainty of a larger run.

Candidates that have not been trained yet are evaluated on stored draws alone: the more the losses
of a candidate and of the target are correlated over draws, the more the candidate narrows the
target.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import NATS, LossUnit
from bayescale.decisions.allocate import allocate
from bayescale.decisions.candidates import checked_candidates
from bayescale.decisions.information_value import (
    NormalBeliefs,
    Target,
    best_batch,
    evaluate,
)
from bayescale.decisions.next_run_answer import NextRun
from bayescale.decisions.reweighting import Noise, Reweighting
from bayescale.errors import DecisionError
from bayescale.laws.optimum import OF_THE_DATA, require_split, splits
from bayescale.posterior import (
    Fit,
    View,
    cautions,
    flop_count_of,
    loss_unit_of,
    require_plausible_sizes,
)
from bayescale.posterior.methods import asks_fit, renamed
from bayescale.splits import (
    Constraints,
    DefaultSplit,
    checked_budgets,
    default_sizes,
    default_split,
)
from bayescale.units import as_size
from bayescale.verdict import size_scale, sizes

MOST_DRAWS, MOST_WITH_EXCESS = 4000, 1000
"""The most draws that are reweighted; fewer if the noise has an excess, which takes longer."""

SPLITS = 61
"""Number of splits over which a regret is minimized."""

NEARLY_NORMAL = 1e6
"""Degrees of freedom of a law with normal noise that is averaged with Student-t laws."""


@renamed(params="target_params", tokens="target_tokens", flops="target_flops")
@asks_fit
def next_run(
    fit: Fit,
    budget: float | str,
    *,
    target_params: float | str | None = None,
    target_tokens: float | str | None = None,
    target_flops: float | str | None = None,
    target: Target = "loss",
    candidates: pd.DataFrame | None = None,
    drift: bool = True,
    allow_unconverged: bool = False,
) -> NextRun:
    """Rank candidate runs by how much uncertainty they would remove per FLOP.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    budget : float or str
        FLOP to spend on new runs.
    target_params, target_tokens, target_flops : float or str
        The target: all inputs of the laws; or for laws of params and tokens ``target_flops`` alone,
        which is then split at least expected loss. Raw counts, FLOP, or text such as ``"70B"``.
    target : {"loss", "regret"}
        The quantity to become more certain about: the loss there, or which split of
        ``target_flops`` is best.
    candidates : pandas.DataFrame, optional
        One row per run that could be trained: the laws' inputs in raw counts, and ``flops``, its
        price, which by default is counted as in the log. Inputs that the package does not know may
        vary between candidates; without such a column, they are held as for the target. By default
        a grid from the smallest run's compute up to the budget, at 5, 20 and 80 tokens per
        parameter.
    drift : bool
        Whether to allow for the laws' drift.
    allow_unconverged : bool
        Answer although the fit failed its convergence checks.

    Returns
    -------
    NextRun

    Raises
    ------
    DecisionError
        If the target is incomplete, a value is not finite and above zero, or no candidate is within
        the budget.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    An outcome of a candidate weights every draw by the density of that outcome under the draw. The
    remaining variance of the target's log mean loss, or the remaining regret, is averaged over 201
    outcomes, which are quantiles of the predictive distribution. So noise and drift are as
    uncertain as in the draws. Regret is the expected loss of the best single choice minus that of
    each draw's own best split; after an outcome there is a new choice (the knowledge gradient of
    Frazier, Powell and Dayanik 2009). Runs to buy together are chosen one by one, each given the
    earlier ones, by covariances of the draws: with t and d the log mean losses of target and
    candidate, Var(t | d) = Var(t) - Cov(t, d)^2 / (Var(d) + s^2), where s^2 = sigma^2 (nu + 3) /
    (nu + 1) is the inverse Fisher information of one Student-t observation. This is done once by
    reduction and once by reduction per FLOP, and the better result is kept. The uncertainty that is
    left is then also computed by reweighting, with 400 draws in turn taken as the truth; if fewer
    than 25 effective draws remain, the covariances give the further reduction. Drift is allowed for
    as in :func:`bayescale.forecast`, and between splits as in :func:`bayescale.allocate`. No
    candidate tells anything about a break of the law beyond its own scale.
    """
    fit.require_converged(allow_unconverged)
    spend = float(checked_budgets(budget, "budget")[0])
    require_plausible_sizes(fit, {"budget": spend}, {"budget": "flops"})
    if target not in ("loss", "regret"):
        raise DecisionError(f"target is {target!r}, but must be loss or regret")
    table = checked_candidates(fit, candidates, spend)
    given = {"params": target_params, "tokens": target_tokens, "flops": target_flops}
    require_plausible_sizes(
        fit,
        {f"target_{name}": as_size(size, f"target_{name}") for name, size in given.items()},
        {f"target_{name}": name for name in given},
    )
    if (why := _disagreement(fit, given, drift)) is not None:
        each = partial(
            next_run,
            budget=budget,
            target_flops=target_flops,
            target=target,
            candidates=candidates,
        )
        by_law = tuple(each(m, drift=drift, allow_unconverged=True) for m in fit.members)
        return replace(
            by_law[0],
            law=fit.name,
            at={"flops": as_size(target_flops, "target_flops")},
            candidates=by_law[0].candidates.iloc[:0],
            batch=by_law[0].batch.iloc[:0],
            cautions=cautions(fit),
            refusal=why,
            by_law=by_law,
            weights=fit.weights,
        )
    sources = _sources(fit, drift)
    at, among = _target_scales(fit, given, target, drift)
    at |= fit.held
    scales = [name for name in fit.inputs if name in table]
    buyable = {name: table[name].to_numpy() for name in scales}
    # the target first, then its splits if the target is a regret, then candidates
    draws = np.concatenate(
        [
            _log_losses(fit, sources, {name: np.array([at[name]]) for name in scales}),
            *([_log_losses(fit, sources, among)] if among else []),
            _log_losses(fit, sources, buyable),
        ],
        axis=1,
    )
    n_splits = SPLITS if among else 0
    noise = _noise(fit, sources, buyable)
    beliefs = NormalBeliefs.from_draws(draws, noise.information_loss(), n_splits)
    at_splits, losses = np.split(draws[:, 1:], [n_splits], axis=1)
    exact = Reweighting(draws[:, 0], at_splits, losses, noise)
    table = evaluate(beliefs, exact, table, target, spend)
    batch = best_batch(beliefs, exact, table, target, spend)
    unit = loss_unit_of(fit)
    unit = unit if unit.is_linear else NATS
    if target == "regret":
        table, batch = (_in_unit(frame, unit) for frame in (table, batch))
    first = ["affordable", "worthwhile", "reduction_per_flop"]
    return NextRun(
        law=fit.name,
        target=target,
        at=at,
        budget=spend,
        candidates=table.sort_values(first, ascending=False, kind="stable", ignore_index=True),
        batch=batch,
        drift=drift,
        provenance=fit.record["provenance"],
        flop_count=flop_count_of(fit),
        loss_unit=unit,
        cautions=cautions(fit),
        no_larger=_no_larger(fit, table, spend, given=candidates is not None),
    )


def _no_larger(fit: Fit, table: pd.DataFrame, budget: float, given: bool) -> str | None:
    """Return that no affordable candidate is larger than the largest fitted run, if that is so."""
    if fit.runs is None or size_scale(fit.inputs) != "flops":
        return None
    largest = float(sizes(fit.runs.frame, fit.inputs).max())
    larger = table["flops"] > largest * 1.01  # budgets are stated to three digits
    if not np.isfinite(largest) or (larger & (table["flops"] <= budget)).any():
        return None
    offers = larger.any() or not given
    return (
        "No candidate within the budget is larger than the largest fitted run, which cost "
        f"{largest:.3g} FLOP: "
        + ("a larger budget offers larger runs." if offers else "name larger candidates.")
    )


def _sources(fit: Fit, drift: bool) -> list[View]:
    """Return each law's draws, thinned so that outcomes of all candidates can be weighted."""
    most = MOST_WITH_EXCESS if fit.members[0].card.is_floor else MOST_DRAWS
    return [member.view(drift).thinned(max(1, most // len(fit.members))) for member in fit.members]


def _in_unit(frame: pd.DataFrame, unit: LossUnit) -> pd.DataFrame:
    """Convert regrets, which are differences of losses, from nats."""
    names = [n for n in frame if str(n).startswith("regret_") or n == "reduction_per_flop"]
    return frame.assign(**{str(name): unit.of(frame[name]) for name in names})


def _disagreement(fit: Fit, given: Mapping[str, float | str | None], drift: bool) -> str | None:
    """Return how laws disagree on the split of the target's budget, or None."""
    known = [name for name, value in given.items() if value is not None]
    if known != ["flops"] or len(fit.members) == 1 or not splits(fit.inputs):
        return None
    flops = as_size(given["flops"], "target_flops")
    split = allocate(fit, flops, drift=drift, losses=False, allow_unconverged=True)
    return split.refusal(0)


def _target_scales(
    fit: Fit, given: Mapping[str, float | str | None], target: Target, drift: bool
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the target's scales, and the splits over which its regret is minimized."""
    known = {
        name: as_size(value, f"target_{name}") for name, value in given.items() if value is not None
    }
    if target == "regret":
        for member in fit.members:
            require_split(member.law)
    if set(known) == {"flops"} and splits(fit.inputs):
        budget = np.array([known["flops"]])
        params, tokens = default_sizes(fit, budget, drift=drift)
        at = {"params": float(params[0]), "tokens": float(tokens[0]), **known}
        if target == "loss":
            return at, {}
        split = default_split(fit, budget, drift=drift)
        return at, _splits(split, known["flops"], Constraints(count=flop_count_of(fit)))
    inputs = [name for name in fit.inputs if name not in (*OF_THE_DATA, *fit.held)]
    if set(known) != set(inputs) or target == "regret":
        needed = [] if target == "regret" else [_arguments(inputs)]
        if splits(fit.inputs):
            needed.append(f"{_arguments(['flops'])} alone")
        raise DecisionError(
            f"the target is given by {_arguments(known) or 'nothing'}, but "
            f"{'a regret' if target == 'regret' else f'law {fit.name!r}'} needs "
            f"{', or '.join(needed)}"
        )
    if set(known) == {"params", "tokens"}:
        known["flops"] = flop_count_of(fit).flops(known["params"], known["tokens"])
    return known, {}


def _arguments(names: Iterable[str]) -> str:
    return " and ".join(f"`target_{name}=`" for name in names)


def _splits(split: DefaultSplit, flops: float, limits: Constraints) -> dict[str, np.ndarray]:
    """Return splits of a budget that span the best splits of the draws."""
    log_ratio = np.log((split.best["tokens"] / split.best["params"]).values)
    low, high = np.quantile(log_ratio, [0.005, 0.995])
    params, tokens = limits.split(flops, np.linspace(low - 0.05, high + 0.05, SPLITS))
    return {"params": params, "tokens": tokens}


def _log_losses(fit: Fit, sources: list[View], places: dict[str, np.ndarray]) -> np.ndarray:
    """Return logs of mean losses, shape (draw, place), with the laws' draws mixed."""
    each = [source.as_draws(source.losses(places), "point") for source in sources]
    mixed = fit.mix(each).transpose("chain", "draw", "point").values
    return np.log(mixed.reshape(-1, mixed.shape[-1]))


def _noise(fit: Fit, sources: list[View], places: dict[str, np.ndarray]) -> Noise:
    """Return the noise of a single run, with the laws' draws mixed."""
    inputs = {name: xr.DataArray(x, dims="point") for name, x in places.items()}
    if not all("sigma" in source.draws for source in sources):
        raise DecisionError(
            "a point estimate has no uncertainty that a run could reduce: fit runs first"
        )
    one = xr.ones_like(next(iter(inputs.values())))
    sigma = fit.mix([(source.sigma(inputs) * one) for source in sources])
    sigma = sigma.transpose("chain", "draw", "point").values

    def mixed(name: str, absent: float) -> np.ndarray | None:
        if not any(name in source.draws for source in sources):
            return None
        each = [s.draws.get(name, xr.full_like(s.draws["sigma"], absent)) for s in sources]
        return fit.mix(each).transpose("chain", "draw").values.ravel()

    shape = (-1, sigma.shape[-1])
    return Noise(sigma.reshape(shape), mixed("nu", NEARLY_NORMAL), mixed("excess", 0.0))
