"""Where a card and the runs disagree: its priors, and the shape of its residual noise.

A posterior combines card and runs even if they disagree. If the runs pull a coefficient out of the
range that the card calls plausible, or the residuals do not look like the card's noise, the answers
rest on a compromise between the two that nobody chose.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from bayescale.cards import ModelCard, log_size
from bayescale.cards.prior import PRIOR_MASS
from bayescale.errors import listed
from bayescale.findings import Finding, note
from bayescale.posterior.fit import Fit
from bayescale.posterior.fitted_runs import densities_of_runs
from bayescale.posterior.held import held_lines
from bayescale.posterior.posterior import Posterior
from bayescale.posterior.predict import View
from bayescale.results import quantiles
from bayescale.runs.log import SCALES

LEAST_OUTSIDE = 0.9
"""A conflict is at least this posterior probability beyond an end of a prior's 90 % interval."""

FEWEST_RUNS, SIGNIFICANT = 12, 0.002
"""The fewest runs for tests of residuals, and the p-value below which these report a finding."""

MOST_DRAWS = 500
"""The most draws that residuals are scored with."""

IN_SHORT: Mapping[str, str] = MappingProxyType(
    {
        "heavy_tails": "a few runs lie much farther from the law than most do; "
        "`fit.trust()` says what to do"
    }
)
"""What answers say of conflicts that change them little."""

LEAST_RANGE = 0.1
"""If the residuals' normal scores span less than this, nothing is said about their shape."""


def conflicts(posterior: Posterior) -> tuple[Finding, ...]:
    """Find disagreements between the card and the runs of a fit.

    Parameters
    ----------
    posterior : Posterior
        A fit to runs.

    Returns
    -------
    tuple of Finding
        Warnings. The code ``prior_conflict`` means that a coefficient lies outside its prior's 90 %
        interval on one side, or the noise's scale above its interval, with a posterior probability
        of at least 0.9; ``heavy_tails`` that the degrees of freedom lie below theirs;
        ``skewed_noise`` that residuals are skewed; ``noise_varies_with_size`` that their scale
        changes with the size of the runs.

    Notes
    -----
    Residuals are normal scores of leave-one-out probabilities under the law with its drift, by
    importance weights (Gelfand, Dey and Chang 1992). Their skewness is tested as in D'Agostino
    1970, their size against the runs' by Spearman's rank correlation, both at 0.2 %.
    """
    runs = posterior.runs
    if runs is None or "sigma" not in posterior.draws:
        return ()
    found = list(_outside(posterior.card.anchored(runs), posterior.draws))
    if len(runs) >= FEWEST_RUNS and not runs.has_checkpoints:
        found += _residuals(posterior.drifting)
    return tuple(found)


def recorded_conflicts(fit: Fit) -> tuple[Finding, ...]:
    """Return what :func:`conflicts` found when the fit was made, with the names of several laws."""
    found = []
    for member in fit.members:
        head = f"{member.name}: " if len(fit.members) > 1 else ""
        found += [
            note(item["code"], head + item["text"]) for item in member.record.get("conflicts", ())
        ]
    return tuple(found)


def cautions(fit: Fit) -> tuple[str, ...]:
    """Return the lines of caution that answers from this fit show: one for each conflict.

    If inputs are held at values that the question did not state, the first line says so. A conflict
    in :data:`IN_SHORT` is named in short; the fit's notes and its summary explain it.
    """
    held = held_lines(fit.members[0].law, fit.held, fit.at)
    found = recorded_conflicts(fit)
    conflicts = (f"Caution ({item.code}): {IN_SHORT.get(item.code, item.text)}" for item in found)
    return (*held, *dict.fromkeys(conflicts))


def _outside(card: ModelCard, draws: xr.Dataset) -> Iterator[Finding]:
    """Find quantities that lie outside their prior's interval."""
    pulled = []
    for name, value, described in _stated(card, draws):
        prior = described.prior.frozen
        low, high = (float(prior.ppf(p)) for p in ((1 - PRIOR_MASS) / 2, (1 + PRIOR_MASS) / 2))
        below, above = float((value < low).mean()), float((value > high).mean())
        if name == "nu" and below >= LEAST_OUTSIDE:
            yield note(
                "heavy_tails",
                "a few runs lie much farther from the law than most do, more often than the card "
                "expects. Intervals of a single new run allow for that. Look for runs that do not "
                "belong in the log: outliers, unfinished or diverged runs, other data; if all "
                "belong, lower the prior of nu in the card (`card=`): the residual noise has "
                f"heavier tails than nu = {low:.3g}, the low end of that prior's 90% interval; nu "
                f"is {_interval(value)}",
            )
        if name in ("nu", "sigma"):  # less noise than expected is no conflict
            below = 0.0
        if max(below, above) >= LEAST_OUTSIDE and name != "nu":
            side = "below" if below > above else "above"
            pulled.append(f"{name}{_where(card, name)} is {_interval(value)}, {side} {low:.3g} to "
                          f"{high:.3g}")  # fmt: skip
    if pulled:
        yield note(
            "prior_conflict",
            f"the runs pull out of its prior's 90% interval: {'; '.join(pulled)}. Check the log's "
            "units, tokenizer and evaluation set; if they are right, give a card whose priors "
            "allow for that (`card=`)",
        )


