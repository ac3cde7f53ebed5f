"""Budgets in the log's own count of compute: read off the log, and spent by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.published import BESIROGLU, CARD, ONE

from bayescale.conventions import SIX_ND, FlopCount, read_flop_count
from bayescale.decisions.allocate import allocate
from bayescale.decisions.candidates import checked_candidates
from bayescale.decisions.regret import regret_map
from bayescale.forecasting import forecast
from bayescale.laws import CHINCHILLA
from bayescale.posterior import Posterior, flop_count_of, open_posterior, point, save
from bayescale.runs import convert, read_runs
from bayescale.splits import Constraints

SIZES = np.array([190e6, 370e6, 760e6, 1.3e9, 3.2e9, 7e9, 13e9])


def log_of(ratio: object) -> pd.DataFrame:
    """Runs at 20 and 100 tokens per parameter, whose C / (6 N D) is this, one for each size."""
    params, each = np.repeat(SIZES, 2), np.tile([20.0, 100.0], len(SIZES))
    tokens = each * params
    flops = (
        np.repeat(np.broadcast_to(np.asarray(ratio, float), SIZES.shape), 2) * 6 * params * tokens
    )
    loss = CHINCHILLA.loss(params, tokens, **BESIROGLU)
    return pd.DataFrame({"params": params, "tokens": tokens, "flops": flops, "loss": loss})


def fitted_to(ratio: object, fit: Posterior = ONE) -> Posterior:
    return replace(fit, card=CARD.without_drift(), runs=read_runs(log_of(ratio)))


OLMO_LIKE = 1.2 + 0.47 * (SIZES / 190e6) ** (-1 / 3)
"""C / (6 N D) from 1.67 to 1.31."""


# the count, from the log


@pytest.mark.parametrize("ratio", [1.0, 1.02, np.tile([0.99, 1.01], 4)[:7]])
def test_a_log_of_6nd_is_counted_as_6nd(ratio: object) -> None:
    assert read_runs(log_of(ratio)).flop_count is SIX_ND


def test_a_log_without_compute_is_counted_as_6nd() -> None:
    assert read_runs(log_of(1.4).drop(columns="flops")).flop_count is SIX_ND


def test_a_constant_factor_is_taken_from_the_log() -> None:
    count = read_runs(log_of(1.4)).flop_count
    assert count.per_param_token(1e9) == pytest.approx(8.4)
    assert count.flops(7e10, 1.4e12) == pytest.approx(1.4 * 6 * 7e10 * 1.4e12)
    assert count.in_words() == "1.4 times 6 N D, as in the log, whatever the model's size"


def test_a_count_that_falls_with_size_is_taken_from_the_log_and_ends_at_its_largest_model() -> None:
    count = read_runs(log_of(OLMO_LIKE)).flop_count
    np.testing.assert_allclose(count.per_param_token(SIZES), 6 * OLMO_LIKE, rtol=1e-9)
    assert count.per_param_token(1e12) == pytest.approx(6 * OLMO_LIKE[-1])
    assert count.per_param_token(1e6) == pytest.approx(6 * OLMO_LIKE[0])
    assert count.in_words() == (
        "1.67 times 6 N D at 190M params to 1.31 times at 13B, as in the log; larger models are "
        "taken to cost 1.31 times 6 N D too, smaller ones 1.67 times"
    )


def test_a_count_that_scatters_names_its_spread() -> None:
    ratio = np.array([1.2, 1.5, 1.3, 1.6, 1.2, 1.5, 1.35])
    count = read_runs(log_of(ratio)).flop_count
    assert count.is_constant
    assert count.scatter == pytest.approx(np.log(1.6 / 1.35))
    assert count.in_words() == (
        "1.35 times 6 N D, as in the log (runs from 1.2 to 1.6, within 19%), whatever the model's "
        "size"
    )


def test_runs_that_lack_a_number_do_not_count() -> None:
    frame = log_of(1.4)
    frame.loc[3, "flops"] = np.nan
    assert read_flop_count(frame).level == pytest.approx(8.4)
    assert read_flop_count(frame.assign(flops=np.nan)) is SIX_ND


def test_the_count_is_kept_where_runs_are_taken_and_made_anew_where_they_are_converted() -> None:
    runs = read_runs(log_of(OLMO_LIKE))
    assert runs.take(lambda frame: frame["params"] > 1e9).flop_count == runs.flop_count
    assert convert(runs, flops="6ND").flop_count is SIX_ND


def test_files_carry_the_count_and_old_files_are_6nd(tmp_path: Path) -> None:
    fit = fitted_to(OLMO_LIKE, point(CARD, BESIROGLU, sigma=0.01, nu=5.0))
    opened = open_posterior(save(fit, tmp_path / "fit.nc"))
    assert flop_count_of(opened) == flop_count_of(fit)
    old = open_posterior(Path(__file__).parents[1] / "formats" / "format_1_version_0.1.0.nc")
    assert flop_count_of(old) == SIX_ND


# budgets, spent in it


def test_a_budget_is_spent_in_the_count_of_the_log() -> None:
    """By hand: 1.4 times 6 N D = C, so C buys what C / 1.4 buys at 6 N D."""
    fit, budget = fitted_to(1.4), 1e23
    spent, plain = allocate(fit, budget), allocate(ONE, budget / 1.4)
    split = spent.to_json()["choice"]
    assert 1.4 * 6 * split["params"] * split["tokens"] == pytest.approx(budget, rel=1e-9)
    assert split == pytest.approx(plain.to_json()["choice"], rel=1e-6)
    answer = forecast(fit, flops=budget).to_json()
    assert 1.4 * 6 * answer["params"] * answer["tokens"] == pytest.approx(budget, rel=1e-9)
    assert answer["params"] == pytest.approx(split["params"], rel=1e-3)
    assert "Compute is counted as 1.4 times 6 N D, as in the log" in str(spent)
    assert spent.to_json()["flop_count"]["words"].startswith("1.4 times 6 N D")


def test_the_frontier_is_in_the_count_of_the_log() -> None:
    table = allocate(fitted_to(1.4), [1e22, 1e23, 1e24]).to_frame()
    spent = 1.4 * 6 * table["choice_params"] * table["choice_tokens"]
    np.testing.assert_allclose(spent, [1e22, 1e23, 1e24])


def test_a_count_that_depends_on_the_model_moves_the_best_model() -> None:
    """By brute force along all splits with k(N) N D = C."""
    fit, budget = fitted_to(OLMO_LIKE), 3e21
    count = flop_count_of(fit)
    params = np.geomspace(1e8, 1e11, 400_001)
    tokens = budget / (6 * np.interp(np.log(params), np.log(SIZES), OLMO_LIKE) * params)
    exact = budget / (count.per_param_token(params) * params)
    np.testing.assert_allclose(tokens, exact, rtol=0.02)  # the count is that of the log
    best = params[CHINCHILLA.loss(params, exact, **BESIROGLU).argmin()]
    split = allocate(fit, budget).to_json()["choice"]
    assert split["params"] == pytest.approx(best, rel=1e-3)
    assert count.flops(split["params"], split["tokens"]) == pytest.approx(budget, rel=1e-9)
    answer = forecast(fit, flops=budget).to_json()
    assert answer["params"] == pytest.approx(best, rel=1e-3)
    assert count.flops(answer["params"], answer["tokens"]) == pytest.approx(budget, rel=1e-9)
    same_rate = budget / (count.per_param_token(best) / 6)
    assert best > 1.02 * forecast(ONE, flops=same_rate).points["params"].item()


def test_serving_a_token_costs_a_third_of_training_on_it() -> None:
    limits = Constraints(count=FlopCount(level=8.4), inference_tokens=1e12)
    assert limits.cost(1e9, 2e10) == pytest.approx(8.4 * 1e9 * 2e10 + 2.8 * 1e9 * 1e12)


@pytest.mark.parametrize("served", [0.0, 1e12])
@pytest.mark.parametrize("most", [None, 3e11])
def test_splits_spend_the_whole_budget(served: float, most: float | None) -> None:
    count = read_runs(log_of(OLMO_LIKE)).flop_count
    limits = Constraints(count=count, inference_tokens=served, max_tokens=most)
    budget = np.array([1e22])
    low, high = limits.range(budget)
    for at in np.linspace(low, high, 7):
        params, tokens = limits.split(budget, at)
        assert limits.cost(params, tokens) == pytest.approx(budget, rel=1e-9)
        assert limits.tokens_left(budget, params) == pytest.approx(tokens, rel=1e-6)


def test_a_regret_map_is_in_the_count_of_the_log() -> None:
    found = regret_map(fitted_to(1.4), 1e22)
    line = found.to_frame().query("on_budget")
    np.testing.assert_allclose(1.4 * 6 * line["params"] * line["tokens"], 1e22, rtol=1e-6)


def test_the_extrapolation_ratio_compares_compute_of_one_count() -> None:
    fit = fitted_to(1.4)
    largest = forecast(fit, params=13e9, tokens=1.3e12).to_json()
    assert largest["extrapolation_ratio"] == pytest.approx(1.0)
    assert largest["flops"] == pytest.approx(1.4 * 6 * 13e9 * 1.3e12)
    further = forecast(fit, flops=10 * largest["flops"]).to_json()
    assert further["extrapolation_ratio"] == pytest.approx(10.0)


def test_a_run_without_compute_is_compared_by_the_count_of_the_others() -> None:
    frame = log_of(1.4)
    frame.loc[len(frame) - 1, "flops"] = np.nan
    fit = replace(fitted_to(1.4), runs=read_runs(frame, missing="keep"))
    largest = forecast(fit, params=13e9, tokens=1.3e12).to_json()
    assert largest["extrapolation_ratio"] == pytest.approx(1.0)


def test_candidates_are_priced_in_the_count_of_the_log() -> None:
    fit = fitted_to(1.4)
    grid = checked_candidates(fit, None, 1e23)
    np.testing.assert_allclose(grid["flops"], 1.4 * 6 * grid["params"] * grid["tokens"])
    np.testing.assert_allclose(grid["flops"].max(), 1e23)
    named = checked_candidates(fit, pd.DataFrame({"params": [1e9], "tokens": [2e10]}), 1e23)
    assert named["flops"].item() == pytest.approx(1.4 * 6 * 1e9 * 2e10)
