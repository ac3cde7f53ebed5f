"""Conversion between written quantities, such as 70B, and the raw units of the package.

Inside the package there are only raw counts (parameters, tokens), floating-point
operations (FLOP) and nats per token, all as 64-bit floats. Units are converted once, when a
run log is read.
"""

import math
import re
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any, overload

import numpy as np

from bayescale.errors import UnitError, did_you_mean

FLOP_PER_PF_DAY = 1e15 * 86_400
"""One petaflop/s for a day, the compute unit of Kaplan et al. (2020)."""

SMALLEST_SIZE, LARGEST_SIZE = 1e-6, 1e60
"""The range of sizes; beyond it, products of sizes overflow."""

_SUFFIXES: Mapping[str, float] = MappingProxyType(
    {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
)
_SIZE = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<suffix>[kmbgt]?)"
    r"(?:\s*(?<![a-z])(?P<unit>[a-z][a-z/ -]*))?",
    re.IGNORECASE,
)
_FACTORS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "params": {"params": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12},
        "tokens": {"tokens": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12},
        "flops": {
            "FLOP": 1.0,
            "GFLOP": 1e9,
            "TFLOP": 1e12,
            "PFLOP": 1e15,
            "EFLOP": 1e18,
            "ZFLOP": 1e21,
            "PF-day": FLOP_PER_PF_DAY,
        },
        "loss": {"nats": 1.0, "bits": math.log(2.0)},
    }
)
_COUNTED = ("params", "tokens", "flops")
"""Columns that hold sizes."""

_SHARED_FACTORS = {"unique_tokens": "tokens", "loss_se": "loss", "loss_step": "loss"}

LOSS_UNITS = ("nats", "bits", "bits_per_byte", "perplexity")
"""Units of a loss; only the first two are multiples of each other."""

PER_RUN_UNITS = ("loss_se", "loss_step")
"""Columns in the unit of the loss, unless another unit is stated for them."""

LOGS: Mapping[str, float] = MappingProxyType({"log10": math.log(10.0), "ln": 1.0})
"""Units of columns that hold logs, with the natural log of their base."""

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "thousand": "K", "thousands": "K", "million": "M", "millions": "M", "mio": "M",
        "billion": "B", "billions": "B", "bn": "B", "trillion": "T", "trillions": "T",
        "flops": "FLOP", "pf-days": "PF-day", "pfdays": "PF-day", "pf days": "PF-day",
        "gflops": "GFLOP", "tflops": "TFLOP", "pflops": "PFLOP", "eflops": "EFLOP",
        "zflops": "ZFLOP", "param": "params", "parameter": "params", "parameters": "params",
        "token": "tokens", "nats/token": "nats", "bits/token": "bits", "bits/byte": "bits_per_byte",
        "bpb": "bits_per_byte", "ppl": "perplexity",
    }
)  # fmt: skip
"""Names of units in headers, besides those that options accept."""


def unit_in_words(column: str, text: str) -> str | None:
    """Return the unit that a header names between brackets, or None if the text is not a unit.

    Examples
    --------
    >>> unit_in_words("tokens", "billions"), unit_in_words("loss", "BPB")
    ('B', 'bits_per_byte')
    """
    plain = text.strip().lower()
    unit = _WORDS.get(plain, plain)
    names = (*_FACTORS.get(_SHARED_FACTORS.get(column, column), ()), *LOGS)
    names += LOSS_UNITS if column == "loss" else ()
    found = next((name for name in names if name.lower() == unit.lower()), None)
    if found is None and column in _FACTORS and re.fullmatch(r"1e\d+", unit):
        return unit
    return found


_COUNTS: Mapping[str, str] = MappingProxyType(
    {"params": "params", "sizes": "params", "tokens": "tokens", "flops": "flops",
     "budget": "flops", "cutoff": "flops"}
)  # fmt: skip
"""What a size counts, by the last word of its name, as in ``--target-params``."""


def _counts(what: str) -> str | None:
    """Return what a size of this name counts: ``params``, ``tokens``, ``flops`` or None."""
    words = re.findall("[a-z]+", what.lower())
    if not words or "per" in words or "gpu" in words:
        return None
    return _COUNTS.get(words[-1])


