"""Starting points near modes, and linear coordinates scaled by the curvature at a mode.

The level of a law is known hundreds of times better than its exponents. A chain that starts far
off, in coordinates of the prior's width, spends most of its steps on the way to the posterior.
Here chains start near modes, which are found from several places, and all move in coordinates
scaled and rotated by the curvature at one mode. Both are cheap, and neither changes what is
sampled: the change of coordinates is linear.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Density = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""A function from a point to its log density and gradient; -inf where there is no density."""

MOST_OPTIMIZATIONS = 8
"""The most optimizations of one mode, each from where the last one ended."""

MOST_FREE = 100
"""The most free coordinates for which curvature is computed."""

STARTS = 6
"""Starting points of the search for modes, besides the prior's center."""

LEAST_SHARE = 0.01
"""The least mass of a mode, by height and curvature, as a share of the largest mode's, for chains
to start near it."""

WIDEST = 3.0
"""The largest scale that curvature gives a coordinate: logs of coefficients vary less."""

START_DEVIATION = 2.0
"""Standard deviation of a chain's start about its mode, in scaled coordinates: wider than the
posterior."""

NO_DRIFT = -25.0
"""The log of a size of drift that is negligible."""

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

    def is_negligible_beside(self, other: "Mode") -> bool:
        """Return whether it holds too little mass for chains to start there."""
        return bool(self.log_mass < other.log_mass + np.log(LEAST_SHARE))


def coordinate_kinds(
    places: Mapping[str, slice], n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say which coordinates are optimized, which are sizes of drift, and which are steps.

    Drift is switched off while a mode is found, so that the mode is the law's own: law and drift
    can stand in for each other, which makes the optimization slow. Steps of drift and of families
    are nearly standard normal whatever the rest is, so they stay at zero, where the density is
    nearly that of the rest alone. Where families' terms are optimized themselves, their spreads are
    not: the density grows without bound as a spread goes to zero.

    Returns
    -------
    free, sizes, steps : numpy.ndarray of bool, shape (n,)
    """
    free, sizes, steps = np.ones(n, dtype=bool), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    of_families = any(name.startswith("log_terms_by_family") for name in places)
    for name, place in places.items():
        steps[place] = name.startswith(("drift_steps", "family_steps"))
        sizes[place] = name.startswith("drift_") and not name.startswith("drift_steps")
        held = name.startswith(("drift_", "family_steps"))
        free[place] = not (held or (of_families and "_spread" in name))
    return free, sizes, steps


def find_mode(density: Density, point: np.ndarray, free: np.ndarray) -> Mode | None:
    """Find a mode from a starting point, and the curvature there.

    Parameters
    ----------
    density : callable
    point : numpy.ndarray, shape (n,)
    free : numpy.ndarray of bool, shape (n,)
        The coordinates that are optimized; the others stay as they are.

    Returns
    -------
    Mode or None
        None where more than :data:`MOST_FREE` are free, or the curvature is not finite.
    """
    if free.sum() > MOST_FREE:
        return None
    highest = optimized(density, point, free)
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
    for _ in range(
        MOST_OPTIMIZATIONS
    ):  # one line search that finds nothing ends an optimization early
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
