"""A PyMC model as machine code for nutpie, kept on disk between processes.

A later process neither compiles nor imports PyMC. A cached model has a key of everything that its
code depends on. It is checked against a digest before it runs, and is written either completely or
not at all.
"""

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import filelock
import numpy as np
import pandas as pd
import platformdirs
import xarray as xr

from bayescale.inference.compiled.shapes import shapes_without_c
from bayescale.inference.nuts import CompiledModel, CompiledPyMCModel

if TYPE_CHECKING:
    import pymc as pm

MOST_KEPT = 64
LONGEST_WAIT = 120  # seconds
_CODE, _DESCRIPTION = "code.o", "model.json"
_FUNCTIONS = ("density", "stored", "start")


@dataclass(frozen=True)
class Machine(CompiledPyMCModel):
    """What nutpie samples from: functions by their addresses, and the data that they read.

    ``user_data`` holds the address and shape of each array of ``shared_data`` in turn, and of
    ``linear`` and ``products`` last (see :meth:`in_coordinates` and :meth:`in_products`).
    ``places`` are the variables' slices of the model's own coordinates.
    """

    start_func: Any = None
    places: Mapping[str, slice] = field(default_factory=dict)
    linear: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    products: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), dtype=np.int64))

    def with_data(self, **updates: Any) -> "Machine":
        """Return these functions on other data; the lengths of arrays may change.

        Raises
        ------
        KeyError
            If the model has no data of a name.
        ValueError
            If an array has another rank.
        """
        data = dict(self.shared_data)
        for name, value in updates.items():
            old = data[name]
            new = np.array(value, dtype=old.dtype, order="C", copy=True)
            if new.ndim != old.ndim:
                raise ValueError(f"{name} has {new.ndim} dimensions, but must have {old.ndim}")
            data[name] = new
        return replace(self, shared_data=data).in_coordinates(np.zeros((0, 2)))

    def in_coordinates(self, linear: np.ndarray) -> "Machine":
        """Return this model in linear coordinates.

        Each row of ``linear`` describes one transformed coordinate: its row of the root, its center
        and its index.
        """
        arrays = (*self.shared_data.values(), linear, self.products)
        words = [word for array in arrays for word in (array.ctypes.data, *array.shape)]
        addresses = np.array(words, dtype=np.int64)
        made = replace(self, user_data=addresses, linear=linear)
        return replace(made, initial_point_func=made.start_near_prior)

    def in_products(self, products: np.ndarray) -> "Machine":
        """Return this model with coordinates for products of an exponent and its term's share.

        Each row of ``products`` describes the log of an exponent, in whose place the log of its
        product with the share is sampled: its index, the index of the first log ratio of the terms
        to the first term, the number of ratios, and the number of its term. This preserves volume.
        """
        return replace(self, products=products).in_coordinates(np.zeros((0, 2)))

    def density(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Return log density and gradient at a point; -inf and zeros if they are not finite."""
        value, gradient = ctypes.c_double(), np.zeros(self.n_dim)
        point = np.ascontiguousarray(point, dtype=float)
        outputs = gradient.ctypes.data, ctypes.addressof(value)
        status = self._density(self.n_dim, point.ctypes.data, *outputs, self.user_data.ctypes.data)
        return (value.value, gradient) if status == 0 else (-np.inf, np.zeros(self.n_dim))

    def draw_at(self, point: np.ndarray) -> xr.Dataset:
        """Return the variables of a single draw at a point in the model's coordinates."""
        call = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_uint64] * 2, *[ctypes.c_void_p] * 3)
        point, out = np.ascontiguousarray(point, dtype=float), np.empty(self.n_expanded)
        code: Any = self.compiled_expand_func
        places = point.ctypes.data, out.ctypes.data, self.user_data.ctypes.data
        if call(code.address)(self.n_dim, self.n_expanded, *places) != 0:
            raise FloatingPointError("the model's variables could not be computed at this point")
        by_name, labels = cast(Any, self.dims), cast(Any, self.coords)
        coords = {dim: labels[dim] for dims in by_name.values() for dim in dims}
        stored = {
            name: (("chain", "draw", *by_name.get(name, ())), out[part].reshape(1, 1, *shape))
            for name, part, shape in zip(*self.shape_info, strict=True)
            if name not in self.reparameterized_names
        }
        return xr.Dataset(stored, coords | {"chain": [0], "draw": [0]})

    @cached_property
    def _density(self) -> Callable[..., int]:
        code: Any = self.compiled_logp_func
        number, anything = ctypes.c_uint64, ctypes.c_void_p
        return ctypes.CFUNCTYPE(ctypes.c_int64, number, *[anything] * 4)(code.address)

    def prior_center(self) -> np.ndarray:
        """Return the prior's center for these data, in the model's own coordinates."""
        point = np.empty(self.n_dim)
        call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
        if call(self.start_func.address)(point.ctypes.data, self.user_data.ctypes.data) != 0:
            raise FloatingPointError("the prior's center could not be computed")
        for exponent, first, n, of in self.products:
            ratios = np.concatenate([[0.0], point[first : first + n]])
            point[exponent] += ratios[of] - np.logaddexp.reduce(ratios)
        return point

    def start_near_prior(self, seed: Any) -> np.ndarray:
        """Return a chain's start: the prior's center plus a uniform step in (-1, 1) in each dim."""
        return self.prior_center() + np.random.default_rng(seed).uniform(-1, 1, self.n_dim)


