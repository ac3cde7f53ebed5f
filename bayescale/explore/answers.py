"""What the page asks of a fit and shows: views, their addresses and their answers.

This module does not know Streamlit. Every number comes from the functions that the commands call;
the answers of one fit are cached while its controls change.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bayescale.decisions.allocate import allocate
from bayescale.decisions.allocation import Allocation
from bayescale.errors import BayescaleError, DecisionError, UnitError
from bayescale.forecasting import Forecast, forecast
from bayescale.laws.optimum import splits
from bayescale.posterior import Fit, flop_count_of, loss_unit_of
from bayescale.questions import command_line, word
from bayescale.splits.constraints import Constraints
from bayescale.units import parse_size
from bayescale.validation.horizon import Trust, trust
from bayescale.verdict import TOLERANCE, next_scale, own_scale, size_scale, sizes

SPLITS, SPREAD = 15, 30.0
"""Number of splits of a budget, and the factor up and down that their tokens per parameter span."""

CURVE_POINTS = 40
KEPT = 32
"""Answers of each kind that are cached."""


@dataclass(frozen=True)
class Control:
    """A control of the page.

    Attributes
    ----------
    name : str
        Its name in the address; with dashes, the option of the command line.
    read : callable
        Converts its text to a value; raises :class:`UnitError`.
    choices : tuple of str
        The possible values; empty for free text.
    needed : str
        An example to write where it may not be empty; empty where it may.
    """

    name: str
    label: str
    help: str
    read: Callable[[str], Any]
    choices: tuple[str, ...] = ()
    needed: str = ""


@dataclass(frozen=True)
class View:
    """The question that the controls state.

    Attributes
    ----------
    size : float
        The budget in FLOP, or a place on the only scale that the law has.
    tolerance : float
        Share of the loss.
    target : float or None
        In the log's own unit of loss.
    max_tokens : float or None
        Most unique tokens there are; None for no limit.
    inference_tokens : float or None
        Tokens to be served, paid from the budget.
    family : str or None
        A new family where None.
    """

    size: float
    tolerance: float = TOLERANCE
    target: float | None = None
    max_tokens: float | None = None
    inference_tokens: float | None = None
    family: str | None = None


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers to one view.

    Attributes
    ----------
    forecast : Forecast
        The forecast of one run: at the allocation's choice, or on the law's own scale.
    allocation : Allocation or None
        With :attr:`forecast` as the loss at its choice, and splits along the budget as options;
        None for laws of one scale.
    run : pandas.Series
        The row of :attr:`forecast`.
    splits : pandas.DataFrame or None
        The rows of those options, by params.
    curve : Curve
    trust : Trust or None
        None for a point estimate.
    """

    view: View
    forecast: Forecast
    run: pd.Series
    allocation: Allocation | None
    splits: pd.DataFrame | None
    curve: "Curve"
    trust: Trust | None


@dataclass(frozen=True, eq=False)
class Curve:
    """The loss from the smallest run to well beyond the view's, at the compute-optimal splits.

    Attributes
    ----------
    forecast : Forecast
    table : pandas.DataFrame
        Its rows, by size.
    by_law : mapping of str to pandas.DataFrame
        The rows of each law of an average.
    """

    forecast: Forecast
    table: pd.DataFrame
    by_law: Mapping[str, pd.DataFrame]


def controls(fit: Fit) -> tuple[Control, ...]:
    """List the controls of a fit, in the order of the page."""
    scale, budget = scale_of(fit), splits(fit.inputs)
    unit = loss_unit_of(fit).label
    of_size = {
        "flops": ("Compute budget (FLOP)" if budget else "Training compute (FLOP)", "5.76e23"),
        "params": ("Parameters", "70B"),
        "tokens": ("Training tokens", "1.4T"),
        "lm_loss": ("Loss of the language model (nats/token)", "2.2"),
    }
    label, example = of_size[scale]
    size = parse_size if scale != "lm_loss" else _loss
    found = [
        Control(scale, label, f"For example {example}.", _named(size, label), needed=example),
        Control(
            "tolerance", "Tolerance",
            "Half the 90% interval of the mean loss that counts as precise, as a share of it: "
            "2% or 0.02.", _named(_share, "Tolerance"), needed="2%",
        ),
        Control(
            "target", f"Target loss ({unit})", "To see the probability of ending below it: 1.95.",
            _named(_loss, "Target loss"),
        ),
    ]  # fmt: skip
    if budget:
        repeats = "unique_tokens" in fit.inputs
        usage = "repeated as often as pays" if repeats else "each used once"
        found += [
            Control(
                "max_tokens", "Tokens available", f"Most unique tokens there are, {usage}: 10T. "
                "Empty: no limit.", _named(parse_size, "Tokens available"),
            ),
            Control(
                "inference_tokens", "Tokens to be served",
                "Paid from the same budget, 2 FLOP a parameter and token: 2T. Empty: none.",
                _named(parse_size, "Tokens to be served"),
            ),
        ]  # fmt: skip
    if fit.families:
        found.append(
            Control("family", "Family", "A family of the fit, or a new one.",
                 _family_of(fit), choices=fit.families)
        )  # fmt: skip
    return tuple(found)


