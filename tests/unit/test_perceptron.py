"""Pruning in theory: perceptrons trained for real, answers known otherwise, the paper's claims."""

import json

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize, root
from scipy.special import ndtr
from support.perceptron_simulation import SETTINGS, Setting, max_margin, simulated

from bayescale.errors import ScenarioError
from bayescale.scenarios.perceptron import best_fraction, prune_perceptron, pruned_error


def in_theory(setting: Setting) -> float:
    return pruned_error(
        setting.examples_per_param,
        setting.keep,
        probe_angle=setting.probe_angle,
        kept=setting.kept,
    )


def slopes(x: np.ndarray, y: list[float]) -> np.ndarray:
    return np.diff(np.log(y)) / np.diff(np.log(x))


def named(setting: Setting) -> str:
    return "-".join(map(str, setting))


@pytest.mark.integration
@pytest.mark.parametrize("setting", SETTINGS, ids=named)
def test_perceptrons_trained_for_real_err_as_in_theory(setting: Setting) -> None:
    mean, standard_error = simulated(setting, params=200, replicates=12)
    assert abs(mean - in_theory(setting)) < 3 * standard_error


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=named)
def test_larger_perceptrons_err_as_in_theory(setting: Setting) -> None:
    mean, standard_error = simulated(setting, params=400, replicates=100)
    assert abs(mean - in_theory(setting)) < 3 * standard_error
    assert standard_error < 0.02 * mean


def test_the_simulated_student_has_the_largest_margin() -> None:
    """By hand: of (1, 1) and (1, -1) the best direction is (1, 0); (5, 0) adds nothing."""
    student = max_margin(np.array([[1.0, 1.0], [1.0, -1.0], [5.0, 0.0]]))
    np.testing.assert_allclose(student, [1, 0], atol=1e-12)


def test_all_data_follow_the_classical_equations() -> None:
    """Opper et al. 1990, in the form that integration by parts gives, by another quadrature."""

    def density(t: float) -> float:
        return float(np.exp(-t * t / 2) / np.sqrt(2 * np.pi))

    def equations(x: np.ndarray, alpha: float) -> list[float]:
        kappa, R = x
        q = np.sqrt(1 - R**2)
        missed = quad(
            lambda t: density(t) * (kappa - t) ** 2 * ndtr(t * R / q), -12, kappa, limit=200
        )[0]
        pull = quad(lambda t: density(t) * (kappa - q * t), -12, kappa / q)[0]
        return [2 * alpha * missed - q**2, alpha * np.sqrt(2 / np.pi) * pull - R]

    for alpha, start in ((0.5, (1.2, 0.5)), (2.0, (0.5, 0.8)), (8.0, (0.12, 0.97))):
        solved = root(equations, start, args=(alpha,), tol=1e-12)
        assert solved.success
        assert pruned_error(alpha) == pytest.approx(np.arccos(solved.x[1]) / np.pi, rel=1e-6)


@pytest.mark.integration
@pytest.mark.parametrize(("kept", "sign"), [("hard", 1), ("easy", -1)])
def test_training_finds_the_largest_margin_that_theory_allows(kept: str, sign: int) -> None:
    """The margin itself is maximized over students, by brute force on a fine grid."""
    alpha, cut, angle = 3.0, 0.7, np.deg2rad(25)
    steps = np.arange(0.02, 5, 0.04)
    along, across = np.meshgrid(steps, np.concatenate([-steps, steps]), indexing="ij")
    weights = 2 * np.exp(-(along**2 + across**2) / 2) / (2 * np.pi) * 0.04**2
    inside = sign * (cut - along * np.cos(angle) - across * np.sin(angle)) > 0
    along, across, weights = along[inside], across[inside], weights[inside]

    def least_violation(margin: float, R: float, S: float) -> float:
        a = margin - R * along - S * across
        second = (1 + a * a) * ndtr(a) + a * np.exp(-a * a / 2) / np.sqrt(2 * np.pi)
        return alpha * float(weights @ second) - 1

    def margin_lost(student: np.ndarray) -> float:
        margin = brentq(least_violation, -5, 30, args=tuple(student), xtol=1e-7)
        return -float(margin) / np.sqrt(1 + student @ student)

    best = minimize(margin_lost, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-3}).x
    error = np.arctan2(np.hypot(1, best[1]), best[0]) / np.pi
    keep = float(weights.sum())
    assert pruned_error(alpha, keep, probe_angle=25, kept=kept) == pytest.approx(error, rel=1e-3)


