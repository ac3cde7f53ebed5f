"""Scores against closed forms and answers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from bayescale.validation.scores import (
    central_interval,
    covered,
    crps,
    half_width,
    limited,
    log_mixture,
    log_predictive,
    mixed,
    msce,
    pit,
    rmsle,
    thinned,
)

N = 20_001


def normal_draws(mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    """A sample without Monte Carlo error: evenly spaced quantiles."""
    return stats.norm.ppf((np.arange(N) + 0.5) / N, mean, sd)


@pytest.mark.parametrize("observed", [-1.5, 0.0, 0.3, 4.0])
def test_crps_of_a_normal(observed: float) -> None:
    """Gneiting and Raftery 2007, eq. 5: sd (z (2 Phi - 1) + 2 phi - 1/sqrt(pi))."""
    z = (observed - 1) / 2
    expected = 2 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert crps(normal_draws(1, 2), observed) == pytest.approx(expected, abs=2e-4)


def test_crps_is_that_of_all_pairs_and_does_not_depend_on_order(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(7, 3)), rng.normal(size=3)
    pairs = [abs(x[i] - x[j]) for i in range(7) for j in range(7) if i != j]
    expected = abs(x - y).mean(axis=0) - np.mean(pairs, axis=0) / 2
    np.testing.assert_allclose(crps(x, y), expected)
    np.testing.assert_allclose(crps(x[::-1], y), expected)


def test_crps_is_fair_to_few_draws(rng: np.random.Generator) -> None:
    """Three draws score on average as infinitely many do: 2 phi(0) - 1/sqrt(pi) at the median."""
    scores = crps(rng.normal(size=(3, 200_000)), np.zeros(200_000))
    error = scores.std() / np.sqrt(scores.size)
    assert scores.mean() == pytest.approx(0.23370, abs=4 * error)
    with pytest.raises(ValueError, match="needs at least two draws, and there is 1"):
        crps([1.0], 1.0)


def test_endless_draws_score_so_unless_limited() -> None:
    draws = np.append(normal_draws(), [np.inf, -np.inf])
    assert crps(draws, 0.0) == np.inf
    assert crps(limited(draws), 0.0) == pytest.approx(0.2337, abs=3e-3)
    assert limited(np.arange(1001.0), 0.9)[[0, 500, -1]].tolist() == [50, 500, 950]


def test_intervals_are_central() -> None:
    draws = np.arange(101.0)
    assert central_interval(draws, 0.9) == pytest.approx((5, 95))
    assert half_width(draws, 0.5) == pytest.approx(25)
    assert covered(draws[:, None], np.array([4.9, 5.0, 95.0, 95.1]), 0.9).tolist() == [
        False, True, True, False,
    ]  # fmt: skip


def test_rmsle_is_of_logs() -> None:
    assert rmsle([1.0, np.e], [1.0, 1.0]) == pytest.approx(np.sqrt(0.5))


def test_log_predictive_is_the_log_of_the_mean_density() -> None:
    densities = np.array([[0.1, 1e-300], [0.3, 3e-300]])
    np.testing.assert_allclose(log_predictive(np.log(densities)), np.log([0.2, 2e-300]))
    assert log_predictive([[-2000.0], [-2000.0]]) == pytest.approx(-2000)  # no underflow
    assert log_predictive([[-np.inf], [-np.inf]]) == -np.inf


def test_a_mixture_weighs_densities() -> None:
    parts = np.log([[0.2, 0.5], [0.6, 0.1]])
    np.testing.assert_allclose(log_mixture(parts, [0.25, 0.75]), np.log([0.5, 0.2]))
    np.testing.assert_allclose(log_mixture(parts, [1.0, 0.0]), parts[0])


def test_msce_at_its_levels() -> None:
    """Half at the median and half outside everything: coverage is 0.5 at each level."""
    off = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.49])
    assert msce([0.5, 1.0]) == pytest.approx((off**2).mean())
    assert msce((np.arange(10_000) + 0.5) / 10_000) == pytest.approx(0, abs=1e-8)
    assert pit(np.array([1.0, 2.0, 3.0, 4.0]), 2.0) == 0.5


def test_draws_mix_in_proportion() -> None:
    parts = [np.zeros(900), np.ones(900)]
    assert mixed(parts, [1 / 3, 2 / 3]).mean() == pytest.approx(2 / 3, abs=1e-3)
    assert len(mixed(parts, [1 / 3, 2 / 3])) == 1350
    assert mixed(parts, [0.0, 1.0]).tolist() == [1.0] * 900
    assert thinned(np.arange(1001), 11).tolist() == list(range(0, 1001, 100))
    assert thinned(np.arange(3), 11).tolist() == [0, 1, 2]
