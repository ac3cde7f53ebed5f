"""Allocation: published optima, regret worked out by hand, and limits that bind."""

import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from support.published import (
    BESIROGLU,
    CARD,
    COMPUTE_OPTIMAL,
    HOFFMANN,
    ONE,
    SPREAD,
    several,
    significant,
)

from bayescale.cards import load_card
from bayescale.decisions.allocate import allocate
from bayescale.decisions.regret import regret_map
from bayescale.decisions.split_text import end_lines
from bayescale.errors import BayescaleError, DecisionError, LawError, UnconvergedError
from bayescale.forecasting import forecast
from bayescale.laws import CHINCHILLA
from bayescale.posterior import ModelAverage, Posterior, View, point
from bayescale.splits.choice import limits_of
from bayescale.splits.optimum import Best, ladder, least_compute

GOPHER = 5.76e23


# published optima, through the same code


@pytest.mark.parametrize(
    ("coefficients", "flops", "params", "tokens", "ratio", "loss"), COMPUTE_OPTIMAL
)
def test_published_optima_to_the_printed_digits(
    coefficients: dict[str, float], flops: float, params: str, tokens: str, ratio: str, loss: str
) -> None:
    answer = allocate(point(CARD, coefficients), flops).to_json()
    for name, printed in (("params", params), ("tokens", tokens), ("tokens_per_param", ratio)):
        assert significant(answer[name]["median"], printed)
    assert significant(answer["choice"]["params"], params)
    assert significant(answer["loss"]["median"], loss)
    beta, alpha = coefficients["beta"], coefficients["alpha"]
    assert answer["exponent"]["median"] == pytest.approx(beta / (alpha + beta), abs=1e-6)


def test_kaplans_exponent_is_the_published_one() -> None:
    """The joint law's own is alpha_D / (alpha_N + alpha_D) with the power 0.076 / 0.103."""
    card = load_card("kaplan")
    answer = allocate(point(card, card.published_values("kaplan_2020")), 1e22).to_json()
    assert answer["exponent"]["median"] == pytest.approx(1 / (1 + 0.076 / 0.103), abs=1e-6)
    assert answer["published_exponents"]["Kaplan et al. 2020"] == [0.73]


# regret


def test_one_draw_regrets_nothing_at_its_optimum() -> None:
    result = allocate(ONE, [1e21, GOPHER, 1e25])
    np.testing.assert_allclose(result.choice.regret, 0, atol=1e-9)
    assert float(result.choice.wasted.max()) < 1e-5 * 1e25


def test_regret_of_a_named_split_is_that_of_its_own_compute() -> None:
    """By hand: L* - E falls as C^(-alpha beta / (alpha + beta))."""
    gopher = (280e9, 300e9)
    result = allocate(ONE, GOPHER, options=[gopher])
    assert result.options is not None
    cost = 6 * 280e9 * 300e9
    best = allocate(ONE, cost).to_json()["loss"]["median"]
    loss = float(CHINCHILLA.loss(*gopher, **BESIROGLU))
    assert result.options.regret.item() == pytest.approx(loss - best, rel=1e-6)
    gamma = 0.3478 * 0.3658 / (0.3478 + 0.3658)
    enough = cost * ((loss - 1.8172) / (best - 1.8172)) ** (-1 / gamma)
    assert result.options.wasted.item() == pytest.approx(cost - enough, rel=2e-3)
    assert result.options.points["flops"].item() == cost


def test_the_least_compute_to_a_loss_is_read_from_few_budgets_within_a_thousandth() -> None:
    """L = E + k C^-g, whose inverse is known."""
    level, size, exponent = 1.8, 1.2e3, 0.152

    def least(flops: np.ndarray) -> np.ndarray:
        return level + size * flops**-exponent

    rungs = ladder(np.array([1e22, 5.76e23, 1e26]), 6.0)
    best = Best(rungs, *np.ones((2, 1, len(rungs))), least(rungs)[None])
    asked = np.geomspace(rungs[0], rungs[-1], 301)[1:-1]
    found = least_compute(best, least(asked)[None])
    np.testing.assert_allclose(found[0], asked, rtol=1e-3)