def first_texts(fit: Fit) -> dict[str, str]:
    """Return the initial texts: the next scale, and nothing that is optional."""
    texts = {control.name: "" for control in controls(fit)} | {"tolerance": f"{TOLERANCE:.0%}"}
    if fit.runs is not None:
        texts[scale_of(fit)] = word(next_scale(fit.runs.frame, fit.inputs))
    return texts


def read_view(texts: Mapping[str, str], fit: Fit) -> tuple[View | None, dict[str, str]]:
    """Read the view that texts state, or what is wrong with each of them.

    Parameters
    ----------
    texts : mapping of str to str
        Texts by control; empty or absent where nothing is stated.
    fit : Posterior or ModelAverage

    Returns
    -------
    view : View or None
        None if anything is wrong: nothing is guessed.
    problems : dict of str to str
        A message by knob.
    """
    values, problems = {}, {}
    for control in controls(fit):
        text = texts.get(control.name, "").strip()
        if not text and control.needed:
            problems[control.name] = f"{control.label} is empty: write for example {control.needed}"
        elif text:
            try:
                values["size" if control.name == scale_of(fit) else control.name] = control.read(
                    text
                )
            except BayescaleError as error:
                problems[control.name] = str(error)
    return (None if problems else View(**values)), problems


def to_query(view: View, fit: Fit) -> dict[str, str]:
    """Write the address of a view, which :func:`read_view` reads back to the last bit."""
    values = {
        scale_of(fit): view.size,
        "tolerance": view.tolerance,
        "target": view.target,
        "max_tokens": view.max_tokens,
        "inference_tokens": view.inference_tokens,
        "family": view.family,
    }
    return {
        name: value if isinstance(value, str) else word(value)
        for name, value in values.items()
        if value is not None
    }


def scale_of(fit: Fit) -> str:
    """Name the scale of the size control: flops, or the law's only input."""
    return size_scale(fit.inputs)


def _named(read: Callable[[str, str], Any], label: str) -> Callable[[str], Any]:
    return lambda text: read(text, label)


def _family_of(fit: Fit) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in fit.families:
            known = ", ".join(fit.families)
            raise UnitError(f"family {text!r} is not among those of this fit: {known}")
        return text

    return read


def _loss(text: str, what: str) -> float:
    return _number(text, what, "a loss such as 1.95")


def _share(text: str, what: str) -> float:
    percent = text.endswith("%")
    value = _number(text.removesuffix("%"), what, "a share of the loss, 2% or 0.02")
    value = value / 100 if percent else value
    if not value < 1:
        raise UnitError(f"{what} is {text!r}, but must lie between 0 and 1, or 0% and 100%")
    return value


