"""The law of downstream error: its shape, a known truth recovered, and larger models held out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.errors import LawError
from bayescale.forecasting import forecast
from bayescale.inference.fit import fit
from bayescale.laws import DOWNSTREAM
from bayescale.posterior import Posterior
from bayescale.runs import Runs, read_runs
from bayescale.scenarios.emergence import emergence
from bayescale.simulation import simulate
from bayescale.validation.horizon import trust
from bayescale.validation.identifiability import posterior_notes
from bayescale.verdict import sizes

TRUTH = {"epsilon": 0.86, "k": 2.1, "gamma": 0.7}
COLUMNS = ["run_id", "params", "tokens", "flops", "dataset"]


def test_the_error_falls_exponentially_from_guessing() -> None:
    """By hand: .86 - 2.1 exp(-.7 x 3) = .6028."""
    assert DOWNSTREAM.loss(3.0, **TRUTH) == pytest.approx(0.86 - 2.1 * np.exp(-2.1))
    assert DOWNSTREAM.loss(50.0, **TRUTH) == pytest.approx(0.86)


def test_an_error_never_reaches_zero() -> None:
    losses = np.linspace(2.0, 0.01, 50)
    errors = DOWNSTREAM.loss(losses, **TRUTH)
    assert (np.diff(errors) <= 1e-15).all()
    assert errors[-1] == pytest.approx(0.01 * 0.86)


def log_of(lm_loss: np.ndarray, seed: int) -> Runs:
    frame = simulate(DOWNSTREAM, TRUTH, {"lm_loss": lm_loss}, sigma=0.008, seed=seed)
    return read_runs(frame.assign(params=np.geomspace(1e9, 1e7, len(frame))))


@pytest.fixture(scope="module")
def simulated() -> Posterior:
    return fit(log_of(np.linspace(2.7, 5.5, 30), seed=5), "downstream")  # pyright: ignore[reportReturnType]


def test_a_known_truth_is_recovered(simulated: Posterior) -> None:
    assert simulated.diagnostics["passed"]
    for name, true in TRUTH.items():
        low, high = np.quantile(simulated.draws[name], [0.01, 0.99])
        assert low < true < high


def test_lower_losses_are_larger_and_extrapolate(simulated: Posterior) -> None:
    """A model's size on this law is one over its loss."""
    assert sizes(pd.DataFrame({"lm_loss": [4.0, 2.0]}), ("lm_loss",)).tolist() == [0.25, 0.5]
    inside, outside = (forecast(simulated, lm_loss=x).points.iloc[0] for x in (3.0, 2.0))
    assert inside["verdict"] == "inside"
    assert outside["extrapolation_ratio"] == pytest.approx(2.7 / 2.0)
    assert outside["verdict"] in ("untested", "too_wide")


def test_trust_walks_towards_lower_losses(simulated: Posterior) -> None:
    result = trust(simulated, tolerance=0.5)
    assert result.path["lm_loss"].iloc[0] == pytest.approx(2.7)
    assert result.path["lm_loss"].is_monotonic_decreasing
    assert result.path["lm_loss"].iloc[-1] == pytest.approx(2.7 / 2)  # no farther: it means nothing
    assert result.path["half_width"].iloc[0] < 0.1
    assert result.to_json()["horizon"] == pytest.approx(2.7)
    assert ": a language model's loss of 2.7 nats/token (downstream)" in str(result)


def test_its_forecasts_are_shares_and_not_nats(simulated: Posterior) -> None:
    answer = forecast(simulated, lm_loss=2.6)
    assert answer.to_json()["unit"] == "error rate"
    assert answer.to_json()["lm_loss"] == 2.6
    text = str(answer)
    assert text.startswith("downstream at a loss of 2.6 nats/token:\n  mean over seeds   0.")
    assert text.count("error rate") == 2
    assert not [note for note in posterior_notes(simulated) if note.code == "narrow_range"]
    with pytest.raises(LawError, match="but no scale is given: give `lm_loss=`"):
        forecast(simulated)


