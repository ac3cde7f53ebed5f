"""The report's sections of other results: recipes that are compared, and a run in progress."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.explored import precise as chinchilla

from bayescale.conventions.loss_unit import NATS
from bayescale.curves.history import read_history
from bayescale.curves.named import named_schedule
from bayescale.decisions.versus_answer import Versus
from bayescale.decisions.watch import watch
from bayescale.decisions.watch_answer import Watch
from bayescale.posterior import save
from bayescale.reporting.extras import Extra
from bayescale.reporting.sections import report

LAST = 50_000
COSINE = named_schedule("cosine", LAST, peak=3e-4, warm_up=1000)


def compared(better: str = "<b>filtered</b>") -> Versus:
    """Two recipes, of which the second is 1 % better in every draw."""
    log_loss = np.array([np.full(100, np.log(2.5)), np.full(100, np.log(2.475))])
    scales = np.geomspace(1e18, 1e21, 5)
    return Versus(
        recipes=("base", better),
        params=1e9,
        tokens=2e10,
        log_loss=log_loss,
        log_loss_new=log_loss,
        log_loss_own_split=None,
        multiplier=np.ones((2, 2, 100)),
        scales=scales,
        order=np.repeat(log_loss[:, :, None], len(scales), axis=2),
        largest_run=1e20,
        ratios=(10.0, 40.0),
        decide=pd.DataFrame({"flops": [1e19], "pairs": [1], "p_expected": [1.0]}),
        unit=NATS,
        ci_prob=0.9,
        passed=True,
    )


def history(path: Path, jump: float = 0.0) -> Path:
    """Write the first 20,000 steps; the loss jumps at step 15,000."""
    steps = np.arange(100, 20_001, 100, dtype=float)
    progress = COSINE.progress(steps, np.array([0.5]))[0]
    whole = COSINE.progress(np.array([float(LAST)]), np.array([0.5]))[0, 0]
    fallen = COSINE.annealed(steps, np.array([250.0]))[0]
    losses = 2.7 + 0.2 * (progress / whole) ** -0.5 - 0.1 * fallen + jump * (steps > 15_000)
    losses += 0.001 * np.random.default_rng(0).standard_normal(len(steps))
    table = pd.DataFrame({"step": steps, "lr": COSINE.rate(steps), "loss": losses})
    table.to_csv(path, index=False)
    return path


def watched(path: Path) -> Watch:
    return watch(read_history(history(path)), COSINE, target=2.8)


def test_other_results_are_unfolded_sections_before_the_limits(tmp_path: Path) -> None:
    made = report(chinchilla(), also=[compared(), watched(tmp_path / "history.csv")])
    names = [section.name for section in made.sections]
    at = names.index("limits")
    extras = made.sections[at - 2 : at]
    assert [section.title for section in extras] == [
        "Which recipe is better",
        "The run in progress",
    ]
    assert [section.error for section in extras] == [None, None]
    assert [section.unfolded for section in made.sections if section.unfolded] == [True, True]
    assert made.to_html().count("<details open>") == 2
    assert [one["verdict"] for one in made.to_json()["also"][:1]] == ["untested"]


@pytest.mark.integration
def test_a_section_shows_what_the_command_prints_and_its_figure(tmp_path: Path) -> None:
    result = watched(tmp_path / "history.csv")
    made = report(chinchilla(), also=[Extra(result, "bayescale watch history.csv")])
    (section,) = [one for one in made.sections if one.unfolded]
    headline = next(iter(result.content()))
    assert f'<p class="lead">{headline}</p>' in section.html
    assert "bayescale watch history.csv" in section.html
    assert section.html.count("<svg") == 2  # for wide pages, and for phones
    assert "final loss" in section.html
    for done in ("10%", "20%", "30%", "40%"):
        assert f"{done}</th>" in section.html


@pytest.mark.integration
def test_lines_of_a_list_are_indented(tmp_path: Path) -> None:
    made = report(chinchilla(), also=[compared()])
    (section,) = [one for one in made.sections if one.unfolded]
    lines = [line for line in compared().content() if isinstance(line, str)]  # and no tables
    items = [line for line in lines if line.startswith("  ")]
    assert items
    assert section.html.count('<p class="item">') == len(items)


@pytest.mark.integration
def test_names_of_recipes_are_escaped() -> None:
    made = report(chinchilla(), also=[compared("<b>filtered</b>")])
    (section,) = [one for one in made.sections if one.unfolded]
    assert "&lt;b&gt;filtered&lt;/b&gt;" in section.html
    assert "<b>filtered" not in section.html


@pytest.mark.integration
def test_the_command_shows_a_run_and_exits_with_3_when_it_is_off_its_course(
    tmp_path: Path, bayescale
) -> None:
    fit, page = save(chinchilla(), tmp_path / "fit.nc"), tmp_path / "page.html"
    options = ("--schedule", "cosine", "--final-step", LAST)
    for jump, code in ((0.0, 0), (0.2, 3)):
        path = history(tmp_path / f"history{jump}.csv", jump)
        ran = bayescale("report", fit, "-o", page, "--history", path, *options, "--json")
        assert ran.code == code, ran.err
        assert json.loads(ran.out)["also"][0]["on_course"] is (jump == 0)
        typed = f"bayescale watch {path} --schedule cosine --final-step {LAST}"
        assert typed in page.read_text()


def test_recipes_are_compared_at_the_compute_of_the_days(
    tmp_path: Path, bayescale, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def versus(recipes: str, *, flops: float) -> Versus:
        asked.append((recipes, flops))
        return compared("filtered")

    monkeypatch.setattr("bayescale.decisions.versus.versus", versus)
    monkeypatch.setattr("bayescale.posterior.recipe_files.open_recipes", str)
    fit = save(chinchilla(), tmp_path / "fit.nc")
    gpus = ("--gpus", "8", "--gpu", "h100", "--days", "30")
    page = tmp_path / "page.html"
    ran = bayescale("report", fit, "-o", page, *gpus, "--recipes", "recipes.nc", "--json")
    assert ran.code == 0, ran.err
    budget = bayescale("allocate", fit, *gpus, "--json").json["flops"]
    assert asked == [("recipes.nc", pytest.approx(budget))]
    assert f"bayescale versus recipes.nc --flops {budget:.3g}"[:-4] in page.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--plan", "plan.csv"), "name the history of the run"),
        (("--params", "7B"), "name the history of the run to which --params belongs"),
        (("--final-share", "0.2"), "name the history of the run to which --final-share belongs"),
        (("--metric", "loss"), "name the history of the run to which --metric belongs"),
        (("--recipes", "absent.nc"), "absent.nc"),
        (("--days", "30"), "say how many GPUs there are"),
    ],
)
def test_what_is_missing_is_asked_for(
    options: tuple[str, ...], said: str, tmp_path: Path, bayescale
) -> None:
    fit, page = save(chinchilla(), tmp_path / "fit.nc"), tmp_path / "page.html"
    ran = bayescale("report", fit, "-o", page, *options)
    assert ran.code == 2
    assert said in ran.err
    assert not page.exists()
