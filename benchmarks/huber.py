"""The estimator of Hoffmann et al. 2022 (approach 3) and Besiroglu et al. 2024."""

import numpy as np

HUBER_DELTA = 1e-3


def objective(
    theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, log_loss: np.ndarray
) -> tuple[float, np.ndarray]:
    """Sum of Huber losses of the log residuals in log-sum-exp form, and its gradient."""
    e, a, b, alpha, beta = theta
    terms = np.stack([np.full_like(log_n, e), a - alpha * log_n, b - beta * log_d])
    predicted = np.logaddexp.reduce(terms)
    residual = log_loss - predicted
    inside = np.clip(residual, -HUBER_DELTA, HUBER_DELTA)  # the derivative of the Huber loss
    by_term = -np.exp(terms - predicted) * inside
    slopes = [*by_term, -log_n * by_term[1], -log_d * by_term[2]]
    return float((inside * (residual - inside / 2)).sum()), np.sum(slopes, axis=1)
