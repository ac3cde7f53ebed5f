"""Whether anything but a law's one scale limits its runs."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.cards import load_card
from bayescale.findings import Severity
from bayescale.laws import CHINCHILLA, LAWS, compute_optimal
from bayescale.posterior import point
from bayescale.runs import read_runs
from bayescale.validation.notes import fit_notes
from bayescale.validation.other_factors import (
    CODE,
    most_likely,
    other_factors,
    other_factors_of,
)

KAPLAN = {"N_c": 1.5e11, "alpha_N": 0.15, "D_c": 2e13, "alpha_D": 0.11}
SIZES = np.geomspace(1e7, 3e9, 6)


def log_at(ratios: list[float], noise: float = 0.002) -> pd.DataFrame:
    """Runs of the joint law of Kaplan et al. at these tokens per parameter."""
    params = np.repeat(SIZES, len(ratios))
    tokens = params * np.tile(ratios, len(SIZES))
    rng = np.random.default_rng(20_240_415)
    loss = LAWS["kaplan"].loss(params, tokens, **KAPLAN)
    loss = loss * np.exp(noise * rng.standard_normal(len(loss)))
    ids = [f"run{i}" for i in range(len(params))]
    return pd.DataFrame({"run_id": ids, "params": params, "tokens": tokens, "loss": loss})


def limited_by_hand(frame: pd.DataFrame) -> np.ndarray:
    unlimited = LAWS["kaplan"].loss(frame["params"], 1e40, **KAPLAN)
    return (
        LAWS["kaplan"].loss(frame["params"], frame["tokens"], **KAPLAN) > 1.02 * unlimited
    ).to_numpy()


def test_runs_limited_by_tokens_are_found_and_the_joint_law_is_named() -> None:
    frame = log_at([20, 80, 320, 1280])
    check = other_factors(read_runs(frame), LAWS["kaplan_params"])
    assert check is not None
    assert check.passed is False
    assert check.code == CODE
    limited = limited_by_hand(frame)
    assert 3 < limited.sum() < len(frame) - 3
    assert check.table is not None
    assert check.table["limited"].to_numpy().astype(int).sum() == pytest.approx(
        limited.sum(), abs=2
    )
    n = int(check.table["limited"].sum())
    assert f"{n} of 24 runs are limited by tokens" in check.text
    kept = ",".join(check.table.index[~check.table["limited"]])
    assert f"`only={{'run_id': '{kept}'}}`, or fit the joint law, `law='kaplan'`" in check.text


def test_the_joint_law_is_estimated_without_sampling() -> None:
    found = most_likely(read_runs(log_at([20, 80, 320, 1280])), load_card("kaplan"))
    assert found["alpha_N"] == pytest.approx(KAPLAN["alpha_N"], rel=0.05)
    assert found["alpha_D"] == pytest.approx(KAPLAN["alpha_D"], rel=0.1)


def test_runs_with_more_data_than_they_can_use_pass() -> None:
    check = other_factors(read_runs(log_at([3e5, 1e6, 3e6])), LAWS["kaplan_params"])
    assert check is not None
    assert check.passed is True
    assert check.text.startswith("residuals correlate ")


def test_a_law_of_tokens_is_limited_by_params() -> None:
    frame = log_at([20, 80, 320, 1280])
    check = other_factors(read_runs(frame), LAWS["kaplan_tokens"])
    assert check is not None
    assert check.passed is False
    assert "runs are limited by params" in check.text
    found = re.search(r"the joint law kaplan gives alpha_D ([0-9.]+) \(least squares\)", check.text)
    assert found is not None
    assert float(found[1]) == pytest.approx(KAPLAN["alpha_D"], rel=0.1)


def test_a_law_of_compute_knows_no_split() -> None:
    """Large models on too little data, beside small ones at their best."""
    params = np.repeat(np.geomspace(1e8, 1e10, 5), 3)
    tokens = params * np.tile([0.3, 2.0, 20.0], 5)
    values = {"E": 1.8, "A": 482.0, "B": 2085.0, "alpha": 0.348, "beta": 0.366}
    loss = CHINCHILLA.loss(params, tokens, **values)
    runs = read_runs(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
    check = other_factors(runs, LAWS["henighan_compute"])
    assert check is not None
    assert check.passed is False
    by_hand = loss / CHINCHILLA.loss(
        *compute_optimal(CHINCHILLA, 6 * params * tokens, values), **values
    )
    n = int((by_hand > 1.02).sum())
    assert f"{n} of 15 runs lose more than 2% by their split of params and tokens" in check.text


def test_tokens_in_step_with_params_cannot_be_told_apart() -> None:
    check = other_factors(read_runs(log_at([20.0])), LAWS["kaplan_params"])
    assert check is not None
    assert check.severity is Severity.INFORMATION
    assert check.text == (
        "tokens go along with params (20 to 20 tokens per parameter), so whether they limit the "
        "loss cannot be told: the exponent is that of both growing together, not of params with "
        "unlimited tokens"
    )
    along = other_factors(read_runs(log_at([20.0])), LAWS["kaplan_compute"])
    assert along is not None
    assert along.passed is True


@pytest.mark.parametrize("law", ["kaplan", "chinchilla"])
def test_joint_laws_are_not_checked(law: str) -> None:
    assert other_factors(read_runs(log_at([20, 80])), LAWS[law]) is None


def test_a_log_without_the_other_scale_is_not_checked() -> None:
    frame = log_at([20, 80]).drop(columns="tokens")
    assert other_factors(read_runs(frame), LAWS["kaplan_params"]) is None


def test_a_fit_warns_by_residuals_under_its_posterior() -> None:
    """With the exact exponent, so that all that is left is what tokens limit."""
    card = load_card("kaplan_params")
    alone = {"N_c": KAPLAN["N_c"], "alpha_N": KAPLAN["alpha_N"]}
    fit = replace(
        point(card, alone, sigma=0.01, nu=5.0),
        card=card.without_drift(),
        runs=read_runs(log_at([20, 80, 320, 1280])),
    )
    check = other_factors_of(fit)
    assert check is not None
    residual = np.log(fit.runs["loss"]) - np.log((KAPLAN["N_c"] / fit.runs["params"]) ** 0.15)
    ratio = np.log(fit.runs["tokens"] / fit.runs["params"])
    r = np.corrcoef(residual, ratio)[0, 1]
    assert check.text.startswith(f"residuals correlate {r:.2f} with log tokens per parameter: ")
    assert [n.code for n in fit_notes(fit)].count(CODE) == 1


def test_the_command_that_keeps_the_others_can_be_followed(
    bayescale: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "runs.csv"
    log_at([20, 80, 320, 1280]).to_csv(log, index=False)
    first = bayescale("check", log, "--law", "kaplan_params", "--json").json
    (warned,) = [w["text"] for w in first["warnings"] if w["code"] == CODE]
    only = warned.split("--only ")[1].split(", or")[0]
    again = bayescale("check", log, "--law", "kaplan_params", "--only", only, "--json").json
    assert again["n_runs"] == only.count(",") + 1
    joint = bayescale("check", log, "--law", "kaplan", "--json").json
    assert CODE not in [w["code"] for w in joint["warnings"]]
