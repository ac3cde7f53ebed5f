"""Functions as machine code: translated from Python, optimized by LLVM, and loaded again.

numba can compile the same functions, but its type inference and its own passes take several times
as long as LLVM. This uses llvmlite, which is numba's interface to LLVM.
"""

import ast
import inspect
import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir

from bayescale.inference.compiled.llvm_arrays import IN_MEMORY, NOTHING, POINTER, Array, Memory
from bayescale.inference.compiled.llvm_body import Body, passed
from bayescale.inference.compiled.llvm_numbers import FLOAT, INT, integer, unknown
from bayescale.inference.compiled.vector_math import addresses, with_vectors

_RETURNED = {"float": FLOAT, "int": INT, "None": NOTHING}
"""What a function returns by its annotation."""


class Translation:
    """A module of LLVM with the functions that were translated.

    Parameters
    ----------
    functions : mapping of str to function
        Functions that others may call, by the names of the calls. They return nothing or a number:
        an integer only if all arguments are, unless the annotation is float or int. Arrays that
        they are given have to be contiguous, and those that they change have to be none of the
        others.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.module = ir.Module()
        self.memory = Memory(self.module)
        self._functions = functions
        self._made: dict[Any, ir.Function] = {}
        self._constants: dict[int, tuple[np.ndarray, Array]] = {}

    def add_entry(
        self,
        source: str,
        constants: Mapping[str, np.ndarray],
        n_numbers: int,
        pointers: Mapping[str, int],
        data: Mapping[str, tuple[str, int]],
        *,
        failed: int,
    ) -> None:
        """Add a function that is called from outside, and returns a status.

        Parameters
        ----------
        source : str
            A function of the arrays in ``pointers`` and ``data``. It returns an integer.
        constants : mapping of str to numpy.ndarray
            Arrays that it uses by name.
        n_numbers : int
            Number of integers that the caller passes first, which are not used.
        pointers : mapping of str to int
            Vectors of floats by name, and their lengths. The caller passes a pointer to each next.
        data : mapping of str to (str, int)
            Arrays by name, with their type and number of dims. The caller passes a pointer to the
            address and the shape of each of them in turn last.
        failed : int
            What is returned where ValueError is raised, or memory is short.
        """
        [tree] = ast.parse(source).body
        assert isinstance(tree, ast.FunctionDef)
        types = [INT] * n_numbers + [POINTER] * (len(pointers) + 1)
        made = ir.Function(self.module, ir.FunctionType(INT, types), tree.name)
        body = Body(self, made, tree, constants)
        *given, words = made.args[n_numbers:]
        for pointer, (name, length) in zip(given, pointers.items(), strict=True):
            pointer.add_attribute("noalias")
            body.names[name] = body.whole("float64", pointer, [integer(length)])
        place = 0
        for name, (kind, ndim) in data.items():
            addresses = [body.place(words, INT, integer(place + i)) for i in range(1 + ndim)]
            start, *lengths = (body.b.load(address, typ=INT) for address in addresses)
            body.names[name] = body.whole(kind, body.b.inttoptr(start, POINTER), lengths)
            place += 1 + ndim
        body.write(failed)

    def called(self, name: str, given: Sequence[Any]) -> ir.Function:
        """Return the function of this name, translated for arguments of these types."""
        if name not in self._functions:
            raise unknown(name)
        types = [(x.kind, len(x.lengths)) if isinstance(x, Array) else x.type for x in given]
        key = name, *map(str, types)
        if key not in self._made:
            self._made[key] = self._translated(self._functions[name], given)
        return self._made[key]

    def _translated(self, function: Any, given: Sequence[Any]) -> ir.Function:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        assert isinstance(tree, ast.FunctionDef)
        types = [x.type for x in passed(given)]
        returned = _RETURNED.get(ast.unparse(tree.returns) if tree.returns else "")
        returned = returned or (FLOAT if FLOAT in types else INT)
        name = f"{tree.name}.{len(self._made)}"
        made = ir.Function(self.module, ir.FunctionType(returned, types), name)
        made.linkage = "internal"
        outer = inspect.getclosurevars(function)
        body = Body(self, made, tree, {**outer.globals, **outer.nonlocals})
        values = iter(made.args)
        for argument, x in zip(tree.args.args, given, strict=True):
            value: Any = next(values)
            if isinstance(x, Array):
                value.add_attribute("noalias")
                value = body.whole(x.kind, value, [next(values) for _ in x.lengths])
            body.set_argument(argument.arg, value)
        body.write()
        return made

    def constant(self, value: np.ndarray) -> Array:
        """Return an array of the module that never changes."""
        if id(value) not in self._constants:
            kind = ir.ArrayType(IN_MEMORY[value.dtype.name], value.size)
            data: Any = ir.GlobalVariable(self.module, kind, f"constant{len(self._constants)}")
            data.initializer = ir.Constant(kind, [x * 1 for x in value.ravel().tolist()])
            data.global_constant, data.linkage = True, "internal"
            strides = (integer(math.prod(value.shape[axis + 1 :])) for axis in range(value.ndim))
            lengths = map(integer, value.shape)
            array = Array(value.dtype.name, data, tuple(lengths), tuple(strides))
            self._constants[id(value)] = value, array  # while it is kept, its id is its own
        return self._constants[id(value)][1]


def processor() -> str:
    """Return what machine code is for: this computer's processor, and functions of vectors."""
    return " ".join([binding.get_host_cpu_name(), _features(), *addresses()])


def _features() -> str:
    try:
        return binding.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know them on all systems
        return ""


@cache
def _target() -> binding.TargetMachine:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=_features(),
        opt=3,
        reloc="pic",
        codemodel="default",
    )


@cache
def _linker() -> binding.orcjit.LLJIT:
    return binding.create_lljit_compiler(_target())


_numbers = itertools.count()


def object_code(module: ir.Module) -> bytes:
    """Return the machine code of a module, for the processor of this computer."""
    target = _target()
    module.triple, module.data_layout = target.triple, str(target.target_data)
    parsed = binding.parse_assembly(with_vectors(str(module)))
    parsed.verify()
    tuning = binding.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    passes = binding.create_pass_builder(target, tuning)
    passes.getModulePassManager().run(parsed, passes)
    return target.emit_object(parsed)


def load(code: bytes, names: Iterable[str]) -> Any:
    """Return machine code in memory: addresses of functions by name, while the object exists."""
    library = binding.JITLibraryBuilder().add_object_img(code).add_current_process()
    for name, address in addresses().items():
        library.import_symbol(name, address)
    for name in names:
        library.export_symbol(name)
    return library.link(_linker(), f"bayescale{next(_numbers)}")
