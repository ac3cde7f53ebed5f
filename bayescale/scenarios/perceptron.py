"""Theory of pruned training data of a perceptron: which examples to keep, and how many."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from bayescale.errors import ScenarioError
from bayescale.results import Result
from bayescale.scenarios.perceptron_theory import Region, margin_cut, student_error

Kept = Literal["hard", "easy", "random"]

ENOUGH = 0.01
"""Fewer examples are enough if their error is above the lowest one by at most this share."""


def pruned_error(
    examples_per_param: float,
    keep: float = 1.0,
    *,
    probe_angle: float = 0.0,
    kept: Kept = "hard",
) -> float:
    """Return the test error of a perceptron trained on the kept part of its data.

    Parameters
    ----------
    examples_per_param : float
        Examples per param before pruning; alpha_tot in the paper.
    keep : float
        The fraction to keep, above 0 and up to 1.
    probe_angle : float
        Between the probe and the teacher, in degrees, from 0 to below 90.
    kept : {"hard", "easy", "random"}
        Keep the examples with the smallest or largest margin under the probe, or random ones.

    Returns
    -------
    float
        The error, between 0 and 1/2. It is computed with a relative error of about 1e-6 for
        fractions down to 1e-5 and up to 1e6 examples per param.

    Raises
    ------
    ScenarioError
        If a value is out of range, or the equations could not be solved there.

    Examples
    --------
    With thirty examples per param, training on the hardest fifth gives the same error as training
    on all; a random fifth gives several times that error.

    >>> [round(pruned_error(30, 0.2, kept=kept), 4) for kept in ("hard", "easy", "random")]
    [0.0166, 0.0338, 0.0796]
    >>> round(pruned_error(30), 4)
    0.0166
    """
    _check([kept], examples_per_param=examples_per_param, keep=keep, probe_angle=probe_angle)
    if kept == "random" or keep == 1:
        return student_error(examples_per_param * keep, Region(1, np.inf, 0.0))
    side, angle = 1 if kept == "hard" else -1, np.deg2rad(probe_angle)
    return student_error(examples_per_param, Region(side, margin_cut(side, keep, angle), angle))


@dataclass(frozen=True)
class BestFraction:
    """The fraction to keep for the lowest error.

    Attributes
    ----------
    trained_per_param, probe_angle : float
    fraction : float
        The fraction to keep out of ``trained_per_param / fraction`` examples per param.
    kept : {"hard", "easy"}
        Which examples to keep.
    error : float
        The test error.
    """

    trained_per_param: float
    probe_angle: float
    fraction: float
    kept: Kept
    error: float


def best_fraction(
    trained_per_param: float, *, probe_angle: float = 0.0, least: float = 0.01
) -> BestFraction:
    """Return the fraction to keep with which a number of training examples gives the lowest error.

    Parameters
    ----------
    trained_per_param : float
        Examples per param that are kept and trained on; there are this many divided by the fraction
        before pruning.
    probe_angle : float
        Between the probe and the teacher, in degrees, from 0 to below 90.
    least : float
        The smallest fraction to consider.

    Raises
    ------
    ScenarioError
        If a value is out of range.

    Notes
    -----
    With a perfect probe and more than two examples per param, the smallest fraction of hard
    examples is the best: they soon give the same error as all examples would, however many. With an
    imperfect probe there is a best fraction, at which the error is a power law again.

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
class PrunedPerceptron(Result):
    """Errors of perceptrons trained on pruned data.

    Attributes
    ----------
    probe_angle : float
        Between the probe and the teacher, in degrees.
    points : pandas.DataFrame
        One row per option: ``examples_per_param`` before pruning, ``kept_fraction``, ``kept``,
        ``probe_angle``, ``error``, ``error_of_random`` (as many examples kept at random) and
        ``error_of_all`` (all examples).
    """

    probe_angle: float
    points: pd.DataFrame

    def _table(self) -> pd.DataFrame:
        return self.points

    def _json(self) -> dict[str, Any]:
        return {"probe_angle": self.probe_angle, "points": self.points}

    def _content(self) -> Iterator[str]:
        yield f"A perceptron, pruned by a probe {self.probe_angle:g} degrees off its teacher:"
        for examples, options in self.points.groupby("examples_per_param"):
            enough = options[options["error"] <= (1 + ENOUGH) * options["error"].min()]
            best = enough.sort_values(["kept_fraction", "error"]).iloc[0]
            saved = 1 - best["error"] / best["error_of_random"]
            yield (
                f"  {examples:g} examples per param: {_keeping(best)} leaves an error of "
                f"{best['error']:.3g}, {saved:.0%} less than as many at random; all leave "
                f"{best['error_of_all']:.3g}"
            )


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
    """Compute the errors of all pairs of examples per param and fraction, for each way of keeping.

    Parameters
    ----------
    examples_per_param, keep : array_like
        Examples per param before pruning, and fractions to keep.
    probe_angle : float
        Between the probe and the teacher, in degrees, from 0 to below 90.
    kept : iterable of {"hard", "easy", "random"}
        The ways of keeping.

    Returns
    -------
    PrunedPerceptron

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
_FRACTION = (lambda x: 1e-9 <= x <= 1), "lie between 1e-9 and 1"
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
    """Raise an error if a value is out of range."""
    for name, values in given.items():
        allowed, needed = _RULES[name]
        for i, value in enumerate(_floats(values)):
            if not allowed(value):
                place = f"{name}[{i}]" if np.ndim(values) else name
                raise ScenarioError(f"{place} is {value:g}, but must {needed}")
    for kind in kept:
        if kind not in get_args(Kept):
            raise ScenarioError(f"kept is {kind!r}, but must be one of {', '.join(get_args(Kept))}")
