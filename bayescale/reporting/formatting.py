"""How values are written on the page."""

from collections.abc import Callable, Mapping
from typing import Any

from bayescale.units import format_size


def _digits(n: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{n}g}".replace("e+", "e")


FORMATS: Mapping[str, Callable[[Any], str]] = {
    "size_format": format_size,
    "loss": lambda value: f"{value:.4f}",
    "three_decimals": lambda value: f"{value:.3f}",
    "two_digits": _digits(2),
    "three_digits": _digits(3),
    "four_digits": _digits(4),
    "percent": lambda value: f"{value:.0%}",
    "percent_tenths": lambda value: f"{value:.1%}",
    "percent_hundredths": lambda value: f"{value:.2%}",
    "per_1e18": lambda value: f"{1e18 * value:.2g}",
    "spaced": lambda text: str(text).replace("_", " "),
}
"""Formats by the name under which templates know them."""

SIZE = {
    "params": format_size,
    "tokens": format_size,
    "flops": FORMATS["three_digits"],
    "lm_loss": FORMATS["three_digits"],
}
UNIT = {"params": "params", "tokens": "tokens", "flops": "FLOP", "lm_loss": "nats per token"}
