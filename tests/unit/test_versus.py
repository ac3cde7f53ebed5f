"""Recipes compared: probabilities, multipliers and crossings by hand, from draws that are known."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.cards import load_card, recipe_columns, with_recipes
from bayescale.conventions import Conventions
from bayescale.decisions.versus import versus
from bayescale.errors import DecisionError, PosteriorError, RunLogError, UnconvergedError
from bayescale.inference.compile import parts_of
from bayescale.inference.recipes import fit_recipes
from bayescale.posterior import open_posterior, point
from bayescale.posterior.recipe_files import open_recipes, save_recipes
from bayescale.posterior.recipes import Recipes, runs_of_fits
from bayescale.runs import Runs, read_runs

TRUTH = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28, "kappa": 1.0}
CARD = with_recipes(load_card("unified"))


def log(names: tuple[str, ...] = ("a", "b")) -> Runs:
    sizes = [(n, n * r) for n in (1e7, 3e7, 1e8) for r in (10, 20, 40)]
    rows = [
        {"run_id": f"{name}{i}", "family": name, "params": n, "tokens": d, "loss": loss}
        for loss, name in zip(np.arange(3.0, 4.0, 0.01), names, strict=False)
        for i, (n, d) in enumerate(sizes)
    ]
    return read_runs(pd.DataFrame(rows))


def recipes(
    levels: dict[str, float],
    slopes: dict[str, float] | None = None,
    spread: float = 0.0,
    draws: int = 400,
) -> Recipes:
    """Recipes whose differences are these, with drift that is negligible."""
    names, rng = tuple(levels), np.random.default_rng(0)
    runs, shape = log(names), (1, draws)
    columns = recipe_columns(CARD, runs)
    of_chain = ("chain", "draw")
    values: dict[str, Any] = {name: (of_chain, np.full(shape, x)) for name, x in TRUTH.items()}
    tiny = {"drift_flops": 1e-9, "drift_tokens_per_param": 1e-9, "drift_own": 1.0, "sigma": 0.003}
    values |= {name: (of_chain, np.full(shape, x)) for name, x in (tiny | {"nu": 20.0}).items()}
    for walk, basis in columns.shared.items():
        steps = np.zeros((*shape, basis.shape[1]))
        values[f"drift_walk_{walk}"] = ((*of_chain, "step"), steps)
    for walk, basis in columns.own.items():
        steps = np.zeros((*shape, len(names), basis.shape[1]))
        values[f"own_walk_{walk}"] = ((*of_chain, "recipe", "own_step"), steps)
    trend = np.zeros((*shape, len(names), 3))
    for i, name in enumerate(names):
        trend[..., i, 0] = levels[name] + spread * rng.standard_normal(shape)
        trend[..., i, 1] = (slopes or {}).get(name, 0.0)
    values["trend"] = ((*of_chain, "recipe", "trend_part"), trend)
    coords = {"chain": [0], "draw": np.arange(draws), "recipe": list(names)}
    return Recipes(xr.Dataset(values, coords), CARD, runs, 0, {"passed": True})


def test_a_difference_of_one_per_cent_is_one_per_cent_of_the_loss_everywhere() -> None:
    result = versus(recipes({"a": 0.0, "b": 0.01}), params=1e9, tokens=2e10)
    loss = np.exp(result.log_loss[0, 0])
    law = 1.7 + 400 / 1e9**0.34 + 410 / 2e10**0.28
    assert loss == pytest.approx(law, rel=1e-5)
    assert result.difference(1, 0) == pytest.approx(law * np.expm1(0.01), rel=1e-4)
    assert result.p_better(0, 1) == 1
    assert result.p_better(1, 0) == 0


def test_the_multiplier_is_the_compute_at_which_the_law_reaches_the_loss() -> None:
    result = versus(recipes({"a": 0.0, "b": 0.01}), params=1e9, tokens=2e10)
    m = float(np.median(result.multiplier[0, 1]))  # what b needs to reach a
    n = 1e9 * m**0.5
    reached = (1.7 + 400 / n**0.34 + 410 / (20 * n) ** 0.28) * np.exp(0.01)
    assert reached == pytest.approx(1.7 + 400 / 1e9**0.34 + 410 / 2e10**0.28, rel=1e-4)
    assert np.median(result.multiplier[1, 0]) < 1 < m


def test_what_no_compute_reaches_is_said_as_a_bound() -> None:
    result = versus(recipes({"a": 0.0, "b": 0.9}), params=1e9, tokens=2e10)
    assert np.isinf(result.multiplier[0, 1]).all()
    assert (result.multiplier[1, 0] == 0).all()
    assert "needs more than 30 times the compute" in str(result)
    assert result.to_json()["compute_multiplier"]["a"]["b"]["median"] is None


def test_probabilities_follow_the_spread_of_the_difference() -> None:
    """A difference of one standard deviation is positive with 84 %."""
    spread = 0.01 / np.sqrt(2)
    result = versus(recipes({"a": 0.0, "b": 0.01}, spread=spread, draws=2000), flops="1e20")
    assert result.p_better(0, 1) == pytest.approx(0.841, abs=0.03)
    assert result.p_best().sum() == pytest.approx(1)


def test_recipes_that_cross_cross_where_their_lines_do() -> None:
    """Equal at the runs' center, and one falls faster with compute."""
    made = recipes({"a": 0.0, "b": 0.0}, slopes={"b": -0.01})
    center = float(np.exp(np.log(6 * made.runs["params"] * made.runs["tokens"]).mean()))
    result = versus(made, params=1e9, tokens=2e10)
    at, p_none = result.crossing(0, 1)
    assert at is not None
    assert p_none == 0
    step = result.scales[1] / result.scales[0]
    assert np.median(at) == pytest.approx(center, rel=step - 1)
    assert result.p_better(1, 0) == 1


