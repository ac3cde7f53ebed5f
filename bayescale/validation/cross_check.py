"""A fit beside Chinchilla's approaches 1 and 2, which see the same runs without its law.

Where they agree, the law's shape is not what decides. Where they do not, either the law is wrong
or a parabola is: how far a parabola is expected to go astray on this very grid, if the law were
right, is computed from the posterior's draws.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import TrustError, collected, listed
from bayescale.findings import Finding, note, note_lines
from bayescale.laws import compute_optimal
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN, require_split
from bayescale.posterior import DEFAULT_CI_PROB, Fit, Posterior, finite, quantiles
from bayescale.random import Purpose
from bayescale.runs import LeftOut, Runs
from bayescale.units import format_size
from bayescale.validation.approaches import (
    TOLERANCE,
    Envelope,
    Frontier,
    Group,
    Parabolas,
    envelope,
    isoflop_groups,
    noiseless,
    parabolas,
    take,
)

POSTERIOR, ISOFLOP, ENVELOPE = "posterior", "isoflop", "envelope"
TOLD = {
    POSTERIOR: "posterior",
    ISOFLOP: "approach 2, isoFLOP parabolas",
    ENVELOPE: "approach 1, envelope",
}
QUANTITIES = ("a", "b", "params", "tokens")
EXPECTED = ("a", "params", "tokens")
MOST_BIAS = 0.02
"""Expected error of a best size, as a share, from which on approach 2 is warned of."""

_BIAS_DRAWS = 400
_OWN_COUNT = 0.02
_FEW = 0.01  # of the draws, which no interval of 90 % feels
_MOST_BUDGETS = 12  # told one by one


@dataclass(frozen=True, eq=False)
class CrossCheck:
    """Exponents and the best split of a budget, by the posterior and by approaches without a law.

    Attributes
    ----------
    flops : float
        The budget.
    estimates : pandas.DataFrame
        One row an approach and quantity: ``a`` (params grow as C^a), ``b`` (tokens as C^b),
        ``params`` and ``tokens`` at the budget, with ``estimate``, ``lower`` and ``upper``.
        For the posterior the estimate is the median of its draws.
    groups : pandas.DataFrame
        One row an isoFLOP budget: ``budget``, ``flops``, ``n_runs``, ``width`` (largest size
        over smallest), ``params``, ``tokens`` and their intervals at the parabola's minimum,
        ``params_posterior`` and its interval, ``bias`` (of the minimum's params as a share,
        were the law right) and its interval, ``square``, ``slope``, ``constant``, ``center``
        (of the parabola in log params), ``used``, ``weight`` (in the power law).
    points : pandas.DataFrame
        The runs of those budgets: ``run_id``, ``budget``, ``params``, ``tokens``, ``loss``.
    bias : mapping or None
        What approach 2 is expected to get wrong on this grid, were the law right: intervals of
        ``a`` (a difference) and of ``params`` and ``tokens`` at the budget (shares).
    refused : tuple of LeftOut
        Budgets without a parabola, and why.
    missing : mapping of str to str
        Approaches that this log cannot show, and why.
    warnings : tuple of Finding
        Codes ``parabola_bias``, ``minimum_outside``, ``no_minimum``, ``no_scatter``,
        ``disagrees``, ``flops_convention``.
    """

    law: str
    flops: float
    ci_prob: float
    estimates: pd.DataFrame
    groups: pd.DataFrame
    points: pd.DataFrame
    bias: Mapping[str, Mapping[str, float]] | None
    refused: tuple[LeftOut, ...]
    missing: Mapping[str, str]
    warnings: tuple[Finding, ...]
    provenance: Mapping[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """The estimates: one row an approach and quantity."""
        return self.estimates.copy()

    def of(self, approach: str, quantity: str) -> dict[str, float]:
        """One estimate with its interval."""
        at = (self.estimates["approach"] == approach) & (self.estimates["quantity"] == quantity)
        row = self.estimates.loc[at].iloc[0]
        return {end: float(row[end]) for end in _ENDS}

    @property
    def approaches(self) -> tuple[str, ...]:
        """Those that the log can show, the posterior first."""
        return tuple(dict.fromkeys(self.estimates["approach"]))

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""

        def plain(values: Mapping[str, float]) -> dict[str, float | None]:
            return {name: finite(value) for name, value in values.items()}

        groups = self.groups.astype(object).where(self.groups.notna(), None)
        return {
            "law": self.law,
            "flops": self.flops,
            "interval": self.ci_prob,
            "approaches": {
                name: {quantity: plain(self.of(name, quantity)) for quantity in QUANTITIES}
                for name in self.approaches
            },
            "groups": groups.to_dict(orient="records"),
            "expected_bias": None
            if self.bias is None
            else {name: plain(values) for name, values in self.bias.items()},
            "refused": [item._asdict() for item in self.refused],
            "missing": dict(self.missing),
            "warnings": [note.to_json() for note in self.warnings],
            "provenance": dict(self.provenance),
        }

    def __str__(self) -> str:
        mass = f"{self.ci_prob:.0%}"
        lines = [
            f"{self.law} beside approaches without a law, at {self.flops:.3g} FLOP "
            f"({mass} intervals):",
            "",
            f"{'':<31}  {'a (params ~ C^a)':<22}  {'best params':<25}  best tokens",
        ]
        for name in self.approaches:
            cells = [_told_exponent(self.of(name, "a"))]
            cells += [_told_size(self.of(name, quantity)) for quantity in ("params", "tokens")]
            lines.append(f"{TOLD[name]:<31}  {cells[0]:<22}  {cells[1]:<25}  {cells[2]}")
        lines += [
            f"{TOLD[name]:<31}  not from this log: {why}" for name, why in self.missing.items()
        ]
        if len(self.groups):
            lines += ["", *self._group_lines()]
        if self.bias is not None:
            lines += ["", self._bias_line()]
        lines += [""] * bool(self.refused or self.warnings)
        lines += [f"No parabola for {item.id}: {item.reason}" for item in self.refused[:5]]
        if len(self.refused) > 5:
            lines.append(f"No parabola for {len(self.refused) - 5} more such budgets")
        lines += note_lines(self.warnings)
        return "\n".join(lines).rstrip()

    def _group_lines(self) -> list[str]:
        head = f"{'budget':<12}  runs  sizes span  {'parabola minimum':<25}  {self.law}"
        lines = [f"IsoFLOP budgets, best params ({self.ci_prob:.0%} intervals):", head]
        shown = self.groups.nlargest(_MOST_BUDGETS, "weight").sort_index()
        for row in shown.to_dict(orient="records"):
            minimum = {n: row[f"params{s}"] for n, s in _ENDS.items()}
            law = {n: row[f"params_posterior{s}"] for n, s in _ENDS.items()}
            lines.append(
                f"{row['flops']:<12.3g}  {row['n_runs']:>4}  {row['width']:>9.3g}x  "
                f"{_told_size(minimum) if row['used'] else 'outside its sizes: not used':<25}  "
                f"{_told_size(law)}"
            )
        if len(shown) < len(self.groups):
            lines.append(f"and {len(self.groups) - len(shown)} that weigh less")
        return lines

    def _bias_line(self) -> str:
        assert self.bias is not None
        params, tokens, a = (self.bias[name] for name in ("params", "tokens", "a"))
        return (
            f"On this grid, were {self.law} right, parabolas would put the best params at "
            f"{self.flops:.3g} FLOP {_told_share(params)} off and the best tokens "
            f"{_told_share(tokens)}, and a off by {a['median']:+.3f}."
        )


_ENDS = {"estimate": "", "lower": "_lower", "upper": "_upper"}


def _told_exponent(q: Mapping[str, float]) -> str:
    if not np.isfinite(q["lower"]):
        return f"{q['estimate']:.3f} (no interval)"
    return f"{q['estimate']:.3f} ({q['lower']:.3f} to {q['upper']:.3f})"


def _told_size(q: Mapping[str, float]) -> str:
    if not np.isfinite(q["lower"]):
        return f"{format_size(q['estimate'])} (no interval)"
    ends = f"{format_size(q['lower'])} to {format_size(q['upper'])}"
    return f"{format_size(q['estimate'])} ({ends})"


def _told_share(q: Mapping[str, float]) -> str:
    return f"{q['median']:+.1%} ({q['lower']:+.1%} to {q['upper']:+.1%})"


def cross_check(
    fit: Fit,
    *,
    flops: float | None = None,
    tolerance: float = TOLERANCE,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    allow_unconverged: bool = False,
) -> CrossCheck:
    """Hold a fit's exponents and best split against Chinchilla's approaches 1 and 2.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        Of laws of params and tokens, with the runs it was fitted to.
    flops : float, optional
        The budget, in FLOP of 6 N D; the largest run's where not given.
    tolerance : float
        How far the compute of runs of one budget may spread, as a share, where the log has no
        column ``isoflop``.
    ci_prob : float
        Mass of the central intervals.
    family : str, optional
        The family whose runs are looked at, where the fit tells families apart.
    allow_unconverged : bool
        Look although the convergence gate was missed.

    Returns
    -------
    CrossCheck

    Raises
    ------
    LawError
        If the law cannot split a budget.
    TrustError
        If the log shows neither approach, each with what it lacks; or families are pooled and
        none is named.
    UnconvergedError
        If the fit failed its gate.

    Notes
    -----
    Budgets are C = 6 N D, as in every decision of this package: the compute of a minimum is six
    times the product of its params and tokens, whatever the log counts.

    Intervals of approach 2 allow for the scatter of runs about their parabolas, pooled over
    budgets and taken to be normal; those of approach 1 are of resampled sizes. Neither knows of a
    parabola's own error, which grows with the width of the grid and with its distance from the
    minimum, and goes on to every larger budget; the posterior's draws tell it (``bias``).

    References
    ----------
    Hoffmann et al. 2022, arXiv 2203.15556, sections 3.1 and 3.2; Czech et al. 2026, arXiv
    2603.22339, on the bias of approach 2.
    """
    fit.require_converged(allow_unconverged)
    for member in fit.members:
        require_split(member.law)
    runs = _runs_of(fit, family)
    if not 0 < tolerance < 1:
        raise TrustError(f"tolerance is {tolerance:g}, but must lie between 0 and 1")
    count = FLOP_PER_PARAM_TOKEN * runs["params"] * runs["tokens"]
    budget = float(count.max()) if flops is None else float(flops)
    if not 0 < budget < np.inf:
        raise TrustError(f"flops is {budget:g}, but must be finite and above zero")

    rng = fit.members[0].rng(Purpose.CROSS_CHECK)
    groups, refused = isoflop_groups(runs, tolerance)
    fitted, led = _parabolas(runs, groups, rng), envelope(runs, rng)
    found = {ISOFLOP: fitted, ENVELOPE: led}
    missing = {name: why for name, why in found.items() if isinstance(why, str)}
    if len(missing) == len(found):
        lacks = [f"{TOLD[name]}: {why}" for name, why in missing.items()]
        raise TrustError(collected(f"{runs.source} cannot be cross-checked:", lacks))
    frontiers = {name: _used(one) for name, one in found.items() if not isinstance(one, str)}

    drawn = {POSTERIOR: _of_law(fit, _range(frontiers), budget, family)}
    drawn |= {name: _of_frontier(frontier, budget) for name, frontier in frontiers.items()}
    estimates = [
        {"approach": name, "quantity": quantity, **_told(name, values[quantity], ci_prob)}
        for name, values in drawn.items()
        for quantity in QUANTITIES
    ]
    told, expected = pd.DataFrame(), None
    if isinstance(fitted, Parabolas):
        bias, optima = _parabola_bias(fit, runs, groups, fitted, budget, family)
        told = _group_frame(runs, groups, fitted, bias, optima, ci_prob)
        expected = {name: _some(bias[:, i], ci_prob) for i, name in enumerate(EXPECTED)}
    return CrossCheck(
        law=fit.name,
        flops=budget,
        ci_prob=ci_prob,
        estimates=pd.DataFrame(estimates),
        groups=told,
        points=_points(runs, groups),
        bias=expected,
        refused=refused,
        missing=missing,
        warnings=(
            *_grid_notes(told, expected, budget),
            *_draw_notes(drawn, fitted),
            *_disagreements(drawn, expected, ci_prob, rng),
            *_count_notes(runs, count),
        ),
        provenance=fit.record["provenance"],
    )


def _runs_of(fit: Fit, family: str | None) -> Runs:
    if fit.runs is None:
        raise TrustError("a point estimate was not fitted to any runs: there is nothing to check")
    if family is None and fit.families:
        raise TrustError(
            "this fit tells families apart, and runs of several do not lie on one curve: name one "
            f"of {', '.join(fit.families)}"
        )
    if family is None:
        return fit.runs
    if family not in fit.families:
        raise TrustError(
            f"family {family!r} is not among those of this fit: "
            f"{', '.join(fit.families) or 'it does not tell families apart'}"
        )
    return fit.runs.take(lambda frame: frame["family"].astype(str) == family, "another family")


def _parabolas(runs: Runs, groups: tuple[Group, ...], rng: np.random.Generator) -> Parabolas | str:
    if len(groups) < 2:
        return (
            f"{len(groups)} budget{'' if len(groups) == 1 else 's'} with three sizes or more, and "
            "a power law needs two: runs of one budget are those of like compute, or of one "
            "value in a column isoflop"
        )
    fitted = parabolas(runs, groups, rng)
    inside = int(fitted.inside.sum())
    if inside < 2:
        return (
            f"of {len(groups)} budgets {inside} ha{'s' if inside == 1 else 've'} a minimum between "
            "the sizes tried, and a power law needs two: try smaller and larger models"
        )
    return fitted


def _used(found: Parabolas | Envelope) -> Frontier:
    """What the power law goes through: minima that sizes on both sides bear out."""
    return take(found.frontier, found.inside) if isinstance(found, Parabolas) else found.frontier


def _range(frontiers: Mapping[str, Frontier]) -> tuple[float, float]:
    """The smallest and the largest budget that an approach looked at."""
    seen = np.concatenate([frontier.log_flops[0] for frontier in frontiers.values()])
    return float(np.exp(np.nanmin(seen))), float(np.exp(np.nanmax(seen)))


# draws of (a, b, params, tokens): the first of an approach's is its estimate


def _draws(fit: Fit, ask: Callable[[Posterior], np.ndarray]) -> np.ndarray:
    """Answers (chain, draw, ...) of each law, pooled into (draw, ...)."""
    answers = []
    for member in fit.members:
        values = ask(member)
        coords = {name: np.arange(values.shape[i]) for i, name in enumerate(("chain", "draw"))}
        dims = ("chain", "draw", *(f"dim_{i}" for i in range(values.ndim - 2)))
        answers.append(xr.DataArray(values, dims=dims, coords=coords))
    mixed = fit.mix(answers).values
    return mixed.reshape(-1, *mixed.shape[2:])


def _optima(member: Posterior, budgets: np.ndarray, family: str | None) -> np.ndarray:
    """Log of the best params by the law as it stands, (chain, draw, budget)."""
    values = {n: draws.values[..., None] for n, draws in member.coefficients(family).items()}
    return np.log(compute_optimal(member.law, budgets, values)[0])


def _of_law(
    fit: Fit, range_: tuple[float, float], budget: float, family: str | None
) -> dict[str, np.ndarray]:
    """Exponents over the budgets looked at, and the best split of the budget."""
    best = _draws(fit, lambda member: _optima(member, np.array([*range_, budget]), family))
    a = (best[:, 1] - best[:, 0]) / np.log(range_[1] / range_[0])
    return _quantities(a, best[:, 2], budget)


def _of_frontier(frontier: Frontier, budget: float) -> dict[str, np.ndarray]:
    return _quantities(frontier.exponent(), frontier.log_params_at(budget), budget)


def _quantities(a: np.ndarray, log_params: np.ndarray, budget: float) -> dict[str, np.ndarray]:
    params = np.exp(log_params)
    tokens = budget / FLOP_PER_PARAM_TOKEN / params
    return {"a": a, "b": 1 - a, "params": params, "tokens": tokens}


def _told(approach: str, values: np.ndarray, ci_prob: float) -> dict[str, float]:
    told = _some(values if approach == POSTERIOR else values[1:], ci_prob)
    estimate = told["median"] if approach == POSTERIOR else float(values[0])
    return {"estimate": estimate, "lower": told["lower"], "upper": told["upper"]}


def _some(values: np.ndarray, ci_prob: float) -> dict[str, float]:
    """Median and interval of the draws that found something."""
    found = values[np.isfinite(values)]
    return quantiles(found if found.size else np.array([np.nan]), ci_prob)


# what a parabola gets wrong


def _parabola_bias(
    fit: Fit,
    runs: Runs,
    groups: tuple[Group, ...],
    fitted: Parabolas,
    budget: float,
    family: str | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Parabolas through each draw's own losses on this grid, against that draw's optimum.

    Returns
    -------
    astray : numpy.ndarray, shape (draw, 3 + budget)
        Errors of a, and of params and tokens at the budget as shares; then of each minimum's
        params.
    optima : numpy.ndarray, shape (draw, budget)
        The law's best params at the budgets, the means of their runs.
    """
    scales = {name: xr.DataArray(runs[name], dims="run") for name in ("params", "tokens")}
    count = np.log(FLOP_PER_PARAM_TOKEN * runs["params"] * runs["tokens"])
    there = np.array([count[group.runs].mean() for group in groups])

    def ask(member: Posterior) -> np.ndarray:
        thin = member.thinned(_BIAS_DRAWS)
        losses = thin.loss(scales, family).transpose("chain", "draw", "run").values
        found = noiseless(runs, groups, losses.reshape(-1, len(runs)), fitted.frontier.weights)
        used = take(found, fitted.inside)
        ends = np.array([used.log_flops.min(), used.log_flops.max()])
        fixed = np.exp([*ends, np.log(budget), *there])
        law = _optima(thin, fixed, family).reshape(-1, len(fixed))
        here = np.exp(found.log_flops).reshape(*losses.shape[:2], -1)
        minima = found.log_params - _optima(thin, here, family).reshape(-1, len(groups))
        a = used.exponent() - (law[:, 1] - law[:, 0]) / np.diff(ends)
        off = used.log_params_at(budget) - law[:, 2]
        told = np.column_stack([a, np.expm1(off), np.expm1(-off), np.expm1(minima), law[:, 3:]])
        return told.reshape(*losses.shape[:2], -1)

    told = _draws(fit, ask)
    last = len(EXPECTED) + len(groups)
    return told[:, :last], np.exp(told[:, last:])


