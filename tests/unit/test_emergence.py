"""Scores along a path: hand-computed places, uncertainty carried over, and the metric's share."""

import numpy as np
import pytest
from support.published import ONE, SPREAD

from bayescale.cards import load_card
from bayescale.errors import LawError, ScenarioError
from bayescale.forecasting import forecast
from bayescale.posterior import point
from bayescale.scenarios.answers import calibrate_dispersion
from bayescale.scenarios.emergence import emergence

KAPLAN = point(
    load_card("kaplan_params"), load_card("kaplan_params").published_values("kaplan_2020")
)
PATH = np.geomspace(1e20, 1e25, 41)


def test_half_of_long_answers_are_right_where_schaeffer_says() -> None:
    """N = N_c (ln 2 / T)^(-1/alpha) for T tokens, by Kaplan's law of parameters."""
    params = np.geomspace(1e10, 1e40, 2000)
    climbs = emergence(KAPLAN, params=params, answer_tokens=[1, 4, 16]).climbs()
    half = climbs.set_index("metric")["half_at_median"]
    for metric, tokens in (("token_accuracy", 1), ("exact_match_4", 4), ("exact_match_16", 16)):
        expected = 8.8e13 * (np.log(2) / tokens) ** (-1 / 0.076)
        assert half[metric] == pytest.approx(expected, rel=1e-3)


def test_scores_have_the_uncertainty_of_the_loss() -> None:
    """A decreasing score's quantiles are the scores of the loss's quantiles."""
    result = emergence(SPREAD, flops=PATH, answer_tokens=[5])
    frame = result.to_frame()
    exact = frame[frame["metric"] == "exact_match_5"]
    losses = forecast(SPREAD, flops=PATH).to_frame()
    np.testing.assert_allclose(exact["median"], np.exp(-5 * losses["loss_median"]), rtol=1e-2)
    np.testing.assert_allclose(exact["lower"], np.exp(-5 * losses["loss_upper"]), rtol=1e-2)
    np.testing.assert_allclose(exact["upper"], np.exp(-5 * losses["loss_lower"]), rtol=1e-2)
    assert exact["upper"].iloc[-1] > 1.2 * exact["lower"].iloc[-1]


def test_long_answers_hide_progress_that_the_loss_and_the_edit_distance_show() -> None:
    climbs = emergence(SPREAD, flops=PATH, answer_tokens=[5, 25]).climbs().set_index("metric")
    hidden = climbs["hidden_share_median"]
    assert climbs["loss_hidden_share_median"].nunique() == 1
    assert hidden["edit_distance_25"] == pytest.approx(hidden["token_accuracy"])
    assert hidden["exact_match_25"] > hidden["exact_match_5"] > hidden["token_accuracy"]
    due = climbs["due_to_metric_median"]
    assert due["exact_match_25"] > 0.3 > 0.1 > due["token_accuracy"]
    assert climbs.loc["exact_match_25", "p_half"] == 0.0
    assert np.isinf(climbs.loc["exact_match_25", "half_at_median"])


def test_a_steady_climb_is_as_steep_as_its_path_is_long() -> None:
    """A loss that falls by as much with each tenfold: its steepest is one of four."""
    law = point(load_card("kaplan_params"), {"N_c": 1e60, "alpha_N": 1e-4})
    climbs = emergence(law, params=np.geomspace(1e8, 1e12, 33)).climbs()
    assert climbs["loss_steepest_share_median"].iloc[0] == pytest.approx(0.25, abs=1e-3)
    assert climbs["loss_hidden_share_median"].iloc[0] == pytest.approx(0.05, abs=1e-3)
    short = emergence(law, params=[1e8, 5e8]).climbs()
    assert np.isnan(short["steepest_share_median"]).all()


def test_answers_that_differ_emerge_earlier_and_more_slowly() -> None:
    alike = emergence(ONE, flops=PATH, answer_tokens=[25]).climbs().set_index("metric")
    spread = emergence(ONE, flops=PATH, answer_tokens=[25], dispersion=3.0).climbs()
    spread = spread.set_index("metric")
    place = ("exact_match_25", "hidden_share_median")
    assert spread.loc[place] < alike.loc[place] / 3


def test_a_learnt_dispersion_brings_its_uncertainty_and_its_decoding() -> None:
    loss = np.linspace(1, 6, 12)
    task = calibrate_dispersion(loss, np.exp(-loss / 2) + 0.03 * np.cos(9 * loss))
    result = emergence(SPREAD, flops=PATH, answer_tokens=[1], dispersion=task)
    assert result.decoding == "greedy"
    told = result.to_json()["dispersion"]
    assert told["source"] == "calibrated"
    assert told["dispersion"]["lower"] < told["dispersion"]["upper"]
    sure = emergence(SPREAD, flops=PATH, dispersion=told["dispersion"]["median"], decoding="greedy")
    wide, narrow = (r.to_frame().query("metric == 'token_accuracy'") for r in (result, sure))
    assert (wide["upper"] - wide["lower"]).mean() > (narrow["upper"] - narrow["lower"]).mean()


def test_multiple_choice_starts_at_guessing() -> None:
    result = emergence(ONE, flops=PATH, answer_tokens=[10], choices=5)
    choice = result.to_frame().query("metric == 'multiple_choice_5'")["median"].to_numpy()
    assert choice[0] == pytest.approx(0.2)
    assert (np.diff(choice) > 0).all()


def test_a_result_prints_its_assumption_and_how_far_to_trust_it() -> None:
    text = str(emergence(ONE, flops=PATH, answer_tokens=[5]))
    start, end = (np.exp(-5 * forecast(ONE, flops=x).loss.item()) for x in (1e20, 1e25))
    assert f"exact_match_5: {start:.3g} to {end:.3g} (90% interval" in text
    assert "half way at no scale of this path" in text
    assert "Scenario: answers have the loss of the law; all tokens alike and independent" in text
    assert "This point estimate comes without runs" in text


def test_a_path_that_makes_no_sense_is_told_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        emergence(ONE, flops=[1e22, 1e21], answer_tokens=[0.5], wrong_loss=3.0, downstream=ONE)
    assert str(caught.value) == (
        "the scores cannot be computed:\n"
        "  - the path has 2 points of flops 1e+22, 1e+21, but needs two or more that increase\n"
        "  - answer_tokens has 0.5, but an answer has at least one token\n"
        "  - downstream is a fit of law 'chinchilla' with inputs params, tokens: give a fit of the "
        "law downstream, with input lm_loss\n"
        "  - wrong_loss needs choices: give the number of answers with `choices=`"
    )
    with pytest.raises(ScenarioError, match="answer_tokens is empty: name at least one length"):
        emergence(ONE, flops=PATH, answer_tokens=[])
    with pytest.raises(LawError, match="is a function of params and tokens, but no scale is given"):
        emergence(ONE)
