"""How far a law moves when params, or compute, count something else.

Kaplan et al. (2020) left embeddings out of N, Hoffmann et al. (2022) did not, and much of the
distance between their compute-optimal exponents comes from that (Porian et al. 2024, arXiv
2406.19146: .864 to .699 by the output head alone).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard
from bayescale.conventions import UNKNOWN, Configuration
from bayescale.conventions.configuration import NEEDED_FOR
from bayescale.conventions.recognize import Recognized, recognize
from bayescale.conventions.stated import CHOICES
from bayescale.errors import RunLogError, TrustError
from bayescale.findings import Finding, note
from bayescale.laws import Law, compute_optimal
from bayescale.posterior import Posterior
from bayescale.posterior.summary import quantiles
from bayescale.runs import Runs, convert

INTERVAL = 0.9
AS_IT_IS = "as it is"
_SAME = 0.01  # counts that are one, differently rounded
_FEWEST = 8  # runs for an estimate by least squares


@dataclass(frozen=True, eq=False)
class Alternative:
    """The same runs under another convention: a name, how it is known, and the runs."""

    name: str
    known_from: str
    runs: Runs


def alternatives(runs: Runs, law: Law) -> tuple[Alternative, ...]:
    """The runs under each other convention that can be told from the log.

    Parameters
    ----------
    runs : Runs
    law : Law
        Whose inputs decide which conventions matter.

    Returns
    -------
    tuple of Alternative
        By a second count in the log, by the models' configuration where it is known what params
        counts, or by the counts themselves (see
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
    """With other params, which compute by 6 N D follows."""
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
    shapes = Configuration.of({str(c): runs[str(c)] for c in runs.frame.columns})
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
        except RunLogError:  # what this one takes is not in the log
            continue
        if not np.allclose(other["params"], runs["params"], rtol=_SAME):
            others.append(Alternative(f"params {kind}", known, other))
    return others


def _fitting(shapes: Configuration, params: np.ndarray) -> str | None:
    """The one convention by which the configuration gives these counts."""
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
        Alternative(name, _in_words(found), _counting(runs, params))
        for name, params in others.items()
    ]


def _in_words(found: Recognized) -> str:
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


# cheaply


