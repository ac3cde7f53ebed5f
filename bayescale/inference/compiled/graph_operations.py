"""The lines of each operation of a graph: see :mod:`bayescale.inference.compiled.graph_source`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any

from pytensor.compile.builders import OpFromGraph
from pytensor.compile.ops import DeepCopyOp, ViewOp
from pytensor.raise_op import Assert
from pytensor.scalar.basic import ScalarOp
from pytensor.tensor import basic, math
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.shape import SpecifyShape

from bayescale.inference.compiled.graph_source import (
    Source,
    index_names,
    is_number,
    join,
    kind_of,
    ones_of,
    short_length,
)
from bayescale.inference.compiled.scalar_source import scalar_lines

_REDUCTIONS: Mapping[type, tuple[str, str]] = {
    math.All: ("True", "{} and {}"),
    math.Any: ("False", "{} or {}"),
    math.Max: ("-np.inf", "larger({}, {})"),
    math.Min: ("np.inf", "smaller({}, {})"),
    math.Prod: ("1.0", "{} * {}"),
    math.Sum: ("0.0", "{} + {}"),
}
"""The first value of a reduction and its step."""

_WHOLE = {"0.0": "0", "1.0": "1", "-np.inf": f"-{2**63 - 1}", "np.inf": f"{2**63 - 1}"}
"""The first value of a reduction of whole numbers, by that of other numbers."""


@singledispatch
def write(op: Any, node: Any, source: Source) -> None:
    """Add the lines of one node of a graph."""
    raise no_source(op)


def no_source(op: Any) -> NotImplementedError:
    """Return the error for an operation that is not supported in this form."""
    return NotImplementedError(f"the operation {op} cannot be written as a loop")


@write.register(ScalarOp)
def _(op: Any, node: Any, source: Source) -> None:
    lines, names = scalar_lines(op, list(map(source.number, node.inputs)), source.new_name)
    source.lines += lines
    for variable, name in zip(node.outputs, names, strict=True):
        source.set_number(variable, name)


@write.register(Elemwise)
def _(op: Any, node: Any, source: Source) -> None:
    n_short = short_length(node.outputs[0])
    if is_number(node.outputs[0]):
        write(op.scalar_op, node, source)
    elif n_short:
        _write_elements(op, node, n_short, source)
    else:
        _write_loop(op, node, source)


def _write_elements(op: Any, node: Any, n: int, source: Source) -> None:
    """Add each element of a short vector as a number."""
    values, each = list(map(source.value, node.inputs)), []
    for i in range(n):
        arguments = [source.let(text) if "[" in (text := value.at([str(i)] * len(value.axes)))
                     else text for value in values]  # fmt: skip
        lines, names = scalar_lines(op.scalar_op, arguments, source.new_name)
        source.lines += lines
        each.append(names)
    for variable, elements in zip(node.outputs, zip(*each, strict=True), strict=True):
        source.set_elements(variable, elements)


def _write_loop(op: Any, node: Any, source: Source) -> None:
    ones = ones_of(node.outputs[0])
    loop = _Loop(ones, source.common_lengths(node.inputs))
    names = []
    for variable in node.inputs:
        value = source.indexed(variable)
        names.append(source.new_name() if value.ndim else value.name)
        if value.ndim:
            used = [dim for dim, axis in enumerate(value.axes) if axis is not None]
            line = f"{names[-1]} = {value.at(loop.indices)}"
            loop.before[loop.depth(used)].append(line)
    loop.body, results = scalar_lines(op.scalar_op, names, source.new_name)
    for variable, result in zip(node.outputs, results, strict=True):
        reducing = source.reductions(variable, _REDUCTIONS)
        for client in reducing:
            loop.reduce(client, result, source)
        if not reducing:
            name = source.empty(variable, loop.lengths)
            loop.body.append(f"{name}[{join(loop.looped)}] = {result}")
            source.set_squeezed(variable, name)
    loop.add_to(source)


class _Loop:
    """Nested loops over the dims of an array that have more than one element."""

    def __init__(self, ones: Sequence[bool], lengths: Sequence[str]) -> None:
        self.indices, self.lengths = index_names(len(ones)), lengths
        self.dims = [dim for dim, one in enumerate(ones) if not one]
        self.looped = [self.indices[dim] for dim in self.dims]
        self.before: dict[int, list[str]] = defaultdict(list)
        self.body: list[str] = []
        self.after: dict[int, list[str]] = defaultdict(list)

    def depth(self, used: Sequence[int]) -> int:
        """Return how many of the loops have to be entered to know the indices of these dims."""
        return max((i + 1 for i, dim in enumerate(self.dims) if dim in used), default=0)

    def reduce(self, node: Any, element: str, source: Source) -> None:
        """Take an element into account in the variable of a reduction."""
        over = range(len(self.indices)) if node.op.axis is None else node.op.axis
        start, step = _REDUCTIONS[type(node.op)]
        if kind_of(node.outputs[0]) == "int64":
            start = _WHOLE[start]
        kept = [dim for dim in self.dims if dim not in over]
        lengths = [self.lengths[self.dims.index(dim)] for dim in kept]
        place = join(self.indices[dim] for dim in kept)
        together = kept == self.dims[: len(kept)]  # the loops over the rest are the inner ones
        array = source.empty(node.outputs[0], lengths, "" if together else start) if kept else ""
        name = source.new_name() if together else f"{array}[{place}]"
        if together:
            self.before[len(kept)].append(f"{name} = {start}")
            self.after[len(kept)] += [f"{array}[{place}] = {name}"] if kept else []
        self.body.append(f"{name} = {step.format(name, element)}")
        if kept:
            source.set_squeezed(node.outputs[0], array)
        else:
            source.set_number(node.outputs[0], name)

    def add_to(self, source: Source) -> None:
        """Add the loops to the lines of a function."""
        source.loop(self.looped, self.lengths, self.body, self.before, self.after)


@write.register(CAReduce)
def _(op: Any, node: Any, source: Source) -> None:
    [variable], ones = node.inputs, ones_of(node.inputs[0])
    if type(op) not in _REDUCTIONS:
        raise no_source(op)
    if is_number(variable):
        source.set_number(node.outputs[0], source.number(variable))
        return
    if short_length(variable) and is_number(node.outputs[0]):
        value, (_, step) = source.value(variable), _REDUCTIONS[type(op)]
        total = value.at(["0"] * len(ones))
        for i in range(1, short_length(variable)):
            total = source.let(step.format(total, value.at([str(i)] * len(ones))))
        source.set_number(node.outputs[0], total)
        return
    made_by = variable.owner is not None and isinstance(variable.owner.op, Elemwise)
    if made_by and not short_length(variable) and source.reductions(variable, _REDUCTIONS):
        return  # the loop that computes the elements has reduced them
    loop = _Loop(ones, source.common_lengths([variable]))
    loop.reduce(node, source.indexed(variable).at(loop.indices), source)
    loop.add_to(source)


@write.register(DimShuffle)
def _(op: Any, node: Any, source: Source) -> None:
    value = source.value(node.inputs[0])
    axes = tuple(None if dim == "x" else value.axes[dim] for dim in op.new_order)
    source.set_value(node.outputs[0], replace(value, axes=axes))


@write.register(Assert)
@write.register(DeepCopyOp)
@write.register(ViewOp)
@write.register(SpecifyShape)
@write.register(basic.ScalarFromTensor)
@write.register(basic.TensorFromScalar)
def _(op: Any, node: Any, source: Source) -> None:
    source.set_value(node.outputs[0], source.value(node.inputs[0]))


@write.register(OpFromGraph)
def _(op: Any, node: Any, source: Source) -> None:
    for inner, given in zip(op.fgraph.inputs, node.inputs, strict=True):
        source.set_value(inner, source.value(given))
    for step in op.fgraph.toposort():
        write(step.op, step, source)
    for output, inner in zip(node.outputs, op.fgraph.outputs, strict=True):
        source.set_value(output, source.value(inner))
