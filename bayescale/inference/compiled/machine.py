"""A PyMC model as machine code for nutpie, kept on disk between processes.

nutpie wraps PyTensor's functions in code that numba types anew in every process: six to eight
seconds. The wrappers here are plain enough for numba to keep, so that a later process neither
compiles nor imports PyMC. What is kept is named by all that it depends on, checked against its
digests before it is run, and put in place whole or not at all.
"""

import ctypes
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import filelock
import numpy as np
import pandas as pd
import platformdirs

from bayescale.inference.compiled.code_generation import (
    module_source,
    plain_value,
    variable_places,
)
from bayescale.inference.compiled.digamma import use_for_numba
from bayescale.inference.compiled.lazy_imports import lazy_imports
from bayescale.inference.compiled.memory import LONG, keep_freed
from bayescale.inference.compiled.preconditioning import APART, MODES, OFF, find_mode, kinds
from bayescale.inference.nuts import CompiledModel, CompiledPyMCModel

if TYPE_CHECKING:
    import pymc as pm

MOST_KEPT = 64
LONGEST_WAIT = 120  # seconds
_MODULE, _DESCRIPTION = "functions.py", "model.json"

_OF_PYTENSOR = ("utils", *(f"numba.dispatch.{name}" for name in (
    "basic", "compile_ops", "elemwise", "scalar", "shape", "subtensor", "tensor_basic",
)))  # fmt: skip
"""Modules whose functions, once compiled, need their module no more than by name."""