def test_regret_matches_brute_force_over_a_fine_grid() -> None:
    result = allocate(SPREAD, GOPHER, options=[(20e9, None), (400e9, None)])
    params = np.geomspace(1e8, 1e13, 400_001)
    draws = SPREAD.draws.isel(chain=0)
    assert result.options is not None
    for i in range(4):
        values = {name: float(draws[name][i]) for name in CHINCHILLA.coefficients}
        losses = CHINCHILLA.loss(params, GOPHER / (6 * params), **values)
        for j, judged in enumerate([result.choice, result.options, result.options]):
            k = max(j - 1, 0)
            at = judged.points.iloc[k]
            own = CHINCHILLA.loss(at["params"], at["tokens"], **values)
            assert float(judged.regret[0, i, k]) == pytest.approx(own - losses.min(), abs=2e-9)


def test_wasted_compute_does_not_depend_on_how_far_down_it_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [(20e9, None), (400e9, None), (1e9, None)]
    found = allocate(SPREAD, GOPHER, options=options).options
    monkeypatch.setattr("bayescale.splits.choice.DEPTHS", (6.0,))
    deepest = allocate(SPREAD, GOPHER, options=options).options
    assert found is not None
    assert deepest is not None
    np.testing.assert_allclose(found.wasted, deepest.wasted, rtol=1e-3, atol=1e-9 * GOPHER)
    assert float(deepest.wasted[0, 0, 2] / GOPHER) > 0.9  # which the first depth does not reach


