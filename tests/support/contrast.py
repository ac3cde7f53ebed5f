"""How far two colors stand apart, as WCAG 2 defines it."""

from collections.abc import Sequence

import numpy as np


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """From 1 to 21, of two colors of red, green and blue up to 255."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def from_hex(color: str) -> tuple[int, ...]:
    """Red, green and blue of ``#rrggbb``."""
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


def _luminance(color: Sequence[float]) -> float:
    parts = np.asarray(color) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
