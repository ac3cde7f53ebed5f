"""Pools: several laws of the same runs that answer as one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from support.refits import N_DRAWS, SIGMA, TRUTH, built, power_law_log

from bayescale.cards import cards_for_laws, load_card
from bayescale.errors import CardError, LawError, PosteriorError, UnconvergedError
from bayescale.forecasting import forecast
from bayescale.posterior import (
    ModelAverage,
    Posterior,
    model_weights,
    open_posterior,
    save,
    summarize,
    worst_diagnostics,
)

LOG = power_law_log([0.0] * 6)
NO_FLOOR = built(load_card("kaplan_compute"), LOG, TRUTH | {"sigma": SIGMA})
FLOOR = built(load_card("henighan_compute"), LOG, TRUTH | {"E": 1.0, "sigma": SIGMA})


def pooled(*weights: float) -> ModelAverage:
    return ModelAverage((NO_FLOOR, FLOOR), weights or (0.5, 0.5))


def test_draws_are_mixed_in_proportion_to_the_weights() -> None:
    mixed = pooled(0.75, 0.25).mix([xr.zeros_like(p.draws["C_c"]) for p in pooled().members])
    ones = [p.draws["C_c"] * 0 + i for i, p in enumerate(pooled().members)]
    mixed = pooled(0.75, 0.25).mix(ones)
    assert mixed.dims == ("chain", "draw")
    assert float(mixed.mean()) == pytest.approx(0.25, abs=1e-3)
    assert mixed.size >= N_DRAWS
    alone = pooled(1.0, 0.0).mix(ones)
    assert float(alone.mean()) == 0


def test_a_forecast_answers_from_both_and_shows_each() -> None:
    """One law gives (C_c / C)^alpha_C, the other one nat more: half of the draws each."""
    answer = forecast(pooled(), flops=1e24).to_json()
    assert answer["law"] == "kaplan_compute + henighan_compute"
    assert answer["loss"] == pytest.approx({"median": 1.5, "lower": 1.0, "upper": 2.0})
    laws = answer["laws"]
    assert laws["kaplan_compute"]["loss"]["median"] == pytest.approx(1.0)
    assert laws["henighan_compute"]["loss"]["median"] == pytest.approx(2.0)
    assert laws["henighan_compute"]["weight"] == 0.5
    assert forecast(NO_FLOOR, flops=1e24).to_json()["laws"] == {}
    assert "henighan_compute" in str(forecast(pooled(), flops=1e24))


def test_a_pool_opens_as_it_was_saved(tmp_path: Path) -> None:
    again = open_posterior(save(pooled(0.75, 0.25), tmp_path / "pool.nc"))
    assert isinstance(again, ModelAverage)
    assert again.weights == (0.75, 0.25)
    assert [member.name for member in again.members] == ["kaplan_compute", "henighan_compute"]
    first, second = (forecast(p, flops=3e23).to_json() for p in (pooled(0.75, 0.25), again))
    assert first == second


def test_one_law_that_missed_its_gate_spoils_the_pool() -> None:
    bad = built(load_card("henighan_compute"), LOG, TRUTH | {"E": 1.0, "sigma": 1}, passed=False)
    spoilt = ModelAverage((NO_FLOOR, bad), (0.5, 0.5))
    assert not spoilt.diagnostics["passed"]
    assert spoilt.diagnostics["reasons"] == ["henighan_compute: R-hat of E is 1.200, above 1.01"]
    with pytest.raises(UnconvergedError):
        forecast(spoilt, flops=1e24)
    assert forecast(spoilt, flops=1e24, allow_unconverged=True)


def test_the_worst_of_each_figure_counts() -> None:
    figures = {"rhat_max": 1.0, "ess_bulk_min": 900, "divergences": 1, "passed": True}
    worse = {"rhat_max": 1.02, "ess_bulk_min": 1200, "divergences": 2, "passed": False}
    worst = worst_diagnostics(
        {"a": {**figures, "reasons": []}, "b": {**worse, "reasons": ["too far"]}}
    )
    assert worst == {
        "rhat_max": 1.02, "ess_bulk_min": 900, "divergences": 3, "passed": False,
        "reasons": ["b: too far"],
    }  # fmt: skip


def test_a_summary_has_each_law_and_its_share() -> None:
    answer = summarize(pooled(0.75, 0.25)).to_json()
    assert set(answer["laws"]) == {"kaplan_compute", "henighan_compute"}
    assert {"coefficients", "diagnostics"} <= set(answer["laws"]["kaplan_compute"])
    assert answer["weights"] == {"kaplan_compute": 0.75, "henighan_compute": 0.25}
    assert answer["n_runs"] == len(LOG)
    assert not {"law", "coefficients", "diagnostics"} & set(answer)
    assert "kaplan_compute 75%, henighan_compute 25%" in str(summarize(pooled(0.75, 0.25)))


# what cannot be pooled


def refused(members: tuple[Posterior, ...], weights: tuple[float, ...]) -> str:
    with pytest.raises(PosteriorError) as caught:
        ModelAverage(members, weights)
    return str(caught.value)


def test_all_problems_of_an_average_are_reported_at_once() -> None:
    other_runs = replace(NO_FLOOR, runs=power_law_log([0.1] * 6))
    assert refused((NO_FLOOR, other_runs), (0.5, 0.6)) == (
        "these laws cannot be averaged:\n"
        "  - its laws repeat: kaplan_compute, kaplan_compute\n"
        "  - its posteriors were fitted to different run logs\n"
        "  - its weights must be zero or more with sum one: (0.5, 0.6)"
    )
    of_params = built(load_card("kaplan_params"), LOG, {"N_c": 1e14, "alpha_N": 0.08})
    assert refused((NO_FLOOR, of_params), (1.0,)) == (
        "these laws cannot be averaged:\n"
        "  - its laws are for different inputs: kaplan_compute is of flops; kaplan_params is of "
        "params\n"
        "  - 1 weights are given for 2 laws"
    )


def test_weights_are_shares_of_every_law() -> None:
    assert model_weights(["a", "b"]) == (0.5, 0.5)
    assert model_weights(["a", "b"], {"b": 1, "a": 3}) == (0.75, 0.25)
    for wrong in ({"a": 1.0}, {"a": -1.0, "b": 2.0}, {"a": 0.0, "b": 0.0}):
        with pytest.raises(PosteriorError) as caught:
            model_weights(["a", "b"], wrong)
        given = ", ".join(f"{name}={value:g}" for name, value in wrong.items())
        assert str(caught.value) == (
            "weights need one share of zero or more for each of a, b, not all zero; given " + given
        )


def test_laws_of_a_pool_are_named_once_and_by_their_own_cards() -> None:
    with pytest.raises(LawError) as caught:
        cards_for_laws(LOG, ["kaplan_compute", "kaplan_compute"])
    assert str(caught.value) == "name each law once; given kaplan_compute, kaplan_compute"
    with pytest.raises(CardError) as caught_card:
        cards_for_laws(LOG, ["kaplan_compute", "henighan_compute"], card="mine.toml")
    assert str(caught_card.value) == (
        "one card cannot serve several laws: give their cards instead of laws"
    )


@pytest.mark.integration
def test_several_laws_are_fitted_into_one_file(bayescale, tmp_path: Path) -> None:
    log, out = tmp_path / "log.csv", tmp_path / "fit.nc"
    rng = np.random.default_rng(4)
    LOG.frame.assign(loss=LOG["loss"] * np.exp(0.005 * rng.standard_normal(len(LOG)))).to_csv(
        log, index=False
    )
    laws = ("--law", "kaplan_compute", "--law", "henighan_compute")
    fitted = bayescale("fit", log, *laws, "--weight", "kaplan_compute=1",
                       "--weight", "henighan_compute=3", "-o", out, "--json").json  # fmt: skip
    assert fitted["weights"] == {"kaplan_compute": 0.25, "henighan_compute": 0.75}
    assert set(fitted["laws"]["henighan_compute"]["coefficients"]) >= {"E", "C_c", "alpha_C"}
    assert fitted["laws"]["henighan_compute"]["diagnostics"]["passed"]
    assert fitted["seconds"]["total"] > 0
    assert bayescale("summary", out, "--json").json["laws"] == fitted["laws"]
    answer = bayescale("forecast", out, "--flops", "1e23", "--json").json
    assert set(answer["laws"]) == set(fitted["laws"])
    plain = bayescale("forecast", out, "--flops", "1e23", "--no-drift", "--json").json
    assert plain["drift"] is False
    alone = bayescale("fit", log, "--law", "kaplan_compute", "--weight", "kaplan_compute=1")
    assert (alone.code, alone.err) == (
        2,
        "error: weights are for several laws, and only one is fitted: leave them out, or name "
        "several laws\n",
    )  # fmt: skip
