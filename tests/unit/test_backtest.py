"""Backtests on constructed posteriors, scored against known answers."""

import multiprocessing
import pickle
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.refits import (
    SIGMA,
    TRUTH,
    always_failing,
    built,
    dying,
    failing,
    known,
    power_law_log,
    too_sure,
    unconverged,
)

from bayescale.cards import load_card
from bayescale.errors import LawError, TrustError
from bayescale.inference.fit import refit
from bayescale.laws import LAWS, find_law
from bayescale.runs import Runs, read_runs
from bayescale.simulation import simulate
from bayescale.tasks import Serial
from bayescale.validation.backtest import backtest
from bayescale.validation.cutoffs import choose_cutoffs
from bayescale.validation.design import design_checks
from bayescale.validation.held_out import Task

LAW = "kaplan_compute"
BOTH = ("kaplan_compute", "henighan_compute")
OFF = [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, -3.0]
LOG = power_law_log(OFF)


def test_scores_are_those_of_the_normal_that_was_built() -> None:
    """Mean right, residual noise 1 %: a run 0.5, 1 or -3 of it off, at 4, 16 and 64 times."""
    result = backtest(LOG, [LAW], refit=known, cutoffs=[LOG["flops"][4]], executor=Serial())
    frame = result.to_frame()
    off = np.array([0.5, 1.0, -3.0])
    assert list(frame["run_id"]) == ["r5", "r6", "r7"]
    np.testing.assert_allclose(frame["ratio"], [4, 16, 64])
    assert set(frame["n_train"]) == {5}
    expected = stats.norm.logpdf(off, scale=1) - np.log(SIGMA) - np.log(frame["loss"])
    np.testing.assert_allclose(frame["lpd"], expected)
    np.testing.assert_allclose(frame["log_error"], -SIGMA * off, atol=3 * SIGMA * 1.25 / 31)
    expected_crps = off * (2 * stats.norm.cdf(off) - 1) + 2 * stats.norm.pdf(off) - np.pi**-0.5
    np.testing.assert_allclose(frame["crps"], SIGMA * expected_crps, rtol=0.1)
    np.testing.assert_allclose(frame["pit"], stats.norm.cdf(off), atol=0.06)
    assert list(frame["covered50"]) == [True, False, False]
    assert list(frame["covered90"]) == [True, True, False]
    np.testing.assert_allclose(frame["half_width90"], 0, atol=1e-6)
    center = frame["loss"] * np.exp(-SIGMA * off)
    np.testing.assert_allclose(np.log(frame["upper90"] / center), 1.645 * SIGMA, rtol=0.15)


def test_rows_and_summary_hold_their_promised_keys() -> None:
    result = backtest(LOG, [LAW], refit=known, cutoffs=[LOG["flops"][4]], executor=Serial())
    rows = result.rows()
    keys = ["law", "cutoff_flops", "ratio", "n_train", "n_test"]
    keys += ["rmsle", "crps", "lpd", "coverage50", "coverage90"]
    assert set(keys) <= set(rows.columns)
    np.testing.assert_allclose(rows["ratio"], [4, 16, 64])  # 3 to 10, 10 to 30, 30 to 100
    assert list(rows["coverage90"]) == [1, 1, 0]
    total = result.summary().iloc[-1]
    assert (total["ratios"], total["n"], total["coverage90"]) == ("all", 3, pytest.approx(2 / 3))
    answer = result.to_json()
    assert answer["cutoffs"] == [LOG["flops"][4]]
    assert [row["n"] for row in answer["summary"][LAW]] == [1, 1, 1, 3]
    assert answer["summary"][LAW][-1]["upper"] is None
    assert answer["missing"] == answer["unconverged"] == []


def test_default_cutoffs_leave_five_runs_and_one_to_forecast() -> None:
    result = backtest(LOG, [LAW], refit=known, executor=Serial())
    assert result.cutoffs == tuple(LOG["flops"][4:7])
    many = power_law_log([0.0] * 60, step=1.3)
    cutoffs = backtest(many, [LAW], refit=known, executor=Serial()).cutoffs
    assert len(cutoffs) == 8
    assert (cutoffs[0], cutoffs[-1]) == (many["flops"][4], many["flops"][58])
    steps = np.diff(np.log(cutoffs))
    assert steps.max() < 1.2 * steps.min()


