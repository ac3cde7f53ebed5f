"""Are stated probabilities kept? Simulation-based calibration of every law, and its oracles."""

from dataclasses import replace

import numpy as np
import pytest
from support.imperfect import SECTIONS, card_with
from support.sbc import (
    DATA_SETS,
    THINNED_DRAWS,
    calibration_ranks,
    imperfect_runs,
    miscalibrated,
    simulated_runs,
    uniformity_p_value,
)

from bayescale.cards import load_card
from bayescale.inference.model.transforms import LevelAndShares
from bayescale.laws import LAWS


def normal_mean_ranks(*, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Ranks of normal means, given five numbers each, in their exact posterior or one bent."""
    rng = np.random.default_rng(11)
    mean = rng.standard_normal(DATA_SETS)
    data = mean[:, None] + rng.standard_normal((DATA_SETS, 5))
    spread = (1 + 5) ** -0.5  # of the posterior of a standard normal mean
    standard = shift + scale * rng.standard_normal((DATA_SETS, THINNED_DRAWS))
    draws = data.sum(1, keepdims=True) * spread**2 + spread * standard
    return (draws < mean[:, None]).sum(1)


def test_exact_posterior_is_found_calibrated():
    assert not miscalibrated({"mean": normal_mean_ranks()})


@pytest.mark.parametrize("wrong", [{"scale": 0.5}, {"scale": 2.0}, {"shift": 0.7}])
def test_posterior_too_narrow_too_wide_or_shifted_is_found_miscalibrated(wrong):
    assert miscalibrated({"mean": normal_mean_ranks(**wrong)})


def test_uniform_ranks_are_blamed_as_rarely_as_stated():
    rng = np.random.default_rng(12)
    ranks = rng.integers(0, THINNED_DRAWS + 1, (1000, DATA_SETS))
    p_values = np.array([uniformity_p_value(of_one) for of_one in ranks])
    for rate in (0.01, 0.05, 0.2, 0.5):
        standard_error = np.sqrt(rate * (1 - rate) / len(p_values))
        assert abs((p_values <= rate).mean() - rate) < 4 * standard_error


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("nth", "law"), [*enumerate(LAWS, start=1)])
def test_every_law_is_calibrated_on_its_own_prior(nth, law):
    assert not miscalibrated(calibration_ranks(load_card(law).without_drift(), seed=1000 * nth))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("law", ["chinchilla", "henighan_compute", "saturating_compute"])
def test_a_law_that_drifts_is_calibrated_on_its_own_prior(law):
    assert not miscalibrated(calibration_ranks(load_card(law), seed=77))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_drift_that_the_model_does_not_allow_for_is_found_miscalibrated():
    def drifting_runs(card, truth, seed):
        of_drift = {"drift_flops": 0.03}
        return simulated_runs(load_card("henighan_compute"), truth | of_drift, seed)

    exact = load_card("henighan_compute").without_drift()
    assert miscalibrated(calibration_ranks(exact, seed=77, simulator=drifting_runs))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("nth", "noise"), [*enumerate(SECTIONS, start=1)])
def test_every_noise_is_calibrated_on_its_own_prior(nth, noise):
    card = card_with(noise, card="henighan_compute").without_drift()
    assert not miscalibrated(calibration_ranks(card, seed=500 * nth, simulator=imperfect_runs))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_excess_that_the_model_does_not_allow_for_is_found_miscalibrated():
    def above_the_floor(card, truth, seed):
        return imperfect_runs(card, truth | {"excess": 0.05}, seed)

    card = card_with(card="henighan_compute").without_drift()
    assert miscalibrated(calibration_ranks(card, seed=500, simulator=above_the_floor))


def with_twice_the_noise(card, truth, seed):
    return simulated_runs(card, truth | {"sigma": 2 * truth["sigma"]}, seed)


def with_three_times_the_tokens_stated(card, truth, seed):
    runs = simulated_runs(card, truth, seed)
    return replace(runs, frame=runs.frame.assign(tokens=3 * runs["tokens"]), _arrays={})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("simulator", [with_twice_the_noise, with_three_times_the_tokens_stated])
def test_data_that_the_model_does_not_describe_is_found_miscalibrated(simulator):
    card = load_card("chinchilla").without_drift()
    assert miscalibrated(calibration_ranks(card, seed=1000, simulator=simulator))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("law", ["experts", "vocabulary", "chinchilla_outer"])
def test_noise_that_is_twice_what_is_stated_is_found_miscalibrated(law):
    card = load_card(law).without_drift()
    assert miscalibrated(calibration_ranks(card, seed=1000, simulator=with_twice_the_noise))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_change_of_coordinates_with_a_wrong_jacobian_is_found_miscalibrated(monkeypatch):
    monkeypatch.setattr(LevelAndShares, "log_jac_det", lambda self, value, *inputs: value[1:].sum())
    card = load_card("chinchilla").without_drift()
    afresh = card.model_copy(update={"title": "compiled with the wrong Jacobian"})
    assert miscalibrated(calibration_ranks(afresh, seed=1000))