def machine(
    build: "Callable[[], pm.Model]", key: str | None = None, folder: Path | None = None
) -> CompiledModel:
    """Return the machine code of a model: from the cache, or compiled and cached.

    Parameters
    ----------
    build : callable
        Makes the model if the cache does not hold it.
    key : str, optional
        Everything that the code depends on, as the key in the cache. Without it, nothing is cached.
    folder : Path, optional
        The cache; by default in the user's cache folder. Files that other users could write to are
        not run, and a folder that cannot be written is not used.

    Warns
    -----
    RuntimeWarning
        If nutpie itself had to compile the model, which is slower.
    """
    home = folder or _cache()
    if key is None:
        return _make(build(), home, None)
    kept = _place(home, key)
    with suppress(Exception):  # whatever is wrong with the cached code, it is compiled again
        return _load(kept)
    with _turn(home, kept.name):
        with suppress(Exception):  # another process may have compiled it meanwhile
            return _load(kept)
        return _make(build(), home, kept)


def is_kept(key: str) -> bool:
    """Return whether the cache holds the machine code of this key."""
    return (_place(_cache(), key) / _DESCRIPTION).is_file()


def can_be_kept() -> bool:
    """Return whether the cache folder can be written to."""
    return _writable(_cache()) is not None


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("bayescale")) / "compiled"


def _place(home: Path, key: str) -> Path:
    return home / hashlib.sha256(key.encode()).hexdigest()[:32]


def _make(model: "pm.Model", home: Path, kept: Path | None) -> CompiledModel:
    """Compile a model, and cache it in the folder ``kept`` unless that is None."""
    with tempfile.TemporaryDirectory(dir=_writable(home), prefix=".making-") as name:
        made = Path(name) / "made"
        made.mkdir(mode=0o700)
        try:
            compiled = _compile(model, made)
        except Exception as error:  # other versions of nutpie, PyTensor or llvmlite
            import nutpie

            text = f"compiled by nutpie itself, which is slower: {type(error).__name__}: {error}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            return nutpie.compile_pymc_model(model, backend="numba")
        if kept is not None:
            with suppress(OSError):
                _keep(made, kept)
    return compiled


