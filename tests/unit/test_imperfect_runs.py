"""Imperfect runs: what card and log may say of them, and what fits and forecasts make of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from support.imperfect import CHECKPOINTS, card_with, some_runs
from support.refits import built, even_normal

from bayescale.cards import card_for, input_errors, load_card, loss_steps, parse_card
from bayescale.decisions.next_run import next_run
from bayescale.errors import CardError, PosteriorError, RunLogError
from bayescale.forecasting import forecast
from bayescale.inference.fit import fit, refit
from bayescale.posterior import MEAN, ModelAverage, Posterior, open_posterior, save
from bayescale.tasks import Serial
from bayescale.validation.backtest import backtest

TRUTH = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2000.0, "beta": 0.37}
LARGE = {"params": 1e11, "tokens": 2e12}


def refused(card: Any, runs: Any) -> str:
    with pytest.raises(RunLogError) as caught:
        card_for(runs, card)
    return str(caught.value)


# what card and log say


def test_what_is_said_twice_or_does_not_go_together_is_reported_together() -> None:
    card = card_with("excess", "rounding", "input_errors")
    runs = some_runs(run=CHECKPOINTS, loss_step=0.01, params_se=0.1, tokens_se=0.1)
    assert refused(card, runs) == (
        "card 'chinchilla' cannot be used with DataFrame:\n"
        "  - several of its rows are of one run, and the card does not say how much noise these "
        "share: add [noise.shared] (`bayescale.load_card('chinchilla')` has one), or keep one "
        "row per run\n"
        "  - noise.excess cannot be combined with several rows of one run: keep one row per run\n"
        "  - rounded losses cannot be combined with several rows of one run: keep one row per run\n"
        "  - the rounding of losses is stated twice, by its column loss_step and by the card's "
        "[noise.rounding]: keep one of them\n"
        "  - errors of scales are stated twice, by its column params_se and tokens_se and by the "
        "card's [noise.input_errors]: keep one of them\n"
        "  - errors of both tokens and flops are stated, but with params one follows from the "
        "other: keep the one that was measured, tokens_se or flops_se"
    )


def test_errors_of_scales_that_the_law_does_not_see_are_refused() -> None:
    assert refused(load_card("henighan_compute"), some_runs(params_se=0.1)) == (
        "card 'henighan_compute' cannot be used with DataFrame:\n"
        "  - errors are stated of params, but the law is of flops: state flops_se"
    )


def test_a_step_as_wide_as_the_loss_is_refused() -> None:
    steps = [0.01] * 5 + [9.0]
    assert refused(load_card("chinchilla"), some_runs(loss_step=steps)) == (
        "card 'chinchilla' cannot be used with DataFrame:\n"
        "  - losses rounded to 9 could be zero in r5: state the step that losses were rounded to"
    )


def test_a_share_lies_between_zero_and_one() -> None:
    text = card_with("shared").text
    prior = 'dist = "Beta", kwargs = { alpha = 4, beta = 1.5 }'
    assert prior in text
    with pytest.raises(CardError) as caught:
        parse_card(text.replace(prior, "low = 0.1, high = 0.9"))
    assert str(caught.value) == (
        "model card cannot be used:\n"
        "  - noise: shared is a share of variance, so its prior must lie between 0 and 1: use "
        'dist = "Beta", or "Uniform"'
    )


def test_noise_shrinks_with_scale_only_where_there_is_one() -> None:
    text = load_card("downstream").text
    section = card_with("shrink").text
    section = section[section.index("[noise.shrink]") : section.index("[drift]")]
    with pytest.raises(CardError, match=r"noise.shrink needs a law of params, tokens or flops; "):
        parse_card(text.replace("[noise.shared]", section + "[noise.shared]"))


def test_shared_noise_is_used_where_rows_share_a_run() -> None:
    card = load_card("chinchilla")
    assert "shared" not in card_for(some_runs(), card).parameters
    assert "shared" not in card_for(some_runs(run=list("abcdef")), card).parameters
    assert "shared" in card_for(some_runs(run=CHECKPOINTS), card).parameters


def test_steps_reach_half_a_step_each_way() -> None:
    runs = some_runs(loss_step=0.02)
    low, high = loss_steps(load_card("chinchilla"), runs) or ()
    np.testing.assert_allclose(runs["loss"] * np.exp(low), runs["loss"] - 0.01)
    np.testing.assert_allclose(runs["loss"] * np.exp(high), runs["loss"] + 0.01)
    stated = card_with("rounding")
    np.testing.assert_allclose(loss_steps(stated, some_runs()) or (), (low, high))
    of_log = parse_card(stated.text.replace('of = "loss"', 'of = "log loss"'))
    np.testing.assert_array_equal(loss_steps(of_log, some_runs()) or (), [[-0.01] * 6, [0.01] * 6])


def test_errors_come_from_the_log_or_the_card() -> None:
    of_log = input_errors(load_card("chinchilla"), some_runs(params_se=0.1))
    np.testing.assert_array_equal(of_log["params"], [0.1] * 6)
    of_card = input_errors(card_with("input_errors"), some_runs())
    assert {name: float(errors[0]) for name, errors in of_card.items()} == {
        "params": 0.05, "flops": 0.08,
    }  # fmt: skip


# what forecasts say


def floor(**more: Any) -> Posterior:
    """The true floor, with runs 2 % above it on average."""
    values = TRUTH | {"sigma": 0.001, "nu": 30.0, "excess": 0.02} | more
    return built(card_with("excess"), some_runs(), values)


def test_a_floor_is_never_called_a_mean() -> None:
    result = forecast(floor(), **LARGE, target=1.9)
    answer = result.to_json()
    assert (answer["loss_is"], answer["loss_new_is"]) == (
        "floor of tuned runs",
        "a single new run, tuned as these were",
    )
    text = str(result)
    assert "  floor of tuned runs               " in text
    assert "  a single new run, tuned as these were  " in text
    assert "mean over seeds" not in text
    plain = forecast(built(card_with(), some_runs(), TRUTH | {"sigma": 0.01, "nu": 5.0}), **LARGE)
    assert plain.to_json()["loss_is"] == MEAN
    assert "  mean over seeds  " in str(plain)


def test_a_new_run_lies_above_the_floor_as_runs_do() -> None:
    """An exponential of 2 % has its median at ln 2 times that, its 95 % point at ln 20 times."""
    result = forecast(floor(sigma=1e-5, nu=1e4), **LARGE)
    above = np.log(result.loss_new / result.loss).values.ravel()
    assert np.median(above) == pytest.approx(0.02 * np.log(2), rel=0.04)
    assert np.quantile(above, 0.95) == pytest.approx(0.02 * np.log(20), rel=0.04)
    assert (above > -1e-4).all()


def test_density_of_a_new_run_is_that_above_the_floor() -> None:
    posterior = floor(nu=1e4)
    at = {name: xr.DataArray([value], dims="point") for name, value in LARGE.items()}
    mean = float(posterior.exact.loss(at)[0, 0, 0])
    loss = mean * np.exp(0.015)
    density = posterior.drifting.log_density([loss], at)[0, 0, 0]
    expected = stats.exponnorm.logpdf(0.015, 20, scale=0.001) - np.log(loss)
    assert float(density) == pytest.approx(expected, abs=1e-3)


def test_a_floor_and_a_mean_are_not_averaged() -> None:
    runs = some_runs()
    other = built(load_card("kaplan_irreducible"), runs, {"sigma": 0.01, "nu": 5.0})
    with pytest.raises(PosteriorError) as caught:
        ModelAverage((replace(floor(), runs=runs), other), (0.5, 0.5))
    assert (
        "some of its laws are floors and others means over seeds: give all cards [noise.excess], "
        "or none"
    ) in str(caught.value)


def shrinking() -> Posterior:
    """Scatter of 1 % amid the runs that falls as compute^-0.1."""
    values = TRUTH | {"sigma": 0.01, "nu": 1e4, "shrink": 0.1}
    return built(card_with("shrink"), some_runs(), values)


def test_noise_of_a_new_run_goes_on_shrinking_and_the_text_says_so() -> None:
    posterior, runs = shrinking(), some_runs()
    log_size = np.log(6 * runs["params"] * runs["tokens"])
    there, largest = (
        0.01 * np.exp(-0.1 * (x - log_size.mean()))
        for x in (np.log(6 * LARGE["params"] * LARGE["tokens"]), log_size.max())
    )
    result = forecast(posterior, **LARGE)
    spread = np.log(result.loss_new / result.loss).values.std()
    assert spread == pytest.approx(there, rel=0.03)
    assert result.to_json()["noise"] == pytest.approx(
        {"noise_sd": there, "noise_sd_at_largest": largest}
    )
    assert (
        f"The noise of a new run is taken as {there:.2%}, less than the {largest:.2%} at the "
        "largest run: it is assumed to keep shrinking."
    ) in str(result)
    inside = forecast(posterior, params=1e9, tokens=2e10)
    assert "keep shrinking" not in str(inside)


@pytest.mark.integration
def test_a_less_noisy_run_is_worth_more() -> None:
    """Two candidates that tell alike of the target, where noise alone differs."""
    steady = shrinking()
    drawn = steady.draws.assign(E=(("chain", "draw"), even_normal(1.8, 0.02)[None]))
    steady = replace(steady, tree=xr.DataTree.from_dict({"posterior": drawn}))
    target = {f"target_{name}": value for name, value in LARGE.items()}
    left = [
        next_run(posterior, budget=1e24, **target).candidates.sort_values("flops")["sd_after"]
        for posterior in (steady, replace(steady, tree=without_shrink(drawn)))
    ]
    assert left[0].iloc[-1] < left[1].iloc[-1]
    assert left[0].iloc[0] > left[1].iloc[0]


def without_shrink(drawn: xr.Dataset) -> xr.DataTree:
    return xr.DataTree.from_dict({"posterior": drawn.drop_vars("shrink")})


def test_backtests_score_new_runs_above_the_floor() -> None:
    """The true floor and excess: held-out runs fall where a new run would."""

    def known(runs: Any, card: Any, seed: int = 0) -> Posterior:
        return built(card, runs, TRUTH | {"sigma": 0.002, "nu": 30.0, "excess": 0.02})

    rng = np.random.default_rng(1)
    runs = some_runs(60)
    loss = TRUTH["E"] + 480 / runs["params"] ** 0.35 + 2000 / runs["tokens"] ** 0.37
    above = 0.02 * rng.standard_exponential(60)
    runs = replace(runs, frame=runs.frame.assign(loss=loss * np.exp(above)), _arrays={})
    result = backtest(runs, [card_with("excess")], refit=known, executor=Serial())
    forecasts = result.forecasts
    assert forecasts["pit"].mean() == pytest.approx(0.5, abs=0.1)
    assert np.isfinite(forecasts["lpd"]).all()
    assert forecasts["covered90"].mean() > 0.8


# fits


@pytest.fixture(scope="module")
def checkpointed() -> Posterior:
    """Twelve rows of six training runs, with errors of the loss, by the law of compute."""
    rows = some_runs(12, run=list("aaabbbcccdef"), loss_se=0.01)
    return fit(rows, "henighan_compute", draws=300, tune=400, chains=2)


def test_checkpoints_are_left_out_by_training_run(checkpointed: Posterior, tmp_path) -> None:
    assert checkpointed.tree["log_likelihood"].to_dataset()["log_loss"].sizes["run"] == 6
    loo = checkpointed.tree["leave_one_out"].to_dataset()
    assert loo.sizes["run"] == 12
    of_a = loo.isel(run=slice(0, 3))
    assert len(np.unique(of_a["pareto_k"])) == 1
    assert np.ptp(of_a["shift"].values, axis=0).max() == 0
    assert len(np.unique(of_a["p_value"])) == 3
    again = open_posterior(save(checkpointed, tmp_path / "fit.nc"))
    assert isinstance(again, Posterior)
    assert "shared" in again.card.parameters
    assert "shared" in str(again)


def test_a_compiled_model_takes_other_checkpoints(checkpointed: Posterior) -> None:
    rows = some_runs(9, run=list("aabbccdef"), loss_se=0.01)
    assert "shared" in refit(rows, load_card("henighan_compute"), draws=50, tune=100).draws
