"""Residual noise: how a single run deviates from the law, in one form for NumPy and PyTensor.

A run's log loss is the law's log loss plus residual noise of scale ``sigma``, normal or Student-t.
In addition it may lie above the law by an ``excess``, which is exponential and as heavy-tailed as
the residual noise. The law is then the floor that well-tuned runs reach. The loss may be known only
to a step (a rounded value), and rows that are checkpoints of one run may share part of their
residual noise.

A Student-t is a normal of unknown precision. With excess, steps or a further normal variance, the
density is a sum over a few nodes of that precision (:func:`precision_nodes`). The sum is itself a
density, within about 1 % of the exact one for two or more degrees of freedom, up to fifty scales
from the law at two degrees of freedom and fifteen scales at thirty; farther out it falls faster.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayescale.laws import Law

NODES = np.linspace(-9.0, 3.6, 11)
"""Logs of the precisions that make up a Student-t, in units of sqrt(2 / nu)."""

FINE_NODES = 24

SQRT_2 = 2.0**0.5
_LOWEST = -35.0


class NumPy:
    """The functions whose names in NumPy and SciPy differ from PyTensor's."""

    where: Any = staticmethod(np.where)
    maximum: Any = staticmethod(np.maximum)

    @staticmethod
    def constant(x: Any) -> Any:
        """Return a value that a gradient takes for a constant."""
        return x

    @staticmethod
    def erfcx(x: Any) -> Any:
        """Return the complementary error function times exp(x^2)."""
        from scipy import special

        return special.erfcx(x)

    @staticmethod
    def gammaln(x: Any) -> Any:
        """Return the logarithm of the gamma function."""
        from scipy import special

        return special.gammaln(x)

    @staticmethod
    def sum_by(x: Any, index: Any) -> Any:
        """Return sums along the last axis over elements of equal index, which counts from zero."""
        order = np.argsort(index, kind="stable")
        starts = np.flatnonzero(np.diff(index[order], prepend=-1))
        return np.add.reduceat(x[..., order], starts, axis=-1)


Nodes = tuple[Any, Any]
"""Precisions of the normals that make up a Student-t, and logs of their weights, which sum to one:
arrays of shape (node, 1) or (node, run)."""


def precision_nodes(nu: Any) -> Nodes:
    """Return the nodes that the sampler uses, for nu a scalar or of shape (run,)."""
    log_precision = NODES[:, None] * np.sqrt(2.0 / nu)
    log_weight = nu / 2 * (log_precision - np.exp(log_precision))
    return np.exp(log_precision), log_weight - log_sum(log_weight)


def fine_precision_nodes(nu: np.ndarray) -> Nodes:
    """Return more nodes, at quantiles of the precision; slower, for NumPy and nu of any shape."""
    from scipy import stats

    places, weights = np.polynomial.legendre.leggauss(FINE_NODES)
    shape = (-1, *[1] * np.ndim(nu))
    precision = stats.gamma.ppf(((places + 1) / 2).reshape(shape), nu / 2) / (nu / 2)
    return precision, np.log(weights / 2).reshape(shape) + 0 * precision


def log_sum(logs: Any, times: Any = 1.0, xp: Any = NumPy) -> Any:
    """Return the logarithm of the sum of exponentials, times a factor, over the first axis."""
    top = xp.constant(logs.max(axis=0))  # it cancels out, so that it has no gradient
    return top + np.log((times * np.exp(logs - top)).sum(axis=0))


def log_density(
    deviation: Any,
    scale: Any,
    *,
    nu: Any = None,
    excess: Any = None,
    step: tuple[Any, Any] | None = None,
    variance: Any = None,
    nodes: Nodes | None = None,
    xp: Any = NumPy,
) -> Any:
    """Return the log density of a run's deviation from the law, or the log probability of its step.

    Parameters
    ----------
    deviation : array, shape (run,)
        Log loss minus the law's log loss.
    scale : array or scalar
        Scale of the residual noise.
    nu : scalar or array, optional
        Degrees of freedom; by default normal.
    excess : scalar or array, optional
        Scale of what lies above the law; by default none.
    step : pair of arrays, optional
        Ends of the step to which the loss is known, relative to the deviation. The result is then
        the log probability of the step instead of a log density.
    variance : array or scalar, optional
        Variance of a further normal deviation.
    nodes : pair of arrays, optional
        Nodes instead of those of :func:`precision_nodes`.
    xp
        The functions that :class:`NumPy` has.

    Notes
    -----
    Normal plus exponential is the exponentially modified normal (Grushka 1972).
    """
    beside = 0.0 if variance is None else variance
    if nu is None:
        return _log_density_of_normal(deviation, np.sqrt(scale**2 + beside), excess, step, xp)
    if excess is None and step is None and variance is None:
        return log_student_t((deviation / scale) ** 2, nu, xp=xp) - np.log(scale)
    precision, log_weight = nodes or precision_nodes(nu)
    sd = np.sqrt(scale**2 / precision + beside)
    excess = None if excess is None else excess / np.sqrt(precision)
    if excess is not None and step is None:  # without the log of the tail at each node
        log_factor, tail = _modified_normal(deviation, sd, excess, xp)
        return log_sum(log_factor + log_weight, tail, xp)
    return log_sum(_log_density_of_normal(deviation, sd, excess, step, xp) + log_weight, xp=xp)