def test_many_runs_of_any_size_are_not_one_size() -> None:
    """Each of 3,000 runs is within 1 % of the next."""
    dense = power_law_log([0.0] * 3000, step=1.003)
    cutoffs = choose_cutoffs(dense, [load_card(LAW)])
    assert len(cutoffs) == 8
    assert np.ptp(np.diff(np.log(cutoffs))) < 0.2
    table = design_checks(dense, LAWS[LAW])[1].table
    assert 80 < table.loc["flops", "sizes"] < 100


def test_sizes_within_one_per_cent_are_one_size() -> None:
    frame = LOG.to_frame()
    twin = frame.tail(1).assign(run_id="twin", flops=frame["flops"].max() * 1.005)
    runs = read_runs(pd.concat([frame, twin]))
    result = backtest(runs, [LAW], refit=known, executor=Serial())
    assert max(result.cutoffs) == runs["flops"][6]
    at = backtest(runs, [LAW], refit=known, cutoffs=[LOG["flops"][5] * 0.995], executor=Serial())
    assert set(at.forecasts["run_id"]) == {"r6", "r7", "twin"}


def test_several_laws_are_scored_as_one_more() -> None:
    """The average's density is the mean of a normal of 1 % and one of 3 %."""
    at = [LOG["flops"][4]]
    result = backtest(LOG, BOTH, refit=known, cutoffs=at, executor=Serial())
    assert result.answer == "average"
    by_law = {law: part.reset_index() for law, part in result.forecasts.groupby("law")}
    off, loss = np.array([0.5, 1.0, -3.0]), by_law["average"]["loss"]
    density = (stats.norm.pdf(off) / SIGMA + stats.norm.pdf(off / 3) / (3 * SIGMA)) / 2
    np.testing.assert_allclose(by_law["average"]["lpd"], np.log(density / loss), rtol=1e-6)
    assert list(by_law["henighan_compute"]["covered90"]) == [True, True, True]
    given = backtest(LOG, BOTH, refit=known, cutoffs=at, weights=[0, 1], executor=Serial())
    alone = given.forecasts[given.forecasts["law"] == "average"].reset_index()
    np.testing.assert_allclose(alone["lpd"], by_law["henighan_compute"]["lpd"])
    np.testing.assert_allclose(alone["upper90"], by_law["henighan_compute"]["upper90"])
    pd.testing.assert_frame_equal(result.averaged([0, 1]), given.averaged([0, 1]), check_exact=True)


def test_overconfident_intervals_show_in_coverage() -> None:
    result = backtest(LOG, [LAW], refit=too_sure, executor=Serial())
    assert result.summary().iloc[-1]["coverage90"] == 0
    assert "0%   0%" in str(result)


def test_families_have_their_own_forecast_where_they_were_fitted() -> None:
    """Family a has 10 % more loss than b; c was never fitted and takes the population's."""
    frame = LOG.to_frame().assign(family=["a", "b"] * 3 + ["a", "c"])
    frame["loss"] *= np.where(frame["family"] == "a", 1.1, 1.0)

    def pooling(runs: Runs, card, seed: int = 0):
        values = TRUTH | {"sigma": SIGMA, "C_c_spread": 1e-9}
        base = built(card, runs, values)
        own = base.draws["C_c"].expand_dims(family=["a", "b"], axis=2).copy()
        own[..., 0] *= 1.1 ** (1 / TRUTH["alpha_C"])
        tree = base.tree.copy()
        tree["posterior"] = type(tree)(base.draws.assign(C_c_by_family=own))
        return replace(base, tree=tree)

    runs = read_runs(frame)
    result = backtest(runs, [LAW], refit=pooling, cutoffs=[LOG["flops"][5]], executor=Serial())
    np.testing.assert_allclose(result.forecasts["log_error"], [-0.01, 0.03], atol=0.002)
    expected = stats.norm.logpdf([1, -3]) - np.log(SIGMA) - np.log(result.forecasts["loss"])
    np.testing.assert_allclose(result.forecasts["lpd"], expected, rtol=1e-3)


