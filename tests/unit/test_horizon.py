"""The trust horizon and verdicts, on posteriors and bins whose answer is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from support.refits import SIGMA, TRUTH, built, even_normal, known, power_law_log, too_sure

import bayescale
from bayescale.cards import load_card
from bayescale.decisions.allocate import allocate
from bayescale.errors import PosteriorError, TrustError, UnconvergedError, as_options
from bayescale.laws import CHINCHILLA, LAWS
from bayescale.posterior import ModelAverage, Posterior, open_posterior, point, save
from bayescale.runs import Runs, read_runs
from bayescale.tasks import Serial
from bayescale.validation.backtest import backtest
from bayescale.validation.backtest_record import bins, keep, record_of
from bayescale.validation.backtest_result import Backtest
from bayescale.validation.horizon import trust
from bayescale.validation.meanings import second_law
from bayescale.verdict import (
    BREAK,
    COVERAGE_RULE,
    STATES,
    Evidence,
    Place,
    holds,
    places,
    reach,
    size_scale,
    sizes,
    split_verdict,
    verdict,
)

CARD = load_card("kaplan_compute")
LOG = power_law_log([0.0] * 8)
NONE = pd.DataFrame({"law": []})
LARGEST = float(LOG["flops"].max())
SLOPE_SD = 0.02 / (1.6449 * np.log(10))


def fanning(at_ten: float = 0.02, shift: float = 0.0, law: str = "kaplan_compute") -> Posterior:
    """Known at the largest run; at r times, half its 90 % interval is at_ten * log10(r)."""
    slope = even_normal(0.05 + shift, SLOPE_SD * at_ten / 0.02)
    floor = {"E": 1e-12} if law == "henighan_compute" else {}
    values = floor | {"C_c": LARGEST, "alpha_C": slope, "sigma": SIGMA}
    return built(load_card(law), LOG, values)


def bin_of(lower: float, covered: int = 9, n: int = 10, largest: float | None = None) -> dict:
    share = {"n": n, "n_covered": covered, "n_cutoffs": 2, "coverage90": covered / n}
    return {"lower": lower, "upper": 2 * lower, "largest": largest or 2 * lower} | share


def record(*bins_: dict, laws: tuple[str, ...] = ("kaplan_compute",)) -> dict:
    return {
        "bins": list(bins_),
        "laws": list(laws),
        "cutoffs": [1e20, 2e20, 4e20],
        "n": 40,
        "refits": 3,
        "unconverged": 0,
        "missing": [],
        "runs_sha256": LOG.digest,
    }


@pytest.fixture
def spread() -> Posterior:
    """A law of params and tokens that the quarter of the largest runs has at 20 per parameter."""
    params = np.geomspace(1e8, 1e10, 40)
    ratio = np.where(np.arange(40) < 30, 5.0, 20.0)
    frame = pd.DataFrame({"params": params, "tokens": ratio * params})
    frame["loss"] = 1.8 + 400 / params**0.35 + 400 / frame["tokens"] ** 0.3
    card = load_card("chinchilla")
    values = card.published_values("besiroglu_2024") | {"sigma": SIGMA}
    return built(card, read_runs(frame), values)


WELL = [bin_of(1), bin_of(2), bin_of(4), bin_of(8), bin_of(16), bin_of(32, largest=40)]


# how far bins reach


@pytest.mark.parametrize(
    ("bins_", "covered", "tested", "failed_at"),
    [
        ([], 1, 1, None),
        (WELL, 40, 40, None),
        ([bin_of(1), bin_of(2, largest=3)], 3, 3, None),
        ([bin_of(1), bin_of(2, covered=7)], 4, 4, None),  # 7 of 10 do not speak against 80 %
        ([bin_of(1), bin_of(2, covered=6), bin_of(4)], 2, 8, 2),
        ([bin_of(1, covered=6), bin_of(2)], 1, 4, 1),
        ([bin_of(4), bin_of(8)], 16, 16, None),  # runs that grow fourfold a step
        ([bin_of(8)], 1, 16, None),
        ([bin_of(1), bin_of(16)], 2, 32, None),
        ([bin_of(1), bin_of(8), bin_of(128, covered=0)], 16, 256, None),
    ],
)
def test_bins_reach_as_far_as_they_pass_without_a_gap(
    bins_: list, covered: float, tested: float, failed_at: float | None
) -> None:
    to = reach(bins_)
    assert (to.covered, to.tested) == (covered, tested)
    assert (to.failed or {}).get("lower") == failed_at


def test_few_held_out_runs_do_not_speak_against_an_interval() -> None:
    assert holds(2, 3)
    assert holds(0, 0)
    assert not holds(0, 3)
    assert not holds(20, 30)  # two of three again, by ten times as many
    assert holds(26, 30)


ACROSS = [
    {"side": 1, "distance": d, "covered": c}
    for d, c in [(0.5, True), (1.0, True), (1.5, True), (2.0, True), (2.5, True)]
] + [{"side": -1, "distance": d, "covered": False} for d in (0.5, 1.0, 1.5, 2.0)]


@pytest.mark.parametrize(
    ("across", "state", "text"),
    [
        (0.9, "trusted", "and held 4 of 4 held-out runs as far from those fitted in tokens per"),
        (1.1, "untested", "Untested across tokens per parameter: backtests inside the runs "
                          "forecast 3 held-out runs as far from those fitted, and 4 are needed."),
        (-0.4, "failed", "Backtests across tokens per parameter failed: 90% intervals held 0 of 4"),
    ],
)  # fmt: skip
def test_a_point_off_the_runs_tokens_per_parameter_has_to_be_tested_there(
    across: float, state: str, text: str
) -> None:
    evidence = Evidence(WELL, ACROSS)
    judged = verdict(Place(False, 0.5, across), 0.01, 0.02, evidence)
    assert judged.state == state
    assert text in judged.text
    times = np.exp(abs(across))
    share = f"{times:.3g} times the most" if across > 0 else f"1/{times:.3g} of the least"
    assert judged.text.startswith(
        "At 0.5 times the compute of the largest training run, at "
        f"{share} tokens per parameter of any run"
    )


def test_places_are_inside_only_within_the_runs_tokens_per_parameter() -> None:
    runs = pd.DataFrame({"params": [1e8, 1e9], "tokens": [2e9, 2e10]})
    points = pd.DataFrame({"params": [1e9, 1e8, 1e9], "tokens": [2e10, 2e10, 2e9]})
    found = places(runs, ("params", "tokens"), points, np.array([1.0, 0.1, 0.1]))
    assert [place.inside for place in found] == [True, False, False]
    np.testing.assert_allclose([p.across for p in found], np.log([1, 10, 0.1]), atol=1e-9)


def test_the_width_of_a_single_new_run_is_said_where_it_is_not_precise() -> None:
    judged = verdict(Place(False, 30.0), 0.01, 0.02, Evidence(WELL), 0.05)
    assert judged.state == "trusted"
    assert judged.text.endswith("A single new run is known within 5.0%.")
    assert verdict(Place(False, 3.0), np.nan, 0.02, Evidence(WELL)).state == "too_wide"


@pytest.mark.parametrize(
    ("covered", "exceeded", "ratio", "state"),
    [(9, 0, 2.0, "trusted"), (9, 0, 20.0, "untested"), (4, 0, 2.0, "failed"),
     (9, 6, 2.0, "failed")],
)  # fmt: skip
def test_a_split_is_judged_by_the_splits_of_larger_budgets(
    covered: int, exceeded: int, ratio: float, state: str
) -> None:
    record = [
        {"ratio": 2.0 if i < 9 else 8.0, "covered": i < covered, "exceeded": i < exceeded}
        for i in range(10)
    ]
    n = 10 if ratio > 8 else 9
    judged = split_verdict(ratio, record)
    assert judged.state == state
    assert f"held {min(covered, n)} of {n} measured at budgets up to" in judged.text
    assert split_verdict(ratio, ()).text.startswith("The split has not been tested")


def test_splits_that_a_backtest_could_not_test_ask_for_no_backtest(spread: Posterior) -> None:
    """Without a backtest one is asked for; after it, the log is what lacks."""
    needs, cannot = (split_verdict(2.0, record).text for record in (None, ()))
    assert needs.endswith("different sizes, and a backtest (`fit = fit.with_backtest()`).")
    assert cannot == (
        "The split has not been tested, and the backtest of these runs cannot test one: no budget "
        "above its smallest cutoff has five runs or more of like compute and different sizes, with "
        "the best size between them."
    )
    assert spread.runs is not None
    made = record(*WELL, laws=("chinchilla",))
    made |= {"runs_sha256": spread.runs.digest, "splits": []}
    first, *rest = (check for check in trust(spread, made).checks if check.code == "splits")
    assert (first.passed, first.text, rest) == (None, cannot, [])
    assert "splits" not in {check.code for check in trust(spread).checks}
    assert needs in str(allocate(spread, 1e22))
    kept = replace(spread, record={**spread.record, "backtest": made})
    assert cannot in str(allocate(kept, 1e22))
    alone = trust(fanning(), record(*WELL) | {"splits": []}).checks  # a law of compute has no split
    assert "splits" not in {check.code for check in alone}


def test_a_second_law_is_named_by_what_it_takes(spread: Posterior) -> None:
    """A law of the same inputs, as an argument; your own law cannot be named to fit it."""

    def means(fit: Posterior) -> str:
        return {check.code: check for check in trust(fit).checks}["laws_agree"].means

    start = "Fit a second law as well to see by how much"
    assert means(spread) == f"{start}, for example `law=['chinchilla', 'unified']`."
    assert as_options(means(spread)).endswith("--law chinchilla --law unified.")
    assert means(fanning()).endswith("`law=['kaplan_compute', 'henighan_compute']`.")
    assert second_law(replace(CHINCHILLA, name="own")) == f"{start}, for example unified."
    assert second_law(LAWS["repetition"]) == f"{start}."


def test_bins_average_over_cutoffs() -> None:
    """At 4 times: two of three covered at one cutoff and the only one at another: 5/6."""
    frame = pd.DataFrame(
        {
            "law": "a",
            "cutoff": [1.0, 1, 1, 2, 2],
            "ratio": [4.0, 3.9, 2.01, 4.0, 4.01],
            "covered90": [True, True, False, True, False],
        }
    )
    made = Backtest(("a",), (1.0,), "flops", (1.0, 2.0), frame, NONE, NONE, (), {}, LOG, 0)
    first, second = bins(made)
    assert first == {
        "lower": 2.0, "upper": 4.0, "n": 4, "n_covered": 3, "n_cutoffs": 2,
        "coverage90": pytest.approx(5 / 6), "largest": 4.0,
    }  # fmt: skip
    assert (second["lower"], second["n"], second["coverage90"]) == (4.0, 1, 0.0)
    frame["ratio"] = 1.02
    assert [item["lower"] for item in bins(made)] == [1.0]


# verdicts


def test_each_state_has_its_advice() -> None:
    failed = Evidence([bin_of(1), bin_of(2, covered=6)])
    well = Evidence(WELL)
    text = "Inside the range of the runs (0.5 times the largest)."
    assert verdict(Place(True, 0.5), 0.1) == ("inside", text)
    assert verdict(Place(False, 30.0), 0.01, 0.02, well) == (
        "trusted",
        "Extrapolates to 30 times the largest training run: precise enough, and backtests inside "
        f"the runs covered as they should up to 40 times. {BREAK}",
    )
    assert verdict(Place(False, 30.0), 0.031, 0.02, well) == (
        "too_wide",
        "Extrapolates to 30 times the largest training run, too far to be precise: the mean loss "
        "is known within 3.1%, and 2.0% is asked for. Train a larger run first, or accept a wider "
        "tolerance.",
    )
    assert verdict(Place(False, 3.0), 0.01, 0.02, failed) == (
        "failed",
        "Extrapolates to 3 times the largest training run. Backtests inside the runs failed at 2 "
        "to 4 times: 90% intervals held 6 of 10 held-out runs, 60% averaged over cutoffs, and at "
        "least 80% is needed. Do not rely on the interval there.",
    )
    assert verdict(Place(False, 2.0), 0.01, 0.02, failed).state == "trusted"
    assert verdict(Place(False, 41.0), 0.01, 0.02, well) == (
        "untested",
        "Extrapolates to 41 times the largest training run. Backtests inside the runs support up "
        f"to 40 times; beyond, nothing was tested. {BREAK}",
    )
    assert "tested no such ratio" in verdict(Place(False, 3.0), 0.01, 0.02, Evidence([])).text
    assert "Test it: `fit = fit.with_backtest()`." in verdict(Place(False, 3.0), 0.01).text
    assert verdict(Place(False, np.nan), 0.01).state == "untested"
    assert set(STATES) == {"inside", "trusted", "too_wide", "failed", "untested"}


def test_sizes_are_counted_in_what_the_law_takes() -> None:
    frame = pd.DataFrame({"params": [2.0], "tokens": [3.0], "flops": [40.0]})
    assert size_scale(("params",)) == "params"
    assert sizes(frame, ("params",)).tolist() == [2]
    assert sizes(frame, ("params", "tokens")).tolist() == [40]
    assert sizes(frame.assign(flops=np.nan), ("params", "tokens")).tolist() == [36]


# the horizon


def test_precision_limits_where_the_interval_grows_too_wide() -> None:
    result = trust(fanning(), record(*WELL))
    assert result.limited_by == "precision"
    assert result.horizon_ratio == pytest.approx(10, rel=2e-3)
    assert result.horizon_flops == pytest.approx(10 * LARGEST, rel=2e-3)
    assert result.tested_ratio == 40
    assert trust(fanning(), record(*WELL), 0.01).horizon_ratio == pytest.approx(10**0.5, rel=2e-3)


def test_the_answer_comes_first_then_its_limit_then_findings_by_what_they_do() -> None:
    across = [{"side": -1, "distance": d, "covered": False} for d in (0.5, 1.0, 1.5, 2.0)]
    lines = str(trust(fanning(), record(*WELL) | {"across": across})).splitlines()
    assert lines[:3] == [
        f"Trust it up to 10 times the largest run's compute, within 2% of the loss: "
        f"{10 * LARGEST:.3g} FLOP (kaplan_compute).",
        "Limited by precision: beyond, the loss is not known within 2%. Train a larger run "
        "(`bayescale.next_run` finds which), or accept a wider tolerance (`tolerance=`).",
        BREAK,
    ]
    warned = lines.index("Warnings, which do not stop it:")
    assert lines[warned + 1] == (
        "  across_fewer: runs of fewer tokens per parameter than those fitted, at like compute: "
        "90% intervals held 0 of 4, up to 7.39 times outside. Do not rely on forecasts at fewer "
        "tokens per parameter than the runs have. Train a run there first."
    )
    assert "What stops trust:" not in lines
    assert "FAIL" not in "\n".join(lines)


def test_only_what_ends_the_horizon_stops_trust() -> None:
    """A backtest that fails at 4 times stops trust, unless precision ended it before."""
    failing = record(*WELL[:2], bin_of(4, covered=5))
    stops = {c.code: str(c.severity) for c in trust(fanning(), failing).checks}
    assert (stops["coverage"], stops["precision"]) == ("stops", "ok")
    narrow = trust(fanning(), failing, tolerance=0.01)
    assert narrow.limited_by == "precision"
    assert {c.code: str(c.severity) for c in narrow.checks}["coverage"] == "warns"
    text = str(trust(fanning(), failing))
    assert "What stops trust:\n  coverage: Backtests inside the runs failed" in text
    assert "From that ratio on, intervals are overconfident." in text
    assert "no backtest was made. Make one: `fit = fit.with_backtest()`." in str(trust(fanning()))


def test_a_bin_that_passes_below_the_share_required_says_why() -> None:
    """10 of 13 is 77 %; each cutoff counting alike it is 85 %, by which the rule goes."""
    low = bin_of(2, covered=10, n=13)
    lines = str(trust(fanning(), record(bin_of(1), low | {"coverage90": 0.85}))).splitlines()
    at = lines.index(
        "A range passes if coverage of 80% or more is more probable than not, by the share "
        "averaged over cutoffs (each counts alike) and a prior of Beta(9, 1)."
    )
    assert lines[at - 1].split() == ["2", "to", "4", "13", "10", "77%"]
    assert lines[at + 1 :] == [
        "2 to 4 passes: 77% over all forecasts is 85% averaged over cutoffs."
    ]
    failing = str(trust(fanning(), record(bin_of(1), low | {"coverage90": 0.6})))
    assert "60% averaged over cutoffs, and at least 80%" in failing
    assert "passes:" not in failing


def test_bins_far_beyond_the_horizon_are_shown_as_one() -> None:
    text = str(trust(fanning(), record(*WELL), tolerance=0.01))
    table = text.split("Held-out runs inside 90% intervals:\n")[1].splitlines()
    assert [line.split("  ")[-3:] for line in table[1:]]
    assert table[-2].split() == ["8", "to", "64", "30", "27", "90%"]
    assert len(table) == 1 + 3 + 1 + 1
    assert table[-1] == COVERAGE_RULE


def test_backtests_limit_where_they_failed_or_ended() -> None:
    ended = trust(fanning(), record(*WELL[:2]))
    assert (ended.horizon_ratio, ended.limited_by) == (4, "untested")
    failed = trust(fanning(), record(*WELL[:2], bin_of(4, covered=5)))
    assert (failed.horizon_ratio, failed.limited_by, failed.tested_ratio) == (4, "backtest", 8)
    coverage = {check.code: check for check in failed.checks}["coverage"]
    assert coverage.passed is False
    assert coverage.text == (
        "Backtests inside the runs failed at 4 to 8 times: 90% intervals held 5 of 10 held-out "
        "runs, 50% averaged over cutoffs, and at least 80% is needed. Smaller ratios passed, up to "
        "4 times."
    )
    never = trust(fanning())
    assert (never.horizon_ratio, never.limited_by, never.tested_ratio) == (1, "untested", 1)


def test_no_horizon_where_even_the_largest_run_is_not_known_well() -> None:
    values = {"C_c": LARGEST * np.exp(even_normal(0, 1.0)), "alpha_C": 0.05, "sigma": SIGMA}
    result = trust(built(CARD, LOG, values), record(*WELL))
    assert (result.horizon_ratio, result.limited_by) == (1, "precision")
    assert {c.code: c.passed for c in result.checks}["precision"] is False
    assert str(result).startswith("Do not trust it beyond the largest run, within 2% of the loss: ")
    assert "FAIL" not in str(result)


def test_every_answer_says_that_a_break_cannot_be_excluded() -> None:
    for made in (trust(fanning()), trust(fanning(), record(*WELL)), trust(fanning(5.0))):
        assert BREAK in str(made)
        answer = made.to_json()
        assert {"horizon_flops", "horizon_ratio", "tested_ratio", "limited_by"} <= set(answer)
        assert all({"name", "passed", "text"} <= set(check) for check in answer["checks"])


def test_few_held_out_runs_are_told_first() -> None:
    few = record(*WELL) | {"n": 5, "cutoffs": [1e20]}
    text = str(trust(fanning(), few))
    assert "The evidence is thin: 5 forecasts of held-out runs from 1 cutoff: so few say" in text
    missing = record(*WELL) | {"missing": [["kaplan_compute", 1e20, "lost"]], "unconverged": 1}
    check = {c.code: c for c in trust(fanning(), missing).checks}["held_out_runs"]
    assert check.passed is True
    assert "Missing: 1 of 4 refits: kaplan_compute at 1e+20 (lost)." in check.text
    assert "1 of 3 refits failed their convergence checks" in check.text


def test_laws_that_disagree_are_reported_beside_the_horizon() -> None:
    """Slopes .05 and .05 + .01: medians part by .01 ln r, 2 % at e^2 times."""
    pool = ModelAverage((fanning(), fanning(shift=0.01, law="henighan_compute")), (0.5, 0.5))
    laws = ("kaplan_compute", "henighan_compute")
    result = trust(pool, record(*WELL, laws=laws))
    agreement = {check.code: check for check in result.checks}["laws_agree"]
    assert agreement.passed is None
    assert "within 2% up to 7.39 times the largest run" in agreement.text
    # half the pool's interval exceeds each law's own
    assert result.horizon_ratio < 10


def test_a_path_of_params_and_tokens_goes_along_the_runs_own_ratio(spread: Posterior) -> None:
    result = trust(spread, tolerance=0.05)
    assert result.tokens_per_param == pytest.approx(20)
    last = result.path.iloc[-1]
    assert last["tokens"] / last["params"] == pytest.approx(20)
    assert 6 * last["params"] * last["tokens"] == pytest.approx(1000 * 6 * 20e20)
    assert "at 20 tokens per parameter" in str(result)


def test_one_scale_without_compute_has_a_horizon_without_flops() -> None:
    sizes_ = np.geomspace(1e8, 1e10, 8)
    runs = read_runs(pd.DataFrame({"params": sizes_, "loss": (1e14 / sizes_) ** 0.08}))
    card = load_card("kaplan_params")
    fit = built(card, runs, {"N_c": 1e10, "alpha_N": even_normal(0.08, SLOPE_SD), "sigma": SIGMA})

    def refit(runs: Runs, card, seed: int = 0) -> Posterior:
        return built(card, runs, {"N_c": 1e14, "alpha_N": 0.08, "sigma": SIGMA})

    made = backtest(runs, ["kaplan_params"], refit=refit, executor=Serial())
    assert made.rows()["cutoff_flops"].isna().all()
    result = trust(fit, made)
    assert result.to_json()["horizon_flops"] is None
    assert result.to_json()["horizon"] == result.horizon_ratio * 1e10
    assert "times the largest run's params, within 2% of the loss" in str(result)


# where the backtest comes from


def test_a_kept_backtest_answers_again_from_the_file(tmp_path: Path) -> None:
    made = backtest(LOG, ["kaplan_compute"], refit=known, executor=Serial())
    fit = keep(fanning(), made)
    path = save(fit, tmp_path / "fit.nc")
    again = trust(open_posterior(path), tolerance=0.01)
    assert again.to_json()["bins"] == bins(made) == record_of(made)["bins"]
    assert again.horizon_ratio == pytest.approx(10**0.5, rel=2e-3)
    pool = ModelAverage((fanning(), fanning(law="henighan_compute")), (0.5, 0.5))
    both = backtest(LOG, ("kaplan_compute", "henighan_compute"), refit=known, executor=Serial())
    assert trust(keep(pool, both)).bins == tuple(bins(both, "average"))


def test_a_fit_with_a_backtest_has_its_verdict() -> None:
    made = backtest(LOG, ["kaplan_compute"], refit=known, executor=Serial())
    assert "No backtest has tested this" in str(fanning().forecast(flops=2e10, tolerance=0.5))
    tested = fanning().with_backtest(made).forecast(flops=2e10, tolerance=0.5)
    assert "backtests inside the runs covered as they should" in str(tested)
    with pytest.raises(TrustError, match="the backtest is of kaplan_compute, but the fit is of"):
        fanning(law="henighan_compute").with_backtest(made)


def test_too_sure_intervals_fail_from_the_first_step() -> None:
    log = power_law_log([0, 0, 0, 0, 0, 1, 1, -1], step=2)
    fit = replace(fanning(), runs=log)
    result = trust(fit, backtest(log, ["kaplan_compute"], refit=too_sure, executor=Serial()))
    assert (result.horizon_ratio, result.limited_by) == (1, "backtest")


@pytest.mark.parametrize("tolerance", [0.0, -0.02, 1.0, 2.0, np.nan])
def test_a_tolerance_is_a_share(tolerance: float) -> None:
    with pytest.raises(TrustError) as caught:
        trust(fanning(), tolerance=tolerance)
    assert str(caught.value) == (
        f"tolerance is {tolerance:g}, but must lie between 0 and 1: a share of the loss, such as "
        "0.02 for 2 %"
    )


def test_a_backtest_of_something_else_is_refused() -> None:
    other = record(*WELL, laws=("henighan_compute",))
    with pytest.raises(TrustError) as caught:
        trust(fanning(), other)
    assert str(caught.value) == (
        "the backtest is of henighan_compute, but the fit is of kaplan_compute: backtest the fit's "
        "own laws"
    )
    with pytest.raises(TrustError) as caught:
        trust(fanning(), record(*WELL) | {"runs_sha256": "0"})
    assert str(caught.value) == (
        "the backtest is of another run log than the fit: backtest the fit's own runs"
    )


def test_point_estimates_and_unconverged_fits_are_refused() -> None:
    with pytest.raises(PosteriorError) as caught:
        trust(point(CARD, TRUTH))
    assert str(caught.value) == (
        "a point estimate has no runs, so nothing can be tested: fit a run log instead"
    )
    bad = built(CARD, LOG, TRUTH | {"sigma": SIGMA}, passed=False)
    with pytest.raises(UnconvergedError, match="failed its convergence checks"):
        trust(bad)
    first = trust(bad, allow_unconverged=True).checks[0]
    assert (first.code, first.passed) == ("converged", False)
    assert str(first) == (
        "stops  converged: the sampler failed its convergence checks: R-hat of E is 1.200, above "
        "1.01."
    )


def test_notes_and_outliers_are_information() -> None:
    loo = xr.Dataset(
        {
            "p_value": ("run", [0.001] + [0.5] * 7),
            "expected": ("run", LOG["loss"]),
            "outlier": ("run", [1] + [0] * 7),
            "influential": ("run", [0] * 8),
            "pareto_k": ("run", [0.1] * 8),
            "shift": (("run", "coefficient"), np.zeros((8, 1))),
        },
        coords={"coefficient": ["C_c"]},
    )
    fit = built(CARD, LOG, TRUTH | {"sigma": SIGMA}, groups={"leave_one_out": loo})
    checks = {check.code: check for check in trust(fit).checks}
    assert checks["outliers"].text == "by leave-one-out: r0."
    assert checks["outliers"].table is not None
    few = replace(fit, runs=power_law_log([0.0] * 3))
    noted = {check.code: check for check in trust(replace(few, tree=fanning().tree)).checks}
    assert noted["runs"].passed is False
    assert noted["outliers"].text == "not looked for in this fit."


def test_the_function_and_the_package_share_a_name() -> None:
    from bayescale.validation.horizon import trust as same

    assert bayescale.trust is same
    assert bayescale.backtest is backtest
