"""Forecasts: worked out by hand on one draw, and honest about mean, new run and distance."""

import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.cards import ModelCard, load_card
from bayescale.errors import LawError, PosteriorError, UnconvergedError, UnitError
from bayescale.forecasting import forecast, forecast_table
from bayescale.laws import CHINCHILLA
from bayescale.posterior import ModelAverage, Posterior, open_posterior, point

module = import_module("bayescale.forecasting.answer")
blocks = import_module("bayescale.forecasting.table")
CARD = load_card("chinchilla")
BESIROGLU = point(CARD, CARD.published_values("besiroglu_2024"))


def test_published_fits_go_through_the_same_code() -> None:
    result = forecast(BESIROGLU, params=70e9, tokens=1.4e12)
    answer = result.to_json()
    assert round(answer["loss"]["median"], 4) == 1.9739
    assert answer["loss"]["lower"] == answer["loss"]["upper"]
    assert answer["loss_new"] is None
    assert answer["flops"] == 6 * 70e9 * 1.4e12
    assert answer["extrapolation_ratio"] is None


def test_a_budget_is_split_where_the_law_says() -> None:
    answer = forecast(BESIROGLU, flops=5.76e23).to_json()
    assert answer["tokens"] / answer["params"] == pytest.approx(18.39, abs=0.005)
    assert round(answer["loss"]["median"], 4) == 1.9744
    assert answer["flops"] == pytest.approx(6 * answer["params"] * answer["tokens"])


def two_draws() -> Posterior:
    """Two draws that differ in E alone, with normal residual noise of 1 %."""
    card = load_card("henighan_compute")
    values = {"E": [1.0, 2.0], "C_c": [1e21, 1e21], "alpha_C": [0.5, 0.5], "sigma": [0.01, 0.01]}
    draws = xr.Dataset({k: (("chain", "draw"), [v]) for k, v in values.items()})
    draws = draws.assign_coords(chain=[0], draw=[0, 1])
    base = point(card, {"E": 1.0, "C_c": 1e21, "alpha_C": 0.5})
    return replace(base, tree=xr.DataTree.from_dict({"posterior": draws}))


def test_a_target_below_the_irreducible_loss_is_said_to_be() -> None:
    """E is 1 in one draw and 2 in the other."""
    result = forecast(two_draws(), flops=4e21, target=0.5)
    said = (
        "The target 0.5 is below the irreducible loss E in 100% of draws: E is 1.5000 (90% "
        "interval 1.0500 to 1.9500) nats/token, which no scale of model or data gets below if "
        "the law holds. Ask for a higher target"
    )
    assert f"  {said}." in str(result).replace("\n    ", " ")
    assert result.to_json()["target_out_of_reach"] == said
    assert any(said in line for line in result.brief())
    within = forecast(two_draws(), flops=4e21, target=1.6)
    assert "irreducible" not in str(within)
    assert within.to_json()["target_out_of_reach"] is None
    assert "irreducible" not in str(forecast(two_draws(), flops=4e21))


def test_a_question_about_a_tiny_run_is_refused() -> None:
    with pytest.raises(UnitError) as caught:
        forecast(BESIROGLU, params=70, tokens=1.4e12)
    assert str(caught.value) == (
        "`params=` is 70, but a run has 10,000 parameters or more: write 70M or 70B if that is "
        "meant"
    )
    with pytest.raises(UnitError, match=r"`tokens=` is 1400, but a run has 100,000 tokens or more"):
        forecast_table(BESIROGLU, params=[7e9, 7e9], tokens=[1.4e12, 1400])


def test_intervals_come_from_draws_and_not_from_their_mean() -> None:
    """At 4e21 FLOP the reducible loss is (1/4)^0.5 = 0.5, so the draws say 1.5 and 2.5."""
    answer = forecast(two_draws(), flops=4e21, target=2.0).to_json()
    assert answer["loss"] == pytest.approx({"median": 2.0, "lower": 1.55, "upper": 2.45})
    assert answer["p_mean_below_target"] == 0.5
    assert answer["interval"] == 0.9


def test_one_new_run_scatters_about_the_mean_as_runs_do(cerebras_posterior: Posterior) -> None:
    result = forecast(cerebras_posterior, flops=[6.3e21])
    ratio = np.log(result.loss_new / result.loss).values.ravel()
    draws = cerebras_posterior.drifting.draws
    standard = ratio / np.broadcast_to(draws["sigma"].values, result.loss.shape[:2]).ravel()
    nu = draws["nu"].values.ravel()
    from scipy import stats

    uniform = stats.t.cdf(standard, nu)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    frame = result.to_frame()
    assert (frame["loss_new_upper"] - frame["loss_new_lower"]).item() > (
        frame["loss_upper"] - frame["loss_lower"]
    ).item()


