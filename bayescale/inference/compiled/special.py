"""Functions that generated code calls: special functions, and equations of triangular matrices.

They are plain loops and arithmetic, so numba keeps them with the code that calls them, and nothing
depends on threads of a linear algebra library.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bayescale.inference.compiled.digamma import digamma
from bayescale.inference.compiled.erfcx import make_erfcx


def larger(x: Any, y: Any) -> Any:
    """Return the larger of two numbers, or NaN if one of them is NaN."""
    return x if x > y or x != x else y


def smaller(x: Any, y: Any) -> Any:
    """Return the smaller of two numbers, or NaN if one of them is NaN."""
    return x if x < y or x != x else y


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)) without overflow."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1.0 + grown)


def softplus(x: float) -> float:
    """Return log(1 + exp(x)) without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def cholesky(a: np.ndarray) -> np.ndarray:
    """Return the lower triangular factor; NaN throughout if the matrix is not positive."""
    n = a.shape[0]
    root = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            left = a[i, j]
            for k in range(j):
                left -= root[i, k] * root[j, k]
            if i > j:
                root[i, j] = left / root[j, j]
            elif left > 0.0:
                root[i, i] = math.sqrt(left)
            else:
                return np.full((n, n), np.nan)
    return root


def solve_lower(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return x of a x = b, (n, m), for a lower triangular a."""
    x = b.copy()
    for i in range(x.shape[0]):
        for k in range(i):
            for j in range(x.shape[1]):
                x[i, j] -= a[i, k] * x[k, j]
        for j in range(x.shape[1]):
            x[i, j] /= a[i, i]
    return x


def solve_lower_transposed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return x of a' x = b, (n, m), for a lower triangular a."""
    x = b.copy()
    for i in range(x.shape[0] - 1, -1, -1):
        for j in range(x.shape[1]):
            x[i, j] /= a[i, i]
        for k in range(i):
            for j in range(x.shape[1]):
                x[k, j] -= a[i, k] * x[i, j]
    return x


def times(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the product of a matrix and a vector."""
    found = np.empty(a.shape[0])
    for i in range(a.shape[0]):
        total = 0.0
        for k in range(a.shape[1]):
            total += a[i, k] * x[k]
        found[i] = total
    return found


def transposed_times(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the product of a transposed matrix, which is given untransposed, and a vector."""
    found = np.zeros(a.shape[1])
    for k in range(a.shape[0]):
        for i in range(a.shape[1]):
            found[i] += a[k, i] * x[k]
    return found


_OWN = (
    larger, smaller, sigmoid, softplus, digamma, cholesky, solve_lower,
    solve_lower_transposed, times, transposed_times,
)  # fmt: skip
_PYTHON = {"erf": math.erf, "erfc": math.erfc, "lgamma": math.lgamma}

NAMES = (*(function.__name__ for function in _OWN), *_PYTHON, "erfcx")
"""The names by which generated code calls these functions."""


def special_functions(compile_function: Callable[..., Any]) -> dict[str, Any]:
    """Return the functions by name, made into functions of numba by ``compile_function``."""
    compiled = {function.__name__: compile_function(function) for function in _OWN}
    return {**compiled, **_PYTHON, "erfcx": compile_function(make_erfcx())}
