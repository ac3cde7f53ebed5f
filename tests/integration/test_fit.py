"""Fits of real and simulated runs: recovery, surprise, few runs, families, repeatability."""

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

from bayescale.cards import card_for, load_card
from bayescale.errors import CardError, RunLogError
from bayescale.inference.compile import compiled_model
from bayescale.inference.fit import fit
from bayescale.inference.model.build import build_model
from bayescale.inference.schedule import sample
from bayescale.laws import CHINCHILLA, LAWS
from bayescale.posterior import Posterior, outliers, summarize
from bayescale.runs import Runs, read_runs
from bayescale.simulation import simulate
from bayescale.splits import default_sizes
from bayescale.validation.design import design_notes
from bayescale.validation.identifiability import posterior_notes

BESIROGLU_95 = {
    "E": (1.769, 1.871),
    "A": (285.2, 743.6),
    "B": (1042.4, 5810.3),
    "alpha": (0.317, 0.373),
    "beta": (0.331, 0.415),
}
TRUTH = {"E": 1.75, "A": 420.0, "alpha": 0.34, "B": 1800.0, "beta": 0.36}


def grid_log(seed: int = 0, n: int = 5) -> pd.DataFrame:
    sizes = np.geomspace(1e8, 1e10, n)
    params, ratio = np.meshgrid(sizes, [3, 20, 100])
    scales = {"params": params.ravel(), "tokens": (params * ratio).ravel()}
    return simulate(CHINCHILLA, TRUTH, scales, sigma=0.004, seed=seed)


# the 240 and 245 runs behind Chinchilla


def test_medians_of_240_chinchilla_runs_lie_in_the_published_intervals(
    chinchilla_posterior: Posterior,
) -> None:
    frame = summarize(chinchilla_posterior).frame
    for name, (low, high) in BESIROGLU_95.items():
        assert low < frame.loc[name, "median"] < high, name
    assert chinchilla_posterior.diagnostics["passed"]


def test_share_of_compute_that_goes_to_parameters(chinchilla_posterior: Posterior) -> None:
    """N grows as C^a with a = beta / (alpha + beta); published: 0.513."""
    draws = chinchilla_posterior.draws
    share = draws["beta"] / (draws["alpha"] + draws["beta"])
    low, high = np.quantile(share, [0.05, 0.95])
    assert low < 0.513 < high


def test_the_five_outliers_are_found(all_chinchilla: Runs) -> None:
    posterior = fit(all_chinchilla, "chinchilla")
    flagged = outliers(posterior)
    frame = all_chinchilla.to_frame()
    far_off = set(frame.nlargest(5, "loss")["run_id"])
    assert far_off <= set(flagged["run_id"])
    assert len(flagged) <= 8  # and hardly anything else
    moved = posterior.record["without_outliers"]["coefficients"]["beta"]
    assert moved["with"]["median"] != moved["without"]["median"]
    assert "beta" in str(summarize(posterior)).split("Without the outliers")[1]


def test_chains_of_drift_find_the_mode_that_holds_the_mass(all_chinchilla: Runs) -> None:
    """Heavy tails with little drift; drift through the outliers is the lesser mode.

    Coordinates that followed outliers kept chains in the lesser mode, and one fit in four passed
    there.
    """
    sixth = all_chinchilla.take(lambda frame: frame["loss"].index % 6 == 0, "every sixth run")
    for seed in range(3):
        drifting = fit(sixth, "unified", draws=500, seed=seed).drifting.draws
        assert (drifting["sigma"].median("draw") < 0.003).all()
        assert (drifting["drift_tokens_per_param"].median("draw") < 0.009).all()


def test_the_chosen_size_moves_steadily_with_the_budget(all_chinchilla: Runs) -> None:
    """The mean loss of these runs has two minima from 3e21 FLOP on, which change places at 7e21."""
    budgets = np.geomspace(1e20, 1e24, 49)
    params, _ = default_sizes(fit(all_chinchilla, "unified"), budgets)
    steps = np.diff(np.log(params))
    assert steps.min() > -0.05
    assert steps.max() < 0.45