def _group_frame(
    runs: Runs,
    groups: tuple[Group, ...],
    fitted: Parabolas,
    bias: np.ndarray,
    optima: np.ndarray,
    ci_prob: float,
) -> pd.DataFrame:
    frontier = fitted.frontier
    rows = []
    for i, group in enumerate(groups):
        square, slope, constant = fitted.coefficients[i]
        row: dict[str, Any] = {
            "budget": group.name,
            "flops": float(np.exp(np.log(runs["flops"][group.runs]).mean())),
            "n_runs": len(group.runs),
            "width": float(fitted.width[i]),
            "used": bool(fitted.inside[i]),
        }
        params, tokens = np.exp(frontier.log_params[:, i]), np.exp(frontier.log_tokens[:, i])
        quantities = {
            "params": _told(ISOFLOP, params, ci_prob),
            "tokens": _told(ISOFLOP, tokens, ci_prob),
            "params_posterior": _told(POSTERIOR, optima[:, i], ci_prob),
            "bias": _told(POSTERIOR, bias[:, len(EXPECTED) + i], ci_prob),
        }
        for name, told in quantities.items():
            row |= {f"{name}{suffix}": told[end] for end, suffix in _ENDS.items()}
        row["weight"] = frontier.weights[i] * fitted.inside[i]
        row |= {"square": square, "slope": slope, "constant": constant}
        rows.append(row | {"center": fitted.center[i]})
    return pd.DataFrame(rows)


