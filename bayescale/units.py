"""Quantities as people write them, and the raw units used inside.

Inside the package there are only raw counts (parameters, tokens), floating-point
operations (FLOP) and natural units of loss (nats per token), all as 64-bit floats.
Units are converted once, at the door.
"""

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from bayescale.errors import UnitError

FLOP_PER_PF_DAY = 1e15 * 86_400
"""One petaflop/s for a day, the compute unit of Kaplan et al. (2020)."""

_SUFFIXES: Mapping[str, float] = MappingProxyType(
    {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
)
_SIZE = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<suffix>[a-z]?)", re.IGNORECASE
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
_SHARED_FACTORS = {"unique_tokens": "tokens", "loss_se": "loss", "loss_step": "loss"}


def parse_size(text: str | float, what: str = "value") -> float:
    """Read a positive quantity as people write it.

    Parameters
    ----------
    text : str or float
        ``"70B"``, ``"1.4T"``, ``"5.76e23"``. Suffixes K, M, B (or G), T in either case.
    what : str
        The name of the quantity, for the message.

    Returns
    -------
    float
        The raw count.

    Raises
    ------
    UnitError
        If the text is not a number with an optional suffix, or is not positive and finite.

    Examples
    --------
    >>> parse_size("1.4T")
    1400000000000.0
    """
    match = _SIZE.fullmatch(str(text).strip())
    if match is None or match["suffix"].lower() not in _SUFFIXES:
        raise UnitError(
            f"{what} is {str(text)!r}, which is not a size: write a number, with K, M, B or T "
            "after it if you like, for example 70B, 1.4T or 5.76e23"
        )
    value = float(match["number"]) * _SUFFIXES[match["suffix"].lower()]
    if not (value > 0 and math.isfinite(value)):
        raise UnitError(f"{what} is {str(text)!r}, but it must be finite and greater than zero")
    return value


def format_size(value: float) -> str:
    """Write a count of parameters or tokens the way people do.

    Examples
    --------
    >>> format_size(7.2e10), format_size(1.33e12), format_size(5.1e17)
    ('72B', '1.33T', '5.1e+17')
    """
    for suffix, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if factor <= float(f"{value:.3g}") < 1e3 * factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def unit_factor(column: str, unit: str) -> float:
    """How many raw units one ``unit`` of ``column`` is.

    Parameters
    ----------
    column : str
        One of ``params``, ``tokens``, ``unique_tokens``, ``flops``, ``loss``, ``loss_se``,
        ``loss_step``.
    unit : str
        A unit's name (``B``, ``PF-day``, ``bits``, ...) or a positive number.

    Raises
    ------
    UnitError
        If the column has no units or the unit is unknown.
    """
    names = _FACTORS.get(_SHARED_FACTORS.get(column, column))
    if names is None:
        raise UnitError(
            f"column {column!r} takes no unit; units can be stated for "
            f"{', '.join([*_FACTORS, *_SHARED_FACTORS])}"
        )
    for name, factor in names.items():
        if name.lower() == unit.strip().lower():
            return factor
    try:
        factor = float(unit)
    except ValueError:
        factor = math.nan
    if not (factor > 0 and math.isfinite(factor)):
        also = " or perplexity" if column == "loss" else ""
        raise UnitError(
            f"unit {unit!r} of column {column!r} is unknown: use {', '.join(names)}{also}, "
            "or a positive number such as 1e9"
        )
    return factor