# few runs


def test_five_runs_forecast_the_next_two_within_their_interval(
    cerebras: Runs, cerebras_posterior: Posterior
) -> None:
    from bayescale.forecasting import forecast

    assert cerebras_posterior.diagnostics["passed"]
    frame = forecast(cerebras_posterior, flops=[6.3e21, 2.3e22]).to_frame()
    reached = [1.704, 1.572]
    assert list(cerebras["loss"][-2:]) == reached
    for (_, row), loss in zip(frame.iterrows(), reached, strict=True):
        assert row["loss_new_lower"] < loss < row["loss_new_upper"]


@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_a_handful_of_runs_passes_the_checks_or_says_why_not(n: int) -> None:
    frame = grid_log(seed=n).sample(n, random_state=n)
    diagnostics = fit(read_runs(frame), "chinchilla").diagnostics
    assert diagnostics["passed"] or all(len(reason) > 20 for reason in diagnostics["reasons"])
    assert diagnostics["passed"] == (not diagnostics["reasons"])


def test_twenty_tokens_per_parameter_everywhere_cannot_tell_alpha_from_beta(
    cerebras: Runs,
) -> None:
    (note,) = [n for n in design_notes(cerebras, CHINCHILLA) if n.code == "collinear_design"]
    assert note.text == (
        "tokens are 20 times params in every run (from 19.6 to 20.2), so size and data grow "
        "together and these runs cannot separate alpha from beta, nor the loss due to size from "
        "the loss due to data: they support forecasts along this line, but not the split of a "
        "budget. Train runs with twice as many tokens per parameter or more, and with half as "
        "many or fewer"
    )


def test_a_spread_design_is_not_called_collinear() -> None:
    assert design_notes(read_runs(grid_log()), CHINCHILLA) == ()


def test_what_comes_from_the_prior_is_named() -> None:
    frame = grid_log().query("params < 1.1e8")
    frame.loc[:, "params"] *= [1.0, 1.01, 1.02]
    posterior = fit(read_runs(frame), "chinchilla")
    (text,) = [n.text for n in posterior_notes(posterior) if n.code == "prior_decides"]
    assert "alpha" in text.split(" from the prior")[0]


# recovery, noise, families


def test_coefficients_of_a_simulated_log_are_recovered() -> None:
    posterior = fit(read_runs(grid_log(n=12)), "chinchilla")
    for name, true in TRUTH.items():
        draws = np.log(posterior.draws[name].values)
        assert abs(draws.mean() - np.log(true)) < 3 * draws.std(), name
    assert posterior.draws["sigma"].values.mean() == pytest.approx(0.004, rel=0.5)


def test_coefficients_of_farseers_law_are_recovered() -> None:
    truth = {
        "U": 1.9, "alpha": 0.08, "alpha_tenfold": 0.7, "V": 0.3, "V_tenfold": 1.8, "V_bend": 0.96,
        "beta": 0.35, "beta_tenfold": 0.8, "beta_bend": 0.8,
    }  # fmt: skip
    sizes, ratios = np.geomspace(3e7, 6e9, 8), np.geomspace(4.0, 400.0, 6)
    params, ratio = (grid.ravel() for grid in np.meshgrid(sizes, ratios))
    scales = {"params": params, "tokens": ratio * params}
    log = simulate(LAWS["farseer"], truth, scales, sigma=0.003, seed=5)
    posterior = fit(read_runs(log), "farseer")
    assert posterior.diagnostics["passed"]
    for name, true in truth.items():
        draws = np.log(posterior.draws[name].values)
        assert abs(draws.mean() - np.log(true)) < 3 * draws.std(), name
    for name in ("U", "V", "beta"):
        assert np.log(posterior.draws[name].values).std() < 0.1, name


