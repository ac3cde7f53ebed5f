"""Priors of a curve from finished runs of the same recipe, of any sizes and schedules.

Each size is fitted with its own exponent and coefficients, which all its schedules share; the power
of the rate and the delay are shared by the recipe. With two sizes or more, the exponent and R
follow a trend in the log of the size. A single other size shows no trend, so its exponent is
combined with the card's. The gain from annealing is a nearly constant multiple of R within a
recipe.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayescale.curves.card import CurvePrior
from bayescale.curves.condition import LEAST, Observed
from bayescale.curves.law import Shapes, design, features, joint_normal
from bayescale.curves.schedule import Schedule

ALPHA_SD, KP_SD, LOG_DELAY_SD = 0.025, 0.08, 0.4
"""How far a further run's shape lies from that of the recipe, measured by leaving sizes out."""

R_SHARE, TIES_SHARE = 0.06, 0.10
"""How far a further run's R lies from the trend, and its B from the multiple of R, as shares."""

ALPHA_BY_SIZE, R_BY_SIZE, TIES_BY_SIZE = 0.04, 0.15, 0.08
"""How far alpha, R and B / R may change for an e-fold of size, if a single size shows no trend."""

WANDER, ANNEALING = 0.0015, 0.0031
"""Discrepancies of a run whose recipe is known, as shares of the loss."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished run: its schedule, its losses, and its size, in parameters or any unit."""

    schedule: Schedule
    observed: Observed
    params: float


@dataclass(frozen=True)
class _OfSize:
    log_params: float
    shape: np.ndarray
    remaining: float
    drop: float


def learned_prior(finished: Sequence[Finished], params: float, base: CurvePrior) -> CurvePrior:
    """Return the prior of a further run of a recipe.

    Parameters
    ----------
    finished : sequence of Finished
    params : float
        The size of the further run.
    base : CurvePrior
        The card's prior, whose other values are kept.
    """
    by_size: dict[float, list[Finished]] = defaultdict(list)
    for run in finished:
        by_size[run.params].append(run)
    reference = float(np.exp(np.mean([np.log(run.schedule.last_step) for run in finished])))
    free = replace(base, reference=reference, wander=WANDER, annealing=ANNEALING)
    first = [_fitted(runs, free, None) for runs in by_size.values()]
    shared = np.mean([each.shape[1:] for each in first], axis=0)
    fitted = [_fitted(runs, free, shared) for runs in by_size.values()]
    place = np.log(params)
    alpha, apart = _trend(fitted, [each.shape[0] for each in fitted], place, ALPHA_BY_SIZE)
    alpha = alpha, float(np.hypot(ALPHA_SD, apart))
    if len(fitted) == 1 and apart > 0:
        alpha = _combined(alpha, base.alpha)
    log_r, r_sd = _trend(fitted, [np.log(each.remaining) for each in fitted], place, R_BY_SIZE)
    ties, ties_sd = _trend(
        fitted, [each.drop / each.remaining for each in fitted], place, TIES_BY_SIZE
    )
    remaining = float(np.exp(log_r))
    return replace(
        free,
        alpha=alpha,
        kp=(float(shared[0]), KP_SD),
        log_delay=(float(shared[1]), LOG_DELAY_SD),
        remaining=(remaining, remaining * float(np.hypot(R_SHARE, r_sd))),
        drop=(0.0, ties * remaining * float(np.hypot(TIES_SHARE, ties_sd))),
        per_remaining=ties,
        unit_share=False,
        **{
            name: (float(mean), getattr(base, name)[1])
            for name, mean in zip(("beta", "gamma"), shared[2:], strict=False)
        },
    )


def _trend(
    sizes: Sequence[_OfSize], values: Sequence[float], place: float, per_e_fold: float
) -> tuple[float, float]:
    """Return the value at a size, and the uncertainty that a missing trend adds to it."""
    at = np.array([each.log_params for each in sizes])
    if len(sizes) == 1:
        return float(values[0]), per_e_fold * abs(place - at[0])
    slope, start = np.polyfit(at - at.mean(), values, 1)
    return float(start + slope * (place - at.mean())), 0.0


def _combined(learned: tuple[float, float], believed: tuple[float, float]) -> tuple[float, float]:
    """Return mean and sd of the exponent that runs of another size and the card give together.

    On eighteen curves of two sizes, each forecast from the runs of the other size, the mean error
    of the final loss falls from 0.83, 0.49 and 0.22 % (from one, two and three fifths of a run) to
    0.76, 0.42 and 0.19 %, with narrower intervals.
    """
    means, sds = np.transpose([learned, believed])
    precision = (1 / sds**2).sum()
    return float((means / sds**2).sum() / precision), float(precision**-0.5)


def _fitted(runs: Sequence[Finished], prior: CurvePrior, shared: np.ndarray | None) -> _OfSize:
    """Return the most probable shape for the runs of one size, and R and B there."""
    from scipy.optimize import minimize

    means, sds = prior.shape.T
    sds = sds * np.append(2.0, np.ones(len(sds) - 1))
    start = means if shared is None else np.append(means[0], shared)
    free = np.append(True, np.full(len(means) - 1, shared is None))

    def shape_at(values: np.ndarray) -> np.ndarray:
        shape = start.copy()
        shape[free] = values
        return np.maximum(shape, LEAST[: len(shape)])

    def objective(values: np.ndarray) -> float:
        shape = shape_at(values)
        away = (shape - means) / sds
        return float((away[free] ** 2).sum() / 2 - _profile(runs, shape, prior)[0])

    simplex = np.vstack([start[free], start[free] + np.diag(sds[free] / 2)])
    options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-2, "maxfev": 200}
    found = minimize(objective, start[free], method="Nelder-Mead", options=options)
    shape = shape_at(found.x)
    _, linear = _profile(runs, shape, prior)
    return _OfSize(float(np.log(runs[0].params)), shape, float(linear[1]), float(linear[2]))


def _profile(
    runs: Sequence[Finished], shape: np.ndarray, prior: CurvePrior
) -> tuple[float, np.ndarray]:
    """Return the log evidence of a shape, and the linear coefficients that all runs share."""
    draw = Shapes.of(shape[None, :])
    log_reference = np.array([np.log(prior.reference or 1.0)])
    scale = runs[0].observed.scale
    mean, covariance = prior.linear(scale)
    precision = np.linalg.inv(covariance)
    right, log_density = precision @ mean, np.linalg.slogdet(precision)[1] / 2
    log_density -= mean @ precision @ mean / 2
    for run in runs:
        seen = features(run.schedule, run.observed.steps, draw)
        x = design(seen, draw, log_reference)[0]
        _, total = joint_normal(seen, draw, prior, log_reference, scale)
        own = total[0] - x @ covariance @ x.T + np.diag(run.observed.noise**2)
        weighted = np.linalg.solve(own, np.column_stack([x, run.observed.losses]))
        precision = precision + x.T @ weighted[:, :3]
        right = right + x.T @ weighted[:, 3]
        log_density -= np.linalg.slogdet(own)[1] / 2
        log_density -= run.observed.losses @ weighted[:, 3] / 2
    linear = np.linalg.solve(precision, right)
    log_density += right @ linear / 2 - np.linalg.slogdet(precision)[1] / 2
    return float(log_density), linear
