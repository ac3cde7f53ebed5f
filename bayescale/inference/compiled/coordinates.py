"""The coordinates in which chains move: functions that are compiled with a model's density.

A point is ``z`` in the coordinates of the chains, and ``x`` in those of the model. ``linear`` has a
row of the root, the center and the index for each coordinate that is linear in others. ``products``
has a row for each log of an exponent in whose place the log of its product with the share of its
term is sampled: its index, the index of the first log ratio of the terms to the first term, the
number of ratios, and the number of its term.
"""

import numpy as np


def share_at(x: np.ndarray, first: int, n: int, of: int) -> float:
    """Return the share of a term, of which n log ratios to the first term start at a place."""
    top = 0.0
    for i in range(n):
        top = max(top, x[first + i])
    own = 0.0
    total = np.exp(-top)
    for i in range(n):
        total += np.exp(x[first + i] - top)
        own = x[first + i] if i + 1 == of else own
    return np.exp(own - top) / total


def set_point(z: np.ndarray, x: np.ndarray, linear: np.ndarray, products: np.ndarray) -> None:
    """Set a point's coordinates in the model."""
    for i in range(z.shape[0]):
        x[i] = z[i]
    m = linear.shape[0]
    for i in range(m):
        moved = linear[i, m]
        for j in range(m):
            moved += linear[i, j] * z[int(linear[j, m + 1])]
        x[int(linear[i, m + 1])] = moved
    for i in range(products.shape[0]):
        x[products[i, 0]] -= np.log(share_at(x, products[i, 1], products[i, 2], products[i, 3]))


def set_gradient(
    slopes: np.ndarray,
    x: np.ndarray,
    gradient: np.ndarray,
    linear: np.ndarray,
    products: np.ndarray,
) -> None:
    """Set the gradient in the coordinates of the chains; ``slopes``, in the model's, change."""
    for i in range(products.shape[0]):
        first = products[i, 1]
        n = products[i, 2]
        for j in range(n):
            own = 1.0 if j + 1 == products[i, 3] else 0.0
            slopes[first + j] -= slopes[products[i, 0]] * (own - share_at(x, first, n, j + 1))
    for i in range(slopes.shape[0]):
        gradient[i] = slopes[i]
    m = linear.shape[0]
    for j in range(m):
        moved = 0.0
        for i in range(m):
            moved += linear[i, j] * slopes[int(linear[i, m + 1])]
        gradient[int(linear[j, m + 1])] = moved


def status(value: float, gradient: np.ndarray) -> int:
    """Return 0, or 3 if the density or its gradient is not finite, which nutpie expects."""
    finite = np.isfinite(value)
    for i in range(gradient.shape[0]):
        finite &= np.isfinite(gradient[i])
    return 0 if finite else 3
