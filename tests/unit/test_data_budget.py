"""Data budgets: Kaplan's rule, the reverse of it, and targets that may be out of reach."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from support.published import BESIROGLU, ONE, several
from support.published import CARD as CARD_OF_ONE
from support.refits import built, power_law_log

from bayescale.cards import load_card
from bayescale.decisions.data_answer import DataBudget
from bayescale.decisions.data_budget import data_budget
from bayescale.errors import BayescaleError, LawError
from bayescale.laws import CHINCHILLA, KAPLAN
from bayescale.posterior import ModelAverage, Posterior, point
from bayescale.runs import read_runs

CARD = load_card("kaplan")
KAPLAN_2020 = point(CARD, CARD.published_values("kaplan_2020"))


def needed(fit: Posterior | ModelAverage, **question: float) -> float:
    return data_budget(fit, **question).needed.item()


def test_kaplans_rule_from_the_published_table() -> None:
    """Table 2 solved exactly gives D = 5,519 N^0.7379, which the paper rounds to 5e3 N^0.74."""
    power = 0.076 / 0.103
    for params in (1e8, 1e9, 1e11):
        assert round(needed(KAPLAN_2020, params=params) / params**power) == 5519
    result = data_budget(KAPLAN_2020, params=1e9).to_json()
    assert round(result["exponent"]["median"], 4) == 0.7379
    assert result["tokens_needed"]["median"] == pytest.approx(2.4136e10, rel=1e-4)
    assert f"{5e3 * 1e9**0.74:.3g}" == "2.29e+10"  # the rounded rule at the same size
    assert abs(np.log(result["tokens_needed"]["median"] / 2.29e10)) < 0.06


def test_the_reverse_asks_for_the_largest_model() -> None:
    tokens = needed(KAPLAN_2020, params=1e9)
    result = data_budget(KAPLAN_2020, tokens=tokens)
    assert result.needed.item() == pytest.approx(1e9, rel=1e-6)
    answer = result.to_json()
    assert answer["params_allowed"]["median"] == pytest.approx(1e9, rel=1e-6)
    assert answer["exponent"]["median"] == pytest.approx(0.103 / 0.076, abs=1e-4)
    assert "support at most" in str(result)


def test_a_stricter_bound_asks_for_more() -> None:
    bounds = [0.1, 0.05, 0.02, 0.01]
    asked = [needed(KAPLAN_2020, params=1e9, overfit=bound) for bound in bounds]
    assert asked == sorted(asked)
    unlimited = KAPLAN.loss(1e9, np.inf, **CARD.published_values("kaplan_2020"))
    for tokens, bound in zip(asked, bounds, strict=True):
        finite = KAPLAN.loss(1e9, tokens, **CARD.published_values("kaplan_2020"))
        assert finite / unlimited - 1 == pytest.approx(bound, rel=1e-6)


def test_enough_data_carry_any_model() -> None:
    """With E in the law overfit is bounded: B / D^beta over E at most."""
    result = data_budget(ONE, tokens=1e15)
    assert result.needed.item() == np.inf
    assert result.to_json()["params_allowed"] == {"median": None, "lower": None, "upper": None}
    assert "any number of params" in str(result)


def test_tokens_for_a_target_by_hand() -> None:
    """B / D^beta = 2.1 - E - A / N^alpha."""
    rest = 2.1 - 1.8172 - 482.01 / 7e9**0.3478
    expected = (2085.43 / rest) ** (1 / 0.3658)
    assert needed(ONE, params=7e9, target=2.1) == pytest.approx(expected, rel=1e-6)
    assert needed(ONE, tokens=expected, target=2.1) == pytest.approx(7e9, rel=1e-5)


def test_not_reachable_is_an_answer_with_its_probability() -> None:
    """One draw of four has an E below the target."""
    fit = several(*(BESIROGLU | {"E": E} for E in (1.5, 2.0, 2.1, 2.2)))
    result = data_budget(fit, params=70e9, target=1.9)
    answer = result.to_json()
    assert answer["p_reachable"] == 0.25
    assert answer["tokens_needed"]["median"] is None
    assert answer["tokens_needed"]["lower"] == pytest.approx(float(result.needed.min()))
    assert "Not reachable at all with probability 75.0%" in str(result)
    assert "out of reach" in str(result)


@pytest.mark.integration
def test_an_average_shows_each_law() -> None:
    result = data_budget(ModelAverage((ONE, KAPLAN_2020), (0.5, 0.5)), params=1e9)
    each = {law.law: law.needed.item() for law in result.by_law}
    assert each == {
        "chinchilla": needed(ONE, params=1e9),
        "kaplan": needed(KAPLAN_2020, params=1e9),
    }
    assert set(result.needed.values.ravel()) == set(each.values())
    assert set(result.to_json()["laws"]) == set(each)


ADVICE = (
    "An average would be a number that no law holds, so none is given: decide which law to "
    "believe, or buy runs that tell them apart."
)


def test_laws_that_do_not_agree_have_no_average() -> None:
    result = data_budget(ModelAverage((ONE, KAPLAN_2020), (0.5, 0.5)), params=1e9)
    why = f"The laws do not agree: chinchilla says 6.25T tokens, kaplan says 24.1B tokens. {ADVICE}"
    assert result.refusal == why
    answer, nothing = result.to_json(), dict.fromkeys(("median", "lower", "upper"))
    assert answer["why"] == why
    assert answer["tokens_needed"] == answer["exponent"] == nothing
    assert answer["p_reachable"] is answer["least_loss"] is answer["verdict"] is None
    assert answer["laws"]["kaplan"]["tokens_needed"]["median"] == pytest.approx(2.4136e10, rel=1e-4)
    each = (
        "    chinchilla           6.25T tokens  (90% interval 6.25T to 6.25T)\n"
        "    kaplan               24.1B tokens  (90% interval 24.1B to 24.1B)"
    )
    head = "chinchilla + kaplan: for overfit of at most 0.02, 1B params need"
    assert str(result) == f"{head}\n  {why}\n{each}"


def test_laws_that_agree_have_one_and_a_law_without_a_share_has_no_say() -> None:
    near = data_budget(ModelAverage((ONE, KAPLAN_2020), (0.5, 0.5)), params=1e11, overfit=0.1)
    assert near.refusal is None
    assert near.to_json()["tokens_needed"]["median"] == pytest.approx(1.0e11, rel=0.01)
    alone = data_budget(ModelAverage((ONE, KAPLAN_2020), (1.0, 0.0)), params=1e9)
    assert alone.refusal is None
    assert alone.to_json()["tokens_needed"]["median"] == pytest.approx(needed(ONE, params=1e9))


def test_a_target_that_one_law_never_reaches_has_no_average() -> None:
    result = data_budget(ModelAverage((ONE, KAPLAN_2020), (0.5, 0.5)), params=1e11, target=1.85)
    assert result.refusal is not None
    assert "chinchilla says no amount of tokens, kaplan says" in result.refusal


def test_a_gap_between_the_draws_of_laws_has_no_median() -> None:
    """Medians at two and a half times one another, and no draw between them."""
    draws = 10 ** (0.001 * np.arange(100))
    low = several(*(BESIROGLU | {"B": 2085.43 * x**0.01} for x in draws))
    high = data_budget(low, params=1e9).needed * 2.5
    result = data_budget(low, params=1e9)
    both = xr.concat([result.needed, high], dim="draw")
    members = (replace(result, law="one"), replace(result, law="other", needed=high))
    average = replace(result, needed=both, by_law=members, weights=(0.5, 0.5))
    assert average.refusal is not None
    assert average.refusal.startswith("The laws do not agree: no draw lies between ")
    few = [replace(law, needed=law.needed[:, :10]) for law in members]
    assert replace(average, needed=both[:, 80:120:2], by_law=tuple(few)).refusal is None


RUNS = power_law_log([0.0] * 6)


def within_runs(times: float) -> Posterior:
    """Chinchilla's law with runs whose most tokens are the answer for 7B params over times."""
    most = needed(ONE, params=7e9) / times
    frame = RUNS.frame.assign(
        params=np.geomspace(1e8, 1e10, 6), tokens=most * np.geomspace(0.1, 1, 6)
    )
    frame["flops"] = 6 * frame["params"] * frame["tokens"]
    return built(CARD_OF_ONE, read_runs(frame), BESIROGLU | {"sigma": 0.01})


