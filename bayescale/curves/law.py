"""The equation of a loss curve, and the joint distribution of its losses given its shape.

The loss at step t is

    L(t) = L0 + R (S(t) / S_ref)^-alpha - B a(t),

with S(t) the progress, the sum of (rate / peak)^kp over the steps so far, and a(t) the share of
the rate's fall that has taken effect (:mod:`bayescale.curves.schedule`). With kp = 1 it is the law
of Tissue et al. 2024 (arXiv 2408.11029) in relaxation form. Progress is not proportional to the
rate, though: at a tenth of it, progress goes at about a third.

A fall of the rate takes effect exponentially or, if the prior has the powers beta and gamma, as in
the multi-power law of Luo et al. 2025 (arXiv 2503.12811): see :meth:`Schedule.annealed_by_powers`.
That law as published has kp = 1.

Given the shape (alpha, kp, the delay, and the powers), the loss is linear in L0, R and B, whose
priors are normal, and the discrepancy is a Gaussian process: an Ornstein-Uhlenbeck process in log
progress, and a random walk in the annealed share a(t). So all losses of a curve are jointly normal
given its shape. The size of the discrepancy is never learned from the curve itself: the first part
of a curve is so smooth that it would suggest no discrepancy at all, and it shows nothing about the
annealing to come.
"""

from dataclasses import dataclass

import numpy as np

from bayescale.curves.card import CurvePrior
from bayescale.curves.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Shapes:
    """Draws of a curve's shape.

    Attributes
    ----------
    alpha, kp, delay : numpy.ndarray, shape (draw,)
        Exponent of progress, power of the rate in progress, and steps over which a fall of the
        rate takes effect.
    beta, gamma : numpy.ndarray, shape (draw,), or None
        Powers of the multi-power law; None if falls take effect exponentially.
    """

    alpha: np.ndarray
    kp: np.ndarray
    delay: np.ndarray
    beta: np.ndarray | None = None
    gamma: np.ndarray | None = None

    @classmethod
    def of(cls, points: np.ndarray) -> "Shapes":
        """Return shapes from points (draw, 3 or 5): alpha, kp, log delay, and the powers."""
        alpha, kp, log_delay, *powers = points.T
        return cls(alpha, kp, np.exp(log_delay), *powers)

    def __len__(self) -> int:
        return len(self.alpha)


@dataclass(frozen=True, eq=False)
class Features:
    """Log progress and annealed share at some steps, given shapes; each has shape (draw, point)."""

    log_progress: np.ndarray
    annealed: np.ndarray

    def join(self, other: "Features") -> "Features":
        """Return the points of both."""
        return Features(
            np.concatenate([self.log_progress, other.log_progress], axis=1),
            np.concatenate([self.annealed, other.annealed], axis=1),
        )


def features(schedule: Schedule, steps: np.ndarray, shapes: Shapes) -> Features:
    """Return log progress and annealed share at these steps."""
    log_progress = np.log(schedule.progress(steps, shapes.kp))
    if shapes.beta is None or shapes.gamma is None:
        return Features(log_progress, schedule.annealed(steps, shapes.delay))
    annealed = schedule.annealed_by_powers(steps, shapes.delay, shapes.beta, shapes.gamma)
    return Features(log_progress, annealed)


def design(found: Features, shapes: Shapes, log_reference: np.ndarray) -> np.ndarray:
    """Return the factors that multiply L0, R and B, shape (draw, point, 3).

    ``log_reference`` is the log of S_ref in each draw, shape (draw,).
    """
    fallen = np.exp(-shapes.alpha[:, None] * (found.log_progress - log_reference[:, None]))
    return np.stack([np.ones_like(fallen), fallen, -found.annealed], axis=-1)


def joint_normal(
    found: Features, shapes: Shapes, prior: CurvePrior, log_reference: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (draw, point) and covariance (draw, point, point) of the losses, without noise.

    Parameters
    ----------
    found : Features
    shapes : Shapes
    prior : CurvePrior
    log_reference : numpy.ndarray, shape (draw,)
    scale : float
        A typical loss of the run: the discrepancy and the flat level are shares of it.
    """
    x = design(found, shapes, log_reference)
    mean, covariance = prior.linear(scale)
    total = x @ covariance @ np.swapaxes(x, 1, 2)
    apart = np.abs(found.log_progress[:, :, None] - found.log_progress[:, None, :])
    total += (prior.wander * scale) ** 2 * np.exp(-apart / prior.wander_over)
    annealed = np.maximum.accumulate(np.maximum(found.annealed, 0.0), axis=1)
    walked = np.minimum(annealed[:, :, None], annealed[:, None, :])
    total += (prior.annealing * scale) ** 2 * walked
    return x @ mean, total
