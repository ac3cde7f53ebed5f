"""A PyTensor graph as the source of one function in plain loops.

PyTensor's own linker makes a function of every operation, and numba compiles each with all that it
calls. Here a number is a variable, a short vector is several, an operation on larger arrays is a
loop, and an array that is only reduced is never stored. An array of one element counts as a number,
and reordered dims are reordered indices.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from pytensor.compile.mode import Mode
from pytensor.configdefaults import config
from pytensor.graph.basic import Constant
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.link.basic import PerformLinker
from pytensor.tensor.basic import Alloc
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.subtensor import AdvancedIncSubtensor, IncSubtensor

from bayescale.inference.compiled.scalar_source import literal


class _Linker(PerformLinker):
    """A linker that runs no C compiler for inner graphs: graphs are read, and rarely called."""

    def make_all(self, *given: Any, **options: Any) -> Any:
        with config.change_flags(cxx=""):
            return super().make_all(*given, **options)


GRAPH_MODE = Mode(
    _Linker(),
    RewriteDatabaseQuery(
        include=["fast_run"],
        exclude=["cxx_only", "BlasOpt", "inplace", "local_mul_exp_to_exp_add"],
    ),
)
"""The mode in which PyTensor rewrites a graph without operations of its linkers, or in place.

A product of exponentials is not the exponential of a sum, for which PyTensor would compute many
more exponentials: 77 in place of 19 in the gradient of a law of three terms with families.
"""

_MAKERS = (Alloc, AdvancedIncSubtensor, Elemwise, IncSubtensor)
"""Operations whose results are arrays that no other variable has part of."""

SHORT = 8
"""The largest length of a vector whose elements are variables of their own."""


@dataclass(frozen=True)
class Value:
    """What a variable of a graph is in the source, and which of its axes each dim is.

    Attributes
    ----------
    name : str
        The variable, or the text of a number.
    axes : tuple of int or None
        The variable's axis of each dim of the tensor; None for a dim of one element.
    ndim : int
        Number of axes of the variable; 0 for a number.
    elements : tuple of str
        Texts of the elements of a short vector, which has no ``name``.
    fixed : mapping of int to str
        The place along axes of the variable that no dim is; the first one if it is not stated.
    """

    name: str
    axes: tuple[int | None, ...]
    ndim: int
    elements: tuple[str, ...] = ()
    fixed: Mapping[int, str] = MappingProxyType({})

    @property
    def is_plain(self) -> bool:
        """Whether the variable is an array with the dims of the tensor."""
        same = all(axis in (None, dim) for dim, axis in enumerate(self.axes))
        return not (self.elements or self.fixed) and len(self.axes) == self.ndim and same

    def at(self, indices: Sequence[str]) -> str:
        """Return the text of an element; a short vector needs a number as the index of its dim."""
        if not self.ndim:
            return self.name
        places = [self.fixed.get(axis, "0") for axis in range(self.ndim)]
        for index, axis in zip(indices, self.axes, strict=True):
            if axis is not None:
                places[axis] = index
        return self.elements[int(places[0])] if self.elements else f"{self.name}[{join(places)}]"


def graph_source(graph: Any, arguments: Sequence[str]) -> "Source":
    """Return the lines of a function that computes the outputs of a graph.

    Parameters
    ----------
    graph : pytensor.graph.FunctionGraph
        A graph that was rewritten in :data:`GRAPH_MODE`.
    arguments : sequence of str
        Names of the inputs, which are arrays.

    Returns
    -------
    Source
        Its lines raise ValueError if lengths of arrays differ that have to be equal. They need the
        ``constants``, ``np``, ``math``, and the functions of
        :mod:`bayescale.inference.compiled.special`.

    Raises
    ------
    NotImplementedError
        If the graph has an operation that cannot be written in this way.
    """
    from bayescale.inference.compiled import (  # two modules that only register operations
        graph_matrices,  # noqa: F401
        graph_operations,
        graph_parts,  # noqa: F401
    )

    source = Source(graph, arguments)
    for node in graph.toposort():
        graph_operations.write(node.op, node, source)
    source.outputs += [source.array(x) if x.type.ndim else source.number(x) for x in graph.outputs]
    return source


def join(texts: Iterable[str]) -> str:
    """Return texts separated by commas."""
    return ", ".join(texts)


def index_names(n_dims: int) -> list[str]:
    """Return the names of the indices of an array's dims."""
    return [f"i{dim}" for dim in range(n_dims)]