def test_families_share_exponents_and_differ_in_level() -> None:
    """Two families whose floors differ by 20 %: each is found, and a new one is less certain."""
    first = grid_log(seed=1).assign(family="a")
    other = simulate(
        CHINCHILLA, TRUTH | {"E": 1.2 * TRUTH["E"]},
        {name: first[name] for name in ("params", "tokens")}, sigma=0.004, seed=2,
    ).assign(family="b")  # fmt: skip
    frame = pd.concat([first, other], ignore_index=True)
    frame["run_id"] = [f"r{i}" for i in range(len(frame))]
    posterior = fit(read_runs(frame), "chinchilla")
    assert posterior.families == ("a", "b")
    floors = {name: posterior.exact.coefficients(name)["E"] for name in "ab"}
    assert float((floors["b"] / floors["a"]).median()) == pytest.approx(1.2, abs=0.06)
    place = {"params": 1e11, "tokens": 2e12}
    known, unknown = posterior.exact.loss(place, "a"), posterior.exact.loss(place)
    assert float(unknown.std()) > 2 * float(known.std())
    assert posterior.tree["log_likelihood"]["log_loss"].sizes["run"] == len(frame)
    one_population = fit(read_runs(frame), "chinchilla", families=False)
    assert one_population.families == ()
    assert one_population.draws["sigma"].mean() > 3 * posterior.draws["sigma"].mean()


def test_a_seed_repeats_the_draws_and_another_does_not(cerebras: Runs) -> None:
    settings = {"draws": 100, "tune": 200, "chains": 2}
    first = fit(cerebras, "kaplan_compute", seed=3, **settings).draws
    again = fit(cerebras, "kaplan_compute", seed=3, **settings).draws
    other = fit(cerebras, "kaplan_compute", seed=4, **settings).draws
    assert first.equals(again)
    assert not first.equals(other)


def test_refits_of_any_length_use_the_one_compiled_model(cerebras: Runs) -> None:
    fit(cerebras, "kaplan_compute", draws=50, tune=100)
    for n in (2, 3, 7):
        posterior = fit(cerebras.take(np.arange(7) < n), "kaplan_compute", draws=50, tune=100)
        assert posterior.record["seconds"]["compile"] < 0.1
        assert posterior.tree["observed_data"].sizes["run"] == n


def test_thousands_of_checkpoints_are_sampled_as_well_as_few() -> None:
    """They determine a row's own noise to a hundredth, and hardly the share of their few runs.

    Sampled as the whole and the share, 68 and 63 of the 500 draws were effective.
    """
    n_runs, each = 8, 1000
    params = np.repeat(np.geomspace(1e8, 1e10, n_runs), each)
    tokens = params * np.tile(np.geomspace(2, 100, each), n_runs)
    log = simulate(CHINCHILLA, TRUTH, {"params": params, "tokens": tokens}, sigma=0.004, seed=0)
    run = np.repeat(np.arange(n_runs), each)
    of_run = np.exp(0.004 * np.random.default_rng(0).standard_normal(n_runs)[run])
    runs = read_runs(log.assign(loss=log["loss"] * of_run, run=[f"run{i}" for i in run]))
    card = card_for(runs, load_card("chinchilla")).without_drift()
    how = {"draws": 250, "tune": 300, "chains": 2, "cores": None, "seed": 1, "target_accept": 0.8}
    draws = sample(compiled_model(runs, card)[0], runs, card, **how)["posterior"]
    own = draws["sigma"] * np.sqrt(1 - draws["shared"])
    assert abs(float(own.mean()) - 0.004) < 4 * 0.004 / np.sqrt(2 * len(runs))
    for name in ("sigma", "shared"):
        assert float(az.ess(draws[name])) > 200, name


# convergence checks


def test_too_few_draws_fail_the_gate_with_every_reason(cerebras: Runs) -> None:
    diagnostics = fit(cerebras, "kaplan_compute", draws=20, chains=2).diagnostics
    assert not diagnostics["passed"]
    assert diagnostics["attempts"] == 3  # it tried harder by itself first
    assert any("effective draws, below 400" in reason for reason in diagnostics["reasons"])


# what people know of PyMC and ArviZ


