"""The data-constrained law: published numbers, its limits, and what repetition decides."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.cards import default_laws, load_card
from bayescale.decisions.allocate import allocate
from bayescale.decisions.data_budget import data_budget
from bayescale.errors import RunLogError
from bayescale.forecasting import forecast
from bayescale.inference.fit import fit, refit
from bayescale.laws import CHINCHILLA, REPETITION
from bayescale.posterior import Posterior, open_posterior, point, save
from bayescale.runs import Runs, read_runs
from bayescale.simulation import simulate
from bayescale.tasks import Serial
from bayescale.validation.backtest import backtest

CARD = load_card("repetition")
PUBLISHED = CARD.published_values("muennighoff_2023")
FIT = point(CARD, PUBLISHED)
FRESH = {name: PUBLISHED[name] for name in CHINCHILLA.coefficients}
UNIQUE = 25e9


@pytest.mark.parametrize(
    ("params", "tokens", "loss"),
    [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)],
)
def test_published_values_to_the_last_digit(params: float, tokens: float, loss: float) -> None:
    answer = forecast(FIT, params=params, tokens=tokens, unique_tokens=UNIQUE)
    assert answer.loss.item() == pytest.approx(loss, rel=1e-14)
    assert "25B of them unique" in str(answer)
    assert answer.to_json()["unique_tokens"] == UNIQUE


def test_the_published_allocation_at_1e22_flop() -> None:
    """Published: 237.337e9 tokens, 9.493 epochs, 7.0224e9 params, found on a grid: the minimum is
    flat, and theirs is above ours by less than 1e-8 nats."""
    answer = allocate(FIT, 1e22, max_tokens=UNIQUE).to_json()
    assert answer["choice"]["tokens"] == pytest.approx(237.337e9, rel=1e-3)
    assert answer["choice"]["params"] == pytest.approx(7.0224e9, rel=1e-3)
    assert answer["epochs"]["median"] == pytest.approx(9.493, rel=1e-3)
    theirs = REPETITION.loss(7.0224e9, 1e22 / 6 / 7.0224e9, UNIQUE, **PUBLISHED)
    assert 0 <= theirs - answer["loss"]["median"] < 1e-8


def test_data_seen_once_leave_chinchillas_law() -> None:
    for params, tokens in ((1e9, 2e10), (7e9, 1.4e11), (1e8, 1e12)):
        assert REPETITION.loss(params, tokens, tokens, **PUBLISHED) == pytest.approx(
            CHINCHILLA.loss(params, tokens, **FRESH), rel=1e-12
        )
    spare = REPETITION.loss(1e9, 2e10, 1e12, **PUBLISHED)  # more unique tokens than are seen
    assert spare == pytest.approx(CHINCHILLA.loss(1e9, 2e10, **FRESH), rel=1e-12)


def test_repetition_is_worth_less_each_time_up_to_a_limit() -> None:
    """Endless epochs are worth (1 + R_D) U, 16.39 U by the published fit."""
    epochs = np.array([1, 2, 4, 8, 16, 64, 1e6])
    losses = REPETITION.loss(1e8, UNIQUE * epochs, UNIQUE, **PUBLISHED)
    gains = -np.diff(losses)
    assert (gains > 0).all()
    assert losses[-1] == pytest.approx(
        CHINCHILLA.loss(1e8, UNIQUE * (1 + PUBLISHED["R_D"]), **FRESH), rel=1e-9
    )


def test_parameters_in_excess_are_worth_less_up_to_a_limit() -> None:
    one = REPETITION.loss(1e16, UNIQUE, UNIQUE, **PUBLISHED)
    useful = (PUBLISHED["A"] / PUBLISHED["B"]) ** (1 / PUBLISHED["alpha"]) * UNIQUE
    unlimited = CHINCHILLA.loss(useful * (1 + PUBLISHED["R_N"]), UNIQUE, **FRESH)
    assert one == pytest.approx(unlimited, rel=1e-6)


def test_what_more_unique_data_would_be_worth() -> None:
    """In nats the difference of two best splits; in FLOP where the better one gets by with less."""
    result = allocate(FIT, 1e22, max_tokens=UNIQUE)
    twice, unlimited = result.more_data
    now, more, most = (
        allocate(FIT, 1e22, max_tokens=unique).to_json()["loss"]["median"]
        for unique in (UNIQUE, 2 * UNIQUE, 1e15)
    )
    assert twice.loss.item() == pytest.approx(now - more, rel=1e-6)
    assert unlimited.loss.item() == pytest.approx(now - most, rel=1e-6)
    saved = twice.flops.item()
    again = allocate(FIT, 1e22 - saved, max_tokens=2 * UNIQUE).to_json()["loss"]["median"]
    assert again == pytest.approx(now, abs=3e-5)
    assert "twice as many unique tokens" in str(result)
    plenty = allocate(FIT, 1e20, max_tokens=UNIQUE)
    assert plenty.to_json()["epochs"]["median"] == 1.0
    assert all(more.loss.item() == pytest.approx(0, abs=1e-9) for more in plenty.more_data)


def test_overfit_compares_with_unlimited_unique_tokens() -> None:
    tokens = data_budget(FIT, params=1e9).needed.item()
    over = CHINCHILLA.loss(1e9, tokens, **FRESH) / (FRESH["E"] + FRESH["A"] / 1e9 ** FRESH["alpha"])
    assert over == pytest.approx(1.02, rel=1e-6)


# run logs


def log(**columns: list[float]) -> pd.DataFrame:
    base = {"params": [1e8, 1e9], "tokens": [8e9, 2e10], "loss": [3.2, 2.7]}
    return pd.DataFrame(base | columns)


def test_epochs_say_how_many_tokens_are_unique() -> None:
    runs = read_runs(log(epochs=[4.0, 1.0]))
    np.testing.assert_allclose(runs["unique_tokens"], [2e9, 2e10])
    assert runs.columns["unique_tokens"] == "tokens / epochs"
    assert default_laws(runs) == ("repetition",)
    assert default_laws(read_runs(log(epochs=[1.0, 1.0]))) == ("unified",)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"epochs": [0.5, 1.0]},
            "epochs must be one or more: 0.5 in row 1; write how often each unique token was "
            "used, which is 1 for data that are used once",
        ),
        (
            {"unique_tokens": [9e9, 2e10]},
            "unique_tokens is above tokens: 9000000000.0 in row 1; count the tokens "
            "that were trained on, each once",
        ),
    ],
)
def test_repetition_that_cannot_be(columns: dict, message: str) -> None:
    with pytest.raises(RunLogError) as caught:
        read_runs(log(**columns))
    assert str(caught.value) == f"DataFrame cannot be used:\n  - {message}"


# a posterior


@pytest.fixture(scope="module")
def recovered() -> Posterior:
    """Forty simulated runs of the published law."""
    params = np.repeat(np.geomspace(5e7, 5e9, 5), 8)
    epochs = np.tile([1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0], 5)
    unique = np.tile([4e8, 4e9, 4e9, 1e9, 1e9, 4e8, 4e8, 4e8], 5)
    scales = {"params": params, "tokens": unique * epochs, "unique_tokens": unique}
    frame = simulate(REPETITION, PUBLISHED, scales, sigma=0.003, seed=5)
    return refit(read_runs(frame), CARD)


def test_what_repetition_is_worth_is_recovered(recovered: Posterior) -> None:
    for name in ("R_D", "R_N", "E", "alpha", "beta"):
        low, high = np.quantile(recovered.drifting.draws[name], [0.005, 0.995])
        assert low < PUBLISHED[name] < high
    low, high = np.quantile(recovered.drifting.draws["R_D"], [0.05, 0.95])
    assert high / low < 4


def test_the_command_line_repeats_data(bayescale, recovered: Posterior, tmp_path: Path) -> None:
    fit = save(recovered, tmp_path / "fit.nc")
    assert isinstance(open_posterior(fit), Posterior)
    ran = bayescale("allocate", fit, "--flops", "1e21", "--max-tokens", "4B", "--json",
                    "--allow-unconverged")  # fmt: skip
    assert ran.json["epochs"]["lower"] > 1
    assert ran.json["limits"]["unique_tokens"] == 4e9
    sizes = ("--params", "1B", "--tokens", "20B", "--unique-tokens", "4B", "--allow-unconverged")
    assert "4B of them unique" in bayescale("forecast", fit, *sizes).out


# the paper's runs


@pytest.fixture(scope="module")
def paper_runs(real_data: Path) -> Runs:
    """The 182 runs that the paper fitted."""
    log = pd.read_csv(real_data / "datablations.csv")
    return read_runs(log[log["in_paper_fit"] == 1])


@pytest.fixture(scope="module")
def long_runs(paper_runs: Runs) -> Runs:
    """Those trained on a billion tokens or more."""
    return paper_runs.take(lambda frame: frame["tokens"] >= 1e9, "fewer than a billion tokens")


def test_by_the_published_yardstick_other_values_do_as_well(paper_runs: Runs) -> None:
    """The paper's objective: a Huber loss of 0.001, with all but R_N and R_D held."""
    scales = {name: paper_runs[name] for name in REPETITION.inputs}

    def objective(R_N: float, R_D: float) -> float:
        law = REPETITION.loss(**scales, **(PUBLISHED | {"R_N": R_N, "R_D": R_D}))
        off = np.abs(np.log(law / paper_runs["loss"]))
        return np.where(off < 1e-3, off**2 / 2, 1e-3 * (off - 5e-4)).sum()

    published = objective(PUBLISHED["R_N"], PUBLISHED["R_D"])
    assert published == pytest.approx(0.0158259, abs=1e-7)  # printed: 0.0158259366, in 32 bits
    assert objective(1.706, 95.4) < published
    for R_N, R_D in ((3.0, 20.0), (3.0, 30.0), (1.7, 50.0)):
        assert objective(R_N, R_D) < 1.005 * published


