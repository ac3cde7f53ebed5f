"""The scaled complementary error function as machine code, without a call into SciPy.

PyTensor takes it from SciPy, whose cases are chosen by a jump that processors predict badly. The
density of one-sided noise computes it for every run and node, which is half of its time. Here the
same polynomials in 4 / (4 + x), by Steven G. Johnson, are rows of a table.

Measured without drift on 2,702 runs with the card ``chinchilla_floor``, in 5 alternating pairs: one
gradient takes 0.66 times the CPU time.
"""

import math
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

_INTERVALS, _DEGREE = 100, 6
_FAR, _FARTHEST = 50.0, 5e7
"""Where a continued fraction takes over, and where its first term suffices."""

_ONE_OVER_ROOT_PI = 1 / math.sqrt(math.pi)


def _polynomials() -> np.ndarray:
    """Return coefficients, (interval, power), of erfcx in each interval of 400 / (4 + x)."""
    from scipy import special

    rows = []
    for i in range(_INTERVALS):

        def value(s: Any, i: int = i) -> Any:
            return special.erfcx(4 * _INTERVALS / (i + (s + 1) / 2) - 4)

        rows.append(chebyshev.cheb2poly(chebyshev.chebinterpolate(value, _DEGREE)))
    return np.array(rows)


def make_erfcx() -> Any:
    """Return the function, of one number."""
    table = _polynomials()

    def erfcx(x: float) -> float:
        if x != x:  # NaN
            return x
        size = abs(x)
        if size > _FARTHEST:
            found = _ONE_OVER_ROOT_PI / size
        elif size > _FAR:
            square = size * size
            found = _ONE_OVER_ROOT_PI * (square * (square + 4.5) + 2.0)
            found /= size * (square * (square + 5.0) + 3.75)
        else:
            place = 4.0 * _INTERVALS / (4.0 + size)
            i = min(int(place), _INTERVALS - 1)
            s = 2.0 * (place - i) - 1.0
            found = 0.0
            for power in range(_DEGREE, -1, -1):
                found = found * s + table[i, power]
        if x >= 0.0:
            return found
        return 2.0 * np.exp(x * x) - found  # infinite where it is too large

    return erfcx
