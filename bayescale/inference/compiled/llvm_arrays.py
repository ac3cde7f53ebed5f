"""Arrays in the language of LLVM: memory, parts, and loops over elements."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir

from bayescale.inference.compiled.llvm_numbers import (
    BOOL,
    FLOAT,
    INT,
    Numbers,
    integer,
    unknown,
)

POINTER, NOTHING = ir.PointerType(), ir.VoidType()

IN_MEMORY: Mapping[str, Any] = {
    "float64": FLOAT,
    "int64": INT,
    "int32": ir.IntType(32),
    "bool": ir.IntType(8),
}
"""Types of the elements of arrays."""

_MOST_ON_STACK = 64
"""The most elements of an array on the stack, where LLVM can turn them into variables."""

_HEADER = 16
"""Bytes before an array in memory, for the address of the one before it."""


@dataclass(frozen=True)
class Array:
    """An array in memory: lengths and strides of its axes, in elements."""

    kind: str
    data: Any
    lengths: tuple[Any, ...]
    strides: tuple[Any, ...]
    is_whole: bool = True


class Memory:
    """Functions of a module that allocate memory, chained in a list, and free all of the list."""

    def __init__(self, module: ir.Module) -> None:
        self.take = ir.Function(module, ir.FunctionType(POINTER, [POINTER, INT]), "take")
        self.take.return_value.add_attribute("noalias")
        self.release = ir.Function(module, ir.FunctionType(NOTHING, [POINTER]), "release")
        for function in (self.take, self.release):
            function.linkage = "internal"
            function.attributes.add("noinline")
        self._write_take(ir.Function(module, ir.FunctionType(POINTER, [INT]), "malloc"))
        self._write_release(ir.Function(module, ir.FunctionType(NOTHING, [POINTER]), "free"))

    def _write_take(self, malloc: ir.Function) -> None:
        b, (last, size) = ir.IRBuilder(self.take.append_basic_block()), self.take.args
        made = b.call(malloc, [b.add(size, integer(_HEADER))])
        with b.if_then(b.icmp_unsigned("==", made, ir.Constant(POINTER, None))):
            b.ret(made)
        b.store(b.load(last, typ=POINTER), made)
        b.store(made, last)
        b.ret(b.gep(made, [integer(_HEADER)], inbounds=True, source_etype=ir.IntType(8)))

    def _write_release(self, free: ir.Function) -> None:
        b = ir.IRBuilder(self.release.append_basic_block())
        start, test, body, after = b.block, *(b.append_basic_block() for _ in range(3))
        last = b.load(self.release.args[0], typ=POINTER)
        b.branch(test)
        b.position_at_end(test)
        one = b.phi(POINTER)
        b.cbranch(b.icmp_unsigned("!=", one, ir.Constant(POINTER, None)), body, after)
        b.position_at_end(body)
        one.add_incoming(last, start)
        one.add_incoming(b.load(one, typ=POINTER), body)
        b.call(free, [one])
        b.branch(test)
        b.position_at_end(after)
        b.ret_void()


class Arrays(Numbers):
    """Operations on the arrays of one function.

    Only a function that can fail allocates memory and compares lengths: see :meth:`can_fail`.
    """

    def __init__(self, function: ir.Function, memory: Memory) -> None:
        super().__init__(function)
        self._memory = memory
        self._taken: Any = None
        self._failed: Any = None

    def can_fail(self) -> ir.Block:
        """Let the function fail, and return the block that it then goes to."""
        with self.b.goto_entry_block():
            self._taken = self.b.alloca(POINTER)
        self.b.store(ir.Constant(POINTER, None), self._taken)
        self._failed = self._function.append_basic_block("failed")
        return self._failed

    def fail(self) -> None:
        """Go to the end of a function that can fail."""
        if self._failed is None:
            raise unknown("an error in this function")
        self.b.branch(self._failed)

    def require(self, condition: Any) -> None:
        """Fail unless a condition holds."""
        following, otherwise = (self._function.append_basic_block() for _ in range(2))
        self.b.cbranch(condition, following, otherwise)
        self.b.position_at_end(otherwise)
        self.fail()
        self.b.position_at_end(following)

    def finish(self, value: Any) -> None:
        """Return from the function, after freeing its memory."""
        if self._taken is not None:
            self.b.call(self._memory.release, [self._taken])
        if value is None:
            self.b.ret_void()
        else:
            self.b.ret(value)

    @contextmanager
    def loop(self, stop: Any, start: Any = None, step: Any = None) -> Iterator[Any]:
        """Repeat the instructions of the block for each index: from 0 by default."""
        start, step = start or integer(0), step or integer(1)
        if not isinstance(step, ir.Constant):
            raise unknown("a loop whose step is not a number")
        goes_on = "<" if step.constant > 0 else ">"
        before = self.b.block
        body, after = (self._function.append_basic_block() for _ in range(2))
        self.b.cbranch(self.b.icmp_signed(goes_on, start, stop), body, after)
        self.b.position_at_end(body)
        index = self.b.phi(INT)
        index.add_incoming(start, before)
        yield index
        if self.b.block.is_terminated:
            raise unknown("a loop that is not repeated")
        following = self.plus(index, step)
        index.add_incoming(following, self.b.block)
        self.b.cbranch(self.b.icmp_signed(goes_on, following, stop), body, after)
        self.b.position_at_end(after)

    @contextmanager
    def loops(self, lengths: Sequence[Any]) -> Iterator[list[Any]]:
        """Repeat the instructions of the block for each element of an array of these lengths."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.loop(length)) for length in lengths]

    def whole(self, kind: str, data: Any, lengths: Sequence[Any]) -> Array:
        """Return a contiguous array at a place in memory."""
        if kind not in IN_MEMORY:
            raise unknown(f"an array of {kind}")
        strides = [self.times(*lengths[axis + 1 :], integer(1)) for axis in range(len(lengths))]
        return Array(kind, data, tuple(lengths), tuple(strides))

    def new(self, kind: str, lengths: Sequence[Any]) -> Array:
        """Return a new array, whose elements are not set."""
        size, element = self.times(*lengths, integer(1)), IN_MEMORY.get(kind, INT)
        if isinstance(size, ir.Constant) and size.constant <= _MOST_ON_STACK:
            with self.b.goto_entry_block():
                return self.whole(kind, self.b.alloca(element, size), lengths)
        if self._taken is None:
            raise unknown("a large array in this function")
        data = self.b.call(self._memory.take, [self._taken, self.times(size, integer(8))])
        self.require(self.b.icmp_unsigned("!=", data, ir.Constant(POINTER, None)))
        return self.whole(kind, data, lengths)

    def place(self, data: Any, kind: Any, index: Any) -> Any:
        """Return the address of an element."""
        return self.b.gep(data, [index], inbounds=True, source_etype=kind)

    def _address(self, array: Array, indices: Sequence[Any]) -> Any:
        steps = map(self.times, indices, array.strides)
        return self.place(array.data, IN_MEMORY[array.kind], self.plus(*steps, integer(0)))

    def element(self, array: Array, indices: Sequence[Any]) -> Any:
        """Return an element as a number."""
        value = self.b.load(self._address(array, indices), typ=IN_MEMORY[array.kind])
        if array.kind == "int32":
            return self.b.sext(value, INT)
        return self.b.trunc(value, BOOL) if array.kind == "bool" else value

    def set_element(self, array: Array, indices: Sequence[Any], value: Any) -> None:
        """Set an element to a number."""
        wanted = BOOL if array.kind == "bool" else IN_MEMORY[array.kind]
        value = self.converted(value, wanted)
        stored = self.b.zext(value, IN_MEMORY["bool"]) if wanted == BOOL else value
        self.b.store(stored, self._address(array, indices))

    def broadcast(self, array: Array, lengths: Sequence[Any]) -> Array:
        """Return an array with axes of these lengths; those of length 1 are repeated."""
        if len(array.lengths) != len(lengths):
            raise unknown("an array as one of another number of dims")
        strides = list(array.strides)
        for axis, (n, length) in enumerate(zip(array.lengths, lengths, strict=True)):
            if n is length or (isinstance(n, ir.Constant) and n.constant == 1):
                strides[axis] = strides[axis] if n is length else integer(0)
                continue
            one = self.compare("==", n, integer(1))
            self.require(self.b.or_(one, self.compare("==", n, length)))
            strides[axis] = self.select(one, integer(0), strides[axis])
        return replace(array, lengths=tuple(lengths), strides=tuple(strides), is_whole=False)

    def copied(self, array: Array) -> Array:
        """Return a contiguous copy of an array."""
        made = self.new("int64" if array.kind == "int32" else array.kind, array.lengths)
        with self.loops(array.lengths) as indices:
            self.set_element(made, indices, self.element(array, indices))
        return made

    def reshaped(self, array: Array, lengths: Sequence[Any]) -> Array:
        """Return the elements of an array as an array of other lengths, one of which may be -1."""
        array = array if array.is_whole else self.copied(array)
        size, wanted = self.times(*array.lengths, integer(1)), list(lengths)
        for axis, length in enumerate(lengths):
            if isinstance(length, ir.Constant) and length.constant == -1:
                others = (*lengths[:axis], *lengths[axis + 1 :], integer(1))
                wanted[axis] = self.b.sdiv(size, self.times(*others))
        if len(wanted) > 1:
            self.require(self.b.icmp_signed("==", self.times(*wanted), size))
        return self.whole(array.kind, array.data, wanted)

    def part(self, array: Array, entries: Sequence[Any]) -> Array:
        """Return part of an array: each entry is an index, or the start, stop and step of a slice.

        An element is a part without axes.
        """
        first, lengths, strides, is_whole = [], [], [], array.is_whole
        for axis, (entry, length) in enumerate(zip(entries, array.lengths, strict=True)):
            if not isinstance(entry, tuple):
                first.append(entry)
                is_whole = False
                continue
            start, n, step = self._sliced(entry, length)
            first.append(start)
            lengths.append(n)
            strides.append(self.times(array.strides[axis], step))
            is_whole &= step.constant == 1 and (axis == 0 or entry[:2] == (None, None))
        found = replace(array, data=self._address(array, first), is_whole=is_whole)
        return replace(found, lengths=tuple(lengths), strides=tuple(strides))

    def _sliced(self, entry: tuple[Any, ...], length: Any) -> tuple[Any, Any, Any]:
        """Return the first index, the length and the step of a slice, as Python takes it."""
        start, stop, step = (*entry[:2], entry[2] or integer(1))
        if not isinstance(step, ir.Constant) or not step.constant:
            raise unknown("a slice whose step is not a number")
        if (start, stop, step.constant) == (None, None, 1):
            return integer(0), length, step
        up = step.constant > 0
        low, high = (integer(0), length) if up else (integer(-1), self.plus(length, integer(-1)))
        first = self._within(start, length, low, high) if start else (low if up else high)
        last = self._within(stop, length, low, high) if stop else (high if up else low)
        n = self.b.sub(last, first)
        if step.constant != 1:
            n = self.b.sdiv(self.plus(n, integer(step.constant - (1 if up else -1))), step)
        return first, self.select(self.compare("<", n, integer(0)), integer(0), n), step

    def _within(self, index: Any, length: Any, low: Any, high: Any) -> Any:
        """Return an end of a slice, counted from the start and within the array."""
        index = self.from_start(index, length)
        index = self.select(self.compare("<", index, low), low, index)
        return self.select(self.compare(">", index, high), high, index)

    def from_start(self, index: Any, length: Any) -> Any:
        """Return an index that is counted from the start of an axis, or from its end if below 0."""
        if isinstance(index, ir.Constant):
            return index if index.constant >= 0 else self.plus(length, index)
        return self.select(self.compare("<", index, integer(0)), self.plus(index, length), index)
