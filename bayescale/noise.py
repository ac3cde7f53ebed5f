"""How one run scatters about the law: densities that NumPy and PyTensor share.

A run's log loss is the law's plus scatter of scale ``sigma``, normal or Student-t. Beyond
that it may lie above the law by an ``excess``, which is then exponential of that scale and as
heavy-tailed as the scatter: the law is the floor that well-tuned runs reach. It may be known
to a step only, and rows that are checkpoints of one run may share part of their scatter.

A Student-t is a normal of unknown width; with excess or steps that width is summed over a few
nodes (:data:`PLACES`). That is itself a density, within about 1 % of the exact one for two or more
degrees of freedom: as far out as fifty scales at two of them and fifteen at thirty, whence it
falls faster.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayescale.laws import Law

PLACES = np.linspace(-9.0, 3.6, 11)
"""Logs of the precisions that make up a Student-t, in units of sqrt(2 / nu)."""

SQRT_2 = 2.0**0.5
_LOWEST = -35.0


class NumPy:
    """The functions that NumPy spells otherwise than PyTensor does."""

    where: Any = staticmethod(np.where)
    maximum: Any = staticmethod(np.maximum)

    @staticmethod
    def erfcx(x: Any) -> Any:
        """The complementary error function times exp(x^2)."""
        from scipy import special

        return special.erfcx(x)

    @staticmethod
    def gammaln(x: Any) -> Any:
        """The logarithm of the gamma function."""
        from scipy import special

        return special.gammaln(x)

    @staticmethod
    def sum_by(x: Any, index: Any) -> Any:
        """Sums along the last axis over those of equal index, which counts from zero."""
        order = np.argsort(index, kind="stable")
        starts = np.flatnonzero(np.diff(index[order], prepend=-1))
        return np.add.reduceat(x[..., order], starts, axis=-1)


def widths(nu: Any) -> tuple[Any, Any]:
    """Precisions of the normals that make up a Student-t, and logs of their weights.

    Parameters
    ----------
    nu : scalar, or array of shape (run,)

    Returns
    -------
    precision, log_weight : array, shape (node, 1) or (node, run)
        The weights have sum one.
    """
    log_precision = PLACES[:, None] * np.sqrt(2.0 / nu)
    log_weight = nu / 2 * (log_precision - np.exp(log_precision))
    return np.exp(log_precision), log_weight - log_sum(log_weight)


def log_sum(logs: Any) -> Any:
    """The logarithm of the sum of exponentials over the first axis."""
    top = logs.max(axis=0)
    return top + np.log(np.exp(logs - top).sum(axis=0))


def log_density(
    deviation: Any,
    scale: Any,
    *,
    nu: Any = None,
    excess: Any = None,
    step: tuple[Any, Any] | None = None,
    blurred: Any = 0.0,
    xp: Any = NumPy,
) -> Any:
    """Log density of a run's deviation from the law, or log probability of its step.

    Parameters
    ----------
    deviation : array, shape (run,)
        Log loss minus the law's.
    scale : array or scalar
        Of the scatter.
    nu : scalar or array, optional
        Degrees of freedom; normal where not given.
    excess : scalar or array, optional
        Scale of what lies above the law; none where not given.
    step : pair of arrays, optional
        Where the loss is known to a step only: its ends, relative to the deviation. The
        probability of the step is given in place of a density.
    blurred : array or scalar
        Variance of normal deviations beside the scatter.
    xp
        Where ``erfcx``, ``where`` and ``maximum`` come from.

    Notes
    -----
    Normal plus exponential is the exponentially modified normal (Grushka 1972).
    """
    if nu is None:
        return _log_of_width(deviation, np.sqrt(scale**2 + blurred), excess, step, xp)
    precision, log_weight = widths(nu)
    sd = np.sqrt(scale**2 / precision + blurred)
    excess = None if excess is None else excess / np.sqrt(precision)
    return log_sum(_log_of_width(deviation, sd, excess, step, xp) + log_weight)


def cdf(deviation: Any, scale: Any, *, nu: Any = None, excess: Any) -> Any:
    """Probability of a smaller deviation, where there is an excess; as :func:`log_density`."""
    if nu is None:
        return _below(deviation, scale, excess)
    precision, log_weight = widths(nu)
    root = np.sqrt(precision)
    return (np.exp(log_weight) * _below(deviation, scale / root, excess / root)).sum(axis=0)


def _below(deviation: Any, sd: Any, excess: Any) -> Any:
    from scipy import special

    above = np.exp(np.log(excess) + _log_modified_normal(deviation, sd, excess, NumPy))
    return np.clip(special.ndtr(deviation / sd) - above, 0.0, 1.0)


def _log_of_width(
    deviation: Any, sd: Any, excess: Any, step: tuple[Any, Any] | None, xp: Any
) -> Any:
    """The same for normal scatter of known width."""
    if step is None:
        if excess is not None:
            return _log_modified_normal(deviation, sd, excess, xp)
        return -0.5 * (deviation / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
    low, high = deviation + step[0], deviation + step[1]
    normal = _log_normal_between(low / sd, high / sd, xp)
    if excess is None:
        return normal
    # above x: the normal's share, and the excess times the density at x
    at_low, at_high = (
        np.log(excess) + _log_modified_normal(end, sd, excess, xp) for end in (low, high)
    )
    top = xp.maximum(xp.maximum(normal, at_low), at_high)
    return top + np.log(np.exp(normal - top) + np.exp(at_low - top) - np.exp(at_high - top))


def _log_modified_normal(x: Any, sd: Any, excess: Any, xp: Any) -> Any:
    """Log density of a centerd normal plus an exponential."""
    return -np.log(excess) - 0.5 * (x / sd) ** 2 + _log_scaled_tail(sd / excess - x / sd, xp)


def _log_scaled_tail(z: Any, xp: Any) -> Any:
    """Log of a standard normal's upper tail times exp(z^2 / 2)."""
    # where erfcx would overflow the tail is one; neither branch may see what the other is for
    shown = xp.maximum(z, _LOWEST)
    return xp.where(z > _LOWEST, np.log(xp.erfcx(shown / SQRT_2) / 2), z**2 / 2)


