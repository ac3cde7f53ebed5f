"""What pruning data does to a perceptron, in theory: Sorscher et al. 2022, arXiv 2206.14486.

A teacher T labels inputs x ~ N(0, I_d) with y = sign(T.x). A probe at an angle theta to the teacher
gives each of ``examples_per_param`` times d examples its margin y (probe.x); the fraction kept has
the smallest margins ("hard"), the largest ("easy") or any ("random"). A student without bias is
then trained on them to the largest margin, and errs with probability (its angle to T) / pi.

A kept y x has coordinates s along the teacher and w across it, in the plane of teacher and probe,
and is standard normal in every other direction, where labels and margins have no say. Scale the
student to (R, S) in that plane and to length one outside. By Gordon's comparison, as d grows it
can keep a margin kappa on all of alpha d examples if and only if

    alpha E[D^2] <= 1,    D = max(0, kappa - R s - S w - g),    g ~ N(0, 1),

so training maximizes kappa / sqrt(1 + R^2 + S^2) under that constraint, whence

    alpha E[D^2] = 1,
    R (1 - alpha P[D > 0]) = alpha E[D s],
    S (1 - alpha P[D > 0]) = alpha E[D w].

The constraint is convex, so the solution is unique; the mean over g is elementary, and that over
(s, w) runs over a half plane s > 0 cut at a margin. Any rule of keeping enters there alone. These
are the paper's saddle-point equations for hard examples, free of differences that vanish as the
student nears the teacher.

The theory is exact as d -> infinity at fixed examples per param; trained perceptrons of d = 200 are
within about 1 % of it, but for places where the error falls steeply. Data are always separable:
the teacher does it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from bayescale.errors import ScenarioError

Kept = Literal["hard", "easy", "random"]

ENOUGH = 0.01
"""Share above the least error up to which fewer examples are told as being enough."""

_FAR = 9.0  # standard deviations beyond which a normal has no mass that matters
_INACTIVE = -20.0  # where D has none, with room for the solver to move
_POINTS, _GROWTH = 8, 3.0
_STEP, _LEAST_STEP = 1.5, 1e-3
_GAUSS = np.polynomial.legendre.leggauss(_POINTS)


def pruned_error(
    examples_per_param: float,
    keep: float = 1.0,
    *,
    probe_angle: float = 0.0,
    kept: Kept = "hard",
) -> float:
    """The test error of a perceptron trained on what is kept of its data.

    Parameters
    ----------
    examples_per_param : float
        In the pool, before pruning: alpha_tot.
    keep : float
        The fraction that is kept, above 0 and up to 1.
    probe_angle : float
        Between the probe and the teacher, in degrees, from 0 to below 90.
    kept : {"hard", "easy", "random"}
        Examples of smallest or largest margin under the probe, or any.

    Returns
    -------
    float
        Between 0 and 1/2, within about 1e-6 of itself for fractions down to 1e-5 and pools of
        up to 1e6 examples per param.

    Raises
    ------
    ScenarioError
        If a value is out of range, or the equations could not be solved there.

    Examples
    --------
    Of thirty examples per param, the hardest fifth teach all that there is to learn; as many at
    random leave three times the error.

    >>> [round(pruned_error(30, 0.2, kept=kept), 4) for kept in ("hard", "easy", "random")]
    [0.0166, 0.0338, 0.0796]
    >>> round(pruned_error(30), 4)
    0.0166
    """
    _check([kept], examples_per_param=examples_per_param, keep=keep, probe_angle=probe_angle)
    if kept == "random" or keep == 1:
        return _error(examples_per_param * keep, _Region(1, np.inf, 0.0))
    side, angle = 1 if kept == "hard" else -1, np.deg2rad(probe_angle)
    return _error(examples_per_param, _Region(side, _cut(side, keep, angle), angle))


@dataclass(frozen=True)
class BestFraction:
    """What to keep for the lowest error.

    Attributes
    ----------
    trained_per_param, probe_angle : float
        As asked.
    fraction : float
        To be kept of a pool of ``trained_per_param / fraction`` examples per param.
    kept : {"hard", "easy"}
        Which.
    error : float
        Test error then.
    """

    trained_per_param: float
    probe_angle: float
    fraction: float
    kept: Kept
    error: float


def best_fraction(
    trained_per_param: float, *, probe_angle: float = 0.0, least: float = 0.01
) -> BestFraction:
    """How hard to prune for the best use of so many examples trained on.

    Parameters
    ----------
    trained_per_param : float
        Examples per param that are kept and trained on. The pool to keep them from is as large
        as the fraction asks.
    probe_angle : float
        Between the probe and the teacher, in degrees, from 0 to below 90.
    least : float
        Smallest fraction looked at: the pool holds at most ``1 / least`` times what is kept.

    Raises
    ------
    ScenarioError
        If a value is out of range.

    Notes
    -----
    With a perfect probe and more than two examples per param, the smallest fraction of hard
    examples is the best: they soon leave no more error than the whole pool would, however large.
    With an imperfect one there is a best fraction, to which the error is a power law again.

    Examples
    --------
    >>> best = best_fraction(10, probe_angle=20)
    >>> best.kept, round(best.fraction, 2), round(best.error / pruned_error(10), 2)
    ('hard', 0.35, 0.46)
    """
    _check(trained_per_param=trained_per_param, least=least, probe_angle=probe_angle)
    from scipy.optimize import minimize_scalar

    def error(log_fraction: float, kept: Kept) -> float:
        fraction = float(np.exp(min(log_fraction, 0.0)))
        return pruned_error(
            trained_per_param / fraction, fraction, probe_angle=probe_angle, kept=kept
        )

    options = []
    kinds: tuple[Kept, Kept] = ("hard", "easy")
    for kept in kinds:
        grid = np.linspace(np.log(least), 0.0, 9)
        errors = [error(x, kept) for x in grid]
        i = int(np.argmin(errors))
        ends = (grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)])
        found: Any = minimize_scalar(
            error, bounds=ends, args=(kept,), method="bounded", options={"xatol": 1e-2}
        )
        options += [(errors[i], grid[i], kept), (found.fun, found.x, kept)]
    lowest, log_fraction, kept = min(options, key=lambda option: option[0])
    return BestFraction(
        trained_per_param, probe_angle, float(np.exp(log_fraction)), kept, float(lowest)
    )


@dataclass(frozen=True, eq=False)
class PrunedPerceptron:
    """Errors of perceptrons trained on pruned data.

    Attributes
    ----------
    probe_angle : float
        Between the probe and the teacher, in degrees.
    points : pandas.DataFrame
        One row an option: ``examples_per_param`` of the pool, ``kept_fraction``, ``kept``,
        ``probe_angle``, ``error``, ``error_of_random``, of as many examples kept at random, and
        ``error_of_all``, of the whole pool.
    """

    probe_angle: float
    points: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """One row an option."""
        return self.points.copy()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"probe_angle": self.probe_angle, "points": self.points.to_dict(orient="records")}

    def __str__(self) -> str:
        lines = [f"A perceptron, pruned by a probe {self.probe_angle:g} degrees off its teacher:"]
        for examples, options in self.points.groupby("examples_per_param"):
            enough = options[options["error"] <= (1 + ENOUGH) * options["error"].min()]
            best = enough.sort_values(["kept_fraction", "error"]).iloc[0]
            saved = 1 - best["error"] / best["error_of_random"]
            lines.append(
                f"  {examples:g} examples per param: {_keeping(best)} leaves an error of "
                f"{best['error']:.3g}, {saved:.0%} less than as many at random; all leave "
                f"{best['error_of_all']:.3g}"
            )
        return "\n".join(lines)


def _keeping(option: pd.Series) -> str:
    which = {"hard": "the hardest", "easy": "the easiest", "random": "a random"}[option["kept"]]
    fraction = option["kept_fraction"]
    return "keeping all" if fraction == 1 else f"keeping {which} {100 * fraction:.3g}%"


def prune_perceptron(
    examples_per_param: Any,
    keep: Any,
    *,
    probe_angle: float = 0.0,
    kept: Iterable[Kept] = ("hard", "easy", "random"),
) -> PrunedPerceptron:
    """Errors at each size of the pool, fraction kept and way of keeping.

    Parameters
    ----------
    examples_per_param, keep : array_like
        Sizes of the pool and fractions kept: every pair is looked at.
    probe_angle : float
        Between the probe and the teacher, in degrees, from 0 to below 90.
    kept : iterable of {"hard", "easy", "random"}

    Raises
    ------
    ScenarioError
        If a value is out of range, or the equations could not be solved there.

    Examples
    --------
    >>> print(prune_perceptron([1, 100], 0.1, probe_angle=5))
    A perceptron, pruned by a probe 5 degrees off its teacher:
      1 examples per param: keeping the easiest 10% leaves an error of 0.312, 26% less than as
        many at random; all leave 0.266
      100 examples per param: keeping the hardest 10% leaves an error of 0.00618, 87% less than
        as many at random; all leave 0.005
    """
    kept = tuple(kept)
    _check(kept, examples_per_param=examples_per_param, keep=keep, probe_angle=probe_angle)
    rows = []
    for examples, fraction in product(_floats(examples_per_param), _floats(keep)):
        of_random, of_all = pruned_error(examples * fraction), pruned_error(examples)
        rows += [
            {
                "examples_per_param": examples,
                "kept_fraction": fraction,
                "kept": kind,
                "probe_angle": float(probe_angle),
                "error": of_random
                if kind == "random"
                else pruned_error(examples, fraction, probe_angle=probe_angle, kept=kind),
                "error_of_random": of_random,
                "error_of_all": of_all,
            }
            for kind in kept
        ]
    return PrunedPerceptron(float(probe_angle), pd.DataFrame(rows))


def _floats(values: Any) -> list[float]:
    return np.ravel(np.asarray(values, dtype=float)).tolist()


_POSITIVE = (lambda x: 0 < x < np.inf), "be finite and above zero"
_FRACTION = (lambda x: 1e-9 <= x <= 1), "lie above 0, from 1e-9 on, and be at most 1"
_RULES: dict[str, tuple[Callable[[float], bool], str]] = {
    "examples_per_param": _POSITIVE,
    "trained_per_param": _POSITIVE,
    "keep": _FRACTION,
    "least": _FRACTION,
    "probe_angle": (
        (lambda x: x == 0 or 1e-6 <= x < 90),
        "be 0, or lie from 1e-6 to below 90 degrees",
    ),
}


def _check(kept: Iterable[Any] = (), **given: Any) -> None:
    """Refuse what is out of range, by value and place."""
    for name, values in given.items():
        allowed, needed = _RULES[name]
        for i, value in enumerate(_floats(values)):
            if not allowed(value):
                place = f"{name}[{i}]" if np.ndim(values) else name
                raise ScenarioError(f"{place} is {value:g}, but must {needed}")
    for kind in kept:
        if kind not in get_args(Kept):
            raise ScenarioError(f"kept is {kind!r}, but must be one of {', '.join(get_args(Kept))}")


def _cut(side: int, keep: float, angle: float) -> float:
    """The margin under the probe where keeping ends: margins are skew normal."""
    from scipy.optimize import brentq
    from scipy.special import ndtr, owens_t

    slant = 1 / np.tan(angle) if angle else np.inf

    def excess(margin: float) -> float:
        return ndtr(side * margin) - 2 * side * owens_t(margin, slant) - keep

    return float(brentq(excess, -_FAR, _FAR, xtol=1e-15))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class _Region:
    """Where kept examples lie in the plane (along the teacher, across it).

    Along is above zero, and the margin along cos(angle) - side across sin(angle) is below the
    cut for side 1, hard examples, and above it for side -1, easy ones. Across then has a lower
    end in either case.
    """

    side: int
    cut: float
    angle: float

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """The point nearest to the origin, and the direction that most data would teach."""
        if self.side < 0 < self.cut:
            probe = np.array([np.cos(self.angle), np.sin(self.angle)])
            return self.cut * probe, probe
        if self.cut < 0 < self.side:
            across = np.array([0.0, 1.0])
            return -self.cut / np.sin(self.angle) * across, across
        return np.zeros(2), np.array([1.0, 0.0])

    def quadrature(self, finest: float, across: float) -> tuple[np.ndarray, np.ndarray]:
        """Points, shape (2, point), and weights that sum to the fraction kept.

        Panels narrow towards the edges of the region, along to ``finest`` and across to what a
        student with the component ``across`` can tell apart.
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
    """Distances from an edge: growing from the finest to the width, then even."""
    growing = max(0, int(np.ceil(np.log(width / finest) / np.log(_GROWTH))))
    return np.concatenate(
        [
            [0.0],
            width / _GROWTH ** np.arange(growing, 0.0, -1.0),
            np.arange(width, far + width, width),
        ]
    )


