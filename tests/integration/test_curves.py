"""The benchmark of curves samples a curve, and says what it learned on the priors' own scales."""

import sys
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

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


def test_priors_are_learned_from_other_groups_alone() -> None:
    x, groups = np.geomspace(1e6, 1e8, 12), ("bird", "bird", "c", "c")
    all_curves = [curves.Curve("IC", group, f"{i}", x, x, x, x) for i, group in enumerate(groups)]
    card = curves.bending_card(all_curves[0])
    wide, none = curves.Beliefs.of(card), np.empty((0, 0))
    noise = np.random.default_rng(0).standard_normal((4, 200, len(wide.mean)))

    def learned_without(group: str, shift_of_birds: float) -> np.ndarray:
        shifts = (shift_of_birds if of == "bird" else 0.0 for of in groups)
        stated = [wide.mean + shift + wide.sd * z for shift, z in zip(shifts, noise, strict=True)]
        sampled = [curves.Sampled(values, none, none, 1.0, 0.0) for values in stated]
        part = attrgetter("group")
        return curves.learned_without(group, part, all_curves, sampled, wide, card).mean

    np.testing.assert_array_equal(learned_without("bird", 0.0), learned_without("bird", 1.0))
    assert (learned_without("c", 0.0) != learned_without("c", 1.0)).all()