def test_a_rise_of_the_loss_with_compute_is_not_charged_to_a_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drift may make the loss rise: here beyond 1e22 FLOP, as far as it fell before.

    By hand: 1e22 / 3 FLOP reach the least loss of 3e22 FLOP, and the best split saves a share of
    these.
    """

    def losses(self: View, inputs: dict[str, np.ndarray], family: str | None = None) -> np.ndarray:
        compute = np.log(6 * inputs["params"] * inputs["tokens"] / 1e22)
        ratio = np.log(inputs["tokens"] / inputs["params"] / 20)
        return np.exp(0.01 * (compute**2 + 0.1 * ratio**2)).reshape(1, -1)

    monkeypatch.setattr(View, "losses", losses)
    fit = several(BESIROGLU)  # best splits are kept for each fit
    found = allocate(fit, 3e22, options=[(np.sqrt(3e22 / 6 / 80), None)])
    assert float(found.choice.wasted.max()) < 1e-6 * 3e22
    assert found.options is not None
    enough = 3 * np.exp(-np.sqrt(np.log(3) ** 2 + 0.1 * np.log(4) ** 2))
    assert found.options.wasted.item() == pytest.approx(3e22 * (1 - enough), rel=5e-3)


def test_the_choice_has_the_least_expected_loss() -> None:
    result = allocate(SPREAD, GOPHER)
    draws = {name: SPREAD.draws[name].values.ravel()[:, None] for name in CHINCHILLA.coefficients}
    params = np.geomspace(1e9, 1e12, 20_001)
    expected = CHINCHILLA.loss(params, GOPHER / (6 * params), **draws).mean(axis=0)
    chosen = result.choice.points["params"].item()
    assert chosen == pytest.approx(params[expected.argmin()], rel=1e-3)
    assert float(result.choice.regret.min()) >= 0
    of_median = float(np.exp(np.log(result.params).median()))
    assert chosen != pytest.approx(of_median, rel=0.01)  # it is not the split of the median draw


def test_regret_is_never_negative(rng: np.random.Generator) -> None:
    draws = [
        {
            "E": rng.uniform(0.5, 2.5),
            "A": 10 ** rng.uniform(1, 4),
            "alpha": rng.uniform(0.2, 0.6),
            "B": 10 ** rng.uniform(1, 5),
            "beta": rng.uniform(0.2, 0.6),
        }
        for _ in range(50)
    ]
    result = allocate(several(*draws), np.geomspace(1e18, 1e26, 9), options=[(1e9, 1e12)])
    assert result.options is not None
    for judged in (result.choice, result.options):
        assert float(judged.regret.min()) >= 0
        assert float(judged.wasted.min()) >= 0
        assert (judged.wasted <= judged.points["flops"].to_numpy()).all()


# limits


def test_tokens_to_be_served_make_the_model_smaller() -> None:
    served = [0.0, 1e11, 1e12, 1e13, 1e14]
    results = [allocate(ONE, GOPHER, inference_tokens=t) for t in served]
    sizes = [r.choice.points["params"].item() for r in results]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    for r, t in zip(results, served, strict=True):
        n, d = r.choice.points[["params", "tokens"]].to_numpy().ravel()
        assert 6 * n * d + 2 * n * t == pytest.approx(GOPHER)


def test_serving_is_optimal_by_brute_force() -> None:
    params = np.geomspace(1e9, 2e11, 100_001)
    tokens = (GOPHER - 2 * params * 1e12) / (6 * params)
    losses = CHINCHILLA.loss(params, tokens, **BESIROGLU)
    chosen = allocate(ONE, GOPHER, inference_tokens=1e12).choice.points["params"].item()
    assert chosen == pytest.approx(params[losses.argmin()], rel=1e-3)


def test_tokens_run_out_and_the_model_grows() -> None:
    answer = allocate(ONE, GOPHER, max_tokens=1e12).to_json()
    assert answer["choice"]["tokens"] == pytest.approx(1e12)
    assert answer["choice"]["params"] == pytest.approx(GOPHER / 6e12)
    assert answer["limits"]["max_tokens"] == 1e12


def test_what_two_limits_leave_unspent_is_told() -> None:
    result = allocate(ONE, GOPHER, max_tokens=1e12, max_params=1e10)
    answer = result.to_json()
    assert answer["choice"] == pytest.approx({"params": 1e10, "tokens": 1e12})
    assert answer["spent"] == pytest.approx(6e22)
    assert answer["expected_regret"]["loss"] == pytest.approx(0, abs=1e-9)
    assert "The limits leave 90% of the budget unspent." in str(result)


def test_only_sizes_that_can_be_built_are_chosen() -> None:
    result = allocate(ONE, [1e21, GOPHER, 1e25], sizes=[1e9, 7e9, 70e9])
    loss = [[CHINCHILLA.loss(n, c / (6 * n), **BESIROGLU) for n in (1e9, 7e9, 70e9)]
            for c in (1e21, GOPHER, 1e25)]  # fmt: skip
    expected = np.array([1e9, 7e9, 70e9])[np.argmin(loss, axis=1)]
    np.testing.assert_allclose(result.choice.points["params"], expected)
    np.testing.assert_allclose(result.params.squeeze(), expected)


# several laws


def test_laws_that_disagree_say_so_in_flop() -> None:
    """Two laws of one draw each: what one choice wastes under the other, by hand."""
    steep = replace(point(load_card("chinchilla_outer"), HOFFMANN | {"kappa": 1.0}))
    pool = ModelAverage((ONE, steep), (0.5, 0.5))
    result = allocate(pool, GOPHER)
    own = [law.choice.points.iloc[0] for law in result.by_law]
    assert significant(own[0]["params"], "7.225e10")
    assert significant(own[1]["params"], "3.219e10")
    assert own[1]["params"] < result.choice.points["params"].item() < own[0]["params"]
    assert result.across is not None
    row = result.across.set_index("follow").loc["chinchilla"]
    assert row["holds"] == "chinchilla_outer"
    cross = CHINCHILLA.loss(own[0]["params"], own[0]["tokens"], **HOFFMANN)
    best = CHINCHILLA.loss(own[1]["params"], own[1]["tokens"], **HOFFMANN)
    assert row["regret"] == pytest.approx(cross - best, rel=1e-4)
    told = f"If chinchilla_outer holds, chinchilla's choice wastes {row['wasted']:.2g} FLOP"
    assert told in str(result)
    assert set(result.to_json()["laws"]) == {"chinchilla", "chinchilla_outer"}


def test_drift_moves_the_level_and_not_the_split(chinchilla_posterior: Posterior) -> None:
    drifting, exact = (allocate(chinchilla_posterior, GOPHER, drift=d) for d in (True, False))
    widths = [np.ptp(np.log(list(r.to_json()["loss"].values()))) for r in (drifting, exact)]
    assert widths[0] > 2 * widths[1]
    ratios = [np.log(r.tokens / r.params).std() for r in (drifting, exact)]
    assert 0.5 < float(ratios[0] / ratios[1]) < 2


def test_240_runs_split_the_budget_of_gopher(chinchilla_posterior: Posterior) -> None:
    answer = allocate(chinchilla_posterior, GOPHER).to_json()
    ratio, a = answer["tokens_per_param"], answer["exponent"]
    assert 3 < ratio["lower"] < 18 < ratio["upper"] < 130
    assert a["lower"] < 0.513 < a["upper"]


# what a result holds


def test_a_frontier_is_a_table(chinchilla_posterior: Posterior) -> None:
    result = allocate(chinchilla_posterior, [1e21, 1e22, 1e23], price=1e-18)
    frame = result.to_frame()
    assert list(frame["flops"]) == [1e21, 1e22, 1e23]
    assert frame["choice_params"].is_monotonic_increasing
    assert {"regret_mean", "wasted_mean", "loss_median", "verdict"} <= set(frame)
    answer = result.to_json()
    assert [b["flops"] for b in answer["budgets"]] == [1e21, 1e22, 1e23]
    each = answer["budgets"][2]
    dollars, wasted = each["expected_regret"]["dollars"], each["expected_regret"]["flops"]
    assert dollars == pytest.approx(wasted * 1e-18)
    assert max(map(len, str(result).splitlines()[:6])) <= 100


@pytest.mark.parametrize("fit", [ONE, SPREAD])
def test_promised_keys(fit: Posterior) -> None:
    keys = {"flops", "params", "tokens", "tokens_per_param", "choice", "loss", "regret", "interval"}
    answer = allocate(fit, GOPHER).to_json()
    assert keys <= set(answer)
    assert set(answer["choice"]) == {"params", "tokens"}
    assert set(answer["regret"]) == {"loss", "flops"}


def test_each_end_of_the_search_is_named_with_its_share() -> None:
    ratios = xr.DataArray([[0.5, 0.5, 20.0, 300.0]], dims=("chain", "draw"))
    assert list(end_lines(ratios, (0.5, 300.0))) == [
        "  In 50.0% of draws the best split has the fewest tokens per parameter of the search, "
        "0.5, a factor of 4.5 below the runs': the runs do not say whether still fewer would be "
        "better. "
        "Train runs with as few to find out.",
        "  In 25.0% of draws the best split has the most tokens per parameter of the search, 300, "
        "a factor of 4.5 above the runs': the runs do not say whether still more would be better. "
        "Train runs with as many to find out.",
    ]
    assert list(end_lines(ratios[:, 2:3], (0.5, 300.0))) == []


# what cannot be split


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flops": 0.0}, "flops is 0.0, but it must be finite and greater than zero"),
        ({"flops": [1e20, -1.0]}, "flops[1] is -1.0, but it must be finite and greater than zero"),
        ({"flops": []}, "`flops=` holds no budget: give one number, or a list of them"),
        (
            {"max_tokens": 0.0, "inference_tokens": -1.0},
            "these constraints cannot be met:\n"
            "  - max_tokens is 0, but must be finite and above zero\n"
            "  - inference_tokens is -1, but must be finite, zero or more",
        ),
        (
            {"sizes": [7e9, 70e9], "max_params": 1e9},
            "these constraints cannot be met:\n"
            "  - the smallest size, 7B params, is above max_params, 1B: raise that, or add a size",
        ),
        (
            {"sizes": []},
            "these constraints cannot be met:\n"
            "  - sizes must be one or more numbers of params, each above zero",
        ),
        (
            {"flops": 1e20, "sizes": [7e9], "inference_tokens": 1e12},
            "a budget of 1e+20 FLOP cannot train the smallest size, 7B params, on even one token, "
            "and serve 1T tokens, which alone takes 1.4e+22 FLOP: raise the budget, serve fewer "
            "tokens, or add a smaller size",
        ),
        (
            {"flops": 1e9, "sizes": [7e9]},
            "a budget of 1e+09 FLOP cannot train the smallest size, 7B params, on even one token: "
            "raise the budget, or add a smaller size",
        ),
        (
            {"options": [(70e9, 20e12), (-1.0, None)], "max_tokens": 10e12},
            "these splits cannot be evaluated:\n"
            "  - 20T tokens: at most 10T exist\n"
            "  - -1 params: must be finite and above zero",
        ),
        (
            {"flops": 1e20, "options": [(7e9, None)], "inference_tokens": 1e12},
            "these splits cannot be evaluated:\n"
            "  - 7B params: serving 1T tokens takes 1.4e+22 FLOP, all of the budget of 1e+20",
        ),
        (
            {"ci_prob": 1.0},
            "ci_prob is 1.0, but must be a number above 0 and below 1: write `ci_prob=0.9` for "
            "intervals that hold 90 %",
        ),
        (
            {"flops": 1e23, "inference_tokens": 1e60},
            "a budget of 1e+23 FLOP cannot train a model of one parameter on one token, and serve "
            "1e+60 tokens, which alone takes 2e+60 FLOP: raise the budget, or serve fewer tokens",
        ),
        (
            {"flops": 70.0},
            "`flops=` is 70, but a run has 1e+09 FLOP or more: write 70 ZFLOP or 70 PF-day if that "
            "is meant",
        ),
        (
            {"flops": [1e20, 22.0]},
            "`flops=` is 22, but a run has 1e+09 FLOP or more: write 22 ZFLOP or 22 PF-day or 1e22 "
            "if that is meant",
        ),
        (
            {"flops": [1e22, 1e40]},
            "a budget of 1e+40 FLOP is above 1e+35, more than any computer can do: check its unit",
        ),
        ({"price": 0.0}, "price is 0 dollars per FLOP, but must be above zero and at most 1"),
    ],
)
def test_what_leaves_nothing_to_choose(options: dict, message: str) -> None:
    with pytest.raises(BayescaleError) as caught:
        allocate(ONE, **{"flops": GOPHER, **options})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("flops", "message"),
    [
        (
            1e-3,
            "a budget of 0.001 FLOP cannot train a model of one parameter on one token: raise the "
            "budget",
        ),
        (
            8.0,
            "a budget of 8 FLOP cannot train a model of one parameter on one token at every split "
            "that is compared, of 0.0001 to 1e+07 tokens per parameter: raise the budget",
        ),
    ],
)
def test_a_budget_too_small_for_any_model(flops: float, message: str) -> None:
    with pytest.raises(DecisionError) as caught:
        limits_of(ONE).require_a_model(np.array([flops]))
    assert str(caught.value) == message


def test_a_law_of_compute_alone_cannot_split_it(cerebras_posterior: Posterior) -> None:
    with pytest.raises(LawError) as caught:
        allocate(cerebras_posterior, 1e22)
    assert str(caught.value) == (
        "law 'henighan_compute' is a function of flops, so it cannot split a budget: use a law of "
        "params and tokens, such as chinchilla or kaplan"
    )


def test_an_unconverged_fit_is_refused_unless_allowed() -> None:
    failed = {"passed": False, "reasons": ["R-hat of E is 1.200, above 1.01"]}
    fit = replace(ONE, record={**ONE.record, "diagnostics": failed})
    with pytest.raises(UnconvergedError, match="failed its convergence"):
        allocate(fit, GOPHER)
    assert allocate(fit, GOPHER, allow_unconverged=True).flops[0] == GOPHER


def test_a_named_split_reaches_what_its_forecast_says(chinchilla_posterior: Posterior) -> None:
    """Drift included, as in the loss at the choice: the two can be compared."""
    gopher = (280e9, GOPHER / (6 * 280e9))
    result = allocate(chinchilla_posterior, GOPHER, options=[gopher])
    there = forecast(chinchilla_posterior, params=gopher[0], tokens=gopher[1])
    told = result.to_json()
    assert told["options"][0]["loss"]["median"] == pytest.approx(float(there.loss.median()))
    behind = told["options"][0]["loss"]["median"] - told["loss"]["median"]
    assert behind == pytest.approx(told["options"][0]["regret"]["loss"]["median"], abs=0.005)


def test_a_brief_answer_has_the_options_that_were_asked_for(
    chinchilla_posterior: Posterior,
) -> None:
    for budgets in (GOPHER, [GOPHER, 2 * GOPHER]):
        result = allocate(chinchilla_posterior, budgets, options=[(280e9, 300e9)])
        assert "280B params on 300B tokens" in " ".join(result.brief())


def test_without_losses_it_tells_splits_alone() -> None:
    options = [(20e9, None), (400e9, None)]
    whole = allocate(SPREAD, GOPHER, options=options)
    lean = allocate(SPREAD, GOPHER, options=options, losses=False)
    assert lean.choice.points.equals(whole.choice.points)
    assert lean.options is not None
    assert whole.options is not None
    assert lean.options.to_frame(0.9).equals(whole.options.to_frame(0.9))
    assert lean.options.loss is None
    with pytest.raises(DecisionError) as caught:
        lean.to_json()
    assert str(caught.value) == ("this allocation holds no losses: allocate with `losses=True`")
    told = str(replace(lean, at_choice=whole.at_choice, exponent=whole.exponent))
    assert told == re.sub(r"(?<=FLOP): loss \d\.\d+(?=\n      )", "", str(whole))


# laws that do not agree on a split


def far_apart() -> ModelAverage:
    """Besiroglu's law, and one whose best models are ten times as large."""
    other = load_card("chinchilla_outer")
    values = BESIROGLU | {"A": 30 * BESIROGLU["A"], "kappa": 1.0}
    values = {name: values[name] for name in other.law.coefficients}
    return ModelAverage((ONE, point(other, values)), (0.5, 0.5))


