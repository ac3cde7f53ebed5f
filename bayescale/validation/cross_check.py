"""A fit compared with Chinchilla's approaches 1 and 2, which use the same runs without a law.

If they agree, the answer does not depend on the law's shape. If they do not, either the law or a
parabola is wrong. The error that a parabola would make on the same grid of runs if the law were
right is computed from the posterior's draws.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.conventions import NATS, LossUnit
from bayescale.errors import TrustError, collected, did_you_mean, listed
from bayescale.findings import Finding, note, note_lines
from bayescale.laws.optimum import require_split
from bayescale.posterior import Fit, loss_unit_of, require_plausible_sizes
from bayescale.posterior.methods import asks_fit
from bayescale.random import Purpose
from bayescale.results import DEFAULT_CI_PROB, Result, TextTable
from bayescale.runs import LeftOut, Runs
from bayescale.units import as_size, checked_ci_prob, format_size
from bayescale.validation.approaches import TOLERANCE, Parabolas, envelope, isoflop_groups
from bayescale.validation.split_estimates import (
    BIASES,
    ENDS,
    ENVELOPE,
    ISOFLOP,
    POSTERIOR,
    QUANTITIES,
    TITLES,
    Draws,
    estimate,
    finite_quantiles,
    fit_parabolas,
    frontier_draws,
    frontier_of,
    group_frame,
    group_points,
    law_draws,
    law_optima,
    parabola_bias,
)

MOST_BIAS = 0.02
"""If the expected error of a best size exceeds this share, a warning about approach 2 is given."""

_FEW = 0.01  # share of draws that does not matter for a 90 % interval
_MOST_BUDGETS = 12  # the most budgets in the text


@dataclass(frozen=True, eq=False)
class CrossCheck(Result):
    """Exponents and the best split of a budget, by the posterior and by approaches without a law.

    Attributes
    ----------
    flops : float
        The budget.
    estimates : pandas.DataFrame
        One row per approach and quantity: ``a`` (params grow as C^a), ``b`` (tokens as C^b),
        ``params`` and ``tokens`` at the budget, with ``estimate``, ``lower`` and ``upper``.
        The posterior's estimate of a split is the one that :func:`bayescale.allocate` chooses.
    groups : pandas.DataFrame
        One row per isoFLOP budget: ``budget``, ``flops``, ``n_runs``, ``width`` (largest size
        over smallest), ``params``, ``tokens`` and their intervals at the parabola's minimum,
        ``params_posterior`` and its interval, ``bias`` (of the minimum's params as a share,
        if the law is right) and its interval, ``square``, ``slope``, ``constant``, ``center``
        (of the parabola in log params), ``used``, ``weight`` (in the power law).
    points : pandas.DataFrame
        The runs of those budgets: ``run_id``, ``budget``, ``params``, ``tokens``, ``loss`` (nats
        per token, as in ``groups``).
    loss_unit : LossUnit
        The log's own unit, in which losses are plotted.
    bias : mapping or None
        Expected error of approach 2 on this grid, if the law is right: intervals of
        ``a`` (a difference) and of ``params`` and ``tokens`` at the budget (shares).
    refused : tuple of LeftOut
        Budgets without a parabola, and why.
    missing : mapping of str to str
        Approaches that this log does not allow, and why.
    warnings : tuple of Finding
        Codes ``parabola_bias``, ``minimum_outside``, ``no_minimum``, ``no_residuals``,
        ``disagrees``, ``flops_convention``.
    """

    in_figures = True

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
    loss_unit: LossUnit = NATS

    def of(self, approach: str, quantity: str) -> dict[str, float]:
        """Return one estimate with its interval."""
        at = (self.estimates["approach"] == approach) & (self.estimates["quantity"] == quantity)
        row = self.estimates.loc[at].iloc[0]
        return {end: float(row[end]) for end in ENDS}

    @property
    def approaches(self) -> tuple[str, ...]:
        """The approaches that the log allows, the posterior first."""
        return tuple(dict.fromkeys(self.estimates["approach"]))

    def _table(self) -> pd.DataFrame:
        return self.estimates

    def _json(self) -> dict[str, Any]:
        return {
            "law": self.law,
            "flops": self.flops,
            "interval": self.ci_prob,
            "approaches": {
                name: {quantity: self.of(name, quantity) for quantity in QUANTITIES}
                for name in self.approaches
            },
            "groups": self.groups,
            "expected_bias": self.bias,
            "refused": [item._asdict() for item in self.refused],
            "missing": self.missing,
            "warnings": [warning.to_json() for warning in self.warnings],
            "provenance": self.provenance,
        }

    def brief(self) -> tuple[str, ...]:
        """Return what each approach says the best size is."""
        return tuple(
            f"{TITLES[name]}: {_size_text(self.of(name, 'params'))} params at {self.flops:.3g} FLOP"
            for name in self.approaches
        )

    def _content(self) -> Iterator[str | TextTable]:
        mass = f"{self.ci_prob:.0%}"
        yield (
            f"{self.law} and approaches without a law, at {self.flops:.3g} FLOP ({mass} intervals):"
        )
        yield ""
        yield TextTable.of(
            {
                "": TITLES[name],
                "a (params ~ C^a)": _exponent_text(self.of(name, "a")),
                "best params": _size_text(self.of(name, "params")),
                "best tokens": _size_text(self.of(name, "tokens")),
            }
            for name in self.approaches
        )
        yield (
            "The posterior's a is an average over the budgets of the other approaches, and that of "
            "`allocate` over all runs and the budget that is split."
        )
        for name, why in self.missing.items():
            yield f"{TITLES[name]}: not from this log: {why}"
        if len(self.groups):
            yield f"\nIsoFLOP budgets, best params ({mass} intervals):"
            yield from self._budgets()
        if self.bias is not None:
            params, tokens = (_share_text(self.bias[name]) for name in ("params", "tokens"))
            yield (
                f"\nOn this grid, if {self.law} is right, parabolas put the best params at "
                f"{self.flops:.3g} FLOP {params} off and the best tokens {tokens}, and a off by "
                f"{self.bias['a']['median']:+.3f}."
            )
        if self.refused or self.warnings:
            yield ""
        for item in self.refused[:5]:
            yield f"No parabola for {item.id}: {item.reason}"
        if len(self.refused) > 5:
            yield f"No parabola for {len(self.refused) - 5} more such budgets"
        yield from note_lines(self.warnings)

    def _budgets(self) -> Iterator[str | TextTable]:
        def text(row: Mapping[Any, Any], name: str) -> str:
            return _size_text({end: row[f"{name}{suffix}"] for end, suffix in ENDS.items()})

        shown = self.groups.nlargest(_MOST_BUDGETS, "weight").sort_index()
        yield TextTable.of(
            {
                "budget": f"{row['flops']:.3g}",
                "runs": str(row["n_runs"]),
                "sizes span": f"{row['width']:.3g}x",
                "parabola minimum": text(row, "params")
                if row["used"]
                else "outside its sizes: not used",
                self.law: text(row, "params_posterior"),
            }
            for row in shown.to_dict(orient="records")
        )
        if len(shown) < len(self.groups):
            yield f"and {len(self.groups) - len(shown)} that weigh less"


def _exponent_text(q: Mapping[str, float]) -> str:
    if not np.isfinite(q["lower"]):
        return f"{q['estimate']:.3f} (no interval)"
    return f"{q['estimate']:.3f} ({q['lower']:.3f} to {q['upper']:.3f})"


def _size_text(q: Mapping[str, float]) -> str:
    if not np.isfinite(q["lower"]):
        return f"{format_size(q['estimate'])} (no interval)"
    ends = f"{format_size(q['lower'])} to {format_size(q['upper'])}"
    return f"{format_size(q['estimate'])} ({ends})"


def _share_text(q: Mapping[str, float]) -> str:
    return f"{q['median']:+.1%} ({q['lower']:+.1%} to {q['upper']:+.1%})"


@asks_fit
def cross_check(
    fit: Fit,
    *,
    flops: float | str | None = None,
    tolerance: float = TOLERANCE,
    ci_prob: float = DEFAULT_CI_PROB,
    family: str | None = None,
    allow_unconverged: bool = False,
) -> CrossCheck:
    """Compare a fit's exponents and best split with Chinchilla's approaches 1 and 2.

    Parameters
    ----------
    fit : Posterior or ModelAverage
        A fit of laws of params and tokens to runs.
    flops : float or str, optional
        The budget, in FLOP as the log counts them; by default the largest run's.
    tolerance : float
        Largest spread of compute within one budget, as a share, if the log has no column
        ``isoflop``.
    ci_prob : float
        Mass of the central intervals.
    family : str, optional
        The family whose runs are used; required if the fit has families.
    allow_unconverged : bool
        Answer although the fit failed its convergence checks.

    Returns
    -------
    CrossCheck

    Raises
    ------
    LawError
        If the law cannot split a budget.
    TrustError
        If the log allows neither approach (the message says what it lacks for each), or the fit has
        families and none is named.
    UnconvergedError
        If the fit failed its convergence checks.

    Notes
    -----
    Compute is counted as in the log, by default C = 6 N D, as in every decision of this package.

    Intervals of approach 2 allow for residual noise about the parabolas, normal and the same for
    all budgets; those of approach 1 come from resampled sizes. Neither includes a parabola's own
    error, which grows with the width of the grid and with its distance from the minimum, and
    carries over to every larger budget. The posterior's draws give this error (``bias``).

    References
    ----------
    Hoffmann et al. 2022, arXiv 2203.15556, sections 3.1 and 3.2; Czech et al. 2026, arXiv
    2603.22339, on the bias of approach 2.
    """
    ci_prob = checked_ci_prob(ci_prob)
    fit.require_converged(allow_unconverged)
    for member in fit.members:
        require_split(member.law)
    runs = _runs_of(fit, family)
    if not 0 < tolerance < 1:
        raise TrustError(f"tolerance is {tolerance:g}, but must lie between 0 and 1")
    count = runs.flop_count.flops(runs["params"], runs["tokens"])
    budget = float(count.max()) if flops is None else as_size(flops, "flops")
    require_plausible_sizes(fit, {"flops": budget})
    rng = fit.members[0].rng(Purpose.CROSS_CHECK)
    groups, refused = isoflop_groups(runs, tolerance)
    fitted, led = fit_parabolas(runs, groups, rng), envelope(runs, rng)
    found = {ISOFLOP: fitted, ENVELOPE: led}
    missing = {name: why for name, why in found.items() if isinstance(why, str)}
    if len(missing) == len(found):
        lacks = [f"{TITLES[name]}: {why}" for name, why in missing.items()]
        raise TrustError(collected(f"{runs.source} cannot be cross-checked:", lacks))
    frontiers = {name: frontier_of(one) for name, one in found.items() if not isinstance(one, str)}
    draws = {POSTERIOR: law_draws(fit, frontiers, budget, family)}
    draws |= {name: frontier_draws(frontier, budget) for name, frontier in frontiers.items()}

    table, expected = pd.DataFrame(), None
    if isinstance(fitted, Parabolas):
        bias = parabola_bias(fit, runs, groups, fitted, budget, family)
        centers = np.array([np.log(count[group.runs]).mean() for group in groups])
        optima = law_optima(fit, np.exp(centers), family)
        table = group_frame(runs, groups, fitted, bias, optima, ci_prob)
        errors = {name: finite_quantiles(bias[:, i], ci_prob) for i, name in enumerate(BIASES)}
        if np.isfinite([error["median"] for error in errors.values()]).all():
            expected = errors
    estimates = [
        {"approach": name, "quantity": quantity, **estimate(values[quantity], ci_prob)}
        for name, values in draws.items()
        for quantity in QUANTITIES
    ]
    return CrossCheck(
        law=fit.name,
        flops=budget,
        ci_prob=ci_prob,
        estimates=pd.DataFrame(estimates),
        groups=table,
        points=group_points(runs, groups),
        loss_unit=loss_unit_of(fit),
        bias=expected,
        refused=refused,
        missing=missing,
        warnings=(
            *_grid_notes(table, expected, budget),
            *_draw_notes(draws, fitted),
            *_disagreements(draws, expected, ci_prob, rng),
            *_count_notes(runs),
        ),
        provenance=fit.record["provenance"],
    )


def _runs_of(fit: Fit, family: str | None) -> Runs:
    if fit.runs is None:
        raise TrustError("a point estimate was not fitted to any runs: there is nothing to check")
    if family is None and fit.families:
        raise TrustError(
            "runs of several families do not lie on one curve: name one of "
            f"{', '.join(fit.families)} with `family=`"
        )
    if family is None:
        return fit.runs
    if family not in fit.families:
        raise TrustError(
            f"family {family!r} is not among those of this fit: "
            f"{', '.join(fit.families) or 'it does not tell families apart'}"
            f"{did_you_mean(family, fit.families)}"
        )
    return fit.runs.take(lambda frame: frame["family"].astype(str) == family, "another family")


# warnings


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
            f"to {used['width'].max():.3g} times, and not centered on the minimum alike, approach "
            f"2 is expected to miss the best split of {budget:.3g} FLOP by {worst:.1%}, however "
            "small the residual noise; narrower grids centered on the minimum miss it by less",
        )
    outside = groups.loc[~groups["used"], "flops"]
    if len(outside):
        yield note(
            "minimum_outside",
            f"the parabola has no minimum between the sizes tried at "
            f"{listed(f'{flops:.3g}' for flops in outside)} FLOP, so these budgets are left out of "
            "the power law: try smaller or larger models there",
        )


def _draw_notes(draws: Mapping[str, Draws], fitted: Parabolas | str) -> Iterator[Finding]:
    if isinstance(fitted, Parabolas) and not np.isfinite(fitted.residual_sd):
        yield note(
            "no_residuals",
            "each parabola goes through three runs exactly, which leaves no residuals, so "
            "approach 2 has no intervals: add a fourth size at some budget",
        )
    for name in (name for name in draws if name != POSTERIOR):
        without = float(np.isnan(draws[name]["a"][1:]).mean())
        if _FEW < without < 1:
            yield note(
                "no_minimum",
                f"in {without:.1%} of its draws {TITLES[name]} finds no best size: its intervals "
                "are of the others, and overconfident",
            )


def _disagreements(
    draws: Mapping[str, Draws],
    expected: Mapping[str, Mapping[str, float]] | None,
    ci_prob: float,
    rng: np.random.Generator,
) -> Iterator[Finding]:
    law = np.log(draws[POSTERIOR]["params"][1:])
    for name in (name for name in draws if name != POSTERIOR):
        own = np.log(draws[name]["params"][1:])
        if np.isnan(own).all():
            continue
        error = np.log1p(expected["params"]["median"]) if expected and name == ISOFLOP else 0.0
        ratio = finite_quantiles(np.exp(own - error - rng.choice(law, len(own))), ci_prob)
        if not ratio["lower"] <= 1 <= ratio["upper"]:
            corrected = ", corrected for its expected error," if error else ""
            yield note(
                "disagrees",
                f"{TITLES[name]}{corrected} puts the best params at {ratio['median']:.2f} times "
                f"the posterior's ({ci_prob:.0%} interval {ratio['lower']:.2f} to "
                f"{ratio['upper']:.2f}): the runs and the law's shape disagree; see "
                "which sizes the law misses with `fit.summary()`, and fit another law",
            )


def _count_notes(runs: Runs) -> Iterator[Finding]:
    if not runs.flop_count.is_6nd:
        yield note("flops_convention", f"compute is counted as {runs.flop_count.in_words()}")