# where refits run, and fail


def test_a_refit_that_failed_is_missing_and_the_rest_is_kept() -> None:
    result = backtest(LOG, BOTH, refit=failing, executor=Serial())
    assert [(m.law, m.cutoff) for m in result.missing] == [(law, LOG["flops"][5]) for law in BOTH]
    assert {m.why for m in result.missing} == {"ValueError: no minimum"}
    assert set(result.forecasts["cutoff"]) == {LOG["flops"][4], LOG["flops"][6]}
    told = (
        "Missing: 2 of 6 refits: kaplan_compute at 1.02e+21 (ValueError: no minimum), "
        "henighan_compute at 1.02e+21 (ValueError: no minimum)."
    )
    assert told in str(result)
    assert result.to_json()["missing"][0]["why"] == "ValueError: no minimum"


def test_no_refit_at_all_is_an_error() -> None:
    with pytest.raises(TrustError) as caught:
        backtest(LOG, [LAW], refit=always_failing, cutoffs=[1e21, 5e21], executor=Serial())
    assert str(caught.value) == (
        "all of the 2 refits failed:\n"
        "  - kaplan_compute at 1e+21: ValueError: no\n"
        "  - kaplan_compute at 5e+21: ValueError: no"
    )


def test_a_refit_that_failed_its_checks_is_scored_and_counted() -> None:
    result = backtest(LOG, [LAW], refit=unconverged, executor=Serial())
    assert list(result.forecasts["converged"]) == [False] * 3 + [True] * 3
    assert result.unconverged() == [{"law": LAW, "cutoff": LOG["flops"][4]}]
    assert "1 of 3 refits failed their convergence checks; they are scored all the same." in str(
        result
    )


@pytest.mark.integration
def test_a_lost_worker_costs_its_own_refit_alone() -> None:
    """The process that fits kaplan_compute to six runs ends without a word."""
    result = backtest(LOG, BOTH, refit=dying, workers=2)
    assert [tuple(m) for m in result.missing] == [
        (LAW, LOG["flops"][5], "its worker process was lost")
    ]
    here = backtest(LOG, BOTH, refit=known, executor=Serial())
    kept = set(here.samples) - {(LAW, LOG["flops"][5])}
    assert set(result.samples) == kept
    for key in kept:
        np.testing.assert_array_equal(result.samples[key].new, here.samples[key].new)
    assert "Missing: 1 of 6 refits" in str(result)
    pool = result.forecasts.query("law == 'average'")
    assert set(pool["cutoff"]) == {LOG["flops"][4], LOG["flops"][6]}


def test_an_executor_of_the_caller_that_breaks_loses_what_it_had_left() -> None:
    class Breaks(Executor):
        """Does the first task, then breaks as a lost process does."""

        def __init__(self) -> None:
            self.taken = 0

        def submit(self, fn, /, *args, **kwargs) -> Future:
            self.taken += 1
            future: Future = Future()
            if self.taken > 2:
                raise BrokenExecutor("a process ended")
            if self.taken == 2:
                future.set_exception(BrokenExecutor("a process ended"))
            else:
                future.set_result(fn())
            return future

    result = backtest(LOG, [LAW], refit=known, executor=Breaks())
    assert {m.why for m in result.missing} == {"its worker was lost"}
    assert set(result.forecasts["cutoff"]) == {LOG["flops"][4]}


@pytest.mark.integration
def test_an_own_law_reaches_other_processes_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from bayescale.laws import CriticalScale, Law\n"
        "def loss(flops, *, C_c, alpha_C):\n"
        "    return (C_c / flops) ** alpha_C\n"
        "MINE = Law(name='kaplan_compute', inputs=('flops',), coefficients=('C_c', 'alpha_C'),\n"
        "    loss=loss, terms={'C_c': CriticalScale(input='flops', exponent='alpha_C')})\n"
    )
    own = load_card("kaplan_compute").model_copy(update={"law": find_law(f"{path}:MINE")})
    at = [LOG["flops"][4]]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        there = backtest(LOG, [own], refit=known, cutoffs=at, executor=pool)
    here = backtest(LOG, [own], refit=known, cutoffs=at, executor=Serial())
    pd.testing.assert_frame_equal(there.forecasts, here.forecasts)
    local = own.model_copy(update={"law": replace(own.law, loss=lambda flops, *, C_c, alpha_C: 1)})
    task = Task(known, local, LOG, LOG["flops"], 1e21, 0)
    with pytest.raises(LawError, match=r"^law 'kaplan_compute' cannot be sent to another process"):
        pickle.dumps(task)


