"""Checks of the design of a run log: what its runs can identify, before anything is fitted."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard, load_card
from bayescale.findings import Finding, note
from bayescale.laws import LAWS, Balance, Law
from bayescale.runs import Runs
from bayescale.validation.cutoffs import ends_of_sizes

LEAST_RATIO_SPREAD = 2.0
"""Tokens per parameter must differ by this factor at equal compute."""

LEAST_SCALE_SPREAD = 4.0
SAME_SIZE = 0.02
"""Sizes with a smaller relative difference count as one."""

LITTLE_CONTRACTED = 0.2
"""With less contraction of the prior, the runs carry almost no information."""

_PRIOR_DRAWS = 4000
_STEP = 1e-4

_CODES = {
    "runs": "few_runs",
    "ranges": "narrow_range",
    "compute": "narrow_compute",
    "tokens_per_param": "collinear_design",
    "expected_contraction": "weak_design",
    "contraction": "prior_decides",
    "ridges": "ridge",
}
"""Codes of warnings, by the check that failed."""


def design_checks(runs: Runs, law: Law, card: ModelCard | None = None) -> tuple[Finding, ...]:
    """Return checks of what the design of these runs can identify, whatever their losses.

    Parameters
    ----------
    runs : Runs
        Runs with the columns that the law needs.
    law : Law
    card : ModelCard, optional
        The law's priors; by default the package's own. For a user's own law without a card,
        ``expected_contraction`` gives no figures.

    Returns
    -------
    tuple of Finding
        The checks of :func:`layout_checks`, and ``expected_contraction``: the share of the prior's
        spread that the runs can be expected to remove, for each coefficient and for the combination
        of coefficients that they inform least.

    Notes
    -----
    ``expected_contraction`` takes the medians of the card's priors as the truth. If J (run,
    coefficient) are the derivatives of log loss there and sigma is the noise, the posterior's
    precision is about that of the prior plus J'J / sigma^2 (Chaloner and Verdinelli 1995, Bayesian
    experimental design). This gives the order of magnitude and not the second digit, because the
    law is linearized about one point. The ``condition`` in the table's ``attrs`` is the condition
    number of J with each column in standard deviations of its prior.
    """
    if card is None and LAWS.get(law.name) is law:
        card = load_card(law.name)
    return (*layout_checks(runs, law), _expected_contraction(runs, law, card))


def layout_checks(runs: Runs, law: Law) -> tuple[Finding, ...]:
    """Return the checks of the runs' scales: the part of :func:`design_checks` without priors.

    Returns
    -------
    tuple of Finding
        ``runs`` (their number compared with that of the coefficients), ``ranges`` (of each input)
        and, for laws of both params and tokens, ``compute`` and ``tokens_per_param``.
    """
    checks = (_runs(runs, law), _ranges(runs, law))
    both = {"params", "tokens"} <= set(law.inputs)
    return (*checks, _compute(runs), _tokens_per_param(runs)) if both else checks


def design_notes(runs: Runs, law: Law, card: ModelCard | None = None) -> tuple[Finding, ...]:
    """Return the warnings of :func:`design_checks`.

    Parameters
    ----------
    runs, law, card
        See :func:`design_checks`.

    Returns
    -------
    tuple of Finding
        Codes ``few_runs``, ``narrow_range``, ``narrow_compute``, ``collinear_design`` and
        ``weak_design``.
    """
    return notes_of(design_checks(runs, law, card))


def notes_of(checks: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the checks that failed, as warnings."""
    return tuple(note(_CODES[c.code], c.text) for c in checks if c.passed is False)


