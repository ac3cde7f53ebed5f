"""The value of information: how much a candidate run would reduce the uncertainty of a target.

Reweighted draws give the uncertainty that is left after a run or several runs. Which runs to buy
together is searched with means and covariances of log losses over draws: observing a run then moves
a mean in proportion to its covariance with the run, as if draws were normal and the sizes of noise
and drift known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from bayescale.decisions.reweighting import LEAST_EFFECTIVE, Left, Reweighting
from bayescale.threads import in_threads

WORTHWHILE = 0.01
"""A run is bought only if it removes at least this share of the uncertainty."""

OUTCOMES = 201
"""Number of outcomes of a candidate over which a regret is averaged."""

Target = Literal["loss", "regret"]
NAMES: Mapping[Target, str] = {"loss": "sd", "regret": "regret"}
"""The prefix of columns with the uncertainty of each target."""


@dataclass(frozen=True, eq=False)
class NormalBeliefs:
    """Normal beliefs about log losses at the target, at its splits and at the candidates.

    Attributes
    ----------
    covariance : numpy.ndarray, shape (place, place)
        Covariance of log losses at the target, at its splits and at the candidates, in this order.
    noise : numpy.ndarray, shape (candidate,)
        Variance of one run about its mean, on log loss.
    split_means : numpy.ndarray, shape (outcome, split)
        Means of the splits' log losses, one row for each outcome of the runs observed so far.
    floor : float
        Expected log loss of each draw's own best split.
    n_observed : int
        Candidates observed so far.
    """

    covariance: np.ndarray
    noise: np.ndarray
    split_means: np.ndarray
    floor: float
    n_observed: int = 0

    @classmethod
    def from_draws(cls, draws: np.ndarray, noise: np.ndarray, splits: int) -> "NormalBeliefs":
        """Make beliefs from draws of log losses, shape (draw, place)."""
        at_splits = draws[:, 1 : 1 + splits]
        floor = float(at_splits.min(axis=1).mean()) if splits else np.nan
        means = np.tile(at_splits.mean(axis=0), (OUTCOMES, 1))
        return cls(np.cov(draws, rowvar=False), noise, means, floor)

    @property
    def _first(self) -> int:
        return 1 + self.split_means.shape[1]

    @property
    def _gains(self) -> np.ndarray:
        """Shift of each mean per standard deviation of an outcome, shape (place, candidate)."""
        spread = np.sqrt(np.diag(self.covariance)[self._first :] + self.noise)
        return self.covariance[:, self._first :] / spread

    @property
    def _outcomes(self) -> np.ndarray:
        """Standard normal outcomes of one more run, in an order that differs from run to run."""
        from scipy import stats

        even = stats.norm.ppf((np.arange(OUTCOMES) + 0.5) / OUTCOMES)
        return np.random.default_rng(self.n_observed).permutation(even)

    def observe(self, candidate: int) -> "NormalBeliefs":
        """Return the beliefs after observing a candidate."""
        gain = self._gains[:, candidate]
        return replace(
            self,
            covariance=self.covariance - np.outer(gain, gain),
            split_means=self.split_means + np.outer(self._outcomes, gain[1 : self._first]),
            n_observed=self.n_observed + 1,
        )

    def now(self, target: Target) -> float:
        """Return the present uncertainty: sd of the log loss, or expected regret in nats."""
        if target == "loss":
            return float(np.sqrt(max(self.covariance[0, 0], 0.0)))
        return self._regret(self.split_means)

    def after(self, target: Target) -> np.ndarray:
        """Return the uncertainty that each candidate would leave, shape (candidate,)."""
        gains = self._gains
        if target == "loss":
            return np.sqrt(np.maximum(self.covariance[0, 0] - gains[0] ** 2, 0.0))
        shifts = gains[1 : self._first].T[:, None, :] * self._outcomes[:, None]
        return np.array([self._regret(self.split_means + by) for by in shifts])

    def _regret(self, means: np.ndarray) -> float:
        return self.regret_of(float(means.min(axis=1).mean()))  # each outcome has its own choice

    def regret_of(self, choice: float) -> float:
        """Return the regret in nats of an expected log loss at the choice."""
        return float(np.exp(choice) * (choice - self.floor))


def evaluate(
    beliefs: NormalBeliefs, draws: Reweighting, table: pd.DataFrame, target: Target, budget: float
) -> pd.DataFrame:
    """Return the candidates with the uncertainty that each would leave."""
    found = table.assign(affordable=table["flops"] <= budget)
    each = list(in_threads(draws.after, range(len(table))))
    for kind in dict.fromkeys(("loss", target)):
        name, normal = NAMES[kind], beliefs.after(kind)
        found[f"{name}_before"] = beliefs.now(kind)
        found[f"{name}_after"] = [
            _uncertainty(beliefs, kind, left) if left.effective >= LEAST_EFFECTIVE else normal[i]
            for i, left in enumerate(each)
        ]
    name = NAMES[target]
    before = found[f"{name}_before"]
    removed = before - found[f"{name}_after"]
    return found.assign(
        reduction_per_flop=removed / found["flops"], worthwhile=removed >= WORTHWHILE * before
    )


def _uncertainty(beliefs: NormalBeliefs, target: Target, left: Left) -> float:
    if target == "loss":
        return beliefs.now("loss") * float(np.sqrt(left.share))
    return beliefs.regret_of(left.choice)


def best_batch(
    beliefs: NormalBeliefs, draws: Reweighting, table: pd.DataFrame, target: Target, budget: float
) -> pd.DataFrame:
    """Return runs to buy together, with the uncertainty left after each.

    They are chosen one by one with normal beliefs, once by reduction and once by reduction per
    FLOP. The choice that leaves less uncertainty by the reweighted draws is returned. If several
    runs leave too few effective draws, the uncertainty is reduced further as normal beliefs say. No
    runs are bought if all together remove less than :data:`WORTHWHILE` of the uncertainty.
    """
    batches = []
    for by_price in (False, True):
        chosen, normal = greedy(beliefs, table, target, budget, by_price)
        left: list[float] = []
        for i, exact in enumerate(draws.after_several(chosen)):
            if exact.effective >= LEAST_EFFECTIVE:
                left.append(_uncertainty(beliefs, target, exact))
                continue
            start, before = (left[-1], normal[i - 1]) if i else (1.0, 1.0)
            left.append(start * normal[i] / before if before else 0.0)
        column = {f"{NAMES[target]}_after": left}
        batches.append(table.iloc[chosen].reset_index(drop=True).assign(**column))
    now, name = beliefs.now(target), f"{NAMES[target]}_after"
    best = min(batches, key=lambda b: b[name].iloc[-1] if len(b) else now)
    if len(best) and now - best[name].iloc[-1] < WORTHWHILE * now:
        return best.iloc[:0]
    return best


def greedy(
    beliefs: NormalBeliefs, table: pd.DataFrame, target: Target, budget: float, by_price: bool
) -> tuple[list[int], list[float]]:
    """Return runs chosen one by one within a budget, and the uncertainty left after each."""
    cost = table["flops"].to_numpy()
    free, chosen, left, unspent = np.ones(len(cost), dtype=bool), [], [], budget
    start = now = beliefs.now(target)
    while True:
        after = beliefs.after(target)
        usable = free & (cost <= unspent) & (now - after >= WORTHWHILE * start)
        if not usable.any():
            return chosen, left
        gain = np.where(usable, now - after, -np.inf)
        best = int((gain / cost if by_price else gain).argmax())
        beliefs, now = beliefs.observe(best), float(after[best])
        free[best], unspent = False, unspent - cost[best]
        chosen.append(best)
        left.append(now)
