"""The number of threads of linear algebra while sampling."""

from contextlib import AbstractContextManager

import threadpoolctl


def one_blas_thread() -> AbstractContextManager[object]:
    """Limit linear algebra to one thread while a block runs.

    Chains already use all cores, and matrices are small. With threads of its own, BLAS waits for
    cores that are in use. The search for modes uses BLAS, and so do the gradients of a model that
    nutpie itself compiled. Modes and draws of 12 runs take 7 seconds with the limit, and 20 to 24
    seconds without it, on two busy cores.
    """
    return threadpoolctl.threadpool_limits(limits=1, user_api="blas")
