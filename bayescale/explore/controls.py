"""The controls of the page, the view that they state, and that view's address.

This module does not use Streamlit.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bayescale.command_lines import word
from bayescale.errors import BayescaleError, UnitError
from bayescale.laws.optimum import splits
from bayescale.posterior import Fit, loss_unit_of
from bayescale.units import parse_size
from bayescale.verdict import TOLERANCE, next_scale, own_scale, size_scale, sizes

BEYOND = 1e3
"""The factor by which the slider of the size goes beyond the largest run."""

NEW_FAMILY = "a new family"

_TEN = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0)
_THREE = (1.0, 2.0, 5.0)
_TOLERANCES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0)
_LOSSES = 60  # steps of a slider of losses
_FITS = 2  # whose controls are cached, because every change of one asks for all of them


@dataclass(frozen=True)
class Control:
    """A control of the page.

    Attributes
    ----------
    name : str
        The name in the address; written with dashes, the option of the command line.
    read : callable
        A function that converts a text to a value, or raises :class:`UnitError`.
    steps : tuple of str
        The values of the slider, as texts; the empty text states no value. Empty for no slider.
    choices : tuple of str
        The possible values; empty for free text.
    needed : str
        An example value if the control may not be empty; empty if it may.
    without : str
        The meaning of an empty control.
    """

    name: str
    label: str
    help: str
    read: Callable[[str], Any]
    steps: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    needed: str = ""
    without: str = "none"

    def nearest(self, text: str) -> str | None:
        """Return the step of the slider that is nearest to a text, or None if it cannot be read."""
        if not text.strip():
            return "" if "" in self.steps else None
        try:
            at = float(self.read(text.strip()))
        except BayescaleError:
            return None
        stated = [step for step in self.steps if step]
        return min(stated, key=lambda step: abs(math.log(self.read(step) / at)))


@dataclass(frozen=True)
class View:
    """The question that the controls state.

    Attributes
    ----------
    size : float
        The budget in FLOP, or a value of the law's only input.
    tolerance : float
        The tolerance, as a share of the loss.
    target : float or None
        The target loss, in the log's own unit.
    max_tokens : float or None
        The most unique tokens; None for no limit.
    inference_tokens : float or None
        Tokens to be served, which the budget pays for too.
    family : str or None
        The family; None for a new family.
    """

    size: float
    tolerance: float = TOLERANCE
    target: float | None = None
    max_tokens: float | None = None
    inference_tokens: float | None = None
    family: str | None = None


@lru_cache(_FITS)
def controls(fit: Fit) -> tuple[Control, ...]:
    """Return the controls of a fit, in the order of the page."""
    scale, budget = scale_of(fit), splits(fit.inputs)
    unit = loss_unit_of(fit)
    of_size = {
        "flops": ("Compute budget (FLOP)" if budget else "Training compute (FLOP)", "5.76e23"),
        "params": ("Parameters", "70B"),
        "tokens": ("Training tokens", "1.4T"),
        "lm_loss": ("Loss of the language model (nats/token)", "2.2"),
    }
    label, example = of_size[scale]
    size = parse_size if scale != "lm_loss" else _loss
    losses = (0.5, 1.0) if fit.runs is None else unit.of(fit.runs["loss"])
    targets = _even(0.6 * float(np.min(losses)), float(np.max(losses)))
    found = [
        Control(
            scale, label, f"For example {example}.", named(size, label), _size_steps(fit),
            needed=example,
        ),
        Control(
            "tolerance", "Tolerance",
            "Half the 90% interval of the mean loss that counts as precise, as a share of it: "
            "2% or 0.02.", named(_share, "Tolerance"), tuple(f"{x:g}%" for x in _TOLERANCES),
            needed="2%",
        ),
        Control(
            "target", f"Target loss ({unit.label})",
            "To see the probability of ending below it: 1.95.",
            named(_loss, "Target loss"), ("", *targets),
        ),
    ]  # fmt: skip
    if budget:
        repeats = "unique_tokens" in fit.inputs
        usage = "repeated as often as pays" if repeats else "each used once"
        tokens = (1e9, 1e14) if fit.runs is None else _around(fit.runs["tokens"])
        found += [
            Control(
                "max_tokens", "Tokens available", f"Most unique tokens there are, {usage}: 10T. "
                "Empty: no limit.", named(parse_size, "Tokens available"),
                (*_powers(*tokens, _TEN), ""), without="no limit",
            ),
            Control(
                "inference_tokens", "Tokens to be served",
                "Paid from the same budget, 2 FLOP a parameter and token: 2T. Empty: none.",
                named(parse_size, "Tokens to be served"), ("", *_powers(1e9, 1e15, _THREE)),
            ),
        ]  # fmt: skip
    if fit.families:
        found.append(
            Control("family", "Family", "A family of the fit, or a new one.",
                 _family_of(fit), choices=fit.families, without=NEW_FAMILY)
        )  # fmt: skip
    return tuple(found)


@lru_cache(_FITS)
def ends_of(fit: Fit) -> tuple[float, float]:
    """Return the ends of the slider of the size: the smallest run, and far beyond the largest."""
    scale = scale_of(fit)
    if fit.runs is None:
        return {"flops": (1e18, 1e27), "lm_loss": (1.5, 4.0)}.get(scale, (1e7, 1e13))
    own = own_scale(sizes(fit.runs.frame, fit.inputs), fit.inputs)
    if scale == "lm_loss":
        return 0.6 * float(own.min()), float(own.max())
    return _around(own)


def _around(values: Any) -> tuple[float, float]:
    return float(np.min(values)), BEYOND * float(np.max(values))


def _size_steps(fit: Fit) -> tuple[str, ...]:
    ends = ends_of(fit)
    return _even(*ends) if scale_of(fit) == "lm_loss" else _powers(*ends, _TEN)


def _powers(low: float, high: float, steps: tuple[float, ...]) -> tuple[str, ...]:
    """Return round numbers from low to high, as texts, evenly spaced in logs."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [step * 10.0**decade for decade in decades for step in steps]
    inside = [x for x in values if low / steps[1] < x < high * steps[1]]
    return tuple(word(float(f"{x:.3g}")) for x in inside)


