"""The regret map: what each split gives up as allocate says it, and limits at its edges."""

import json

import numpy as np
import pytest
from support.published import BESIROGLU, ONE, SPREAD

from bayescale.cards import load_card
from bayescale.decisions.allocate import allocate
from bayescale.decisions.regret import regret_map
from bayescale.errors import BayescaleError, LawError
from bayescale.laws import CHINCHILLA
from bayescale.posterior import ModelAverage, Posterior, point
from bayescale.splits.hardware import Cluster
from bayescale.splits.utilization import Utilization

GOPHER = 5.76e23
KAPLAN = load_card("kaplan_irreducible")
OTHER = point(KAPLAN, {"E": 1.7, "N_c": 1e9, "alpha_N": 0.3, "D_c": 1e10, "alpha_D": 0.3})


def test_regret_of_one_draw_by_hand() -> None:
    """On the budget: the loss there less the least on a fine line; no draw regrets the choice."""
    frame = regret_map(ONE, GOPHER).to_frame()
    line = frame[frame["on_budget"]]
    params = np.geomspace(1e9, 1e13, 400_001)
    least = CHINCHILLA.loss(params, GOPHER / (6 * params), **BESIROGLU).min()
    loss = CHINCHILLA.loss(line["params"], line["tokens"], **BESIROGLU)
    np.testing.assert_allclose(line["regret_mean"], loss - least, atol=1e-8)
    chosen = frame[frame["choice"]]
    assert len(chosen) == 1
    assert chosen["params"].item() == pytest.approx(7.225e10, rel=1e-3)
    assert chosen["regret_mean"].item() < 1e-9


@pytest.mark.parametrize(
    "fit", [SPREAD, ModelAverage((SPREAD, OTHER), (0.5, 0.5))], ids=["one", "pool"]
)
def test_every_split_is_judged_as_a_named_one_is(fit: Posterior | ModelAverage) -> None:
    """Against the best split of its own cost; the mean is over draws."""
    result = regret_map(fit, GOPHER, doublings=1)
    frame = result.to_frame()
    for i in (0, 17, 40, 80, 85):
        row = frame.iloc[i]
        named = allocate(fit, GOPHER, options=[(row["params"], row["tokens"])]).options
        assert named is not None
        assert row["regret_mean"] == pytest.approx(float(named.regret.mean()), rel=1e-6, abs=1e-9)
        assert row["regret_upper"] == pytest.approx(float(named.regret.quantile(0.95)), rel=1e-6)
        share = float(named.wasted.mean()) / (6 * row["params"] * row["tokens"])
        assert row["wasted_share_mean"] == pytest.approx(share, abs=2e-3)


def test_the_map_lies_about_the_choice() -> None:
    result = regret_map(SPREAD, GOPHER, doublings=2)
    frame, choice = result.to_frame(), allocate(SPREAD, GOPHER).choice.split(0)
    grid = frame[~frame["on_budget"]]
    assert len(grid) == 17**2
    for name, value in choice.items():
        assert grid[name].min() == pytest.approx(value / 4)
        assert grid[name].max() == pytest.approx(value * 4)
    line = frame[frame["on_budget"]]
    np.testing.assert_allclose(6 * line["params"] * line["tokens"], GOPHER)


def test_the_map_ends_at_limits() -> None:
    result = regret_map(SPREAD, GOPHER, max_tokens=1.5e12, max_params=2e11)
    frame = result.to_frame()
    assert frame["tokens"].max() == 1.5e12
    assert frame["params"].max() == 2e11
    assert set(frame["max_tokens"]) == {1.5e12}
    line = frame[frame["on_budget"]]
    np.testing.assert_allclose(line["flops"], GOPHER)
    assert line["tokens"].max() <= 1.5e12
    binding = regret_map(SPREAD, GOPHER, max_tokens=1e10, max_params=1e9).to_frame()
    chosen = binding[binding["choice"]]  # spends 6e19 alone, all that the limits allow
    assert chosen[["params", "tokens"]].to_numpy().tolist() == [[1e9, 1e10]]
    repeated = load_card("repetition")
    values = repeated.published_values("muennighoff_2023")
    seen_again = regret_map(point(repeated, values), 1e22, max_tokens=1e10, doublings=1).to_frame()
    assert set(seen_again["unique_tokens"]) == {1e10}
    assert seen_again["tokens"].max() > 1e10


