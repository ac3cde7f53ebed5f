"""Preconditioning: modes, their mass, and coordinates scaled by the curvature there."""

import numpy as np
import pytest

from bayescale.inference.compiled.modes import MOST_FREE, WIDEST, Density, find_mode, optimized
from bayescale.inference.compiled.preconditioning import coordinate_kinds

MEAN = np.array([2.0, -1.0, 5.0])
COVARIANCE = np.array([[4.0, 1.9e-3, 0.0], [1.9e-3, 1e-6, 0.0], [0.0, 0.0, 0.25]])


def normal(mean: np.ndarray, covariance: np.ndarray) -> Density:
    precision = np.linalg.inv(covariance)

    def density(x: np.ndarray) -> tuple[float, np.ndarray]:
        pull = precision @ (x - mean)
        return -0.5 * float((x - mean) @ pull), -pull

    return density


ALL = np.ones(3, dtype=bool)


def test_a_ridge_a_thousand_times_longer_than_wide_becomes_a_ball() -> None:
    about = find_mode(normal(MEAN, COVARIANCE), np.zeros(3), ALL)
    assert about is not None
    np.testing.assert_allclose(about.point, MEAN, rtol=1e-3)
    np.testing.assert_allclose(about.root @ about.root.T, COVARIANCE, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(about.coordinates(about.point + about.root @ [1, 2, 3]), [1, 2, 3])


def test_a_search_in_scaled_coordinates_finds_the_mode_of_more_coordinates() -> None:
    """Scaled at the mode of the first two, which lies elsewhere where the third is held."""
    covariance = np.array([[4.0, 1.9e-3, 0.3], [1.9e-3, 1e-6, 0.0], [0.3, 0.0, 1.0]])
    density, first = normal(MEAN, covariance), np.array([True, True, False])
    held = find_mode(density, np.array([0.0, 0.0, 7.0]), first)
    assert held is not None
    assert abs(held.point[0] - MEAN[0]) > 0.5
    whole = find_mode(density, held.point, ALL, scaled_at=held)
    assert whole is not None
    np.testing.assert_allclose(whole.point, MEAN, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(whole.root @ whole.root.T, covariance, rtol=1e-3, atol=1e-6)


def test_what_is_held_stays_as_it_is() -> None:
    free = np.array([True, True, False])
    about = find_mode(normal(MEAN, COVARIANCE), np.array([0.0, 0.0, 7.0]), free)
    assert about is not None
    assert about.coordinates(np.array([0.0, 0.0, 7.0]))[2] == 7.0
    mode = optimized(normal(MEAN, COVARIANCE), np.array([0.0, 0.0, 7.0]), free)
    np.testing.assert_allclose(mode, [2.0, -1.0, 7.0], rtol=1e-3)


def test_a_direction_that_nothing_is_known_of_is_not_stretched_without_end() -> None:
    flat = normal(np.zeros(2), np.diag([1.0, 1e8]))
    about = find_mode(flat, np.zeros(2), np.ones(2, dtype=bool))
    assert about is not None
    assert np.linalg.svd(about.root, compute_uv=False) == pytest.approx([WIDEST, 1.0])


def test_a_narrow_and_bent_valley_is_optimized_to_its_mode() -> None:
    """With heavy tails, as the log density of Student-t noise has."""

    def density(x: np.ndarray) -> tuple[float, np.ndarray]:
        a, b = 1 - x[0], x[1] - x[0] ** 2
        inside = 1 + a**2 + 1e4 * b**2
        slope = np.array([-2 * a - 4e4 * x[0] * b, 2e4 * b])
        return -50 * float(np.log(inside)), -50 * slope / inside

    mode = optimized(density, np.array([-4.0, 6.0]), np.ones(2, dtype=bool))
    np.testing.assert_allclose(mode, [1.0, 1.0], atol=0.02)


def two_modes(lower: float) -> Density:
    """Two modes of one width, at -5 and 5, of which the second holds so much less, as a log."""

    def density(x: np.ndarray) -> tuple[float, np.ndarray]:
        parts = np.array([-((x[0] + 5) ** 2) / 2, -((x[0] - 5) ** 2) / 2 + lower])
        total = float(np.logaddexp.reduce(parts))
        slope = np.exp(parts - total) @ np.array([-(x[0] + 5), -(x[0] - 5)])
        return total, np.array([slope])

    return density


@pytest.mark.parametrize(("lower", "lost"), [(-4.0, False), (-5.0, True)])
def test_a_top_below_a_hundredth_of_the_mass_is_lost_beside_the_other(
    lower: float, lost: bool
) -> None:
    one = np.ones(1, dtype=bool)
    first, second = (find_mode(two_modes(lower), np.array([x]), one) for x in (-4.0, 4.0))
    assert first is not None
    assert second is not None
    assert first.log_mass - second.log_mass == pytest.approx(-lower, abs=1e-3)
    assert second.is_negligible_beside(first) is lost
    assert not first.is_negligible_beside(second)


def test_a_density_that_is_nowhere_is_left_alone() -> None:
    nowhere: Density = lambda x: (-np.inf, np.zeros_like(x))  # noqa: E731
    np.testing.assert_array_equal(optimized(nowhere, MEAN, ALL), MEAN)
    holes: Density = lambda x: (0.0, np.full_like(x, np.nan))  # noqa: E731
    assert find_mode(holes, MEAN, ALL) is None


def test_very_many_coordinates_are_not_turned() -> None:
    n = MOST_FREE + 1
    assert find_mode(normal(np.zeros(n), np.eye(n)), np.ones(n), np.ones(n, bool)) is None


def test_drift_is_switched_off_and_steps_stay_at_their_center() -> None:
    names = [
        "alpha_log__",
        "drift_flops_log__",
        "drift_steps_conditionalwhitening__",
        "A_spread_log__",
        "family_steps_groupedwhitening__",
    ]
    places = {name: slice(i, i + 1) for i, name in enumerate(names)}
    free, sizes, steps = coordinate_kinds(places, 5)
    assert free.tolist() == [True, False, False, True, False]
    assert sizes.tolist() == [False, True, False, False, False]
    assert steps.tolist() == [False, False, True, False, True]


def test_spreads_stay_where_terms_of_families_are_optimized() -> None:
    """The mode of both together is where all families are alike, and so of no use."""
    names = ["alpha_log__", "A_spread_log__", "log_terms_by_family_levelshares__"]
    places = {name: slice(i, i + 1) for i, name in enumerate(names)}
    free, sizes, steps = coordinate_kinds(places, 3)
    assert free.tolist() == [True, False, True]
    assert not any(sizes | steps)
