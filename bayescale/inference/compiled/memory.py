"""Memory that a gradient gives back and the next one asks for again."""

import ctypes
from functools import cache

LONG = 16_384
"""Values in an array from which glibc's malloc asks the system for it: 128 KiB of them."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT, _LARGEST = 128 * 2**20, 32 * 2**20


@cache
def keep_freed() -> None:
    """Have this process keep up to 128 MiB of what is freed, where its C library is glibc.

    By default arrays of a long log go back to the system when a gradient is done: half of the
    time would go into clearing the same pages for the next one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _KEPT)
