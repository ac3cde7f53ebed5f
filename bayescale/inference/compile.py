"""Compiled models: each card is compiled once per process, and a refit replaces only the data."""

import hashlib
import json
import os
import pickle
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import bayescale
from bayescale.cards import ModelCard
from bayescale.inference.model.data import family_names, model_data, with_runs
from bayescale.inference.model.drift_weights import robust_weights
from bayescale.inference.threads import one_blas_thread
from bayescale.laws import LAWS
from bayescale.progress import Stage, quiet
from bayescale.runs import Runs

VERSIONS_OF = ("bayescale", "pymc", "nutpie", "pytensor", "arviz", "numpy", "scipy", "xarray")

FIRST_TIME = " for the first time, which takes some seconds; later fits use the cached code"
"""What the progress bar adds when a model is compiled whose code will be cached."""

_compiled: dict[tuple[Any, ...], Any] = {}


def compiled_model(
    runs: Runs, card: ModelCard, families: bool = True, stage: Stage = quiet
) -> tuple[Any, float]:
    """Return the nutpie model of a card, compiled once a process, and the seconds it took now."""
    parts = parts_of(runs, card, families)
    # the function itself is part of the key, because two custom laws can share a card's text
    key = (json.dumps(parts), card.law.loss)
    started = time.perf_counter()
    if key not in _compiled:
        from bayescale.inference.compiled.machine import can_be_kept, is_kept, machine

        kept_as = _kept_as(card, parts)
        once = kept_as is not None and not is_kept(kept_as) and can_be_kept()
        stage(f"compiling {card.law.name}" + (FIRST_TIME if once else ""))
        _compiled[key] = machine(partial(_model, runs, card, families), kept_as)
    return _compiled[key], time.perf_counter() - started


def _kept_as(card: ModelCard, parts: tuple[Any, ...]) -> str | None:
    """Return the key of a card's machine code in the cache; None for a custom law."""
    if LAWS.get(card.law.name) is not card.law:
        return None
    return json.dumps([card.law.name, *parts, code_depends_on()], sort_keys=True)


@contextmanager
def compiled_ahead(
    runs: Runs, first: ModelCard, then: ModelCard, families: bool = True
) -> Iterator[None]:
    """Compile one card's model in a separate process, while this process compiles another's.

    The other process leaves the machine code in the cache, where this one finds it. Nothing is
    started on a single core, or if the cache holds either model or cannot be written.

    Measured: a first fit of 245 runs by the law ``unified``, with no cache at all, takes 20 seconds
    of CPU time in both processes; a second one takes 12 seconds.
    """
    child = _started(runs, first, then, families)
    try:
        yield
    finally:
        if child is not None:
            child.terminate()
            child.wait()


def _started(
    runs: Runs, first: ModelCard, then: ModelCard, families: bool
) -> "subprocess.Popen[bytes] | None":
    from bayescale.inference.compiled.machine import can_be_kept, is_kept

    keys = [_kept_as(card, parts_of(runs, card, families)) for card in (first, then)]
    if (os.cpu_count() or 1) < 2 or any(key is None or is_kept(key) for key in keys):
        return None
    if not can_be_kept():
        return None
    command = [sys.executable, "-P", "-c", f"from {__name__} import compile_given; compile_given()"]
    none = subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=none, stderr=none)
    assert child.stdin is not None
    # without the child, this process compiles the model itself
    with suppress(OSError), child.stdin:
        pickle.dump((runs, then, families), child.stdin)
    return child


def compile_given() -> None:
    """Compile the model of a pickled log and card from standard input, into the cache."""
    compiled_model(*pickle.load(sys.stdin.buffer))


def parts_of(runs: Runs, card: ModelCard, families: bool = True) -> tuple[Any, ...]:
    """Return what a card's machine code depends on besides the law and the package."""
    n_recipes = 0 if card.recipes is None else len(np.unique(runs["family"].astype(str)))
    return (
        card.model_dump_json(exclude={"law"}),
        family_names(runs, card, families),
        card.integrates_drift(runs),
        sorted(model_data(runs, card, families)),
        n_recipes,
    )


def _model(runs: Runs, card: ModelCard, families: bool) -> Any:
    from bayescale.inference.model.build import (
        build_model,  # imports PyMC: only without cached code
    )

    return build_model(runs, card, families=families)


def code_depends_on() -> dict[str, str]:
    """Return what machine code depends on besides the card: versions, sources and processor."""
    from bayescale.inference.compiled.llvm_module import processor

    package = Path(bayescale.__file__).parent
    files = (package / f"{name}.py" for name in ("drift", "noise"))
    paths = (*(package / name for name in ("laws", "cards", "inference", "tuning")), *files)
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    sources = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()
    versions = {name: metadata.version(name) for name in (*VERSIONS_OF, "llvmlite")}
    python = platform.python_version()
    return versions | {"python": python, "sources": sources, "processor": processor()}


def ready(compiled: Any, runs: Runs, card: ModelCard, families: bool = True) -> Any:
    """Return a card's compiled model with the data of these runs, preconditioned."""
    from bayescale.inference.compiled.preconditioning import (
        law_modes,
        preconditioned,
        slope_products,
    )

    if hasattr(compiled, "in_products") and "excess" in card.noise.parameters:
        compiled = compiled.in_products(slope_products(card.law, compiled.places))
    model = with_runs(compiled, runs, card, families)
    if not hasattr(model, "in_coordinates"):  # nutpie compiled it
        return model
    with one_blas_thread():
        modes = law_modes(model)
        if modes and {"drift_weights", "drift_rotated"} & model.shared_data.keys():
            weights = robust_weights(model.draw_at(modes[0].point), runs, card)
            model = with_runs(compiled, runs, card, families, weights)
        return preconditioned(model, modes)