def test_recipes_that_do_not_cross_have_no_scale_of_crossing() -> None:
    answer = versus(recipes({"a": 0.0, "b": 0.05}), flops="1e20").to_json()
    assert answer["crossing_flops"]["a"]["b"] is None
    assert answer["p_no_crossing"]["a"]["b"] == 1


def test_equal_recipes_are_not_told_apart_and_more_pairs_would() -> None:
    result = versus(recipes({"a": 0.0, "b": 0.001}, spread=0.01), flops="1e20")
    assert str(result).startswith("No preference between")
    assert "better by less than" in str(result)
    assert result.decide["pairs"].notna().any() or (result.decide["p_expected"] < 0.95).all()


def test_the_order_of_names_does_not_matter() -> None:
    one = versus(recipes({"a": 0.0, "b": 0.02}), flops="1e20").to_json()
    other = versus(recipes({"a": 0.02, "b": 0.0}), flops="1e20").to_json()
    assert one["p_better"]["a"]["b"] == other["p_better"]["b"]["a"]
    there, here = (x["difference"] for x in (one, other))
    assert there["a"]["b"]["median"] == pytest.approx(here["b"]["a"]["median"], rel=1e-6)


def test_three_recipes_are_ranked() -> None:
    result = versus(recipes({"a": 0.02, "b": 0.0, "c": 0.01}), flops="1e20")
    assert result.p_best().tolist() == [0, 1, 0]
    assert list(result.to_frame()["recipe"]) == ["a", "b", "c"]
    assert result.plot().get_ylabel() == "loss relative to b (%)"


def test_a_target_beyond_the_runs_is_untested_and_says_so() -> None:
    made = recipes({"a": 0.0, "b": 0.02})
    assert versus(made, params=3e7, tokens=6e8).verdict == "inside"
    far = versus(made, flops="1e22")
    assert far.verdict == "untested"
    assert "times the compute of the largest run" in far.why


@pytest.mark.parametrize("given", [{}, {"params": 1e9}, {"flops": 1e20, "params": 1e9}])
def test_a_target_is_a_budget_or_a_size(given: dict[str, float]) -> None:
    with pytest.raises(DecisionError, match="give the scale at which recipes are compared"):
        versus(recipes({"a": 0.0, "b": 0.02}), **given)


def test_draws_that_did_not_converge_are_refused() -> None:
    made = recipes({"a": 0.0, "b": 0.02})
    failed = Recipes(made.draws, made.card, made.runs, 0, {"passed": False, "reasons": ["R-hat"]})
    with pytest.raises(UnconvergedError, match="allow_unconverged"):
        versus(failed, flops="1e20")
    assert not versus(failed, flops="1e20", allow_unconverged=True).passed


def test_logs_that_cannot_be_compared_say_why() -> None:
    frame = log().to_frame()
    with pytest.raises(RunLogError, match="does not say which recipe a run belongs to"):
        fit_recipes(read_runs(frame.drop(columns="family")))
    with pytest.raises(RunLogError, match="there is one recipe, a"):
        fit_recipes(read_runs(frame), only=["a"])
    with pytest.raises(RunLogError, match="recipe z is not among a, b"):
        fit_recipes(read_runs(frame), only=["a", "z"])
    few = frame[(frame["family"] == "a") | (frame["run_id"] == "b0")]
    copies = [frame[frame["family"] == "a"].assign(family=name) for name in ("a", "b")]
    same = pd.concat(copies).assign(run_id=range(2 * len(copies[0])))
    with pytest.raises(RunLogError, match="a, b hold the same runs, so neither can be better"):
        fit_recipes(read_runs(same))
    with pytest.raises(RunLogError, match="b has fewer than 3 runs"):
        fit_recipes(read_runs(few))


