"""Compiled models, one for each card in a process: refits exchange their data."""

import hashlib
import json
import platform
import time
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

_compiled: dict[tuple[Any, ...], Any] = {}


def compiled_model(
    runs: Runs, card: ModelCard, families: bool = True, stage: Stage = quiet
) -> tuple[Any, float]:
    """Return the nutpie model of a card, compiled once a process, and the seconds it took now."""
    parts = parts_of(runs, card, families)
    # the function itself, because two own laws can share a card's text
    key = (json.dumps(parts), card.law.loss)
    started = time.perf_counter()
    if key not in _compiled:
        from bayescale.inference.compiled.machine import machine

        stage(f"compiling {card.law.name}")
        own = LAWS.get(card.law.name) is not card.law
        kept_as = (
            None if own else json.dumps([card.law.name, *parts, code_depends_on()], sort_keys=True)
        )
        _compiled[key] = machine(partial(_model, runs, card, families), kept_as)
    return _compiled[key], time.perf_counter() - started


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
    """Return what machine code depends on besides the card: versions, and a digest of sources."""
    package = Path(bayescale.__file__).parent
    files = (package / f"{name}.py" for name in ("drift", "noise"))
    rooms = (*(package / name for name in ("laws", "cards", "inference", "tuning")), *files)
    files = [file for room in rooms for file in (room.rglob("*.py") if room.is_dir() else [room])]
    sources = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()
    versions = {name: metadata.version(name) for name in (*VERSIONS_OF, "numba", "llvmlite")}
    return versions | {"python": platform.python_version(), "sources": sources}


def ready(compiled: Any, runs: Runs, card: ModelCard, families: bool = True) -> Any:
    """Return a card's compiled model with the data of these runs, preconditioned."""
    from bayescale.inference.compiled.preconditioning import law_modes, preconditioned

    model = with_runs(compiled, runs, card, families)
    if not hasattr(model, "in_coordinates"):  # nutpie compiled it
        return model
    with one_blas_thread():
        modes = law_modes(model)
        if modes and {"drift_weights", "drift_rotated"} & model.shared_data.keys():
            weights = robust_weights(model.draw_at(modes[0].point), runs, card)
            model = with_runs(compiled, runs, card, families, weights)
        return preconditioned(model, modes)