def as_tuple(texts: Iterable[str]) -> str:
    """Return the text of a tuple."""
    return f"({''.join(f'{text}, ' for text in texts)})"


def is_number(variable: Any) -> bool:
    """Return whether a variable of a graph has a single element, whatever its number of dims."""
    return all(ones_of(variable))


def ones_of(variable: Any) -> tuple[bool, ...]:
    """Return of each dim of a variable of a graph whether it has one element in all cases."""
    return getattr(variable.type, "broadcastable", ())


def short_length(variable: Any) -> int:
    """Return the length of a short vector, whose other dims have one element; 0 for all others."""
    lengths = [n or 0 for n in getattr(variable.type, "shape", ()) if n != 1]
    return lengths[0] if len(lengths) == 1 and lengths[0] <= SHORT else 0


def kind_of(variable: Any) -> str:
    """Return the NumPy type of the elements of a variable; every float has double precision."""
    kinds = {"b": "bool_", "i": "int64", "u": "int64"}
    return kinds.get(np.dtype(variable.type.dtype).kind, "float64")


class Source:
    """The lines of a function so far, and what the variables of the graph are in it.

    Attributes
    ----------
    constants : dict of str to numpy.ndarray
        Arrays that the lines use by name.
    lines, outputs : list of str
        The lines of the function, and the texts of the outputs: numbers, or names of arrays.
    """

    def __init__(self, graph: Any, arguments: Iterable[str]) -> None:
        self.constants: dict[str, np.ndarray] = {}
        self.lines: list[str] = []
        self.outputs: list[str] = []
        self._graph = graph
        self._values: dict[Any, Value] = {}
        self._lengths: dict[tuple[str, int], str] = {}
        self._n_names = 0
        for variable, argument in zip(graph.inputs, arguments, strict=True):
            self.set_array(variable, argument)

    # names and lines

    def new_name(self) -> str:
        """Return a name that is not used yet."""
        self._n_names += 1
        return f"v{self._n_names}"

    def let(self, text: str) -> str:
        """Add a variable with this value, and return its name."""
        name = self.new_name()
        self.lines.append(f"{name} = {text}")
        return name

    def loop(
        self,
        indices: Sequence[str],
        lengths: Sequence[str],
        body: Sequence[str],
        before: Mapping[int, Sequence[str]] = MappingProxyType({}),
        after: Mapping[int, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """Add nested loops, and lines before and after the loop at a depth, which is inside others.

        Lines before the depth of all indices are the first ones of the innermost loop.
        """
        lines = [*before.get(len(indices), ()), *body]
        for depth in reversed(range(len(indices))):
            head = f"for {indices[depth]} in range({lengths[depth]}):"
            inner = [f"    {line}" for line in lines]
            lines = [*before.get(depth, ()), head, *inner, *after.get(depth, ())]
        self.lines += lines

    def empty(self, variable: Any, lengths: Sequence[str], fill: str = "") -> str:
        """Add an array for a variable, filled with a number or not at all, and return its name."""
        name = self.let(f"np.empty({as_tuple(lengths)}, np.{kind_of(variable)})")
        self._lengths |= {(name, axis): length for axis, length in enumerate(lengths)}
        if fill:
            indices = index_names(len(lengths))
            self.loop(indices, lengths, [f"{name}[{join(indices)}] = {fill}"])
        return name

    # variables of the graph

    def value(self, variable: Any) -> Value:
        """Return what a variable of the graph is in the source."""
        if variable not in self._values:
            if not isinstance(variable, Constant):
                raise NotImplementedError(f"{variable} has no value")
            self._set_constant(variable, np.asarray(variable.data))
        return self._values[variable]

    def _set_constant(self, variable: Any, data: np.ndarray) -> None:
        if data.size == 1:
            self.set_number(variable, literal(data))
        elif short_length(variable):
            self.set_elements(variable, map(literal, data.ravel()))
        else:
            name = self.new_name()
            self.constants[name] = np.ascontiguousarray(data, dtype=kind_of(variable))
            self.set_array(variable, name)

    def indexed(self, variable: Any) -> Value:
        """Return what a variable is, with an array in place of separate elements."""
        value = self.value(variable)
        if not value.elements:
            return value
        name = self.empty(variable, [str(len(value.elements))])
        self.lines += [f"{name}[{i}] = {element}" for i, element in enumerate(value.elements)]
        self._values[variable] = replace(value, name=name, elements=())
        return self._values[variable]

    def number(self, variable: Any) -> str:
        """Return the text of a variable of one element."""
        return self.value(variable).at(["0"] * len(ones_of(variable)))

    def array(self, variable: Any) -> str:
        """Return the name of a contiguous array with all dims of a variable."""
        value = self.indexed(variable)
        if value.ndim and value.is_plain:
            return value.name
        lengths = [self.length_of(value, dim) for dim in range(len(value.axes))]
        return self.empty(variable, lengths, value.at(index_names(len(lengths))))

    def changeable(self, variable: Any) -> str:
        """Return the name of an array with the values of a variable that may be changed."""
        value, owner = self.indexed(variable), variable.owner
        makes_array = owner is not None and isinstance(owner.op, _MAKERS)
        only_here = len(self._graph.clients.get(variable, ())) == 1
        if value.ndim and value.is_plain and makes_array and only_here:
            return value.name
        return self.let(f"{self.array(variable)}.copy()")

    def set_value(self, variable: Any, value: Value) -> None:
        """State what a variable is."""
        self._values[variable] = value

    def set_number(self, variable: Any, text: str) -> None:
        """State that a variable of one element is a number."""
        self._values[variable] = Value(text, (None,) * len(ones_of(variable)), 0)

    def set_elements(self, variable: Any, elements: Iterable[str]) -> None:
        """State the elements of a short vector."""
        axes = tuple(None if one else 0 for one in ones_of(variable))
        self._values[variable] = Value("", axes, 1, tuple(elements))

    def set_array(self, variable: Any, name: str) -> None:
        """State that a variable is an array with all of its dims."""
        ones = ones_of(variable)
        if is_number(variable):
            self.set_number(variable, self.let(f"{name}[{join(['0'] * len(ones)) or '()'}]"))
        else:
            axes = tuple(None if one else dim for dim, one in enumerate(ones))
            self._values[variable] = Value(name, axes, len(ones))

    def set_squeezed(self, variable: Any, name: str) -> None:
        """State that a variable is an array without its dims of one element."""
        ones = ones_of(variable)
        axes = iter(range(len(ones)))
        found = tuple(None if one else next(axes) for one in ones)
        self._values[variable] = Value(name, found, ones.count(False))

    def reductions(self, variable: Any, kinds: Iterable[type]) -> list[Any]:
        """Return the nodes of these kinds that use a variable, if no others use it; else none."""
        clients = [client for client, _ in self._graph.clients.get(variable, ())]
        return clients if all(type(client.op) in kinds for client in clients) else []

    # lengths

    def length(self, name: str, axis: int) -> str:
        """Return the length of an array's axis."""
        place = name, axis
        if place not in self._lengths:
            self._lengths[place] = self.let(f"{name}.shape[{axis}]")
        return self._lengths[place]

    def length_of(self, value: Value, dim: int) -> str:
        """Return the length of a dim of what a variable is."""
        axis = value.axes[dim]
        return "1" if axis is None else self.length(value.name, axis)

    def common_lengths(self, variables: Sequence[Any]) -> list[str]:
        """Return the length of each dim of more than one element, and check that all agree."""
        found = []
        for dim, ones in enumerate(zip(*map(ones_of, variables), strict=True)):
            if all(ones):
                continue
            values = [self.indexed(x) for x in variables if not ones_of(x)[dim]]
            places = [
                (value.name, axis) for value in values if (axis := value.axes[dim]) is not None
            ]
            lengths = [self.length(*place) for place in places]
            for other in dict.fromkeys(lengths[1:]):
                if other != lengths[0]:
                    self.lines += [f"if {other} != {lengths[0]}:", "    raise ValueError"]
            self._lengths |= dict.fromkeys(places, lengths[0])
            found.append(lengths[0])
        return found
