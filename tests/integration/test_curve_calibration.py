"""Simulation-based calibration of the curve's law: final losses rank uniformly."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from bayescale.curves.card import CurvePrior, load_curve_prior
from bayescale.curves.condition import Observed, condition, reference_of, sample_shapes
from bayescale.curves.law import Shapes, features, joint_normal
from bayescale.curves.named import named_schedule

pytestmark = pytest.mark.integration

WORLDS, SCALE, NOISE, LAST = 150, 3.3, 0.0015, 40_000
TRUTH, POWERS = (
    replace(load_curve_prior(law), level=(2.9, 0.5)) for law in ("annealing", "multi_power")
)
KINDS = ("cosine", "wsd", "constant")


def world(seed: int, share: float, truth: CurvePrior) -> tuple[object, Observed, float]:
    """Draw a curve from the prior by its joint covariance; return its first part and its end."""
    rng, schedule = np.random.default_rng(seed), named_schedule(KINDS[seed % 3], LAST, warm_up=800)
    shape = Shapes.of(rng.normal(*truth.shape.T)[None, :])
    steps = np.append(np.geomspace(0.03 * LAST, share * LAST, 24), LAST)
    reference = reference_of(schedule, truth, shape)
    mean, total = joint_normal(features(schedule, steps, shape), shape, truth, reference, SCALE)
    values = rng.multivariate_normal(mean[0], total[0])
    seen = values[:-1] + NOISE * rng.standard_normal(24)
    return schedule, Observed(steps[:-1], seen, np.full(24, NOISE), SCALE), float(values[-1])


def ranks(prior: CurvePrior, share: float, truth: CurvePrior = TRUTH) -> np.ndarray:
    found = []
    for seed in range(WORLDS):
        schedule, seen, end = world(seed, share, truth)
        rng = np.random.default_rng(seed + 10_000)
        sampled = sample_shapes(schedule, seen, prior, rng)
        drawn = condition(schedule, seen, np.array([float(LAST)]), prior, sampled).draw(400, rng)
        found.append((drawn[:, 0] < end).mean())
    return np.array(found)


@pytest.mark.parametrize("truth", [TRUTH, POWERS], ids=["annealing", "multi_power"])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_final_losses_rank_uniformly_among_their_draws(share: float, truth: CurvePrior) -> None:
    assert kstest(ranks(truth, share, truth), "uniform").pvalue > 0.01


def test_independent_noise_is_told_apart() -> None:
    """Without the discrepancy along the curve, ends lie far out among the draws."""
    wrong = replace(TRUTH, wander=1e-6, annealing=1e-6)
    found = ranks(wrong, 0.6)
    assert kstest(found, "uniform").pvalue < 1e-6
    assert ((found < 0.05) | (found > 0.95)).mean() > 0.3
