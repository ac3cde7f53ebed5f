"""Weights of runs by which sampling coordinates of the drift keep clear of outliers."""

import numpy as np
import pytest

from bayescale.inference.model.drift_weights import weights_of_residuals

X = np.linspace(-1, 1, 40)
BASIS = np.column_stack([0.05 * X, 0.05 * X**2])
NOISE = np.random.default_rng(0).normal(0, 0.003, 40)


def test_an_outlier_hardly_counts_and_the_rest_count_alike() -> None:
    residual = BASIS @ [1.0, -1.0] + NOISE
    residual[-1] += 0.1
    weights = weights_of_residuals(residual, BASIS)
    assert weights.mean() == pytest.approx(1)
    assert weights[-1] < 0.01
    assert weights[:-1].min() > 0.2


def test_runs_that_the_drift_explains_are_no_outliers() -> None:
    """Six times the noise away from the law, and all on one curve."""
    weights = weights_of_residuals(BASIS @ [0.0, 2.0] + NOISE, BASIS)
    assert weights.min() > 0.2


def test_residuals_without_noise_are_weighted_alike() -> None:
    np.testing.assert_allclose(weights_of_residuals(np.zeros(40), BASIS), 1.0)
