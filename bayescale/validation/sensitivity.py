"""Sensitivity of a law to the conventions by which params and compute are counted.

Kaplan et al. (2020) left embeddings out of N, and Hoffmann et al. (2022) did not. Much of the
difference between their compute-optimal exponents comes from that (Porian et al. 2024, arXiv
2406.19146: from 0.864 to 0.699 by the output head alone).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard, choose_card, runs_for
from bayescale.conventions import UNKNOWN, Configuration
from bayescale.conventions.configuration import NEEDED_FOR
from bayescale.conventions.recognize import Recognized, recognize
from bayescale.conventions.stated import CHOICES
from bayescale.errors import RunLogError, TrustError
from bayescale.findings import Finding, note
from bayescale.laws import Law, compute_optimal
from bayescale.posterior import Posterior
from bayescale.results import DEFAULT_CI_PROB, Result, TextTable, quantiles
from bayescale.runs import Runs, as_runs, convert
from bayescale.units import checked_ci_prob
from bayescale.validation.backtest import default_refit

AS_IT_IS = "as it is"
_SAME = 0.01  # counts with a smaller relative difference differ by rounding only
_STARTS = [(a, b) for a in (0.2, 0.5) for b in (0.2, 0.5)]
_FEWEST = 8  # the fewest runs for an estimate by least squares


@dataclass(frozen=True, eq=False)
class Alternative:
    """Runs under another convention, with its name and how it is known."""

    name: str
    known_from: str
    runs: Runs


def alternatives(runs: Runs, law: Law) -> tuple[Alternative, ...]:
    """Return the runs under each other convention that the log implies.

    Parameters
    ----------
    runs : Runs
    law : Law
        The law whose inputs decide which conventions matter.

    Returns
    -------
    tuple of Alternative
        Alternatives from a second count in the log, from the models' configuration if it is known
        what params counts, or from the counts themselves (see
        :func:`bayescale.conventions.recognize.recognize`).
    """
    found = []
    if "params" in law.inputs:
        found += [*_second_count(runs), *_by_configuration(runs)]
        if not found:
            found += _by_counts(runs)
    if "flops" in law.inputs:
        found += _other_compute(runs)
    return tuple(found)


def _second_count(runs: Runs) -> list[Alternative]:
    if "params_no_embed" not in runs or not np.isfinite(runs["params_no_embed"]).all():
        return []
    other = runs["params_no_embed"]
    if np.allclose(other, runs["params"], rtol=_SAME):
        return []
    name, known = "params by column params_no_embed", runs.columns["params_no_embed"]
    return [Alternative(name, known, _counting(runs, other))]


def _counting(runs: Runs, params: np.ndarray) -> Runs:
    """Return the runs with other params, and other compute if that is 6 N D."""
    frame = runs.to_frame()
    if {"tokens", "flops"} <= set(frame.columns):
        by_params = 6.0 * frame["params"] * frame["tokens"]
        follows = (np.abs(np.log(frame["flops"] / by_params)) < _SAME).all()
        if follows:
            frame["flops"] = 6.0 * params * frame["tokens"]
    frame["params"] = params
    conventions = replace(runs.conventions, params=UNKNOWN)
    return replace(runs, frame=frame, conventions=conventions, _arrays={})


def _by_configuration(runs: Runs) -> list[Alternative]:
    shapes = Configuration.of(runs.frame)
    if shapes is None or "params" not in runs:
        return []
    known = f"the models' configuration; params stated to be {runs.conventions.params}"
    if runs.conventions.params == UNKNOWN:
        fitting = _fitting(shapes, runs["params"])
        if fitting is None:
            return []
        stated = replace(runs.conventions, params=fitting)
        runs = replace(runs, conventions=stated, _arrays={})
        known = f"the models' configuration, by which params are those of {fitting}"
    others = []
    for kind in CHOICES["params"]:
        try:
            other = convert(runs, params=kind)
        except RunLogError:  # the log lacks what this convention needs
            continue
        if not np.allclose(other["params"], runs["params"], rtol=_SAME):
            others.append(Alternative(f"params {kind}", known, other))
    return others


def _fitting(shapes: Configuration, params: np.ndarray) -> str | None:
    """Return the only convention by which the configuration gives these counts, or None."""
    near = [
        kind
        for kind in CHOICES["params"]
        if not shapes.lacks(*NEEDED_FOR[kind])
        and np.allclose(shapes.params(kind), params, rtol=2 * _SAME)
    ]
    return near[0] if len(near) == 1 else None


def _by_counts(runs: Runs) -> list[Alternative]:
    if "params" not in runs:
        return []
    found = recognize(runs["params"])
    if found is None:
        return []
    blocks = found.shapes.params("non_embedding")
    others = {"params non_embedding": blocks}
    if found.matrices == 1:
        others["params all"] = found.shapes.params("all")
    return [
        Alternative(name, _source_text(found), _counting(runs, params))
        for name, params in others.items()
    ]


def _source_text(found: Recognized) -> str:
    shapes = found.shapes
    matrix = "one matrix" if found.matrices == 1 else "two matrices"
    what = "an output head and no embedding of its own" if found.matrices == 1 else "embeddings too"
    return (
        f"the counts themselves: they are exactly those of {np.min(shapes.layers):.0f} to "
        f"{np.max(shapes.layers):.0f} layers of width {np.min(shapes.width):.0f} to "
        f"{np.max(shapes.width):.0f} with {matrix} for {found.vocabulary} tokens, so they seem to "
        f"count {what}"
    )


def _other_compute(runs: Runs) -> list[Alternative]:
    others = []
    for kind, meaning in CHOICES["flops"].items():
        try:
            other = convert(runs, flops=kind)
        except RunLogError:
            continue
        if not np.allclose(other["flops"], runs["flops"], rtol=_SAME):
            others.append(Alternative(f"flops {kind}", meaning, other))
    return others


# without refits


def split_exponent(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> float:
    """Estimate the exponent a of N ~ C^a at the best split by robust least squares.

    Parameters
    ----------
    params, tokens, loss : array, shape (run,)

    Returns
    -------
    float
        beta / (alpha + beta) of E + A / N^alpha + B / D^beta, fitted to log loss. A rough estimate,
        accurate to about 0.1, without priors and without an interval.

    Examples
    --------
    >>> n, d = np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(2e9, 2e11, 6))
    >>> loss = 1.8 + 480 / n**0.35 + 2100 / d**0.37
    >>> round(split_exponent(n.ravel(), d.ravel(), loss.ravel()), 3)
    0.514
    """
    from scipy.optimize import least_squares

    x, y, z = (np.log(values) for values in (params, tokens, loss))
    x, y = x - x.mean(), y - y.mean()

    def residuals(at: np.ndarray) -> np.ndarray:
        alpha, beta = np.exp(at[3:])
        terms = np.stack([np.full_like(x, at[0]), at[1] - alpha * x, at[2] - beta * y])
        return np.logaddexp.reduce(terms) - z

    bounds = ([-20.0] * 3 + [np.log(0.01)] * 2, [z.max() + 1.0] * 3 + [np.log(3.0)] * 2)
    starts = [[z.min() - 0.35, np.log(0.4), np.log(0.4), *np.log(ab)] for ab in _STARTS]
    fits = [
        least_squares(residuals, start, bounds=bounds, loss="soft_l1", f_scale=0.01)
        for start in starts
    ]
    alpha, beta = np.exp(min(fits, key=lambda one: one.cost).x[3:])
    return float(beta / (alpha + beta))


def counting_notes(runs: Runs, law: Law, checks: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return a warning if another count of params would change the law.

    Parameters
    ----------
    runs : Runs
    law : Law
    checks : iterable of Finding
        The design checks. If these say that size and data cannot be separated, no exponent is
        estimated.

    Returns
    -------
    tuple of Finding
        A note with code ``params_counting`` for all other counts; empty if there are none.
    """
    if "params" not in law.inputs:
        return ()
    others = [one for one in alternatives(runs, law) if one.name.startswith("params")]
    if not others:
        return ()
    effects = [f"{one.name}: {_ratio(runs, one.runs)}" for one in others]
    known = {"params", "tokens", "loss"} <= set(runs.frame.columns)
    known = known and len(runs) >= _FEWEST and np.isfinite(runs["tokens"]).all()
    apart = all(check.passed for check in checks if check.code == "tokens_per_param")
    if apart and known and "tokens" in law.inputs:
        now = split_exponent(runs["params"], runs["tokens"], runs["loss"])
        effects = [
            f"{text}, and the exponent a of the best N ~ C^a goes from about {now:.2f} to about "
            f"{split_exponent(one.runs['params'], one.runs['tokens'], one.runs['loss']):.2f}"
            for text, one in zip(effects, others, strict=True)
        ]
    stated = runs.conventions.params
    advice = (
        "State what params counts with `conventions=`, forecast in that count only, and see "
        "`bayescale.sensitivity`"
        if stated == UNKNOWN
        else f"Params are stated to be {stated}: forecast in that count only, and see "
        "`bayescale.sensitivity`"
    )
    return (
        note(
            "params_counting",
            f"the law depends on what params counts. From {others[0].known_from}. "
            f"With {'; with '.join(effects)} (least squares). {advice}",
        ),
    )


