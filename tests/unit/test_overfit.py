"""The line of data needed: one size at a time as data_budget has it, and Kaplan's rule."""

import json

import numpy as np
import pandas as pd
import pytest
from support.published import ONE, SPREAD

from bayescale.cards import load_card
from bayescale.decisions.data_budget import data_budget
from bayescale.decisions.overfit import overfit_line
from bayescale.errors import DecisionError, LawError
from bayescale.posterior import ModelAverage, point

CARD = load_card("kaplan")
KAPLAN_2020 = point(CARD, CARD.published_values("kaplan_2020"))
SIZES = (1e8, 1e9, 1e10)


def test_kaplans_line_and_its_exponent() -> None:
    """Table 2 solved exactly is D = 5,519 N^0.7379; the paper's line is rounded."""
    line = overfit_line(KAPLAN_2020, SIZES)
    power = 0.076 / 0.103
    np.testing.assert_allclose(
        line.needed.values.ravel(), 5519 * np.array(SIZES) ** power, rtol=1e-4
    )
    assert line.exponent is not None
    assert line.exponent.item() == pytest.approx(power, abs=1e-6)
    frame = line.to_frame()
    np.testing.assert_allclose(frame["kaplan"], [5e3 * size**0.74 for size in SIZES])
    assert overfit_line(KAPLAN_2020, SIZES, overfit=0.05).to_frame()["kaplan"].isna().all()


@pytest.mark.integration
def test_a_point_of_the_line_is_what_data_budget_says() -> None:
    """At 10B params the laws do not agree, at 100B they do."""
    fit = ModelAverage((SPREAD, KAPLAN_2020), (0.5, 0.5))
    line = overfit_line(fit, [1e11, 1e10], overfit=0.1, ci_prob=0.5)
    frame = line.to_frame()
    assert frame["params"].tolist() == [1e10, 1e11]
    for row, agree in zip(frame.to_dict(orient="records"), (False, True), strict=True):
        one = data_budget(fit, params=row["params"], overfit=0.1, ci_prob=0.5)
        assert pd.isna(row["why"]) == (one.refusal is None) == agree
        for name, value in one.to_json()["tokens_needed"].items():
            same = pytest.approx(np.nan if value is None else value, nan_ok=True)
            assert row[f"tokens_{name}"] == same
        for law in one.by_law:
            own = law.to_json()["tokens_needed"]["median"]
            assert row[f"tokens_{law.law}"] == pytest.approx(own)
    assert line.to_json()["exponent"] is None
    assert "   10B       -        - to -" in str(line)
    assert frame["why"].iloc[0] in str(line)


def test_it_is_told_in_words_and_numbers() -> None:
    result = overfit_line(KAPLAN_2020, [1e9, 1e10])
    assert str(result) == (
        "kaplan: tokens needed for overfit of at most 0.02\n"
        "params  tokens    90% interval  Kaplan et al.\n"
        "    1B   24.1B  24.1B to 24.1B          22.9B\n"
        "   10B    132B    132B to 132B           126B\n"
        "Tokens grow as params^0.738 (90% interval 0.738 to 0.738).\n"
        "The laws are taken to hold exactly: runs cannot show drift at unlimited data."
    )
    answer = json.loads(json.dumps(result.to_json()))
    assert [row["params"] for row in answer["models"]] == [1e9, 1e10]
    assert answer["models"][0]["tokens_needed"]["median"] == pytest.approx(2.4136e10, rel=1e-4)
    assert answer["exponent"]["median"] == pytest.approx(0.7379, abs=1e-4)


def test_out_of_reach_is_an_answer() -> None:
    values = CARD.published_values("kaplan_2020") | {"alpha_D": 0.01}
    result = overfit_line(point(CARD, values), [1e20])
    assert result.exponent is None
    row = result.to_frame().iloc[0]
    assert (row["tokens_median"], row["p_reachable"]) == (np.inf, 0.0)
    assert result.to_json()["models"][0]["tokens_needed"]["median"] is None
    assert "out of reach to out of reach" in str(result)


@pytest.mark.parametrize(
    ("params", "overfit", "message"),
    [
        ([], 0.02, "`params=` has no size, but an overfit line needs at least one"),
        (
            [1e9, -1.0, np.nan],
            0.02,
            "these sizes cannot be used:\n"
            "  - params[1] is -1.0, but it must be finite and greater than zero\n"
            "  - params[2] is nan, but it must be finite and greater than zero",
        ),
        ([1e9], 0.0, "overfit is 0, but must be finite and above zero"),
    ],
)
def test_what_makes_no_sense_is_named(params: list, overfit: float, message: str) -> None:
    with pytest.raises(DecisionError) as error:
        overfit_line(ONE, params, overfit=overfit)
    assert str(error.value) == message


def test_a_law_of_one_scale_has_no_data_to_need() -> None:
    law = point(load_card("henighan_compute"), {"E": 1.7, "C_c": 1e18, "alpha_C": 0.1})
    with pytest.raises(LawError, match="params and tokens"):
        overfit_line(law, [1e9])
