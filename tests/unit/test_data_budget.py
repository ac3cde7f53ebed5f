"""Data budgets: Kaplan's rule, the reverse of it, and targets that may be out of reach."""

import numpy as np
import pytest
import xarray as xr
from support.published import BESIROGLU, ONE, several

from bayescale.cards import load_card
from bayescale.decisions.data_budget import DataBudget, data_budget
from bayescale.errors import BayescaleError, LawError
from bayescale.laws import CHINCHILLA, KAPLAN
from bayescale.posterior import ModelAverage, Posterior, point

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
    """Of four draws, E is below the target in one alone."""
    fit = several(*(BESIROGLU | {"E": E} for E in (1.5, 2.0, 2.1, 2.2)))
    result = data_budget(fit, params=70e9, target=1.9)
    answer = result.to_json()
    assert answer["p_reachable"] == 0.25
    assert answer["tokens_needed"]["median"] is None
    assert answer["tokens_needed"]["lower"] == pytest.approx(float(result.needed.min()))
    assert "Not reachable at all with probability 75.0%" in str(result)
    assert "out of reach" in str(result)


def test_an_average_shows_each_law() -> None:
    result = data_budget(ModelAverage((ONE, KAPLAN_2020), (0.5, 0.5)), params=1e9)
    each = {law.law: law.needed.item() for law in result.by_law}
    assert each == {
        "chinchilla": needed(ONE, params=1e9),
        "kaplan": needed(KAPLAN_2020, params=1e9),
    }
    assert set(result.needed.values.ravel()) == set(each.values())
    assert set(result.to_json()["laws"]) == set(each)


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
            "tokens leave 1.9987 (90% interval 1.9987 to 1.9987). Ask for more than that, or for "
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
