"""Where chains start, and coordinates in which the posterior is nearly a standard normal there.

The level of a law is known hundreds of times better than its exponents, so a chain that starts
far off, in coordinates of the prior's width, spends most of its steps on finding its way. Here
chains start about tops that are climbed to from several places, and all move in coordinates
scaled and turned by the curvature at one. Both are cheap, and neither changes what is sampled:
the change of coordinates is linear.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Density = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""From a point to its log density and the gradient; minus infinity where there is none."""

MOST_CLIMBS, MOST_TURNED = 8, 100
"""Climbs, each from where the last one ended, and coordinates whose curvature is asked for."""

MODES, LEAST_SHARE = 6, 0.01
"""Places from which the highest top is looked for besides the prior's center, and the share of its
mass, by height and curvature, below which no chain starts at another."""

WIDEST = 3.0
"""The largest scale that curvature gives a coordinate: logs of coefficients spread less."""

APART = 2.0
"""How far from its top a chain starts, in deviations: farther than its draws will lie."""

OFF = -25.0
"""The log of a size of drift that moves nothing."""

_STEP, _FLAT = 1e-5, 0.01


@dataclass(frozen=True, eq=False)
class Mode:
    """A top of a density, and coordinates z about it of points x: x = point + root z where free.

    Attributes
    ----------
    point : numpy.ndarray, shape (n,)
    free : numpy.ndarray of int, shape (m,)
        Which coordinates were climbed along; others are x itself.
    root : numpy.ndarray, shape (m, m)
        Of the inverse of the curvature.
    log_mass : float
        What a normal density of this height and curvature holds in all, but for a constant.
    """

    point: np.ndarray
    free: np.ndarray
    root: np.ndarray
    log_mass: float

    def of(self, point: np.ndarray) -> np.ndarray:
        """The coordinates of a point."""
        away = point[self.free] - self.point[self.free]
        return _with(point, self.free, np.linalg.solve(self.root, away))

    def is_negligible_beside(self, other: "Mode") -> bool:
        """Whether it holds too little for a chain to start there: a chain may stay for good."""
        return bool(self.log_mass < other.log_mass + np.log(LEAST_SHARE))


def kinds(places: Mapping[str, slice], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which coordinates are free to climb, which are switched off meanwhile, and which are steps.

    Drift is switched off, so that the top is the law's own: law and drift can stand in for each
    other, and between them the way is long. Its steps and those of families are nearly standard
    normal as they are sampled, wherever the rest is, so they stay at their center, zero: the
    density there is nearly that of the rest alone. Where families' terms are climbed along
    themselves, their spreads would climb to nothing, and stay.

    Returns
    -------
    free, off, steps : numpy.ndarray of bool, shape (n,)
    """
    free, off, steps = np.ones(n, dtype=bool), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    of_families = any(name.startswith("log_terms_by_family") for name in places)
    for name, place in places.items():
        steps[place] = name.startswith(("drift_steps", "family_steps"))
        off[place] = name.startswith("drift_") and not name.startswith("drift_steps")
        held = name.startswith(("drift_", "family_steps"))
        free[place] = not (held or (of_families and "_spread" in name))
    return free, off, steps


def find_mode(density: Density, point: np.ndarray, free: np.ndarray) -> Mode | None:
    """The top that is climbed to from a point, and its curvature.

    Parameters
    ----------
    density : callable
    point : numpy.ndarray, shape (n,)
    free : numpy.ndarray of bool, shape (n,)
        What is climbed along; other coordinates stay as they are, here and in the result.

    Returns
    -------
    Top or None
        None where more than :data:`MOST_TURNED` are free, or there is no curvature.
    """
    if free.sum() > MOST_TURNED:
        return None
    top = optimized(density, point, free)
    curvature = _curvature(density, top, free)
    if not np.isfinite(curvature).all():
        return None
    values, vectors = np.linalg.eigh(curvature)
    values = np.maximum(values, WIDEST**-2)
    log_mass = density(top)[0] - np.log(values).sum() / 2
    return Mode(top, np.flatnonzero(free), vectors / np.sqrt(values), float(log_mass))


def optimized(density: Density, point: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Where some coordinates of a point come to when the density is climbed along them.

    The point itself where that cannot be computed.
    """
    from scipy.optimize import minimize

    def fall(values: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = density(_with(point, free, values))
        return -value, -gradient[free]

    best, height = point, density(point)[0]
    for _ in range(MOST_CLIMBS):  # a climb ends early where a step along its line finds nothing
        with np.errstate(all="ignore"):
            found = minimize(fall, best[free], jac=True, method="L-BFGS-B").x
        there = _with(point, free, found)
        reached = density(there)[0]
        if not reached > height + _FLAT:
            break
        best, height = there, reached
    return best


def _curvature(density: Density, point: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Minus the second derivatives along some coordinates, by differences of the gradient."""
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
