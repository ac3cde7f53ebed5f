"""The next run: variances worked out by hand, batches within a budget, and brute force."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from support.published import ONE, SPREAD
from support.refits import N_DRAWS, SIGMA, TRUTH, built, even_normal, power_law_log

from bayescale.cards import load_card
from bayescale.datasets import load
from bayescale.decisions.allocate import allocate
from bayescale.decisions.information_value import NormalBeliefs, greedy
from bayescale.decisions.next_run import next_run
from bayescale.errors import BayescaleError, DecisionError, LawError
from bayescale.inference.fit import refit
from bayescale.posterior import ModelAverage, Posterior
from bayescale.runs import Runs, read_runs

LOG = power_law_log([0.0] * 6)
SLOPES = even_normal(0.05, 0.002)
FIT = built(
    load_card("kaplan_compute"), LOG, {"C_c": TRUTH["C_c"], "alpha_C": SLOPES, "sigma": SIGMA}
)
TARGET = 1e23
FEW = pd.DataFrame({"flops": [1e19, 1e21, 1e22]})


def sd_at(flops: float) -> float:
    """Return the deviation of log loss, alpha_C (ln C_c - ln C): it grows away from C_c."""
    return abs(np.log(TRUTH["C_c"] / flops)) * float(np.std(SLOPES, ddof=1))


def test_what_a_candidate_leaves_by_hand() -> None:
    """One unknown slope: every run measures it, the better the farther it is from C_c."""
    frame = next_run(FIT, 1e22, target_flops=TARGET, candidates=FEW).to_frame().set_index("flops")
    for flops, row in frame.iterrows():
        assert row["sd_before"] == pytest.approx(sd_at(TARGET), rel=1e-3)
        share = SIGMA**2 / (sd_at(float(str(flops))) ** 2 + SIGMA**2)
        assert row["sd_after"] == pytest.approx(sd_at(TARGET) * np.sqrt(share), rel=0.02)
        less = row["sd_before"] - row["sd_after"]
        assert row["reduction_per_flop"] == pytest.approx(less / float(str(flops)))


def test_what_a_heavy_tailed_run_leaves_by_quadrature() -> None:
    values = {"C_c": TRUTH["C_c"], "alpha_C": SLOPES, "sigma": SIGMA, "nu": 3.0}
    fit = built(load_card("kaplan_compute"), LOG, values)
    row = next_run(fit, 1e22, target_flops=TARGET, candidates=FEW[:1]).candidates.iloc[0]
    sd = sd_at(1e19)
    d, y = np.linspace(-6, 6, 801) * sd, np.linspace(-40, 40, 4001) * sd
    joint = stats.norm.pdf(d, 0, sd) * stats.t.pdf((y[:, None] - d) / SIGMA, 3.0)
    given = joint / joint.sum(axis=1, keepdims=True)
    left = (given @ d**2 - (given @ d) ** 2) @ joint.sum(axis=1) / joint.sum()
    assert row["sd_after"] == pytest.approx(sd_at(TARGET) * np.sqrt(left) / sd, rel=0.02)


def test_a_run_whose_noise_is_not_known_tells_less() -> None:
    """Half of the draws have so much noise that the run says nothing: a linear update takes the
    middle of the noise and sees no difference.
    """
    noise = np.where(np.arange(N_DRAWS) // 2 % 2, 0.1 * SIGMA, 1e5 * SIGMA)
    values = {"C_c": TRUTH["C_c"], "alpha_C": SLOPES, "sigma": noise}
    fit = built(load_card("kaplan_compute"), LOG, values)
    row = next_run(fit, 1e22, target_flops=TARGET, candidates=FEW[:1]).candidates.iloc[0]
    half = sd_at(TARGET) * np.sqrt(0.5)  # what is left where it says all or nothing
    assert row["sd_after"] == pytest.approx(half, rel=0.03)


def test_a_batch_is_chosen_run_by_run_within_the_budget() -> None:
    many = pd.DataFrame({"flops": [1e19] * 3 + [1e21]})
    result = next_run(FIT, 3.5e19, target_flops=TARGET, candidates=many)
    assert list(result.batch["flops"]) == [1e19] * 3
    precision = np.arange(1, 4) * sd_at(1e19) ** 2 / SIGMA**2
    left = sd_at(TARGET) / np.sqrt(1 + precision)
    np.testing.assert_allclose(result.batch["sd_after"], left, rtol=0.05)
    assert list(result.candidates["affordable"]) == [True] * 3 + [False]
    assert "(1 of which cost more than the budget)" in str(result)
    assert "Train the first, add its row to the log, fit again, and ask again." in str(result)


def test_what_tells_nothing_is_not_bought() -> None:
    """At C_c itself the loss is one nat whatever the slope."""
    useless = pd.DataFrame({"flops": [TRUTH["C_c"]]})
    result = next_run(FIT, 1e25, target_flops=TARGET, candidates=useless)
    assert len(result.batch) == 0
    assert "None of 1 candidates would remove 1% of that: buy none." in str(result)
    assert not result.candidates["worthwhile"].any()


def test_it_is_said_when_no_affordable_candidate_is_larger_than_the_largest_run() -> None:
    """At C_c itself the loss is one nat whatever the slope, and no run at that price tells more."""
    largest = float(LOG["flops"].max())
    near = pd.DataFrame({"flops": [TRUTH["C_c"]]})
    frame = LOG.frame.assign(flops=LOG["flops"] * TRUTH["C_c"] / largest * 2)
    fit = replace(FIT, runs=replace(LOG, frame=frame))

    def said(fit: Posterior, candidates: pd.DataFrame) -> str:
        result = next_run(fit, TRUTH["C_c"], target_flops=TARGET, candidates=candidates)
        return " ".join(result.brief())

    none = (
        "of that: buy none. No candidate within the budget is larger than the largest fitted run, "
        f"which cost {2 * TRUTH['C_c']:.3g} FLOP: "
    )
    assert said(fit, near).endswith(f"{none}name larger candidates.")
    more = pd.DataFrame({"flops": [TRUTH["C_c"], 4 * TRUTH["C_c"]]})
    assert said(fit, more).endswith(f"{none}a larger budget offers larger runs.")
    assert said(FIT, near).endswith("of that: buy none.")
    grid = next_run(fit, 1.5 * TRUTH["C_c"], target_flops=TARGET)
    assert str(grid.no_larger).endswith("a larger budget offers larger runs.")
    assert next_run(fit, 3 * TRUTH["C_c"], target_flops=TARGET).no_larger is None


def test_runs_that_tell_hardly_anything_together_are_not_bought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Normal beliefs choose them; the draws say how little they tell."""
    bought = next_run(FIT, 1e22, target_flops=TARGET, candidates=FEW)
    assert len(bought.batch)
    monkeypatch.setattr(
        "bayescale.decisions.information_value._uncertainty",
        lambda beliefs, target, left: 0.995 * beliefs.now(target),
    )
    result = next_run(FIT, 1e22, target_flops=TARGET, candidates=FEW)
    assert len(result.batch) == 0
    assert "would remove 1% of that: buy none." in str(result)
    together = str(replace(result, batch=bought.batch))
    assert "would remove 1% of that alone." in together
    assert "buy none" not in together