def test_a_forecast_repeats_itself(cerebras_posterior: Posterior) -> None:
    first, again = (forecast(cerebras_posterior, flops=1e22).to_json() for _ in range(2))
    assert first == again


def test_distance_is_counted_from_the_largest_run(cerebras_posterior: Posterior) -> None:
    frame = forecast(cerebras_posterior, flops=[1e21, 1.1e22]).to_frame()
    np.testing.assert_allclose(frame["extrapolation_ratio"], [1e21 / 1.1e21, 10])
    assert list(frame["verdict"]) == ["inside", "too_wide"]


def test_intervals_widen_with_distance(chinchilla_posterior: Posterior) -> None:
    frame = forecast(chinchilla_posterior, flops=[1e21, 1e23, 1e25]).to_frame()
    width = np.log(frame["loss_upper"] / frame["loss_lower"])
    assert list(width) == sorted(width)


def test_chance_of_a_target_grows_with_the_target(cerebras_posterior: Posterior) -> None:
    chances = [
        forecast(cerebras_posterior, flops=6.3e21, target=t).to_json()["p_below_target"]
        for t in (1.5, 1.7, 2.0)
    ]
    assert chances == sorted(chances)
    assert chances[0] < 0.05
    assert chances[-1] > 0.95


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (
            {"params": 1e9},
            "law 'chinchilla' is a function of params and tokens, but params is given: give "
            "`params=` and `tokens=`, or `flops=` alone, for the compute-optimal split",
        ),
        (
            {},
            "law 'chinchilla' is a function of params and tokens, but no scale is given: give "
            "`params=` and `tokens=`, or `flops=` alone, for the compute-optimal split",
        ),
        (
            {"params": -1.0, "tokens": 1e9},
            "params is [-1.0], but must be finite and above zero",
        ),
        (
            {"params": [1e9, 2e9], "tokens": [1e9, 2e9, 3e9]},
            "the scales have different lengths: {'params': 2, 'tokens': 3}: give one value for all "
            "points, or one for each",
        ),
    ],
)
def test_scales_that_the_law_cannot_use(scales: dict, message: str) -> None:
    with pytest.raises(LawError) as caught:
        forecast(BESIROGLU, **scales)
    assert str(caught.value) == message


def test_a_loss_of_zero_is_no_target() -> None:
    with pytest.raises(PosteriorError) as caught:
        forecast(BESIROGLU, flops=1e22, target=0.0)
    assert str(caught.value) == "target is 0, but a loss must be greater than zero"


def test_draws_that_failed_the_gate_are_refused_unless_allowed() -> None:
    record = BESIROGLU.record | {
        "diagnostics": {"passed": False, "reasons": ["R-hat of E is 1.200, above 1.01"]}
    }
    failed = replace(BESIROGLU, record=record)
    with pytest.raises(UnconvergedError) as caught:
        forecast(failed, flops=1e22)
    assert str(caught.value) == (
        "this posterior failed its convergence checks, so nothing is computed from it: R-hat of E "
        "is 1.200, above 1.01. Fit again with more draws (`draws=`), or use it anyway with "
        "`allow_unconverged=True`"
    )
    assert forecast(failed, flops=1e22, allow_unconverged=True).to_json()["loss"]["median"] > 0


def test_a_law_without_closed_form_is_split_numerically() -> None:
    plain = replace(
        BESIROGLU, card=CARD.model_copy(update={"law": replace(CHINCHILLA, optimum=None)})
    )
    closed, searched = (forecast(p, flops=1e23).to_json()["params"] for p in (BESIROGLU, plain))
    assert searched == pytest.approx(closed, rel=1e-6)