def test_arviz_works_on_the_tree(chinchilla_posterior: Posterior) -> None:
    tree = chinchilla_posterior.tree
    summary = az.summary(tree, var_names=["alpha", "beta"], round_to="none")
    assert summary["r_hat"].max() < 1.01
    loo = az.loo(tree)
    assert loo.elpd > 0
    sensitivity = az.psense_summary(tree, var_names=["E", "alpha", "beta"])
    assert (sensitivity["prior"] < sensitivity["likelihood"]).all()


def test_stored_log_likelihood_is_pymcs_own(
    chinchilla_posterior: Posterior, chinchilla_runs: Runs
) -> None:
    with build_model(chinchilla_runs, load_card("chinchilla").without_drift()):
        draws = chinchilla_posterior.tree["posterior"].to_dataset().isel(draw=slice(0, 5))
        theirs = pm.compute_log_likelihood(
            az.from_dict({"posterior": {k: v.values for k, v in draws.data_vars.items()}}),
            extend_inferencedata=False,
            progressbar=False,
        )
    ours = chinchilla_posterior.tree["log_likelihood"]["log_loss"].isel(draw=slice(0, 5))
    np.testing.assert_allclose(np.asarray(theirs["log_loss"]), ours, rtol=1e-6, atol=1e-8)


def test_prior_and_predictions_are_stored(chinchilla_posterior: Posterior) -> None:
    tree = chinchilla_posterior.tree
    observed = tree["observed_data"]["log_loss"]
    predicted = tree["posterior_predictive"]["log_loss"]
    low, high = predicted.quantile([0.05, 0.95], ("chain", "draw"))
    assert float(((low < observed) & (observed < high)).mean()) == pytest.approx(0.9, abs=0.06)
    wide = tree["prior_predictive"]["log_loss"].std() / predicted.std(("chain", "draw")).mean()
    assert float(wide) > 10


# bad input


def test_a_fit_refuses_what_it_cannot_use(cerebras: Runs) -> None:
    with pytest.raises(RunLogError, match="at least two of different size"):
        fit(cerebras.take(np.arange(7) == 0))
    with pytest.raises(CardError, match="not for law"):
        fit(cerebras, "kaplan", card="chinchilla")
    with pytest.raises(ValueError, match="draws is 3, but must be at least 10"):
        fit(cerebras, "kaplan_compute", draws=3)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS.values(), ids=lambda law: law.name)
def test_every_law_fits_runs_of_its_own(law) -> None:
    card = load_card(law.name)
    drawn = card.draw_prior(2001, seed=7)
    values = {name: float(np.median(drawn[name])) for name in law.coefficients}
    log = grid_log(n=8)
    scales = {"params": log["params"], "tokens": log["tokens"]}
    scales["flops"] = 6 * scales["params"] * scales["tokens"]
    n = len(log)
    scales |= {
        "unique_tokens": scales["tokens"] / np.resize([1, 4, 1, 16], n),
        "kept_fraction": np.resize([1.0, 0.5, 0.2], n),
        "lm_loss": np.linspace(5.0, 2.5, n),
        "experts": np.resize([1.0, 4.0, 16.0, 64.0], n),
        "vocabulary": np.resize([4e3, 3e4, 1e5], n),
        "characters": 4 * scales["tokens"],
    }
    frame = simulate(law, values, {name: scales[name] for name in law.inputs}, seed=1)
    if not {"params", "tokens", "flops"} & set(law.inputs):
        frame["params"] = scales["params"]  # every log has one of them
    posterior = fit(frame, law)
    assert posterior.diagnostics["passed"]
    further = {"kept_fraction": 1.0, "lm_loss": 0.4}
    place = {name: further.get(name, 1e2) * float(scales[name].max()) for name in law.inputs}
    found = posterior.exact.loss({name: xr.DataArray(x) for name, x in place.items()})
    error = np.log(found) - np.log(law.loss(**place, **values))
    assert abs(float(error.mean())) < 3 * float(error.std())
