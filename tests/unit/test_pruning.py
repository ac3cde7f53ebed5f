"""Pruning as a scenario and as a fit: answers by hand, what is learnt, and what is only assumed."""

import numpy as np
import pandas as pd
import pytest
from support.published import BESIROGLU, ONE, SPREAD

from bayescale.cards import default_laws, load_card
from bayescale.decisions.allocate import allocate
from bayescale.errors import LawError, RunLogError, ScenarioError
from bayescale.forecasting import forecast
from bayescale.inference.fit import fit
from bayescale.laws import CHINCHILLA, LAWS, REPETITION, worth
from bayescale.posterior import point
from bayescale.runs import read_runs
from bayescale.scenarios.pruning import prune
from bayescale.simulation import simulate

PRUNED = LAWS["pruned"]
REPEATED = load_card("repetition").published_values("muennighoff_2023")
N, D = 7e9, 1.4e11
SURE = {"quality": (1.9999, 2.0001), "floor": (1e-9, 2e-9)}
UNLIMITED = {"repeat_worth": (1e9, 2e9)}


def test_all_kept_leaves_the_law_of_repetition() -> None:
    values = REPEATED | {"quality": 1.7, "floor": 0.1}
    assert PRUNED.loss(N, 4 * D, D, 1.0, **values) == REPETITION.loss(N, 4 * D, D, **REPEATED)


def test_what_a_kept_token_is_worth() -> None:
    assert worth(0.25, quality=1.0, floor=0.1) == 1.0
    assert worth(0.25, quality=2.0, floor=1e-12) == pytest.approx(4.0)
    assert worth(0.25, quality=0.5, floor=1e-12) == pytest.approx(0.5)
    few, fewer = (worth(f, quality=2.0, floor=0.1) for f in (0.01, 0.001))
    assert few < fewer < 1.1 / 0.1  # the metric has run out of tokens to tell apart


def test_a_metric_that_loses_nothing_saves_what_it_leaves_out() -> None:
    """Quality 2: a quarter of the tokens, seen once, do as well as all."""
    result = prune(ONE, params=N, tokens=D, keep=[0.25], trained=D / 4, **SURE, **UNLIMITED)
    kept = result.loss.sel(fraction=0)
    np.testing.assert_allclose(kept, CHINCHILLA.loss(N, D, **BESIROGLU), rtol=1e-4)
    # keeping everything, with as much compute, a quarter of the data is seen
    whole = CHINCHILLA.loss(N, D / 4, **BESIROGLU)
    np.testing.assert_allclose(result.loss.sel(fraction=1), whole, rtol=1e-12)
    saved = result.to_json()["choice"]["saved"]
    assert saved["median"] == pytest.approx(0.75, abs=1e-3)
    assert result.p_beats.tolist() == [1.0, 0.0]


def test_repeating_what_is_kept_costs_what_the_law_of_repetition_says() -> None:
    """Quality 1: half the tokens, seen twice, are worth (1 + R (1 - exp(-1 / R))) / 2 of all."""
    neutral = {"quality": (0.99999, 1.00001), "repeat_worth": (15.387, 15.388)}
    result = prune(ONE, params=N, tokens=D, keep=[0.5], **neutral)
    r = 15.3875
    effective = D / 2 * (1 + r * (1 - np.exp(-1 / r)))
    expected = CHINCHILLA.loss(N, effective, **BESIROGLU)
    np.testing.assert_allclose(result.loss.sel(fraction=0), expected, rtol=1e-6)
    assert result.p_beats[0] == 0.0
    even = result.to_json()["fractions"][0]["break_even"]["median"]
    floor = result.assumed["floor"]["median"]
    by_hand = 1 + np.log(D / effective) / -np.log((0.5 + floor) / (1 + floor))
    assert even == pytest.approx(by_hand, rel=0.01)


def test_below_the_break_even_quality_pruning_harms() -> None:
    result = prune(SPREAD, params=N, tokens=D, keep=[0.3])
    even = result.break_even.isel(fraction=0)
    assert np.isfinite(even).all()
    for times, better in ((0.99, False), (1.01, True)):
        q = float(even.median()) * times
        pair = (q * 0.999999, q * 1.000001)
        again = prune(SPREAD, params=N, tokens=D, keep=[0.3], quality=pair)
        one = again.gain.isel(fraction=0).median() > 0
        assert bool(one) is better


def test_the_choice_is_the_least_expected_loss_and_not_the_average_best_fraction() -> None:
    result = prune(SPREAD, params=N, tokens=D)
    expected = result.loss.mean(("chain", "draw")).values
    assert expected[result.choice] == expected.min()
    best = result.best
    assert set(np.unique(best)) <= set(result.keep)
    assert best.std() > 0
    assert result.keep[-1] == 1.0
    assert np.isnan(result.break_even.isel(fraction=-1)).all()


def test_a_worse_metric_never_lowers_the_loss() -> None:
    losses = [
        prune(ONE, params=N, tokens=D, keep=[0.2], quality=(q, q * 1.0001)).loss.isel(fraction=0)
        for q in (0.5, 1.0, 1.5, 3.0)
    ]
    medians = [float(loss.median()) for loss in losses]
    assert medians == sorted(medians, reverse=True)


def test_where_the_curve_leaves_the_plain_laws_interval() -> None:
    """The curve leaves a point estimate at once, and a law of unknown exponent later or never."""
    gain = {"quality": (2.4, 2.5), "floor": (0.01, 0.02), **UNLIMITED}
    sure = prune(ONE, params=N, tokens=D, keep=[0.3], **gain)
    assert sure.leaves_at == D
    vague = prune(SPREAD, params=N, tokens=D, keep=[0.3], **gain)
    growth = vague.growth
    inside = ~growth["outside"]
    between = growth["pruned_median"].between(growth["plain_lower"], growth["plain_upper"])
    assert (inside == between).all()


