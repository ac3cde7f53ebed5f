"""Source of the module that numba compiles and caches: a model's functions, and their wrappers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayescale.inference.compiled.graph_source import function_source
from bayescale.inference.compiled.special import NAMES

if TYPE_CHECKING:
    import pymc as pm

_SOURCE = '''\
"""Made by bayescale: the density of one model and what is stored of it, for numba to keep."""

import numpy as np
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic


@intrinsic
def pointer(typing_context, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), generate


number, numbers, anything = types.int64, types.CPointer(types.double), types.voidptr
fast = njit(
    error_model="numpy",
    fastmath={{"arcp", "contract", "afn", "reassoc", "nsz"}},
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)
{special} = {nones}  # set before compiling


{density_source}


{stored_source}


{start_source}


@njit(inline="always")
def share_at(x, first, n, of):
    """Return the share of a term, of which n log ratios to the first term start at a place."""
    top = 0.0
    for i in range(n):
        top = max(top, x[first + i])
    total = np.exp(-top)
    for i in range(n):
        total += np.exp(x[first + i] - top)
    return np.exp((x[first + of - 1] if of > 0 else 0.0) - top) / total


@njit(inline="always")
def point_at(z, x, data):
    for i in range({n_dim}):
        x[i] = z[i]
    m = data[{linear} + 1]  # linear coordinates: a row each of root, center and index
    by = carray(pointer(data[{linear}]), (m, m + 2), np.float64)
    for i in range(m):
        at = int(by[i, m + 1])
        x[at] = by[i, m]
        for j in range(m):
            x[at] += by[i, j] * z[int(by[j, m + 1])]
    k = data[{products} + 1]  # log products of exponents and shares of terms
    products = carray(pointer(data[{products}]), (k, 4), np.int64)
    for i in range(k):
        exponent, first, n, of = products[i]
        x[exponent] -= np.log(share_at(x, first, n, of))


@njit(inline="always")
def slopes_at(found, x, gradient, data):
    slopes = np.empty({n_dim})
    for i in range({n_dim}):
        slopes[i] = found[i]
    k = data[{products} + 1]
    products = carray(pointer(data[{products}]), (k, 4), np.int64)
    for i in range(k):
        exponent, first, n, of = products[i]
        for j in range(n):
            own = 1.0 if j + 1 == of else 0.0
            slopes[first + j] -= slopes[exponent] * (own - share_at(x, first, n, j + 1))
    for i in range({n_dim}):
        gradient[i] = slopes[i]
    m = data[{linear} + 1]
    by = carray(pointer(data[{linear}]), (m, m + 2), np.float64)
    for j in range(m):
        at = int(by[j, m + 1])
        gradient[at] = 0.0
        for i in range(m):
            gradient[at] += by[i, j] * slopes[int(by[i, m + 1])]


def density(dim, z_, gradient_, value_, data_):
    try:
        data = carray(data_, ({n_data},), np.int64)
        z, gradient = carray(z_, ({n_dim},)), carray(gradient_, ({n_dim},))
        x = np.empty({n_dim})
        point_at(z, x, data)
        value, found = density_inner(x{density_arguments})
        carray(value_, (1,))[0] = value
        slopes_at(found, x, gradient, data)
        finite = np.isfinite(value)
        for i in range({n_dim}):
            finite &= np.isfinite(gradient[i])
        return 0 if finite else 3
    except Exception:
        return 1


def stored(dim, n_stored, z_, out_, data_):
    try:
        data = carray(data_, ({n_data},), np.int64)
        z, out = carray(z_, ({n_dim},)), carray(out_, ({n_stored},))
        x = np.empty({n_dim})
        point_at(z, x, data)
        (values,) = stored_inner(x{stored_arguments})
        for i in range({n_stored}):
            out[i] = values[i]
        return 0
    except Exception:
        return -2


def start(out_, data_):
    try:
        data = carray(data_, ({n_data},), np.int64)
        out = carray(out_, ({n_dim},))
        (values,) = start_inner({start_arguments})
        for i in range({n_dim}):
            out[i] = values[i]
        return 0
    except Exception:
        return -2


def compiled(compiler=None):
    keep = lambda *signature: cfunc(number(*signature), cache=True, pipeline_class=compiler)
    return (
        keep(types.uint64, numbers, numbers, numbers, anything)(density),
        keep(types.uint64, types.uint64, numbers, numbers, anything)(stored),
        keep(numbers, anything)(start),
    )
'''


def module_source(
    shared: dict[str, np.ndarray], functions: Mapping[str, Any], n_dim: int, n_stored: int
) -> str:
    """Return the source of the module for a model's data, dimension and stored values.

    Parameters
    ----------
    shared : dict of str to numpy.ndarray
        The data by name.
    functions : mapping of str to pytensor function
        ``density``, ``stored`` and ``start``: functions of a point, if any, and of data.
    """
    place, words = 0, {}
    for name, value in shared.items():
        shape = "".join(f"data[{place + 1 + axis}], " for axis in range(value.ndim))
        words[name] = f"carray(pointer(data[{place}]), ({shape}), np.{value.dtype.name})"
        place += 1 + value.ndim
    texts = {}
    for name, function in functions.items():
        given = ", ".join(words[variable.name] for variable in function.get_shared())
        texts[f"{name}_arguments"] = given if name == "start" else f", {given}"
        graph = function.maker.fgraph
        arguments = [f"a{i}" for i in range(len(graph.inputs))]
        texts[f"{name}_source"] = function_source(graph, f"{name}_inner", arguments)
    sizes = {"n_data": place + 6, "linear": place, "products": place + 3}
    sizes |= {"n_dim": n_dim, "n_stored": n_stored}
    names = {"special": " = ".join(NAMES), "nones": None}
    return _SOURCE.format(**sizes, **texts, **names)


def variable_places(model: "pm.Model", shapes: Any) -> dict[str, tuple[int, int]]:
    """Return the start and stop of each sampled variable among a point's coordinates, by name."""
    names = [model.rvs_to_values[variable].name for variable in model.free_RVs]
    ends = np.cumsum([0, *(int(np.prod(shapes[2][list(shapes[0]).index(name)])) for name in names)])
    return {
        name: (int(start), int(stop))
        for name, start, stop in zip(names, ends[:-1], ends[1:], strict=True)
    }