# which split is best


def seen(fit: Posterior, sigma: float) -> Posterior:
    """Return the fit with residual noise of single runs."""
    draws = fit.draws.assign(sigma=xr.full_like(fit.draws["E"], sigma))
    return replace(fit, tree=xr.DataTree.from_dict({"posterior": draws}))


def aimed_at(scales: dict[str, float]) -> dict[str, float]:
    """The arguments that name a target at these scales."""
    return {f"target_{name}": value for name, value in scales.items()}


CANDIDATES = pd.DataFrame({"params": [1e8, 1e10, 1e11], "tokens": [1e11, 1e10, 1e13]})


def test_the_regret_now_is_that_of_the_allocation() -> None:
    expected = allocate(SPREAD, 5.76e23).to_json()["expected_regret"]["loss"]
    result = next_run(seen(SPREAD, 0.01), 1e26, target_flops=5.76e23, target="regret",
                      candidates=CANDIDATES)  # fmt: skip
    before = result.candidates["regret_before"].iloc[0]
    assert before == pytest.approx(expected, rel=0.02)
    assert (result.candidates["regret_after"] <= before * 1.001).all()
    assert "now gives up" in str(result)


def test_a_run_without_scatter_leaves_little_to_regret_and_one_in_noise_leaves_all() -> None:
    after = {
        sigma: next_run(
            seen(SPREAD, sigma), 1e26, target_flops=5.76e23, target="regret", candidates=CANDIDATES
        ).candidates
        for sigma in (1e-4, 10.0)
    }
    before = after[10.0]["regret_before"].iloc[0]
    assert after[1e-4]["regret_after"].min() < 0.2 * before
    assert after[10.0]["regret_after"].min() == pytest.approx(before, rel=1e-2)


