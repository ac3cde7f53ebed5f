"""Loss curves: schedules, progress and annealing by hand, and the curve's posterior."""

import numpy as np
import pandas as pd
import pytest

from bayescale.curves.card import load_curve_prior
from bayescale.curves.condition import Observed, condition, sample_shapes
from bayescale.curves.course import course, look_steps
from bayescale.curves.finished import read_finished
from bayescale.curves.law import Shapes, design, features
from bayescale.curves.learned import Finished, learned_prior
from bayescale.curves.named import from_here, named_schedule
from bayescale.curves.schedule import Schedule
from bayescale.errors import DecisionError, RunLogError

ONE = np.array([1.0])


def table(steps: list[float], rates: list[float]) -> Schedule:
    return Schedule.from_table(np.array(steps), np.array(rates), "plan.csv")


# schedules


def test_progress_of_a_warm_up_is_half_its_steps_when_rates_count_in_full() -> None:
    schedule = table([0, 100, 1100], [0, 2e-3, 2e-3])
    assert schedule.warm_up == 100
    assert schedule.progress(np.array([100.0, 1100.0]), ONE)[0] == pytest.approx([50, 1050])
    # the integral of (u / 100)^0.5 over 100 steps is 200 / 3
    half = schedule.progress(np.array([100.0]), np.array([0.5]))[0]
    assert half == pytest.approx([200 / 3])


def test_progress_at_a_tenth_of_the_rate_goes_at_the_power_of_a_tenth() -> None:
    schedule = table([0, 10, 1000, 1000, 2000], [0, 1, 1, 0.1, 0.1])
    powers = np.array([1.0, 0.5])
    at = schedule.progress(np.array([1000.0, 2000.0]), powers)
    assert (at[:, 1] - at[:, 0]) == pytest.approx([100, 1000 * 10**-0.5])


def test_a_jump_takes_effect_exponentially() -> None:
    schedule = table([0, 10, 1000, 1000, 3000], [0, 1, 1, 0.25, 0.25])
    steps = np.array([500.0, 1000.0, 1200.0, 3000.0])
    found = schedule.annealed(steps, np.array([200.0]))[0]
    by_hand = 0.75 * (1 - np.exp(-np.array([0.0, 0.0, 200.0, 2000.0]) / 200))
    assert found == pytest.approx(by_hand, abs=1e-12)


def test_a_linear_fall_takes_effect_as_its_integral_says() -> None:
    schedule = table([0, 10, 1000, 2000], [0, 1, 1, 0])
    t, delay = 1600.0, 300.0
    # falls of 1/1000 a step at u from 1000 to t, each (1 - exp(-(t - u) / delay)) in effect
    by_hand = (600 - delay * (1 - np.exp(-600 / delay))) / 1000
    assert schedule.annealed(np.array([t]), np.array([delay]))[0] == pytest.approx([by_hand])


def test_a_jump_takes_effect_by_powers() -> None:
    """200 steps at 0.25 are 50; over 0.25^0.5 and 20 steps 5; and 0.75 (1 - 6^-1) is 0.625."""
    schedule = table([0, 10, 1000, 1000, 3000], [0, 1, 1, 0.25, 0.25])
    steps, one = np.array([500.0, 1000.0, 1200.0]), np.array([1.0])
    found = schedule.annealed_by_powers(steps, np.array([20.0]), one, np.array([0.5]))
    assert found[0] == pytest.approx([0, 0, 0.625])


def test_a_linear_fall_takes_effect_by_powers_as_its_integral_says() -> None:
    schedule = table([0, 10, 1000, 2000], [0, 1, 1, 0])
    fallen = np.linspace(0.0, 1.0, 200_001)  # the rate falls by as much from step 1000
    since = 1000 * ((1 - fallen) ** 2 - (1 - 0.8) ** 2) / 2
    x = since / 30 / np.maximum(1 - fallen, 1e-9) ** 0.6
    by_hand = np.where(fallen <= 0.8, 1 - (1 + np.maximum(x, 0)) ** -0.6, 0.0).mean()
    powers = np.array([30.0]), np.array([0.6]), np.array([0.6])
    found = schedule.annealed_by_powers(np.array([1800.0]), *powers)
    assert found[0] == pytest.approx([by_hand], abs=1e-3)


def test_a_dense_table_keeps_few_knots_and_its_rates() -> None:
    steps = np.arange(0.0, 10_001.0)
    rates = 3e-4 * np.minimum(steps / 500, 1.0) * (1 + np.cos(np.pi * steps / 10_000)) / 2
    schedule = Schedule.from_table(steps, rates, "dense")
    assert len(schedule.steps) < 60
    assert np.abs(schedule.rate(steps) - rates).max() <= 1.1e-3 * rates.max()