def _points(runs: Runs, groups: tuple[Group, ...]) -> pd.DataFrame:
    columns = ["run_id", "params", "tokens", "loss"]
    parts = [runs.frame.loc[group.runs, columns].assign(budget=group.name) for group in groups]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


# notes


def _grid_notes(
    groups: pd.DataFrame, expected: Mapping[str, Mapping[str, float]] | None, budget: float
) -> Iterator[Finding]:
    if expected is None:
        return
    worst = max(abs(expected[name]["median"]) for name in ("params", "tokens"))
    if worst > MOST_BIAS:
        used = groups[groups["used"]]
        yield note(
            "parabola_bias",
            f"a loss is no parabola in log size: with sizes that span {used['width'].min():.3g} "
            f"to {used['width'].max():.3g} times, and not about the minimum alike, approach 2 is "
            f"expected to miss the best split of {budget:.3g} FLOP by {worst:.1%}, however little "
            "runs scatter; narrower grids centerd on the minimum miss it by less",
        )
    outside = groups.loc[~groups["used"], "flops"]
    if len(outside):
        yield note(
            "minimum_outside",
            f"the parabola has no minimum between the sizes tried at "
            f"{listed(f'{flops:.3g}' for flops in outside)} FLOP, so these budgets are left out of "
            "the power law: try smaller or larger models there",
        )