# on real runs


def test_candidates_come_from_a_grid_where_none_are_named(chinchilla_posterior: Posterior) -> None:
    result = next_run(chinchilla_posterior, 1e22, target_flops=5.76e23)
    frame = result.to_frame()
    assert len(frame) == 36
    assert frame["flops"].max() == pytest.approx(1e22)
    keys = {"params", "tokens", "flops", "sd_before", "sd_after", "reduction_per_flop"}
    assert keys <= set(result.to_json()["candidates"][0])
    best = frame[frame["worthwhile"] & frame["affordable"]]["reduction_per_flop"]
    assert best.is_monotonic_decreasing
    assert (frame["sd_after"] <= frame["sd_before"]).all()
    assert result.batch["flops"].sum() <= 1e22 * (1 + 1e-9)


@pytest.mark.slow
def test_ranks_as_brute_force_refits_do(chinchilla_runs: Runs) -> None:
    """Twenty candidates, each added to the log as it may turn out, and all fitted again.

    They are large enough to tell something, and draws are many: of smaller ones, or by fewer,
    brute force cannot say which tells more, since that is within its Monte Carlo error.
    """
    runs = chinchilla_runs.take(
        np.isin(np.arange(len(chinchilla_runs)), np.arange(0, 240, 12)), "not in the sample"
    )
    card = load_card("chinchilla")
    fit = refit(runs, card, draws=6000, tune=1000)
    target = {"params": 2e10, "tokens": 4e11}
    at = {name: xr.DataArray([x], dims="point") for name, x in target.items()}
    params = np.repeat(np.geomspace(1e9, 4e10, 5), 4)
    candidates = pd.DataFrame(
        {"params": params, "tokens": params * np.tile([2.0, 10.0, 40.0, 160.0], 5)}
    )
    next_run(fit, 1e26, **aimed_at(target), candidates=candidates)  # imports
    started = time.perf_counter()
    result = next_run(fit, 1e26, **aimed_at(target), candidates=candidates)
    quick = time.perf_counter() - started
    started, brute = time.perf_counter(), []
    for row in candidates.to_dict(orient="records"):
        places = {name: xr.DataArray([x], dims="point") for name, x in row.items()}
        outcomes = fit.drifting.loss(places).quantile([0.16, 0.5, 0.84]).values
        variances = []
        for loss in outcomes:
            new = {**row, "loss": loss, "run_id": "new"}
            log = pd.concat([runs.frame[list(new)], pd.DataFrame([new])], ignore_index=True)
            again = refit(read_runs(log), card, draws=6000, tune=1000)
            variances.append(float(np.log(again.drifting.loss(at)).var()))
        brute.append(np.sqrt(np.mean(variances)))
    slow = time.perf_counter() - started
    ours = candidates.merge(result.candidates, on=["params", "tokens"])["sd_after"]
    print(np.round(ours, 5).tolist(), np.round(brute, 5).tolist())
    print(f"Spearman {stats.spearmanr(ours, brute).statistic:.3f}, {quick / slow:.2%} of the time")
    assert stats.spearmanr(ours, brute).statistic >= 0.9
    assert quick < 0.01 * slow


