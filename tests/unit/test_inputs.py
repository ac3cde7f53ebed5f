"""Inputs that the package does not know: named by a law, described by its card, held in answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.cards import ModelCard, load_card, parse_card, runs_for
from bayescale.decisions.allocate import allocate
from bayescale.errors import CardError, LawError, RunLogError
from bayescale.forecasting import forecast, forecast_table, slices
from bayescale.laws import Constant, Law, find_law
from bayescale.laws.optimum import held_at
from bayescale.posterior import Posterior, point
from bayescale.runs import Runs, read_runs, require_runs_for, with_inputs
from bayescale.runs.planned import read_planned
from bayescale.simulation import simulate

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_law"
LAW = find_law(f"{EXAMPLE / 'context.py'}:CONTEXT")
CARD = load_card(EXAMPLE / "context.toml", law=LAW)
TRUTH = {"E": 1.7, "A": 480.0, "alpha": 0.34, "B": 2000.0, "beta": 0.36, "C": 1.2, "gamma": 0.4}
LOG = pd.DataFrame(
    {
        "params": [1e8, 2e8, 4e8, 8e8],
        "tokens": [4e9, 4e9, 1.6e10, 1.6e10],
        "seq_len": [1024, 4096, 1024, 2048],
        "lr": [1e-3, 2e-3, 1e-3, 5e-4],
        "loss": [3.4, 3.2, 2.9, 2.8],
    }
)


@pytest.fixture
def fit() -> Posterior:
    runs = runs_for(CARD, read_runs(LOG))
    card = CARD.without_drift()
    posterior = point(card, TRUTH, sigma=0.005)
    return Posterior(posterior.tree, card, runs, posterior.record)


def with_lr(name: str = "lr_law") -> Law:
    return Law(
        name=name,
        inputs=("params", "lr"),
        coefficients=("E",),
        loss=lambda params, lr, *, E: E + params * lr * 0,
        terms={"E": Constant()},
    )


def refusal(runs: Runs, law: Law) -> str:
    with pytest.raises(RunLogError) as caught:
        require_runs_for(law, with_inputs(runs, law))
    return str(caught.value)


def test_a_law_may_name_any_column_but_grows_along_a_known_scale() -> None:
    assert LAW.foreign == ("sequence_length",)
    with pytest.raises(LawError) as caught:
        Law(name="x", inputs=("lr",), coefficients=("E",), loss=lambda lr, *, E: E)
    assert str(caught.value) == (
        "law 'x' is ill-defined: inputs are lr, but at least one must be among params, tokens, "
        "flops, unique_tokens, kept_fraction, lm_loss: name one that the loss depends on"
    )


def test_the_column_is_found_when_a_law_names_it() -> None:
    runs = read_runs(LOG)
    assert "lr" not in runs
    assert runs.unused == ("lr (1e-3 2, 2e-3 1, 5e-4 1)",) or "lr" in runs.unused[0]
    found = with_inputs(runs, with_lr())
    np.testing.assert_array_equal(found["lr"], LOG["lr"])
    assert found.columns["lr"] == "column 'lr'"
    assert found.unused == ()
    assert found.digest != runs.digest
    kept = found.take([True, False, True, True])
    np.testing.assert_array_equal(kept["lr"], [1e-3, 1e-3, 5e-4])


def test_a_column_of_another_name_is_named_by_the_caller() -> None:
    log = LOG.rename(columns={"lr": "eta"})
    assert refusal(read_runs(log), with_lr()) == (
        "law 'lr_law' cannot be fitted to DataFrame:\n"
        "  - it has no lr: name its column with `columns={'lr': 'HEADER'}`, or choose a law of "
        "what it has"
    )
    runs = read_runs(log, columns={"lr": "eta"})
    np.testing.assert_array_equal(runs["lr"], LOG["lr"])
    alias = read_runs(LOG.rename(columns={"lr": "Learning Rate"}))
    np.testing.assert_array_equal(with_inputs(alias, with_lr())["lr"], LOG["lr"])


def test_a_slip_in_a_known_name_is_no_input() -> None:
    with pytest.raises(RunLogError, match="column 'token' is not one of params, tokens"):
        read_runs(LOG, columns={"token": "lr"})


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        (
            [1e-3, 0.0, -1e-3, 1e-3],
            "lr must be finite and greater than zero, because laws take its log: 0.0 in row 2, "
            "-0.001 in row 3; correct it, or leave such rows out "
            "(`exclude={'run_id': 'row 2,row 3'}`)",
        ),
        (
            ["1e-3", "high", "1e-3", "2e-3"],
            "lr has text instead of numbers: 'high' in row 2; correct it, or leave such rows out "
            "(`exclude={'run_id': 'row 2'}`)",
        ),
        (
            [1e-3, None, 1e-3, 2e-3],
            "lr is missing: nan in row 2; correct it, or leave such rows out "
            "(`exclude={'run_id': 'row 2'}`)",
        ),
    ],
)
def test_cells_that_no_law_can_use(cells: list[object], text: str) -> None:
    assert refusal(read_runs(LOG.assign(lr=cells)), with_lr()).endswith(f"  - {text}")


def test_an_input_that_never_varies_and_one_that_is_a_known_scale() -> None:
    assert "all 4 runs have one size, lr = 0.001" in refusal(
        read_runs(LOG.assign(lr=1e-3)), with_lr()
    )
    assert refusal(read_runs(LOG.assign(lr=LOG["params"])), with_lr()).endswith(
        "lr is params in every run, so nothing tells them apart: name the law's input params, or "
        "add runs in which they differ"
    )
    assert "lr is 2 times tokens in every run" in refusal(
        read_runs(LOG.assign(lr=2 * LOG["tokens"])), with_lr()
    )


def edited(old: str, new: str) -> ModelCard:
    return parse_card(CARD.text.replace(old, new), law=LAW)


def test_the_card_describes_the_input() -> None:
    with pytest.raises(CardError) as caught:
        edited("[inputs.sequence_length]", "[inputs.lr]")
    assert str(caught.value) == (
        "model card cannot be used:\n"
        "  - inputs.sequence_length is missing; law 'context' has that input, which the package "
        "does not know: state its unit, meaning, range and guard\n"
        "  - inputs.lr must not be stated: leave it out. [inputs] is for the inputs of law "
        "'context' that the package does not know: sequence_length"
    )
    with pytest.raises(CardError, match="write the smaller number first, and a guard that holds"):
        edited("guard = [16, ", "guard = [1600, ")
    with pytest.raises(CardError, match=r"drift\.along names 'sequence_length'"):
        edited('along = ["flops"]', 'along = ["sequence_length"]')


def test_values_beyond_the_guard_are_in_another_unit() -> None:
    runs = read_runs(LOG.assign(seq_len=[1, 4, 1, 2]))
    with pytest.raises(RunLogError) as caught:
        runs_for(CARD, runs)
    assert str(caught.value) == (
        "card 'context' cannot be used with DataFrame:\n"
        "  - sequence_length must lie from 16 to 1e+07 (tokens: length of a training sequence): 1 "
        "in row 1, 4 in row 2, 1 in row 3, 2 in row 4; correct it, name another column with "
        "`columns={'sequence_length': 'HEADER'}`, or widen inputs.sequence_length.guard of the card"
    )


def test_a_forecast_at_the_input_and_where_it_is_not_named(fit: Posterior) -> None:
    at = forecast(fit, params=1e9, tokens=2e10, at={"sequence_length": 8192})
    expected = LAW.loss(1e9, 2e10, 8192.0, **TRUTH)
    assert float(at.loss.squeeze()) == pytest.approx(expected, rel=1e-12)
    assert at.to_json()["at"] == {"sequence_length": 8192.0}
    assert "sequence_length 8192:" in str(at)
    assert not at.cautions
    held = forecast(fit, params=1e9, tokens=2e10)
    assert held.to_json()["at"] == {"sequence_length": 2048.0}
    assert held.cautions == (
        "Held as in the largest run: sequence_length 2048 (change it with "
        "`at={'sequence_length': 'VALUE'}`).",
    )


def test_an_input_outside_the_runs_is_said(fit: Posterior) -> None:
    answer = forecast(fit, params=2e8, tokens=6e9, at={"sequence_length": 16384})
    point = answer.points.iloc[0]
    assert point["verdict"] == "untested"
    assert "sequence_length 16384 lies outside the runs' 1024 to 4096" in point["why"]
    inside = forecast(fit, params=2e8, tokens=6e9, at={"sequence_length": 2048})
    assert inside.points.iloc[0]["verdict"] == "inside"


def test_an_input_that_the_law_lacks_or_the_guard_excludes(fit: Posterior) -> None:
    with pytest.raises(LawError) as caught:
        forecast(fit, params=1e9, tokens=2e10, at={"lr": 1e-3, "sequence_length": 2})
    assert str(caught.value) == (
        "these inputs cannot be held:\n"
        "  - lr is stated, but law 'context' has only sequence_length besides the sizes of a "
        "run: leave it out\n"
        "  - sequence_length is 2, but must lie from 16 to 1e+07 (tokens: length of a training "
        "sequence)"
    )


def test_splits_slices_and_planned_tables_know_the_input(fit: Posterior, tmp_path: Path) -> None:
    short, long = (fit.holding({"sequence_length": s}) for s in (1024, 8192))
    at_short, at_long = (allocate(one, 1e21).to_json() for one in (short, long))
    assert at_long["choice"]["params"] == pytest.approx(at_short["choice"]["params"], rel=1e-6)
    difference = 1.2 * (8192**-0.4 - 1024**-0.4)
    assert at_long["loss"]["median"] - at_short["loss"]["median"] == pytest.approx(difference)
    curves = slices(long, ["1B"], along=["1B", "2B"])
    assert (curves.points["sequence_length"] == 8192).all()
    path = tmp_path / "planned.csv"
    path.write_text("params,tokens,sequence_length\n1B,20B,1024\n1B,20B,8K\n")
    scales = read_planned(path, fit.inputs).scales
    table = forecast_table(fit, **scales)
    expected = [LAW.loss(1e9, 2e10, s, **TRUTH) for s in (1024.0, 8000.0)]
    np.testing.assert_allclose(table["loss_median"], expected)


def test_a_law_held_at_an_input_is_one_of_the_rest() -> None:
    held = held_at(LAW, {"sequence_length": 2048.0})
    assert held.inputs == ("params", "tokens")
    assert held.loss(1e9, 2e10, **TRUTH) == LAW.loss(1e9, 2e10, 2048.0, **TRUTH)
    assert held.loss(tokens=2e10, params=1e9, **TRUTH) == held.loss(1e9, 2e10, **TRUTH)


@pytest.mark.integration
def test_a_law_of_sequence_length_goes_through_the_whole_path(bayescale, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    params = np.geomspace(3e7, 3e9, 24)
    scales = {
        "params": params,
        "tokens": params * rng.uniform(8, 80, 24),
        "sequence_length": rng.choice([512.0, 2048.0, 8192.0], 24),
    }
    log, out = tmp_path / "runs.csv", tmp_path / "fit.nc"
    simulate(LAW, TRUTH, scales, sigma=0.003).to_csv(log, index=False)
    law = ("--law", f"{EXAMPLE / 'context.py'}:CONTEXT")
    card, at = ("--card", EXAMPLE / "context.toml"), ("--at", "sequence_length=8192")
    assert bayescale("models", "check", law[1], *card).code == 0
    assert bayescale("check", log, *law, *card).code == 0
    assert bayescale("fit", log, *law, *card, "-o", out).code == 0
    question = ("--params", "10B", "--tokens", "200B", "--json")
    found = bayescale("forecast", out, *law, *at, *question).json
    truth = LAW.loss(1e10, 2e11, 8192.0, **TRUTH)
    assert found["loss"]["lower"] < truth < found["loss"]["upper"]
    assert found["at"] == {"sequence_length": 8192.0}
    trusted = bayescale("trust", out, *law, "--json")
    assert trusted.code == 0
    assert trusted.json["tested_ratio"] > 1
    split = bayescale("allocate", out, *law, *at, "--flops", "1e22", "--json").json
    assert split["loss"]["lower"] < split["loss"]["upper"]
    page = tmp_path / "page.html"
    assert bayescale("report", out, *law, *at, "-o", page).code == 0
    assert "--at sequence_length=8192" in page.read_text()