@pytest.mark.integration
def test_an_answer_far_beyond_the_runs_is_not_given() -> None:
    result = data_budget(within_runs(1001.0), params=7e9)
    assert result.refusal == (
        "The answer lies more than 1,000 times above the most tokens of any fitted run, 7.87B. So "
        "far out, the form of the law and its prior decide, not the runs, and no number is given. "
        "Ask with another bound on overfit (`overfit=`), or fit runs that come nearer."
    )
    assert result.to_json()["tokens_needed"]["median"] is None
    reverse = data_budget(within_runs(1001.0), tokens=needed(ONE, params=1e4), overfit=0.02)
    assert reverse.refusal is not None
    assert (
        "more than 1,000 times below the fewest params of any fitted run, 100M" in reverse.refusal
    )


@pytest.mark.integration
def test_an_answer_says_how_far_it_extrapolates() -> None:
    result = data_budget(within_runs(30.0), params=7e9)
    answer = result.to_json()
    assert answer["extrapolation"] == pytest.approx({"params": 0.7, "tokens": 30.0, "flops": 21.0})
    assert answer["verdict"] == "untested"
    assert answer["why"].startswith(
        "Extrapolates to 21 times the compute of the largest training run, at 4.29 times the most "
        "tokens per parameter of any run."
    )
    far = "0.7 times the params, 30 times the tokens, 21 times the FLOP of the largest fitted ones."
    assert f"  At the median, a run has {far}\n  Extrapolates to 21 times" in str(result)
    bins = [{"lower": 1.0, "upper": 64.0, "n": 9, "n_covered": 9, "n_cutoffs": 3,
             "coverage90": 1.0, "largest": 64.0}]  # fmt: skip
    fit = within_runs(30.0)
    across = [{"side": 1, "distance": 2.0, "covered": True}] * 4
    record = {"bins": bins, "across": across}
    tested = replace(fit, record={**fit.record, "backtest": record})
    assert data_budget(tested, params=7e9, target=2.1).verdict == "trusted"
    no_trust = data_budget(tested, params=7e9)
    assert no_trust.verdict == "untested"
    assert no_trust.verdict_text is not None
    assert no_trust.verdict_text.endswith("But no backtest compares with unlimited data.")