@pytest.mark.slow
@pytest.mark.parametrize("log", ["chinchilla", "gadre"])
def test_what_a_run_leaves_is_what_refits_with_its_outcomes_leave(
    log: str, real_data: Path
) -> None:
    """Small logs, a run of three and one of ten times their compute, 24 outcomes of each.

    A linear update would leave 10 to 30 % less of the larger run.
    """
    if log == "chinchilla":
        table = load(log).frame.iloc[5::12]
    else:
        table = pd.read_csv(real_data / "gadre_overtraining.csv")
        finished = (table["chinchilla_mult"] >= 1) & (table["params"] < 1e9)
        table = table[finished & (table["dataset"] == "c4_original")]
    table = table[["run_id", "params", "tokens", "loss"]].reset_index(drop=True)
    card, units = load_card("chinchilla"), {"loss": "nats"}
    fit = refit(read_runs(table, units=units), card, draws=3000, tune=1000)
    largest = 6 * (table["params"] * table["tokens"]).max()
    params = np.sqrt(np.array([3.0, 10.0, 10.0]) * largest / 120)
    places = pd.DataFrame({"params": params, "tokens": 20 * params})
    target = {name: float(values.iloc[-1]) for name, values in places.items()}
    answer = next_run(fit, 1e30, **aimed_at(target), candidates=places.iloc[:2]).candidates
    at = {name: xr.DataArray([value], dims="point") for name, value in target.items()}
    for row in answer.to_dict(orient="records"):
        scales = {name: xr.DataArray([row[name]], dims="point") for name in target}
        view = fit.drifting
        single = np.sort(view.new_run(view.loss(scales), scales).values.ravel())
        variances = []
        for loss in single[((np.arange(24) + 0.5) / 24 * len(single)).astype(int)]:
            new = {"run_id": "new", "loss": loss, **{name: row[name] for name in target}}
            more = pd.concat([table, pd.DataFrame([new])], ignore_index=True)
            again = refit(read_runs(more, units=units), card, draws=500, tune=300)
            variances.append(float(np.log(again.drifting.loss(at)).var()))
        left, error = np.mean(variances), np.std(variances, ddof=1) / np.sqrt(24)
        print(log, row["flops"], row["sd_before"], row["sd_after"], np.sqrt(left), error)
        assert abs(row["sd_after"] ** 2 - left) < 3 * error + 0.1 * left


# laws that do not agree on the split


@pytest.mark.integration
def test_laws_that_do_not_agree_on_the_split_rank_runs_of_their_own() -> None:
    """Chinchilla's exponents with data that count little, so that models should be larger."""
    values = {"E": 1.8, "A": 482.0, "B": even_normal(2085.0, 40.0), "beta": 0.366}
    card, more = load_card("chinchilla"), {"alpha": 0.348, "sigma": 0.01}
    sizes = np.geomspace(1e8, 1e10, 6)
    tokens = sizes * np.geomspace(200.0, 2.0, 6)
    runs = LOG.frame.assign(params=sizes, tokens=tokens, flops=6 * sizes * tokens)
    other = load_card("chinchilla_outer")
    law = {"kappa": 1.0, **values, "A": 3e4}
    law = {name: law[name] for name in other.law.coefficients if name in law} | more
    members = (built(card, read_runs(runs), values | more), built(other, read_runs(runs), law))
    fit = ModelAverage(members, (0.5, 0.5))
    result = next_run(fit, 1e22, target_flops=1e23)
    assert result.refusal is not None
    assert result.refusal.startswith("The laws do not agree: chinchilla says ")
    answer = result.to_json()
    assert answer["candidates"] is answer["batch"] is None
    assert answer["why"] == result.refusal
    assert [law["at"]["flops"] for law in answer["laws"].values()] == [1e23, 1e23]
    assert len(answer["laws"]["chinchilla"]["candidates"]) == 36
    assert "\n\nchinchilla: the mean loss at" in str(result)
    at = {"target_params": 1e10, "target_tokens": 2e11}
    assert next_run(fit, 1e22, **at).answered