@pytest.mark.slow
def test_the_papers_runs_decide_what_repetition_is_worth(long_runs: Runs) -> None:
    """The 95 % interval of R_N holds the published 5.3, the 90 % one ends just short of it.

    The published R_D of 15.4 goes with other coefficients than these runs have.
    """
    posterior = fit(long_runs, "repetition")
    assert posterior.diagnostics["passed"]
    low, high = np.quantile(posterior.draws["R_N"], [0.025, 0.975])
    assert low < PUBLISHED["R_N"] < high
    low, high = np.quantile(posterior.draws["R_D"], [0.05, 0.95])
    assert 25 < low < high < 50


@pytest.mark.slow
def test_larger_runs_are_forecast_better_than_by_chinchillas_law(long_runs: Runs) -> None:
    ours = backtest(long_runs, ["repetition"], refit=refit, executor=Serial())
    theirs = backtest(
        long_runs, ["chinchilla"], refit=refit, cutoffs=ours.cutoffs, executor=Serial()
    )
    ours, theirs = (made.summary().set_index("ratios") for made in (ours, theirs))
    assert list(ours.index) == list(theirs.index)
    for score in ("rmsle", "crps"):
        assert (ours[score] < theirs[score]).all()
    assert (ours["lpd"] > theirs["lpd"]).all()
    assert ours.loc["all", "coverage90"] > 0.8 > 0.6 > theirs.loc["all", "coverage90"]


