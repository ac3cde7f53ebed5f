"""The test error of a perceptron on pruned data, in theory: Sorscher et al. 2022, arXiv 2206.14486.

A teacher T labels inputs x ~ N(0, I_d) with y = sign(T.x). A probe at an angle theta to the teacher
gives each of ``examples_per_param`` times d examples its margin y (probe.x); the fraction kept has
the smallest margins ("hard"), the largest ("easy") or any ("random"). A student without bias is
then trained on these examples to the largest margin, and errs with probability (its angle to T) /
pi.

A kept y x has coordinates s along the teacher and w across it, in the plane of teacher and probe,
and is standard normal in every other direction, which labels and margins do not depend on. Scale
the student to (R, S) in that plane and to length one outside. By Gordon's comparison, as d grows it
can keep a margin kappa on all of alpha d examples if and only if

    alpha E[D^2] <= 1,    D = max(0, kappa - R s - S w - g),    g ~ N(0, 1),

so training maximizes kappa / sqrt(1 + R^2 + S^2) under that constraint, which gives

    alpha E[D^2] = 1,
    R (1 - alpha P[D > 0]) = alpha E[D s],
    S (1 - alpha P[D > 0]) = alpha E[D w].

The constraint is convex, so the solution is unique; the mean over g is elementary, and that over
(s, w) is an integral over a half plane s > 0 cut at a margin. The rule of which examples to keep
enters only there. For hard examples these are the paper's saddle-point equations, without
differences that vanish as the student nears the teacher.

The theory is exact as d -> infinity at fixed examples per param; trained perceptrons of d = 200 are
within about 1 % of it, except where the error falls steeply. Data are always separable, by the
teacher.
"""

from dataclasses import dataclass

import numpy as np

from bayescale.errors import ScenarioError

_FAR = 9.0  # standard deviations beyond which a normal has negligible mass
_INACTIVE = -20.0  # below, D is zero even after a step of the solver
_POINTS, _GROWTH = 8, 3.0
_STEP, _LEAST_STEP = 1.5, 1e-3
_GAUSS = np.polynomial.legendre.leggauss(_POINTS)


