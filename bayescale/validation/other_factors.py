"""Whether more than the single scale of a law limits its runs: tokens, params, or a poor split.

A law of params alone describes models with as much data as they can use. A law of tokens alone
describes large models (Kaplan et al. 2020, equations 1.1 and 1.2), and a law of compute describes
runs at the best split, or equally far from it. A log that has the other scale shows whether this is
so.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard, load_card
from bayescale.errors import argument
from bayescale.findings import Finding, note
from bayescale.laws import Law, compute_optimal
from bayescale.posterior import Fit, Posterior
from bayescale.runs import Runs
from bayescale.validation.design import centered, uncentered

CODE = "other_factors"

LIMITED = 0.02
"""A run is limited by the other scale if more of it would lower the loss by more than this
share."""

FEWEST = 6
"""The fewest runs for a correlation."""

CORRELATED, P_VALUE = 0.5, 0.01
"""The least correlation of residuals with the other scale that is reported, and its p-value."""

VARIED = 1.3
"""If tokens per parameter vary by less than this factor at equal size, nothing can be said."""

KEPT = 3
"""The fewest runs for a law of one scale."""

UNLIMITED = 1e30
_PRIOR_DRAWS = 2000
_JOINT: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "kaplan": MappingProxyType({"params": "alpha_N", "tokens": "alpha_D"}),
        "chinchilla": MappingProxyType({"params": "alpha", "tokens": "beta"}),
    }
)
"""Exponents of the joint laws by which runs are compared, by scale."""


class _Joint(NamedTuple):
    """A joint law at its most probable coefficients, and each run's loss to the other scale."""

    law: Law
    values: Mapping[str, float]
    excess: np.ndarray


def other_factors(runs: Runs, law: Law, residual: np.ndarray | None = None) -> Finding | None:
    """Check that nothing but the single scale of a law limits the runs.

    Parameters
    ----------
    runs : Runs
    law : Law
    residual : numpy.ndarray, shape (run,), optional
        Residuals of log losses about the fitted law; by default about a parabola in the log of the
        scale.

    Returns
    -------
    Finding or None
        Code ``other_factors``. The check fails if residuals depend on tokens per parameter; it then
        lists the runs that are limited according to a joint law at its most probable coefficients.
        It is for information if tokens per parameter do not vary at equal size. None if the law has
        several inputs, or the log does not have both params and tokens.
    """
    one = law.inputs[0] if len(law.inputs) == 1 else None
    if one not in ("params", "tokens", "flops") or not _complete(runs):
        return None
    size, ratio = np.log(runs[one]), np.log(runs["tokens"] / runs["params"])
    low, high = np.exp(ratio.min()), np.exp(ratio.max())
    if np.exp(np.ptp(_about(size, ratio, 1))) < VARIED:
        return _cannot_tell(one, low, high)
    if residual is None:
        residual = _about(size, np.log(runs["loss"]), 2)
    r = float(np.corrcoef(residual, ratio)[0, 1])
    text = f"residuals correlate {r:.2f} with log tokens per parameter"
    if abs(r) < CORRELATED or _p_value(r, len(runs)) > P_VALUE:
        return Finding.check(CODE, True, f"{text} (from {low:.3g} to {high:.3g})")
    joint = _joint(runs, law)
    limited = joint.excess > LIMITED
    table = pd.DataFrame(
        {"tokens_per_param": np.exp(ratio), "excess": joint.excess, "limited": limited},
        index=pd.Index(runs["run_id"], name="run_id"),
    )
    text = f"{text}: {_found_text(one, joint, limited)}. {_advice(one, joint, runs, ~limited)}"
    return Finding.check(CODE, False, text, table)


def other_factors_of(fit: Fit) -> Finding | None:
    """Check the runs of a fit, by residuals under its posterior: see :func:`other_factors`.

    For several laws the first one is used, because all are of the same scale.
    """
    member = fit.members[0]
    if fit.runs is None or len(member.inputs) != 1 or not _complete(fit.runs):
        return None
    return other_factors(fit.runs, member.law, _residual(member))


def other_factor_notes(check: Finding | None) -> tuple[Finding, ...]:
    """Return the check as a warning if it failed."""
    return (note(CODE, check.text),) if check is not None and check.passed is False else ()


def _complete(runs: Runs) -> bool:
    both = all(n in runs and np.isfinite(runs[n]).all() for n in ("params", "tokens"))
    return both and len(runs) >= FEWEST and "kept_fraction" not in runs


def _residual(posterior: Posterior) -> np.ndarray:
    """Return the runs' log losses about the median of the law, taken to hold exactly."""
    view = posterior.exact.by_run()
    expected = view.log_mean_of_runs().median(("chain", "draw")).values
    assert posterior.runs is not None
    return np.log(posterior.runs["loss"]) - expected