def parse_size(text: str | float, what: str = "value") -> float:
    """Return the number that a text such as "70B" states.

    Parameters
    ----------
    text : str or float
        ``"70B"``, ``"1.4T"``, ``"5.76e23"``. Suffixes K, M, B (or G), T in either case. A unit may
        follow if the name says what is counted: ``"70B params"``, ``"1e22 FLOP"``, ``"5 ZFLOP"``.
    what : str
        The name of the quantity, for the message.

    Returns
    -------
    float
        The raw count.

    Raises
    ------
    UnitError
        If the text is not a number with an optional suffix and unit, the unit is another
        quantity's, or the number is not from 1e-6 to 1e60.

    Examples
    --------
    >>> parse_size("1.4T"), parse_size("1e22 FLOPs", "flops")
    (1400000000000.0, 1e+22)
    """
    match = _SIZE.fullmatch(str(text).strip())
    found = f"{what} is {str(text)!r}"
    factor = 1.0 if match is None or match["unit"] is None else _factor(match["unit"], what, found)
    if match is None or factor is None or (match["suffix"] and factor != 1.0):
        raise UnitError(
            f"{found}, which is not a size: write a number, with K, M, B or T after it if you "
            "like, for example 70B, 1.4T or 5.76e23"
        )
    value = float(match["number"]) * _SUFFIXES[match["suffix"].lower()] * factor
    return _checked_size(value, found)


def _factor(word: str, what: str, found: str) -> float | None:
    """Return the factor of the unit that follows a number, or None if the word is no unit."""
    names = [name for name in _COUNTED if unit_in_words(name, word) in _FACTORS[name]]
    column = _counts(what)
    if column in names:
        return unit_factor(column, str(unit_in_words(column, word)))
    if not names:
        return None
    needed = "takes no unit" if column is None else f"{word!r} is a unit of {names[0]}"
    instead = "leave it out" if column is None else f"give {column} here"
    raise UnitError(f"{found}, but {needed}: {instead}")


def _checked_size(value: float, found: str) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise UnitError(f"{found}, but it must be finite and greater than zero")
    if not SMALLEST_SIZE <= value <= LARGEST_SIZE:
        raise UnitError(
            f"{found}, but it must be from {SMALLEST_SIZE:g} to {LARGEST_SIZE:g}: check its unit"
        )
    return value


@overload
def as_size(value: None, what: str = ...) -> None: ...
@overload
def as_size(value: str | float, what: str = ...) -> float: ...
@overload
def as_size(value: Any, what: str = ...) -> Any: ...
def as_size(value: Any, what: str = "value") -> Any:
    """Return a size, or several, as raw counts.

    Parameters
    ----------
    value : float, str, array_like of these, or None
        Numbers, or texts that :func:`parse_size` reads.
    what : str
        The name of the quantity, for the message.

    Returns
    -------
    float, numpy.ndarray or None
        A float for a single size, an array of the same shape for several, None for None.

    Raises
    ------
    UnitError
        If a size cannot be read, or is not from 1e-6 to 1e60.

    Examples
    --------
    >>> as_size("70B"), as_size(["1B", 2e9])
    (70000000000.0, array([1.e+09, 2.e+09]))
    """
    if value is None:
        return None
    if isinstance(value, Real) and not isinstance(value, bool):
        return _checked_size(float(value), f"{what} is {value}")
    if isinstance(value, str) or not np.ndim(value):
        return parse_size(value, what)
    values = np.asarray(value, dtype=None if hasattr(value, "dtype") else object)
    if values.dtype.kind in "fiu" and _are_sizes(values):
        return values.astype(float)
    sizes = [as_size(size, f"{what}[{i}]") for i, size in enumerate(values.ravel())]
    return np.array(sizes, dtype=float).reshape(values.shape)


def _are_sizes(values: np.ndarray) -> bool:
    return bool(((values >= SMALLEST_SIZE) & (values <= LARGEST_SIZE)).all())


def checked_ci_prob(value: Any) -> float:
    """Return the probability of an interval, or raise an error if it is not one.

    Raises
    ------
    UnitError
        If it is not a number above 0 and below 1.

    Examples
    --------
    >>> checked_ci_prob(0.9)
    0.9
    """
    if isinstance(value, float | np.floating) and 0 < value < 1:
        return float(value)
    raise UnitError(
        f"ci_prob is {value!r}, but must be a number above 0 and below 1: write `ci_prob=0.9` for "
        "intervals that hold 90 %"
    )