@contextmanager
def _turn(home: Path, name: str) -> Iterator[None]:
    """Let one process compile while others wait for it, at most :data:`LONGEST_WAIT` seconds."""
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
    """Return the folder if it can be written to, else None."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return home if os.access(home, os.W_OK) else None


def _keep(made: Path, kept: Path) -> None:
    """Move compiled code to its place in the cache, and remove the oldest beyond ``MOST_KEPT``."""
    # stale, corrupt, or written by another process meanwhile: replacing it is safe
    if kept.exists():
        kept.rename(made.parent / "old")
    made.rename(kept)
    others = sorted(kept.parent.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)
    for path in others[:-MOST_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
        (kept.parent / f".{path.name}.lock").unlink(missing_ok=True)


def _compile(model: "pm.Model", folder: Path) -> Machine:
    """Compile a model in a folder, and write its description there."""
    import pytensor.tensor as pt
    from nutpie.compile_pymc import _make_functions, _prepare_dims_and_coords
    from pymc.initial_point import make_initial_point_expression
    from pymc.pytensorf import compile as compile_function

    from bayescale.inference.compiled.code_generation import model_code, variable_places
    from bayescale.inference.compiled.graph_source import GRAPH_MODE

    with shapes_without_c():
        n_dim, n_stored, density, stored, _, shapes, transformed = _make_functions(
            model,
            mode=cast(Any, GRAPH_MODE),
            compute_grad=True,
            join_expanded=True,
            pymc_initial_point_fn=lambda seed: {},  # not used: chains start near modes
        )
    points = make_initial_point_expression(
        free_rvs=model.free_RVs,
        rvs_to_transforms=model.rvs_to_transforms,
        initval_strategies={},
        return_transformed=True,
    )
    flat = pt.concatenate([pt.as_tensor_variable(point).ravel() for point in points])
    with model:
        start: Any = compile_function([], [flat], mode=GRAPH_MODE)
    functions: dict[str, Any] = {"density": density, "stored": stored, "start": start}
    shared = {
        variable.name: np.asarray(variable.get_value())
        for function in functions.values()
        for variable in function.get_shared()
    }
    description = {
        "n_dim": int(n_dim),
        "n_stored": int(n_stored),
        "places": variable_places(model, shapes),
        **_variables_described(*shapes, transformed),
        **_dims_described(_prepare_dims_and_coords(model, shapes, transformed), shapes[0]),
        "data": {name: _array_described(value) for name, value in shared.items()},
    }
    code = model_code(shared, functions, int(n_dim), int(n_stored))
    made = _machine(code, description)
    (folder / _CODE).write_bytes(code)
    described = {"model": description, "digest": hashlib.sha256(code).hexdigest()}
    (folder / _DESCRIPTION).write_text(json.dumps(described))
    return made


def _variables_described(
    names: Any, slices: Any, shapes: Any, transformed: Any
) -> dict[str, list[Any]]:
    return {
        "names": list(names),
        "slices": [[int(part.start), int(part.stop)] for part in slices],
        "shapes": [[int(length) for length in shape] for shape in shapes],
        "transformed": list(transformed),
    }


def _dims_described(dims_and_coords: Any, names: Any) -> dict[str, Any]:
    dims, coords = dims_and_coords
    dims = {name: list(dims[name]) for name in names if name in dims}
    used = {dim for each in dims.values() for dim in each} | {"unconstrained_parameter"}
    return {
        "dims": dims,
        "coords": {name: [_plain(value) for value in coords[name]] for name in sorted(used)},
    }


def _plain(value: Any) -> Any:
    """Return a value as Python has it, for JSON."""
    return value.item() if hasattr(value, "item") else value


def _array_described(value: np.ndarray) -> dict[str, Any]:
    # lengths of dims are shared variables too, but the same in every refit of the model
    is_length = value.dtype.kind in "iu" and value.ndim == 0
    return {
        "dtype": value.dtype.name,
        "ndim": value.ndim,
        "value": int(value) if is_length else None,
    }


def _load(folder: Path) -> Machine:
    """Load a cached model, or raise an error of any kind."""
    if folder.stat().st_mode & 0o022 or (
        hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()
    ):
        raise OSError("others can write there")
    described = json.loads((folder / _DESCRIPTION).read_text())
    code = (folder / _CODE).read_bytes()
    if described["digest"] != hashlib.sha256(code).hexdigest():
        raise OSError("it does not match its digest")
    os.utime(folder)  # the least recently used are removed first
    return _machine(code, described["model"])


def _machine(code: bytes, description: dict[str, Any]) -> Machine:
    from bayescale.inference.compiled.llvm_module import load

    library = load(code, _FUNCTIONS)
    # the code is in memory while something refers to the library
    functions = [SimpleNamespace(address=library[name], library=library) for name in _FUNCTIONS]
    density, stored, start = cast(list[Any], functions)
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
