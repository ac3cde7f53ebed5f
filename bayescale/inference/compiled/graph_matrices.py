"""The lines of operations on matrices: see :mod:`bayescale.inference.compiled.graph_source`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytensor.tensor import basic, math
from pytensor.tensor.linalg.decomposition.cholesky import Cholesky
from pytensor.tensor.linalg.solvers.psd import CholeskySolve
from pytensor.tensor.linalg.solvers.triangular import SolveTriangular

from bayescale.inference.compiled.graph_operations import no_source, write
from bayescale.inference.compiled.graph_source import Source, Value, join, ones_of


@write.register(math.Dot)
def _(op: Any, node: Any, source: Source) -> None:
    (left, right), output = node.inputs, node.outputs[0]
    row, column = ones_of(left)[0], ones_of(right)[-1]
    if row == column or ones_of(left)[1]:
        factors = [source.array(x) for x in node.inputs]
        lengths = [source.length(name, axis) for axis, name in enumerate(factors)]
        source.set_array(output, _computed("product", factors, lengths, output, source))
    elif column:
        _set_product(output, left, right, transposed=False, source=source)
    else:
        _set_product(output, right, left, transposed=True, source=source)


def _computed(
    function: str, given: Sequence[str], lengths: Sequence[str], output: Any, source: Source
) -> str:
    """Add an array that a function computes."""
    name = source.empty(output, lengths)
    source.lines.append(f"{function}({join([*given, name])})")
    return name


def _set_product(
    output: Any, matrix: Any, vector: Any, *, transposed: bool, source: Source
) -> None:
    """Add the product of a matrix, transposed or not, and a vector of one row or column."""
    value, x = source.value(matrix), source.indexed(vector)
    if value.ndim != 2 or x.ndim != 1:
        value, x = Value(source.array(matrix), (0, 1), 2), Value(_flat(vector, source), (0,), 1)
    as_stored = (value.axes == (0, 1)) != transposed
    function, axis = ("times", 0) if as_stored else ("transposed_times", 1)
    lengths = [source.length(value.name, axis)]
    name = _computed(function, [value.name, x.name], lengths, output, source)
    source.set_squeezed(output, name)


def _flat(variable: Any, source: Source) -> str:
    return source.let(f"{source.array(variable)}.ravel()")


@write.register(basic.ExtractDiag)
def _(op: Any, node: Any, source: Source) -> None:
    value = source.value(node.inputs[0])
    if op.offset or op.axis1 or op.axis2 != 1 or len(value.axes) != 2 or value.ndim != 2:
        raise no_source(op)
    length = source.let(f"min({join(source.length(value.name, axis) for axis in (0, 1))})")
    name = source.empty(node.outputs[0], [length], f"{value.name}[i0, i0]")
    source.set_array(node.outputs[0], name)


@write.register(basic.AllocDiag)
def _(op: Any, node: Any, source: Source) -> None:
    if op.offset or op.axis1 or op.axis2 != 1 or node.inputs[0].type.ndim != 1:
        raise no_source(op)
    diagonal = source.array(node.inputs[0])
    length = source.length(diagonal, 0)
    name = source.empty(node.outputs[0], [length, length], "0.0")
    source.loop(["i0"], [length], [f"{name}[i0, i0] = {diagonal}[i0]"])
    source.set_array(node.outputs[0], name)


@write.register(Cholesky)
def _(op: Any, node: Any, source: Source) -> None:
    if not op.lower:
        raise no_source(op)
    name = source.array(node.inputs[0])
    lengths = [source.length(name, axis) for axis in (0, 1)]
    source.set_array(
        node.outputs[0], _computed("cholesky", [name], lengths, node.outputs[0], source)
    )


_SOLVERS: Mapping[tuple[bool, bool], str] = {
    (True, False): "solve_lower",
    (False, True): "solve_lower_transposed",
}
"""Functions that solve equations, by whether the matrix is lower triangular, and stored so that it
is transposed."""


@write.register(SolveTriangular)
def _(op: Any, node: Any, source: Source) -> None:
    value = source.value(node.inputs[0])
    transposed = value.axes == (1, 0)
    solver = _SOLVERS.get((op.lower, transposed))
    if op.unit_diagonal or solver is None or value.ndim != 2:
        raise no_source(op)
    _solve(node, op.b_ndim, [solver], value.name, source)


@write.register(CholeskySolve)
def _(op: Any, node: Any, source: Source) -> None:
    value = source.value(node.inputs[0])  # the lower factor, or its transpose as an upper one
    if value.axes != ((0, 1) if op.lower else (1, 0)) or value.ndim != 2:
        raise no_source(op)
    _solve(node, op.b_ndim, _SOLVERS.values(), value.name, source)


def _solve(node: Any, n_dims: int, solvers: Iterable[str], matrix: str, source: Source) -> None:
    """Add the solution of equations, by one function after the other on the right-hand side."""
    found = source.let(f"{source.array(node.inputs[1])}.copy()")
    columns = found if n_dims == 2 else source.let(f"{found}.reshape((-1, 1))")
    source.lines += [f"{solver}({matrix}, {columns})" for solver in solvers]
    source.set_array(node.outputs[0], found)
