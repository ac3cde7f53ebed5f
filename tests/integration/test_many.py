"""Fits of many logs, and repeated fits."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale import fit, fit_many, open_posterior, reproduce
from bayescale.errors import PosteriorError, RunLogError
from bayescale.laws import LAWS
from bayescale.posterior import save
from bayescale.runs import Runs, read_runs
from bayescale.simulation import simulate
from bayescale.tasks import Serial

LAW = "kaplan_compute"
TRUTH = {"C_c": 1e24, "alpha_C": 0.05}
QUICK = {"draws": 150, "tune": 150}


def log(seed: int, n: int = 6) -> pd.DataFrame:
    return simulate(LAWS[LAW], TRUTH, {"flops": np.geomspace(1e18, 1e21, n)}, seed=seed)


def logs(*seeds: int) -> dict[str, Runs]:
    return {f"log{seed}": read_runs(log(seed)) for seed in seeds}


def test_each_log_gets_the_fit_that_it_would_get_alone(tmp_path: Path) -> None:
    given = logs(1, 2)
    fitted = {one.name: one for one in fit_many(given, LAW, folder=tmp_path, workers=2, **QUICK)}
    assert set(fitted) == {"log1", "log2"}
    for name, runs in given.items():
        alone = fit(runs, LAW, **QUICK)
        assert fitted[name].path == tmp_path / f"{name}.nc"
        for draws in (fitted[name].fit, open_posterior(tmp_path / f"{name}.nc")):
            np.testing.assert_array_equal(draws.draws["alpha_C"], alone.draws["alpha_C"])


def test_without_a_folder_fits_come_back_themselves() -> None:
    (one,) = fit_many(logs(1), [LAW, "henighan_compute"], executor=Serial(), **QUICK)
    assert one.path is None
    assert [member.law.name for member in one.fit.members] == [LAW, "henighan_compute"]


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    given = logs(1, 2, 3)
    begun = fit_many(given, LAW, folder=tmp_path, executor=Serial(), **QUICK)
    first = next(begun)
    begun.close()  # interrupted
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.nc")}
    assert len(written) == 1
    again = list(fit_many(given, LAW, folder=tmp_path, executor=Serial(), **QUICK))
    assert [(one.name, one.resumed) for one in again] == [
        (first.name, True), ("log2", False), ("log3", False),
    ]  # fmt: skip
    assert all(path.stat().st_mtime_ns == at for path, at in written.items())


def test_one_failure_does_not_cost_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bayescale.inference import many

    def failing(runs: Runs, *arguments, **settings):
        if len(runs) == 7:
            raise FloatingPointError("the density is not finite\nanywhere")
        return fit(runs, *arguments, **settings)

    monkeypatch.setattr(many, "fit", failing)
    given = {"bad": read_runs(log(1, n=7)), "good": read_runs(log(1))}
    bad, good = fit_many(given, LAW, folder=tmp_path, executor=Serial(), **QUICK)
    assert (bad.error, good.error) == ("FloatingPointError: the density is not finite", "")
    assert good.fit.diagnostics["passed"] in (True, False)
    with pytest.raises(PosteriorError, match=r"^bad has no fit: FloatingPointError"):
        _ = bad.fit


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda given: {"log1": read_runs(log(9))}, "log1.nc is of other runs"),
        (lambda given: {**given, "seed": 5}, "log1.nc was made with seed 0, not 5"),
        (lambda given: {**given, "draws": 200}, "log1.nc was made with draws 150, not 200"),
        (lambda given: {**given, "law": "henighan_compute"},
         "log1.nc is of other cards: kaplan_compute"),
    ],
)  # fmt: skip
def test_another_fit_in_the_folder_is_neither_used_nor_overwritten(
    change: Callable, problem: str, tmp_path: Path
) -> None:
    list(fit_many(logs(1), LAW, folder=tmp_path, executor=Serial(), **QUICK))
    before = (tmp_path / "log1.nc").read_bytes()
    query = change(logs(1))
    law = query.pop("law", LAW)
    settings = QUICK | {name: query.pop(name) for name in ("seed", "draws") if name in query}
    with pytest.raises(PosteriorError) as error:
        fit_many(query, law, folder=tmp_path, executor=Serial(), **settings)
    assert str(error.value) == (
        f"{tmp_path} holds other fits; remove them, or name another folder:\n  - {problem}"
    )
    assert (tmp_path / "log1.nc").read_bytes() == before


def test_logs_may_be_frames_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "log2.csv"
    log(2).to_csv(path, index=False)
    given = {"frame": log(1), "path": path}
    assert isinstance(fit_many(given, LAW), Iterator)  # checked, and not yet fitted
    for name in given:
        with pytest.raises(RunLogError, match="params"):
            fit_many({name: given[name]}, "chinchilla")


def test_nothing_to_fit_is_an_error() -> None:
    with pytest.raises(PosteriorError, match=r"^no run log is given: name at least one, such as "):
        fit_many({})


def test_the_command_fits_resumes_and_reports(bayescale: Callable, tmp_path: Path) -> None:
    for seed in (1, 2):
        log(seed).to_csv(tmp_path / f"log{seed}.csv", index=False)
    out = tmp_path / "fits"
    out.mkdir()
    paths = [tmp_path / "log1.csv", tmp_path / "log2.csv"]
    quick = ("--law", LAW, "--draws", 400, "--tune", 300, "--workers", 1, "-o", out)
    first = bayescale("fit-many", *paths[:1], *quick)
    assert first.out == f"log1: fitted, {out / 'log1.nc'}\n"
    both = bayescale("fit-many", *paths, *quick, "--json").json["fits"]
    assert [(row["name"], row["resumed"], row["passed"]) for row in both] == [
        ("log1", True, True), ("log2", False, True),
    ]  # fmt: skip
    twice = bayescale("fit-many", paths[0], paths[0], *quick)
    assert twice.code == 2
    assert "several logs are named log1" in " ".join(twice.err.split())


def test_a_fit_is_reproduced_to_the_last_bit_in_another_process(tmp_path: Path) -> None:
    """Made in a process that compiled the model with other runs before."""
    given = {"other": read_runs(log(7, n=9)), **logs(1)}
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        made = {one.name: one for one in fit_many(given, LAW, executor=pool, **QUICK)}
    again = reproduce(made["log1"].fit)
    assert again.identical
    assert again.agrees
    assert not again.changed
    n = len(again.to_frame())
    assert str(again) == f"Reproduced: all draws of {n} variables are the same to the last bit."


def test_another_version_agrees_within_monte_carlo_error() -> None:
    made = fit(logs(1)["log1"], LAW, seed=3)
    provenance = made.record["provenance"] | {"seed": 4, "numpy": "1.0"}
    answer = reproduce(replace(made, record=made.record | {"provenance": provenance}))
    assert not answer.identical
    assert answer.agrees
    assert set(answer.changed) == {"numpy"}
    assert str(answer).startswith("Agrees, not draw by draw: of ")
    assert "Versions differ: numpy 1.0 -> " in str(answer)


def test_draws_of_other_runs_are_not_reproduced(bayescale: Callable, tmp_path: Path) -> None:
    one, two = (fit(runs, LAW) for runs in logs(1, 2).values())
    path = save(replace(one, tree=two.tree), tmp_path / "wrong.nc")
    ran = bayescale("reproduce", path, "--json")
    assert ran.code == 3
    assert not json.loads(ran.out)["agrees"]
    assert bayescale("reproduce", path).out.startswith("NOT REPRODUCED: of ")


def test_a_fit_that_does_not_say_how_it_was_made_is_refused() -> None:
    made = fit(logs(1)["log1"], LAW, **QUICK)
    with pytest.raises(PosteriorError, match="does not hold its runs and all settings"):
        reproduce(replace(made, record=made.record | {"provenance": {"seed": 0}}))