def _draw_notes(
    drawn: Mapping[str, Mapping[str, np.ndarray]], fitted: Parabolas | str
) -> Iterator[Finding]:
    if isinstance(fitted, Parabolas) and not np.isfinite(fitted.scatter):
        yield note(
            "no_scatter",
            "each parabola goes through three runs exactly, which say nothing of scatter, so "
            "approach 2 has no intervals: add a fourth size at some budget",
        )
    for name in (name for name in drawn if name != POSTERIOR):
        without = float(np.isnan(drawn[name]["a"][1:]).mean())
        if _FEW < without < 1:
            yield note(
                "no_minimum",
                f"in {without:.1%} of its draws {TOLD[name]} finds no best size: its intervals "
                "are of the others, and too narrow",
            )


def _disagreements(
    drawn: Mapping[str, Mapping[str, np.ndarray]],
    expected: Mapping[str, Mapping[str, float]] | None,
    ci_prob: float,
    rng: np.random.Generator,
) -> Iterator[Finding]:
    law = np.log(drawn[POSTERIOR]["params"])
    for name in (name for name in drawn if name != POSTERIOR):
        own = np.log(drawn[name]["params"][1:])
        if np.isnan(own).all():
            continue
        error = np.log1p(expected["params"]["median"]) if expected and name == ISOFLOP else 0.0
        ratio = _some(np.exp(own - error - rng.choice(law, len(own))), ci_prob)
        if not ratio["lower"] <= 1 <= ratio["upper"]:
            beside = ", its expected error taken off," if error else ""
            yield note(
                "disagrees",
                f"{TOLD[name]}{beside} puts the best params at {ratio['median']:.2f} times the "
                f"posterior's ({ci_prob:.0%} interval {ratio['lower']:.2f} to "
                f"{ratio['upper']:.2f}): the runs and the law's shape say different things; see "
                "which sizes the law misses with bayescale summary, and fit another law",
            )


def _count_notes(runs: Runs, count: np.ndarray) -> Iterator[Finding]:
    ratio = float(np.median(runs["flops"] / count))
    if abs(np.log(ratio)) > _OWN_COUNT:
        yield note(
            "flops_convention",
            f"the log counts {ratio:.3g} times 6 N D (median); budgets here are 6 N D",
        )