def test_real_refits_cover_runs_that_follow_the_law() -> None:
    flops = np.geomspace(1e18, 1e22, 20)
    log = simulate(LAWS[LAW], TRUTH, {"flops": flops}, sigma=0.005, seed=3)
    exact = partial(refit, drift=False)
    for fitter, error in ((exact, 0.01), (refit, 0.02)):  # drift costs precision where none is
        result = backtest(
            read_runs(log), [LAW], refit=fitter, executor=Serial(), cutoffs=[1e20, 1e21]
        )
        assert result.forecasts["converged"].all()
        total = result.summary().iloc[-1]
        assert total["n"] == 15
        assert total["rmsle"] < error
        assert total["coverage90"] > 0.8


# what cannot be backtested


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"laws": []}, "no law is named: a backtest needs at least one"),
        (
            {"laws": [LAW, LAW]},
            "these laws cannot be compared:\n  - laws repeat: kaplan_compute, kaplan_compute",
        ),
        (
            {"laws": [LAW, "kaplan_params"]},
            "these laws cannot be compared:\n  - they are for different inputs: kaplan_compute is "
            "of flops; kaplan_params is of params. Choose laws of the same inputs",
        ),
        (
            {"cutoffs": [1e10, 4.2e18, 1e24, -1]},
            "DataFrame cannot be backtested at these cutoffs:\n"
            "  - cutoff -1 must be finite and above zero\n"
            "  - cutoff 1e+10 leaves 0 of 8 runs to fit, and 5 are needed\n"
            "  - cutoff 4.2e+18 leaves 2 of 8 runs to fit, and 5 are needed\n"
            "  - cutoff 1e+24 leaves no larger run to forecast: the largest is 1.638e+22",
        ),
        (
            {"cutoffs": []},
            "DataFrame cannot be backtested at these cutoffs:\n  - no cutoff is given",
        ),
        (
            {"laws": BOTH, "weights": [0.5, 0.6]},
            "weights are 0.5, 0.6, but must be one for each of kaplan_compute, henighan_compute, "
            "zero or more, with sum one",
        ),
        (
            {"runs": power_law_log([0.0] * 5)},
            "DataFrame cannot be backtested: its 5 runs have 5 sizes in flops, and holding out the "
            "largest must leave at least 5 runs to fit, of two sizes of flops: add runs",
        ),
        (
            {"runs": power_law_log([0.0] * 7, step=1.001)},
            "DataFrame cannot be backtested: its 7 runs have 1 size in flops, and holding out the "
            "largest must leave at least 5 runs to fit, of two sizes of flops: add runs",
        ),
    ],
)
def test_what_cannot_be_backtested(arguments: dict, message: str) -> None:
    given = {"runs": LOG, "laws": [LAW], "refit": known, "executor": Serial()} | arguments
    with pytest.raises(TrustError) as caught:
        backtest(given.pop("runs"), given.pop("laws"), **given)
    assert str(caught.value) == message


def test_a_cutoff_that_leaves_one_size_to_fit() -> None:
    flops = 6e20 * np.array([1, 1.001, 1.002, 1.003, 1.004, 4, 16])
    frame = pd.DataFrame({"flops": flops, "loss": (1e24 / flops) ** 0.05})
    with pytest.raises(TrustError) as caught:
        backtest(read_runs(frame), [LAW], refit=known, cutoffs=[1e21], executor=Serial())
    assert str(caught.value) == (
        "DataFrame cannot be backtested at these cutoffs:\n"
        "  - cutoff 1e+21 leaves 5 runs of one size to fit, flops = 6e+20, and two are needed"
    )
