"""Which run to buy next: how much each would shrink what is uncertain about a larger one.

Runs that nobody has trained yet are judged on stored draws alone: where draws that say more of
a candidate also say more of the target, seeing the candidate narrows the target.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decisions.candidates import checked_candidates
from bayescale.decisions.constraints import Constraints, checked_budgets
from bayescale.decisions.information_value import NAMES, WORTHWHILE, Beliefs, Target, greedy, judged
from bayescale.decisions.optimum import best_choice, best_split, draws_for_splits, losses_of
from bayescale.errors import DecisionError
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN, OF_THE_DATA, require_split, splits
from bayescale.posterior import Fit, Posterior
from bayescale.units import format_size

MOST_DRAWS = 8000
"""Draws that beliefs are formed from, in all."""

SPLITS = 61
"""Splits among which a regret is looked for."""

MOST_SHOWN = 10


@dataclass(frozen=True, eq=False)
class NextRun:
    """Candidate runs, and what buying each would leave of the uncertainty.

    Attributes
    ----------
    target : {"loss", "regret"}
        What is to become certain: the loss at ``at``, or which split of its budget is best.
    at : mapping
        The scales of the target.
    budget : float
        FLOP to spend on new runs.
    candidates : pandas.DataFrame
        One row a candidate: the laws' inputs, ``flops`` (its price), ``sd_before`` and
        ``sd_after`` of the log of the target's mean loss, ``reduction_per_flop``,
        ``affordable`` within the budget, and ``worthwhile``: whether it takes off a hundredth
        of the uncertainty. Those that are both come first, the best for its price at the top.
        For a regret also ``regret_before`` and ``regret_after`` (expected, nats per token), of
        which the reduction then is.
    batch : pandas.DataFrame
        Runs to buy together within the budget, in the order chosen, with what is left of the
        uncertainty after each: ``sd_after`` or ``regret_after``.
    """

    law: str
    target: Target
    at: Mapping[str, float]
    budget: float
    candidates: pd.DataFrame
    batch: pd.DataFrame
    drift: bool
    provenance: Mapping[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """The candidates."""
        return self.candidates.copy()

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        return {
            "law": self.law,
            "target": self.target,
            "at": dict(self.at),
            "budget": self.budget,
            "candidates": self.candidates.to_dict(orient="records"),
            "batch": self.batch.to_dict(orient="records"),
            "drift": self.drift,
            "provenance": dict(self.provenance),
        }

    def __str__(self) -> str:
        scales = _sizes_told(self.at)
        left = f"{NAMES[self.target]}_after"
        before = self.candidates[f"{NAMES[self.target]}_before"].iloc[0]
        if self.target == "loss":
            lines = [f"{self.law}: the mean loss at {scales} is known within {before:.2%} (sd)."]
            heads = ("sd after", "less per 1e18 FLOP")
        else:
            lines = [
                f"{self.law}: splitting {self.at['flops']:.3g} FLOP now gives up {before:.2g} nats "
                "(expected)."
            ]
            heads = ("regret after", "less per 1e18 FLOP")
        names = [name for name in ("params", "tokens") if name in self.candidates]
        head = "  ".join(f"{name:>8}" for name in (*names, "FLOP"))
        lines += ["", f"{head}  {heads[0]:>12}  {heads[1]:>18}"]
        told = self.candidates[self.candidates["affordable"] & self.candidates["worthwhile"]]
        shown = told.head(MOST_SHOWN)
        for row in shown.to_dict(orient="records"):
            cells = "  ".join(f"{_size(str(n), row[n]):>8}" for n in (*names, "flops"))
            lines.append(
                f"{cells}  {self._told(row[left]):>12}  {1e18 * row['reduction_per_flop']:>18.2g}"
            )
        n, dear = len(self.candidates), int((~self.candidates["affordable"]).sum())
        more = f" ({dear} of which cost more than the budget)" if dear else ""
        lines.append(
            f"{len(told)} of {n} candidates{more} would take off {WORTHWHILE:.0%} of that or more; "
            "best for their price first."
            if len(told)
            else f"None of {n} candidates{more} would take off {WORTHWHILE:.0%} of that: buy none."
        )
        if not len(self.batch):
            return "\n".join(lines)
        spent = float(self.batch["flops"].sum())
        lines += ["", f"Within {self.budget:.3g} FLOP, buy ({spent:.3g} in all):"]
        for row in self.batch.to_dict(orient="records"):
            sizes = {str(n): row[n] for n in (*names, "flops")}
            lines.append(f"  {_sizes_told(sizes)}: leaves {self._told(row[left])}")
        lines.append("Train the first, add its row to the log, fit again, and ask again.")
        if not self.drift:
            lines.append("Without drift: this takes the law to hold exactly.")
        return "\n".join(lines)

    def _told(self, value: float) -> str:
        return f"{value:.2%}" if self.target == "loss" else f"{value:.2g} nats"


def _sizes_told(sizes: Mapping[str, float]) -> str:
    units = {"flops": "FLOP"}
    return ", ".join(f"{_size(name, x)} {units.get(name, name)}" for name, x in sizes.items())


def _size(name: str, value: float) -> str:
    return f"{value:.3g}" if name == "flops" else format_size(value)


def next_run(
    fit: Fit,
    budget: float,
    *,
    params: float | None = None,
    tokens: float | None = None,
    flops: float | None = None,
    target: Target = "loss",
    candidates: pd.DataFrame | None = None,
    drift: bool = True,
    allow_unconverged: bool = False,
) -> NextRun:
    """Rank candidate runs by how much they would tell of a target, for what they cost.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    budget : float
        FLOP to spend on new runs.
    params, tokens, flops : float
        The target: all inputs of the laws, or for laws of params and tokens ``flops`` alone,
        which are then split at least expected loss.
    target : {"loss", "regret"}
        Whether the loss there is to become certain, or which split of ``flops`` is best.
    candidates : pandas.DataFrame, optional
        One row a run that could be trained: the laws' inputs in raw counts, and ``flops``, its
        price, which is 6 N D where not given. Without it, a grid of sizes from the smallest
        run's compute up to the budget, at 5, 20 and 80 tokens per parameter.
    drift : bool
        Whether to allow for the laws' drift.
    allow_unconverged : bool
        Answer although the convergence gate was missed.

    Returns
    -------
    NextRun

    Raises
    ------
    DecisionError
        If the target or the candidates make no sense, or no candidate is within the budget.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    With t and d the log mean losses of target and candidate and s the noise of one run,
    Var(t | d) = Var(t) - Cov(t, d)^2 / (Var(d) + s^2), as if draws were normal; under Student-t
    noise s^2 = sigma^2 (nu + 3) / (nu + 1), the inverse of what one observation tells of its
    center. An excess above the floor counts with its variance, which is at most too much. Regret
    is what the choice of least expected loss gives up; after a candidate the choice is made
    anew, and the regret left is averaged over what the candidate may show (the knowledge
    gradient of Frazier, Powell and Dayanik 2009). Runs to buy together are chosen one by one,
    each given the ones before, once by reduction and once by reduction for the price; the better
    of the two is kept. Drift is allowed for as in :func:`bayescale.forecast`,
    and in comparing splits as in :func:`bayescale.allocate`. No candidate tells of a break
    beyond itself.
    """
    fit.require_converged(allow_unconverged)
    (budget,) = checked_budgets(budget)
    if target not in ("loss", "regret"):
        raise DecisionError(f"target is {target!r}, but must be loss or regret")
    table = checked_candidates(fit, candidates, budget)
    most = max(1, MOST_DRAWS // len(fit.members))
    splitting = [draws_for_splits(m, drift).thinned(most) for m in fit.members]
    asked = {"params": params, "tokens": tokens, "flops": flops}
    at = _target_scales(fit, splitting, asked, target)
    among = _splits(splitting, at["flops"]) if target == "regret" else {}
    sources = [draws_for_candidates(m, drift, target).thinned(most) for m in fit.members]
    scales = [name for name in fit.inputs if name in table]
    buyable = {name: table[name].to_numpy() for name in scales}
    # the target first, then its splits where a regret is asked for, then candidates
    draws = np.concatenate(
        [
            _log_losses(fit, sources, {name: np.array([at[name]]) for name in scales}),
            *([_log_losses(fit, splitting, among)] if among else []),
            _log_losses(fit, sources, buyable),
        ],
        axis=1,
    )
    beliefs = Beliefs.of(draws, _noise(fit, sources, buyable), SPLITS if among else 0)
    table = judged(beliefs, table, target, budget)
    batches = (greedy(beliefs, table, target, budget, by_price) for by_price in (False, True))
    _, batch = min(batches, key=lambda left_and_batch: left_and_batch[0])
    first = ["affordable", "worthwhile", "reduction_per_flop"]
    return NextRun(
        law=fit.name,
        target=target,
        at=at,
        budget=float(budget),
        candidates=table.sort_values(first, ascending=False, kind="stable", ignore_index=True),
        batch=batch,
        drift=drift,
        provenance=fit.record["provenance"],
    )


def _target_scales(
    fit: Fit, sources: list[Posterior], given: Mapping[str, float | None], target: Target
) -> dict[str, float]:
    known = {name: float(value) for name, value in given.items() if value is not None}
    for name, value in known.items():
        if not 0 < value < np.inf:
            raise DecisionError(f"{name} is {value:g}, but must be finite and above zero")
    if target == "regret":
        for member in fit.members:
            require_split(member.law)
    if set(known) == {"flops"} and splits(fit.inputs):
        losses = [losses_of(source) for source in sources]
        choice = best_choice(losses, fit.weights, np.array([known["flops"]]), Constraints())
        return {"params": float(choice[0][0]), "tokens": float(choice[1][0]), **known}
    inputs = [name for name in fit.inputs if name not in OF_THE_DATA]
    if set(known) != set(inputs) or target == "regret":
        needed = [] if target == "regret" else [" and ".join(inputs)]
        if splits(fit.inputs):
            needed.append("flops alone")
        raise DecisionError(
            f"the target is given by {' and '.join(known) or 'nothing'}, but "
            f"{'a regret' if target == 'regret' else f'law {fit.name!r}'} needs "
            f"{', or '.join(needed)}"
        )
    if set(known) == {"params", "tokens"}:
        known["flops"] = FLOP_PER_PARAM_TOKEN * known["params"] * known["tokens"]
    return known


def _splits(sources: list[Posterior], flops: float) -> dict[str, np.ndarray]:
    """Splits of a budget as far apart as the draws' own best ones."""
    best = [best_split(losses_of(source), np.array([flops]), Constraints()) for source in sources]
    log_ratio = np.concatenate([np.log(b.tokens / b.params).ravel() for b in best])
    low, high = np.quantile(log_ratio, [0.005, 0.995])
    params, tokens = Constraints().split(flops, np.linspace(low - 0.05, high + 0.05, SPLITS))
    return {"params": params, "tokens": tokens}


