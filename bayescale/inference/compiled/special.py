"""Functions that generated code calls: special functions, and equations of triangular matrices.

They are plain loops and arithmetic, which are compiled with the code that calls them, so nothing
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


def sign(x: Any) -> Any:
    """Return 1, -1 or 0 by the sign of a number, or NaN if it is NaN."""
    return 1 if x > 0 else -1 if x < 0 else x


def fill(a: np.ndarray, value: float) -> None:
    """Set all elements of a matrix to one value."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            a[i, j] = value


def cholesky(a: np.ndarray, root: np.ndarray) -> None:
    """Compute the lower triangular factor; NaN throughout if the matrix is not positive."""
    fill(root, 0.0)
    for i in range(a.shape[0]):
        for j in range(i + 1):
            left = a[i, j]
            for k in range(j):
                left -= root[i, k] * root[j, k]
            if i > j:
                root[i, j] = left / root[j, j]
            elif left > 0.0:
                root[i, i] = math.sqrt(left)
            else:
                fill(root, math.nan)
                return


def solve_lower(a: np.ndarray, x: np.ndarray) -> None:
    """Replace b by x of a x = b, (n, m), for a lower triangular a."""
    for i in range(x.shape[0]):
        for k in range(i):
            for j in range(x.shape[1]):
                x[i, j] -= a[i, k] * x[k, j]
        for j in range(x.shape[1]):
            x[i, j] /= a[i, i]


def solve_lower_transposed(a: np.ndarray, x: np.ndarray) -> None:
    """Replace b by x of a' x = b, (n, m), for a lower triangular a."""
    for i in range(x.shape[0] - 1, -1, -1):
        for j in range(x.shape[1]):
            x[i, j] /= a[i, i]
        for k in range(i):
            for j in range(x.shape[1]):
                x[k, j] -= a[i, k] * x[i, j]


def times(a: np.ndarray, x: np.ndarray, found: np.ndarray) -> None:
    """Compute the product of a matrix and a vector."""
    for i in range(a.shape[0]):
        total = 0.0
        for k in range(a.shape[1]):
            total += a[i, k] * x[k]
        found[i] = total


def transposed_times(a: np.ndarray, x: np.ndarray, found: np.ndarray) -> None:
    """Compute the product of a transposed matrix, which is given untransposed, and a vector."""
    for i in range(a.shape[1]):
        found[i] = 0.0
    for k in range(a.shape[0]):
        for i in range(a.shape[1]):
            found[i] += a[k, i] * x[k]


def product(a: np.ndarray, b: np.ndarray, found: np.ndarray) -> None:
    """Compute the product of two matrices, four columns and rows of them at a time."""
    fill(found, 0.0)
    for i in range(a.shape[0]):
        k = 0
        while k + 4 <= a.shape[1]:
            for j in range(b.shape[1]):
                found[i, j] += (a[i, k] * b[k, j] + a[i, k + 1] * b[k + 1, j]) + (
                    a[i, k + 2] * b[k + 2, j] + a[i, k + 3] * b[k + 3, j]
                )
            k += 4
        while k < a.shape[1]:
            for j in range(b.shape[1]):
                found[i, j] += a[i, k] * b[k, j]
            k += 1


def special_functions() -> dict[str, Callable[..., Any]]:
    """Return the functions by the names of calls in generated code."""
    functions = (
        larger, smaller, sign, sigmoid, softplus, digamma, make_erfcx(), fill, cholesky,
        solve_lower, solve_lower_transposed, times, transposed_times, product,
    )  # fmt: skip
    return {function.__name__: function for function in functions}
