"""Long logs: a gradient works in the memory of the last one."""

import platform
import subprocess
import sys

import numpy as np
import pymc as pm
import pytest

from bayescale.inference.compiled import machine as rooms
from bayescale.inference.compiled.memory import LONG

ROUNDS = """
import ctypes, resource, sys
from bayescale.inference.compiled.memory import keep_freed

libc, size = ctypes.CDLL(None), 2**20
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "keep":
    keep_freed()
for count in (5, 20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        blocks = [libc.malloc(size) for _ in range(16)]
        for block in blocks:
            ctypes.memset(block, 1, size)
        for block in reversed(blocks):
            libc.free(block)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / count)
"""


def pages_a_round(how: str) -> float:
    command = [sys.executable, "-c", ROUNDS, how]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's own affair")
def test_what_is_freed_is_there_for_the_next_round() -> None:
    assert pages_a_round("by default") > 1000
    assert pages_a_round("keep") < 20


@pytest.mark.parametrize(("n", "asked"), [(LONG - 1, False), (LONG, True)])
def test_memory_is_kept_for_long_logs_alone(
    n: int, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(rooms, "keep_freed", lambda: calls.append(n))
    with pm.Model() as model:
        y = pm.Data("y", [1.0, 2.0])
        pm.Normal("seen", pm.Normal("mu"), 1, observed=y)
    made = rooms.machine(lambda: model)
    calls.clear()
    made.with_data(y=np.ones(n))
    assert bool(calls) is asked