def test_a_change_between_neighboring_rows_is_a_jump_where_the_rate_is_flat_on_both_sides() -> None:
    steps = np.arange(100.0, 20_001.0, 100)
    logged = table(list(steps), list(np.where(steps < 8000, 3e-4, 3e-5)))
    at = np.array([7950.0, 7999.0, 8000.0, 8100.0])
    assert logged.rate(at) == pytest.approx([3e-4, 3e-4, 3e-5, 3e-5])
    falling = table(list(steps), list(np.where(steps < 8000, 3e-4, 3e-4 - 1e-8 * (steps - 7900))))
    assert falling.rate(np.array([7950.0])) == pytest.approx([2.995e-4], rel=1e-3)
    decay = table([0, 100, 9000, 10_000, 12_000], [0, 1, 1, 0.1, 0.1])
    assert decay.rate(np.array([9500.0])) == pytest.approx([0.55])


def test_a_table_that_begins_late_is_given_a_linear_warm_up() -> None:
    schedule = table([2000, 10_000], [1e-3, 1e-3])
    assert schedule.warm_up == 2000
    assert schedule.rate(np.array([1000.0])) == pytest.approx([5e-4])


@pytest.mark.parametrize(
    ("steps", "rates", "message"),
    [
        ([0, 20, 10], [1, 1, 1], "row 3 has 10"),
        ([0, 10], [0, 0], "some above zero, but all are zero"),
        ([0, 10], [1, -1], "zero or more, some above zero, but row 2 has -1"),
        ([0], [1], "1 row: give at least 2"),
        ([0, np.nan], [1, 1], "must be finite, but row 2 has step nan and rate 1"),
    ],
)
def test_what_is_no_schedule_is_refused(
    steps: list[float], rates: list[float], message: str
) -> None:
    with pytest.raises(RunLogError, match=message):
        table(steps, rates)


def test_named_schedules_end_where_and_as_they_say() -> None:
    cosine = named_schedule("cosine", 1000, peak=2e-4, warm_up=100)
    assert cosine.rate(np.array([50.0, 100.0, 550.0, 1000.0])) == pytest.approx(
        [1e-4, 2e-4, 1.1e-4, 2e-5], rel=2e-3
    )
    wsd = named_schedule("wsd", 1000, warm_up=100, decay_from=600, final_share=0.0)
    assert wsd.rate(np.array([600.0, 800.0, 1000.0])) == pytest.approx([1, 0.5, 0])
    with pytest.raises(RunLogError, match=r"'cosin' is unknown.*constant, cosine"):
        named_schedule("cosin", 1000)
    with pytest.raises(RunLogError, match="in this order"):
        named_schedule("wsd", 1000, warm_up=900, decay_from=600)


def test_another_way_to_go_on_shares_the_past() -> None:
    plan = named_schedule("cosine", 1000, warm_up=100)
    other = from_here("linear", plan, 500, 700)
    before, power = np.array([200.0, 500.0]), np.array([0.5])
    np.testing.assert_allclose(other.progress(before, power), plan.progress(before, power))
    assert other.rate(np.array([700.0])) == pytest.approx([0.1])
    with pytest.raises(RunLogError, match="at step 500, so it cannot end at 400"):
        from_here("linear", plan, 500, 400)


# the posterior of a curve

PRIOR = load_curve_prior()
POWERS = load_curve_prior("multi_power")
TRUTH = Shapes(np.array([0.5]), np.array([0.52]), np.array([250.0]))


def losses(schedule: Schedule, steps: np.ndarray, level: float = 2.7) -> np.ndarray:
    reference = np.log(schedule.progress(np.array([schedule.last_step]), TRUTH.kp))[:, 0]
    x = design(features(schedule, steps, TRUTH), TRUTH, reference)[0]
    return x @ [level, 0.2, 0.11]


def seen(schedule: Schedule, until: float, losses_of: np.ndarray | None = None) -> Observed:
    steps = np.geomspace(0.04 * schedule.last_step, until, 24)
    values = losses(schedule, steps) if losses_of is None else losses_of
    return Observed(steps, values, np.full(24, 0.0015), 3.0)


def final(schedule: Schedule, observed: Observed, prior=PRIOR) -> np.ndarray:
    rng = np.random.default_rng(0)
    sampled = sample_shapes(schedule, observed, prior, rng)
    end = np.array([schedule.last_step])
    return condition(schedule, observed, end, prior, sampled).draw(4000, rng)[:, 0]


def test_the_multi_power_law_finds_its_own_end_and_exponent() -> None:
    """Losses before and after half of a WSD decay, of the law with powers 0.59 and 0.64."""
    truth = Shapes.of(np.array([[0.5, 0.52, np.log(8.0), 0.59, 0.64]]))
    schedule = named_schedule("wsd", 50_000, warm_up=1000)
    reference = np.log(schedule.progress(np.array([50_000.0]), truth.kp))[:, 0]
    steps = np.append(np.geomspace(2000, 45_000, 24), 50_000)
    values = design(features(schedule, steps, truth), truth, reference)[0] @ [2.7, 0.2, 0.12]
    observed = Observed(steps[:-1], values[:-1], np.full(24, 0.0015), 3.0)
    low, high = np.quantile(final(schedule, observed, POWERS), [0.05, 0.95])
    assert low < values[-1] < high
    assert high - low < 0.05
    sampled = sample_shapes(schedule, observed, POWERS, np.random.default_rng(0))
    assert np.exp(sampled.log_weight) @ sampled.shapes.alpha == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("law", [None, "power", "Annealing"])
