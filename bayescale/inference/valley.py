"""The posterior of the valley of learning rate and batch size: see :mod:`bayescale.tuning`."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from bayescale.inference.compile import code_depends_on
from bayescale.inference.fit import made_with
from bayescale.inference.nuts import sampling
from bayescale.inference.schedule import thinned, until_converged
from bayescale.progress import progress
from bayescale.tuning import Sweep, Tuning, TuningCard, load_tuning_card, read_sweep

TRIES = ((1, 0.85, 1), (2, 0.95, 4), (4, 0.99, 8))
"""Attempts in order: factor on tuning, target acceptance, factor on draws (thinned back)."""


def fit_tuning(
    source: Any,
    *,
    seed: int = 0,
    draws: int = 800,
    tune: int = 400,
    chains: int = 4,
    cores: int | None = None,
    show_progress: bool = False,
) -> Tuning:
    """Sample the posterior of learning rate and batch size of a sweep.

    Parameters
    ----------
    source : Runs, pandas.DataFrame, path or Sweep
        Runs with params, tokens, lr and, optionally, batch_size.
    seed, draws, tune, chains, cores, show_progress
        As for :func:`bayescale.fit`.

    Returns
    -------
    Tuning
        The posterior, whether or not it passed the convergence checks.

    Raises
    ------
    RunLogError
        If the log is not a sweep: see :func:`bayescale.tuning.read_sweep`.
    """
    sweep = source if isinstance(source, Sweep) else read_sweep(source)
    card, started = load_tuning_card(), time.perf_counter()
    with progress(show_progress) as stage:
        stage("compiling the valley")
        compiled = compiled_valley(sweep, card)
        compiling = time.perf_counter() - started

        @contextmanager
        def attempt(times: int, accept: float, thin: int) -> Iterator[Callable[[], xr.DataTree]]:
            how = {"draws": draws * thin, "tune": tune * times, "chains": chains, "cores": cores}
            how |= {"seed": seed, "target_accept": accept}
            count = chains * (draws * thin + tune * times)
            done = stage(f"sampling {chains} chains", total=count)
            with sampling(compiled, **how, done=done) as wait:
                yield lambda: thinned(wait(), thin, ("whitened",))

        tree, diagnostics = until_converged(attempt, TRIES)
    total = time.perf_counter() - started
    seconds = {"compile": compiling, "sample": total - compiling, "total": total}
    made = made_with(seed=seed, draws=draws, tune=tune, chains=chains, families=False)
    about = {"runs": sweep.runs.source, "runs_sha256": sweep.runs.digest, "card": card.name, **made}
    record = {"diagnostics": diagnostics, "provenance": about, "seconds": seconds}
    return Tuning(tree["posterior"].to_dataset(), sweep, record)


_compiled: dict[str, Any] = {}


def compiled_valley(sweep: Sweep, card: TuningCard) -> Any:
    """Return the model of a sweep as machine code, with its data and its starting point.

    The code is cached in the process and on disk, for all sweeps with this number of sizes.
    """
    from bayescale.inference.compiled.machine import machine
    from bayescale.inference.model import valley  # imports PyMC

    parts = ["valley", card.text, len(sweep.cells), sweep.batch is not None]
    key = json.dumps([*parts, code_depends_on()], sort_keys=True)
    if key not in _compiled:
        _compiled[key] = machine(partial(valley.build_valley, sweep, card), key)
    compiled = _compiled[key]
    if not hasattr(compiled, "start_func"):  # nutpie compiled it, for these data alone
        return _compiled.pop(key)
    data = valley.valley_data(sweep, card)
    compiled = compiled.with_data(**{n: x for n, x in data.items() if n in compiled.shared_data})
    start = compiled.prior_center()
    for name, value in valley.valley_start(sweep, card).items():
        start[compiled.places[name]] = value
    return replace(compiled, initial_point_func=lambda seed: np.array(start))
