"""Work in threads of this process, because NumPy computes without Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

MOST = 8
"""The most threads; each holds its own arrays."""


def in_threads[Item, Result](
    task: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield the results of a task for each item, in order; only a few are computed ahead."""
    rest, n_threads = iter(items), min(MOST, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(n_threads)
    try:
        waiting = deque(pool.submit(task, item) for item in islice(rest, 2 * n_threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(task, item) for item in islice(rest, 1))
    finally:
        pool.shutdown(cancel_futures=True)
