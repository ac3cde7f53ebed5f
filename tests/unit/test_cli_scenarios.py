"""The commands prune and emerge: keys, figures, exit codes, and every bad input."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from support.published import ONE, SPREAD

from bayescale.posterior import save
from bayescale.scenarios.answers import Answers

QUANTILES = {"median", "lower", "upper"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ONE, tmp_path_factory.mktemp("fit") / "besiroglu.nc")


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(SPREAD, tmp_path_factory.mktemp("fit") / "spread.nc")


def test_prune_holds_its_promised_keys(bayescale, spread: Path) -> None:
    ran = bayescale("prune", spread, "--params", "7B", "--tokens", "140B", "--keep", 0.5, "--json")
    assert ran.code == 0
    answer = ran.json
    assert answer["label"] == "scenario"
    assert answer["interval"] == 0.9
    assert set(answer["best_fraction"]) == QUANTILES
    assert [row["kept_fraction"] for row in answer["fractions"]] == [0.5, 1.0]
    for name in ("loss", "gain", "break_even", "saved"):
        assert set(answer["choice"][name]) == QUANTILES
    assert answer["fractions"][0]["epochs"] == 2.0
    assert 0 <= answer["fractions"][0]["p_beats"] <= 1
    assert answer["flops"] == pytest.approx(6 * 7e9 * 140e9)
    assert set(answer["assumed"]) == {"quality", "floor", "R_D"}
    text = bayescale("prune", spread, "--params", "7B", "--tokens", "140B", "--keep", 0.5).out
    assert "SCENARIO" in text
    assert "keep 50%" in text


def test_intervals_of_scenarios_have_the_mass_that_is_asked_for(bayescale, spread: Path) -> None:
    pruned = ("prune", spread, "--params", "7B", "--tokens", "140B", "--keep", 0.5)
    emerged = ("emerge", spread, "--flops", "1e20,1e24")
    for command in (pruned, emerged):
        half = bayescale(*command, "--ci-prob", 0.5, "--json")
        assert (half.code, half.json["interval"]) == (0, 0.5), command
        assert "50% interval" in bayescale(*command, "--ci-prob", 0.5).out
    theory = ("prune", "--theory", "--examples-per-param", "1,10", "--keep", "0.2,1")
    refused = bayescale(*theory, "--ci-prob", 0.5)
    assert refused.code == 2
    assert "--ci-prob" in refused.err


def test_prune_takes_ones_own_beliefs(bayescale, published: Path) -> None:
    beliefs = ("--quality", "1.9,2.1", "--floor", "0.01,0.02", "--repeat-worth", "10,20")
    sizes = ("--params", "7B", "--tokens", "140B", "--train-tokens", "70B", "--keep", "0.5")
    answer = bayescale("prune", published, *sizes, *beliefs, "--json").json
    assert answer["trained_tokens"] == 70e9
    assert answer["choice"]["kept_fraction"] == 0.5
    assert answer["choice"]["p_beats"] == 1.0
    assert answer["assumed"]["quality"]["source"] == "prior as given"


def test_prune_has_its_theory(bayescale) -> None:
    sizes = ("--theory", "--examples-per-param", "1,100", "--keep", "0.1,1", "--probe-angle", "5")
    answer = bayescale("prune", *sizes, "--json").json
    assert len(answer["points"]) == 2 * 2 * 3
    assert {"examples_per_param", "kept_fraction", "kept", "error"} <= set(answer["points"][0])
    assert "100 examples per param" in bayescale("prune", *sizes).out


def test_the_old_command_says_what_replaced_it(bayescale) -> None:
    ran = bayescale("perceptron", "--examples-per-param", "1,100", "--keep", "0.1,1")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: the command perceptron is part of prune now: bayescale prune --theory "
        "--examples-per-param 1,100 --keep 0.1,1\n"
    )


def test_emerge_holds_its_promised_keys(bayescale, spread: Path) -> None:
    path = ("--flops", "1e20,1e24", "--answer-tokens", "1,5", "--choices", "4")
    ran = bayescale("emerge", spread, *path, "--json")
    assert ran.code == 0
    answer = ran.json
    assert answer["scale"] == "flops"
    assert len(answer["points"]) == 33
    assert set(answer["metrics"]) == {
        "token_accuracy", "exact_match_5", "edit_distance_5", "multiple_choice_4"
    }  # fmt: skip
    for name in ("visible_at", "half_at", "hidden_share", "due_to_metric", "steepest_share"):
        assert set(answer["metrics"]["exact_match_5"][name]) == QUANTILES
    assert answer["metrics"]["exact_match_5"]["half_at"]["median"] is None
    assert set(answer["points"][0]["metrics"]["token_accuracy"]) == QUANTILES
    assert "exact_match_5" in bayescale("emerge", spread, *path).out


def test_emerge_learns_how_answers_differ(bayescale, spread: Path, tmp_path: Path) -> None:
    loss = np.linspace(1, 6, 20)
    score = Answers(3.0, "greedy").exact_match(loss, 1) + 0.001 * np.cos(7 * loss)
    table = tmp_path / "scores.csv"
    rows = [f"{x:.6f},{a:.6f}" for x, a in zip(loss, score, strict=True)]
    table.write_text("\n".join(["nats,acc", *rows]))
    columns = ("--column", "loss=nats", "--column", "score=acc")
    ran = bayescale(
        "emerge", spread, "--flops", "1e20,1e22", "--answer-tokens", "1", "--calibrate", table,
        *columns, "--json",
    )  # fmt: skip
    assert ran.code == 0
    assert ran.json["dispersion"]["dispersion"]["median"] == pytest.approx(3.0, rel=0.02)
    assert ran.json["decoding"] == "greedy"


@pytest.mark.parametrize(
    "command",
    [
        ("prune", "FIT", "--params", "7B", "--tokens", "140B"),
        ("emerge", "FIT", "--flops", "1e20,1e24"),
        ("prune", "--theory", "--examples-per-param", "1,10,100", "--keep", "0.2,1"),
    ],
)
def test_each_can_be_drawn(bayescale, spread: Path, tmp_path: Path, command: tuple) -> None:
    with mpl.rc_context():
        figure = tmp_path / "figure.png"
        arguments = [spread if part == "FIT" else part for part in command]
        ran = bayescale(*arguments, "--figure", figure, "--json")
        assert ran.code == 0
        assert ran.json["figure"] == str(figure)
        assert figure.read_bytes().startswith(b"\x89PNG")


BAD = [
    (
        ("prune", "FIT", "--params", "7B", "--tokens", "140B", "--keep", "1.5"),
        "error: this pruning cannot be computed:\n"
        "  - keep has 1.5, but a kept fraction must be above 0 and at most 1\n",
    ),
    (
        ("emerge", "FIT", "--flops", "1e20,1e24", "--answer-tokens", "0.5"),
        "error: the scores cannot be computed:\n"
        "  - answer_tokens has 0.5, but an answer has at least one token\n",
    ),
    (
        ("emerge", "FIT", "--flops", "1e20,1e24", "--dispersion", "40"),
        "error: answers cannot be scored:\n"
        "  - dispersion is 40, but must lie between 0, for tokens that are all alike, and 12\n",
    ),
    (
        ("prune", "--theory", "--examples-per-param", "10", "--keep", "1.2"),
        "error: keep[0] is 1.2, but must lie between 1e-9 and 1\n",
    ),
    (
        ("prune", "FIT", "--params", "7B", "--probe-angle", "5"),
        "error: bayescale prune cannot run:\n"
        "  - it needs --tokens, or --theory\n"
        "  - it does not take --probe-angle: leave it out\n",
    ),
    (
        ("prune", "--theory", "FIT", "--keep", "0.5"),
        "error: bayescale prune --theory cannot run:\n"
        "  - it needs --examples-per-param\n"
        "  - it does not take FIT.nc: leave it out\n",
    ),
]


@pytest.mark.parametrize(("command", "message"), BAD)
def test_bad_values_are_one_message_and_exit_2(
    bayescale, published: Path, command: tuple, message: str
) -> None:
    ran = bayescale(*(published if part == "FIT" else part for part in command))
    assert ran.code == 2
    assert ran.err == message
    assert ran.out == ""


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("prune", "FIT", "--params", "7B", "--tokens", "1T", "--quality", "1"), "LOW,HIGH"),
        (("emerge", "FIT", "--flops", "1e24,1e20"), "FROM,TO, the smaller first"),
        (("emerge", "FIT", "--flops", "1e24"), "FROM,TO, the smaller first"),
    ],
)
def test_pairs_that_are_none_are_told(
    bayescale, published: Path, command: tuple, hint: str
) -> None:
    ran = bayescale(*(published if part == "FIT" else part for part in command))
    assert ran.code == 2
    assert hint in " ".join(ran.err.replace("│", " ").split())


@pytest.mark.integration
def test_scenarios_do_not_load_the_sampler(spread: Path) -> None:
    code = (
        "import sys; from bayescale import cli; sys.argv = ['bayescale', 'prune', "
        f"{str(spread)!r}, '--params', '7B', '--tokens', '140B', '--json']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "print(sorted({'pymc', 'nutpie', 'pytensor', 'matplotlib'} & set(sys.modules)), "
        "file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip().endswith("[]")
