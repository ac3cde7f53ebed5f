"""Splits: one choice for every command, drift that moves them, and backtests of both."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.cards import ModelCard, load_card
from bayescale.decisions.allocate import allocate
from bayescale.decisions.next_run import next_run
from bayescale.forecasting import forecast
from bayescale.laws import UNIFIED, compute_optimal
from bayescale.posterior import Posterior
from bayescale.runs import Runs, read_runs
from bayescale.splits import (
    Constraints,
    default_sizes,
    default_split,
    limits_of,
    losses_of,
    searched_range,
)
from bayescale.splits.optimum import best_choice
from bayescale.tasks import Serial
from bayescale.validation.backtest import backtest
from bayescale.validation.backtest_record import record_of
from bayescale.validation.cross_check import cross_check
from bayescale.validation.split_forecasts import measured_optima

TRUTH = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 1200.0, "beta": 0.35, "kappa": 0.8}
BUDGETS = np.geomspace(1e19, 1e21, 5)
N_DRAWS = 200


def sweep(width: float = 4.0, n: int = 7) -> Runs:
    """Runs of the true law at five budgets, from the best size over ``width`` to times it."""
    best, _ = compute_optimal(UNIFIED, BUDGETS, TRUTH)
    params = (best[:, None] * np.geomspace(1 / width, width, n)).ravel()
    tokens = np.repeat(BUDGETS, n) / 6 / params
    noise = 0.0005 * (-1.0) ** np.arange(len(params))
    loss = UNIFIED.loss(params, tokens, **TRUTH) * np.exp(noise)
    frame = {"params": params, "tokens": tokens, "flops": np.repeat(BUDGETS, n), "loss": loss}
    meant = dict.fromkeys(("params", "tokens", "flops"), "1") | {"loss": "nats"}
    return read_runs(pd.DataFrame(frame), units=meant)


def fitted(runs: Runs, card: ModelCard | None = None, seed: int = 0, q: float = 0.005) -> Posterior:
    """The true law in every draw, with random drift of size q, as a refit would hold it."""
    card = load_card("unified") if card is None else card
    assert card.drift is not None
    rng = np.random.default_rng(seed)
    dims = ("chain", "draw")
    values = TRUTH | {"sigma": 0.001, "nu": 8.0} | dict.fromkeys(card.drift.parameters, q)
    draws = {name: (dims, np.full((1, N_DRAWS), value)) for name, value in values.items()}
    draws |= {
        f"drift_walk_{name}": ((*dims, "step"), q * rng.standard_normal((1, N_DRAWS, 12)))
        for name in card.drift.walks
    }
    dataset = xr.Dataset(draws, coords={"chain": [0], "draw": np.arange(N_DRAWS)})
    tree = xr.DataTree.from_dict({"posterior": dataset, "posterior_drifting": dataset})
    record = {"diagnostics": {"passed": True, "reasons": []}, "provenance": {"seed": seed}}
    return Posterior(tree, card, runs, record)


def sure(runs: Runs, card: ModelCard, seed: int = 0) -> Posterior:
    """The true law but for a split that is off by a factor of two, and hardly any drift."""
    fit = fitted(runs, card, seed, q=1e-6)
    wrong = {g: fit.tree[g].to_dataset().assign(A=3.0 * fit.draws["A"]) for g in fit.tree.children}
    return replace(fit, tree=xr.DataTree.from_dict(wrong))


def test_every_command_names_the_same_split_to_the_last_digit() -> None:
    fit, flops = fitted(sweep()), 1e22
    split = allocate(fit, flops).choice.split(0)
    point = forecast(fit, flops=flops).points.iloc[0]
    run = next_run(fit, 1e20, target_flops=flops)
    crossed = cross_check(fit, flops=flops)
    for name in ("params", "tokens"):
        assert point[name] == split[name]
        assert run.at[name] == split[name]
        assert crossed.of("posterior", name)["estimate"] == split[name]


def test_the_choice_does_not_jump_between_bumps_of_the_drift() -> None:
    """With a hump amid the ratios and a tilt, the mean loss has two minima that change places."""
    fit = fitted(sweep(), q=0.004)
    below, above = np.eye(12)[[0, 1]], np.eye(12)[[6, 7]]
    hump = 0.015 * (2 * (below[1] + above[1]) - below[0] - above[0])
    tilt = 0.003 * np.repeat([1.0, -1.0], 6)
    bent = {}
    for group in fit.tree.children:
        draws = fit.tree[group].to_dataset()
        for name, steps in (("tokens_per_param", hump), ("tilt", tilt)):
            draws[f"drift_walk_{name}"] = draws[f"drift_walk_{name}"] + xr.DataArray(
                steps, dims="step"
            )
        bent[group] = draws
    fit = replace(fit, tree=xr.DataTree.from_dict(bent))
    flops = np.geomspace(1e19, 1e22, 31)
    of_mean, _ = best_choice([losses_of(fit.drifting)], (1.0,), flops, limits_of(fit))
    assert np.diff(np.log(of_mean)).min() < -0.4
    params, _ = default_sizes(fit, flops)
    steps = np.diff(np.log(params))
    assert steps.min() > 0.03
    assert steps.max() < 0.2


def test_sizes_that_can_be_built_are_compared_as_all_others() -> None:
    """The choice among many sizes is the one nearest to the choice among all."""
    fit = fitted(sweep(), q=0.004)
    sizes = tuple(np.geomspace(1e9, 1e11, 200))
    free = allocate(fit, 1e22).choice.split(0)["params"]
    assert allocate(fit, 1e22, sizes=sizes).choice.split(0)["params"] == pytest.approx(
        free, rel=0.03
    )


def test_drift_across_tokens_per_parameter_makes_the_best_split_uncertain() -> None:
    runs = sweep()
    widths = {}
    for q in (1e-9, 0.005):
        best = np.log(default_split(fitted(runs, q=q), np.array([1e22])).best["params"].values)
        widths[q] = np.ptp(np.quantile(best, [0.05, 0.95]))
    assert widths[1e-9] < 1e-3
    assert widths[0.005] > 0.3
    without = default_split(fitted(runs), np.array([1e22]), drift=False)
    expected, _ = compute_optimal(UNIFIED, 1e22, TRUTH)
    np.testing.assert_allclose(without.params, expected, rtol=1e-4)


def test_the_search_ends_a_factor_beyond_the_runs_and_says_where_it_ends() -> None:
    runs = sweep()
    ratio = runs["tokens"] / runs["params"]
    low, high = searched_range(runs)
    assert low == pytest.approx(ratio.min() / np.exp(1.5))
    assert high == pytest.approx(ratio.max() * np.exp(1.5))
    far = sweep().take(lambda frame: frame["tokens"] > 60 * frame["params"])
    answer = allocate(fitted(far, q=1e-9), 1e20)
    ratio = far["tokens"] / far["params"]
    end = ratio.min() / np.exp(1.5)
    chosen = answer.choice.split(0)
    assert chosen["tokens"] / chosen["params"] == pytest.approx(max(end, 20), rel=0.5)
    assert searched_range(None) == (1e-4, 1e7)


def test_limits_may_lead_outside_the_searched_range() -> None:
    limits = Constraints(max_params=1e8, searched=(5.0, 100.0))
    low, high = limits.range(np.array([1e21]))
    np.testing.assert_allclose(np.exp(low), 1e21 / 6 / 1e8 / 1e8)
    np.testing.assert_allclose(low, high)
    few = Constraints(max_tokens=1e9, searched=(5.0, 100.0))
    low, high = few.range(np.array([1e21]))
    np.testing.assert_allclose(np.exp(high), 1e9 / (1e21 / 6 / 1e9))
    np.testing.assert_allclose(low, high)


def test_measured_optima_are_those_of_the_law() -> None:
    found = measured_optima(sweep(1.5))
    best, _ = compute_optimal(UNIFIED, BUDGETS, TRUTH)
    np.testing.assert_allclose(found.flops, BUDGETS, rtol=1e-9)
    assert (abs(found.log_params - np.log(best)) < 4 * found.error + 0.02).all()
    scattered = sweep().take(lambda frame: frame["params"] < 1e8)
    assert len(measured_optima(scattered)) == 0


def test_a_backtest_scores_the_splits_of_larger_budgets() -> None:
    runs, card = sweep(), load_card("unified")
    honest = backtest(runs, [card], refit=fitted, executor=Serial())
    wrong = backtest(runs, [card], refit=sure, executor=Serial())
    assert honest.splits["covered90"].mean() > 0.9
    assert not honest.splits["exceeded"].any()
    assert not wrong.splits["covered90"].any()
    assert wrong.splits["exceeded"].all()
    row = wrong.splits.iloc[0]
    square = measured_optima(runs).above(row["flops"] * 0.99).square[0]
    assert row["regret"] == pytest.approx(square * np.log(row["choice"] / row["params"]) ** 2)
    kept = record_of(honest)["splits"]
    assert [item["ratio"] for item in kept] == list(honest.splits["ratio"])
    held = sum(item["covered"] for item in kept)
    assert held == honest.splits["covered90"].sum()
    assert f"held {held} of {len(kept)} best sizes measured" in str(honest)


def test_a_backtest_forecasts_runs_of_other_tokens_per_parameter() -> None:
    runs, card = sweep(), load_card("unified")
    across = backtest(runs, [card], refit=fitted, executor=Serial()).across
    ratio = dict(zip(runs["run_id"], np.log(runs["tokens"] / runs["params"]), strict=True))
    assert set(across["side"]) == {1, -1}
    assert (across["distance"] > 0).all()
    for training, part in across.groupby("training"):
        side, share = int(part["side"].iloc[0]), 0.4 if "40%" in str(training) else 0.6
        every = side * np.array(list(ratio.values()))
        edge = every[every <= every.min() + share * np.ptp(every) + 1e-9].max()
        expected = side * np.array([ratio[run] for run in part["run_id"]]) - edge
        np.testing.assert_allclose(part["distance"], expected)
    assert across["covered90"].mean() > 0.9
