"""Recipes that are sampled together: differences are recovered, and forecasts are the model's."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayescale.decisions.versus import versus
from bayescale.inference.recipes import fit_recipes
from bayescale.posterior.recipes import Recipes
from bayescale.runs import Runs, read_runs

pytestmark = pytest.mark.integration

DIFFERENCE = 0.02
NOISE = 0.002


def log(difference: float, seed: int = 0) -> Runs:
    rng, rows = np.random.default_rng(seed), []
    for name, off in (("a", 0.0), ("b", difference)):
        for n in (1e7, 3e7, 1e8, 3e8):
            for ratio in (10, 20, 40):
                mean = 1.7 + 400 / n**0.34 + 410 / (n * ratio) ** 0.28
                loss = mean * np.exp(off + NOISE * rng.standard_normal())
                rows.append((f"{name} {n:g} {ratio}", name, n, n * ratio, loss))
    columns = ["run_id", "family", "params", "tokens", "loss"]
    return read_runs(pd.DataFrame(rows, columns=columns))


@pytest.fixture(scope="module")
def fitted() -> Recipes:
    return fit_recipes(log(DIFFERENCE), draws=500)


def test_the_difference_is_recovered_and_the_better_recipe_is_sure(fitted: Recipes) -> None:
    assert fitted.diagnostics["passed"]
    result = versus(fitted, params=1e8, tokens=2e9)
    gap = result.log_loss[1] - result.log_loss[0]
    low, high = np.quantile(gap, [0.05, 0.95])
    assert low < DIFFERENCE < high
    assert high - low < 0.01
    assert result.p_better(0, 1) > 0.99


def test_losses_at_the_runs_are_those_that_were_sampled(fitted: Recipes) -> None:
    """The law that is sampled is the law that forecasts: residuals have the scale of the noise."""
    runs = fitted.runs
    inputs = {name: xr.DataArray(runs[name], dims="run") for name in ("params", "tokens")}
    found = fitted.log_loss(inputs)
    own = xr.DataArray([fitted.names.index(name) for name in runs["family"]], dims="run")
    residual = np.log(runs["loss"]) - found.isel(recipe=own).mean(("chain", "draw"))
    assert float(np.abs(residual).max()) < 4 * NOISE
    assert float(fitted.draws["sigma"].median()) == pytest.approx(NOISE, rel=0.6)


def test_equal_recipes_are_not_told_apart() -> None:
    result = versus(fit_recipes(log(0.0, seed=1), draws=500), flops="1e21")
    assert 0.05 < result.p_better(0, 1) < 0.95
    assert str(result).startswith(("No preference", "a is better", "b is better"))