def test_random_data_give_a_power_law() -> None:
    examples = np.geomspace(100, 1e4, 5)
    errors = [pruned_error(x) for x in examples]
    np.testing.assert_allclose(slopes(examples, errors), -1, rtol=0.02)
    assert errors[-1] * examples[-1] == pytest.approx(0.5005, abs=5e-4)


def test_a_random_part_of_the_pool_is_a_smaller_pool() -> None:
    assert pruned_error(50, 0.1, kept="random") == pytest.approx(pruned_error(5), rel=1e-12)
    assert pruned_error(50, 0.1, probe_angle=30, kept="random") == pruned_error(5)


def test_keeping_everything_is_not_pruning() -> None:
    for kept in ("hard", "easy", "random"):
        assert pruned_error(4, 1.0, probe_angle=30, kept=kept) == pruned_error(4)
    for angle in (0, 30):
        nearly = pruned_error(4, 1 - 1e-7, probe_angle=angle)
        assert nearly == pytest.approx(pruned_error(4), rel=1e-5)


def test_a_probe_next_to_the_teacher_is_as_good() -> None:
    for kept in ("hard", "easy"):
        exact = pruned_error(6, 0.4, kept=kept)
        assert pruned_error(6, 0.4, probe_angle=1e-3, kept=kept) == pytest.approx(exact, rel=1e-3)


def test_no_data_teach_nothing_and_more_teach_more() -> None:
    assert pruned_error(1e-6) == pytest.approx(0.5, abs=1e-3)
    for kept, angle in (("hard", 0), ("easy", 0), ("hard", 40), ("random", 0)):
        errors = [pruned_error(x, 0.6, probe_angle=angle, kept=kept) for x in (0.3, 1, 3, 10, 30)]
        assert errors == sorted(errors, reverse=True)


def test_easy_examples_are_for_scarce_data_and_hard_ones_for_plenty() -> None:
    def ahead(examples: float, angle: float) -> float:
        hard, easy = (
            pruned_error(examples, 0.5, probe_angle=angle, kept=kept) for kept in ("hard", "easy")
        )
        return float(np.log(hard / easy))

    for angle in (0, 20):
        assert ahead(1, angle) > 0.1
        assert ahead(20, angle) < -0.1
    assert 3 < brentq(ahead, 1, 20, args=(0,)) < 6
    for kept, better in (("easy", 1), ("hard", 20)):  # than as many at random
        assert pruned_error(better, 0.5, kept=kept) < 0.8 * pruned_error(better / 2)
    assert pruned_error(1, 0.5, kept="hard") > pruned_error(0.5)


def test_hard_examples_beat_any_power_law_until_they_equal_the_pool() -> None:
    """The rarer they are, the steeper the fall with the examples trained on."""
    trained = np.array([1.0, 1.5, 1.75, 2.0, 2.25, 3.0, 5.0, 10.0, 40.0])
    steepest = []
    for keep in (0.3, 0.1, 0.01, 0.001):
        local = slopes(trained, [pruned_error(x / keep, keep) for x in trained])
        fall = int(local.argmin())
        assert (np.diff(local[: fall + 1]) < 0).all()
        assert local[-1] == pytest.approx(-1, abs=0.01)
        steepest.append(local.min())
    assert steepest == sorted(steepest, reverse=True)
    assert steepest[-1] < -25
    for keep in (0.1, 0.01, 0.001):
        assert pruned_error(5 / keep, keep) == pytest.approx(pruned_error(5 / keep), rel=0.01)


def test_the_hardest_examples_say_nothing_below_the_capacity_of_two_per_param() -> None:
    """Cover 1965: random labels, as these nearly are, can be had up to there by any student."""
    assert pruned_error(1.8e5, 1e-5) > 0.499
    assert pruned_error(2.2e5, 1e-5) < 1e-5


def test_a_perfect_probe_has_no_best_fraction() -> None:
    """Three examples per param are enough, whatever the pool: the error falls with the fraction."""
    for least in (0.1, 0.01, 0.001):
        best = best_fraction(3, least=least)
        assert (best.kept, best.fraction) == ("hard", pytest.approx(least))
        assert best.error == pytest.approx(0.1764 * least, rel=0.01)
    assert best_fraction(1, least=0.1).kept == "easy"