def _number(text: str, what: str, example: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UnitError(f"{what} is {text!r}, which is not a number: write {example}") from None
    if not 0 < value < math.inf:
        raise UnitError(f"{what} is {text!r}, but must be finite and above zero")
    return value


def _sizes(fit: Fit) -> np.ndarray:
    """Return the runs' sizes, on the law's scale."""
    assert fit.runs is not None
    return own_scale(sizes(fit.runs.frame, fit.inputs), fit.inputs)


def answer(fit: Fit, view: View, *, allow_unconverged: bool = False) -> Answers:
    """Answer the question of a view.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    view : View
    allow_unconverged : bool
        Answer although the fit failed its convergence checks.

    Returns
    -------
    Answers

    Raises
    ------
    BayescaleError
        As the functions that answer do.
    """
    fit.require_converged(allow_unconverged)
    far = view.size
    if scale_of(fit) != "lm_loss":
        far = 10.0 ** math.ceil(math.log10(view.size * 1.5))  # one curve serves many budgets
    curve = _curve(fit, far, view.family)
    allocation, table = None, None
    places: dict[str, Any] = {scale_of(fit): view.size}
    if splits(fit.inputs):
        limits = view.max_tokens, view.inference_tokens or 0.0
        allocation, table = _split(fit, curve, view.size, *limits, view.family)
        if (why := allocation.refusal(0)) is not None:
            raise DecisionError(why)
        places = {name: allocation.choice.points[name] for name in ("params", "tokens")}
        if "unique_tokens" in fit.inputs and view.max_tokens is not None:
            places["unique_tokens"] = np.minimum(places["tokens"], view.max_tokens)
    run = forecast(
        fit, **places, target=view.target, tolerance=view.tolerance, family=view.family,
        allow_unconverged=True,
    )  # fmt: skip
    if allocation is not None:
        # The choice depends on neither tolerance nor target, so it is cached without its loss.
        allocation = replace(allocation, at_choice=run)
    return Answers(
        view=view,
        forecast=run,
        run=run.to_frame().iloc[0],
        allocation=allocation,
        splits=table,
        curve=curve,
        trust=None if fit.runs is None else _trust(fit, view.tolerance),
    )


@lru_cache(KEPT)
def _split(
    fit: Fit,
    curve: Curve,
    flops: float,
    max_tokens: float | None,
    served: float,
    family: str | None,
) -> tuple[Allocation, pd.DataFrame]:
    """Allocate a budget, with splits around the best as options, and tabulate those."""
    repeats = "unique_tokens" in fit.inputs
    limits = Constraints(
        max_tokens=None if repeats else max_tokens,
        inference_tokens=served,
        count=flop_count_of(fit),
    )
    path = np.log(curve.table[["flops", "params", "tokens"]].to_numpy()).T
    params, tokens = (np.interp(np.log(flops), path[0], log) for log in path[1:])
    # Tokens to be served call for smaller models: the search goes further in proportion.
    up = np.log(SPREAD * (1.0 + served / np.exp(tokens)))
    middle = tokens - params
    _, most = (float(end[0]) for end in limits.range(np.array([flops])))
    high = min(middle + up, most)
    low = min(middle, high) - np.log(SPREAD)
    options = zip(*limits.split(flops, np.linspace(low, high, SPLITS)), strict=True)
    found = allocate(
        fit, flops, max_tokens=max_tokens, inference_tokens=served,
        options=[(float(params), float(tokens)) for params, tokens in options], family=family,
        losses=False, allow_unconverged=True,
    )  # fmt: skip
    assert found.options is not None
    return found, found.options.to_frame(found.ci_prob).sort_values("params")


@lru_cache(KEPT)
def _curve(fit: Fit, far: float, family: str | None) -> Curve:
    ends = [far] if fit.runs is None else [far, *_sizes(fit)]
    if scale_of(fit) == "lm_loss":
        places = np.linspace(min(ends), max(ends), CURVE_POINTS)
    else:
        near = min(ends) if len(ends) > 1 else far / 1e4
        places = np.geomspace(near, max(ends), CURVE_POINTS)
    scales: dict[str, Any] = {scale_of(fit): places}
    found = forecast(fit, **scales, family=family, allow_unconverged=True)
    by_law = {law.law: law.to_frame() for law in found.by_law}
    return Curve(found, found.to_frame(), by_law)


@lru_cache(KEPT)
def _trust(fit: Fit, tolerance: float) -> Trust:
    return trust(fit, tolerance=tolerance, allow_unconverged=True)


def commands(
    fit: Fit, answers: Answers, file: str, laws: tuple[str, ...] = (), allow: bool = False
) -> list[str]:
    """Write the commands that give the same numbers."""
    view, words = answers.view, [word for law in laws for word in ("--law", law)]
    shared = {
        "tolerance": view.tolerance,
        "family": view.family,
        "allow_unconverged": allow,
    }
    lines = []
    if answers.allocation is not None:
        budget = {
            "flops": view.size,
            "max_tokens": view.max_tokens,
            "inference_tokens": view.inference_tokens,
        }
        lines.append(command_line("allocate", file, {**budget, **shared}, *words))
    point = answers.forecast.points.iloc[0]
    places = {name: float(point[name]) for name in fit.inputs}
    lines.append(
        command_line("forecast", file, {**places, "target": view.target, **shared}, *words)
    )
    return lines
