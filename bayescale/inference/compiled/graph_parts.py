"""The lines of parts: see :mod:`bayescale.inference.compiled.graph_source`.

Arrays are made from parts, by joining them or by filling an array, and parts are taken from them or
changed, at slices or at looked-up places.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytensor.graph.basic import Constant
from pytensor.tensor import basic, subtensor
from pytensor.tensor.shape import Reshape, Shape_i

from bayescale.inference.compiled.graph_operations import no_source, write
from bayescale.inference.compiled.graph_source import (
    Source,
    Value,
    index_names,
    is_number,
    join,
    short_length,
)


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
        element = value.at(index_names(len(lengths)))
        source.loop(indices, ends, [f"{joined}[{join(moved)}] = {element}"])
        start = source.let(f"{start} + {length}")
    source.set_array(output, joined)


def _moved(
    lengths: Sequence[str], axis: int, start: str, length: str
) -> tuple[list[str], list[str], list[str]]:
    """Return the indices and ends of a loop over part of an array, and the places in the array."""
    names, ends = index_names(len(lengths)), list(lengths)
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
        if length == "1":  # an index of the whole array
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
        indices = index_names(len(ends))
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
