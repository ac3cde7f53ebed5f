"""A model's functions as machine code: what nutpie calls, with a model's graphs inside."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayescale.inference.compiled import coordinates
from bayescale.inference.compiled.graph_source import Source, graph_source
from bayescale.inference.compiled.llvm_module import Translation, object_code
from bayescale.inference.compiled.special import special_functions

if TYPE_CHECKING:
    import pymc as pm

_POINT = """\
x = np.empty(({n},), np.float64)
set_point(z, x, linear, products)
"""
_HEADS = {"density": _POINT, "stored": _POINT, "start": ""}
_ENDS = {
    "density": """\
value[0] = {0}
slopes = {1}.copy()
set_gradient(slopes, x, gradient, linear, products)
return status(value[0], gradient)
""",
    "stored": "out[:] = {0}\nreturn 0\n",
    "start": "out[:] = {0}\nreturn 0\n",
}
"""What precedes and follows the lines of a graph: its outputs by number."""

_N_NUMBERS = {"density": 1, "stored": 2, "start": 0}
"""How many lengths nutpie passes before the pointers."""

_FAILED = {"density": 1, "stored": -2, "start": -2}
"""What the functions return where they fail."""


def model_code(
    shared: dict[str, np.ndarray], functions: Mapping[str, Any], n_dim: int, n_stored: int
) -> bytes:
    """Return the machine code of a model for its data, dimension and stored values.

    Parameters
    ----------
    shared : dict of str to numpy.ndarray
        The data by name.
    functions : mapping of str to pytensor function
        ``density``, ``stored`` and ``start``: functions of a point, if any, and of data.
    """
    own = (
        coordinates.share_at,
        coordinates.set_point,
        coordinates.set_gradient,
        coordinates.status,
    )
    translation = Translation(special_functions() | {made.__name__: made for made in own})
    names = {name: f"data{i}" for i, name in enumerate(shared)}
    data = {names[name]: (value.dtype.name, value.ndim) for name, value in shared.items()}
    data |= {"linear": ("float64", 2), "products": ("int64", 2)}
    vectors = {
        "density": {"z": n_dim, "gradient": n_dim, "value": 1},
        "stored": {"z": n_dim, "out": n_stored},
        "start": {"out": n_dim},
    }
    for name, function in functions.items():
        point = [] if name == "start" else ["x"]
        given = [*point, *(names[variable.name] for variable in function.get_shared())]
        source = graph_source(function.maker.fgraph, given)
        text = _function(name, _HEADS[name].format(n=n_dim), source)
        passed = _N_NUMBERS[name], vectors[name], data
        translation.add_entry(text, source.constants, *passed, failed=_FAILED[name])
    return object_code(translation.module)


def _function(name: str, head: str, source: Source) -> str:
    ends = _ENDS[name].format(*source.outputs)
    lines = [*head.splitlines(), *source.lines, *ends.splitlines()]
    return "\n".join([f"def {name}():", *(f"    {line}" for line in lines)])


def variable_places(model: "pm.Model", shapes: Any) -> dict[str, tuple[int, int]]:
    """Return the start and stop of each sampled variable among a point's coordinates, by name."""
    names = [model.rvs_to_values[variable].name for variable in model.free_RVs]
    ends = np.cumsum([0, *(int(np.prod(shapes[2][list(shapes[0]).index(name)])) for name in names)])
    return {
        name: (int(start), int(stop))
        for name, start, stop in zip(names, ends[:-1], ends[1:], strict=True)
    }
