"""The command line: the JSON that people build on, exit codes, and no half-written files."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.cards import card_names, load_card
from bayescale.conventions import FlopCount, unit_of_log
from bayescale.conventions.stated import CHOICES
from bayescale.posterior import Posterior, open_posterior, save
from bayescale.runs import Runs, read_runs
from bayescale.verdict import STATES

Command = Callable[..., "object"]
QUICK = ("--draws", 300, "--tune", 300)


@pytest.fixture
def log(cerebras: Runs, tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    columns = ["run_id", "params", "tokens", "flops", "loss"]
    cerebras.to_frame()[columns].to_csv(path, index=False)
    return path


def is_interval(q: dict[str, float]) -> bool:
    return set(q) >= {"median", "lower", "upper"} and q["lower"] <= q["median"] <= q["upper"]


def test_the_version_is_printed(bayescale) -> None:
    assert bayescale("--version").out == "bayescale 0.1.0\n"


def test_check_tells_what_a_log_holds(bayescale, log: Path) -> None:
    ran = bayescale("check", log, "--json", "--exclude", "run_id=Cerebras-GPT-13B")
    assert ran.code == 0
    assert ran.json["n_runs"] == 6
    assert {"params", "tokens", "flops", "loss"} <= set(ran.json["columns"])
    (dropped,) = ran.json["dropped"]
    assert dropped["id"] == "Cerebras-GPT-13B"
    assert dropped["reason"] == "run_id = Cerebras-GPT-13B, excluded on request"
    codes = {warning["code"] for warning in ran.json["warnings"]}
    assert {"flops_convention", "collinear_design"} <= codes
    assert all(warning["text"] for warning in ran.json["warnings"])
    checks = {check["name"]: check["passed"] for check in ran.json["checks"]}
    assert checks == {
        "runs": False, "ranges": True, "compute": True, "tokens_per_param": False,
        "expected_contraction": False,
        "loss_steps": True, "checkpoints": True, "divergence": True, "warm_up": True,
    }  # fmt: skip
    assert all(check["text"] for check in ran.json["checks"])


def test_check_says_in_which_unit_a_loss_is_fitted_and_how_to_state_another(
    bayescale, log: Path
) -> None:
    lines = bayescale("check", log, columns=80).out.splitlines()
    (first,) = (i for i, line in enumerate(lines) if line.startswith("  loss            not"))
    assert " ".join(" ".join(lines[first : first + 2]).split()) == (
        "loss not stated; fit takes it as nats per token. To state it: --unit loss=bits (or nats, "
        "bits_per_byte, perplexity)"
    )
    assert lines[first + 2].startswith("  unknown         params, flops, evaluation_set")
    assert unit_of_log(read_runs(log).conventions).words == "nats per token"
    for unit, told in CHOICES["loss"].items():
        stated = ["--unit", f"loss={unit}", "--convention", "tokens_per_byte=0.3"]
        assert f"  loss            {unit}: {told}\n" in bayescale("check", log, *stated).out


def test_check_does_not_ask_for_the_unit_of_what_is_no_language_models_loss(
    bayescale, log: Path
) -> None:
    scored = log.with_name("scored.csv")
    pd.read_csv(log).assign(lm_loss=lambda x: x["loss"], loss=lambda x: x["loss"] / 9).to_csv(
        scored
    )
    told = bayescale("check", scored, "--law", "downstream").out
    assert "  loss            error rate, which the law predicts\n" in told


def test_check_prints_an_answer_for_people(bayescale, log: Path) -> None:
    ran = bayescale("check", log)
    assert "7 runs from runs.csv: params 1.11e+08 to 1.3e+10" in ran.out
    told = " ".join(ran.out.split())
    assert told.count("cannot separate alpha from beta") == 1
    assert "WEAK tokens per param: tokens are 20 times params in every run" in told
    assert len(ran.out.splitlines()) < 40


def width(ci_prob: dict[str, float]) -> float:
    return ci_prob["upper"] - ci_prob["lower"]


def test_fit_summary_and_forecast_hold_their_promised_keys(
    bayescale, log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "fit.nc"
    fitted = bayescale("fit", log, "--law", "kaplan_compute", "-o", out, "--seed", 5, "--json")
    assert fitted.code == 0
    assert fitted.json["law"] == "kaplan_compute"
    assert fitted.json["n_runs"] == 7
    assert fitted.json["interval"] == 0.9
    assert set(fitted.json["coefficients"]) == {"C_c", "alpha_C", "sigma", "nu"}
    assert set(fitted.json["drift"]) == {"drift_flops"}
    assert fitted.json["coefficients"]["C_c"]["unit"] == "PF-day"
    assert all(is_interval(q) for q in fitted.json["coefficients"].values())
    diagnostics = {"rhat_max", "ess_bulk_min", "divergences", "passed"}
    assert diagnostics <= set(fitted.json["diagnostics"])
    assert set(fitted.json["seconds"]) == {"compile", "sample", "total"}
    assert fitted.json["output"] == str(out)

    summary = bayescale("summary", out, "--json")
    assert summary.code == 0
    assert summary.json["coefficients"] == fitted.json["coefficients"]
    assert summary.json["provenance"]["seed"] == 5

    ran = bayescale("forecast", out, "--flops", "1e23", "--target", "1.5", "--json")
    assert ran.code == 0
    assert ran.json["flops"] == 1e23
    assert ran.json["params"] is None
    assert is_interval(ran.json["loss"])
    assert is_interval(ran.json["loss_new"])
    assert 0 <= ran.json["p_below_target"] <= 1
    assert ran.json["extrapolation_ratio"] == pytest.approx(1e23 / 2.3e22)
    assert ran.json["verdict"] in STATES
    assert str(ran.json["why"]).startswith("Extrapolates to 4.35 times")
    assert ran.json["drift"] is True
    plain = bayescale("forecast", out, "--flops", "1e23", "--no-drift", "--json").json
    assert width(plain["loss"]) < width(ran.json["loss"])

    text = bayescale("forecast", out, "--flops", "1e23").out
    assert "a single new run" in text
    assert "90% interval" in text


def test_sizes_are_written_as_people_write_them(bayescale, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit.nc"
    assert bayescale("fit", log, "--law", "kaplan", "-o", out).code == 0
    ran = bayescale("forecast", out, "--params", "70B", "--tokens", "1.4T", "--json")
    assert (ran.json["params"], ran.json["tokens"]) == (70e9, 1.4e12)
    budget = bayescale("forecast", out, "--flops", "5.76e23", "--json").json
    count = FlopCount(**{k: v for k, v in budget["flop_count"].items() if k != "words"})
    assert count.flops(budget["params"], budget["tokens"]) == pytest.approx(5.76e23)
    assert is_interval(budget["optimum"]["params"])


def test_overconfident_intervals_are_noted_and_widened_on_request(
    bayescale, chinchilla_posterior: Posterior, tmp_path: Path
) -> None:
    path = save(chinchilla_posterior, tmp_path / "fit.nc")
    plain = bayescale("forecast", path, "--flops", "1e24", "--no-drift", "--json").json
    assert [warning["code"] for warning in plain["warnings"]] == ["overconfident"]
    assert plain["robust"] is False
    wide = bayescale("forecast", path, "--flops", "1e24", "--robust", "--json").json
    assert wide["warnings"] == []
    assert 1.2 < width(wide["loss"]) / width(plain["loss"]) < 2
    beta = bayescale("summary", path, "--robust", "--json").json["coefficients"]["beta"]
    assert 0.033 < beta["upper"] - beta["lower"] < 0.06


def test_an_untrustworthy_fit_is_written_and_refused_afterwards(
    bayescale, log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bad.nc"
    few = ("--draws", 20, "--chains", 2)
    ran = bayescale("fit", log, "--law", "kaplan_compute", "-o", out, *few, "--json")
    assert ran.code == 3
    assert ran.json["diagnostics"]["passed"] is False
    assert out.is_file()
    assert bayescale("summary", out).code == 3
    refused = bayescale("forecast", out, "--flops", "1e23")
    assert refused.code == 2
    assert refused.out == ""
    assert "failed its convergence checks" in refused.err
    allowed = bayescale("forecast", out, "--flops", "1e23", "--allow-unconverged", "--json")
    assert allowed.code == 3
    assert is_interval(allowed.json["loss"])


def test_models_lists_and_shows_the_cards(bayescale) -> None:
    listed = bayescale("models", "--json").json["models"]
    assert [row["name"] for row in listed] == card_names()
    shown = bayescale("models", "show", "chinchilla")
    assert shown.out == load_card("chinchilla").text.rstrip("\n") + "\n"


@pytest.mark.integration
def test_an_edited_card_is_used_and_kept(bayescale, log: Path, tmp_path: Path) -> None:
    card, out = tmp_path / "mine.toml", tmp_path / "fit.nc"
    text = bayescale("models", "show", "kaplan_compute").out.replace("low = 0.02", "low = 0.03")
    card.write_text(text)
    assert bayescale("fit", log, "--card", card, "-o", out).code == 0
    assert open_posterior(out).card.text == text


@pytest.mark.integration
def test_an_own_law_goes_through_the_whole_path(bayescale, log: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from bayescale.laws import Constant, CriticalScale, Law\n"
        "def loss(flops, *, E, C_c, alpha_C):\n"
        "    return E + (C_c / flops) ** alpha_C\n"
        "MINE = Law(name='mine', inputs=('flops',), coefficients=('E', 'C_c', 'alpha_C'),\n"
        "    loss=loss, sum_of_terms=True,\n"
        "    terms={'E': Constant(), 'C_c': CriticalScale(input='flops', exponent='alpha_C')})\n"
    )
    card = tmp_path / "mine.toml"
    text = load_card("henighan_compute").text
    card.write_text(text.replace('law = "henighan_compute"', 'law = "mine"'))
    law, out = f"{tmp_path / 'mine.py'}:MINE", tmp_path / "fit.nc"
    assert bayescale("fit", log, "--law", law, "--card", card, "-o", out).code == 0
    ours = bayescale("forecast", out, "--law", law, "--flops", "1e23", "--json").json
    theirs = tmp_path / "theirs.nc"
    bayescale("fit", log, "--law", "henighan_compute", "-o", theirs)
    expected = bayescale("forecast", theirs, "--flops", "1e23", "--json").json
    assert ours["loss"]["median"] == pytest.approx(expected["loss"]["median"], rel=0.01)
    without = bayescale("forecast", out, "--flops", "1e23")
    assert without.code == 2
    assert "give it as --law, or by name as file.py:NAME" in without.err


def test_simulate_writes_every_combination(bayescale, tmp_path: Path) -> None:
    out = tmp_path / "sim.csv"
    design = ("--params", "100M,1B", "--tokens-per-param", "5,20,80")
    truth = ("--law", "chinchilla", "--published", "besiroglu_2024", "--sigma", 0)
    assert bayescale("simulate", *truth, *design, "-o", out).code == 0
    frame = pd.read_csv(out)
    assert len(frame) == 6
    assert set(np.round(frame["tokens"] / frame["params"])) == {5, 20, 80}
    printed = bayescale("simulate", *truth, "--set", "E=2", *design)
    assert printed.out.startswith("run_id,params,tokens,loss\n")
    assert bayescale("simulate", *truth, *design, "--json").json["coefficients"]["E"] == 1.8172
    bad = bayescale("simulate", "--law", "chinchilla", *design)
    assert bad.code == 2
    assert "needs coefficients E, A, alpha, B, beta, but was given none" in bad.err


def test_demo_covers_the_two_larger_runs(bayescale, tmp_path: Path) -> None:
    ran = bayescale("demo", "--folder", tmp_path, "--json")
    assert ran.code == 0
    assert [row["reached"] for row in ran.json["held_out"]] == [1.704, 1.572]
    assert all(row["covered"] for row in ran.json["held_out"])
    assert Path(ran.json["figure"]).stat().st_size > 10_000
    assert bayescale("forecast", ran.json["output"], "--flops", "1e23").code == 0


# bad input


@pytest.mark.parametrize("command", ["check", "fit"])
def test_bad_input_ends_with_a_message_and_code_2(
    command: str, bayescale, log: Path, tmp_path: Path
) -> None:
    text = log.read_text()
    faults = {
        "zero": (text.replace("2.608", "0"), "loss must be greater than zero: 0.0 in row 1"),
        "words": (text.replace("2.608", "two"), "loss has text instead of numbers: 'two'"),
        "gap": (text.replace("2.608", ""), "loss is missing in row 1"),
        "infinite": (text.replace("2.608", "inf"), "loss is infinite: inf in row 1"),
        "one": ("\n".join(text.splitlines()[:2]), "holds 1 run, and a law of scale needs"),
        "none": ("", "zz.csv is empty"),
        "twice": (text.replace("tokens", "loss"), "has more than one column named 'loss'"),
        "again": (
            text + text.splitlines()[1],
            "--repeats drop leaves out all but the first",
        ),
    }
    path, out = tmp_path / "zz.csv", tmp_path / "fit.nc"
    out.write_text("kept")
    for content, message in faults.values():
        path.write_text(content)
        options = ("-o", out) if command == "fit" else ()
        ran = bayescale(command, path, *options)
        assert ran.code == 2, message
        assert ran.out == ""
        assert message in ran.err
        assert ran.err.startswith("error: ")
    assert out.read_text() == "kept"
    assert {p.name for p in tmp_path.iterdir()} == {"runs.csv", "zz.csv", "fit.nc"}


def test_wrong_options_end_with_code_2_and_the_way_out(
    bayescale, log: Path, tmp_path: Path
) -> None:
    cases = [
        (("fit", log, "--law", "chinchila"), "law 'chinchila' is unknown: use one of unified"),
        (("fit", log, "--card", "no.toml"), "model card 'no.toml' does not exist"),
        (("fit", log, "-o", tmp_path / "no" / "fit.nc"), "no' does not exist: make it, or write"),
        (("fit", log, "-o", log), "is a file that this command reads, and would be replaced"),
        (("fit", log, "-o", "fit.csv"), "ends in '.csv', but this command writes '.nc'"),
        (("fit", log, "--draws", 1), "Invalid value for '--draws'"),
        (("check", log, "--column", "tokens"), "'tokens' is not NAME=VALUE"),
        (("check", log, "--unit", "tokens=miles"), "unit 'miles' of column 'tokens' is unknown"),
        (("check", tmp_path / "no.csv"), "no.csv' does not exist"),
        (("forecast", log, "--flops", "1e23"), "runs.csv is not a posterior file (NetCDF)"),
        (("forecast", log, "--flops", "1Q"), "--flops is '1Q', which is not a size"),
        (("models", "show", "nothing"), "model card 'nothing' is unknown: use one of"),
        (("nonsense",), "No such command 'nonsense'"),
    ]
    for arguments, message in cases:
        ran = bayescale(*arguments)
        assert ran.code == 2, arguments
        assert message in " ".join(ran.err.replace("│", " ").split()), arguments


def test_help_names_every_command(bayescale) -> None:
    out = bayescale("--help").out
    for command in ("demo", "check", "fit", "summary", "forecast", "models", "simulate"):
        assert command in out
    for command in ("backtest", "compare", "trust"):
        assert command in out


@pytest.mark.integration
def test_an_interrupted_fit_leaves_nothing_behind(log: Path, tmp_path: Path) -> None:
    """Interrupted while it samples; the test's process may itself ignore the signal."""
    import signal
    import time

    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from bayescale.inference import schedule; from bayescale.cli import main; "
        "ready = schedule.compiled_model; "
        "schedule.compiled_model = lambda *a: (ready(*a), print('compiled', flush=True))[0]; "
        f"sys.argv = ['bayescale', 'fit', {str(log)!r}, '-o', {str(tmp_path / 'fit.nc')!r}, "
        "'--law', 'kaplan_compute', '--draws', '1000000']; main()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "compiled\n"
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 130
    child.stdout.close()
    assert [p.name for p in tmp_path.iterdir()] == ["runs.csv"]


