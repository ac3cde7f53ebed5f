"""The body of a function in a small part of Python, translated to the language of LLVM.

The part is what generated code and :mod:`bayescale.inference.compiled.special` need: numbers,
arrays of numbers, loops over ranges, conditions, and calls. A variable has the type of the first
value that it gets, and a variable that is an array is set once. Indices are not checked. What is
not known here raises NotImplementedError.
"""

import ast
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from llvmlite import ir

from bayescale.inference.compiled.llvm_arrays import Array, Arrays, Memory
from bayescale.inference.compiled.llvm_numbers import BOOL, FAST, FLOAT, INT, integer, unknown


class _Module(Protocol):
    """The part of :class:`bayescale.inference.compiled.llvm_module.Translation` that is used."""

    memory: Memory

    def constant(self, value: np.ndarray) -> Array: ...
    def called(self, name: str, given: Sequence[Any]) -> ir.Function: ...


def passed(given: Iterable[Any]) -> list[Any]:
    """Return the values by which numbers and arrays are passed to a function."""
    parts = ([x.data, *x.lengths] if isinstance(x, Array) else [x] for x in given)
    return [part for each in parts for part in each]


class Body(Arrays):
    """The translation of one function.

    Attributes
    ----------
    names : dict
        Arrays, numbers that are set once, and the variables of loops.
    """

    def __init__(
        self,
        module: _Module,
        function: ir.Function,
        tree: ast.FunctionDef,
        outer: Mapping[str, Any],
    ) -> None:
        super().__init__(function, module.memory)
        self.names: dict[str, Any] = {}
        self._module, self._tree, self._outer = module, tree, outer
        self._slots: dict[str, Any] = {}
        self._indices: list[str] = []
        self._depth = 0
        names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
        self._times_set = Counter(node.id for node in names if isinstance(node.ctx, ast.Store))

    def set_argument(self, name: str, value: Any) -> None:
        """Set an argument, which the function may set again."""
        if name in self._times_set:
            self._times_set[name] += 1
        self._set(name, value)

    def write(self, failed: int | None = None) -> None:
        """Add the instructions of the function, which may return a status where it fails."""
        at_failure = None if failed is None else self.can_fail()
        self._write(self._tree.body)
        if not self.b.block.is_terminated:
            self.finish(None)
        if failed is not None:
            self.b.position_at_end(at_failure)
            self.finish(integer(failed))

    # statements

    def _write(self, statements: Sequence[ast.stmt]) -> None:
        for node in statements:
            if not self.b.block.is_terminated:
                self._dispatched("write", node)

    def _dispatched(self, kind: str, node: ast.AST) -> Any:
        handler = getattr(self, f"_{kind}_{type(node).__name__.lower()}", None)
        if handler is None:
            raise unknown(node)
        return handler(node)

    def _write_assign(self, node: ast.Assign) -> None:
        target, value = node.targets[0], self.value(node.value)
        if len(node.targets) > 1 or not isinstance(target, ast.Name | ast.Subscript):
            raise unknown(node)
        if isinstance(target, ast.Subscript):
            self._put(target, value)
        elif isinstance(value, Array) and (self._depth or self._times_set[target.id] > 1):
            raise unknown(node)
        else:
            self._set(target.id, value)

    def _set(self, name: str, value: Any) -> None:
        if self._times_set[name] <= 1:
            self.names[name] = value
            return
        if name not in self._slots:
            with self.b.goto_entry_block():
                self._slots[name] = self.b.alloca(value.type)
        slot = self._slots[name]
        self.b.store(self.converted(value, slot.allocated_type), slot)

    def _write_augassign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Subscript):
            self._put(node.target, self.value(node.value), node.op)
        elif isinstance(node.target, ast.Name):
            before = self._value_name(node.target)
            self._set(node.target.id, self.result(node.op, before, self._number(node.value)))
        else:
            raise unknown(node)

    def _put(self, target: ast.Subscript, value: Any, change: ast.operator | None = None) -> None:
        """Set or change an element or a part of an array, which the value is not part of."""
        part = self._part(target)
        if isinstance(value, Array):
            value = self.broadcast(value, part.lengths)
        with self.loops(part.lengths) as indices:
            element = self.element(value, indices) if isinstance(value, Array) else value
            if change is not None:
                element = self.result(change, self.element(part, indices), element)
            self.set_element(part, indices, element)

    def _write_for(self, node: ast.For) -> None:
        call, variable = node.iter, node.target
        if not isinstance(call, ast.Call) or not isinstance(variable, ast.Name) or node.orelse:
            raise unknown(node)
        if ast.unparse(call.func) != "range" or variable.id in self._indices:
            raise unknown(node)
        ends = [self._number(x) for x in call.args]
        start, stop, *step = [integer(0), *ends] if len(ends) == 1 else ends
        with self.loop(stop, start, *step) as index:
            self.names[variable.id] = index
            self._indices.append(variable.id)
            self._depth += 1
            self._write(node.body)
            self._depth -= 1
            self._indices.remove(variable.id)
        del self.names[variable.id]

    def _write_while(self, node: ast.While) -> None:
        test, body, after = (self._function.append_basic_block() for _ in range(3))
        self.b.branch(test)
        self.b.position_at_end(test)
        self.b.cbranch(self.converted(self._number(node.test), BOOL), body, after)
        self.b.position_at_end(body)
        self._within_block(node.body, test)
        self.b.position_at_end(after)

    def _write_if(self, node: ast.If) -> None:
        then, other, after = (self._function.append_basic_block() for _ in range(3))
        self.b.cbranch(self.converted(self._number(node.test), BOOL), then, other)
        goes_on = False
        for block, statements in ((then, node.body), (other, node.orelse)):
            self.b.position_at_end(block)
            goes_on |= self._within_block(statements, after)
        self.b.position_at_end(after)
        if not goes_on:
            self.b.unreachable()

    def _within_block(self, statements: Sequence[ast.stmt], following: ir.Block) -> bool:
        """Add statements of a block, and return whether the following block is reached."""
        self._depth += 1
        self._write(statements)
        self._depth -= 1
        goes_on = not self.b.block.is_terminated
        if goes_on:
            self.b.branch(following)
        return goes_on

    def _write_raise(self, node: ast.Raise) -> None:
        self.fail()

    def _write_return(self, node: ast.Return) -> None:
        wanted = self._function.function_type.return_type
        self.finish(node.value and self.converted(self._number(node.value), wanted))

    def _write_expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # not a docstring
            self.value(node.value)

    # values

    def value(self, node: ast.expr) -> Any:
        """Return the number or the array of an expression."""
        return self._dispatched("value", node)

    def _number(self, node: ast.expr) -> Any:
        value = self.value(node)
        if isinstance(value, Array):
            raise unknown(node)
        return value

    def _value_constant(self, node: ast.Constant) -> Any:
        return self._known(node, node.value)

    def _known(self, node: ast.expr, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._module.constant(value)
        for kind, written in ((bool, BOOL), (int, INT), (float, FLOAT)):
            if isinstance(value, kind):
                return ir.Constant(written, value)
        raise unknown(node)

    def _value_name(self, node: ast.Name) -> Any:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in self._slots:
            slot = self._slots[node.id]
            return self.b.load(slot, typ=slot.allocated_type)
        return self._known(node, self._outer.get(node.id))

    def _value_attribute(self, node: ast.Attribute) -> Any:
        if ast.unparse(node.value) not in ("np", "math") or node.attr not in ("inf", "nan", "pi"):
            raise unknown(node)
        return ir.Constant(FLOAT, getattr(math, node.attr))

    def _value_binop(self, node: ast.BinOp) -> Any:
        return self.result(node.op, self._number(node.left), self._number(node.right))

    def _value_unaryop(self, node: ast.UnaryOp) -> Any:
        value = self._number(node.operand)
        if isinstance(node.op, ast.Not):
            return self.b.not_(self.converted(value, BOOL))
        if not isinstance(node.op, ast.USub) or value.type == BOOL:
            raise unknown(node)
        return self.negative(value)

    def _value_boolop(self, node: ast.BoolOp) -> Any:
        return self.together(node.op, [self._number(x) for x in node.values])

    def _value_compare(self, node: ast.Compare) -> Any:
        values = [self._number(x) for x in (node.left, *node.comparators)]
        return self.together(ast.And(), list(map(self.compared, node.ops, values, values[1:])))

    def _value_ifexp(self, node: ast.IfExp) -> Any:
        return self.select(*(self._number(x) for x in (node.test, node.body, node.orelse)))

    # calls

    def _value_call(self, node: ast.Call) -> Any:
        owner, _, name = ast.unparse(node.func).rpartition(".")
        if node.keywords:
            raise unknown(node)
        if (owner, name) == ("np", "empty"):
            return self._empty(node)
        if owner in ("np", "math") or name in ("abs", "int", "float"):
            [argument] = node.args
            return self.function_of(name, self._number(argument))
        if isinstance(node.func, ast.Attribute):
            return self._method(node, name, self.value(node.func.value))
        given = [self.value(x) for x in node.args]
        if name in ("min", "max") and len(given) == 2:
            return self.select(
                self.compare("<" if name == "min" else ">", *given[::-1]), *given[::-1]
            )
        if not all(x.is_whole for x in given if isinstance(x, Array)):
            raise unknown(node)
        function = self._module.called(name, given)
        flags = FAST if function.function_type.return_type == FLOAT else ()
        return self.b.call(function, passed(given), fastmath=flags)

    def _empty(self, node: ast.Call) -> Array:
        shape, kind = node.args
        if not isinstance(shape, ast.Tuple) or not isinstance(kind, ast.Attribute):
            raise unknown(node)
        return self.new(kind.attr.rstrip("_"), [self._number(x) for x in shape.elts])

    def _method(self, node: ast.Call, name: str, array: Any) -> Array:
        if not isinstance(array, Array):
            raise unknown(node)
        if name == "copy":
            return self.copied(array)
        if name == "ravel":
            return self.reshaped(array, [self.times(*array.lengths, integer(1))])
        if name == "reshape" and isinstance(node.args[0], ast.Tuple):
            return self.reshaped(array, [self._number(x) for x in node.args[0].elts])
        raise unknown(node)

    # parts of arrays

    def _value_subscript(self, node: ast.Subscript) -> Any:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return self.value(node.value.value).lengths[self._number(node.slice).constant]
        part = self._part(node)
        return part if part.lengths else self.element(part, [])

    def _part(self, node: ast.Subscript) -> Array:
        array = self.value(node.value)
        entries = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if not isinstance(array, Array) or len(entries) > len(array.lengths):
            raise unknown(node)
        entries = [*entries, *[ast.Slice()] * (len(array.lengths) - len(entries))]
        return self.part(array, list(map(self._entry, entries, array.lengths)))

    def _entry(self, node: ast.expr, length: Any) -> Any:
        """Return an index from the start of an axis, or the start, stop and step of a slice."""
        if isinstance(node, ast.Slice):
            ends = (node.lower, node.upper, node.step)
            return tuple(end and self._number(end) for end in ends)
        index, nodes = self._number(node), list(ast.walk(node))
        if index.type != INT:
            raise unknown(node)
        names = {x.id for x in nodes if isinstance(x, ast.Name)}
        if names and names <= {*self._indices} and not any(isinstance(x, ast.Sub) for x in nodes):
            return index  # the variables of loops are not negative
        return self.from_start(index, length)
