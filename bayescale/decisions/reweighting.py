"""How much runs that were not trained yet would tell, by reweighting the draws of a posterior.

An outcome of a run multiplies the weight of every draw by its density under that draw. All
quantities of the draws are updated this way, among them the sizes of noise and drift, which a
linear update with covariances would take as known.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayescale import noise

OUTCOMES = 201
"""Number of outcomes of a single candidate: evenly spaced quantiles of its prediction."""

WORLDS = 400
"""Number of draws that are taken as the truth in turn, to simulate outcomes of several runs."""

LEAST_EFFECTIVE = 25.0
"""With fewer effective draws, on average over outcomes, weights are not used."""


@dataclass(frozen=True, eq=False)
class Noise:
    """Residual noise of a single run, draw by draw.

    Attributes
    ----------
    sigma : numpy.ndarray, shape (draw, candidate)
    nu, excess : numpy.ndarray or None, shape (draw,)
    """

    sigma: np.ndarray
    nu: np.ndarray | None = None
    excess: np.ndarray | None = None

    def information_loss(self) -> np.ndarray:
        """Return the inverse information of one run about its mean, (candidate,).

        An excess above the floor counts with its variance, which is an upper bound.
        """
        variance = self.sigma**2
        if self.excess is not None:
            variance = variance + self.excess[:, None] ** 2
        if self.nu is not None:
            variance = variance * ((self.nu + 3) / (self.nu + 1))[:, None]
        return np.median(variance, axis=0)

    def sampled(self, candidate: int, rng: np.random.Generator, draws: Any) -> np.ndarray:
        """Return a draw of the noise of one run for each of these draws of the posterior."""
        sigma = self.sigma[draws, candidate]
        nu = None if self.nu is None else self.nu[draws]
        excess = None if self.excess is None else self.excess[draws] / sigma
        return sigma * noise.draw(rng, sigma.shape, nu, excess)

    def log_density(self, candidate: int, outcomes: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """Return the log density of outcomes under each draw's loss, (outcome, draw).

        Single precision is enough for weights, and takes half the time.
        """
        level = losses.mean()
        outcomes, losses, scale = (
            x.astype(np.float32)
            for x in (outcomes - level, losses - level, self.sigma[:, candidate])
        )
        nu, excess = (None if x is None else x.astype(np.float32) for x in (self.nu, self.excess))
        nodes = None
        if excess is not None and nu is not None:
            nodes = tuple(x[:, None, :] for x in noise.precision_nodes(nu))
        deviation = outcomes[:, None] - losses
        return noise.log_density(deviation, scale, nu=nu, excess=excess, nodes=nodes)


@dataclass(frozen=True, eq=False)
class Left:
    """The uncertainty that is left after a run, averaged over its outcomes.

    Attributes
    ----------
    share : float
        The share of the variance of the target's log loss that is left.
    choice : float
        Expected log loss at the split that is then the best choice; NaN without splits.
    effective : float
        Effective draws, on average over outcomes.
    """

    share: float
    choice: float
    effective: float


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Draws of log losses at the target, at its splits and at candidates.

    Attributes
    ----------
    at : numpy.ndarray, shape (draw,)
        Log mean loss at the target.
    splits : numpy.ndarray, shape (draw, split)
        Log mean losses at splits of the target's budget; empty unless the target is a regret.
    losses : numpy.ndarray, shape (draw, candidate)
        Log mean losses at the candidates.
    noise : Noise
    """

    at: np.ndarray
    splits: np.ndarray
    losses: np.ndarray
    noise: Noise

    def after(self, candidate: int) -> Left:
        """Return the uncertainty that is left after one candidate."""
        there, draws = self.losses[:, candidate], np.arange(len(self.losses))
        rng = np.random.default_rng(candidate)
        outcomes = np.sort(there + self.noise.sampled(candidate, rng, draws))
        places = (np.arange(OUTCOMES) + 0.5) / OUTCOMES * len(outcomes)
        outcomes = outcomes[places.astype(int)]
        return self._left(self.noise.log_density(candidate, outcomes, there))

    def after_several(self, bought: list[int]) -> list[Left]:
        """Return the uncertainty that is left after the first run, after the second, and so on."""
        world = np.linspace(0, len(self.at) - 1, min(WORLDS, len(self.at))).astype(int)
        log_weight, found = np.zeros((len(world), len(self.at))), []
        rng = np.random.default_rng(len(bought))
        for candidate in bought:
            there = self.losses[:, candidate]
            outcomes = there[world] + self.noise.sampled(candidate, rng, world)
            log_weight += self.noise.log_density(candidate, outcomes, there)
            found.append(self._left(log_weight))
        if not found:
            return []
        first, times = self.after(bought[0]), 1.0
        # one run alone is evaluated more precisely, and the other values have nearly the same error
        if found[0].share > 0:
            times = first.share / found[0].share
        rest = [replace(left, share=min(times * left.share, 1.0)) for left in found[1:]]
        return [first, *rest]

    def _left(self, log_weight: np.ndarray) -> Left:
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        away = (self.at - self.at.mean()).astype(np.float32)
        powers = np.stack([np.ones_like(away), away, away**2], axis=1)
        total, first, second = (weight @ powers).T
        squares, squared_first, squared_second = (weight**2 @ powers).T / total**2
        mean = first / total
        # the variance within an outcome, corrected for the number of effective draws
        within = (second / total - mean**2) / np.maximum(1 - squares, 0.5)
        error = squared_second - 2 * mean * squared_first + mean**2 * squares
        between = max(float(mean.var() - error.mean()), 0.0)
        choice = np.nan
        if self.splits.shape[1]:
            level = self.splits.mean(axis=0)
            means = weight @ (self.splits - level).astype(np.float32) / total[:, None]
            # on average over outcomes, means must not move
            means = level + means - means.mean(axis=0)
            choice = float(means.min(axis=1).mean())
        left = float(within.mean())
        share = left / (left + between) if left + between > 0 else 0.0
        return Left(share, choice, float((1 / squares).mean()))
