"""The posterior of a curve given its first part, by importance sampling of its shape.

Given the shape (alpha, kp, delay, and the powers if the law has them) all losses are jointly
normal, so only the shape is sampled. It is first drawn from its prior. If few of these draws carry
most of the weight, the proposal is refitted to them: it becomes an equal mixture of the prior and
of a normal density with the draws' mean and widened covariance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayescale.curves.card import CurvePrior
from bayescale.curves.law import Shapes, features, joint_normal
from bayescale.curves.schedule import Schedule

DRAWS = 1600

FEWEST_EFFECTIVE = 200.0
"""Effective draws below which the proposal is refitted."""

MOST_PROPOSALS = 6

WIDENED = 1.5
"""Factor on the standard deviations of a refitted proposal, whose tails must not be thinner than
the posterior's."""

LEAST = np.array([0.02, 0.02, 0.0, 0.05, 0.0])
"""The smallest alpha, kp, log delay, beta and gamma; with smaller ones the equation is no longer a
curve of the law."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Losses of a run at some steps of its schedule.

    Attributes
    ----------
    steps, losses : numpy.ndarray, shape (point,)
    noise : numpy.ndarray, shape (point,)
        Standard deviation of the white noise in each loss.
    scale : float
        A typical loss of the run, of which discrepancies are shares.
    """

    steps: np.ndarray
    losses: np.ndarray
    noise: np.ndarray
    scale: float

    def with_loss(self, step: float, loss: float, deviation: float) -> "Observed":
        """Return these losses and one more, whose noise has this standard deviation."""
        return Observed(
            np.append(self.steps, step),
            np.append(self.losses, loss),
            np.append(self.noise, deviation),
            self.scale if len(self.losses) else loss,
        )

    def until(self, step: float) -> "Observed":
        """Return the losses up to and including a step."""
        keep = self.steps <= step
        return Observed(self.steps[keep], self.losses[keep], self.noise[keep], self.scale)


@dataclass(frozen=True, eq=False)
class Sampled:
    """Weighted draws of a curve's shape given the losses so far.

    Attributes
    ----------
    shapes : Shapes
    log_prior : numpy.ndarray, shape (draw,)
        Log of the prior density over that of the proposal: the draws' weights without any loss.
    log_weight : numpy.ndarray, shape (draw,)
        The draws' weights given the losses, normalized.
    """

    shapes: Shapes
    log_prior: np.ndarray
    log_weight: np.ndarray

    @property
    def effective(self) -> float:
        """The number of draws of equal weight that would be as precise."""
        return float(np.exp(-np.logaddexp.reduce(2 * self.log_weight)))


@dataclass(frozen=True, eq=False)
class Conditional:
    """The distribution of later losses: normal given each draw of the shape.

    Attributes
    ----------
    sampled : Sampled
    mean : numpy.ndarray, shape (draw, point)
        Mean of the later losses, without noise.
    covariance : numpy.ndarray, shape (draw, point, point)
    """

    sampled: Sampled
    mean: np.ndarray
    covariance: np.ndarray

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n draws of the later losses, shape (n, point)."""
        weight = np.exp(self.sampled.log_weight)
        chosen = rng.choice(len(weight), n, p=weight / weight.sum())
        size = np.diagonal(self.covariance, axis1=1, axis2=2).max()
        roots = np.linalg.cholesky(self.covariance + 1e-9 * size * np.eye(self.mean.shape[1]))
        z = rng.standard_normal((n, self.mean.shape[1], 1))
        return self.mean[chosen] + (roots[chosen] @ z)[:, :, 0]


def sample_shapes(
    schedule: Schedule,
    observed: Observed,
    prior: CurvePrior,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Sampled:
    """Return weighted draws of a curve's shape given its losses: see :func:`weigh_shapes`."""

    def log_density(shapes: Shapes) -> np.ndarray:
        seen = features(schedule, observed.steps, shapes)
        log_reference = reference_of(schedule, prior, shapes)
        m, k = joint_normal(seen, shapes, prior, log_reference, observed.scale)
        return normal_log_density(m, k, observed)

    return weigh_shapes(log_density, prior, rng, draws)