def centered(law: Law, runs: Runs, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return logs of coefficients; for a term's coefficient, the term at the center of the runs.

    A and alpha of A / N^alpha are always correlated, because A is the term of a model with one
    parameter. The runs inform the term's value at their geometric mean instead.

    Parameters
    ----------
    values : mapping of str to array_like
        Every coefficient, in raw units.

    Returns
    -------
    dict of str to array_like
        Logs by coefficient; terms in log nats per token.
    """
    logs = {name: np.log(np.asarray(values[name])) for name in law.coefficients}
    log_x = {name: float(np.log(runs[name]).mean()) for name in law.inputs}
    return logs | {
        name: term.log_value(logs[name], values, log_x) for name, term in law.terms.items()
    }


def uncentered(law: Law, runs: Runs, logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return coefficients in raw units from the logs that :func:`centered` returns."""
    values = {name: np.exp(log) for name, log in logs.items()}
    log_x = {name: float(np.log(runs[name]).mean()) for name in law.inputs}
    # in order, because a balance needs the coefficient of the other scale
    for name, term in law.terms.items():
        values[name] = np.exp(term.log_coefficient(logs[name], values, log_x))
    return values


def least_informed_direction(prior: np.ndarray, posterior: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the direction in the space of coefficients that the runs inform least.

    Parameters
    ----------
    prior, posterior : (coefficient, coefficient)
        Covariances.

    Returns
    -------
    contraction : float
        The share of the prior's spread along the direction that the runs removed; zero if it grew.
    direction : (coefficient,)
        Components in standard deviations of the prior, of which the largest is one.
    """
    root = np.linalg.cholesky(prior)
    inverse = np.linalg.inv(root)
    left, directions = np.linalg.eigh(inverse @ posterior @ inverse.T)
    contraction = 1 - np.sqrt(left[-1])
    direction = root @ directions[:, -1] / np.sqrt(np.diag(prior))
    return max(float(contraction), 0.0), direction / direction[np.argmax(abs(direction))]


def direction_text(law: Law, direction: np.ndarray) -> str:
    """Return the large components of a direction of :func:`least_informed_direction` as text."""
    return ", ".join(
        f"{component_name(law, law.coefficients[i])} {'up' if direction[i] > 0 else 'down'}"
        for i in _large(direction)
    )


def informative_runs(law: Law, direction: np.ndarray) -> str:
    """Return which runs would inform a direction of :func:`least_informed_direction`, as text."""
    names = {law.coefficients[i] for i in _large(direction)}
    terms = {n: t for n, t in law.terms.items() if n in names or t.exponent in names}
    # a coefficient outside all terms may depend on any input
    known = names <= {*terms, *(t.exponent for t in terms.values())}
    inputs = [x for x in law.inputs if not known or any(x in t.inputs for t in terms.values())]
    match inputs:
        case []:
            return "larger runs"
        case [one]:
            return f"runs over a wider range of {one}"
    return f"runs that vary {' and '.join(inputs)} independently"


def component_name(law: Law, name: str) -> str:
    """Return a name for what :func:`centered` returns for a coefficient."""
    term = law.terms.get(name)
    if term is None or not term.inputs:
        return name
    if isinstance(term, Balance):
        return f"share of {term.input} against {term.against}"
    return f"loss due to {term.inputs[0]}"


def _large(direction: np.ndarray) -> np.ndarray:
    order = np.argsort(-abs(direction))
    return order[abs(direction[order]) > 1 / 3]


def _runs(runs: Runs, law: Law) -> Finding:
    n, k = len(runs), len(law.coefficients)
    text = f"{n:,} runs for the {k} coefficients of {law.name} and the residual noise"
    if n <= k + 1:
        return Finding.check(
            "runs", False, f"{text}: the priors in the card determine much of the answer"
        )
    return Finding.check("runs", True, text)


POWERED = ("params", "tokens", "flops", "unique_tokens")
"""Inputs of power laws, whose exponents need a wide range."""


def _ranges(runs: Runs, law: Law) -> Finding:
    rows, problems, spans = {}, [], []
    for name in law.inputs:
        x = np.sort(runs[name])
        factor = float(x[-1] / x[0])
        sizes = len(ends_of_sizes(x, SAME_SIZE))
        rows[name] = {
            "lower": x[0], "upper": x[-1], "factor": factor, "e_folds": np.log(factor),
            "sizes": sizes,
        }  # fmt: skip
        spans.append(
            f"{name} over a factor of {_times(factor)} in {sizes} size{'' if sizes == 1 else 's'}"
        )
        if name in POWERED and factor < LEAST_SCALE_SPREAD:
            problems.append(
                f"{name} spans a factor of {_times(factor)} only: its exponent comes from the "
                "prior more than from the runs"
            )
    table = pd.DataFrame.from_dict(rows, orient="index")
    return Finding.check("ranges", not problems, "; ".join(problems or spans), table)


def _times(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:.2g}"


LEAST_COMPUTE_SPREAD = 3.0
"""With a range of compute of at least this factor, growth with compute can be fitted and tested."""


def _compute(runs: Runs) -> Finding:
    flops = runs.flop_count.flops(runs["params"], runs["tokens"])
    factor = float(flops.max() / flops.min())
    figures = {"lower": flops.min(), "upper": flops.max(), "factor": factor}
    table = pd.DataFrame.from_dict(figures, orient="index", columns=["flops"])
    text = f"compute spans a factor of {_times(factor)}"
    if factor >= LEAST_COMPUTE_SPREAD:
        return Finding.check("compute", True, text, table)
    return Finding.check(
        "compute",
        False,
        f"{text} only, so how loss and best split change with compute comes from the priors, and "
        "no backtest can test a larger budget: these runs support comparisons at their own budget. "
        "Train runs of a third of this compute, or of three times as much",
        table,
    )


def _tokens_per_param(runs: Runs) -> Finding:
    n, d = np.log(runs["params"]), np.log(runs["tokens"])
    log_ratio, log_compute = d - n, d + n
    beside_trend = log_ratio - _line(log_compute, log_ratio)
    spread = float(np.exp(np.ptp(beside_trend)))
    ratio = np.exp(log_ratio)
    low, middle, high = ratio.min(), float(np.median(ratio)), ratio.max()
    figures = {
        "lower": low, "median": middle, "upper": high, "factor": high / low,
        "factor_at_equal_compute": spread, "correlation_of_logs": np.corrcoef(n, d)[0, 1],
    }  # fmt: skip
    table = pd.DataFrame.from_dict(figures, orient="index", columns=["tokens_per_param"])
    between = f"from {low:.3g} to {high:.3g}"
    if spread >= LEAST_RATIO_SPREAD and len(runs) > 2:
        text = f"{between}, over a factor of {_times(spread)} at equal compute"
        return Finding.check("tokens_per_param", True, text, table)
    if high / low < LEAST_RATIO_SPREAD:
        line = f"tokens are {middle:.3g} times params in every run ({between})"
    else:
        slope = np.polyfit(n, d, 1)[0] if np.ptp(n) > 0 else 0.0
        line = f"tokens follow params^{slope:.2f} within a factor of {spread:.2g}"
    return Finding.check(
        "tokens_per_param",
        False,
        f"{line}, so size and data grow together and these runs cannot separate alpha from "
        "beta, nor the loss due to size from the loss due to data: they support forecasts along "
        "this line, but not the split of a budget. Train runs with twice as many tokens per "
        "parameter or more, and with half as many or fewer",
        table,
    )


def _line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the least-squares line of y on x, or the mean of y if x hardly varies."""
    if np.ptp(x) < np.log(LEAST_COMPUTE_SPREAD) / 2:  # noise would determine the slope
        return np.full_like(y, y.mean())
    return np.polyval(np.polyfit(x, y, 1), x)


def _expected_contraction(runs: Runs, law: Law, card: ModelCard | None) -> Finding:
    name = "expected_contraction"
    if card is None:
        return Finding.check(
            name,
            None,
            f"law {law.name!r} is your own: name a card of its priors with `card=` for the "
            "contraction to expect from these runs",
        )
    noise_alone = card.noise.model_copy(update={"shared": None})  # not needed here
    priors = card.without_drift().model_copy(update={"noise": noise_alone})
    draws = priors.anchored(runs).draw_prior(_PRIOR_DRAWS, seed=0)
    logs = np.stack(list(centered(law, runs, draws).values()))
    slopes = _derivatives(runs, law, np.median(logs, axis=1))
    if not np.isfinite(slopes).all():
        return Finding.check(
            name,
            None,
            f"law {law.name!r} has no positive, finite loss at the medians of the priors in card "
            f"{card.name!r}, so the contraction to expect is not known",
        )
    prior = np.atleast_2d(np.cov(logs))
    noise = np.median(draws["sigma"])
    posterior = np.linalg.inv(np.linalg.inv(prior) + slopes.T @ slopes / noise**2)
    contraction, direction = least_informed_direction(prior, posterior)
    sd = np.sqrt(np.diag(prior))
    table = pd.DataFrame(
        {
            "prior_sd": sd,
            "contraction": 1 - np.sqrt(np.diag(posterior)) / sd,
            "least_informed_direction": direction,
        },
        index=list(law.coefficients),
    )
    scaled = np.linalg.svd(slopes * sd, compute_uv=False)
    table.attrs["condition"] = float(scaled[0] / scaled[-1]) if scaled[-1] else float("inf")
    passed = contraction >= LITTLE_CONTRACTED
    return Finding.check(
        name, passed, combination(law, contraction, direction, "should remove"), table
    )


def combination(law: Law, contraction: float, direction: np.ndarray, verb: str) -> str:
    """Return a sentence on a direction of :func:`least_informed_direction`, with a given verb."""
    words = direction_text(law, direction)
    if contraction >= LITTLE_CONTRACTED:
        return (
            f"the runs {verb} at least {contraction:.0%} of the prior's spread of every "
            f"combination of coefficients (least along {words})"
        )
    share = f"only {contraction:.0%}" if contraction >= 0.005 else "nothing"
    return (
        f"the runs {verb} {share} of the prior's spread along one combination ({words}): there the "
        f"answer is the prior's. Train {informative_runs(law, direction)}"
    )


def _derivatives(runs: Runs, law: Law, center: np.ndarray) -> np.ndarray:
    """Return derivatives of log loss by coefficients of :func:`centered`, (run, coefficient)."""
    inputs = {name: runs[name] for name in law.inputs}

    def log_loss(logs: np.ndarray) -> np.ndarray:
        values = uncentered(law, runs, dict(zip(law.coefficients, logs, strict=True)))
        with np.errstate(all="ignore"):  # the caller checks for values that are not finite
            return np.log(law.loss(**inputs, **values)) + np.zeros(len(runs))

    steps = _STEP * np.eye(len(center))
    slopes = [log_loss(center + step) - log_loss(center - step) for step in steps]
    return np.stack(slopes, axis=1) / (2 * _STEP)
