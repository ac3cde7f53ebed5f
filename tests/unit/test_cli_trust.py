"""The commands backtest, compare and trust: keys, exit codes, and every bad input."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.refits import SIGMA, TRUTH, built, power_law_log

from bayescale.cards import load_card
from bayescale.posterior import open_posterior, save
from bayescale.runs import Runs

LAWS = ("--law", "kaplan_compute", "--law", "henighan_compute")
HERE = ("--workers", 1)
FEW = ("--draws", 200, "--tune", 300, "--chains", 2)
SHARE = ("--weight", "henighan_compute=1")


@pytest.fixture
def log(cerebras: Runs, tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    columns = ["run_id", "params", "tokens", "flops", "loss"]
    cerebras.to_frame()[columns].to_csv(path, index=False)
    return path


def test_backtest_holds_its_promised_keys_and_prints_a_table(bayescale, log: Path) -> None:
    ran = bayescale("backtest", log, *LAWS, *HERE, "--json")
    assert ran.code == 0
    keys = {"law", "cutoff_flops", "ratio", "n_train", "n_test"}
    keys |= {"rmsle", "crps", "lpd", "coverage50", "coverage90"}
    assert all(keys <= set(row) for row in ran.json["rows"])
    assert set(ran.json["summary"]) == {"kaplan_compute", "henighan_compute", "average"}
    assert [row["n"] for row in ran.json["summary"]["average"]] == [2, 1, 3]
    assert ran.json["cutoffs"] == [1.1e21, 6.3e21]
    text = bayescale("backtest", log, "--law", "kaplan_compute", "--cutoff", "1.1e21", *HERE).out
    assert "2 forecasts of larger runs from the smaller ones, at 1 cutoff in flops" in text
    assert max(map(len, text.splitlines())) <= 100


def test_compare_tells_weights_and_how_little_they_mean(bayescale, log: Path) -> None:
    ran = bayescale("compare", log, *LAWS, *HERE, "--json")
    assert ran.code == 0
    assert sum(ran.json["weights"].values()) == pytest.approx(1)
    assert sum(ran.json["weights_loo"].values()) == pytest.approx(1)
    keys = {"law", "lpd", "rmsle", "coverage50", "coverage90", "elpd_loo", "se", "weight"}
    assert all(keys | {"weight_loo"} <= set(row) for row in ran.json["rows"])
    codes = [note["code"] for note in ran.json["warnings"]]
    assert codes[0] == "few_held_out"
    assert "keep_equal_weights" in codes


@pytest.mark.integration
def test_trust_backtests_once_and_answers_at_once_afterwards(
    bayescale, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "fit.nc"
    assert bayescale("fit", log, "--law", "kaplan_compute", "-o", out).code == 0
    ran = bayescale("trust", out, *HERE, "--json")
    assert ran.code == 0
    keys = {"horizon_flops", "horizon_ratio", "tested_ratio", "limited_by", "checks"}
    assert keys <= set(ran.json)
    assert ran.json["tested_ratio"] == pytest.approx(2.3e22 / 1.1e21)
    assert all({"name", "passed", "text"} <= set(check) for check in ran.json["checks"])
    kept = open_posterior(out)
    assert kept.record["backtest"]["bins"] == ran.json["bins"]
    assert len(kept.tree["posterior"]["draw"]) == 1000

    def never(*a: object) -> None:
        raise AssertionError("a refit was made")

    with monkeypatch.context() as patch:
        patch.setattr("bayescale.inference.fit.refit", never)
        again = bayescale("trust", out, "--tolerance", 0.001, "--json")
        text = bayescale("trust", out).out
    assert again.code == 0
    assert again.json["horizon_ratio"] < ran.json["horizon_ratio"]
    assert again.json["bins"] == ran.json["bins"]
    assert "A break in the law outside the runs cannot be excluded." in text
    anew = bayescale("trust", out, "--cutoff", "6.3e21", *HERE, "--json").json
    assert sum(item["n"] for item in anew["bins"]) == 1


def test_a_fit_that_missed_its_gate_is_refused_or_marked(bayescale, tmp_path: Path) -> None:
    runs = power_law_log([0.0] * 8)
    values = TRUTH | {"sigma": SIGMA}
    bad = built(load_card("kaplan_compute"), runs, values, passed=False)
    bins = {"bins": [], "laws": ["kaplan_compute"], "cutoffs": [], "n": 0, "refits": 1}
    bins |= {"unconverged": 0, "missing": [], "runs_sha256": runs.digest}
    path = save(replace(bad, record={**bad.record, "backtest": bins}), tmp_path / "bad.nc")
    refused = bayescale("trust", path)
    assert refused.code == 2
    assert refused.out == ""
    assert "failed its convergence checks" in refused.err
    allowed = bayescale("trust", path, "--allow-unconverged", "--json")
    assert allowed.code == 3
    assert allowed.json["checks"][0]["passed"] is False


@pytest.mark.integration
def test_each_answer_is_drawn_into_a_file(bayescale, fit_file: Path, tmp_path: Path) -> None:
    larger = "forecast", fit_file, "--flops", "1e23"
    asked = {
        ".png": (b"\x89PNG", larger),
        ".svg": (b"<?xml", larger),
        ".pdf": (b"%PDF", ("next-run", fit_file, "--budget", "1e22", "--target-flops", "1e24")),
    }
    for ending, (start, command) in asked.items():
        figure = tmp_path / f"drawn{ending}"
        ran = bayescale(*command, "--figure", figure, "--json")
        assert (ran.code, ran.json["figure"]) == (0, str(figure)), command
        assert figure.read_bytes().startswith(start)
    text = bayescale(*larger, "--figure", figure).out
    assert text.endswith(f"\n\nFigure: {figure}\n")
    assert bayescale(*larger, "--json").json["figure"] is None


def test_a_law_of_the_package_is_not_added_to_a_fit(bayescale, fit_file: Path) -> None:
    ran = bayescale("summary", fit_file, "--law", "chinchilla")
    assert (ran.code, ran.out) == (2, "")
    assert "fit the log again with --law chinchilla" in " ".join(ran.err.replace("│", " ").split())


def test_a_figure_has_the_size_that_is_asked_for(bayescale, fit_file: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    figure = tmp_path / "slide.png"
    larger = "forecast", fit_file, "--flops", "1e23"
    ran = bayescale(*larger, "--figure", figure, "--figure-size", "8x4.5", "--json")
    assert (ran.code, imread(figure).shape[:2]) == (0, (900, 1600))
    for size in ("16:9", "8", "8x", "0x4", "8x450", "8x4x5"):
        bad = bayescale(*larger, "--figure", figure, "--figure-size", size)
        assert (bad.code, bad.out) == (2, "")
        assert "--figure-size" in bad.err
    alone = bayescale(*larger, "--figure-size", "8x4.5")
    assert alone.code == 2
    assert "there is no figure: add --figure FILE" in " ".join(alone.err.split())


def test_intervals_have_the_mass_that_is_asked_for(bayescale, fit_file: Path) -> None:
    larger = "forecast", fit_file, "--flops", "1e23"
    half, most = (bayescale(*larger, "--ci-prob", p, "--json").json for p in ("0.5", "0.9"))
    assert (half["interval"], most["interval"]) == (0.5, 0.9)
    assert half["loss"]["upper"] < most["loss"]["upper"]
    assert "(50% interval" in bayescale(*larger, "--ci-prob", "0.5").out
    bad = bayescale(*larger, "--ci-prob", "90")
    assert bad.code == 2
    assert "ci_prob is 90" in bad.err
    assert bayescale("summary", fit_file, "--ci-prob", "0.5", "--json").json["interval"] == 0.5


def test_a_figure_that_cannot_be_written_is_refused_before_the_work(
    bayescale, log: Path, fit_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*a: object, **k: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr("bayescale.inference.fit.fit", never)
    monkeypatch.setattr("bayescale.validation.backtest.backtest", never)
    gif, nowhere = tmp_path / "a.gif", tmp_path / "no" / "a.png"
    for command in (("fit", log), ("backtest", log), ("compare", log), ("trust", fit_file)):
        ran = bayescale(*command, "--figure", gif)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            f"error: figure {str(gif)!r} ends in '.gif': end it in one of .png, .svg, .pdf\n"
        )
        ran = bayescale(*command, "--figure", nowhere)
        assert ran.err == (
            f"error: folder {str(nowhere.parent)!r} does not exist: make it, or write elsewhere\n"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.csv"]


# bad input


def test_bad_input_ends_with_its_message_and_code_2(
    bayescale, log: Path, fit_file: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.csv"
    pd.read_csv(log).head(5).to_csv(few, index=False)
    one = "--law", "kaplan_compute"
    cases = [
        (
            ("backtest", few, *one),
            "few.csv cannot be backtested: its 5 runs have 5 sizes in flops, and holding out the "
            "largest must leave at least 5 runs to fit, of two sizes of flops: add runs",
        ),
        (
            ("backtest", log, *one, "--cutoff", "1e25", "--cutoff", "1e18"),
            "runs.csv cannot be backtested at these cutoffs:\n"
            "  - cutoff 1e+18 leaves 0 of 7 runs to fit, and 5 are needed\n"
            "  - cutoff 1e+25 leaves no larger run to forecast: the largest is 2.3e+22",
        ),
        (
            ("backtest", log, *one, "--cutoff", "big"),
            "--cutoff is 'big', which is not a size: write a number, with K, M, B or T after it "
            "if you like, for example 70B, 1.4T or 5.76e23",
        ),
        (
            ("backtest", log, *one, "--law", "kaplan"),
            "laws of different inputs cannot be compared or averaged: kaplan_compute is of flops; "
            "kaplan is of params and tokens. Choose laws of the same inputs",
        ),
        (
            ("compare", log, *one),
            "a comparison needs two laws or more, and kaplan_compute is given: name another with "
            "--law",
        ),
        (
            ("trust", fit_file, "--tolerance", "0"),
            "tolerance is 0, but must lie between 0 and 1: a share of the loss, such as 0.02 for "
            "2 %",
        ),
        (
            ("trust", tmp_path / "no.nc"),
            f"posterior file '{tmp_path / 'no.nc'}' does not exist: correct the path",
        ),
    ]
    for arguments, message in cases:
        ran = bayescale(*arguments, *HERE)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert ran.err == f"error: {message}\n"


def test_trust_asks_before_the_backtest_whether_it_can_keep_it(
    bayescale, fit_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fit.nc"
    path.write_bytes(fit_file.read_bytes())
    before = path.read_bytes()
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != tmp_path and real(p, mode))
    ran = bayescale("trust", path, *HERE)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (f"error: folder '{tmp_path}' cannot be written to: write elsewhere\n")
    assert path.read_bytes() == before


def test_a_worker_that_is_lost_is_told_with_what_was_kept(
    bayescale, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.refits import failing

    monkeypatch.setattr("bayescale.refit", failing)
    ran = bayescale("backtest", log, "--law", "kaplan_compute", *HERE, "--json")
    assert ran.code == 0
    (missing,) = ran.json["missing"]
    assert missing == {
        "law": "kaplan_compute", "cutoff": 6.3e21, "why": "ValueError: no minimum",
    }  # fmt: skip
    assert np.isfinite(ran.json["rows"][0]["lpd"])


@pytest.mark.integration
def test_a_fit_is_compared_with_its_own_laws_and_runs(bayescale, log: Path, tmp_path: Path) -> None:
    fit, one = tmp_path / "fit.nc", ("--cutoff", "1.1e21", *HERE)
    weights = ("--weight", "kaplan_compute=3", *SHARE)
    assert bayescale("fit", log, *LAWS, *weights, "-o", fit, *FEW, "--json").code in (0, 3)
    tested = bayescale("backtest", fit, *one, "--json").json
    assert tested["weights"] == {"kaplan_compute": 0.75, "henighan_compute": 0.25}
    command = "bayescale fit RUNS --law kaplan_compute --law henighan_compute --weights stacking"
    assert command in bayescale("compare", fit, *one).out
    refused = bayescale("backtest", fit, "--ignore", "seed")
    assert refused.code == 2
    assert "is a fit, which holds its runs" in refused.err


@pytest.mark.integration
def test_a_further_law_is_compared_with_that_of_a_fit(bayescale, log: Path, tmp_path: Path) -> None:
    fit, one = tmp_path / "fit.nc", ("--cutoff", "1.1e21", *HERE)
    bayescale("fit", log, "--law", "henighan_compute", "-o", fit, *FEW, "--json")
    alone = bayescale("compare", fit, *one)
    assert alone.code == 2
    assert "name another with --law" in alone.err
    both = bayescale("compare", fit, "--law", "kaplan_compute", *one, "--json").json
    assert list(both["weights"]) == ["henighan_compute", "kaplan_compute"]


@pytest.mark.integration
def test_weights_of_a_comparison_are_used_at_once(bayescale, log: Path, tmp_path: Path) -> None:
    fit = tmp_path / "fit.nc"
    found = bayescale("compare", log, *LAWS, *HERE, "--json").json["weights"]
    made = bayescale("fit", log, *LAWS, "--weights", "stacking", "-o", fit, *FEW, "--json").json
    assert made["weights"] == pytest.approx(found, abs=1e-6)
    assert open_posterior(fit).weights == pytest.approx(tuple(found.values()), abs=1e-6)
    clash = bayescale("fit", log, *LAWS, "--weights", "stacking", *SHARE, "-o", fit)
    assert clash.code == 2
    assert "--weight already states them" in clash.err