def test_the_installed_command_prints_json_alone_on_standard_output(log: Path) -> None:
    script = Path(sys.executable).with_name("bayescale")
    ran = subprocess.run(
        [script, "check", log, "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout)["n_runs"] == 7
    assert ran.stderr == ""


def test_an_option_of_one_name_is_not_quietly_replaced(bayescale, tmp_path: Path) -> None:
    log = tmp_path / "runs.csv"
    log.write_text("params,tokens,loss\n1e8,2e9,3.5\n1e9,2e10,2.9\n")
    ran = bayescale("check", log, "--column", "params=params", "--column", "params=tokens")
    assert ran.code == 2
    assert "params is given twice" in " ".join(ran.err.split())
    several = ("--exclude", "params=1e8", "--exclude", "params=1e9")
    assert (
        "has no rows left: all 2 are excluded on request" in bayescale("check", log, *several).err
    )


def test_a_folder_or_an_empty_file_as_input_is_said_to_be_one(bayescale, tmp_path: Path) -> None:
    (tmp_path / "fit.nc").write_bytes(b"")
    (tmp_path / "runs.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x01")
    size = ("--params", "7B", "--tokens", "1T")
    assert bayescale("forecast", tmp_path, *size).err == (
        f"error: {str(tmp_path)!r} is a folder: give a file that bayescale fit wrote, one of its "
        "files: fit.nc\n"
    )
    assert bayescale("forecast", tmp_path / "fit.nc", *size).err == (
        "error: fit.nc is empty: give one that bayescale fit wrote\n"
    )
    assert bayescale("forecast", tmp_path / "runs.csv", *size).err == (
        "error: runs.csv is not a posterior file (NetCDF): give one that bayescale fit wrote; if "
        "it is a run log, fit it first\n"
    )
    assert bayescale("check", tmp_path).err == (
        f"error: run log {str(tmp_path)!r} is a folder: give a .csv, .parquet or .jsonl file; it "
        "holds runs.csv\n"
    )
    assert bayescale("check", tmp_path / "runs.csv").err == (
        "error: runs.csv is not CSV: byte 0 is not UTF-8 text; it is binary data, so give a .csv, "
        ".parquet or .jsonl file\n"
    )
    log = tmp_path / "log.csv"
    log.write_text("params,tokens,loss\n1e8,2e9,3.4\n1e9,2e10,2.8\n")
    assert bayescale("fit", log, "--card", tmp_path, "-o", tmp_path / "new.nc").err == (
        f"error: model card {str(tmp_path)!r} is a folder: give a .toml file, or a card's name\n"
    )
