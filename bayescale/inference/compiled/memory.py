"""Settings of malloc that keep freed memory for the next gradient."""

import ctypes
from functools import cache

LONG = 16_384
"""Values in an array (128 KiB) from which glibc's malloc maps new pages for each one."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT, _LARGEST = 128 * 2**20, 32 * 2**20


@cache
def keep_freed() -> None:
    """Keep up to 128 MiB of freed memory in this process, where its C library is glibc.

    By default the arrays of a long log go back to the system after each gradient, and the system
    clears the same pages for the next one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _KEPT)
