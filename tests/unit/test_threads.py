"""Linear algebra under the sampler keeps to one thread."""

import numpy as np
import pymc as pm
import pytest
from threadpoolctl import threadpool_info

from bayescale.inference.nuts import nutpie, sampling


def blas_threads() -> set[int]:
    np.linalg.cholesky(np.eye(3))  # so that its library is loaded
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.integration
def test_blas_has_one_thread_while_chains_sample_and_its_own_number_afterwards() -> None:
    with pm.Model() as model:
        pm.Normal("x")
    compiled = nutpie.compile_pymc_model(model, backend="numba")
    before = blas_threads()
    how = {"draws": 10, "tune": 10, "chains": 1, "cores": 1, "seed": 0, "target_accept": 0.8}
    with sampling(compiled, **how) as wait:
        assert blas_threads() == {1}
        wait()
    assert blas_threads() == before