@dataclass(frozen=True)
class Machine(CompiledPyMCModel):
    """What nutpie samples from: functions by their addresses, and the data that they read.

    ``user_data`` holds, for each array of ``shared_data`` in turn, its address and its shape, and
    those of ``linear`` last: of coordinates, see :meth:`preconditioned`. ``places`` are those of
    variables
    among the model's own coordinates.
    """

    start_func: Any = None
    places: Mapping[str, slice] = field(default_factory=dict)
    linear: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def with_data(self, **updates: Any) -> "Machine":
        """The same functions on other data; the lengths of arrays may change.

        Raises
        ------
        KeyError
            Of a name that the model has no data for.
        ValueError
            Of an array of another rank.
        """
        data = dict(self.shared_data)
        for name, value in updates.items():
            old = data[name]
            new = np.array(value, dtype=old.dtype, order="C", copy=True)
            if new.ndim != old.ndim:
                raise ValueError(f"{name} has {new.ndim} dimensions, but must have {old.ndim}")
            data[name] = new
        return replace(self, shared_data=data)._in(np.zeros((0, 2)))

    def preconditioned(self) -> "Machine":
        """The same, in coordinates in which chains find their way soonest, and started in them.

        Tops are climbed to from several places, and each chain starts about one of those that
        do not hold next to nothing beside the highest. Itself where there are too many
        coordinates to turn.
        """
        plain = self.initial_point_func
        free, off, steps = kinds(self.places, self.n_dim)
        places = (self.prior_center(), *map(plain, range(MODES)))
        starts = (np.where(off, OFF, np.where(steps, 0.0, place)) for place in places)
        found = (find_mode(self.density, start, free) for start in starts)
        modes = [top for top in found if top is not None]
        if not modes:
            return self
        highest = max(modes, key=lambda top: top.log_mass)
        kept = [top for top in modes if not top.is_negligible_beside(highest)]
        about = kept[0]

        def begin(seed: Any) -> np.ndarray:
            rng, point = np.random.default_rng(seed), plain(seed)
            top = kept[rng.integers(len(kept))]
            away = rng.standard_normal(self.n_dim)
            seen = about.of(np.where(free, top.point, point))
            return np.where(steps, away, seen + np.where(free, APART * away, 0.0))

        turned = self._in(np.column_stack([about.root, about.point[about.free], about.free]))
        return replace(turned, initial_point_func=begin)

    def _in(self, linear: np.ndarray) -> "Machine":
        """The same in linear coordinates: root, center and place of each that is turned, by row."""
        arrays = (*self.shared_data.values(), linear)
        if max(array.size for array in arrays) >= LONG:
            keep_freed()
        words = [word for array in arrays for word in (array.ctypes.data, *array.shape)]
        there = np.array(words, dtype=np.int64)
        made = replace(self, user_data=there, linear=linear)
        return replace(made, initial_point_func=made._begin)

    def density(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and gradient, in the coordinates that it is in; -inf where there is none."""
        value, gradient = ctypes.c_double(), np.zeros(self.n_dim)
        point = np.ascontiguousarray(point, dtype=float)
        ended = self._density(
            self.n_dim, point.ctypes.data, gradient.ctypes.data, ctypes.addressof(value),
            self.user_data.ctypes.data,
        )  # fmt: skip
        return (value.value, gradient) if ended == 0 else (-np.inf, np.zeros(self.n_dim))

    @cached_property
    def _density(self) -> Callable[..., int]:
        code: Any = self.compiled_logp_func
        number, anything = ctypes.c_uint64, ctypes.c_void_p
        return ctypes.CFUNCTYPE(ctypes.c_int64, number, *[anything] * 4)(code.address)

    def prior_center(self) -> np.ndarray:
        """The prior's center for these data, in the model's own coordinates."""
        point = np.empty(self.n_dim)
        call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
        if call(self.start_func.address)(point.ctypes.data, self.user_data.ctypes.data) != 0:
            raise FloatingPointError("the prior's center could not be computed")
        return point

    def _begin(self, seed: Any) -> np.ndarray:
        """Where a chain starts: the prior's center, moved by up to one in every coordinate."""
        return self.prior_center() + np.random.default_rng(seed).uniform(-1, 1, self.n_dim)


def machine(
    build: "Callable[[], pm.Model]", key: str | None = None, folder: Path | None = None
) -> CompiledModel:
    """The machine code of a model: kept from an earlier process, or compiled and kept.

    Parameters
    ----------
    build : callable
        Makes the model, where nothing is kept.
    key : str, optional
        All that the code depends on: it names what is kept. Without it, nothing is.
    folder : Path, optional
        Where it is kept, by default the user's cache. Code that others could write to is not
        run, and a folder that cannot be written is passed over.

    Warns
    -----
    RuntimeWarning
        Where only nutpie's own way, which is slower, could compile the model.
    """
    home = folder or Path(platformdirs.user_cache_dir("bayescale")) / "compiled"
    kept = home / hashlib.sha256((key or "").encode()).hexdigest()[:32]
    if key is None:
        return _make(build(), home, None)
    with suppress(Exception):  # whatever is wrong with what was kept, it is made anew
        return _load(kept)
    with _turn(home, kept.name):
        with suppress(Exception):  # another process may have made it meanwhile
            return _load(kept)
        return _make(build(), home, kept)


def _make(model: "pm.Model", home: Path, kept: Path | None) -> CompiledModel:
    """Compile a model, and keep it at a place of its own where one is given."""
    with tempfile.TemporaryDirectory(dir=_writable(home), prefix=".making-") as name:
        made = Path(name) / "made"
        made.mkdir(mode=0o700)
        try:
            compiled = _compile(model, made)
        except Exception as error:  # another nutpie, PyTensor or numba than this was written for
            import nutpie

            text = f"compiled by nutpie's own, slower way: {type(error).__name__}: {error}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            return nutpie.compile_pymc_model(model, backend="numba")
        if kept is not None:
            with suppress(OSError):
                _keep(made, kept)
    return compiled


@contextmanager
def _turn(home: Path, name: str) -> Iterator[None]:
    """One process compiles and the others wait for it, a while: twice the work is no harm."""
    if _writable(home) is None:
        yield
        return
    lock = filelock.FileLock(home / f".{name}.lock")
    with suppress(filelock.Timeout, OSError):
        lock.acquire(timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        lock.release()


def _writable(home: Path) -> Path | None:
    """The folder where it can be written, else None: the system's temporary one."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return home if os.access(home, os.W_OK) else None


def _keep(made: Path, kept: Path) -> None:
    """Put what was made in its place, whole; the oldest beyond ``MOST_KEPT`` go."""
    if not _digests(made):
        return  # numba keeps no code that holds addresses of this process
    if kept.exists():  # stale or corrupt, or another process was faster: either way ours is good
        kept.rename(made.parent / "old")
    made.rename(kept)
    others = sorted(kept.parent.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)
    for path in others[:-MOST_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
        (kept.parent / f".{path.name}.lock").unlink(missing_ok=True)


def _compile(model: "pm.Model", folder: Path) -> Machine:
    """Compile a model in a folder, and describe there what was compiled."""
    import pytensor.tensor as pt
    from nutpie.compile_pymc import _make_functions, _prepare_dims_and_coords
    from pymc.initial_point import make_initial_point_expression, make_initial_point_fn
    from pymc.pytensorf import compile as compile_function

    with suppress(ImportError, AttributeError):  # another PyTensor's own serves, slower to load
        use_for_numba()
    n_dim, n_stored, density, stored, _, shapes, transformed = _make_functions(
        model,
        mode="NUMBA",
        compute_grad=True,
        join_expanded=True,
        pymc_initial_point_fn=make_initial_point_fn(model=model, return_transformed=True),
    )
    points = make_initial_point_expression(
        free_rvs=model.free_RVs,
        rvs_to_transforms=model.rvs_to_transforms,
        initval_strategies={},
        return_transformed=True,
    )
    flat = pt.concatenate([pt.as_tensor_variable(point).ravel() for point in points])
    with model:
        start: Any = compile_function([], [flat], mode="NUMBA")
    functions: dict[str, Any] = {"density": density, "stored": stored, "start": start}
    shared = {
        variable.name: np.asarray(variable.get_value())
        for function in functions.values()
        for variable in function.get_shared()
    }
    arguments = {
        f"{name}_arguments": [variable.name for variable in function.get_shared()]
        for name, function in functions.items()
    }
    dims, coords = _prepare_dims_and_coords(model, shapes, transformed)
    dims = {name: list(dims[name]) for name in shapes[0] if name in dims}
    used = {dim for names in dims.values() for dim in names} | {"unconstrained_parameter"}
    description = {
        "n_dim": int(n_dim),
        "n_stored": int(n_stored),
        "names": list(shapes[0]),
        "slices": [[int(part.start), int(part.stop)] for part in shapes[1]],
        "shapes": [[int(length) for length in shape] for shape in shapes[2]],
        "transformed": list(transformed),
        "places": variable_places(model, shapes),
        "dims": dims,
        "coords": {name: list(map(plain_value, coords[name])) for name in sorted(used)},
        # lengths of dims are data too, but no refit changes them
        "data": {
            name: {
                "dtype": value.dtype.name,
                "ndim": value.ndim,
                "value": int(value) if value.dtype.kind in "iu" and value.ndim == 0 else None,
            }
            for name, value in shared.items()
        },
    }
    (folder / _MODULE).write_text(module_source(shared, arguments, int(n_dim), int(n_stored)))
    inner = {f"{name}_inner": function.vm.jit_fn for name, function in functions.items()}
    made = _machine(_functions(folder, inner), description)
    described = {"model": description, "digests": _digests(folder)}
    (folder / _DESCRIPTION).write_text(json.dumps(described))
    return made


def _load(folder: Path) -> Machine:
    """What an earlier process kept, or an error of any kind."""
    if folder.stat().st_mode & 0o022 or (
        hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()
    ):
        raise OSError("others can write there: not ours to run")
    described = json.loads((folder / _DESCRIPTION).read_text())
    if not described["digests"] or described["digests"] != _digests(folder):
        raise OSError("not as it was written")
    os.utime(folder)  # the oldest that nobody asks for are the ones to go
    return _machine(_functions(folder, {}), described["model"])


def _functions(folder: Path, inner: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The compiled functions of the module in a folder; without ``inner``, kept ones only."""
    from numba import NumbaWarning
    from numba.core import config

    spec = importlib.util.spec_from_file_location("bayescale_compiled", folder / _MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(inner)
    # PyTensor's functions say that they come from here, and numba asks for it when it loads them
    sys.modules.setdefault("<dynamic>", ModuleType("<dynamic>"))
    elsewhere = getattr(config, "CACHE_DIR", "")
    config.CACHE_DIR = ""  # type: ignore[attr-defined]  # beside the module, nowhere else
    try:
        with (
            warnings.catch_warnings(),
            lazy_imports(*(f"pytensor.link.{name}" for name in _OF_PYTENSOR)),
        ):
            warnings.filterwarnings("ignore", "Cannot cache compiled", NumbaWarning)
            return module.compiled(_alone() if inner else None)
    finally:
        config.CACHE_DIR = elsewhere  # type: ignore[attr-defined]


def _alone() -> type:
    """Numba's compiler, but all functions that are called become the caller's own.

    Else the linker would take what has the same name from functions compiled earlier in the
    process, whose last bits differ, and draws would depend on what else the process did. It looks
    names of a module's own functions up as well, so they get names that nothing else has: what is
    made for one caller alone must not be found by another.
    """
    from numba.core.compiler import Compiler

    class Alone(Compiler):
        def compile_extra(self, func: Any) -> Any:
            made = super().compile_extra(func)
            library, own = made.library, uuid4().hex
            optimize = library._optimize_final_module  # what numba does once all is linked

            def appropriate() -> None:
                for function in list(library._final_module.functions):
                    shared = function.linkage.name == "linkonce_odr" and not function.is_declaration
                    if shared and function.name.startswith("_ZN"):  # numba's runtime stays shared
                        function.linkage = "internal"
                        function.name = f"{function.name}.{own}"
                optimize()

            library._optimize_final_module = appropriate
            return made

    return Alone


def _machine(functions: tuple[Any, Any, Any], description: dict[str, Any]) -> Machine:
    density, stored, start = functions
    names = description["names"]
    shapes = [tuple(shape) for shape in description["shapes"]]
    data = {
        name: np.full((0,) * about["ndim"], about["value"] or 0, dtype=about["dtype"])
        for name, about in description["data"].items()
    }
    empty = Machine(
        dims={name: tuple(dims) for name, dims in description["dims"].items()},
        reparameterized_names=description["transformed"],
        compiled_logp_func=density,
        compiled_expand_func=stored,
        start_func=start,
        places={name: slice(*place) for name, place in description["places"].items()},
        initial_point_func=lambda seed: np.zeros(0),
        shared_data=data,
        shared_var_keys={},
        user_data=np.zeros(0, dtype=np.int64),
        n_expanded=description["n_stored"],
        shape_info=(names, [slice(*part) for part in description["slices"]], shapes),
        logp_func=None,
        expand_func=None,
        _n_dim=description["n_dim"],
        _shapes=dict(zip(names, shapes, strict=True)),
        _coords={name: pd.Index(values) for name, values in description["coords"].items()},
    )
    return empty.with_data()


def _digests(folder: Path) -> dict[str, str]:
    """Of the module and of the code that numba kept of it; empty where it kept none."""
    code = sorted((folder / "__pycache__").glob("*.nb[ci]"))
    if len(code) < 6:  # an index and the code of three functions
        return {}
    files = [folder / _MODULE, *code]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
