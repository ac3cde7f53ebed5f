"""The digamma function in plain arithmetic, for numba, which has none of its own.

PyTensor takes it from SciPy, which compiled code can only call through Python.
"""

import math

_FAR = 10.0
"""The argument from which the asymptotic series is exact to double precision."""

_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
"""Coefficients of x^-2, x^-4, ...: Abramowitz and Stegun 1964, 6.3.18."""


def digamma(x: float) -> float:
    """Return the derivative of log gamma; NaN at its poles 0, -1, -2, ...

    >>> round(digamma(1.0), 12)  # minus Euler's constant
    -0.577215664902
    """
    if x <= 0.0 and x == math.floor(x):
        return math.nan
    mirrored = 0.0
    if x < 0.0:
        mirrored = -math.pi / math.tan(math.pi * x)
        x = 1.0 - x
    steps = 0.0
    while x < _FAR:
        steps += 1.0 / x
        x += 1.0
    power, series = 1.0, 0.0
    for coefficient in _SERIES:
        power /= x * x
        series += coefficient * power
    return mirrored + math.log(x) - 0.5 / x - series - steps