def test_the_errors_of_a_chain_are_those_of_the_losses_it_is_given(simulated: Posterior) -> None:
    """Draws of the loss go through draws of the law: medians agree, and doubts add up."""
    result = emergence_of(simulated)
    frame = result.to_frame()
    chained = frame[frame["metric"] == "downstream_error"].iloc[-1]
    alone = forecast(simulated, lm_loss=chained["loss_median"]).to_frame().iloc[0]
    assert chained["median"] == pytest.approx(alone["loss_median"], rel=0.02)
    spread = chained["upper"] - chained["lower"]
    assert spread > 1.2 * (alone["loss_upper"] - alone["loss_lower"])
    new = frame[frame["metric"] == "downstream_error_new"]
    assert new.empty  # a point estimate without noise says nothing of a single new run
    assert set(result.to_json()["metrics"]) == {*frame["metric"]}


def emergence_of(downstream: Posterior):
    from support.published import BESIROGLU, ONE

    rng = np.random.default_rng(2)
    levels = BESIROGLU["E"] * np.exp(0.1 * rng.standard_normal(400))
    values = {name: (("chain", "draw"), np.full((1, 400), x)) for name, x in BESIROGLU.items()}
    values["E"] = (("chain", "draw"), levels[None])
    dataset = xr.Dataset(values, coords={"chain": [0], "draw": np.arange(400)})
    tree = xr.DataTree.from_dict({"posterior": dataset})
    doubtful = Posterior(tree, ONE.card, None, ONE.record)
    return emergence(doubtful, flops=np.geomspace(1e18, 1e20, 5), downstream=downstream)


# Gadre's runs: up to 411M fitted, 1.4B and 6.9B held out


@pytest.fixture(scope="module")
def gadre(real_data: Path) -> pd.DataFrame:
    """Runs on three training sets; those under one Chinchilla multiple are mostly warm-up."""
    table = pd.read_csv(real_data / "gadre_overtraining.csv")
    return table[table["chinchilla_mult"] >= 1]


def errors_of(table: pd.DataFrame, error: str) -> Runs:
    columns = {"loss": error, "lm_loss": "loss", "family": "dataset"}
    return read_runs(table[[*COLUMNS, "loss", error]], columns=columns)


@pytest.mark.integration
def test_errors_of_larger_models_follow_from_their_losses(gadre: pd.DataFrame) -> None:
    """Nine models of 1.4B and 6.9B, from the law fitted to 71 of up to 411M."""
    small, large = (gadre[m] for m in (gadre["params"] < 1e9, gadre["params"] > 1e9))
    posterior = fit(errors_of(small, "err_avg17"), "downstream")
    assert posterior.diagnostics["passed"]
    held, distance = 0, []
    for _, model in large.iterrows():
        answer = forecast(posterior, lm_loss=model["loss"], family=model["dataset"]).to_json()
        new = answer["loss_new"]
        held += new["lower"] <= model["err_avg17"] <= new["upper"]
        distance.append(abs(new["median"] - model["err_avg17"]))
    assert len(large) == 9
    assert held >= 7
    assert np.mean(distance) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("error", "least"), [("err_avg46", 9), ("err_avg17", 8)])
def test_errors_of_larger_models_follow_from_their_sizes(
    gadre: pd.DataFrame, error: str, least: int
) -> None:
    """The loss law and the downstream law chained: nothing of the larger models is known."""
    small, large = (gadre[m] for m in (gadre["params"] < 1e9, gadre["params"] > 1e9))
    losses = fit(read_runs(small[[*COLUMNS, "loss"]], columns={"family": "dataset"}), "chinchilla")
    errors = fit(errors_of(small, error), "downstream")
    held = 0
    for _, model in large.iterrows():
        path = {name: [model[name] / 2, model[name]] for name in ("params", "tokens")}
        family = model["dataset"]
        result = emergence(
            losses, **path, family=family, downstream=errors, downstream_family=family
        )
        new = result.to_frame().query("metric == 'downstream_error_new'").iloc[-1]
        held += new["lower"] <= model[error] <= new["upper"]
    assert held >= least
