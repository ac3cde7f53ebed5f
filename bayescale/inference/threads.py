"""The number of threads of linear algebra while sampling."""

from contextlib import AbstractContextManager

import threadpoolctl


def one_blas_thread() -> AbstractContextManager[object]:
    """Limit linear algebra to one thread while a block runs.

    Chains already use all cores, and the matrices of one gradient are small. With threads of its
    own, BLAS waits for cores that the chains use: a fit of 12 runs took 52 seconds instead of 6 on
    two busy cores.
    """
    return threadpoolctl.threadpool_limits(limits=1, user_api="blas")
