"""What is believed of losses that nobody has measured, and what measuring one would change.

Beliefs are means and covariances of log losses over draws. Seeing a run moves a mean in
proportion to its covariance with the run, as if draws were normal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

WORTHWHILE = 0.01
"""Share of the uncertainty that a run must take off to be bought, however cheap it is."""

OUTCOMES = 201
"""Outcomes of a candidate that a regret is averaged over."""

Target = Literal["loss", "regret"]
NAMES: Mapping[Target, str] = {"loss": "sd", "regret": "regret"}
"""What the uncertainty of each target is called in tables."""


@dataclass(frozen=True, eq=False)
class Beliefs:
    """What is believed of log losses at the target, at its splits and at the candidates.

    Attributes
    ----------
    covariance : numpy.ndarray, shape (place, place)
        The target first, then its splits, then candidates.
    noise : numpy.ndarray, shape (candidate,)
        Variance of one run about its mean, on log loss.
    split_means : numpy.ndarray, shape (outcome, split)
        Means of the splits' log losses, one row for each outcome of the runs seen so far.
    floor : float
        Expected log loss of each draw's own best split.
    seen : int
        Candidates seen so far.
    """

    covariance: np.ndarray
    noise: np.ndarray
    split_means: np.ndarray
    floor: float
    seen: int = 0

    @classmethod
    def of(cls, draws: np.ndarray, noise: np.ndarray, splits: int) -> "Beliefs":
        """From draws of log losses, (draw, place)."""
        at_splits = draws[:, 1 : 1 + splits]
        floor = float(at_splits.min(axis=1).mean()) if splits else np.nan
        means = np.tile(at_splits.mean(axis=0), (OUTCOMES, 1))
        return cls(np.cov(draws, rowvar=False), noise, means, floor)

    @property
    def _first(self) -> int:
        return 1 + self.split_means.shape[1]

    @property
    def _pulls(self) -> np.ndarray:
        """How far one sd of each candidate's outcome moves each mean, (place, candidate)."""
        spread = np.sqrt(np.diag(self.covariance)[self._first :] + self.noise)
        return self.covariance[:, self._first :] / spread

    @property
    def _outcomes(self) -> np.ndarray:
        """Standard normal outcomes of one more run, in an order of its own."""
        from scipy import stats

        even = stats.norm.ppf((np.arange(OUTCOMES) + 0.5) / OUTCOMES)
        return np.random.default_rng(self.seen).permutation(even)

    def given(self, candidate: int) -> "Beliefs":
        """Once a candidate was seen."""
        pull = self._pulls[:, candidate]
        means = self.split_means + np.outer(self._outcomes, pull[1 : self._first])
        covariance = self.covariance - np.outer(pull, pull)
        return replace(self, covariance=covariance, split_means=means, seen=self.seen + 1)

    def now(self, target: Target) -> float:
        """The uncertainty as it stands: sd of the target's log loss, or expected regret in nats."""
        if target == "loss":
            return float(np.sqrt(max(self.covariance[0, 0], 0.0)))
        return self._regret(self.split_means)

    def after(self, target: Target) -> np.ndarray:
        """What each candidate would leave of it, (candidate,)."""
        pulls = self._pulls
        if target == "loss":
            return np.sqrt(np.maximum(self.covariance[0, 0] - pulls[0] ** 2, 0.0))
        moved = pulls[1 : self._first].T[:, None, :] * self._outcomes[:, None]
        return np.array([self._regret(self.split_means + by) for by in moved])

    def _regret(self, means: np.ndarray) -> float:
        best = float(means.min(axis=1).mean())  # of a choice made anew for each outcome
        return float(np.exp(best) * (best - self.floor))


def judged(beliefs: Beliefs, table: pd.DataFrame, target: Target, budget: float) -> pd.DataFrame:
    """The candidates with what each would leave."""
    found = table.assign(affordable=table["flops"] <= budget)
    for kind in dict.fromkeys(("loss", target)):
        name = NAMES[kind]
        found[f"{name}_before"], found[f"{name}_after"] = beliefs.now(kind), beliefs.after(kind)
    name = NAMES[target]
    before = found[f"{name}_before"]
    less = before - found[f"{name}_after"]
    return found.assign(
        reduction_per_flop=less / found["flops"], worthwhile=less >= WORTHWHILE * before
    )


def greedy(
    beliefs: Beliefs, table: pd.DataFrame, target: Target, budget: float, by_price: bool
) -> tuple[float, pd.DataFrame]:
    """Runs chosen one by one within a budget: what they leave in the end, and which."""
    cost = table["flops"].to_numpy()
    free, chosen, left, unspent = np.ones(len(cost), dtype=bool), [], [], budget
    start = now = beliefs.now(target)
    while True:
        after = beliefs.after(target)
        usable = free & (cost <= unspent) & (now - after >= WORTHWHILE * start)
        if not usable.any():
            break
        gain = np.where(usable, now - after, -np.inf)
        best = int((gain / cost if by_price else gain).argmax())
        beliefs, now = beliefs.given(best), float(after[best])
        free[best], unspent = False, unspent - cost[best]
        chosen.append(best)
        left.append(now)
    batch = table.iloc[chosen].reset_index(drop=True).assign(**{f"{NAMES[target]}_after": left})
    return now, batch