def test_drift_blurs_what_a_target_takes(chinchilla_posterior: Posterior) -> None:
    results = [
        data_budget(chinchilla_posterior, params=7e9, target=2.2, drift=d) for d in (True, False)
    ]
    widths = [np.log(r.needed.where(np.isfinite(r.needed))).std() for r in results]
    assert float(widths[0]) > float(widths[1])
    assert results[0].within == pytest.approx(1000 * chinchilla_posterior.runs["tokens"].max())
    reached = chinchilla_posterior.exact.loss(
        {
            "params": xr.full_like(results[1].needed, 7e9),
            "tokens": results[1].needed,
        }
    )
    np.testing.assert_allclose(reached, 2.2, rtol=1e-6)


def test_real_runs_have_an_exponent_with_an_interval(chinchilla_posterior: Posterior) -> None:
    answer = data_budget(chinchilla_posterior, params=1e9).to_json()
    assert answer["overfit"] == 0.02
    assert answer["params"] == 1e9
    assert answer["exponent"]["lower"] < answer["exponent"]["median"]
    assert answer["drift"] is False


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            {},
            "give either `params=`, to ask for tokens, or `tokens=`, to ask for params; given "
            "neither",
        ),
        (
            {"params": 1e9, "tokens": 1e9},
            "give either `params=`, to ask for tokens, or `tokens=`, to ask for params; given "
            "params and tokens",
        ),
        ({"params": -1.0}, "params is -1.0, but it must be finite and greater than zero"),
        ({"params": 1e9, "overfit": 0.0}, "overfit is 0, but must be finite and above zero"),
        ({"params": 1e9, "target": -2.0}, "target is -2, but a loss must be greater than zero"),
        (
            {"params": 1e9, "target": 2.0, "overfit": 0.02},
            "give `overfit=` or `target=`, not both",
        ),
        (
            {"params": 7e9, "target": 1.7},
            "a loss of 1.7 nats per token is out of reach of 7B params in every draw: unlimited "
            "tokens leave 1.9987 (90% interval 1.9987 to 1.9987). Ask for a higher loss, or for "
            "more params",
        ),
    ],
)
def test_questions_without_an_answer(question: dict, message: str) -> None:
    with pytest.raises(BayescaleError) as caught:
        data_budget(ONE, **question)
    assert str(caught.value) == message


def test_a_law_of_compute_alone_has_no_data(cerebras_posterior: Posterior) -> None:
    with pytest.raises(LawError, match="cannot split a budget"):
        data_budget(cerebras_posterior, params=1e9)


def test_the_loss_with_endless_tokens_is_what_overfit_compares_with() -> None:
    result: DataBudget = data_budget(ONE, params=1e9)
    excess = CHINCHILLA.loss(1e9, result.needed.item(), **BESIROGLU)
    assert excess == pytest.approx(1.02 * (1.8172 + 482.01 / 1e9**0.3478), rel=1e-9)
