"""What commands print fits the terminal, loses nothing, and is as short as is asked for."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from bayescale.layout import table_lines, wrapped
from bayescale.posterior import Posterior, save
from bayescale.results import TextTable

NUMBERS = TextTable.of(
    {"params": f"{n}B", **{f"{d}T tokens": f"2.{n}{d} (2.1 to 2.9)" for d in range(1, 6)}}
    for n in (1, 10)
)
WORDS = TextTable.of(
    {"": name, "median": "1.76", "unit": "nats per token, times params to the power alpha"}
    for name in ("E", "A")
)


def words(text: str) -> set[str]:
    return set(text.split())


def test_a_line_that_fits_stays_as_it_is() -> None:
    assert wrapped("  mean over seeds   1.92  nats/token", 40) == [
        "  mean over seeds   1.92  nats/token"
    ]


def test_what_follows_a_label_keeps_its_column_where_there_is_room() -> None:
    line = "  loss        2.0942 (90% interval 2.0794 to 2.1113)  nats/token, mean over seeds"
    assert wrapped(line, 60)[1] == " " * 14 + "nats/token, mean over seeds"
    assert wrapped(line, 24)[1].startswith("    ")
    assert not wrapped(line, 24)[1].startswith("     ")


def test_a_broken_command_is_still_one_command() -> None:
    command = "  bayescale forecast runs.nc --params 70B --tokens 1.4T --target 1.95"
    lines = wrapped(command, 40)
    assert max(map(len, lines)) <= 40
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == command.split()


def test_a_word_that_is_too_long_stays_whole() -> None:
    path = "/home/someone/" + "a" * 60 + ".nc"
    assert wrapped(f"Written to {path}", 40)[1].strip() == path


def test_a_table_goes_by_blocks_where_columns_do_not_fit() -> None:
    lines = table_lines(NUMBERS, 60)
    assert max(map(len, lines)) <= 60
    assert sum(line.startswith("params") for line in lines) == 3
    assert words("\n".join(lines)) == words(str(NUMBERS))


def test_a_table_goes_row_by_row_where_not_even_two_columns_fit() -> None:
    lines = table_lines(NUMBERS, 24)
    assert lines[:2] == ["params 1B", "  1T tokens  2.11 (2.1"]
    assert max(map(len, lines)) <= 24


def test_a_column_of_words_is_wrapped_before_a_table_is_split() -> None:
    lines = table_lines(WORDS, 50)
    assert max(map(len, lines)) <= 50
    assert sum("median" in line for line in lines) == 1
    assert words("\n".join(lines)) == words(str(WORDS))


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize(
    "question",
    [
        ("summary", "FIT"),
        ("forecast", "FIT", "--params", "70B", "--tokens", "1.4T", "--target", "1.95"),
        ("forecast", "FIT", "--flops", "1e24"),
        ("allocate", "FIT", "--flops", "1e22,1e23", "--option", "70B,1.4T"),
        ("data", "FIT", "--params", "7B"),
        ("next-run", "FIT", "--budget", "1e22", "--target-flops", "1e23"),
        ("cross-check", "FIT"),
        ("slices", "FIT"),
        ("models",),
        ("models", "published", "besiroglu"),
        ("summary", "nowhere.nc"),
        ("allocate", "FIT", "--flops", "1e22", "--max-tokens", "1"),
    ],
    ids=" ".join,
)
def test_no_line_is_wider_than_the_terminal(
    bayescale: Callable,
    chinchilla_posterior: Posterior,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    question: tuple[str, ...],
    columns: int,
) -> None:
    save(chinchilla_posterior, tmp_path / "fit.nc")
    monkeypatch.chdir(tmp_path)
    typed = ["fit.nc" if word == "FIT" else word for word in question]
    ran = bayescale(*typed, columns=columns)
    printed = (ran.out + ran.err).splitlines()
    assert printed
    assert [line for line in printed if len(line) > columns] == []


def test_quiet_leaves_out_notes_and_brief_all_but_the_answer(
    bayescale: Callable, chinchilla_posterior: Posterior, tmp_path: Path
) -> None:
    fit = save(chinchilla_posterior, tmp_path / "fit.nc")
    full, quiet, brief = (
        bayescale("summary", fit, *more) for more in ([], ["--quiet"], ["--brief"])
    )
    assert "Note (overconfident)" in full.out
    assert "Note (" not in quiet.out
    assert quiet.out.splitlines() == full.out.splitlines()[: len(quiet.out.splitlines())]
    assert len(brief.out.splitlines()) == 3
    assert brief.out.startswith("chinchilla fitted to 240 runs")
    assert "alpha" in brief.out


@pytest.mark.integration
@pytest.mark.parametrize(
    ("question", "start"),
    [
        (("forecast", "--flops", "1e24"), "chinchilla at "),
        (("allocate", "--flops", "1e22"), "chinchilla, 1e+22 FLOP:"),
        (("allocate", "--flops", "1e21,1e22"), "1e+21 FLOP: "),
        (("data", "--params", "7B"), "chinchilla: for overfit"),
        (("next-run", "--budget", "1e22", "--target-flops", "1e23"), "chinchilla: the mean loss"),
        (("cross-check",), "posterior: "),
    ],
    ids=str,
)
def test_brief_is_one_to_three_lines_of_the_answer(
    bayescale: Callable,
    chinchilla_posterior: Posterior,
    tmp_path: Path,
    question: tuple[str, ...],
    start: str,
) -> None:
    command, *more = question
    fit = save(chinchilla_posterior, tmp_path / "fit.nc")
    brief = bayescale(command, fit, *more, "--brief")
    assert brief.out.startswith(start)
    assert 1 <= len(brief.out.splitlines()) <= 3
    assert bayescale(command, fit, *more, "--brief", "--json").out.startswith("{")


def test_overconfident_coefficients_carry_their_mark_in_the_row(
    bayescale: Callable, chinchilla_posterior: Posterior, tmp_path: Path
) -> None:
    fit = save(chinchilla_posterior, tmp_path / "fit.nc")
    rows = [line for line in bayescale("summary", fit).out.splitlines() if " to " in line]
    marked = {row.split()[0] for row in rows if "(x1." in row}
    assert marked
    assert marked <= {"E", "A", "alpha", "B", "beta"}
    assert "(x" not in "".join(bayescale("summary", fit, "--robust").out.splitlines()[:9])


def test_rows_left_out_are_counted_and_not_all_named(bayescale: Callable, tmp_path: Path) -> None:
    log = tmp_path / "runs.csv"
    rows = [f"run{i},{1e8 * (1 + i % 7)},{2e9 * (1 + i % 5)},3.{i % 90 + 10}" for i in range(200)]
    rows += [f"lost{i},1e9,2e10," for i in range(50)]
    log.write_text("\n".join(["run_id,params,tokens,loss", *rows]))
    ran = bayescale("check", log, "--missing", "drop", "--repeats", "keep")
    assert "Left out: lost0, lost1, lost2, lost3, lost4 and 45 more: " in ran.out
    assert "lost5" not in ran.out


def test_a_brief_allocation_has_its_split_loss_and_verdicts(
    bayescale: Callable, chinchilla_posterior: Posterior, tmp_path: Path
) -> None:
    asked = ("allocate", save(chinchilla_posterior, tmp_path / "fit.nc"), "--flops", "1e22")
    found = bayescale(*asked, "--json").json
    low, middle, high = (found["loss"][key] for key in ("lower", "median", "upper"))
    split, loss, verdicts = bayescale(*asked, "--brief").out.splitlines()
    params, tokens = (found["choice"][name] / 1e9 for name in ("params", "tokens"))
    assert f"1e+22 FLOP: {params:.3g}B params on {tokens:.3g}B tokens (" in split
    assert f"loss {middle:.4f} (90% interval {low:.4f} to {high:.4f}) nats/token, mean" in loss
    assert verdicts == f"  {found['why']} {found['split_why']}"


def test_a_brief_frontier_has_a_line_for_every_budget(
    bayescale: Callable, chinchilla_posterior: Posterior, tmp_path: Path
) -> None:
    fit = save(chinchilla_posterior, tmp_path / "fit.nc")
    asked = ("allocate", fit, "--flops", "1e20,1e21,1e22,1e23")
    budgets = bayescale(*asked, "--json").json["budgets"]
    lines = bayescale(*asked, "--brief").out.splitlines()
    assert len(lines) == len(budgets) == 4
    for line, found in zip(lines, budgets, strict=True):
        assert line.startswith(f"{found['flops']:.4g} FLOP: ")
        assert f"loss {found['loss']['median']:.4f} (90% interval " in line
        assert line.endswith(
            f"; loss {found['verdict'].replace('_', ' ')}, split {found['split_verdict']}"
        )


def test_a_brief_forecast_with_a_target_keeps_its_verdict(
    bayescale: Callable, chinchilla_posterior: Posterior, tmp_path: Path
) -> None:
    fit = save(chinchilla_posterior, tmp_path / "fit.nc")
    asked = ("forecast", fit, "--flops", "1e22", "--target", "2.1")
    lines = bayescale(*asked, "--brief").out.splitlines()
    assert any("below 2.1: " in line for line in lines)
    assert lines[-1].strip() == bayescale(*asked, "--json").json["why"]