@pytest.mark.integration
def test_an_imperfect_probe_has_one_and_the_power_law_is_back() -> None:
    trained = np.array([10.0, 100.0, 400.0])
    best = [best_fraction(x, probe_angle=20) for x in trained]
    assert {b.kept for b in best} == {"hard"}
    assert best[-1].fraction == pytest.approx(0.30, abs=0.01)
    local = slopes(trained, [b.error for b in best])
    assert -1.2 < local[0] < local[1] < -1
    assert local[1] == pytest.approx(-1, abs=0.02)
    for b, x in zip(best, trained, strict=True):
        for other in (b.fraction * 0.9, min(1.0, b.fraction * 1.1)):
            assert b.error < pruned_error(x / other, other, probe_angle=20)
        assert b.error < 0.5 * pruned_error(x)


def test_a_student_of_easy_examples_learns_the_probe_instead() -> None:
    assert pruned_error(1e4, 0.3, probe_angle=20, kept="easy") == pytest.approx(20 / 180, rel=1e-3)


def test_hard_examples_of_a_poor_probe_mislead() -> None:
    """Kept are, in the end, only those that the probe gets wrong."""
    few, many = (pruned_error(x, 0.05, probe_angle=20) for x in (20, 2000))
    assert 0.45 < few < many < 0.5


def test_the_table_compares_with_random_and_with_all() -> None:
    result = prune_perceptron([2, 40], [0.3, 1.0], probe_angle=10)
    frame = result.to_frame()
    assert list(frame) == [
        "examples_per_param",
        "kept_fraction",
        "kept",
        "probe_angle",
        "error",
        "error_of_random",
        "error_of_all",
    ]
    assert len(frame) == 12
    for row in frame.itertuples():
        asked = (row.examples_per_param, row.kept_fraction)
        assert row.error == pruned_error(*asked, probe_angle=10, kept=row.kept)
        assert row.error_of_random == pytest.approx(pruned_error(asked[0] * asked[1]))
        assert row.error_of_all == pruned_error(row.examples_per_param)
    assert json.loads(json.dumps(result.to_json()))["points"] == frame.to_dict(orient="records")


def test_the_text_says_what_to_keep_and_what_that_saves() -> None:
    assert str(prune_perceptron([1, 30], [0.2, 0.8, 1.0])) == (
        "A perceptron, pruned by a probe 0 degrees off its teacher:\n"
        "  1 examples per param: keeping the easiest 80% leaves an error of 0.253, 12% less than "
        "as many at random; all leave 0.266\n"
        "  30 examples per param: keeping the hardest 20% leaves an error of 0.0166, 79% less than "
        "as many at random; all leave 0.0166"
    )
    assert "keeping all leaves an error of 0.0938, 0% less" in str(prune_perceptron(5, [0.1, 1.0]))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"examples_per_param": 0},
            "examples_per_param is 0, but must be finite and above zero",
        ),
        (
            {"examples_per_param": [1, np.inf]},
            "examples_per_param[1] is inf, but must be finite and above zero",
        ),
        (
            {"examples_per_param": np.nan},
            "examples_per_param is nan, but must be finite and above zero",
        ),
        ({"keep": 0}, "keep is 0, but must lie between 1e-9 and 1"),
        (
            {"keep": [0.5, 1.5]},
            "keep[1] is 1.5, but must lie between 1e-9 and 1",
        ),
        (
            {"probe_angle": 90},
            "probe_angle is 90, but must be 0, or lie from 1e-6 to below 90 degrees",
        ),
        (
            {"probe_angle": -1},
            "probe_angle is -1, but must be 0, or lie from 1e-6 to below 90 degrees",
        ),
        ({"kept": ["soft"]}, "kept is 'soft', but must be one of hard, easy, random"),
    ],
)
def test_what_cannot_be_asked(asked: dict, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        prune_perceptron(**{"examples_per_param": 1, "keep": 0.5} | asked)
    assert str(caught.value) == message


def test_equations_that_resist_are_said_to() -> None:
    with pytest.raises(ScenarioError) as caught:
        pruned_error(1e9, 1e-9, probe_angle=20)
    assert str(caught.value) == (
        "no solution was found near 5e+07 examples per param: ask for fewer, or for a larger "
        "fraction"
    )


def test_the_other_functions_refuse_likewise() -> None:
    with pytest.raises(ScenarioError, match="kept is 'soft', but must be one of"):
        pruned_error(1, 0.5, kept="soft")
    with pytest.raises(ScenarioError, match="trained_per_param is -2, but must be finite"):
        best_fraction(-2)
    with pytest.raises(ScenarioError, match="least is 2, but must lie between 1e-9 and 1"):
        best_fraction(2, least=2)
