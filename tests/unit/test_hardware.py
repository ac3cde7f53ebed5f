"""Budgets in GPUs, days and dollars, by hand."""

from pathlib import Path

import numpy as np
import pytest

from bayescale.cards import load_card
from bayescale.decisions.allocate import allocate
from bayescale.errors import DecisionError
from bayescale.posterior import point, save
from bayescale.splits.hardware import Cluster


def fit():
    card = load_card("chinchilla")
    return point(card, card.published_values("besiroglu_2024"))


def test_a_month_on_a_thousand_gpus_by_hand() -> None:
    """1,000 x 1e15 x 0.5 FLOP/s for 30 days of 86,400 s; 720,000 GPU-hours at $2."""
    cluster = Cluster(gpus=1000, peak=1e15, utilization=0.5, price=2.0)
    assert cluster.flops_in(30) == pytest.approx(1.296e24)
    assert cluster.cost(1.296e24) == pytest.approx(
        {"days": 30, "gpu_hours": 720_000, "dollars": 1_440_000}
    )


def test_the_memory_of_all_gpus_caps_the_model() -> None:
    """16 bytes a parameter: 8 GPUs of 80e9 bytes hold 40e9 parameters."""
    cluster = Cluster.of("h100", 8)
    assert cluster.max_params == 40e9
    answer = allocate(fit(), 1e27, cluster=cluster).to_json()
    assert answer["choice"]["params"] <= 40e9 * (1 + 1e-9)
    free = allocate(fit(), 1e27, cluster=Cluster(8, 989e12)).to_json()
    assert free["choice"]["params"] > 40e9


def test_wasted_compute_and_the_budget_are_told_in_dollars_and_days() -> None:
    cluster = Cluster(gpus=1000, peak=1e15, utilization=0.5, price=2.0)
    result = allocate(fit(), cluster.flops_in(30), cluster=cluster)
    answer = result.to_json()
    assert answer["dollars"] == pytest.approx(1_440_000)
    assert answer["days"] == pytest.approx(30)
    assert answer["price"] == pytest.approx(2 / 3600 / 0.5e15)
    text = str(result)
    assert "$1,440,000" in text
    assert "30 days on 1,000 GPUs (720,000 GPU-hours at 50% of the peak)" in text


def test_several_budgets_are_several_times() -> None:
    cluster = Cluster.of("a100", 64)
    assert cluster.flops_in([7, 14]) == pytest.approx(np.array([1, 2]) * cluster.flops_in(7))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gpus": 0}, "gpus is 0, but must be 1 to 1e8"),
        ({"utilization": 40}, "utilization is 40, but must be above 0 and at most 1"),
        ({"peak": 989}, "FLOP/s of one GPU, such as 989e12"),
        ({"price": -1.0}, "price is -1, but must be above zero"),
    ],
)
def test_clusters_that_cannot_be_say_why(wrong: dict, message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        Cluster(**{"gpus": 8, "peak": 989e12, **wrong})
    with pytest.raises(DecisionError, match="GPU 'v100' is unknown: use a100, h100"):
        Cluster.of("v100", 8)


def test_the_command_line_takes_gpus_and_days(bayescale, tmp_path: Path) -> None:
    path = save(fit(), tmp_path / "fit.nc")
    gpus = ("--gpus", 64, "--gpu", "h100", "--gpu-price", 2, "--days", 7)
    ran = bayescale("allocate", path, *gpus, "--json")
    assert ran.code == 0
    assert ran.json["gpu_hours"] == pytest.approx(64 * 7 * 24)
    assert ran.json["dollars"] == pytest.approx(2 * 64 * 7 * 24)
    for more in (("--gpu-flops", 1e15), ("--price", 1e-18)):
        ran = bayescale("allocate", path, *gpus, *more)
        assert ran.code == 2
        assert more[0] in ran.err
    assert bayescale("allocate", path, "--flops", 1e22, "--gpu-memory", 80e9).code == 2
    ran = bayescale("allocate", path, "--days", 7)
    assert ran.code == 2
    assert "--gpus" in ran.err