def test_serving_is_paid_for_by_the_budget() -> None:
    frame = regret_map(SPREAD, GOPHER, inference_tokens=1e12).to_frame()
    cost = 6 * frame["params"] * frame["tokens"] + 2 * frame["params"] * 1e12
    np.testing.assert_allclose(frame["flops"], cost)
    np.testing.assert_allclose(cost[frame["on_budget"]], GOPHER)
    assert len(np.unique(np.log(cost).round(9))) < 60  # costs repeat, and are answered once


def test_gpus_make_dollars_of_a_map_and_their_memory_ends_it() -> None:
    """Equal days are equal dollars, whatever the size; their FLOP follow utilization."""
    shares = Utilization.of({"1B": 0.45, "70B": 0.3})
    gpus = Cluster(64, 989e12, utilization=shares, price=2.0, memory=10e9)
    result = regret_map(SPREAD, days=60, cluster=gpus)
    frame = result.to_frame()
    assert frame["params"].max() == 64 * 10e9 / 16
    line = frame[frame["on_budget"]]
    np.testing.assert_allclose(line["dollars"], 60 * 24 * 64 * 2.0)
    seconds = line["flops"] / (64 * 989e12 * shares.at(line["params"]))
    np.testing.assert_allclose(seconds, 60 * 86_400)
    wasted = line["wasted_dollars_mean"] / line["dollars"]
    np.testing.assert_allclose(wasted, line["wasted_share_mean"])
    row = frame[~frame["on_budget"]].iloc[17]
    split = (row["params"], row["tokens"])
    named = allocate(SPREAD, days=60, cluster=gpus, options=[split]).options
    assert named is not None
    expected = named.to_frame(0.9)["wasted_dollars_mean"].item()
    assert row["wasted_dollars_mean"] == pytest.approx(expected, rel=1e-2)
    text = str(result)
    assert "takes 60 days on 64 GPUs (92,160 GPU-hours at 33% of the peak)" in text
    assert "184,320" in text
    assert result.to_json()["cluster"]["gpus"] == 64


def test_it_is_told_in_words_and_numbers() -> None:
    result = regret_map(SPREAD, GOPHER)
    text = str(result).splitlines()
    assert text[0] == "chinchilla: what splits of 5.76e+23 FLOP give up"
    assert [line.split()[0] for line in text[2:9]] == [
        "9.36B", "18.7B", "37.4B", "74.9B", "150B", "300B", "599B",
    ]  # fmt: skip
    assert text[5].endswith("  choice")
    assert text[-1] == (
        "The map has 625 splits, 9.36B params on 160B tokens to 599B params on 10.3T tokens."
    )
    answer = json.loads(json.dumps(result.to_json()))
    assert len(answer["splits"]) == 625
    assert len(answer["line"]) == 25
    assert answer["line"][12]["params"] == pytest.approx(answer["choice"]["params"])
    assert answer["limits"]["max_tokens"] is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"flops": [1e20, 1e21]},
            "a regret map is for one budget, but 2 are given: call it for each",
        ),
        ({"flops": -1.0}, "flops is -1.0, but it must be finite and greater than zero"),
        ({"flops": 1e20, "doublings": 0}, "doublings is 0, but must be one or more"),
    ],
)
def test_what_cannot_be_mapped_is_named(asked: dict, message: str) -> None:
    with pytest.raises(BayescaleError) as error:
        regret_map(ONE, **asked)
    assert str(error.value) == message


def test_a_law_of_one_scale_has_no_splits() -> None:
    law = point(load_card("henighan_compute"), {"E": 1.7, "C_c": 1e18, "alpha_C": 0.1})
    with pytest.raises(LawError, match="params and tokens"):
        regret_map(law, 1e22)
