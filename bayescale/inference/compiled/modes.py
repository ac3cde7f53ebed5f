"""Modes of a density, and linear coordinates scaled by the curvature at a mode."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Density = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""A function from a point to its log density and gradient; -inf outside the density's support."""

MOST_OPTIMIZATIONS = 8
"""The most optimizations of one mode, each from where the last one ended."""

MOST_FREE = 100
"""The most free coordinates for which curvature is computed."""

LEAST_SHARE = 0.01
"""Chains start near a mode if its mass, by height and curvature, is at least this share of the
largest mode's."""

WIDEST = 3.0
"""The largest scale of a coordinate, however flat the density is: logs of coefficients vary
less."""

_STEP, _FLAT = 1e-5, 0.01


@dataclass(frozen=True, eq=False)
class Mode:
    """A mode of a density, and linear coordinates z about it: x = point + root z where x is free.

    Attributes
    ----------
    point : numpy.ndarray, shape (n,)
    free : numpy.ndarray of int, shape (m,)
        Indices of the coordinates that were optimized; the others are x itself.
    root : numpy.ndarray, shape (m, m)
        A matrix root of the inverse curvature.
    log_mass : float
        Log of the integral of a normal density of this height and curvature, up to a constant.
    """

    point: np.ndarray
    free: np.ndarray
    root: np.ndarray
    log_mass: float

    def coordinates(self, point: np.ndarray) -> np.ndarray:
        """Return the coordinates z of a point x."""
        away = point[self.free] - self.point[self.free]
        return _with(point, self.free, np.linalg.solve(self.root, away))

    def scaled(self, density: Density) -> Density:
        """Return a density of points x as one of coordinates z, which is optimized faster."""

        def of_scaled(z: np.ndarray) -> tuple[float, np.ndarray]:
            value, slopes = density(self.at(z))
            return value, _with(slopes, self.free, self.root.T @ slopes[self.free])

        return of_scaled

    def at(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the point x of coordinates z."""
        moved = self.point[self.free] + self.root @ coordinates[self.free]
        return _with(coordinates, self.free, moved)

    def is_negligible_beside(self, other: "Mode") -> bool:
        """Return whether this mode has too little mass for chains to start near it."""
        return bool(self.log_mass < other.log_mass + np.log(LEAST_SHARE))


def find_mode(
    density: Density, point: np.ndarray, free: np.ndarray, scaled_at: Mode | None = None
) -> Mode | None:
    """Find a mode from a starting point, and the curvature there.

    Parameters
    ----------
    density : callable
    point : numpy.ndarray, shape (n,)
    free : numpy.ndarray of bool, shape (n,)
        The coordinates that are optimized; the others stay as they are.
    scaled_at : Mode, optional
        The search moves in coordinates scaled at this mode, which may be of fewer coordinates.

    Returns
    -------
    Mode or None
        None if more than :data:`MOST_FREE` are free, or the curvature is not finite.
    """
    if free.sum() > MOST_FREE:
        return None
    if scaled_at is None:
        highest = optimized(density, point, free)
    else:
        start = scaled_at.coordinates(point)
        highest = scaled_at.at(optimized(scaled_at.scaled(density), start, free))
    curvature = _curvature(density, highest, free)
    if not np.isfinite(curvature).all():
        return None
    values, vectors = np.linalg.eigh(curvature)
    values = np.maximum(values, WIDEST**-2)
    log_mass = density(highest)[0] - np.log(values).sum() / 2
    return Mode(highest, np.flatnonzero(free), vectors / np.sqrt(values), float(log_mass))


def optimized(density: Density, point: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Maximize the density over the free coordinates, from a starting point.

    Returns the point itself where the optimization fails.
    """
    from scipy.optimize import minimize

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = density(_with(point, free, values))
        return -value, -gradient[free]

    best, height = point, density(point)[0]
    # a line search that finds nothing ends an optimization early, so it is started again
    for _ in range(MOST_OPTIMIZATIONS):
        with np.errstate(all="ignore"):
            found = minimize(objective, best[free], jac=True, method="L-BFGS-B").x
        there = _with(point, free, found)
        reached = density(there)[0]
        if not reached > height + _FLAT:
            break
        best, height = there, reached
    return best


def _curvature(density: Density, point: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return minus the second derivatives by free coordinates, by differences of the gradient."""
    rows = []
    for i in map(int, np.flatnonzero(free)):
        ends = (_with(point, i, point[i] + step) for step in (_STEP, -_STEP))
        up, down = (density(end)[1][free] for end in ends)
        rows.append((down - up) / (2 * _STEP))
    return (np.array(rows) + np.array(rows).T) / 2


def _with(point: np.ndarray, where: np.ndarray | int, values: np.ndarray | float) -> np.ndarray:
    changed = point.copy()
    changed[where] = values
    return changed
