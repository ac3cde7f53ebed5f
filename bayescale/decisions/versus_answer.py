"""The result of :func:`bayescale.versus`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayescale.conventions import LossUnit
from bayescale.results import Result, TextTable, quantiles
from bayescale.units import format_size, three_digits

MOST_UNCROSSED = 0.2
"""If no crossing is more probable than this, no scale of the crossing is given."""

NEAR = 0.2
"""A probability this close to one half counts as no preference."""


@dataclass(frozen=True, eq=False)
class Versus(Result):
    """Recipes compared at a target scale.

    Attributes
    ----------
    recipes : tuple of str
    params, tokens : float
        The target.
    log_loss, log_loss_new : numpy.ndarray, shape (recipe, draw)
        Log of the mean loss over seeds at the target, and of a single new run of each.
    log_loss_own_split : numpy.ndarray, shape (recipe, draw), or None
        Log of the mean loss with each recipe's best split of the budget; None without a budget.
    multiplier : numpy.ndarray, shape (recipe, recipe, draw)
        Element ``[a, b]`` is the multiple of the target's compute that ``b`` needs to reach the
        loss of ``a``.
    scales : numpy.ndarray, shape (scale,)
        Scales of compute, at the target's tokens per parameter.
    order : numpy.ndarray, shape (recipe, draw, scale)
        Log losses at these scales.
    largest_run : float
        FLOP of the largest run.
    ratios : tuple of float
        Smallest and largest tokens per parameter of the runs.
    decide : pandas.DataFrame
        ``flops`` of each run of a pair, one run of each of the two best recipes; the smallest
        number of ``pairs`` after which the probability of the better recipe is expected to exceed
        95 %; and that expected probability, ``p_expected``.
    unit : LossUnit
        The log's own unit of loss.
    ci_prob : float
    passed : bool
        Whether the convergence checks passed.
    """

    recipes: tuple[str, ...]
    params: float
    tokens: float
    log_loss: np.ndarray
    log_loss_new: np.ndarray
    log_loss_own_split: np.ndarray | None
    multiplier: np.ndarray = field(repr=False)
    scales: np.ndarray
    order: np.ndarray = field(repr=False)
    largest_run: float
    ratios: tuple[float, float]
    decide: pd.DataFrame
    unit: LossUnit
    ci_prob: float
    passed: bool

    in_figures = True

    @property
    def flops(self) -> float:
        """Compute of the target, 6 N D."""
        return 6 * self.params * self.tokens

    @property
    def extrapolation_ratio(self) -> float:
        """The target's compute as a multiple of the largest run's."""
        return self.flops / self.largest_run

    @property
    def verdict(self) -> str:
        """``inside`` the range of the runs, or ``untested``."""
        ratio = self.tokens / self.params
        across = self.ratios[0] / 1.03 <= ratio <= self.ratios[1] * 1.03
        return "inside" if self.extrapolation_ratio <= 1.001 and across else "untested"

    @property
    def why(self) -> str:
        """The reason for the verdict."""
        if self.verdict == "inside":
            return "Inside the range of the runs."
        return (
            f"Extrapolates to {three_digits(self.extrapolation_ratio)} times the compute of the "
            "largest run, at "
            f"{three_digits(self.tokens / self.params)} tokens per parameter (runs: "
            f"{three_digits(self.ratios[0])} to {three_digits(self.ratios[1])}); no run tests that."
        )

    def p_better(self, a: int, b: int, log_loss: np.ndarray | None = None) -> float:
        """Return the probability that recipe ``a`` has the lower loss."""
        values = self.log_loss if log_loss is None else log_loss
        return float((values[a] < values[b]).mean())

    def p_best(self) -> np.ndarray:
        """Return each recipe's probability of the lowest mean loss, shape (recipe,)."""
        best = self.log_loss.argmin(axis=0)
        return np.array([(best == i).mean() for i in range(len(self.recipes))])

    def losses(self, a: int) -> np.ndarray:
        """Return draws of the mean loss of a recipe at the target, in the log's unit."""
        return self.unit.of(np.exp(self.log_loss[a]))

    def difference(self, a: int, b: int) -> np.ndarray:
        """Return draws of the mean loss of ``a`` minus that of ``b``, in the log's unit."""
        return self.losses(a) - self.losses(b)

    def crossing(self, a: int, b: int) -> tuple[np.ndarray | None, float]:
        """Return draws of the compute at which two recipes cross, and P(no crossing).

        Instead of draws it returns None if no crossing has a probability above 20 %.
        """
        ahead = self.order[a] < self.order[b]
        changes = ahead[:, 1:] != ahead[:, :-1]
        crosses = changes.any(axis=1)
        p_none = float(1 - crosses.mean())
        if p_none > MOST_UNCROSSED:
            return None, p_none
        i = changes[crosses].argmax(axis=1)
        return np.sqrt(self.scales[i] * self.scales[i + 1]), p_none

    def _pairs(self, value: Any) -> dict[str, dict[str, Any]]:
        n = range(len(self.recipes))
        return {self.recipes[i]: {self.recipes[j]: value(i, j) for j in n if j != i} for i in n}

    def _interval(self, values: np.ndarray | None) -> dict[str, float] | None:
        return None if values is None else quantiles(values, self.ci_prob)

    def _json(self) -> Mapping[str, Any]:
        own, new = self.log_loss_own_split, self.log_loss_new
        return {
            "recipes": list(self.recipes),
            "target_flops": self.flops,
            "params": self.params,
            "tokens": self.tokens,
            "loss": {name: self._interval(self.losses(i)) for i, name in enumerate(self.recipes)},
            "p_best": dict(zip(self.recipes, self.p_best(), strict=True)),
            "p_better": self._pairs(self.p_better),
            "p_better_new": self._pairs(lambda a, b: self.p_better(a, b, new)),
            "p_better_own_split": None
            if own is None
            else self._pairs(lambda a, b: self.p_better(a, b, own)),
            "difference": self._pairs(lambda a, b: self._interval(self.difference(a, b))),
            "compute_multiplier": self._pairs(lambda a, b: self._interval(self.multiplier[a, b])),
            "crossing_flops": self._pairs(lambda a, b: self._interval(self.crossing(a, b)[0])),
            "p_no_crossing": self._pairs(lambda a, b: self.crossing(a, b)[1]),
            "decide": self.decide,
            "extrapolation_ratio": self.extrapolation_ratio,
            "verdict": self.verdict,
            "why": self.why,
            "unit": self.unit.label,
            "interval": self.ci_prob,
            "passed": self.passed,
        }

    def _table(self) -> pd.DataFrame:
        rows = []
        for i, name in enumerate(self.recipes):
            row = {"recipe": name, "p_best": self.p_best()[i]}
            rows.append(row | quantiles(self.losses(i), self.ci_prob))
        return pd.DataFrame(rows)

    def _content(self) -> Iterator[str | TextTable]:
        ranked = self.p_best().argsort()[::-1]
        first, second = int(ranked[0]), int(ranked[1])
        yield self._headline(first, second)
        yield self.why
        yield TextTable.of(self._rank_rows(ranked), indent="  ")
        for other in map(int, ranked[1:]):
            yield from self._pair_lines(first, other)
        yield from self._decide_lines(first, second)

    def _headline(self, a: int, b: int) -> str:
        one, other = self.recipes[a], self.recipes[b]
        at = f"{format_size(self.params)} params and {format_size(self.tokens)} tokens"
        p = self.p_better(a, b)
        if p - 0.5 < NEAR:
            gap = float(np.quantile(np.abs(self.difference(a, b)), 0.95))
            return (
                f"No preference between {one} and {other} at {at}: either is better by less than "
                f"{three_digits(gap)} {self.unit.label} with 95 %, and {one} with a probability of "
                f"{p:.0%}."
            )
        new = self.p_better(a, b, self.log_loss_new)
        return (
            f"{one} is better than {other} at {at} with a probability of {p:.0%}; a single run of "
            f"each shows it with {new:.0%}."
        )

    def _rank_rows(self, ranked: np.ndarray) -> Iterator[dict[str, str]]:
        for i in map(int, ranked):
            values = quantiles(self.losses(i), self.ci_prob)
            yield {
                "recipe": self.recipes[i],
                "P(best)": f"{self.p_best()[i]:.0%}",
                "loss": f"{values['median']:.4g}",
                f"{self.ci_prob:.0%} interval": f"{values['lower']:.4g} to {values['upper']:.4g}",
            }

    def _pair_lines(self, a: int, b: int) -> Iterator[str]:
        one, other = self.recipes[a], self.recipes[b]
        gap = quantiles(self.difference(b, a), self.ci_prob)
        times = quantiles(self.multiplier[a, b], self.ci_prob)
        yield (
            f"{other} less {one}: {gap['median']:+.3g} {self.unit.label} ({self.ci_prob:.0%} "
            f"interval {gap['lower']:+.3g} to {gap['upper']:+.3g}). {other} needs "
            f"{_times(times['median'])} the compute to reach {one} ({_times(times['lower'])} to "
            f"{_times(times['upper'])})."
        )
        if self.log_loss_own_split is not None:
            p = self.p_better(a, b, self.log_loss_own_split)
            yield f"  Each at its own best split of the budget: {one} is better with {p:.0%}."
        at, p_none = self.crossing(a, b)
        if at is None:
            yield (
                f"  They do not cross between {self.scales[0]:.2g} and {self.scales[-1]:.2g} FLOP "
                f"with a probability of {p_none:.0%}."
            )
        else:
            found = quantiles(at, self.ci_prob)
            yield (
                f"  They cross at {found['median']:.2g} FLOP ({found['lower']:.2g} to "
                f"{found['upper']:.2g})."
            )

    def _decide_lines(self, a: int, b: int) -> Iterator[str]:
        if self.p_better(a, b) >= 0.95:
            return
        yield f"Pairs of runs, one of {self.recipes[a]} and one of {self.recipes[b]}, that decide:"
        for row in self.decide.to_dict(orient="records"):
            known = row["pairs"] is not None and np.isfinite(row["pairs"])
            one = "" if row["pairs"] == 1 else "s"
            least = f"{row['pairs']:.0f} pair{one}" if known else "not reached with 32 pairs"
            yield f"  of {row['flops']:.2g} FLOP each: {least} (expected P {row['p_expected']:.0%})"


def _times(value: float) -> str:
    if np.isinf(value):
        return "more than 30 times"
    if value == 0:
        return "less than a thirtieth of"
    return f"{three_digits(value)} times"
