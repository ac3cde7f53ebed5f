"""Formats of values on pages."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from bayescale.units import format_size

_PLAIN = 1e6  # smaller sizes are written without an exponent


def _digits(n: int) -> Callable[[float], str]:
    def write(value: float) -> str:
        text = f"{value:.{n}g}"
        if "e+" in text and abs(value) < _PLAIN:
            return f"{float(text):.0f}"
        return re.sub(r"e([+-])0*", lambda sign: f"e{sign[1].strip('+')}", text)

    return write


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
    "thousands": lambda value: f"{value:,.0f}",
    "dollars": lambda value: f"${value:,.0f}",
    "per_1e18": lambda value: _digits(2)(1e18 * value),
    "spaced": lambda text: str(text).replace("_", " "),
}
"""Formats by their names in templates."""

SIZE = {
    "params": format_size,
    "tokens": format_size,
    "flops": FORMATS["three_digits"],
    "lm_loss": FORMATS["three_digits"],
}
UNIT = {"params": "params", "tokens": "tokens", "flops": "FLOP", "lm_loss": "nats per token"}