TRUTH = REPEATED | {"quality": 1.8, "floor": 0.05}


def test_a_fit_of_pruned_runs_answers_with_its_own_coefficients() -> None:
    learnt = point(load_card("pruned"), TRUTH)
    result = prune(learnt, params=N, tokens=D)
    assert not result.scenario
    assert result.assumed["quality"] == {
        "median": 1.8, "lower": 1.8, "upper": 1.8, "source": "inferred from the runs"
    }  # fmt: skip
    assert "SCENARIO" not in str(result)
    assert result.to_json()["label"] == "fit"
    for i in (3, 20, -1):
        by_law = PRUNED.loss(N, D, D * result.keep[i], result.keep[i], **TRUTH)
        np.testing.assert_allclose(result.loss.isel(fraction=i), by_law, rtol=1e-12)
    with pytest.raises(ScenarioError, match="quality was inferred by this fit of pruned: do not"):
        prune(learnt, params=N, tokens=D, quality=(1.0, 2.0))


def test_other_decisions_take_all_data_as_kept() -> None:
    learnt, whole = (
        point(load_card(name), values)
        for name, values in (("pruned", TRUTH), ("repetition", REPEATED))
    )
    ours, theirs = (allocate(fit, 1e22, max_tokens=25e9).to_json() for fit in (learnt, whole))
    assert ours["choice"] == pytest.approx(theirs["choice"])
    assert ours["loss"] == pytest.approx(theirs["loss"])
    some = forecast(learnt, params=N, tokens=D, kept_fraction=0.3)
    assert "30% of the data kept" in str(some)
    assert some.loss.item() == pytest.approx(PRUNED.loss(N, D, D, 0.3, **TRUTH))


@pytest.mark.slow
def test_pruned_pilot_runs_teach_what_the_metric_is_worth() -> None:
    """Forty-five simulated runs, a third each with all, half and a fifth of the data kept."""
    params, ratio, kept = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e8, 3e9, 5), [5.0, 20.0, 80.0], [1, 0.5, 0.2])
    )
    tokens = params * ratio
    unique = np.where(ratio == 80, tokens / 4, tokens)
    scales = {"params": params, "tokens": tokens, "unique_tokens": unique, "kept_fraction": kept}
    frame = simulate(PRUNED, TRUTH, scales, sigma=0.003, seed=3)
    pilots = fit(read_runs(frame), "pruned", seed=1)
    assert pilots.diagnostics["passed"]
    low, high = np.quantile(pilots.members[0].draws["quality"], [0.025, 0.975])
    assert low < TRUTH["quality"] < high
    assert high - low < 0.5


def test_logs_with_pruned_runs_are_fitted_with_their_own_law() -> None:
    frame = pd.DataFrame({"params": [1e9, 2e9], "tokens": [2e10, 3e10], "loss": [3.0, 2.8]})
    log = read_runs(frame.assign(kept_fraction=[1.0, 0.5], unique_tokens=[2e10, 3e10]))
    assert default_laws(log) == ("pruned",)
    assert default_laws(read_runs(frame.assign(kept_fraction=1.0))) == ("unified",)


def test_a_scenario_says_so_and_where_each_number_comes_from() -> None:
    result = prune(ONE, params=N, tokens=D, keep=[0.5, 0.8], quality=(1.0, 2.0))
    text = str(result)
    assert "SCENARIO: no run in this fit was pruned." in text
    assert "quality 1.4" in text
    assert "prior as given" in text
    assert "prior of the card pruned" in text
    assert (result.to_frame()["label"] == "scenario").all()
    known = point(load_card("repetition"), REPEATED)
    learnt = prune(known, params=N, tokens=D, keep=[0.5]).assumed["R_D"]
    assert learnt["source"] == "inferred from the runs"
    assert learnt["median"] == pytest.approx(15.387756)


# bad input


def test_everything_wrong_with_a_pruning_is_told_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        prune(ONE, params=-1, tokens=np.inf, keep=[0.0, 0.5, 1.2], quality=(2.0, 1.0))
    assert str(caught.value) == (
        "this pruning cannot be computed:\n"
        "  - params is -1, but it must be finite and greater than zero\n"
        "  - tokens is inf, but it must be finite and greater than zero\n"
        "  - trained is inf, but it must be finite and greater than zero\n"
        "  - keep has 0, 1.2, but a kept fraction must be above 0 and at most 1\n"
        "  - quality is 2 to 1, but needs two numbers above zero, the lower one first: the ends of "
        "a 90 % interval"
    )
    one_scale = point(load_card("kaplan_params"), {"N_c": 8.8e13, "alpha_N": 0.076})
    with pytest.raises(LawError, match="so it cannot split a budget"):
        prune(one_scale, params=N, tokens=D)


def test_a_log_whose_kept_fraction_is_no_share_is_refused() -> None:
    frame = pd.DataFrame(
        {"params": [1e9, 2e9], "tokens": [2e10, 3e10], "loss": [3.0, 2.8], "kept_fraction": [1, 9]}
    )
    with pytest.raises(RunLogError) as caught:
        read_runs(frame)
    assert str(caught.value) == (
        "DataFrame cannot be used:\n"
        "  - kept_fraction is above 1: 9.0 in row 2; it is the share of the data that pruning "
        "kept, 1 for all of it"
    )
