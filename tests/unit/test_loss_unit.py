"""Answers in the log's own unit of loss: the same draws as in nats, converted."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.published import BESIROGLU, CARD, SPREAD

from bayescale.conventions import FlopCount, LossUnit
from bayescale.decisions.allocate import allocate
from bayescale.decisions.data_budget import data_budget
from bayescale.decisions.regret import regret_map
from bayescale.errors import UnitError
from bayescale.forecasting import forecast, forecast_table
from bayescale.laws import CHINCHILLA
from bayescale.plotting import plot_forecast
from bayescale.posterior import Posterior, save
from bayescale.reporting.sections import report
from bayescale.runs import read_runs
from bayescale.units import from_nats

PER_BYTE = 0.29335
BITS = PER_BYTE / np.log(2.0)
"""Bits per byte in a nat per token."""

PLACE = {"params": 70e9, "tokens": 1.4e12}


def log_in(unit: str) -> Any:
    """Return one log of runs, with losses in this unit."""
    params, tokens = np.repeat(np.geomspace(1e8, 1e10, 5), 2), np.tile([4e9, 2e11], 5)
    nats = CHINCHILLA.loss(params, tokens, **BESIROGLU)
    loss = from_nats(nats, unit, tokens_per_byte=PER_BYTE)
    frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})
    return read_runs(frame, conventions={"loss": unit, "tokens_per_byte": PER_BYTE})


def fitted_in(unit: str) -> Posterior:
    sigma = SPREAD.draws["E"] * 0 + 0.01
    draws = SPREAD.draws.assign(sigma=sigma, nu=500 * sigma)
    tree = SPREAD.tree.copy()
    tree["posterior"] = type(tree)(draws)
    return replace(SPREAD, tree=tree, card=CARD.without_drift(), runs=log_in(unit))


NATS, BYTES = fitted_in("nats"), fitted_in("bits_per_byte")


def test_a_forecast_in_bits_per_byte_is_that_in_nats_draw_by_draw() -> None:
    nats, bytes_ = (forecast(fit, **PLACE) for fit in (NATS, BYTES))
    np.testing.assert_allclose(bytes_.loss, nats.loss * BITS, rtol=1e-12)
    assert nats.loss_new is not None
    assert bytes_.loss_new is not None
    np.testing.assert_allclose(bytes_.loss_new, nats.loss_new * BITS, rtol=1e-12)
    answer = bytes_.to_json()
    assert answer["unit"] == "bits/byte"
    assert answer["loss"]["lower"] == pytest.approx(nats.to_json()["loss"]["lower"] * BITS)
    assert "bits/byte" in str(bytes_)
    assert answer["verdict"] == nats.to_json()["verdict"]


def test_a_target_is_in_the_unit_of_the_answer() -> None:
    loss = float(np.median(forecast(NATS, **PLACE).loss))
    in_nats = forecast(NATS, **PLACE, target=loss).to_json()
    in_bytes = forecast(BYTES, **PLACE, target=loss * BITS).to_json()
    assert 0 < in_nats["p_below_target"] < 1
    assert in_bytes["p_below_target"] == in_nats["p_below_target"]
    assert in_bytes["target"] == loss * BITS


@pytest.mark.parametrize(
    ("unit", "label", "of"),
    [
        ("nats", "nats/token", lambda x: x),
        ("bits", "bits/token", lambda x: x / np.log(2)),
        ("bits_per_byte", "bits/byte", lambda x: x * BITS),
        ("perplexity", "perplexity", np.exp),
    ],
)
def test_another_unit_can_be_asked_for(unit: str, label: str, of: Callable[[Any], Any]) -> None:
    nats = forecast(NATS, **PLACE)
    for fit in (NATS, BYTES):
        found = forecast(fit, **PLACE, loss_unit=unit)
        np.testing.assert_allclose(found.loss, of(nats.loss), rtol=1e-12)
        assert found.unit == label
    table = forecast_table(BYTES, **PLACE, loss_unit=unit)
    assert table["loss_median"].item() == pytest.approx(float(np.median(found.loss)))


def test_splits_and_their_regret_are_in_the_unit_of_the_log() -> None:
    asked: dict[str, Any] = {"options": [(2e10, None)]}
    nats, bytes_ = (allocate(fit, [1e22, 1e23], **asked) for fit in (NATS, BYTES))
    np.testing.assert_allclose(bytes_.params, nats.params, rtol=1e-3)
    np.testing.assert_allclose(bytes_.choice.regret, nats.choice.regret * BITS, atol=1e-7)
    assert nats.options is not None
    assert bytes_.options is not None
    np.testing.assert_allclose(bytes_.options.regret, nats.options.regret * BITS, rtol=1e-6)
    np.testing.assert_allclose(bytes_.options.wasted, nats.options.wasted, rtol=1e-4)
    one = allocate(BYTES, 1e22)
    answer = one.to_json()
    assert answer["unit"] == "bits/byte"
    in_nats = allocate(NATS, 1e22).to_json()
    for key in ("median", "lower", "upper"):
        assert answer["loss"][key] == pytest.approx(in_nats["loss"][key] * BITS, rel=1e-6)
    assert " bits per byte expected" in str(one)
    assert "nats" not in str(one)
    found = regret_map(BYTES, 1e22).to_frame()
    expected = regret_map(NATS, 1e22).to_frame()
    # the two searches end at choices that differ in the fifth digit
    np.testing.assert_allclose(found["regret_mean"], expected["regret_mean"] * BITS, rtol=0.02)


def test_a_target_for_data_is_in_the_unit_of_the_log() -> None:
    nats = data_budget(NATS, params=7e9, target=2.4)
    bytes_ = data_budget(BYTES, params=7e9, target=2.4 * BITS)
    np.testing.assert_allclose(bytes_.needed, nats.needed, rtol=1e-9)
    assert bytes_.to_json()["unit"] == "bits/byte"
    assert "bits/byte" in str(bytes_)


def test_figures_are_in_the_unit_of_the_log() -> None:
    curve = forecast(BYTES, flops=np.geomspace(1e19, 1e23, 5))
    ax = plot_forecast(curve, runs=BYTES.runs)
    assert ax.get_ylabel() == "loss (bits per byte)"
    points = next(line for line in ax.get_lines() if line.get_label() == "fitted runs")
    assert BYTES.runs is not None
    np.testing.assert_allclose(points.get_ydata(), BYTES.runs["loss"] * BITS)


# units that are asked about


def test_a_target_in_another_unit_is_asked_about() -> None:
    with pytest.raises(UnitError) as stop:
        forecast(BYTES, **PLACE, target=1.97)
    middle = float(np.median(forecast(BYTES, **PLACE).loss))
    assert str(stop.value) == (
        f"`target=` is 1.97 bits/byte, far from the losses here (median {middle:.4g} bits/byte) "
        "and near to what they are in nats per token: if nats per token are meant, ask in that "
        "unit with `loss_unit='nats'`; if bits per byte are meant, say so with "
        "`loss_unit='bits_per_byte'`"
    )
    assert forecast(BYTES, **PLACE, target=1.97, loss_unit="nats").unit == "nats/token"
    sure = forecast(BYTES, **PLACE, target=1.97, loss_unit="bits_per_byte").to_json()
    assert sure["p_below_target"] == 1.0


def test_a_target_of_typical_bits_per_byte_is_asked_about_where_no_tokenizer_is_stated() -> None:
    runs = NATS.runs
    assert runs is not None
    fit = replace(NATS, runs=replace(runs, conventions=type(runs.conventions)()))
    with pytest.raises(UnitError, match="near to what they are in bits per byte: if bits per byte"):
        forecast(fit, **PLACE, target=0.8)


@pytest.mark.parametrize("target", [1.6, 1.97, 2.5, 3.5])
def test_a_plausible_target_is_not_asked_about(target: float) -> None:
    assert forecast(NATS, **PLACE, target=target).target == target


def test_a_target_for_data_in_another_unit_is_asked_about() -> None:
    with pytest.raises(UnitError, match="near to what they are in nats per token"):
        data_budget(BYTES, params=7e9, target=2.4)


def test_bits_per_byte_need_the_tokens_per_byte() -> None:
    with pytest.raises(UnitError) as stop:
        forecast(SPREAD, **PLACE, loss_unit="bits_per_byte")
    assert str(stop.value) == (
        "`loss_unit='bits_per_byte'` needs the tokens per byte of the evaluation set, which the "
        "log does not state: read it with `conventions={'tokens_per_byte': 'VALUE'}` and fit again"
    )


def test_an_unknown_unit_is_named_with_the_units_there_are() -> None:
    with pytest.raises(UnitError) as stop:
        forecast(SPREAD, **PLACE, loss_unit="bytes")
    assert str(stop.value) == (
        "`loss_unit='bytes'`: the unit of loss must be one of nats, bits, bits_per_byte, "
        "perplexity; did you mean 'bits'?"
    )


def test_a_law_of_an_error_rate_has_no_other_unit() -> None:
    from bayescale.conventions import chosen_unit

    with pytest.raises(UnitError, match="the law predicts error rate, which has no other unit"):
        chosen_unit(LossUnit("error rate"), "bits")


@pytest.mark.integration
def test_the_command_line_answers_in_the_unit_of_the_log(
    bayescale: Callable[..., Any], cerebras_posterior: Posterior, tmp_path: Path
) -> None:
    runs = cerebras_posterior.runs
    assert runs is not None
    stated = replace(runs.conventions, loss="bits_per_byte", tokens_per_byte=PER_BYTE)
    fit = replace(cerebras_posterior, runs=replace(runs, conventions=stated))
    file, place = save(fit, tmp_path / "fit.nc"), ("--flops", "1e22")
    ran = bayescale("forecast", file, *place, "--json")
    assert ran.json["unit"] == "bits/byte"
    asked = bayescale("forecast", file, *place, "--loss-unit", "nats", "--json")
    assert asked.json["unit"] == "nats/token"
    ratio = ran.json["loss"]["median"] / asked.json["loss"]["median"]
    assert ratio == pytest.approx(BITS)
    unlikely = bayescale("forecast", file, *place, "--target", "1.9")
    assert unlikely.code == 2
    assert "ask in that unit with --loss-unit nats" in unlikely.err
    assert bayescale("forecast", file, *place, "--target", "1.9", "--loss-unit", "nats").code == 0
    summary = bayescale("summary", file)
    assert "answers are in the log's own unit, bits per byte" in summary.out
    page = tmp_path / "page.html"
    assert bayescale("report", file, "-o", page).code == 0
    html = page.read_text()
    assert "Bits per byte against FLOP" in html
    assert "The runs, losses in bits per byte" in html


@pytest.mark.integration
def test_a_report_states_regret_in_the_unit_of_the_log() -> None:
    section = next(s for s in report(BYTES).sections if s.name == "allocation")
    assert section.error is None
    assert "expected regret, bits per byte" in section.html
    assert "nats" not in section.html


def test_a_report_says_in_which_count_budgets_are_spent() -> None:
    assert BYTES.runs is not None
    fit = replace(BYTES, runs=replace(BYTES.runs, flop_count=FlopCount(level=8.4)))
    section = next(s for s in report(fit).sections if s.name == "allocation")
    assert "Compute is counted as 1.4 times 6 N D, as in the log" in re.sub(
        "<[^>]*>", "", section.html
    )