def split_exponent(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> float:
    """The exponent a of N ~ C^a at the best split, by robust least squares.

    Parameters
    ----------
    params, tokens, loss : array, shape (run,)

    Returns
    -------
    float
        beta / (alpha + beta) of E + A / N^alpha + B / D^beta on log loss. An estimate to a tenth
        or so, without priors and without an interval: for those fit the law.

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

    start = [z.min() - 0.35, np.log(0.4), np.log(0.4)]
    low, high = [-20.0] * 3 + [np.log(0.01)] * 2, [z.max() + 1.0] * 3 + [np.log(3.0)] * 2
    fits = [
        least_squares(
            residuals, [*start, np.log(a), np.log(b)], bounds=(low, high), loss="soft_l1",
            f_scale=0.01,
        )
        for a in (0.2, 0.5)
        for b in (0.2, 0.5)
    ]  # fmt: skip
    alpha, beta = np.exp(min(fits, key=lambda one: one.cost).x[3:])
    return float(beta / (alpha + beta))


def counting_notes(runs: Runs, law: Law, checks: Iterable[Finding]) -> tuple[Finding, ...]:
    """What another count of params would do to the law, where the log can tell.

    Parameters
    ----------
    runs : Runs
    law : Law
    checks : iterable of Finding
        Those of the design: where size and data are not told apart, no exponent is estimated.

    Returns
    -------
    tuple of Finding
        Code ``params_counting``: one note for all other counts, or none.
    """
    if "params" not in law.inputs:
        return ()
    others = [one for one in alternatives(runs, law) if one.name.startswith("params")]
    if not others:
        return ()
    told = [f"{one.name}: {_ratio(runs, one.runs)}" for one in others]
    known = {"params", "tokens", "loss"} <= set(runs.frame.columns)
    known = known and len(runs) >= _FEWEST and np.isfinite(runs["tokens"]).all()
    apart = all(check.passed for check in checks if check.code == "tokens_per_param")
    if apart and known and "tokens" in law.inputs:
        now = split_exponent(runs["params"], runs["tokens"], runs["loss"])
        told = [
            f"{text}, and the exponent a of the best N ~ C^a goes from about {now:.2f} to about "
            f"{split_exponent(one.runs['params'], one.runs['tokens'], one.runs['loss']):.2f}"
            for text, one in zip(told, others, strict=True)
        ]
    stated = runs.conventions.params
    say = (
        "say what params counts with --convention params=NAME, forecast in that count only, and "
        "see bayescale check --sensitivity"
        if stated == UNKNOWN
        else f"params are stated to be {stated}: forecast in that count only, and see bayescale "
        "check --sensitivity"
    )
    return (
        note(
            "params_counting",
            f"the law depends on what params counts. From {others[0].known_from}. "
            f"With {'; with '.join(told)} (least squares). {say[0].upper()}{say[1:]}",
        ),
    )


def _ratio(runs: Runs, other: Runs) -> str:
    share = other["params"] / runs["params"]
    small, large = share[np.argmin(runs["params"])], share[np.argmax(runs["params"])]
    return f"{small:.3g} times params for the smallest model, {large:.3g} for the largest"


# by refits


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """A law's exponents and its best split under each convention.

    Attributes
    ----------
    law : str
    table : pandas.DataFrame
        One row a convention and quantity: ``convention``, ``quantity``, ``median``, ``lower``,
        ``upper``. Quantities are the law's exponents, ``a`` (of the best N ~ C^a at the
        largest budget in the log) and ``tokens_per_param`` there.
    known_from : mapping of str to str
        How each other convention is known.
    flops : float or None
        That budget; under each convention it is spent as 6 N D of its own params.
    ci_prob : float
        Mass of the central interval.
    passed : bool
        Whether every refit passed the sampler's gate.
    """

    law: str
    table: pd.DataFrame
    known_from: Mapping[str, str]
    flops: float | None
    ci_prob: float
    passed: bool

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table.copy()

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        return {
            "law": self.law,
            "interval": self.ci_prob,
            "flops": self.flops,
            "known_from": dict(self.known_from),
            "passed": self.passed,
            "rows": self.table.to_dict(orient="records"),
        }

    def __str__(self) -> str:
        names = list(dict.fromkeys(self.table["convention"]))
        width = max(map(len, names))
        lines = [f"{self.law} refitted under each convention; median, {self.ci_prob:.0%} interval"]
        for quantity, rows in self.table.groupby("quantity", sort=False):
            words = {
                "a": f"exponent a of the best N ~ C^a, at {self.flops:.3g} FLOP",
                "tokens_per_param": "tokens per parameter of the best split there",
            }
            lines += ["", words.get(str(quantity), f"exponent {quantity}")]
            lines += [
                f"  {row['convention']:<{width}}  {row['median']:>7.3g}  {row['lower']:.3g} to "
                f"{row['upper']:.3g}"
                for row in rows.to_dict(orient="records")
            ]
        lines.append("")
        for words in dict.fromkeys(self.known_from.values()):
            of = [name for name, known in self.known_from.items() if known == words]
            lines.append(f"{', '.join(of)}: from {words}")
        if not self.passed:
            lines += ["", "A refit missed the sampler's convergence gate: not to be trusted."]
        return "\n".join(lines)


def sensitivity(
    runs: Runs,
    card: ModelCard,
    refit: Callable[[Runs, ModelCard], Posterior],
    *,
    ci_prob: float = INTERVAL,
) -> Sensitivity:
    """Refit a law under every other convention that the log can tell.

    Parameters
    ----------
    runs : Runs
    card : ModelCard
        Whose priors are taken as they stand under each convention.
    refit : callable
        From runs and card to a posterior that takes the law to hold exactly.
    ci_prob : float
        Mass of the central interval.

    Raises
    ------
    TrustError
        If the log tells of no other convention.
    """
    law = card.law
    others = alternatives(runs, law)
    if not others:
        raise TrustError(
            f"{runs.source} tells of no other convention to refit {law.name} under: add a second "
            "count of params as column params_no_embed, or the models' configuration (columns "
            "layers, width, vocabulary) and say what params counts with --convention "
            "params=NAME"
        )
    split = {"params", "tokens"} <= set(law.inputs)
    flops = float(np.nanmax(runs["flops"])) if split and "flops" in runs else None
    rows, passed = [], True
    for name, counted in ((AS_IT_IS, runs), *((one.name, one.runs) for one in others)):
        posterior = refit(counted, card)
        passed = passed and bool(posterior.diagnostics["passed"])
        for quantity, draws in _quantities(law, posterior, flops).items():
            q = quantiles(draws, ci_prob)
            rows.append({"convention": name, "quantity": quantity, **q})
    table = pd.DataFrame(rows)[["convention", "quantity", "median", "lower", "upper"]]
    known = {one.name: one.known_from for one in others}
    return Sensitivity(law.name, table, known, flops, ci_prob, passed)


_STEP = 0.05  # of log compute, over which the split's slope is taken


def _quantities(law: Law, posterior: Posterior, flops: float | None) -> dict[str, np.ndarray]:
    values = {name: draws.values.ravel() for name, draws in posterior.coefficients().items()}
    exponents = [term.exponent for term in law.terms.values() if term.exponent in values]
    told = {name: values[name] for name in dict.fromkeys(exponents)}
    if flops is not None:
        budgets = flops * np.exp([-_STEP, 0.0, _STEP])
        params, tokens = zip(*(compute_optimal(law, c, values) for c in budgets), strict=True)
        told["a"] = np.log(params[2] / params[0]) / (2 * _STEP)
        told["tokens_per_param"] = tokens[1] / params[1]
    return told