def test_laws_that_do_not_agree_on_a_split_have_none_of_their_average() -> None:
    result = allocate(far_apart(), [1e22, 1e23], options=[(7e9, None)])
    why = result.refusal(1)
    assert why is not None
    assert why.startswith("The laws do not agree: chinchilla says 29.4B params, chinchilla_outer")
    answer, nothing = result.to_json(), dict.fromkeys(("median", "lower", "upper"))
    assert answer["answered"] is False
    assert answer["exponent"] == nothing
    budget = answer["budgets"][1]
    assert budget["why"] == why
    assert budget["choice"] == {"params": None, "tokens": None}
    assert budget["params"] == budget["loss"] == budget["regret"]["flops"] == nothing
    assert budget["verdict"] is None
    assert budget["laws"]["chinchilla"]["choice"]["params"] == pytest.approx(2.94e10, rel=0.01)
    assert answer["options"][0]["loss"]["median"] > 2
    assert answer["options"][0]["expected_regret"] == {"loss": None, "flops": None}
    frame = result.to_frame()
    assert frame["choice_params"].isna().all()
    assert list(frame["why"]) == [result.refusal(0), why]
    text = str(result)
    assert f"  {why}\n    chinchilla           29.4B params on" in text
    assert "least expected loss\n" not in text.split("wasted\n")[1]
    assert "Params grow as" not in text


