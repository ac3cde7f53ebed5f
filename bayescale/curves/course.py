"""Whether a run has left its own course, tested at every look without more false alarms.

The course is the distribution of the run's losses that is fixed before the run: the curve's prior
with its discrepancy. It is compared with alternatives in which the losses depart from it from the
start, by a step or along a ramp, by an unknown amount. The Bayes factor of the alternatives against
the course is a martingale while the run is on course, so the chance that it ever reaches 20 is at
most 5 %, for any number and timing of looks (Ville 1939). The inverse of its highest value so far
is a p-value that holds at every look.
"""

from dataclasses import dataclass

import numpy as np

from bayescale.curves.card import CurvePrior
from bayescale.curves.condition import Observed, Sampled, reference_of
from bayescale.curves.law import features, joint_normal
from bayescale.curves.schedule import Schedule

ALARM = 20.0
"""The Bayes factor from which a run counts as off its course."""

SIZE = 0.015
"""Standard deviation of a departure, as a share of the loss."""

PLACES = np.arange(1, 10) / 10
"""Places at which a departure may begin, as shares of the run."""

RAMP = 0.4
"""Length of a ramp, as a share of the run."""

FIRST = 0.1
"""The first look, as a share of the run: before it, the law does not describe the curve yet."""

LOOKS = 40
"""How often a whole run is looked at."""


@dataclass(frozen=True, eq=False)
class Course:
    """The test's results at the looks at a run.

    Attributes
    ----------
    steps : numpy.ndarray, shape (look,)
    log_factor : numpy.ndarray, shape (look,)
        Log Bayes factor of having left the course, given the losses up to that look.
    """

    steps: np.ndarray
    log_factor: np.ndarray

    @property
    def p_value(self) -> float:
        """The p-value of being on course, which holds at any number of looks."""
        return float(np.exp(-max(self.log_factor.max(initial=0.0), 0.0)))

    @property
    def alarm_step(self) -> float | None:
        """The step of the first look at which the factor reached :data:`ALARM`, or None."""
        over = np.flatnonzero(self.log_factor >= np.log(ALARM))
        return float(self.steps[over[0]]) if len(over) else None


def look_steps(schedule: Schedule) -> np.ndarray:
    """Return the steps of the looks at a whole run, which depend on its plan alone."""
    first = max(FIRST * schedule.last_step, 1.15 * schedule.warm_up)
    return np.linspace(first, schedule.last_step, LOOKS)


def course(schedule: Schedule, observed: Observed, prior: CurvePrior, sampled: Sampled) -> Course:
    """Test at every look whether the run is on its course.

    Parameters
    ----------
    schedule : Schedule
    observed : Observed
        Losses at those of :func:`look_steps` that the run has reached.
    prior : CurvePrior
        The prior as it was before the run.
    sampled : Sampled
        Draws of the shape given these losses.
    """
    shapes = sampled.shapes
    log_reference = reference_of(schedule, prior, shapes)
    seen = features(schedule, observed.steps, shapes)
    mean, covariance = joint_normal(seen, shapes, prior, log_reference, observed.scale)
    root = np.linalg.cholesky(covariance + np.diag(observed.noise**2))
    off = departures(observed.steps, schedule.last_step)
    right = np.concatenate(
        [(observed.losses - mean)[:, :, None], np.broadcast_to(off, (len(mean), *off.shape))],
        axis=2,
    )
    white = np.linalg.solve(root, right)
    away, moved = white[:, :, 0], white[:, :, 1:]
    logs = np.log(np.diagonal(root, axis1=1, axis2=2))
    on_course = sampled.log_prior[:, None] - np.cumsum(away**2 / 2 + logs, axis=1)
    size = (SIZE * observed.scale) ** 2
    within = 1 + size * np.cumsum(moved**2, axis=1)
    along = np.cumsum(moved * away[:, :, None], axis=1)
    ratio = size * along**2 / within / 2 - np.log(within) / 2
    off_course = on_course + np.logaddexp.reduce(ratio, axis=2) - np.log(off.shape[1])
    factor = np.logaddexp.reduce(off_course, axis=0) - np.logaddexp.reduce(on_course, axis=0)
    return Course(observed.steps, factor)


def departures(steps: np.ndarray, last_step: float) -> np.ndarray:
    """Return departures of size one at these steps: one from the start, then steps, then ramps.

    Returns
    -------
    numpy.ndarray, shape (point, departure)
    """
    done = steps[:, None] / last_step
    step = (done >= PLACES).astype(float)
    ramp = ((done - PLACES) / RAMP).clip(0.0, 1.0)
    return np.concatenate([np.ones_like(done), step, ramp], axis=1)
