"""Work in threads, and linear algebra under the sampler, which keeps to one."""

import time

import numpy as np
import pymc as pm
import pytest
from threadpoolctl import threadpool_info

from bayescale.inference.nuts import nutpie, sampling
from bayescale.threads import MOST, in_threads


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


def test_results_of_threads_come_in_order_and_few_wait_to_be_taken() -> None:
    begun: list[int] = []

    def task(i: int) -> int:
        begun.append(i)
        time.sleep(0.02 if i % 2 else 0.0)
        return i * i

    results = in_threads(task, range(100))
    assert next(results) == 0
    time.sleep(0.2)
    assert len(begun) <= 2 * MOST + 1
    assert list(results) == [i * i for i in range(1, 100)]


def test_an_error_in_a_thread_is_raised_where_its_result_is_taken() -> None:
    results = in_threads(lambda x: 1 / x, [1.0, 0.0, 2.0])
    assert next(results) == 1.0
    with pytest.raises(ZeroDivisionError):
        next(results)
