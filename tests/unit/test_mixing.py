"""Convergence statistics of many scalars at once: the numbers of ArviZ."""

import warnings

import numpy as np
import pytest
import xarray as xr

from bayescale.inference import mixing as module
from bayescale.inference.diagnostics import arviz_stats, leave_one_out
from bayescale.inference.mixing import ess_of_mean, mixing


def chains(n_chains: int, n_draws: int, n: int = 9) -> np.ndarray:
    """Draws from hardly to strongly correlated, of which some repeat, as rejected ones do."""
    rng = np.random.default_rng(n_draws)
    draws, along = rng.standard_normal((n_chains, n_draws, n)), np.linspace(-0.9, 0.99, n)
    repeats = rng.random(draws.shape) < 0.2
    for i in range(1, n_draws):
        moved = along * draws[:, i - 1] + draws[:, i]
        draws[:, i] = np.where(repeats[:, i], draws[:, i - 1], moved)
    draws[0, :, 1] += 1.0  # a chain that lies elsewhere
    draws[:, :, 2] = draws[:, :, 2].round()
    return draws


@pytest.mark.parametrize(
    ("n_chains", "n_draws"), [(4, 500), (2, 101), (4, 10), (3, 5), (1, 50), (2, 3)]
)
def test_convergence_statistics_are_those_of_arviz(
    n_chains: int, n_draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = chains(n_chains, n_draws)
    draws[:, :, 3] = 7.0
    draws[0, 0, 4] = np.nan
    draws[0, 0, 5] = np.inf
    monkeypatch.setattr(module, "AT_ONCE", 2 * n_chains * n_draws)  # several parts
    found, mean = mixing(draws), ess_of_mean(draws)
    of_arviz, data = arviz_stats(), xr.Dataset({"x": (("chain", "draw", "i"), draws)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [of_arviz.rhat(data)]
        expected += [of_arviz.ess(data, method=how) for how in ("bulk", "tail", "mean")]
    finite = np.arange(9) != 5  # ArviZ ranks an infinite draw like any other
    for own, of_x in zip((*found, mean), expected, strict=True):
        np.testing.assert_allclose(own[finite], of_x["x"].values[finite], rtol=1e-9)
        assert np.isnan(own[5])


def test_leaving_one_out_is_that_of_arviz() -> None:
    rng = np.random.default_rng(0)
    posterior, values = chains(4, 250), rng.standard_normal(6)
    log_mean = 0.3 * posterior[:, :, 3:4] * np.linspace(-1.0, 2.0, 6)
    density = -((values - log_mean) ** 2) / 2
    dims = ("chain", "draw", "run")
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {"x": (("chain", "draw", "i"), posterior), "E": (dims[:2], posterior[:, :, 3])}
            ),
            "log_likelihood": xr.Dataset(
                {"log_loss": (dims, density)}, coords={"run": [*"abcdef"]}
            ),
        }
    )
    found = leave_one_out(tree, values, log_mean, 0.5 + 0 * log_mean, ["E"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = arviz_stats().loo(tree, pointwise=True)
    np.testing.assert_allclose(found["elpd"], expected.elpd_i, rtol=1e-9)
    np.testing.assert_allclose(found["pareto_k"], expected.pareto_k, rtol=1e-9)