def test_a_model_compiled_for_other_recipes_does_not_bring_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Kept:
        def until_converged(self) -> Any:
            draws = recipes({"old": 0.0, "older": 0.01}).draws
            return xr.DataTree.from_dict({"posterior": draws}), {"passed": True}

    made = SimpleNamespace(make=lambda *_, **__: (Kept(), None))
    monkeypatch.setattr("bayescale.inference.recipes.Sampler", made)
    assert fit_recipes(log(("p", "q")), show_progress=False).names == ("p", "q")


def test_models_are_compiled_for_a_number_of_recipes() -> None:
    two, others, three = (parts_of(log(n), CARD) for n in (("a", "b"), ("p", "q"), ("a", "b", "c")))
    assert two == others
    assert two != three


def test_runs_of_one_size_share_noise_across_recipes_and_seeds_do_not() -> None:
    frame = log().to_frame()
    again = frame[frame["run_id"] == "a0"].assign(run_id="seed")
    runs = read_runs(pd.concat([frame, again], ignore_index=True))
    size = recipe_columns(CARD, runs).size
    by_id = dict(zip(runs["run_id"], size, strict=True))
    assert by_id["a0"] == by_id["b0"]
    assert by_id["seed"] not in (by_id["a0"], by_id["b1"])
    assert len(set(size)) == 10


def test_runs_of_two_fits_are_joined_by_their_names() -> None:
    frame = log().to_frame().drop(columns="family")
    a, b = (point(CARD, TRUTH) for _ in range(2))
    fits = {
        name: replace(fit, runs=read_runs(frame[frame["run_id"].str.startswith(name)]))
        for name, fit in (("a", a), ("b", b))
    }
    runs = runs_of_fits(fits)
    assert len(runs) == 18
    assert set(runs["family"]) == {"a", "b"}
    with pytest.raises(PosteriorError, match="needs two fits or more"):
        runs_of_fits({"a": fits["a"]})
    with pytest.raises(PosteriorError, match="a holds no runs of params and tokens"):
        runs_of_fits({"a": a, "b": fits["b"]})
    unlike = replace(
        fits["b"], runs=replace(fits["b"].runs, conventions=Conventions(tokenizer="gpt2"))
    )
    with pytest.raises(PosteriorError, match="b has other conventions than the first fit"):
        runs_of_fits({"a": fits["a"], "b": unlike})


def test_a_target_that_is_missing_is_asked_for_before_the_log_is_read(bayescale) -> None:
    ran = bayescale("versus", "absent.csv", "--params", "7B")
    assert ran.code == 2
    assert "--params and --tokens" in ran.err
    ran = bayescale("versus", "a/fit.nc", "b/fit.nc", "--flops", "1e22")
    assert ran.code == 2
    assert "two fits have one name" in ran.err


# files


def test_kept_recipes_answer_as_they_did(tmp_path: Path, bayescale) -> None:
    made = recipes({"a": 0.0, "b": 0.01}, spread=0.004)
    path = save_recipes(made, tmp_path / "recipes.nc")
    expected = versus(made, flops="1e20").to_json()
    assert versus(open_recipes(path), flops="1e20").to_json() == expected
    ran = bayescale("versus", path, "--flops", "1e20", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["difference"] == expected["difference"]
    half = bayescale("versus", path, "--flops", "1e20", "--ci-prob", 0.5, "--json").json
    assert half["interval"] == 0.5
    assert half["difference"]["a"]["b"]["lower"] > expected["difference"]["a"]["b"]["lower"]


def test_a_file_of_recipes_is_no_fit_and_a_fit_holds_no_recipes(tmp_path: Path) -> None:
    path = save_recipes(recipes({"a": 0.0, "b": 0.01}), tmp_path / "recipes.nc")
    with pytest.raises(PosteriorError, match="recipes, not a fit: give it to bayescale versus"):
        open_posterior(path)
    fit = point(load_card("unified"), TRUTH).save(tmp_path / "fit.nc")
    with pytest.raises(PosteriorError, match=r"fit\.nc holds no posterior of recipes"):
        open_recipes(fit)


def test_damaged_draws_of_recipes_are_refused(tmp_path: Path) -> None:
    made = recipes({"a": 0.0, "b": 0.01})
    broken = replace(made, draws=made.draws.assign(E=made.draws["E"] * np.nan))
    path = save_recipes(broken, tmp_path / "recipes.nc")
    with pytest.raises(PosteriorError, match="E has draws that are not finite"):
        open_recipes(path)