def test_laws_of_a_curve_that_do_not_exist_are_refused(law: str) -> None:
    with pytest.raises(DecisionError, match="must be annealing or multi_power"):
        load_curve_prior(law)


@pytest.mark.parametrize("kind", ["cosine", "wsd", "constant"])
def test_the_end_of_a_curve_of_the_law_lies_within_its_interval(kind: str) -> None:
    schedule = named_schedule(kind, 50_000, warm_up=1000)
    truth = losses(schedule, np.array([50_000.0]))[0]
    widths = []
    for share in (0.2, 0.5, 0.9):
        low, high = np.quantile(final(schedule, seen(schedule, share * 50_000)), [0.05, 0.95])
        assert low < truth < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_a_decay_that_is_ignored_puts_the_end_too_high() -> None:
    """The loss of a WSD run before its decay, forecast as if the rate stayed."""
    wsd, constant = (named_schedule(k, 50_000, warm_up=1000) for k in ("wsd", "constant"))
    truth = losses(wsd, np.array([50_000.0]))[0]
    observed = seen(wsd, 35_000)
    assert np.quantile(final(constant, observed), 0.05) > truth
    assert np.quantile(final(wsd, observed), 0.05) < truth


def test_levels_and_units_do_not_matter() -> None:
    schedule = named_schedule("cosine", 50_000, warm_up=1000)
    nats = seen(schedule, 25_000)
    bits = Observed(nats.steps, nats.losses / np.log(2), nats.noise / np.log(2), 3 / np.log(2))
    np.testing.assert_allclose(final(schedule, bits) * np.log(2), final(schedule, nats), rtol=1e-6)


def test_finished_runs_of_the_recipe_narrow_the_end() -> None:
    runs = []
    for kind in ("cosine", "constant", "wsd"):
        schedule = named_schedule(kind, 50_000, warm_up=1000)
        runs.append(Finished(schedule, seen(schedule, 50_000), 1e8))
    learned = learned_prior(runs, 1e8, PRIOR)
    assert learned.alpha[0] == pytest.approx(0.5, abs=0.05)
    schedule = named_schedule("cosine", 50_000, warm_up=1000)
    observed = seen(schedule, 15_000)
    wide, narrow = (
        np.ptp(np.quantile(final(schedule, observed, p), [0.05, 0.95])) for p in (PRIOR, learned)
    )
    assert narrow < 0.8 * wide
    assert np.quantile(final(schedule, observed, learned), 0.5) == pytest.approx(
        losses(schedule, np.array([50_000.0]))[0], abs=0.015
    )


def test_an_exponent_of_another_size_counts_together_with_the_cards() -> None:
    """The further in size, the nearer to the card's; at the same size the runs alone decide."""
    schedule = named_schedule("cosine", 50_000, warm_up=1000)
    runs = [Finished(schedule, seen(schedule, 50_000), 1e8)]
    near, away, far = (learned_prior(runs, n, PRIOR).alpha for n in (1e8, 1e9, 1e13))
    assert near[1] == pytest.approx(0.025)
    believed = PRIOR.alpha
    assert abs(far[0] - believed[0]) < abs(away[0] - believed[0]) < abs(near[0] - believed[0])
    apart = np.hypot(0.025, 0.04 * np.log(10))
    assert away[1] == pytest.approx((apart**-2 + believed[1] ** -2) ** -0.5)
    by_hand = (near[0] / apart**2 + believed[0] / believed[1] ** 2) * away[1] ** 2
    assert away[0] == pytest.approx(by_hand)


# the course


def looked(schedule: Schedule, values: np.ndarray) -> float | None:
    steps = look_steps(schedule)
    observed = Observed(steps, values, np.full(len(steps), 0.0015), 3.2)
    sampled = sample_shapes(schedule, observed, PRIOR, np.random.default_rng(0))
    return course(schedule, observed, PRIOR, sampled).alarm_step


def test_a_step_is_found_at_the_next_look_and_nothing_is_found_without_one() -> None:
    schedule = named_schedule("cosine", 50_000, warm_up=1000)
    steps = look_steps(schedule)
    values = losses(schedule, steps)
    assert looked(schedule, values) is None
    after = steps >= 25_000
    assert looked(schedule, values * (1 + 0.01 * after)) == pytest.approx(steps[after][0])


def test_an_offset_of_the_whole_run_is_no_departure_from_its_own_course() -> None:
    schedule = named_schedule("wsd", 50_000, warm_up=1000)
    values = losses(schedule, look_steps(schedule), level=2.9)
    assert looked(schedule, values) is None


def test_finished_runs_of_one_name_and_two_sizes_are_two_runs() -> None:
    schedule = named_schedule("cosine", 50_000, peak=3e-4, warm_up=1000)
    steps = np.geomspace(1500, 50_000, 30)
    columns = {"step": steps, "lr": schedule.rate(steps), "loss": losses(schedule, steps)}
    both = [pd.DataFrame(columns).assign(run="cosine", params=size) for size in ("25M", "100M")]
    assert [run.params for run in read_finished(pd.concat(both))] == [1e8, 2.5e7]
