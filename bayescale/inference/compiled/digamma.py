"""The digamma function in plain arithmetic.

PyTensor takes it from SciPy, which compiled code can only call through Python.
"""

import math

import numpy as np

_FAR = 10.0
"""The argument from which the asymptotic series is exact to double precision."""

_SERIES = np.array([1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12])
"""Coefficients of x^-2, x^-4, ...: Abramowitz and Stegun 1964, 6.3.18."""


def digamma(x: float) -> float:
    """Return the derivative of log gamma; NaN at its poles 0, -1, -2, ...

    >>> round(float(digamma(1.0)), 12)  # minus Euler's constant
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
    power = 1.0
    series = 0.0
    for i in range(_SERIES.shape[0]):
        power /= x * x
        series += _SERIES[i] * power
    return mirrored + math.log(x) - 0.5 / x - series - steps