def test_served_tokens_may_be_an_interval() -> None:
    """Log-normal from 1T to 10T has mean sqrt(10)T exp(0.7 ** 2 / 2) = 4.04T."""
    result = allocate(ONE, GOPHER, inference_tokens=("1T", "10T"))
    mean = allocate(ONE, GOPHER, inference_tokens=4.0405e12)
    (row,), (same,) = (r.choice.points.to_dict("records") for r in (result, mean))
    assert row["params"] == pytest.approx(same["params"], rel=1e-4)
    trained, served = 6 * row["params"] * row["tokens"], 2 * row["params"] * 1e12
    low, high = result.to_json()["cost_interval"]
    assert (low, high) == pytest.approx((trained + served, trained + 10 * served))
    assert low < GOPHER < high
    text = str(result)
    assert "1T to 10T (90%, 4.04T on average) tokens to be served included" in text
    assert f"  cost        {low:.3g} to {high:.3g} FLOP for training and serving" in text


@pytest.mark.parametrize("wrong", [(1e13, 1e12), (0.0, 1e12), (1e12,), (1e12, np.inf)])
def test_served_tokens_that_are_no_interval_are_refused(wrong) -> None:
    with pytest.raises(DecisionError, match=r"must be one number, or .* 90 % interval"):
        allocate(ONE, GOPHER, inference_tokens=wrong)


