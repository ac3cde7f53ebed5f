"""Source of generated functions, run as machine code and as Python."""

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayescale.inference.compiled.llvm_module import Translation, load, object_code
from bayescale.inference.compiled.special import special_functions

FAILED = 7


def source_of(lines: Sequence[str]) -> str:
    return "\n".join(["def computed():", *(f"    {line}" for line in (*lines, "return 0"))])


def translated(lines: Sequence[str], arrays: Mapping[str, np.ndarray], constants=None, **others):
    """The translation of a function of arrays, which it can change."""
    translation = Translation({**special_functions(), **others})
    data = {name: (array.dtype.name, array.ndim) for name, array in arrays.items()}
    translation.add_entry(source_of(lines), constants or {}, 0, {}, data, failed=FAILED)
    return translation


def run(
    lines: Sequence[str], arrays: Mapping[str, np.ndarray], constants=None, times=1, **others: Any
) -> None:
    """Run lines as machine code; ValueError if they fail the last time."""
    translation = translated(lines, arrays, constants, **others)
    library = load(object_code(translation.module), ["computed"])
    words = [word for array in arrays.values() for word in (array.ctypes.data, *array.shape)]
    passed = np.array(words, dtype=np.int64)
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
    for _ in range(times):
        status = call(library["computed"])(passed.ctypes.data)
    assert status in (0, FAILED)
    if status:
        raise ValueError


def run_in_python(
    lines: Sequence[str], arrays: Mapping[str, np.ndarray], constants=None, **others: Any
) -> None:
    """Run lines as Python."""
    names = {"np": np, "math": math, **special_functions(), **arrays, **(constants or {}), **others}
    with np.errstate(all="ignore"):
        exec(source_of(lines), names)
        names["computed"]()


def stored_at(compiled: Any, point: np.ndarray) -> np.ndarray:
    """Return what a compiled model stores of a draw at a point."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    call = ctypes.CFUNCTYPE(number, ctypes.c_uint64, ctypes.c_uint64, *[pointer] * 3)
    values = np.empty(compiled.n_expanded)
    places = (array.ctypes.data for array in (point, values, compiled.user_data))
    assert call(compiled.compiled_expand_func.address)(len(point), len(values), *places) == 0
    return values