def _stated(card: ModelCard, draws: xr.Dataset) -> Iterator[tuple[str, xr.DataArray, Any]]:
    """Yield name, draws and prior of coefficients, sigma and nu, in the terms of the card."""
    for name in (*card.law.coefficients, "sigma", "nu"):
        described = card.parameters.get(name)
        if described is None or name not in draws:
            continue
        value, prior = draws[name] / described.unit_factor, described.prior
        if prior.stated_at:
            term = card.law.terms[name]
            known = {other: draws[other] for other in term.needs}
            log = term.log_value(xr.ufuncs.log(draws[name]), known, prior.log_at(term))
            value = xr.ufuncs.exp(log)
        yield name, value, described


def _where(card: ModelCard, name: str) -> str:
    prior = card.parameters[name].prior
    if not prior.stated_at:
        return ""
    at: Mapping[str, float] = prior.log_at(card.law.terms[name])
    scales = " and ".join(f"{np.exp(log):.3g} {scale}" for scale, log in at.items())
    return f"'s term at {scales}"


def _interval(value: xr.DataArray) -> str:
    q = quantiles(value)
    return f"{q['median']:.3g} ({q['lower']:.3g} to {q['upper']:.3g})"


def _residuals(view: View) -> Iterator[Finding]:
    from scipy import stats

    runs, noise = view.runs, view.card.noise
    assert runs is not None
    score = leave_one_out_scores(view.thinned(MOST_DRAWS))
    if np.ptp(score) < LEAST_RANGE:
        return  # every score is at the same end of its range
    skew, p_skew = float(stats.skew(score)), float(stats.skewtest(score).pvalue)
    if p_skew < SIGNIFICANT:
        side = "above" if skew > 0 else "below"
        worst = np.argsort(-np.sign(skew) * score)[:3]
        text = (
            f"residuals are skewed: those {side} the law are larger (skewness {skew:+.2g} of "
            f"normal scores, p = {p_skew:.2g}; largest in {listed(runs['run_id'][worst])}), and "
            "the card takes the noise to be symmetric"
        )
        if skew < 0:
            text += ". Check these runs: their losses may be too low to be right"
        elif noise.excess is None:
            text += (
                ". If untuned or unfinished runs lie above the law, add [noise.excess] to the "
                "card, as in card chinchilla_floor"
            )
        yield note("skewed_noise", text)
    if not set(view.inputs) & set(SCALES):  # a law of the language model's loss has no size
        return
    size = np.asarray(log_size({name: runs[name] for name in view.inputs}))
    trend: Any = stats.spearmanr(np.abs(score), size)
    r, p_trend = float(trend.statistic), float(trend.pvalue)
    if p_trend < SIGNIFICANT:
        text = (
            f"the residual noise {'grows' if r > 0 else 'shrinks'} with size (rank correlation "
            f"{r:+.2f}, p = {p_trend:.2g}), and the card takes it to "
            + ("be the same for all runs" if noise.shrink is None else "shrink as the card says")
        )
        if r < 0 and noise.shrink is None:
            text += ": add [noise.shrink] to the card"
        yield note("noise_varies_with_size", text)


def leave_one_out_scores(view: View) -> np.ndarray:
    """Return normal scores of the fitted runs' leave-one-out probabilities, shape (run,)."""
    from scipy.special import ndtri

    likelihood, below, _ = densities_of_runs(view)
    log_weight = -likelihood.values.reshape(-1, likelihood.shape[-1])
    weight = np.exp(log_weight - log_weight.max(axis=0))
    most = weight.mean(axis=0) * np.sqrt(len(weight))  # truncated: Ionides 2008
    weight = np.minimum(weight, most)
    share = (weight * below.values.reshape(weight.shape)).sum(axis=0) / weight.sum(axis=0)
    return ndtri(share.clip(1e-6, 1 - 1e-6))


def with_conflicts(posterior: Posterior) -> Posterior:
    """Return the posterior with its conflicts in the record."""
    found = [{"code": item.code, "text": item.text} for item in conflicts(posterior)]
    return replace(posterior, record={**posterior.record, "conflicts": found})