def format_size(value: float) -> str:
    """Return a count of parameters or tokens as a text such as "70B".

    Examples
    --------
    >>> format_size(7.2e10), format_size(1.33e12), format_size(5.1e17)
    ('72B', '1.33T', '5.1e+17')
    """
    for suffix, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if factor <= float(f"{value:.3g}") < 1e3 * factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def three_digits(value: float, digits: int = 3, pad: bool = False) -> str:
    """Return a number as a text with ``digits`` significant digits.

    With ``pad``, zeros at the end are kept, for columns of a table.

    Examples
    --------
    >>> three_digits(0.03607), three_digits(1526.0), three_digits(5.876e23)
    ('0.0361', '1,530', '5.88e+23')
    """
    rounded = float(f"{value:.{digits}g}")
    if 1e3 <= abs(rounded) < 1e5:
        return f"{rounded:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".") if pad else f"{value:.{digits}g}"


def unit_factor(column: str, unit: str) -> float:
    """Return how many raw units one ``unit`` of ``column`` is.

    Parameters
    ----------
    column : str
        One of ``params``, ``tokens``, ``unique_tokens``, ``flops``, ``loss``, ``loss_se``,
        ``loss_step``.
    unit : str
        A unit's name (``B``, ``billions``, ``PF-day``, ``bits``, ...) or a positive number.

    Raises
    ------
    UnitError
        If the column has no units or the unit is unknown.
    """
    names = _FACTORS.get(_SHARED_FACTORS.get(column, column))
    if names is None:
        raise UnitError(
            f"column {column!r} takes no unit: state units only for "
            f"{', '.join([*_FACTORS, *_SHARED_FACTORS])}"
        )
    known = unit_in_words(column, unit)
    if known is not None and known in names:
        return names[known]
    if unit.strip().lower() in LOGS:
        raise UnitError(f"unit {unit!r} of column {column!r} is a logarithm, which has no factor")
    try:
        factor = float(unit)
    except ValueError:
        factor = math.nan
    if not (factor > 0 and math.isfinite(factor)):
        also = ", bits_per_byte or perplexity" if column == "loss" else ""
        raise UnitError(
            f"unit {unit!r} of column {column!r} is unknown: use {', '.join(names)}{also}, "
            f"or a positive number such as 1e9{did_you_mean(unit, (*names, *_WORDS, *LOGS))}"
        )
    return factor


def to_nats(loss: Any, unit: str, *, tokens_per_byte: Any = None) -> Any:
    """Return a loss in nats per token.

    Parameters
    ----------
    loss : array_like
        Losses above zero; perplexities above one.
    unit : str
        One of ``nats``, ``bits``, ``bits_per_byte`` and ``perplexity``.
    tokens_per_byte : array_like, optional
        Tokens divided by bytes of the evaluation set; needed for bits per byte.

    Raises
    ------
    UnitError
        If the unit is unknown, or ``tokens_per_byte`` is needed and not given.

    Examples
    --------
    >>> round(to_nats(0.9, "bits_per_byte", tokens_per_byte=0.29335), 4)
    2.1266
    """
    if unit == "perplexity":
        return np.log(loss)
    return loss * _nats_in_one(unit, tokens_per_byte)


def from_nats(loss: Any, unit: str, *, tokens_per_byte: Any = None) -> Any:
    """Return a loss in nats per token in another unit; the inverse of :func:`to_nats`.

    Examples
    --------
    >>> round(from_nats(2.1266, "bits_per_byte", tokens_per_byte=0.29335), 4)
    0.9
    """
    if unit == "perplexity":
        return np.exp(loss)
    return loss / _nats_in_one(unit, tokens_per_byte)


def _nats_in_one(unit: str, tokens_per_byte: Any) -> Any:
    if unit == "bits_per_byte":
        if tokens_per_byte is None:
            raise UnitError(
                "bits per byte need tokens_per_byte, tokens divided by bytes of the evaluation "
                "set: give it, such as 0.29335 for the GPT-2 tokenizer on the Pile"
            )
        return math.log(2.0) / tokens_per_byte
    if unit not in LOSS_UNITS:
        raise UnitError(
            f"unit {unit!r} of a loss is unknown: use {', '.join(LOSS_UNITS)}"
            f"{did_you_mean(unit, LOSS_UNITS)}"
        )
    return _FACTORS["loss"][unit]


def disordered(ranges: Mapping[Any, tuple[float, float]]) -> list[str]:
    """Return a problem for each range that does not go from a smaller to a larger end.

    Examples
    --------
    >>> disordered({"params": (1e6, 1e9), "tokens": (2e9, 1e9)})
    ['range.tokens goes from 2e+09 to 1e+09: the smaller end first']
    """
    return [
        f"range.{name} goes from {low:g} to {high:g}: the smaller end first"
        for name, (low, high) in ranges.items()
        if not low < high
    ]