def _even(low: float, high: float) -> tuple[str, ...]:
    """Return evenly spaced losses, as texts with as many digits as distinguish them."""
    digits = max(0, 2 - math.floor(math.log10((high - low) / _LOSSES * 10)))
    values = np.linspace(low, high, _LOSSES).round(digits)
    return tuple(dict.fromkeys(f"{x:g}" for x in values if x > 0))


def first_texts(fit: Fit) -> dict[str, str]:
    """Return the initial texts: the next scale and the tolerance, and no optional values."""
    texts = {control.name: "" for control in controls(fit)} | {"tolerance": f"{TOLERANCE:.0%}"}
    if fit.runs is not None:
        texts[scale_of(fit)] = word(next_scale(fit.runs.frame, fit.inputs))
    return texts


def read_view(texts: Mapping[str, str], fit: Fit) -> tuple[View | None, dict[str, str]]:
    """Return the view that texts state, or the problem of each text.

    Parameters
    ----------
    texts : mapping of str to str
        Texts by the name of the control; empty or absent if no value is stated.
    fit : Posterior or ModelAverage

    Returns
    -------
    view : View or None
        The view; None if there is any problem.
    problems : dict of str to str
        Messages by the name of the control.
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
    """Return the address of a view as texts, which :func:`read_view` reads back to the last bit."""
    values = {
        scale_of(fit): view.size,
        "tolerance": view.tolerance,
        "target": view.target,
        "max_tokens": view.max_tokens,
        "inference_tokens": view.inference_tokens,
        "family": view.family,
    }
    return {
        name: value if isinstance(value, str) else repr(value) if name == "target" else word(value)
        for name, value in values.items()
        if value is not None
    }


def scale_of(fit: Fit) -> str:
    """Return the name of the scale of the size control: flops, or the law's only input."""
    return size_scale(fit.inputs)


def named(read: Callable[[str, str], Any], label: str) -> Callable[[str], Any]:
    """Return a function of a text alone, whose messages name the control."""
    return lambda text: read(text, label)


def _family_of(fit: Fit) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in fit.families:
            known = ", ".join(fit.families)
            raise UnitError(f"family {text!r} is not in this fit: choose one of {known}")
        return text

    return read


def _loss(text: str, what: str) -> float:
    return number(text, what, "a loss such as 1.95")


def _share(text: str, what: str) -> float:
    percent = text.endswith("%")
    value = number(text.removesuffix("%"), what, "a share of the loss, 2% or 0.02")
    value = value / 100 if percent else value
    if not value < 1:
        raise UnitError(f"{what} is {text!r}, but must lie between 0 and 1, or 0% and 100%")
    return value


def number(text: str, what: str, example: str) -> float:
    """Return a number above zero that a text states.

    Raises
    ------
    UnitError
        If it is not one.
    """
    try:
        value = float(text)
    except ValueError:
        raise UnitError(f"{what} is {text!r}, which is not a number: write {example}") from None
    if not 0 < value < math.inf:
        raise UnitError(f"{what} is {text!r}, but must be finite and above zero: write {example}")
    return value
