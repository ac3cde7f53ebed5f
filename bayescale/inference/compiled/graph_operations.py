"""The lines of each operation of a graph: see :mod:`bayescale.inference.compiled.graph_source`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any

from pytensor.compile.builders import OpFromGraph
from pytensor.compile.ops import DeepCopyOp, ViewOp
from pytensor.graph.basic import Constant
from pytensor.raise_op import Assert
from pytensor.scalar.basic import ScalarOp
from pytensor.tensor import basic, math, subtensor
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.shape import Reshape, Shape_i, SpecifyShape

from bayescale.inference.compiled.graph_source import (
    Source,
    Value,
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

_WHOLE = {"0.0": "0", "1.0": "1", "-np.inf": "-(2**63 - 1)", "np.inf": "2**63 - 1"}
"""The first value of a reduction of whole numbers, by that of other numbers."""


@singledispatch
def write(op: Any, node: Any, source: Source) -> None:
    """Add the lines of one node of a graph."""
    raise no_source(op)


def no_source(op: Any) -> NotImplementedError:
    """Return the error for an operation that is not supported in this form."""
    return NotImplementedError(f"the operation {op} cannot be written as a loop")


# numbers and elements


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
        self.indices, self.lengths = _names(len(ones)), lengths
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


# vectors from parts


@write.register(Shape_i)
def _(op: Any, node: Any, source: Source) -> None:
    value = source.indexed(node.inputs[0])
    axis = value.axes[op.i]
    source.set_number(node.outputs[0], "1" if axis is None else source.length(value.name, axis))


@write.register(basic.MakeVector)
def _(op: Any, node: Any, source: Source) -> None:
    _set_vector(node.outputs[0], list(map(source.number, node.inputs)), source)


def _set_vector(variable: Any, elements: Sequence[str], source: Source) -> None:
    if len(elements) == 1:
        source.set_number(variable, elements[0])
    elif short_length(variable):
        source.set_elements(variable, elements)
    else:
        name = source.empty(variable, [str(len(elements))])
        source.lines += [f"{name}[{i}] = {element}" for i, element in enumerate(elements)]
        source.set_array(variable, name)


def _elements(variable: Any, source: Source) -> tuple[str, ...]:
    """Return the elements of a number or a short vector; none of an array."""
    value = source.value(variable)
    return value.elements if value.ndim else (value.name,)


@write.register(basic.Join)
def _(op: Any, node: Any, source: Source) -> None:
    output, parts = node.outputs[0], [_elements(part, source) for part in node.inputs]
    if output.type.ndim == 1 and all(parts):
        _set_vector(output, [element for part in parts for element in part], source)
        return
    values = list(map(source.indexed, node.inputs))
    each = [source.length_of(value, op.axis) for value in values]
    lengths = [
        next((n for value in values if (n := source.length_of(value, dim)) != "1"), "1")
        for dim in range(output.type.ndim)
    ]
    lengths[op.axis] = source.let(" + ".join(each))
    joined, start = source.empty(output, lengths), "0"
    for value, length in zip(values, each, strict=True):
        indices, ends, moved = _moved(lengths, op.axis, start, length)
        element = value.at(_names(len(lengths)))  # a part of length one has no index along the axis
        source.loop(indices, ends, [f"{joined}[{join(moved)}] = {element}"])
        start = source.let(f"{start} + {length}")
    source.set_array(output, joined)


def _names(n_dims: int) -> list[str]:
    return [f"i{dim}" for dim in range(n_dims)]


def _moved(
    lengths: Sequence[str], axis: int, start: str, length: str
) -> tuple[list[str], list[str], list[str]]:
    """Return the indices and ends of a loop over part of an array, and the places in the array."""
    names, ends = _names(len(lengths)), list(lengths)
    ends[axis] = length
    places = list(names)
    places[axis] = start if length == "1" else f"{start} + {names[axis]}"
    looped = [dim for dim in range(len(lengths)) if dim != axis or length != "1"]
    return [names[dim] for dim in looped], [ends[dim] for dim in looped], places


@write.register(basic.Split)
def _(op: Any, node: Any, source: Source) -> None:
    (variable, ends), elements = node.inputs, _elements(node.inputs[0], source)
    if elements and variable.type.ndim == 1 and isinstance(ends, Constant):
        first = 0
        for length, part in zip(ends.data.tolist(), node.outputs, strict=True):
            _set_vector(part, elements[first : first + length], source)
            first += length
        return
    name, start = source.array(variable), "0"
    lengths = [source.length(name, dim) for dim in range(variable.type.ndim)]
    for i, part in enumerate(node.outputs):
        length = source.value(ends).at([str(i)])
        if length == "1":
            axes = tuple(None if dim == op.axis else dim for dim in range(len(lengths)))
            source.set_value(part, Value(name, axes, len(lengths), fixed={op.axis: start}))
        else:
            _, of_part, moved = _moved(lengths, op.axis, start, length)
            source.set_array(part, source.empty(part, of_part, f"{name}[{join(moved)}]"))
        start = source.let(f"{start} + {length}")


@write.register(basic.Alloc)
def _(op: Any, node: Any, source: Source) -> None:
    (variable, *ends), output = node.inputs, node.outputs[0]
    if is_number(output):
        source.set_number(output, source.number(variable))
    elif short_length(output):
        elements = _elements(variable, source) or _listed(variable, short_length(output), source)
        n = short_length(output)
        source.set_elements(output, elements if len(elements) == n else elements * n)
    else:
        value = source.indexed(variable)
        lengths = [source.let(source.number(end)) for end in ends]
        indices = [f"i{dim}" for dim in range(len(ends))]
        inner = indices[len(ends) - len(value.axes) :] if value.ndim else []
        source.set_array(output, source.empty(output, lengths, value.at(inner)))


def _listed(variable: Any, n: int, source: Source) -> tuple[str, ...]:
    """Return the elements of an array of known length."""
    value = source.value(variable)
    return tuple(source.let(value.at([str(i)] * len(value.axes))) for i in range(n))


@write.register(Reshape)
def _(op: Any, node: Any, source: Source) -> None:
    (variable, ends), output = node.inputs, node.outputs[0]
    elements = _elements(variable, source)
    if len(elements) == 1:
        source.set_number(output, elements[0])
    elif elements and short_length(output):
        source.set_elements(output, elements)
    else:
        name = source.array(variable)
        flat = source.let(f"{name}.ravel()") if variable.type.ndim > 1 else name
        if op.ndim > 1:
            lengths = [source.value(ends).at([str(i)]) for i in range(op.ndim)]
            flat = source.let(f"{flat}.reshape(({join(lengths)}))")
        source.set_array(output, flat)


# parts of arrays


def _constant_index(op: Any, variable: Any, indices: Sequence[Any]) -> range | int | None:
    """Return the known places of a part of a vector, or None."""
    if variable.type.ndim != 1 or len(op.idx_list) != 1:
        return None

    def known(entry: Any) -> Any:
        found = None if entry is None else indices[entry]
        return int(found.data) if isinstance(found, Constant) else found

    entry, n = op.idx_list[0], variable.type.shape[0]
    ends = (entry.start, entry.stop, entry.step) if isinstance(entry, slice) else (entry,)
    places = list(map(known, ends))
    if n is None or not all(place is None or isinstance(place, int) for place in places):
        return None
    if isinstance(entry, slice):
        return range(*slice(*places).indices(n))
    return places[0] % n


def _index(op: Any, indices: Sequence[Any], source: Source) -> str:
    """Return the text of an index whose numbers are variables of the graph."""

    def text(entry: Any) -> str:
        return "" if entry is None else source.number(indices[entry])

    parts = []
    for entry in op.idx_list:
        if isinstance(entry, slice):
            parts.append(f"{text(entry.start)}:{text(entry.stop)}")
            parts[-1] += "" if entry.step is None else f":{text(entry.step)}"
        else:
            parts.append(text(entry))
    return join(parts)


@write.register(subtensor.Subtensor)
def _(op: Any, node: Any, source: Source) -> None:
    (variable, *indices), output = node.inputs, node.outputs[0]
    places = _constant_index(op, variable, indices)
    if isinstance(places, int):
        source.set_number(output, source.let(source.value(variable).at([str(places)])))
    elif places is not None and len(places) <= max(short_length(output), 1):
        value = source.value(variable)
        _set_vector(output, [source.let(value.at([str(place)])) for place in places], source)
    elif not output.type.ndim:
        part = f"{source.array(variable)}[{_index(op, indices, source)}]"
        source.set_number(output, source.let(part))
    elif all(entry == slice(None) or not isinstance(entry, slice) for entry in op.idx_list):
        _set_slice(op, variable, indices, output, source)
    else:
        part = source.let(f"{source.array(variable)}[{_index(op, indices, source)}]")
        steps = any(isinstance(entry, slice) and entry.step is not None for entry in op.idx_list)
        plain = len(op.idx_list) == 1 and not steps
        source.set_array(output, part if plain else source.let(f"{part}.copy()"))


def _set_slice(op: Any, variable: Any, indices: Sequence[Any], output: Any, source: Source) -> None:
    """State that a variable is what another one is at fixed places along some of its dims."""
    value = source.indexed(variable)
    axes, fixed = list(value.axes), dict(value.fixed)
    for dim, entry in enumerate(op.idx_list):
        axis = axes[dim]
        if not isinstance(entry, slice) and axis is not None:
            fixed[axis] = source.number(indices[entry])
    kept = [axis for dim, axis in enumerate(axes)
            if dim >= len(op.idx_list) or isinstance(op.idx_list[dim], slice)]  # fmt: skip
    source.set_value(output, replace(value, axes=tuple(kept), fixed=fixed))


@write.register(subtensor.IncSubtensor)
def _(op: Any, node: Any, source: Source) -> None:
    (variable, change, *indices), output = node.inputs, node.outputs[0]
    places, elements = _constant_index(op, variable, indices), _elements(variable, source)
    sign = "=" if op.set_instead_of_inc else "+="
    if places is None or not elements:
        name = source.changeable(variable)
        added = source.number(change) if is_number(change) else source.array(change)
        source.lines.append(f"{name}[{_index(op, indices, source)}] {sign} {added}")
        source.set_array(output, name)
        return
    new, value = list(elements), source.value(change)
    for i, place in enumerate([places] if isinstance(places, int) else places):
        added = value.at([str(i)] * len(value.axes))
        new[place] = added if op.set_instead_of_inc else source.let(f"{new[place]} + {added}")
    _set_vector(output, new, source)


@write.register(subtensor.AdvancedSubtensor)
def _(op: Any, node: Any, source: Source) -> None:
    variable, *rows = node.inputs
    place, indices, lengths, before = _looked_up(op, variable, rows, source)
    element = f"{source.array(variable)}[{place}]"
    name = source.empty(node.outputs[0], lengths)
    source.loop(indices, lengths, [f"{name}[{join(indices)}] = {element}"], before)
    source.set_array(node.outputs[0], name)


@write.register(subtensor.AdvancedIncSubtensor)
def _(op: Any, node: Any, source: Source) -> None:
    variable, change, *rows = node.inputs
    name = source.changeable(variable)
    place, indices, lengths, before = _looked_up(op, variable, rows, source)
    value = source.indexed(change)
    if value.ndim and len(value.axes) != len(indices):
        raise no_source(op)
    added = value.at(indices) if value.ndim else value.name
    sign = "=" if op.set_instead_of_inc else "+="
    source.loop(indices, lengths, [f"{name}[{place}] {sign} {added}"], before)
    source.set_array(node.outputs[0], name)


def _looked_up(
    op: Any, variable: Any, rows: Sequence[Any], source: Source
) -> tuple[str, list[str], list[str], dict[int, list[str]]]:
    """Return the text of a looked-up place, and indices, lengths and lines of a loop over all.

    The first axes of the variable are looked up, each in a vector of places.
    """
    vectors = all(x.type.ndim == 1 and x.type.dtype != "bool" for x in rows)
    if not vectors or any(isinstance(entry, slice) for entry in op.idx_list):
        raise no_source(op)
    places = [source.array(rows[entry]) for entry in op.idx_list]
    lengths = source.common_lengths(rows) or ["1"]
    name = source.array(variable)
    rest = range(len(places), variable.type.ndim)
    inside, at = [f"i{dim}" for dim in rest], [source.new_name() for _ in places]
    before = {1: [f"{x} = {place}[i]" for x, place in zip(at, places, strict=True)]}
    ends = [*lengths, *(source.length(name, dim) for dim in rest)]
    return join([*at, *inside]), ["i", *inside], ends, before
