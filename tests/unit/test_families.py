"""Families: listed with their runs and own coefficients, and named where none is asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from support.published import BESIROGLU, CARD

from bayescale.forecasting import forecast
from bayescale.inference.model.data import family_names
from bayescale.laws import CHINCHILLA
from bayescale.posterior import Posterior, point, summarize
from bayescale.reporting.sections import report
from bayescale.runs import read_runs

N = 400


def log_of(families: list[str]) -> pd.DataFrame:
    params, ratio = (grid.ravel() for grid in np.meshgrid([1e8, 4e8, 1.6e9, 6.4e9], [5, 20, 80]))
    loss = CHINCHILLA.loss(params, params * ratio, **BESIROGLU)
    frame = pd.DataFrame({"params": params, "tokens": params * ratio, "loss": loss})
    return frame.assign(family=families)


@pytest.fixture(scope="module")
def fit() -> Posterior:
    """Two families of 8 and 4 runs, known within a thousandth, that differ by a tenth."""
    rng = np.random.default_rng(20_240_415)
    draws = {
        name: (("chain", "draw"), value * np.exp(0.001 * rng.standard_normal((1, N))))
        for name, value in BESIROGLU.items()
    }
    dataset = xr.Dataset(draws, coords={"chain": [0], "draw": np.arange(N)})
    dataset = dataset.assign(sigma=dataset["E"] * 0 + 0.004, nu=dataset["E"] * 0 + 6)
    factor = xr.DataArray([1.05, 0.95], dims="family", coords={"family": ["Pythia", "OPT"]})
    for name in CARD.family:
        dataset[f"{name}_by_family"] = dataset[name] * factor
        dataset[f"{name}_spread"] = dataset[name] * 0 + 0.1
    tree = xr.DataTree.from_dict({"posterior": dataset})
    runs = read_runs(log_of(["Pythia"] * 8 + ["OPT"] * 4))
    base = point(CARD, BESIROGLU, sigma=0.004, nu=6.0)
    return replace(base, tree=tree, card=CARD.without_drift(), runs=runs)


def test_a_summary_lists_families_with_their_runs_and_own_coefficients(fit: Posterior) -> None:
    answer = summarize(fit).to_json()["by_family"]
    assert {name: one["n_runs"] for name, one in answer.items()} == {"Pythia": 8, "OPT": 4}
    own = answer["Pythia"]["coefficients"]
    assert set(own) == set(CARD.family)
    assert own["E"]["median"] == pytest.approx(1.05 * BESIROGLU["E"], rel=1e-3)
    text = str(summarize(fit))
    assert "families, with coefficients of their own (90% intervals):" in text
    assert next(line for line in text.splitlines() if "Pythia" in line).split()[:2] == [
        "Pythia",
        "8",
    ]


def test_a_forecast_without_a_family_names_the_families_and_why_it_is_wide(fit: Posterior) -> None:
    place = {"params": 7e10, "tokens": 1.4e12}
    new, known = forecast(fit, **place), forecast(fit, **place, family="OPT")
    answer = new.to_json()
    assert answer["family"] == "a new family"
    assert answer["families"]["OPT"]["n_runs"] == 4
    width = known.points["half_width"].item()
    assert answer["families"]["OPT"]["half_width"] == pytest.approx(width)
    assert answer["verdict"] == "too_wide"
    assert answer["why"] == (
        "Too wide for a family that is not in the log: its mean loss is known within "
        f"{new.points['half_width'].item():.1%}, and 2.0% is asked for, because the families "
        f"differ. For those of the log it is known within 0.2% to 0.2% here: name one, such as "
        f"`family={_narrowest(answer)!r}`."
    )
    assert (
        "For a new family, drawn from the spread between those of the log: Pythia (8 runs), OPT (4 "
        "runs); for one of them, name it with `family=`."
    ) in str(new)
    assert "For OPT." in str(known)
    assert known.to_json()["verdict"] != "too_wide"


def _narrowest(answer: dict[str, Any]) -> str:
    return min(answer["families"], key=lambda name: answer["families"][name]["half_width"])


@pytest.mark.integration
def test_a_report_lists_families_with_their_coefficients(fit: Posterior) -> None:
    section = next(s for s in report(fit).sections if s.name == "coefficients")
    assert section.error is None
    assert "Families, with coefficients of their own (90% intervals)" in section.html
    assert "Pythia" in section.html


def test_families_of_one_run_each_are_told_and_not_modeled() -> None:
    runs = read_runs(log_of([f"model {i}" for i in range(12)]))
    (found,) = [note for note in runs.warnings if note.code == "families_of_one_run"]
    assert found.text == (
        "family has 12 values in as many runs: families of one run each cannot have coefficients "
        "of their own, so all runs are fitted as one family; leave the column unread with "
        "`ignore='family'` if it names runs"
    )
    assert family_names(runs, CARD) == ()
    some = read_runs(log_of(["a"] * 2 + [f"model {i}" for i in range(10)]))
    assert len(family_names(some, CARD)) == 11


def test_a_group_is_no_family_unless_one_says_so(
    bayescale: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "runs.csv"
    log_of(["a"] * 6 + ["b"] * 6).rename(columns={"family": "Group"}).to_csv(log, index=False)
    plain = bayescale("check", log, "--json").json
    assert plain["families"] == {}
    said = bayescale("check", log, "--column", "family=Group", "--json").json
    assert said["families"] == {"a": 6, "b": 6}
    assert "Runs by family: a 6, b 6" in bayescale("check", log, "--column", "family=Group").out


def test_the_hint_on_families_of_one_run_can_be_followed(
    bayescale: Callable[..., Any], tmp_path: Path
) -> None:
    log = tmp_path / "runs.csv"
    log_of([f"model {i}" for i in range(12)]).to_csv(log, index=False)
    first = bayescale("check", log, "--json").json
    assert "families_of_one_run" in [w["code"] for w in first["warnings"]]
    again = bayescale("check", log, "--ignore", "family", "--json").json
    assert "families_of_one_run" not in [w["code"] for w in again["warnings"]]
