"""Weights over laws, against known optima."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import optimize
from support.refits import SIGMA, SIGMAS, TRUTH, built, failing, known, power_law_log

from bayescale.cards import load_card
from bayescale.errors import TrustError
from bayescale.posterior import Posterior
from bayescale.runs import Runs
from bayescale.tasks import Serial
from bayescale.validation.backtest import backtest
from bayescale.validation.comparison import compare, share_of_each, stacking_weights

BOTH = ("kaplan_compute", "henighan_compute")


def test_weights_of_two_laws_of_which_each_wins_on_some_runs() -> None:
    """Three runs say 0.9 : 0.1 and one 0.1 : 0.9: 3 * .8 / (.1 + .8 w) = .8 / (.9 - .8 w)."""
    density = np.log([[0.9, 0.1]] * 3 + [[0.1, 0.9]])
    w = (3 * 0.9 - 0.1) / (4 * 0.8)
    np.testing.assert_allclose(stacking_weights(density), [w, 1 - w], atol=2e-3)
    flipped = stacking_weights(density, [1 / 6] * 3 + [1 / 2])
    np.testing.assert_allclose(flipped, [0.5, 0.5], atol=2e-3)


def test_weights_reach_the_best_mixture(rng: np.random.Generator) -> None:
    density = rng.normal(size=(50, 4)) * 2 - 700

    def cost(z: np.ndarray) -> float:
        w = np.exp(z) / np.exp(z).sum()
        return -np.log(np.exp(density + 700) @ w).mean()

    best = optimize.minimize(cost, np.zeros(4), method="Nelder-Mead", options={"maxiter": 5000}).fun
    weights = stacking_weights(density)
    assert weights.sum() == pytest.approx(1)
    assert cost(np.log(weights + 1e-300)) < best + 2e-6


def test_a_law_that_is_always_worse_gets_nothing() -> None:
    np.testing.assert_allclose(stacking_weights([[0.0, -50.0], [0.0, -40.0]]), [1, 0], atol=1e-6)
    np.testing.assert_allclose(stacking_weights([[0.0, 0.0]]), [0.5, 0.5])


def test_cutoffs_count_alike_and_the_better_law_wins() -> None:
    """Every run on the law: the narrower of two normals is always the better one."""
    shares = share_of_each(np.array([1.0, 1.0, 1.0, 2.0]))
    np.testing.assert_allclose(shares, [1 / 6, 1 / 6, 1 / 6, 1 / 2])
    log = power_law_log([0.0] * 12)
    result = compare(backtest(log, BOTH, refit=known, executor=Serial()))
    assert result.weights["kaplan_compute"] == pytest.approx(1, abs=1e-3)
    assert result.weights_loo is None
    table = result.to_frame().set_index("law")
    assert list(table.index) == [*BOTH, "average, equal", "average, stacked"]
    difference = table["lpd"]["kaplan_compute"] - table["lpd"]["henighan_compute"]
    assert difference == pytest.approx(np.log(3))
    by_cutoff = [
        np.mean([np.log(1 / (SIGMA * np.sqrt(2 * np.pi) * loss)) for loss in log["loss"][k:]])
        for k in range(5, 12)
    ]
    assert table["lpd"]["kaplan_compute"] == pytest.approx(np.mean(by_cutoff))
    assert table["lpd"]["average, equal"] == pytest.approx(
        np.mean(by_cutoff) + np.log((1 + 1 / 3) / 2)
    )
    assert [note.code for note in result.warnings] == ["few_held_out", "keep_equal_weights"]
    assert result.warnings[0].text == (
        "28 forecasts from 7 cutoffs cannot choose among laws (30 from 3 might): these weights "
        "mean little"
    )


def test_laws_that_the_runs_do_not_tell_apart() -> None:
    """At 1 and 2 deviations of the narrower law, ln 3 - 4/9 off^2 is +0.65 and -0.68."""
    log = power_law_log([1.0, -2.0] * 8, step=2)
    codes = [n.code for n in compare(backtest(log, BOTH, refit=known, executor=Serial())).warnings]
    assert codes == ["undecided", "keep_equal_weights"]


def with_loo(runs: Runs, law: str, elpd: list[float], k: float = 0.2) -> Posterior:
    loo = xr.Dataset({"elpd": ("run", elpd), "pareto_k": ("run", [k] * len(elpd))})
    values = TRUTH | ({"E": 1e-12} if law == BOTH[1] else {}) | {"sigma": SIGMAS[law]}
    return built(load_card(law), runs, values, groups={"leave_one_out": loo})


def test_leave_one_out_stands_beside() -> None:
    log = power_law_log([0.0] * 8)
    result = backtest(log, BOTH, refit=known, executor=Serial())
    fits = [
        with_loo(log, BOTH[0], list(np.log([0.9] * 6 + [0.1] * 2))),
        with_loo(log, BOTH[1], list(np.log([0.1] * 6 + [0.9] * 2)), k=0.9),
    ]
    made = compare(result, fits)
    assert made.weights_loo is not None
    assert made.weights_loo[BOTH[0]] == pytest.approx(0.8125, abs=2e-3)
    table = made.to_frame().set_index("law")
    elpd = np.log([0.9] * 6 + [0.1] * 2) - np.log(log["loss"])
    assert table["elpd_loo"][BOTH[0]] == pytest.approx(elpd.sum())
    assert table["se"][BOTH[0]] == pytest.approx(np.sqrt(8) * elpd.std(ddof=1))
    assert list(table.index)[2:] == ["average, equal", "average, stacked", "average, loo"]
    answer = made.to_json()
    assert set(answer["weights"]) == set(BOTH)
    keys = {"law", "lpd", "rmsle", "coverage50", "coverage90", "elpd_loo", "se", "weight"}
    assert keys | {"weight_loo"} <= set(answer["rows"][0])
    assert answer["rows"][2]["weight"] is None
    assert made.warnings[-1].text == (
        "leave-one-out is a rough guess (Pareto k above 0.7) of henighan_compute for 8 of 8 runs"
    )
    assert "Note (keep_equal_weights): On public runs, weights by evidence" in str(made)


def test_missing_refits_are_told() -> None:
    log = power_law_log([0.0] * 8)
    made = compare(backtest(log, BOTH, refit=failing, executor=Serial()))
    assert made.n_cutoffs == 2
    assert made.warnings[-1].code == "missing_refits"
    assert "2 of 6 refits" in made.warnings[-1].text


def test_what_cannot_be_compared() -> None:
    log = power_law_log([0.0] * 8)
    one = backtest(log, BOTH[:1], refit=known, executor=Serial())
    two = backtest(log, BOTH, refit=known, executor=Serial())
    fits = [with_loo(log, law, [0.0] * 8) for law in BOTH]
    other = replace(fits[1], runs=power_law_log([0.1] * 8))
    bare = known(log, load_card(BOTH[1]))
    lost = replace(two, forecasts=two.forecasts.query("law != 'average'"), missing=())
    cases = [
        (
            (one,),
            "a comparison needs two laws or more, and kaplan_compute is given: name another "
            "with `law=`",
        ),
        (
            (two, fits[:1]),
            "the fits are of kaplan_compute, but the backtest is of kaplan_compute, "
            "henighan_compute: give fits of the same laws",
        ),
        (
            (two, [fits[0], other]),
            "the fit of henighan_compute is of another run log than the backtest: fit the same "
            "runs",
        ),
        (
            (two, [fits[0], bare]),
            "the fit of henighan_compute has no leave-one-out: make it with bayescale.fit",
        ),
        (
            (lost,),
            "there is no cutoff at which the refits of all of kaplan_compute, henighan_compute "
            "succeeded",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(TrustError) as caught:
            compare(*arguments)
        assert str(caught.value) == message