def margin_cut(side: int, keep: float, angle: float) -> float:
    """Return the largest (side 1) or smallest (-1) margin to keep; margins are skew normal."""
    from scipy.optimize import brentq
    from scipy.special import ndtr, owens_t

    slant = 1 / np.tan(angle) if angle else np.inf

    def excess(margin: float) -> float:
        return ndtr(side * margin) - 2 * side * owens_t(margin, slant) - keep

    return float(brentq(excess, -_FAR, _FAR, xtol=1e-15))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Region:
    """The region of kept examples in the plane (along the teacher, across it).

    The coordinate along the teacher is above zero. The margin, along cos(angle) - side across
    sin(angle), is below the cut for side 1, hard examples, and above it for side -1, easy ones. The
    coordinate across the teacher then has a lower end in either case.
    """

    side: int
    cut: float
    angle: float

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the point nearest to the origin, and the direction of the student for few data."""
        if self.side < 0 < self.cut:
            probe = np.array([np.cos(self.angle), np.sin(self.angle)])
            return self.cut * probe, probe
        if self.cut < 0 < self.side:
            across = np.array([0.0, 1.0])
            return -self.cut / np.sin(self.angle) * across, across
        return np.zeros(2), np.array([1.0, 0.0])

    def quadrature(self, finest: float, across: float) -> tuple[np.ndarray, np.ndarray]:
        """Return points, shape (2, point), and weights, which sum to the fraction kept.

        Panels narrow towards the edges of the region, along to ``finest`` and across to what a
        student with the component ``across`` resolves.
        """
        if self.angle:
            finest = min(finest, np.tan(self.angle) / (1 + abs(self.cut) / np.sin(self.angle)))
        panels, turn = _panels(finest, 1.0, _FAR), self.cut / np.cos(self.angle)
        edges = np.unique(np.clip([panels, turn + panels, turn - panels], 0, _FAR))
        s, mass = _gauss(edges[:-1], edges[1:])
        s, mass = s.ravel(), 2 * mass.ravel()
        if not self.angle:
            inside = self.side * (self.cut - s) > 0
            return np.array([s[inside], 0 * s[inside]]), mass[inside]
        low = self.side * (s * np.cos(self.angle) - self.cut) / np.sin(self.angle)
        matters = low < _FAR + abs(self.cut) / np.sin(self.angle)
        s, mass, low = (x[matters, None] for x in (s, mass, np.maximum(low, -_FAR)))
        panels = _panels(1 / (1 + across), 1.5, 2 * _FAR)
        edges = np.minimum(low + panels, np.hypot(np.maximum(low, 0), _FAR))
        w, mass_across = _gauss(edges[:, :-1], edges[:, 1:])
        s, mass = np.broadcast_to(s[..., None], w.shape), mass[..., None] * mass_across
        return np.array([s.ravel(), w.ravel()]), mass.ravel()


def _panels(finest: float, width: float, far: float) -> np.ndarray:
    """Return distances from an edge, which grow from the finest to the width and are even then."""
    growing = max(0, int(np.ceil(np.log(width / finest) / np.log(_GROWTH))))
    return np.concatenate(
        [
            [0.0],
            width / _GROWTH ** np.arange(growing, 0.0, -1.0),
            np.arange(width, far + width, width),
        ]
    )


def _gauss(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points in each panel, on a new last axis, and the normal mass of each."""
    points, weights = _GAUSS
    half = (right - left)[..., None] / 2
    x = left[..., None] + half * (1 + points)
    return x, half * weights * _density(x)


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def student_error(examples: float, region: Region) -> float:
    """Return the student's error, following the solution from few examples, where it is known."""
    near, toward = region.nearest()
    axes = np.array([toward, [-toward[1], toward[0]]])
    points, weights = region.quadrature(1.0, 1.0)
    mass = weights.sum()
    now = min(examples, 0.05 / mass)
    few = axes @ (points @ weights) * np.sqrt(now / mass)
    # moderate parameters: kappa beyond the margin of the nearest point, and (R, S) on these axes
    guess = np.array(
        [1 / np.sqrt(now * mass) - few[0] * (toward @ near), np.log(few[0]), 1 + few[1]]
    )
    path, step = [], _STEP
    while True:
        found = _settle(guess, now, examples, region, near, axes)
        if found is None:  # beyond a steep fall the student is close to that of all examples
            whole = np.array([0.6388, np.log(0.636 * now), 1.0])
            found = _settle(whole, now, examples, region, near, axes)
        if found is not None:
            path = [*path[-1:], (np.log(now), found)]
            if now == examples:
                break
            step = min(_STEP, 2 * step)
        else:
            step /= 3
            if not path or step < _LEAST_STEP:
                raise ScenarioError(
                    f"no solution was found near {now:g} examples per param: ask for fewer, or for "
                    "a larger fraction"
                )
        log_now, last = path[-1]
        now = min(examples, np.exp(log_now + step))
        slope = (last - path[0][1]) / (log_now - path[0][0]) if len(path) > 1 else 0.0
        guess = last + slope * (np.log(now) - log_now)
    R, S = _student(found)[1:] @ axes
    return float(np.arctan2(np.hypot(1, S), R) / np.pi)


def _settle(
    x: np.ndarray,
    now: float,
    examples: float,
    region: Region,
    near: np.ndarray,
    axes: np.ndarray,
) -> np.ndarray | None:
    """Return the solution of the three equations, on panels that suit it; None on failure."""
    from scipy.optimize import root

    with np.errstate(all="ignore"):  # a trial step may overflow
        for _ in range(5):
            student = _student(x)
            across = float(abs(student[1:] @ axes[:, 1]))
            points, weights = region.quadrature(1 / (1 + examples), across)
            rows = np.vstack([np.ones(points.shape[1]), -axes @ (points - near[:, None])])
            matter = (student @ rows > _INACTIVE) & (weights > 1e-17 * weights.max())
            arguments = (rows[:, matter], now * weights[matter], axes @ near)
            solved = root(_residuals, x, args=arguments, tol=1e-12)
            if not np.abs(solved.fun).max() < 1e-8:
                return None
            if np.abs(solved.x - x).max() < 1e-6:
                return solved.x
            x = solved.x
    return None


def _student(x: np.ndarray) -> np.ndarray:
    # the last is often next to zero, where the solver's finite differences would fail
    return np.array([x[0], np.exp(x[1]), x[2] - 1])


def _residuals(
    x: np.ndarray, rows: np.ndarray, weights: np.ndarray, near: np.ndarray
) -> list[float]:
    """Return the residuals of the equations in the module's docstring, averaged over g."""
    from scipy.special import ndtr

    student = _student(x)
    a = student @ rows
    active = ndtr(a) * weights
    D = a * active + _density(a) * weights
    pull = near * D.sum() - rows[1:] @ D
    toward, sideways = student[1:] * (1 - active.sum()) - pull
    return [(active + a * D).sum() - 1, toward / student[1], sideways]
