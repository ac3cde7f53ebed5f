"""Which run to buy next: how much each candidate would reduce the uncertainty of a larger run.

Candidates that have not been trained yet are evaluated on stored draws alone: the more the losses
of a candidate and of the target are correlated over draws, the more the candidate narrows the
target.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import NATS, SIX_ND, FlopCount, LossUnit
from bayescale.decisions.allocate import allocate
from bayescale.decisions.candidates import checked_candidates
from bayescale.decisions.information_value import (
    NAMES,
    WORTHWHILE,
    NormalBeliefs,
    Target,
    best_batch,
    evaluate,
)
from bayescale.decisions.reweighting import Noise, Reweighting
from bayescale.errors import DecisionError
from bayescale.laws.optimum import OF_THE_DATA, require_split, splits
from bayescale.posterior import Fit, View, cautions, flop_count_of, loss_unit_of
from bayescale.posterior.methods import asks_fit, renamed
from bayescale.results import Result, TextTable, laws_json
from bayescale.splits import Constraints, DefaultSplit, checked_budgets, default_split
from bayescale.units import as_size, format_size
from bayescale.verdict import size_scale, sizes

MOST_DRAWS, MOST_WITH_EXCESS = 4000, 1000
"""The most draws that are reweighted; fewer if the noise has an excess, which takes longer."""

SPLITS = 61
"""Number of splits over which a regret is minimized."""

MOST_SHOWN = 10

_OF_LAW = ("at", "candidates", "batch")

NEARLY_NORMAL = 1e6
"""Degrees of freedom of a law with normal noise that is averaged with Student-t laws."""


@dataclass(frozen=True, eq=False)
class NextRun(Result):
    """Candidate runs, and the uncertainty that buying each would leave.

    Attributes
    ----------
    target : {"loss", "regret"}
        The uncertain quantity: the loss at ``at``, or which split of its budget is best.
    at : mapping
        The scales of the target.
    budget : float
        FLOP to spend on new runs.
    candidates : pandas.DataFrame
        One row per candidate: the laws' inputs, ``flops`` (its price), ``sd_before`` and
        ``sd_after`` (of the log of the target's mean loss), ``reduction_per_flop``, ``affordable``
        (within the budget), and ``worthwhile`` (whether it removes a hundredth of the uncertainty).
        Candidates that are both come first, those with the largest reduction per FLOP at the top.
        For a regret also ``regret_before`` and ``regret_after`` (expected, in ``loss_unit``), to
        which the reduction then refers.
    batch : pandas.DataFrame
        Runs to buy together within the budget, in the order of choice, with the uncertainty left
        after each: ``sd_after`` or ``regret_after``.
    refusal : str or None
        How the laws of an average disagree on the split of the target's budget. There is then no
        single target, ``candidates`` and ``batch`` are empty, and ``by_law`` has each law's answer.
    no_larger : str or None
        That no candidate within the budget is larger than the largest fitted run, and what to do;
        None if one is, or if the fit has no runs.
    """

    in_figures = True

    law: str
    target: Target
    at: Mapping[str, float]
    budget: float
    candidates: pd.DataFrame
    batch: pd.DataFrame
    drift: bool
    provenance: Mapping[str, Any]
    flop_count: FlopCount = SIX_ND
    loss_unit: LossUnit = NATS
    cautions: tuple[str, ...] = ()
    refusal: str | None = None
    by_law: tuple["NextRun", ...] = ()
    weights: tuple[float, ...] = ()
    no_larger: str | None = None

    @property
    def answered(self) -> bool:
        """Whether candidates are ranked."""
        return self.refusal is None

    def _json(self) -> Mapping[str, Any]:
        values = {
            **super()._json(),
            "flop_count": self.flop_count.to_json(),
            "unit": self.loss_unit.label,
        }
        for name in ("refusal", "by_law", "weights", "loss_unit"):
            del values[name]
        if not self.answered:
            values |= {"candidates": None, "batch": None}
        laws = laws_json(self, lambda law: {k: getattr(law, k) for k in _OF_LAW})
        return values | {"answered": self.answered, "why": self.refusal, "laws": laws}

    def _table(self) -> pd.DataFrame:
        return self.candidates

    @property
    def _sizes(self) -> list[str]:
        scales = [name for name in ("params", "tokens") if name in self.candidates]
        others = [name for name in self.at if name not in (*scales, "flops")]
        varied = [name for name in others if self.candidates[name].nunique() > 1]
        return [*scales, *varied]

    def _content(self) -> Iterator[str | TextTable]:
        if self.refusal is not None:
            yield f"{self.law}: no single split of {self.at['flops']:.3g} FLOP to learn about."
            yield self.refusal
            for law in self.by_law:
                yield ""
                yield from law.content()
            return
        name = NAMES[self.target]
        before = self.candidates[f"{name}_before"].iloc[0]
        if self.target == "loss":
            where = _sizes_text(self.at)
            yield f"{self.law}: the mean loss at {where} is known within {before:.2%} (sd)."
        else:
            yield (
                f"{self.law}: splitting {self.at['flops']:.3g} FLOP now gives up {before:.2g} "
                f"{self.loss_unit.short} "
                "(expected)."
            )
        yield ""
        useful = self.candidates[self.candidates["affordable"] & self.candidates["worthwhile"]]
        if len(useful):
            yield self._candidate_table(useful.head(MOST_SHOWN))
        yield self._count_text(len(useful))
        if not len(self.batch):
            return
        spent = float(self.batch["flops"].sum())
        yield ""
        yield f"Within {self.budget:.3g} FLOP, buy ({spent:.3g} in all):"
        for row in self.batch.to_dict(orient="records"):
            sizes = {key: row[key] for key in (*self._sizes, "flops")}
            yield f"  {_sizes_text(sizes)}: leaves {self._uncertainty_text(row[f'{name}_after'])}"
        yield "Train the first, add its row to the log, fit again, and ask again."
        if self._sizes[:2] == ["params", "tokens"]:
            yield from map(str.strip, self.flop_count.lines)
        if not self.drift:
            yield "Without drift: this takes the law to hold exactly."

    def brief(self) -> tuple[str, ...]:
        """Return the uncertainty now, and the first run to buy."""
        lines = [part for part in self._content() if isinstance(part, str) and part]
        buys = [i for i, line in enumerate(lines) if ", buy (" in line]
        return (lines[0], *(lines[buys[0] : buys[0] + 2] if buys else lines[1:2]))

    def _candidate_table(self, shown: pd.DataFrame) -> TextTable:
        name = NAMES[self.target]
        return TextTable.of(
            {key: _size_text(key, row[key]) for key in self._sizes}
            | {
                "FLOP": _size_text("flops", row["flops"]),
                f"{name} after": self._uncertainty_text(row[f"{name}_after"]),
                "less per 1e18 FLOP": f"{1e18 * row['reduction_per_flop']:.2g}",
            }
            for row in shown.to_dict(orient="records")
        )

    def _count_text(self, n_useful: int) -> str:
        n, expensive = len(self.candidates), int((~self.candidates["affordable"]).sum())
        more = f" ({expensive} of which cost more than the budget)" if expensive else ""
        if not n_useful:
            so = " alone." if len(self.batch) else ": buy none."
            text = f"None of {n} candidates{more} would remove {WORTHWHILE:.0%} of that{so}"
            return text if self.no_larger is None else f"{text} {self.no_larger}"
        return (
            f"{n_useful} of {n} candidates{more} would remove {WORTHWHILE:.0%} of that or more; "
            "the best for their price come first."
        )

    def _uncertainty_text(self, value: float) -> str:
        return f"{value:.2%}" if self.target == "loss" else f"{value:.2g} {self.loss_unit.short}"


def _sizes_text(sizes: Mapping[str, float]) -> str:
    units = {"flops": "FLOP"}
    return ", ".join(f"{_size_text(name, x)} {units.get(name, name)}" for name, x in sizes.items())


def _size_text(name: str, value: float) -> str:
    return format_size(value) if name in ("params", "tokens") else f"{value:.3g}"


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
    if target not in ("loss", "regret"):
        raise DecisionError(f"target is {target!r}, but must be loss or regret")
    table = checked_candidates(fit, candidates, spend)
    given = {"params": target_params, "tokens": target_tokens, "flops": target_flops}
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
        split = default_split(fit, np.array([known["flops"]]), drift=drift)
        at = {"params": float(split.params[0]), "tokens": float(split.tokens[0]), **known}
        if target == "loss":
            return at, {}
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
    inputs = {name: xr.DataArray(x, dims="point") for name, x in places.items()}
    each = [source.loss(inputs).transpose("chain", "draw", "point") for source in sources]
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