@pytest.mark.integration
def test_a_saved_fit_forecasts_without_the_sampler(fit_file: Path) -> None:
    code = (
        "import sys; from bayescale import open_posterior, forecast; "
        f"print(forecast(open_posterior({str(fit_file)!r}), flops=1e22).to_json()['loss']); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'pymc', 'nutpie', 'pytensor', 'numba', 'arviz', 'matplotlib'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loss, loaded = ran.stdout.splitlines()
    assert loaded == "[]"
    assert str(forecast(open_posterior(fit_file), flops=1e22).to_json()["loss"]) == loss


# very many points


def far_and_wide(n: int) -> dict[str, np.ndarray]:
    return {"params": np.geomspace(1e7, 1e12, n), "tokens": np.geomspace(3e13, 1e9, n)}


@pytest.mark.parametrize("more", [{}, {"excess": 0.02}, {"shrink": 0.1, "excess": 0.02}])
def test_a_row_of_a_table_is_the_forecast_of_its_point(
    more: dict[str, float], chinchilla_posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With drift and fresh steps beyond the runs, of two laws, in blocks of three points."""
    tree = chinchilla_posterior.tree.copy()
    for group in ("posterior", "posterior_drifting"):
        draws = tree[group].to_dataset()
        draws = draws.assign({name: 0 * draws["E"] + value for name, value in more.items()})
        tree[group] = xr.DataTree(draws)
    one = replace(chinchilla_posterior, tree=tree)
    fit = ModelAverage((one, replace(one, card=renamed(one.card, "other"))), (0.7, 0.3))
    monkeypatch.setattr(blocks, "MOST_VALUES", 3 * 8000)
    places = far_and_wide(7)
    table = forecast_table(fit, **places, target=2.2)
    alone = [
        forecast(fit, **{name: x[i] for name, x in places.items()}, target=2.2).to_frame()
        for i in range(7)
    ]
    expected = pd.concat(alone, ignore_index=True).drop(columns="why")
    pd.testing.assert_frame_equal(table, expected, rtol=1e-12)


def renamed(card: ModelCard, name: str) -> ModelCard:
    return card.model_copy(update={"law": replace(card.law, name=name)})


def test_a_budget_is_split_alike_in_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = np.geomspace(1e18, 1e25, 7)
    whole = forecast(BESIROGLU, flops=budgets).to_frame()
    monkeypatch.setattr(blocks, "MOST_VALUES", 2)
    pd.testing.assert_frame_equal(
        forecast_table(BESIROGLU, flops=budgets), whole.drop(columns="why"), rtol=1e-12
    )


@pytest.mark.parametrize("kind", ["normal", "nu", "excess"])
def test_the_scatter_of_a_point_does_not_hang_on_other_points(kind: str) -> None:
    draws = {"sigma": 0.01} | ({} if kind == "normal" else {"nu": 5.0})
    draws |= {"excess": 0.02} if kind == "excess" else {}
    one = two_draws()
    values = {name: (("chain", "draw"), [[x, x]]) for name, x in draws.items()}
    dataset = one.draws.assign(values)
    one = replace(one, tree=xr.DataTree.from_dict({"posterior": dataset}))
    loss = xr.DataArray(np.ones((1, 2, 5)), dims=("chain", "draw", "point"))
    whole = one.exact.new_run(loss)
    assert len(np.unique(whole)) == 10
    part = one.exact.new_run(loss.isel(point=slice(2)))
    np.testing.assert_array_equal(part, whole.isel(point=slice(2)))


def test_a_table_refuses_before_it_begins() -> None:
    sizes = np.full(1000, 1e9)
    sizes[990:] = -1.0
    with pytest.raises(LawError) as caught:
        forecast_table(BESIROGLU, params=sizes, tokens=1e10)
    assert str(caught.value) == (
        "params is [-1.0, -1.0, -1.0, -1.0, -1.0] and 5 more, but must be finite and above zero"
    )
    with pytest.raises(LawError, match=r"^law 'chinchilla' is a function of params and tokens"):
        forecast_table(BESIROGLU)
    with pytest.raises(LawError, match=r"^the scales have different lengths: {'params': 1000"):
        forecast_table(BESIROGLU, params=np.full(1000, 1e9), tokens=np.full(999, 1e9))


def test_a_forecast_of_no_points_is_refused() -> None:
    with pytest.raises(LawError, match=r"^`params=` is empty: give one value or more$"):
        forecast_table(BESIROGLU, params=[], tokens=[])


def test_more_draws_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 9)
    assert len(forecast(two_draws(), flops=np.full(4, 1e22)).points) == 4
    with pytest.raises(PosteriorError) as caught:
        forecast(two_draws(), flops=np.full(5, 1e22))
    assert str(caught.value) == (
        "a forecast of 5 points would hold 10 draws of the loss, but 9 are the most: use "
        "bayescale.forecast_table, which computes their table in blocks"
    )


def test_a_brief_answer_has_the_chance_that_was_asked_for(cerebras_posterior: Posterior) -> None:
    lines = forecast(cerebras_posterior, flops=1e23, target=1.9).brief()
    (chance,) = (line for line in lines if "below 1.9: " in line)
    assert chance in str(forecast(cerebras_posterior, flops=1e23, target=1.9))
    assert not any("below" in line for line in forecast(cerebras_posterior, flops=1e23).brief())


def test_a_target_in_quotes_is_refused(cerebras_posterior: Posterior) -> None:
    with pytest.raises(PosteriorError, match=r"target is '1\.95', but must be a number"):
        forecast(cerebras_posterior, flops=1e23, target="1.95")  # type: ignore[arg-type]
