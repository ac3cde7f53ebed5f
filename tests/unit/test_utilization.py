"""Budgets of GPU time where utilization depends on the model's size, by hand.

With L = 400 N^-1/2 + 400 D^-1/2 and a utilization that falls as N^-1/4, the time of N params on D
tokens goes as N^1.25 D, so that the best split has D / N = 1.25^2 = 1.5625. At 4e9 params 6.25e9
tokens are 1.5e20 FLOP, and 1e15 FLOP/s at 0.4 / sqrt(2) reach that in 530,330 s.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.cards import load_card
from bayescale.decisions.allocate import allocate
from bayescale.errors import DecisionError, RunLogError
from bayescale.plotting import plot_frontier
from bayescale.posterior import Posterior, point, save
from bayescale.runs import read_runs
from bayescale.splits.hardware import Cluster
from bayescale.splits.utilization import Utilization

FALLING = Utilization.of({1e9: 0.4, "16B": 0.2})
SECONDS = 1.5e20 / (1e15 * 0.4 / 2**0.5)
DAYS = SECONDS / 86_400


def fit() -> Posterior:
    values = {"E": 1.5, "A": 400.0, "B": 400.0, "alpha": 0.5, "beta": 0.5}
    return point(load_card("chinchilla"), values)


def cluster(**more: float) -> Cluster:
    return Cluster(gpus=1, peak=1e15, utilization=FALLING, price=2.0, **more)


def test_utilization_is_a_power_of_size_and_held_beyond() -> None:
    """Half-way in logs, at 4e9, it is 0.4 / sqrt(2)."""
    sizes = np.array([1e8, 1e9, 4e9, 16e9, 1e12])
    assert FALLING.at(sizes) == pytest.approx([0.4, 0.4, 0.4 / 2**0.5, 0.2, 0.2])
    assert "40% at 1B, 20% at 16B params, and held there" in FALLING.in_words()


def test_days_are_split_by_hand() -> None:
    answer = allocate(fit(), days=DAYS, cluster=cluster()).to_json()
    assert answer["choice"]["params"] == pytest.approx(4e9, rel=1e-3)
    assert answer["choice"]["tokens"] == pytest.approx(6.25e9, rel=1e-3)
    assert answer["tokens_per_param"]["median"] == pytest.approx(1.5625, rel=1e-3)
    assert answer["flops"] == pytest.approx(1.5e20, rel=1e-3)
    assert answer["spent"] == pytest.approx(1.5e20, rel=1e-3)
    assert answer["days"] == pytest.approx(DAYS)
    assert answer["dollars"] == pytest.approx(2 * SECONDS / 3600)
    assert answer["utilization"] == pytest.approx(0.4 / 2**0.5, rel=1e-3)
    assert answer["loss"]["median"] == pytest.approx(1.5 + 720 / 4e9**0.5, rel=1e-6)
    flat = allocate(fit(), days=DAYS, cluster=Cluster(1, 1e15, utilization=0.3)).to_json()
    assert flat["tokens_per_param"]["median"] == pytest.approx(1.0, rel=1e-3)


def test_what_another_size_wastes_is_its_time_and_dollars() -> None:
    """1e9 params reach 0.4 and 3.5355e10 tokens; the best split needs 0.309 of the time for that.

    Its loss less E is 400 (1e9^-1/2 + 3.5355e10^-1/2) = 720 N^-1/2 at N = 2.374e9, and the time of
    the best split goes as N^2.25.
    """
    found = allocate(fit(), days=DAYS, cluster=cluster(), options=[(1e9, None)]).to_json()
    option = found["options"][0]
    tokens = SECONDS * 1e15 * 0.4 / 6e9
    assert option["tokens"] == pytest.approx(tokens, rel=1e-9)
    assert option["spent"] == pytest.approx(SECONDS * 1e15 * 0.4)
    above = 400 * (1e9**-0.5 + tokens**-0.5)
    share = 1 - ((720 / above) ** 2 / 4e9) ** 2.25
    assert option["expected_regret"]["flops"] / option["spent"] == pytest.approx(share, rel=2e-3)
    dollars = share * 2 * SECONDS / 3600
    assert option["expected_regret"]["dollars"] == pytest.approx(dollars, rel=2e-3)
    best = 720 / 4e9**0.5
    assert option["expected_regret"]["loss"] == pytest.approx(above - best, rel=1e-3)


def test_the_memory_cap_leaves_the_small_model_its_own_compute() -> None:
    """16 bytes a parameter: 1.6e10 bytes hold 1e9 params."""
    answer = allocate(fit(), days=DAYS, cluster=cluster(memory=1.6e10)).to_json()
    assert answer["choice"]["params"] == pytest.approx(1e9)
    assert answer["choice"]["tokens"] == pytest.approx(SECONDS * 1e15 * 0.4 / 6e9)


def test_listed_sizes_are_compared_at_equal_time() -> None:
    found = allocate(fit(), days=DAYS, cluster=cluster(), sizes=[1e9, 16e9]).to_json()
    reached = {n: 400 * (n**-0.5 + (SECONDS * 1e15 * u / 6 / n) ** -0.5)
               for n, u in ((1e9, 0.4), (16e9, 0.2))}  # fmt: skip
    best = min(reached, key=lambda n: reached[n])
    assert found["choice"]["params"] == pytest.approx(best)
    assert found["loss"]["median"] == pytest.approx(1.5 + reached[best])


def test_one_share_for_every_size_gives_what_a_number_gives() -> None:
    both = [
        allocate(fit(), days=[7, 30], cluster=Cluster(64, 1e15, utilization=u, price=2.0))
        for u in (0.3, Utilization.of({"1B": 0.3, "70B": 0.3}))
    ]
    tables = [each.to_frame().select_dtypes("number") for each in both]
    measured = [table.filter(regex="^(?!regret|wasted)") for table in tables]
    pd.testing.assert_frame_equal(measured[0], measured[1], rtol=1e-6)


def test_a_frontier_tells_days_and_dollars(tmp_path: Path) -> None:
    result = allocate(fit(), days=[DAYS, 4 * DAYS], cluster=cluster())
    frame = result.to_frame()
    assert frame["days"].to_numpy() == pytest.approx([DAYS, 4 * DAYS])
    assert frame["dollars"].to_numpy() == pytest.approx(np.array([1, 4]) * SECONDS / 1800)
    assert frame["choice_params"].iloc[1] == pytest.approx(4e9 * 4 ** (1 / 2.25), rel=1e-3)
    header = str(result).splitlines()[1]
    assert header.split()[:2] == ["days", "dollars"]
    axes = plot_frontier(result)
    assert axes.get_xlabel() == "budget (dollars)"
    assert axes.get_lines()[0].get_ydata() == pytest.approx(frame["loss_median"].to_numpy())
    assert plot_frontier(result, against="days").get_xlabel() == "budget (days of all GPUs)"
    with pytest.raises(DecisionError, match="knows its cost in dollars, days, gpu_hours, flops"):
        plot_frontier(result, against="euros")
    with pytest.raises(DecisionError, match="a frontier needs several budgets"):
        plot_frontier(allocate(fit(), days=DAYS, cluster=cluster()))


def test_a_budget_in_flop_is_told_in_time_but_split_by_flop() -> None:
    result = allocate(fit(), 1.5e20, cluster=cluster())
    assert result.to_json()["tokens_per_param"]["median"] == pytest.approx(1.0, rel=1e-3)
    assert "Splits are compared at equal FLOP, whatever time they take." in str(result)


def test_utilization_is_read_off_a_log() -> None:
    """0.4 (N / 1e9)^-1/4 at three sizes is found again, held at the smallest and the largest."""
    sizes = np.array([1e9, 4e9, 16e9])
    log = pd.DataFrame({"params": sizes, "tokens": 20 * sizes, "loss": [2.9, 2.6, 2.4]}).assign(
        MFU=0.4 * (sizes / 1e9) ** -0.25
    )
    found = Utilization.of_runs(read_runs(log))
    assert found.sizes == pytest.approx((1e9, 16e9))
    assert found.shares == pytest.approx((0.4, 0.2))
    with pytest.raises(DecisionError, match="no column of utilization by size: add a column `util"):
        Utilization.of_runs(read_runs(log.drop(columns="MFU")))
    with pytest.raises(DecisionError, match="utilization is 40 in DataFrame, but must be above 0"):
        Utilization.of_runs(read_runs(log.assign(MFU=100 * log["MFU"])))
    with pytest.raises(RunLogError, match="utilization cannot be read off DataFrame"):
        Utilization.of_runs(read_runs(log.assign(MFU=[0.4, 0.0, 0.2])))


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([("1B", 45)], "45 at 1B params must be above 0 and at most 1, such as 0.4 for 40 %"),
        ([("1B", 0)], "0 at 1B params must be above 0 and at most 1"),
        ([("1B", 0.4), (1e9, 0.3)], "1B params are given twice: give one share for each size"),
        ([("1B", 0.1), ("2B", 0.2)], "0.1 at 1B to 0.2 at 2B params rises as fast as the size"),
        ([], "no size is given"),
    ],
)
def test_utilizations_that_cannot_be_say_why(shares: list, message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        Utilization.of(shares)


def test_utilization_may_rise_and_fall() -> None:
    hump = Utilization.of({"10M": 0.2, "1B": 0.45, "70B": 0.35})
    answer = allocate(fit(), days=30, cluster=Cluster(64, 1e15, utilization=hump)).to_json()
    assert answer["days"] == pytest.approx(30)
    spent = 6 * answer["choice"]["params"] * answer["choice"]["tokens"]
    assert answer["flops"] == pytest.approx(spent, rel=1e-9)


def test_budgets_that_do_not_fit_say_why() -> None:
    with pytest.raises(DecisionError, match="give one budget: `flops=`, or `days=`"):
        allocate(fit(), 1e20, days=3, cluster=cluster())
    with pytest.raises(DecisionError, match="a budget in days needs its GPUs"):
        allocate(fit(), days=3)
    with pytest.raises(DecisionError, match="so does the price of a FLOP: leave `price=` out"):
        allocate(fit(), days=3, cluster=cluster(), price=1e-18)
    with pytest.raises(DecisionError, match="give the size with `params=`"):
        cluster().flops_in(30)


def test_the_command_line_takes_utilization_by_size(bayescale, tmp_path: Path) -> None:
    path = save(fit(), tmp_path / "fit.nc")
    gpus = ("--gpus", 1, "--gpu-flops", 1e15, "--gpu-price", 2, "--days", DAYS)
    by_size = ("--utilization", "1B=0.4", "--utilization", "16B=0.2")
    ran = bayescale("allocate", path, *gpus, *by_size, "--json")
    assert ran.code == 0
    assert ran.json["choice"]["params"] == pytest.approx(4e9, rel=1e-3)
    log = tmp_path / "runs.csv"
    log.write_text("params,tokens,loss,mfu\n1e9,2e10,2.9,0.4\n16e9,32e10,2.4,0.2\n")
    of_log = bayescale("allocate", path, *gpus, "--utilization", log, "--json").json
    assert of_log["choice"] == pytest.approx(ran.json["choice"])
    assert of_log["cluster"]["utilization"]["sizes"] == pytest.approx([1e9, 16e9])
    for wrong, message in (
        (("0.4", "0.3"), "give one share, or one for each size"),
        (("1B=0.4", "1B=0.3"), "1B params are given twice"),
        (("absent.csv",), "'absent.csv' is neither a share such as 0.4"),
        (("x" * 5000,), "neither a share such as 0.4"),
        (("9" * 5000,), "above 0 and at most 1"),
        (("1B=45",), "45 at 1B params must be above 0"),
    ):
        options = [each for text in wrong for each in ("--utilization", text)]
        failed = bayescale("allocate", path, *gpus, *options)
        assert failed.code == 2
        assert message in " ".join(failed.err.replace("│", " ").split())
    alone = bayescale("allocate", path, "--flops", 1e22, *by_size)
    assert alone.code == 2
    assert "--gpus" in alone.err