def draws_for_candidates(posterior: Posterior, drift: bool, target: Target) -> Posterior:
    """The draws in which candidates are seen.

    With its drift, which blurs what a run tells; but where splits are compared by the draws of
    another sampling, because the drift does not go along compute, by those.
    """
    apart = target == "regret" and not posterior.card.drifts_along_compute
    return posterior.drifting() if drift and not apart else posterior


def _log_losses(fit: Fit, sources: list[Posterior], places: dict[str, np.ndarray]) -> np.ndarray:
    """Logs of mean losses (draw, place), laws mixed draw by draw, the same draws at all places."""
    inputs = {name: xr.DataArray(x, dims="point") for name, x in places.items()}
    each = [source.loss(inputs).transpose("chain", "draw", "point") for source in sources]
    mixed = fit.mix(each).transpose("chain", "draw", "point").values
    return np.log(mixed.reshape(-1, mixed.shape[-1]))


def _noise(fit: Fit, sources: list[Posterior], places: dict[str, np.ndarray]) -> np.ndarray:
    """Variance of one run about the law at each place, as far as it blurs where its center is."""
    inputs = {name: xr.DataArray(x, dims="point") for name, x in places.items()}
    total = np.zeros(len(next(iter(places.values()))))
    for source, weight in zip(sources, fit.weights, strict=True):
        draws = source.draws
        if "sigma" not in draws:
            raise DecisionError(
                "a point estimate has no uncertainty that a run could shrink: fit runs first"
            )
        variance = source.sigma(inputs) ** 2
        if "excess" in draws:
            variance = variance + draws["excess"] ** 2
        if "nu" in draws:
            variance = variance * (draws["nu"] + 3) / (draws["nu"] + 1)
        total += weight * variance.median(["chain", "draw"]).values
    return total