def cdf(deviation: Any, scale: Any, *, nu: Any = None, excess: Any = None) -> Any:
    """Return the probability of a smaller deviation; arguments as for :func:`log_density`."""
    from scipy import special

    if excess is None:
        standard = deviation / scale
        return special.ndtr(standard) if nu is None else special.stdtr(nu, standard)
    if nu is None:
        return _cdf_with_excess(deviation, scale, excess)
    precision, log_weight = precision_nodes(nu)
    root = np.sqrt(precision)
    below = _cdf_with_excess(deviation, scale / root, excess / root)
    return (np.exp(log_weight) * below).sum(axis=0)


def _cdf_with_excess(deviation: Any, sd: Any, excess: Any) -> Any:
    from scipy import special

    above = np.exp(np.log(excess) + _log_modified_normal(deviation, sd, excess, NumPy))
    return np.clip(special.ndtr(deviation / sd) - above, 0.0, 1.0)


def _log_density_of_normal(
    deviation: Any, sd: Any, excess: Any, step: tuple[Any, Any] | None, xp: Any
) -> Any:
    """Return :func:`log_density` for normal noise of known standard deviation."""
    if step is None:
        if excess is not None:
            return _log_modified_normal(deviation, sd, excess, xp)
        return -0.5 * (deviation / sd) ** 2 - 0.5 * np.log(2 * np.pi) - np.log(sd)
    low, high = deviation + step[0], deviation + step[1]
    normal = _log_normal_between(low / sd, high / sd, xp)
    if excess is None:
        return normal
    # the probability above x is the normal's, plus the excess times the density at x
    at_low, at_high = (
        np.log(excess) + _log_modified_normal(end, sd, excess, xp) for end in (low, high)
    )
    top = xp.maximum(xp.maximum(normal, at_low), at_high)
    return top + np.log(np.exp(normal - top) + np.exp(at_low - top) - np.exp(at_high - top))


def _log_modified_normal(x: Any, sd: Any, excess: Any, xp: Any) -> Any:
    """Return the log density of a centered normal plus an exponential."""
    log_factor, tail = _modified_normal(x, sd, excess, xp)
    return log_factor + np.log(tail)


def _modified_normal(x: Any, sd: Any, excess: Any, xp: Any) -> tuple[Any, Any]:
    """Return the log of a factor of a density, and the rest: see :func:`_log_modified_normal`."""
    log_tail, tail = _scaled_tail(sd / excess - x / sd, xp)
    return log_tail - np.log(excess) - 0.5 * (x / sd) ** 2, tail


def _log_scaled_tail(z: Any, xp: Any) -> Any:
    """Return the log of a standard normal's upper tail times exp(z^2 / 2)."""
    log_factor, tail = _scaled_tail(z, xp)
    return log_factor + np.log(tail)


def _scaled_tail(z: Any, xp: Any) -> tuple[Any, Any]:
    """Return the tail of :func:`_log_scaled_tail`: the log of a factor, and the rest."""
    # if erfcx would overflow, the tail is one; neither branch may get the values of the other
    fits, shown = z > _LOWEST, xp.maximum(z, _LOWEST)
    return xp.where(fits, 0.0, z**2 / 2), xp.where(fits, xp.erfcx(shown / SQRT_2) / 2, 1.0)


def _log_normal_between(low: Any, high: Any, xp: Any) -> Any:
    """Return the log probability of a standard normal between two places."""
    # computed in the upper half, by symmetry, where the tail is small and exact
    turned = low + high < 0
    low, high = xp.where(turned, -high, low), xp.where(turned, -low, high)
    above_low, above_high = (_log_scaled_tail(z, xp) - z**2 / 2 for z in (low, high))
    return above_low + np.log(-np.expm1(above_high - above_low))