@pytest.mark.slow
@pytest.mark.parametrize("cutoff", [2.4e19, 8.7e19, 5.4e20])
def test_all_the_papers_runs_forecast_larger_ones_better_where_half_of_them_are_known(
    paper_runs: Runs, cutoff: float
) -> None:
    errors = {}
    for law in ("repetition", "chinchilla"):
        made = backtest(paper_runs, [law], refit=refit, cutoffs=[cutoff], executor=Serial())
        errors[law] = made.summary().set_index("ratios").loc["all"]
    ours, theirs = errors.values()
    assert ours["n"] == theirs["n"] > 40
    assert ours["rmsle"] < 0.7 * theirs["rmsle"]
    assert ours["crps"] < 0.9 * theirs["crps"]
    assert ours["lpd"] > theirs["lpd"]


@pytest.mark.parametrize("name", ["repetition", "pruned"])
def test_the_law_drifts_across_tokens_per_parameter_as_the_default_law_does(name: str) -> None:
    """The card says that its sizes of drift are those of the card unified."""
    drift, default = load_card(name).drift, load_card("unified").drift
    assert drift is not None
    assert default is not None
    assert drift.walks == default.walks == ("flops", "tokens_per_param", "tilt")
    assert {axis: size.prior for axis, size in drift.sizes.items()} == {
        axis: size.prior for axis, size in default.sizes.items()
    }
