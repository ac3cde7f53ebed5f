"""Shapes of a model's variables, found without a C compiler.

Measured for the law ``chinchilla`` without drift, from an empty cache: the C compiler runs 12 times
less often.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pymc as pm


@contextmanager
def shapes_without_c() -> Iterator[None]:
    """Let nutpie find the shapes of variables without running a C compiler.

    The setting stays as it is for the sampled graphs, because it decides how PyTensor rewrites
    them.
    """
    from nutpie import compile_pymc
    from pytensor.configdefaults import config

    of_nutpie: Any = compile_pymc
    original = of_nutpie._compute_shapes  # noqa: SLF001 no argument sets how shapes are found

    def compute(model: "pm.Model") -> Any:
        with config.change_flags(cxx=""):
            return original(model)

    of_nutpie._compute_shapes = compute  # noqa: SLF001
    try:
        yield
    finally:
        of_nutpie._compute_shapes = original  # noqa: SLF001