def log_density_of_checkpoints(
    deviation: Any,
    own: Any,
    shared: Any,
    members: Any,
    *,
    nu: Any = None,
    counts: Any = None,
    xp: Any = NumPy,
) -> Any:
    """Return the log density of all rows of each training run, which share part of their noise.

    Parameters
    ----------
    deviation : array, shape (..., row)
    own, shared : array, shape (..., row)
        Standard deviations of a row's own noise, and of the noise that its run's rows share;
        scalars where ``counts`` are given.
    members : array of int, shape (row,)
        The index of each row's training run, from zero.
    nu : scalar or array, optional
        Degrees of freedom, broadcast to (..., run); all rows of a run share one width.
    counts : array, shape (run,), optional
        Number of rows of each training run, if all rows have the same noise: only deviations are
        then summed over rows.

    Returns
    -------
    array, shape (..., run)
    """
    if counts is not None:
        total, squares = xp.sum_by(deviation, members), xp.sum_by(deviation**2, members)
        return log_density_of_sums(total, squares, counts, own, shared, nu=nu, xp=xp)

    def total_of(values: Any) -> Any:
        return xp.sum_by(values, members)

    pull = shared / own**2
    sums = total_of(deviation * pull), total_of((deviation / own) ** 2)
    log_volume = total_of(2 * np.log(own))
    n, together = total_of(0 * own + 1), total_of(shared * pull)
    return _log_density_of_run(sums, n, together, log_volume, nu, xp)


def log_density_of_sums(
    total: Any, squares: Any, counts: Any, own: Any, shared: Any, *, nu: Any = None, xp: Any = NumPy
) -> Any:
    """Return the log density of training runs whose rows all have the same noise.

    Parameters
    ----------
    total, squares : array, shape (..., run)
        Sums of the deviations of a training run's rows, and of their squares.
    counts : array, shape (run,)
        Rows of each training run.
    own, shared, nu
        Scalars: see :func:`log_density_of_checkpoints`.

    Returns
    -------
    array, shape (..., run)
    """
    pull = shared / own**2
    sums = pull * total, squares / own**2
    together, log_volume = counts * (shared * pull), counts * (2 * np.log(own))
    return _log_density_of_run(sums, counts, together, log_volume, nu, xp)


def _log_density_of_run(
    sums: tuple[Any, Any], n: Any, together: Any, log_volume: Any, nu: Any, xp: Any
) -> Any:
    """Return the log density of a run's rows from sums of scaled deviations and of squares."""
    alike, squares = sums
    squares = squares - alike**2 / (1 + together)
    log_volume = log_volume + np.log1p(together)
    if nu is None:
        return -0.5 * (n * np.log(2 * np.pi) + log_volume + squares)
    return log_student_t(squares, nu, n, xp) - log_volume / 2


def log_student_t(squares: Any, nu: Any, n: Any = 1, xp: Any = NumPy) -> Any:
    """Return the log density of n deviations that share a Student-t, by their sum of squares."""
    half = (nu + n) / 2
    constant = xp.gammaln(half) - xp.gammaln(nu / 2) - n / 2 * np.log(np.pi * nu)
    return constant - half * np.log1p(squares / nu)


def draw(
    rng: np.random.Generator, shape: tuple[int, ...], nu: Any = None, excess: Any = None
) -> np.ndarray:
    """Return draws of residual noise in units of its scale, with an excess in the same units.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    nu, excess : array_like, optional
        Broadcast to the shape.
    """
    if excess is None:
        return rng.standard_normal(shape) if nu is None else rng.standard_t(nu, shape)
    noise = rng.standard_normal(shape) + excess * rng.standard_exponential(shape)
    return noise if nu is None else noise / np.sqrt(rng.chisquare(nu, shape) / nu)


def draw_checkpoints(
    rng: np.random.Generator, own: Any, shared: Any, members: Any, nu: Any = None
) -> np.ndarray:
    """Return draws of the noise of all rows; see :func:`log_density_of_checkpoints`."""
    n = members.max() + 1
    noise = own * rng.standard_normal(np.shape(own)) + shared * rng.standard_normal(n)[members]
    return noise if nu is None else noise / np.sqrt(rng.chisquare(nu, n)[members] / nu)


def input_error_variance(
    law: Law,
    inputs: Mapping[str, Any],
    log_errors: Mapping[str, Any],
    coefficients: Mapping[str, Any],
) -> Any:
    """Return the variance of the law's log loss due to errors of its inputs, to first order.

    It is the square of half the difference between the law one standard error above and one below,
    summed over independent errors. This is accurate if the law is nearly straight over two standard
    errors and these are small compared with the range of the runs. The error of an input is taken
    to have the distribution of the residual noise and to leave the drift unchanged.

    Parameters
    ----------
    law : Law
    inputs : mapping of str to array
    log_errors : mapping of str to array
        Standard errors of logs of scales: of inputs, or of ``flops`` for a law of params and
        tokens, where tokens are flops / (6 params).
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