def weigh_shapes(
    log_density: Callable[[Shapes], np.ndarray],
    prior: CurvePrior,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Sampled:
    """Return weighted draws of shapes, from a proposal that is refitted until enough are effective.

    Parameters
    ----------
    log_density : callable
        A function from shapes to the log density of the observed losses, shape (draw,).
    prior : CurvePrior
    rng : numpy.random.Generator
    draws : int
    """
    mean, sd = prior.shape.T
    points, log_proposal = _propose(draws, mean, sd, None, rng)
    for attempt in range(MOST_PROPOSALS):
        shapes = Shapes.of(points)
        log_prior = _log_normal(points, mean, np.diag(sd**2)) - log_proposal
        log_weight = log_density(shapes) + log_prior
        log_weight -= np.logaddexp.reduce(log_weight)
        sampled = Sampled(shapes, log_prior, log_weight)
        if sampled.effective >= FEWEST_EFFECTIVE or attempt == MOST_PROPOSALS - 1:
            return sampled
        points, log_proposal = _propose(draws, mean, sd, _moments(points, log_weight, sd), rng)
    raise AssertionError("the last proposal is returned")


def condition(
    schedule: Schedule,
    observed: Observed,
    at: np.ndarray,
    prior: CurvePrior,
    sampled: Sampled,
    then: Schedule | None = None,
) -> Conditional:
    """Return the distribution of losses at later steps, given those of the first part.

    Parameters
    ----------
    schedule : Schedule
        The plan to the end of the run.
    observed : Observed
    at : numpy.ndarray, shape (point,)
        Steps at which to forecast the loss.
    prior : CurvePrior
    sampled : Sampled
        See :func:`sample_shapes`.
    then : Schedule, optional
        The schedule of these steps, if it differs from the plan from here on.
    """
    shapes, n = sampled.shapes, len(observed.steps)
    seen, later = (
        features(schedule, observed.steps, shapes),
        features(then or schedule, at, shapes),
    )
    log_reference = reference_of(schedule, prior, shapes)
    m, k = joint_normal(seen.join(later), shapes, prior, log_reference, observed.scale)
    inside = k[:, :n, :n] + np.diag(observed.noise**2)
    gain = np.swapaxes(np.linalg.solve(inside, k[:, :n, n:]), 1, 2)
    mean = m[:, n:] + (gain @ (observed.losses - m[:, :n])[:, :, None])[:, :, 0]
    return Conditional(sampled, mean, k[:, n:, n:] - gain @ k[:, :n, n:])


def reference_of(schedule: Schedule, prior: CurvePrior, shapes: Shapes) -> np.ndarray:
    """Return the log of the progress for which R is stated, shape (draw,)."""
    if prior.reference is not None:
        return np.full(len(shapes), np.log(prior.reference))
    return np.log(schedule.progress(np.array([schedule.last_step]), shapes.kp))[:, 0]


def normal_log_density(mean: np.ndarray, covariance: np.ndarray, observed: Observed) -> np.ndarray:
    """Return the log density of the losses for each draw of the shape, shape (draw,)."""
    root = np.linalg.cholesky(covariance + np.diag(observed.noise**2))
    away = np.linalg.solve(root, (observed.losses - mean)[:, :, None])[:, :, 0]
    logs = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    return -(away**2).sum(axis=1) / 2 - logs


def _propose(
    n: int,
    mean: np.ndarray,
    sd: np.ndarray,
    fitted: tuple[np.ndarray, np.ndarray] | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of shapes (draw, parameter) and the proposal's log density there (draw,)."""
    covariance = np.diag(sd**2)
    own = n if fitted is None else n // 2
    points = rng.multivariate_normal(mean, covariance, own)
    if fitted is not None:
        points = np.concatenate([points, rng.multivariate_normal(*fitted, n - own)])
    points = np.maximum(points, LEAST[: len(mean)])
    density = _log_normal(points, mean, covariance)
    if fitted is not None:
        density = np.logaddexp(density, _log_normal(points, *fitted)) - np.log(2)
    return points, density


def _moments(
    points: np.ndarray, log_weight: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    weight = np.exp(log_weight)
    mean = weight @ points
    away = points - mean
    covariance = (away * weight[:, None]).T @ away
    return mean, WIDENED**2 * covariance + np.diag((0.02 * sd) ** 2)


def _log_normal(points: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    root = np.linalg.cholesky(covariance)
    away = np.linalg.solve(root, (points - mean).T)
    return -(away**2).sum(axis=0) / 2 - np.log(np.diagonal(root)).sum()
