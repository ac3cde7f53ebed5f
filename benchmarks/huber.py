"""The estimator of Hoffmann et al. 2022 (approach 3) and Besiroglu et al. 2024."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

HUBER_DELTA = 1e-3


def objective(
    theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, log_loss: np.ndarray
) -> tuple[float, np.ndarray]:
    """Sum the Huber losses of log residuals in log-sum-exp form, with the gradient."""
    terms = _terms(theta, log_n, log_d)
    predicted = np.logaddexp.reduce(terms)
    residual = log_loss - predicted
    inside = np.clip(residual, -HUBER_DELTA, HUBER_DELTA)  # the derivative of the Huber loss
    by_term = -np.exp(terms - predicted) * inside
    slopes = [*by_term, -log_n * by_term[1], -log_d * by_term[2]]
    return float((inside * (residual - inside / 2)).sum()), np.sum(slopes, axis=1)


def differentiated() -> Callable[..., tuple[float, np.ndarray]]:
    """Return the objective with an automatic gradient, as in the authors' code."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    def total(theta: Any, log_n: Any, log_d: Any, log_loss: Any) -> Any:
        e, a, b, alpha, beta = theta
        terms = anp.stack([a - alpha * log_n, b - beta * log_d, e + 0.0 * log_n])
        highest = anp.max(terms, axis=0)
        predicted = highest + anp.log(anp.sum(anp.exp(terms - highest), axis=0))
        size = anp.abs(log_loss - predicted)
        near, far = 0.5 * size**2, HUBER_DELTA * (size - 0.5 * HUBER_DELTA)
        return anp.sum(anp.where(size <= HUBER_DELTA, near, far))

    return value_and_grad(total)


def predict(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> np.ndarray:
    """Return the log loss of Chinchilla's law, shape (run,)."""
    return np.logaddexp.reduce(_terms(theta, log_n, log_d))


def bootstrap(columns: np.ndarray, resamples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Estimate from a few starting points, and bootstrap over runs, starting from the estimate.

    Parameters
    ----------
    columns : numpy.ndarray, shape (3, run)
        Logs of params, tokens and loss.
    resamples : int
    seed : int

    Returns
    -------
    numpy.ndarray, shape (5,)
        log E, log A, log B, alpha, beta.
    numpy.ndarray, shape (resample, 5)
    """
    rng = np.random.default_rng(seed)
    n = columns.shape[1]
    center = columns[:2].mean(axis=1)
    with np.errstate(all="ignore"):  # a search may overflow; it is not the best then
        fits = [_minimum(start, columns, center) for start in _starts(columns)]
        best = min(fits, key=lambda fit: fit.fun if np.isfinite(fit.fun) else np.inf).x
        again = [
            _minimum(best, columns[:, pick], center).x
            for pick in rng.integers(0, n, (resamples, n))
        ]
    return _at_one(best, center), np.array([_at_one(theta, center) for theta in again])


def _terms(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> np.ndarray:
    e, a, b, alpha, beta = theta
    return np.stack([np.full_like(log_n, e), a - alpha * log_n, b - beta * log_d])


def _minimum(start: np.ndarray, columns: np.ndarray, center: np.ndarray) -> Any:
    """Minimize by L-BFGS, with log A and log B stated at the center of the runs.

    Exponents stay within the published grid of starting points. Otherwise the best fit to a few
    runs may be a loss that grows with size.
    """
    from scipy.optimize import minimize  # here, because speed.py times imports

    log_n, log_d, log_loss = columns
    deltas = HUBER_DELTA * len(
        log_loss
    )  # unscaled, the objective is so small that the search stops

    def scaled(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, slopes = objective(theta, log_n - center[0], log_d - center[1], log_loss)
        return value / deltas, slopes / deltas

    bounds = [(None, None)] * 3 + [(0.0, 2.0)] * 2
    options = {"maxiter": 1000, "ftol": 1e-11, "gtol": 1e-7}
    return minimize(scaled, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def _at_one(theta: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return the law with A and B stated at one parameter and one token."""
    e, a, b, alpha, beta = theta
    return np.array([e, a + alpha * center[0], b + beta * center[1], alpha, beta])


def _starts(columns: np.ndarray) -> list[np.ndarray]:
    """Return laws of several shapes through the center of the runs."""
    log_loss = columns[2].mean()
    return [
        np.array(
            [
                log_loss + np.log(share),
                log_loss + np.log((1 - share) * of_params),
                log_loss + np.log((1 - share) * (1 - of_params)),
                exponent,
                exponent,
            ]
        )
        for share, of_params, exponent in product((0.3, 0.7), (0.3, 0.7), (0.3, 0.6))
    ]