def _ratio(runs: Runs, other: Runs) -> str:
    share = other["params"] / runs["params"]
    small, large = share[np.argmin(runs["params"])], share[np.argmax(runs["params"])]
    return f"{small:.3g} times params for the smallest model, {large:.3g} for the largest"


# by refits


@dataclass(frozen=True, eq=False)
class Sensitivity(Result):
    """A law's exponents and its best split under each convention.

    Attributes
    ----------
    law : str
    flops : float or None
        The largest budget in the log. Under each convention, C = 6 N D counts params by that
        convention.
    ci_prob : float
        Mass of the central interval.
    known_from : mapping of str to str
        How each other convention is known, by its name.
    passed : bool
        Whether every refit passed its convergence checks.
    rows : pandas.DataFrame
        One row per convention and quantity: ``convention``, ``quantity``, ``median``, ``lower``,
        ``upper``. Quantities are the law's exponents, ``a`` (of the best N ~ C^a at ``flops``)
        and ``tokens_per_param`` there.
    """

    law: str
    flops: float | None
    ci_prob: float
    known_from: Mapping[str, str]
    passed: bool
    rows: pd.DataFrame

    def _table(self) -> pd.DataFrame:
        return self.rows

    def _content(self) -> Iterator[str | TextTable]:
        yield f"{self.law} refitted under each convention; median, {self.ci_prob:.0%} interval"
        for quantity, rows in self.rows.groupby("quantity", sort=False):
            titles = {
                "a": f"exponent a of the best N ~ C^a, at {self.flops:.3g} FLOP",
                "tokens_per_param": "tokens per parameter of the best split there",
            }
            yield f"\n{titles.get(str(quantity), f'exponent {quantity}')}"
            width = self.rows["convention"].str.len().max()
            for row in rows.to_dict(orient="records"):
                yield (
                    f"  {row['convention']:<{width}}  {row['median']:>7.3g}  {row['lower']:.3g} to "
                    f"{row['upper']:.3g}"
                )
        yield ""
        for source in dict.fromkeys(self.known_from.values()):
            names = [name for name, known in self.known_from.items() if known == source]
            yield f"{', '.join(names)}: from {source}"
        if not self.passed:
            yield "\nA refit failed its convergence checks: not to be trusted."


