"""The benchmark of curves samples a curve, and says what it learnt on the priors' own scales."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import curves


@pytest.mark.parametrize("drift", [True, False])
def test_a_curve_is_sampled_and_forecast(drift: bool) -> None:
    x, ahead = np.geomspace(1e6, 1e8, 12), np.array([1.5e8, 2e8])
    loss, reached = (1.0 + 50 * at**-0.3 for at in (x, ahead))
    curve = curves.Curve("IC", "bird", "made up", x, loss, ahead, reached)
    card = curves.bending_card(curve)
    drawn = curves.sample_curve(curve, curves.Pass(card, drift=drift, draws=50, tune=200, thin=1))
    quantities = card.parameters if drift else card.without_drift().parameters
    assert drawn.stated.shape == (200, len(quantities))
    assert drawn.log_loss.shape == drawn.log_density.shape == (200, 2)
    assert np.isfinite(drawn.stated).all()
    assert np.abs(np.median(drawn.log_loss, axis=0) - np.log(reached)).max() < 0.05