def _gauss(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in each panel, on a new last axis, and the normal mass that each stands for."""
    points, weights = _GAUSS
    half = (right - left)[..., None] / 2
    x = left[..., None] + half * (1 + points)
    return x, half * weights * _density(x)


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def _error(examples: float, region: _Region) -> float:
    """Follow the one solution from few examples, where it is known, up to as many as asked."""
    near, toward = region.nearest()
    axes = np.array([toward, [-toward[1], toward[0]]])
    points, weights = region.quadrature(1.0, 1.0)
    mass = weights.sum()
    now = min(examples, 0.05 / mass)
    few = axes @ (points @ weights) * np.sqrt(now / mass)
    # what stays moderate: kappa beyond the margin of the nearest point, and (R, S) on these axes
    guess = np.array(
        [1 / np.sqrt(now * mass) - few[0] * (toward @ near), np.log(few[0]), 1 + few[1]]
    )
    path, step = [], _STEP
    while True:
        found = _settle(guess, now, examples, region, near, axes)
        if found is None:  # past a steep fall the student is that of the whole pool
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
                    f"no solution found near {now:g} examples per param: ask for fewer, or for a "
                    "larger fraction"
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
    region: _Region,
    near: np.ndarray,
    axes: np.ndarray,
) -> np.ndarray | None:
    """Solve the three equations, on panels drawn for their own solution; None if that fails."""
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
    """The equations of the module's docstring, the mean over g taken."""
    from scipy.special import ndtr

    student = _student(x)
    a = student @ rows
    active = ndtr(a) * weights
    D = a * active + _density(a) * weights
    pull = near * D.sum() - rows[1:] @ D
    toward, sideways = student[1:] * (1 - active.sum()) - pull
    return [(active + a * D).sum() - 1, toward / student[1], sideways]
