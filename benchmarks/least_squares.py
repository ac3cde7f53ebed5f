"""Scaling laws of one variable by least squares: the usual fits, done carefully.

M1 to M4 as Alabdulmohsin et al. 2022 (arXiv 2209.06640) name them, and the broken power law of
Caballero et al. 2023 (arXiv 2210.14891) with one break:

====  ==================================================
M1    y = b x^c
M2    y = e + b x^c
M3    y = b (1/x + d)^c
M4    (y - e) / (e_0 - y)^a = b x^c, solved for y
BNSL  y = e + b x^c (1 + (x/d)^(1/w))^(g w)
====  ==================================================

Given the nonlinear parameters of a law, the others follow from a linear regression. A grid over
the nonlinear parameters gives starting points. The best of these are optimized with a loss that is
robust to a few outliers: soft L1 of the residuals of log y, beyond about one percent.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import least_squares

OUTLYING = 0.01
"""Residual of log loss at which least squares turns into least absolute values."""

POLISHED = 4
"""Starting points that are optimized; the best result is kept."""

FLOORS = (0.02, 0.3, 0.5, 0.7, 0.8, 0.9, 0.96, 0.99)  # times the lowest loss
CEILINGS = (1.003, 1.02, 1.08, 1.3, 2.0)  # times the highest loss
WIDTHS = (0.1, 0.4, 1.2)  # of a break, in e-folds
BREAKS = (0.1, 0.3, 0.5, 0.7, 0.9)  # places along the range of log x
LEVELS = np.linspace(-1.5, 3.0, 16)  # of M3, in units of the range of log x
_NEWTON_STEPS = 10
_STEEP = 10.0  # ln a beyond which M4 is a switch in double precision

type Array = np.ndarray


@dataclass(frozen=True)
class Form:
    """A law: log y from parameters and t = log x minus its mean, with starting points.

    ``starts(t, y)`` yields parameters; those of the linear part come from a regression.
    """

    log_loss: Callable[[Array, Array], Array]
    starts: Callable[[Array, Array], Iterator[Array]]


def fit(name: str, x: Array, loss: Array) -> Callable[[Array], Array]:
    """Fit a law to losses at scales x, and return it as a function from scales to losses.

    Parameters
    ----------
    name : str
        One of :data:`FORMS`.
    x, loss : numpy.ndarray, shape (run,)
        Positive.
    """
    form, center = FORMS[name], np.log(x).mean()
    t, log_loss = np.log(x) - center, np.log(loss)

    def residual(parameters: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.nan_to_num(form.log_loss(parameters, t) - log_loss, nan=1e3, posinf=1e3,
                                 neginf=-1e3)  # fmt: skip

    def robust(parameters: Array) -> float:
        return float(np.sum(np.sqrt(1 + (residual(parameters) / OUTLYING) ** 2) - 1))

    starts = sorted(form.starts(t, loss), key=robust)[:POLISHED]
    polished = [_polished(residual, start) for start in starts]
    best = min([*starts, *polished], key=robust)
    return lambda x_new: np.exp(form.log_loss(best, np.log(x_new) - center))


def _polished(residual: Callable[[Array], Array], start: Array) -> Array:
    return least_squares(
        residual, start, loss="soft_l1", f_scale=OUTLYING, x_scale="jac", max_nfev=200
    ).x


def _regressed(target: Array, *columns: Array) -> Array:
    """Return regression coefficients of a constant and the columns."""
    return np.linalg.lstsq(np.column_stack([np.ones_like(target), *columns]), target)[0]


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _m1(p: Array, t: Array) -> Array:
    return p[0] + p[1] * t


def _m1_starts(t: Array, y: Array) -> Iterator[Array]:
    yield _regressed(np.log(y), t)


def _m2(p: Array, t: Array) -> Array:
    """Parameters ln b, c, ln e."""
    return np.logaddexp(p[0] + p[1] * t, p[2])


def _m2_starts(t: Array, y: Array) -> Iterator[Array]:
    for e in y.min() * np.array(FLOORS):
        yield np.array([*_regressed(np.log(y - e), t), np.log(e)])


def _m3(p: Array, t: Array) -> Array:
    """Parameters ln b, c, ln d."""
    return p[0] + p[1] * np.logaddexp(-t, p[2])


def _m3_starts(t: Array, y: Array) -> Iterator[Array]:
    for log_d in -t.min() - np.ptp(t) * LEVELS:
        yield np.array([*_regressed(np.log(y), np.logaddexp(-t, log_d)), log_d])


def _m4(p: Array, t: Array) -> Array:
    """Parameters ln b, c, ln e, ln (e_0 - e), ln a."""
    gap, a = np.exp(p[3]), np.exp(np.clip(p[4], -_STEEP, _STEEP))
    # with y = e + gap u and v = logit u, what must equal the target is convex or concave in v
    # and nearly linear away from zero: Newton's method is there in a few steps
    target = p[0] + p[1] * t + (a - 1) * p[3]
    v = np.where(target < 0, target, target / a)
    for _ in range(_NEWTON_STEPS):
        u = 1 / (1 + np.exp(-v))
        v = v - (a * _softplus(v) - _softplus(-v) - target) / (1 - u + a * u)
    return np.log(np.exp(p[2]) + gap / (1 + np.exp(-v)))


def _m4_starts(t: Array, y: Array) -> Iterator[Array]:
    for e, e_0 in product(y.min() * np.array(FLOORS), y.max() * np.array(CEILINGS)):
        b, c, a = _regressed(np.log(y - e), t, np.log(e_0 - y))
        yield np.array([b, c, np.log(e), np.log(e_0 - e), np.log(max(a, 0.05))])


def _broken(p: Array, t: Array) -> Array:
    """Parameters ln b, c, ln e, g, ln d, ln w."""
    w = np.exp(p[5])
    return np.logaddexp(p[2], p[0] + p[1] * t + p[3] * w * _softplus((t - p[4]) / w))


def _broken_starts(t: Array, y: Array) -> Iterator[Array]:
    breaks = t.min() + np.ptp(t) * np.array(BREAKS)
    for e, d, w in product(y.min() * np.array(FLOORS), breaks, WIDTHS):
        b, c, g = _regressed(np.log(y - e), t, w * _softplus((t - d) / w))
        yield np.array([b, c, np.log(e), g, d, np.log(w)])


FORMS = {
    "M1": Form(_m1, _m1_starts),
    "M2": Form(_m2, _m2_starts),
    "M3": Form(_m3, _m3_starts),
    "M4": Form(_m4, _m4_starts),
    "BNSL": Form(_broken, _broken_starts),
}