def _about(x: np.ndarray, y: np.ndarray, degree: int) -> np.ndarray:
    """Return y minus its polynomial in x, or minus its mean if x hardly varies."""
    if np.ptp(x) < 0.01:
        return y - y.mean()
    return y - np.polyval(np.polyfit(x, y, min(degree, np.unique(x).size - 1)), x)


def _p_value(r: float, n: int) -> float:
    """Return the probability of a correlation this strong between independent values."""
    from scipy import stats

    t = abs(r) * np.sqrt((n - 2) / max(1.0 - r**2, 1e-12))
    return float(2 * stats.t.sf(t, n - 2))


def _cannot_tell(one: str, low: float, high: float) -> Finding:
    if one == "flops":
        text = f"tokens per parameter go along with compute (from {low:.3g} to {high:.3g}): the law"
        return Finding.check(CODE, True, f"{text} describes runs along this path")
    other = {"params": "tokens", "tokens": "params"}[one]
    return Finding.check(
        CODE,
        None,
        f"{other} go along with {one} ({low:.3g} to {high:.3g} tokens per parameter), so whether "
        f"they limit the loss cannot be told: the exponent is that of both growing together, not "
        f"of {one} with unlimited {other}",
    )


# by a joint law


def _joint(runs: Runs, law: Law) -> _Joint:
    card = load_card("kaplan" if law.name.startswith("kaplan") else "chinchilla")
    values = most_likely(runs, card)
    params, tokens = runs["params"], runs["tokens"]
    now = card.law.loss(params, tokens, **values)
    if law.inputs == ("params",):
        best = card.law.loss(params, np.full_like(tokens, UNLIMITED), **values)
    elif law.inputs == ("tokens",):
        best = card.law.loss(np.full_like(params, UNLIMITED), tokens, **values)
    else:
        best = card.law.loss(*compute_optimal(card.law, 6.0 * params * tokens, values), **values)
    return _Joint(card.law, values, now / best - 1.0)


def most_likely(runs: Runs, card: ModelCard) -> dict[str, float]:
    """Return the most probable coefficients of a law, with robust residuals and its card's priors.

    Parameters
    ----------
    runs : Runs
    card : ModelCard

    Returns
    -------
    dict of str to float
        Coefficients in raw units, by least squares of log loss, without sampling.
    """
    from scipy.optimize import least_squares

    law = card.law
    noise = card.noise.model_copy(update={"shared": None})  # not needed here
    priors = card.without_drift().model_copy(update={"noise": noise})
    draws = priors.anchored(runs).draw_prior(_PRIOR_DRAWS, seed=0)
    logs = np.stack(list(centered(law, runs, draws).values()))
    middle, spread = logs.mean(axis=1), logs.std(axis=1)
    sigma, log_loss = float(np.median(draws["sigma"])), np.log(runs["loss"])
    inputs = {name: runs[name] for name in law.inputs}

    def values_of(x: np.ndarray) -> dict[str, Any]:
        return uncentered(law, runs, dict(zip(law.coefficients, x, strict=True)))

    def deviations(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            of_runs = (np.log(law.loss(**inputs, **values_of(x))) - log_loss) / sigma
        of_prior = (x - middle) / spread
        return np.nan_to_num(np.concatenate([of_runs, of_prior]), nan=1e3, posinf=1e3, neginf=-1e3)

    found = least_squares(deviations, middle, loss="soft_l1")
    return {name: float(value) for name, value in values_of(found.x).items()}


def _found_text(one: str, joint: _Joint, limited: np.ndarray) -> str:
    k, n = int(limited.sum()), len(limited)
    if one == "flops":
        return (
            f"{k} of {n} runs lose more than {LIMITED:.0%} by their split of params and tokens "
            f"({joint.law.name}, least squares), which a law of compute does not know"
        )
    other = {"params": "tokens", "tokens": "params"}[one]
    exponent = _JOINT[joint.law.name][one]
    return (
        f"{k} of {n} runs are limited by {other} (unlimited ones would lower the loss by more than "
        f"{LIMITED:.0%}); the joint law {joint.law.name} gives {exponent} "
        f"{joint.values[exponent]:.3f} (least squares)"
    )


def _advice(one: str, joint: _Joint, runs: Runs, kept: np.ndarray) -> str:
    fit_joint = f"fit the joint law, `law={joint.law.name!r}`"
    n = int(kept.sum())
    if n == len(kept):
        return f"F{fit_joint[1:]}"
    if n < KEPT or np.unique(runs[one][kept]).size < KEPT:
        return f"Too few runs are left where the assumption holds: {fit_joint}"
    ids = ",".join(str(name) for name in runs["run_id"][kept])
    return (
        f"Keep the {n} where the assumption holds, {argument('only', run_id=ids)}, or {fit_joint}"
    )