def sensitivity(
    runs: Runs | pd.DataFrame | str | Path,
    law: str | Law | ModelCard | None = None,
    refit: Callable[[Runs, ModelCard], Posterior] | None = None,
    *,
    ci_prob: float = DEFAULT_CI_PROB,
) -> Sensitivity:
    """Refit a law under every other convention that the log implies.

    Parameters
    ----------
    runs : Runs, pandas.DataFrame or path
    law : str, Law or ModelCard, optional
        A law or its card, whose priors are used unchanged under each convention; by default the
        default law of these runs.
    refit : callable, optional
        ``refit(runs, card)`` makes a posterior that takes the law to hold exactly;
        :func:`bayescale.refit` without drift by default.
    ci_prob : float
        Mass of the central interval.

    Returns
    -------
    Sensitivity

    Raises
    ------
    TrustError
        If the log implies no other convention.
    """
    ci_prob = checked_ci_prob(ci_prob)
    runs = as_runs(runs)
    card = law if isinstance(law, ModelCard) else choose_card(runs, law)
    runs = runs_for(card, runs)
    refit = refit or partial(default_refit(), drift=False)
    others = alternatives(runs, card.law)
    if not others:
        raise TrustError(
            f"{runs.source} implies no other convention to refit {card.law.name} under: add a "
            "second count of params as column params_no_embed, or the models' configuration "
            "(columns layers, width, vocabulary) and state what params counts with `convention=`"
        )
    split = {"params", "tokens"} <= set(card.law.inputs)
    flops = float(np.nanmax(runs["flops"])) if split and "flops" in runs else None
    rows, passed = [], True
    for name, counted in ((AS_IT_IS, runs), *((one.name, one.runs) for one in others)):
        posterior = refit(counted, card)
        passed = passed and bool(posterior.diagnostics["passed"])
        for quantity, draws in _quantities(card.law, posterior, flops).items():
            q = quantiles(draws, ci_prob)
            rows.append({"convention": name, "quantity": quantity, **q})
    table = pd.DataFrame(rows)[["convention", "quantity", "median", "lower", "upper"]]
    known = {one.name: one.known_from for one in others}
    return Sensitivity(card.law.name, flops, ci_prob, known, passed, table)


_STEP = 0.05  # half the step of log compute for the slope of the split


def _quantities(law: Law, posterior: Posterior, flops: float | None) -> dict[str, np.ndarray]:
    values = {name: draws.values.ravel() for name, draws in posterior.exact.coefficients().items()}
    exponents = [term.exponent for term in law.terms.values() if term.exponent in values]
    found = {name: values[name] for name in dict.fromkeys(exponents)}
    if flops is not None:
        budgets = flops * np.exp([-_STEP, 0.0, _STEP])
        params, tokens = zip(*(compute_optimal(law, c, values) for c in budgets), strict=True)
        found["a"] = np.log(params[2] / params[0]) / (2 * _STEP)
        found["tokens_per_param"] = tokens[1] / params[1]
    return found
