"""How long a backtest will take: in proportion to its rows, timed once, and said before it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.refits import known, power_law_log

from bayescale.cards import load_card
from bayescale.runs import Runs, read_runs
from bayescale.tasks import Serial
from bayescale.validation import duration
from bayescale.validation.backtest import backtest, planned_refits
from bayescale.validation.duration import TIMED_ROWS, guessed_seconds

CARD = load_card("kaplan_compute")


def long_log(n: int) -> Runs:
    flops = np.geomspace(1e18, 1e21, n)
    return read_runs(pd.DataFrame({"flops": flops, "loss": (1e24 / flops) ** 0.05}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which the tests' own refits move on."""
    now = [0.0]
    monkeypatch.setattr(duration.time, "perf_counter", lambda: now[0])
    return now


def test_refits_take_time_in_proportion_to_their_rows(clock: list[float]) -> None:
    timed: list[int] = []

    def refit(runs: Runs, card: Any, seed: int) -> Any:
        timed.append(len(runs))
        clock[0] += 0.002 * len(runs) + 100.0 * (len(timed) == 1)  # the first one compiles

    refits = [(long_log(n), CARD) for n in (5_000, 15_000, 10_000)]
    assert guessed_seconds(refits, refit) == pytest.approx(60.0)
    assert guessed_seconds(refits, refit, workers=2) == pytest.approx(30.0)
    assert set(timed) == {TIMED_ROWS}


def test_small_logs_are_not_timed() -> None:
    def never(*arguments: Any) -> Any:
        raise AssertionError("a refit was made")

    assert guessed_seconds([(long_log(50), CARD)] * 20, never) == 0.0


def test_the_refits_that_are_planned_are_those_that_are_made() -> None:
    log = power_law_log([0.0] * 8)
    laws = ("kaplan_compute", "henighan_compute")
    made: list[tuple[int, str]] = []

    def refit(runs: Runs, card: Any, seed: int) -> Any:
        made.append((len(runs), card.law.name))
        return known(runs, card)

    backtest(log, laws, refit=refit, executor=Serial())
    planned = [(len(runs), card.law.name) for runs, card in planned_refits(log, laws)]
    assert planned == made
    assert len(made) == 6


@pytest.mark.parametrize(("seconds", "said"), [(7200.0, "about 2.0 h on 1 core"), (60.0, "")])
def test_a_command_says_before_the_refits_that_they_take_long(
    bayescale: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, said: str
) -> None:
    power_law_log([0.0] * 8).to_frame().to_csv(tmp_path / "runs.csv", index=False)
    monkeypatch.setattr("bayescale.validation.backtest.default_refit", lambda: known)
    monkeypatch.setattr(duration, "guessed_seconds", lambda *arguments: seconds)
    question = ("backtest", tmp_path / "runs.csv", "--law", "kaplan_compute", "--workers", 1)
    ran = bayescale(*question, "--json")
    assert ran.code == 0
    assert ran.json["cutoffs"]
    assert said in ran.err
    assert ran.err.startswith("Note (long): 3 refits of up to 7 runs take ") == bool(said)
    assert bayescale(*question, "--quiet").err == ""