# what cannot be ranked


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"budget": 0.0}, "budget is 0.0, but it must be finite and greater than zero"),
        (
            {"budget": 1e18},
            "the cheapest of 3 candidates costs 1e+19 FLOP, more than the budget of 1e+18: raise "
            "the budget, or name smaller runs",
        ),
        (
            {"candidates": pd.DataFrame({"params": [1e9]})},
            "the candidates have no column flops: each needs flops (flops is what it costs)",
        ),
        ({"candidates": FEW[:0]}, "there are no candidates: name at least one"),
        (
            {"candidates": pd.DataFrame({"flops": [1e19, -1.0, np.nan]})},
            "these candidates cannot be evaluated:\n"
            "  - flops must be finite and above zero: row 2 (-1.0), row 3 (nan)",
        ),
        (
            {"target_flops": None},
            "the target is given by nothing, but law 'kaplan_compute' needs `target_flops=`",
        ),
        (
            {"target_flops": -1.0},
            "target_flops is -1.0, but it must be finite and greater than zero",
        ),
        ({"target": "fame"}, "target is 'fame', but must be loss or regret"),
        (
            {"budget": 1e17, "candidates": None},
            "the budget of 1e+17 FLOP is below the smallest run of the log, 1e+18: raise it, or "
            "name candidates",
        ),
    ],
)
def test_questions_without_an_answer(asked: dict, message: str) -> None:
    given = {"budget": 1e22, "target_flops": TARGET, "candidates": FEW, **asked}
    with pytest.raises(BayescaleError) as caught:
        next_run(FIT, given.pop("budget"), **given)
    assert str(caught.value) == message


def test_former_names_of_the_target_say_the_new_ones() -> None:
    message = "next_run: `params=` is now `target_params=`, `tokens=` is now `target_tokens=`"
    with pytest.raises(TypeError) as caught:
        FIT.next_run(1e22, params=1e9, tokens=2e10)
    assert str(caught.value) == message


def test_a_point_estimate_has_nothing_left_to_learn() -> None:
    with pytest.raises(DecisionError, match="has no uncertainty that a run could reduce"):
        next_run(ONE, 1e22, target_flops=1e23)


def test_a_law_of_compute_has_no_split_to_regret() -> None:
    with pytest.raises(LawError, match="cannot split a budget"):
        next_run(FIT, 1e22, target_flops=TARGET, target="regret", candidates=FEW)


def test_a_run_that_costs_next_to_nothing_is_not_bought_for_that() -> None:
    """By price alone the first would win: it takes off 5e-5 for 1 FLOP, the other 0.56 for 1e5."""
    covariance = np.array([[1.0, 0.01, 0.9], [0.01, 1.0, 0.0], [0.9, 0.0, 0.9]])
    beliefs = NormalBeliefs(covariance, 0.1, np.empty((1, 0)), np.nan)
    table = pd.DataFrame({"flops": [1.0, 1e5]})
    chosen, left = greedy(beliefs, table, "loss", 1e6, by_price=True)
    assert chosen == [1]
    assert left == [pytest.approx(np.sqrt(1 - 0.9**2 / 1.0))]
