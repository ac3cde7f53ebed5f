"""Options that would change nothing are refused, with what to do, before any work."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.explored import precise
from support.refits import SIGMA, TRUTH, built, power_law_log
from test_tuning import made as sweep
from test_tuning import posterior as tuned
from test_versus import recipes

from bayescale.cards import load_card
from bayescale.posterior import save
from bayescale.posterior.recipe_files import save_recipes
from bayescale.tuning import save_tuning

KEPT = "recipes.nc holds recipes that were read and sampled before: leave it out, or name the log"
SWEPT = "tuned.nc holds a sweep that was read and sampled before: leave it out, or name the log"
TESTED = "tested.nc holds a backtest of another seed: leave it out, or add --again"
REFITTED = "tested.nc holds a backtest, so nothing is refitted: leave it out, or add --again"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that the questions name, in the folder where they are asked."""
    fit = precise()
    assert fit.runs is not None
    fit.runs.to_frame().to_csv(tmp_path / "runs.csv", index=False)
    save(fit, tmp_path / "fit.nc")
    save_tuning(tuned(sweep()), tmp_path / "tuned.nc")
    save_recipes(recipes({"a": 0.0, "b": 0.01}), tmp_path / "recipes.nc")
    runs = power_law_log([0.0] * 8)
    test = {"bins": [], "laws": ["kaplan_compute"], "cutoffs": [], "n": 0, "refits": 1, "seed": 3}
    test |= {"unconverged": 0, "missing": [], "runs_sha256": runs.digest}
    powers = built(load_card("kaplan_compute"), runs, TRUTH | {"sigma": SIGMA})
    save(replace(powers, record={**powers.record, "backtest": test}), tmp_path / "tested.nc")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "option", "said"),
    [
        ("versus recipes.nc --flops 1e20 --seed 0", "--seed", KEPT),
        ("versus recipes.nc --flops 1e20 --draws 200", "--draws", KEPT),
        ("versus recipes.nc --flops 1e20 --family recipe", "--family", KEPT),
        ("versus recipes.nc --flops 1e20 --recipe a", "--recipe", KEPT),
        ("versus recipes.nc --flops 1e20 --exclude seed=1", "--exclude", KEPT),
        (
            "versus recipes.nc --flops 1e20 --seed 1 --unit tokens=1e9",
            "--unit, --seed",
            KEPT.replace("it out", "them out"),
        ),
        (
            "versus fit.nc tested.nc --flops 1e20 --missing drop",
            "--missing",
            "fits hold their runs, and name their recipes: leave it out",
        ),
        ("tune tuned.nc --seed 0", "--seed", SWEPT),
        ("tune tuned.nc --draws 800", "--draws", SWEPT),
        ("tune tuned.nc --only seed=1", "--only", SWEPT),
        (
            "backtest fit.nc --ignore seed",
            "--ignore",
            "fit.nc is a fit, which holds its runs: leave it out, or name the log",
        ),
        ("trust tested.nc --seed 0", "--seed", TESTED),
        ("trust tested.nc --workers 1", "--workers", REFITTED),
        ("trust tested.nc --executor dask://host:8786", "--executor", REFITTED),
        (
            "trust tested.nc --workers 2 --executor dask://host:8786",
            "--workers, --executor",
            REFITTED.replace("it out", "them out"),
        ),
        (
            "check runs.csv --seed 1",
            "--seed",
            "only --sensitivity samples: leave it out, or add --sensitivity",
        ),
        (
            "models check chinchilla --unit tokens=1e9",
            "--unit",
            "no log is read: leave it out, or name one: --runs RUNS",
        ),
        (
            "models published --allow-unconverged",
            "--allow-unconverged",
            "it is about a fit, and none is named: leave it out, or name one: --fit FIT.nc",
        ),
        (
            "emerge fit.nc --flops 1e19,1e25 --column score=accuracy",
            "--column",
            "it is about models' scores, and none are named: leave it out, or name them: "
            "--calibrate CSV",
        ),
        (
            "emerge fit.nc --flops 1e19,1e25 --downstream-family a",
            "--downstream-family",
            "it is about a fit of the law downstream, and none is named: leave it out, or name "
            "one: --downstream FIT.nc",
        ),
        ("allocate fit.nc --flops 1e22 --utilization 0.3", "--gpus", "say how many GPUs there are"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    bayescale, folder: Path, typed: str, option: str, said: str
) -> None:
    ran = bayescale(*typed.split())
    assert ran.code == 2, ran.out
    assert ran.out == ""
    assert f"Invalid value for {option}: {said}" in ran.err


@pytest.mark.parametrize(
    "typed",
    [
        "versus recipes.nc --flops 1e20",
        "tune tuned.nc --params 1B --tokens 20B",
        "trust tested.nc --seed 3",
        "trust tested.nc",
        "allocate fit.nc --flops 1e22 --gpus 8 --gpu h100 --utilization 0.3",
    ],
)
def test_without_it_the_same_question_is_answered(bayescale, folder: Path, typed: str) -> None:
    ran = bayescale(*typed.split())
    assert ran.code in (0, 3), ran.err
    assert ran.out


def test_the_theory_of_pruning_takes_no_options_of_a_fit(bayescale) -> None:
    ran = bayescale(
        "prune", "--theory", "--examples-per-param", "3", "--keep", "0.5",
        "--allow-unconverged", "--at", "lr=1",
    )  # fmt: skip
    assert ran.code == 2
    assert "it does not take --at, --allow-unconverged" in ran.err


@pytest.mark.parametrize("mass", ["0.9", "0.5"])
def test_the_theory_of_pruning_takes_no_mass_of_intervals_the_default_included(
    bayescale, mass: str
) -> None:
    theory = ("prune", "--theory", "--examples-per-param", "3", "--keep", "0.5")
    assert bayescale(*theory).code == 0
    ran = bayescale(*theory, "--ci-prob", mass)
    assert (ran.code, ran.out) == (2, "")
    assert "bayescale prune --theory cannot run:" in ran.err
    assert "it does not take --ci-prob" in ran.err


def test_an_angle_of_zero_belongs_to_the_theory_of_pruning_as_any_other(bayescale, folder) -> None:
    sizes = ("prune", "fit.nc", "--params", "7B", "--tokens", "140B", "--keep", "0.5")
    assert bayescale(*sizes).code == 0
    for angle in ("0", "5"):
        ran = bayescale(*sizes, "--probe-angle", angle)
        assert (ran.code, ran.out) == (2, "")
        assert "it does not take --probe-angle" in ran.err