def _log_normal_between(low: Any, high: Any, xp: Any) -> Any:
    """Log probability of a standard normal between two places."""
    # the same by symmetry, in the upper half, where the tail is small and exact
    turned = low + high < 0
    low, high = xp.where(turned, -high, low), xp.where(turned, -low, high)
    above_low, above_high = (_log_scaled_tail(z, xp) - z**2 / 2 for z in (low, high))
    return above_low + np.log(-np.expm1(above_high - above_low))


def log_density_together(
    deviation: Any, own: Any, shared: Any, members: Any, *, nu: Any = None, xp: Any = NumPy
) -> Any:
    """Log density of all rows of each training run, which share part of their scatter.

    Parameters
    ----------
    deviation : array, shape (..., row)
    own, shared : array, shape (..., row)
        Standard deviations of what is a row's own, and of what its run's rows have in common.
    members : array of int, shape (row,)
        Which training run a row is of, counted from zero.
    nu : scalar or array, optional
        Degrees of freedom, broadcast to (..., run): the rows of a run are then off together.

    Returns
    -------
    array, shape (..., run)
    """
    pull = shared / own**2
    together = xp.sum_by(shared * pull, members)
    alike = xp.sum_by(deviation * pull, members)
    squares = xp.sum_by((deviation / own) ** 2, members) - alike**2 / (1 + together)
    log_volume = xp.sum_by(2 * np.log(own), members) + np.log1p(together)
    n = xp.sum_by(0 * own + 1, members)
    if nu is None:
        return -0.5 * (n * np.log(2 * np.pi) + log_volume + squares)
    return log_student_t(squares, nu, n, xp) - log_volume / 2


def log_student_t(squares: Any, nu: Any, n: Any = 1, xp: Any = NumPy) -> Any:
    """Log density of n deviations that are Student-t together, by the sum of their squares."""
    half = (nu + n) / 2
    constant = xp.gammaln(half) - xp.gammaln(nu / 2) - n / 2 * np.log(np.pi * nu)
    return constant - half * np.log1p(squares / nu)


def draw(
    rng: np.random.Generator, shape: tuple[int, ...], nu: Any = None, excess: Any = None
) -> np.ndarray:
    """Scatter in units of its scale, with an excess in the same units.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    nu, excess : array_like, optional
        Broadcast to the shape.
    """
    if excess is None:
        return rng.standard_normal(shape) if nu is None else rng.standard_t(nu, shape)
    scatter = rng.standard_normal(shape) + excess * rng.standard_exponential(shape)
    return scatter if nu is None else scatter / np.sqrt(rng.chisquare(nu, shape) / nu)


def input_spread(
    law: Law,
    inputs: Mapping[str, Any],
    log_errors: Mapping[str, Any],
    coefficients: Mapping[str, Any],
) -> Any:
    """Variance of the law's log loss for errors of its inputs, to first order.

    Half the way from the law one standard error below to the law one above, squared and
    summed over independent errors. Good where the law is nearly straight over two standard
    errors and these are small beside the range of the runs; the error of an input is taken to
    scatter as the run does, and to move no drift.

    Parameters
    ----------
    law : Law
    inputs : mapping of str to array
    log_errors : mapping of str to array
        Standard errors of logs of scales: of inputs, or of ``flops`` for a law of params and
        tokens, which were then found as flops / (6 params).
    coefficients : mapping of str to array
    """
    variance: Any = 0.0
    for scale, error in log_errors.items():
        below, above = (
            np.log(law.loss(**_moved(inputs, scale, way * error, log_errors), **coefficients))
            for way in (-1.0, 1.0)
        )
        variance = variance + ((above - below) / 2) ** 2
    return variance


def _moved(
    inputs: Mapping[str, Any], scale: str, by: Any, log_errors: Mapping[str, Any]
) -> dict[str, Any]:
    moved, times = dict(inputs), np.exp(by)
    if scale in inputs:
        moved[scale] = inputs[scale] * times
    if "flops" in log_errors and "flops" not in inputs:
        tokens = inputs["tokens"]
        moved["tokens"] = tokens * times if scale == "flops" else tokens / times
    return moved
