"""Are forecasts and splits of the default law calibrated under its own drift?"""

import numpy as np
import pytest
from support.sbc import miscalibrated
from support.sbc_drift import clean, fading_slope, ranks_of_worlds, walk, without_tilt

from bayescale.cards import load_card
from bayescale.posterior import View

CARD = load_card("unified")

WORLDS = 160
"""Enough to find the controls; a fit of thirty runs takes five seconds on a core, or a minute."""


def test_the_covariance_of_a_fading_slope_is_that_of_its_steps() -> None:
    """Summed over many short steps, each of which bends the walk and fades."""
    gap, over, at = 1e-3, 4.0, np.array([0.5, 2.0, 7.0])
    start = np.arange(0.0, 7.0, gap) + gap / 2
    bend = over * -np.expm1(-np.clip(at[:, None] - start, 0, None) / over) * np.sqrt(gap)
    np.testing.assert_allclose(fading_slope(at[:, None], at, over), bend @ bend.T, rtol=1e-3)


def test_both_sides_of_a_walk_are_apart_and_begin_at_zero() -> None:
    at, rng = np.array([-2.0, 0.0, 1.0, 2.0]), np.random.default_rng(0)
    walks = np.array([walk(at, np.minimum, rng) for _ in range(4000)])
    expected = np.array([[2.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 2]])
    np.testing.assert_allclose(np.cov(walks.T), expected, atol=0.15)


@pytest.mark.slow
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("card", [CARD, clean(CARD)], ids=["default", "clean runs"])
def test_forecasts_and_splits_are_calibrated(card) -> None:
    assert not miscalibrated(ranks_of_worlds(card, card, WORLDS, seed=31))


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_a_model_without_the_tilt_is_found_miscalibrated() -> None:
    card = clean(CARD)
    assert miscalibrated(ranks_of_worlds(card, without_tilt(card), WORLDS, seed=31))


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_splits_without_the_walks_are_found_miscalibrated() -> None:
    card = clean(CARD)
    ranks = ranks_of_worlds(card, card, WORLDS, seed=31, of_splits=View.without_walk)
    assert "best_params" in miscalibrated(ranks)
