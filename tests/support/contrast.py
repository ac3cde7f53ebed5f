"""How far two colours stand apart, as WCAG 2 defines it."""

from collections.abc import Sequence

import numpy as np


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """From 1 to 21, of two colours of red, green and blue up to 255."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def from_hex(colour: str) -> tuple[int, ...]:
    """Red, green and blue of ``#rrggbb``."""
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _luminance(colour: Sequence[float]) -> float:
    parts = np.asarray(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