def test_a_forecast_of_a_budget_needs_a_split_that_laws_agree_on() -> None:
    result = forecast(far_apart(), flops=[1e22, 1e23], target=2.0)
    why = allocate(far_apart(), [1e22, 1e23]).refusal(1)
    assert not result.answered
    assert result.refusal(1) == why
    frame = result.to_frame()
    assert frame["loss_median"].isna().all()
    assert frame["params"].isna().all()
    assert list(frame["why"]) == [result.refusal(0), why]
    assert f"at 1e+23 FLOP:\n  {why}" in str(result)
    answer = forecast(far_apart(), flops=1e23, target=2.0).to_json()
    assert answer["why"] == why
    assert answer["params"] is answer["verdict"] is answer["p_below_target"] is None
    assert answer["loss"] == dict.fromkeys(("median", "lower", "upper"))
    own = answer["laws"]["chinchilla"]["optimum"]["params"]["median"]
    assert own == pytest.approx(2.94e10, rel=0.01)
    assert forecast(far_apart(), params=7e9, tokens=1.4e11).answered


def test_a_law_without_a_share_does_not_disagree() -> None:
    fit = far_apart()
    assert allocate(ModelAverage(fit.members, (1.0, 0.0)), 1e22).answered
    assert allocate(fit.members[0], 1e22).answered


def test_a_map_around_no_split_is_refused() -> None:
    message = r"^a map needs a single split in its center\. The laws do"
    with pytest.raises(DecisionError, match=message):
        regret_map(far_apart(), 1e22)
