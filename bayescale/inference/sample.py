"""Sampling: one compiled model a card and process, refits by replacing its data."""

import hashlib
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayescale.cards import ModelCard, choose_card
from bayescale.inference.diagnostics import gate
from bayescale.inference.groups import complete
from bayescale.laws import Law
from bayescale.posterior import Posterior, quantiles
from bayescale.progress import Stage, progress
from bayescale.runs import Runs, require_runs_for

RETRIES = (
    # times tuning, target acceptance, times draws (thinned back to those asked for)
    (1, 0.9, 1),
    (2, 0.95, 2),
    (4, 0.99, 8),
)
VERSIONS_OF = ("bayescale", "pymc", "nutpie", "pytensor", "arviz", "numpy", "scipy", "xarray")

_compiled: dict[tuple[Any, ...], Any] = {}


def fit(
    runs: Runs,
    law: str | Law | None = None,
    *,
    card: str | Path | ModelCard | None = None,
    seed: int = 0,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    pool: bool = True,
    show_progress: bool = False,
) -> Posterior:
    """Sample the posterior of a scaling law's coefficients.

    Parameters
    ----------
    runs : Runs
        At least two runs, with the columns that the law needs.
    law : str or Law, optional
        A law's name, or your own law (then with a card). Without it, the card's law; without
        either, the law that the columns can carry: chinchilla for params and tokens, else
        henighan_compute, henighan_params or henighan_tokens.
    card : str, path or ModelCard, optional
        Priors and likelihood; the card named like the law where not given.
    seed : int
        The same runs, card, seed and versions give the same draws on one machine.
    draws, tune, chains : int
        Draws kept and tuning steps a chain, and chains.
    cores : int, optional
        Threads to sample on; all of this computer's where not given.
    pool : bool
        Whether families in the log get partially pooled terms of their own.
    show_progress : bool
        Show progress on standard error.

    Returns
    -------
    Posterior
        Whether or not the convergence gate was passed: see :attr:`Posterior.diagnostics`.
        Where it is missed, sampling is tried again with longer tuning and higher target
        acceptance before giving up.

    Raises
    ------
    LawError, CardError, RunLogError
        If law, card and runs do not fit each other.
    """
    started = time.perf_counter()
    card = choose_card(runs, law, card)
    require_runs_for(card.law, runs)
    for name, value, least in (("draws", draws, 10), ("tune", tune, 10), ("chains", chains, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")
    with progress(show_progress) as stage:
        sampler, compile_seconds = compiled_model(runs, card, pool, stage)
        sampling = time.perf_counter()
        settings = {"draws": draws, "tune": tune, "chains": chains, "cores": cores, "seed": seed}
        sampled, diagnostics = _sample_until_good(sampler, runs, card, pool, stage, settings)
        sample_seconds = time.perf_counter() - sampling
        stage("leaving one run out at a time")
        record: dict[str, Any] = {
            "diagnostics": diagnostics,
            "provenance": _provenance(runs, card, seed),
            "seconds": {"compile": compile_seconds, "sample": sample_seconds},
            "pool": pool,
        }
        posterior = complete(Posterior(sampled, card, runs, record))
        without = _without_surprising(posterior, sampler, pool, stage, settings)
    record |= {"without_flagged": without}
    record["seconds"]["total"] = time.perf_counter() - started
    return replace(posterior, record=record)


def compiled_model(runs: Runs, card: ModelCard, pool: bool, stage: Stage) -> tuple[Any, float]:
    """The nutpie model of a card, compiled once a process, and the seconds that took now."""
    from bayescale.inference.model import build_model, families

    # the function itself, because two own laws can share a card's text
    key = (card.text, card.law.loss, families(runs, card, pool))
    started = time.perf_counter()
    if key not in _compiled:
        import nutpie

        stage(f"compiling {card.law.name}")
        _compiled[key] = nutpie.compile_pymc_model(
            build_model(runs, card, pool=pool), backend="numba"
        )
    return _compiled[key], time.perf_counter() - started


def sample(
    sampler: Any,
    runs: Runs,
    card: ModelCard,
    *,
    pool: bool = True,
    draws: int,
    tune: int,
    chains: int,
    cores: int | None,
    seed: int,
    target_accept: float = 0.9,
    thin: int = 1,
    stage: Stage = lambda text, total=None: lambda done: None,
) -> xr.DataTree:
    """Draw from a compiled model with the data of these runs: posterior and sample_stats."""
    import nutpie

    from bayescale.inference.model import model_data

    n_draws = draws * thin
    done = stage(f"sampling {chains} chains", total=chains * (n_draws + tune))
    tree = nutpie.sample(
        sampler.with_data(**model_data(runs, card, pool)),
        draws=n_draws,
        tune=tune,
        chains=chains,
        cores=min(chains, cores or os.cpu_count() or 1),
        seed=seed,
        target_accept=target_accept,
        adaptation="low_rank",
        save_warmup=False,
        progress_bar=False,
        progress_callback=lambda parts: done(sum(part.finished_draws for part in parts)),
    )
    if tree["posterior"].sizes["draw"] < n_draws:
        raise KeyboardInterrupt  # nutpie hands back what it has; half a posterior is none
    stats = tree["sample_stats"].to_dataset()
    # ArviZ looks for the tree-depth flag under this name, and text cannot be saved
    stats = stats.rename({"maxdepth_reached": "reached_max_treedepth"})
    kept = [name for name in stats.data_vars if stats[name].dims == ("chain", "draw")]
    stats = stats[[name for name in kept if stats[name].dtype.kind in "biuf"]]
    groups = {"posterior": tree["posterior"].to_dataset(), "sample_stats": stats}
    thinned = {
        name: group.isel(draw=slice(thin - 1, None, thin)).assign_coords(draw=np.arange(draws))
        for name, group in groups.items()
    }
    return xr.DataTree.from_dict(thinned)


def _sample_until_good(
    sampler: Any,
    runs: Runs,
    card: ModelCard,
    pool: bool,
    stage: Stage,
    settings: Mapping[str, Any],
) -> tuple[xr.DataTree, dict[str, Any]]:
    for attempt, (times_tune, target_accept, thin) in enumerate(RETRIES, 1):
        harder = dict(settings) | {"tune": settings["tune"] * times_tune}
        tree = sample(
            sampler, runs, card, pool=pool, target_accept=target_accept, thin=thin, stage=stage,
            **harder,
        )  # fmt: skip
        diagnostics = gate(tree) | {"attempts": attempt, "target_accept": target_accept}
        if diagnostics["passed"]:
            break
    return tree, diagnostics


def _without_surprising(
    posterior: Posterior, sampler: Any, pool: bool, stage: Stage, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Coefficients with and without the runs that leave-one-out finds surprising."""
    runs, card = posterior.runs, posterior.card
    assert runs is not None
    surprising = posterior.tree["leave_one_out"].to_dataset()["surprising"].values.astype(bool)
    rest = runs.take(~surprising)
    if not surprising.any() or len(rest) <= len(card.law.coefficients):
        return None
    from bayescale.inference.model import families

    if families(rest, card, pool) != families(runs, card, pool):
        return None  # a family would vanish with its runs
    tree, diagnostics = _sample_until_good(sampler, rest, card, pool, stage, settings)
    moved, without = {}, tree["posterior"].to_dataset()
    for name in card.law.coefficients:
        factor = card.coefficients[name].unit_factor
        moved[name] = {
            "with": quantiles(posterior.draws[name].values / factor),
            "without": quantiles(without[name].values / factor),
        }
    return {
        "runs": [str(run) for run in runs["run_id"][surprising]],
        "coefficients": moved,
        "passed": diagnostics["passed"],
    }


def _provenance(runs: Runs, card: ModelCard, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "runs": runs.source,
        "runs_sha256": runs.digest,
        "card": card.name,
        "card_sha256": hashlib.sha256(card.text.encode()).hexdigest(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in VERSIONS_OF},
    }


def refit(runs: Runs, card: ModelCard, seed: int = 0) -> Posterior:
    """The posterior alone, on one core: what backtests make many of.

    Without leave-one-out and the other groups beside the draws. The model of a card is compiled
    once a process; only its data change.
    """
    started = time.perf_counter()
    with progress(False) as stage:
        sampler, compile_seconds = compiled_model(runs, card, True, stage)
        settings = {"draws": 1000, "tune": 1000, "chains": 4, "cores": 1, "seed": seed}
        sampled, diagnostics = _sample_until_good(sampler, runs, card, True, stage, settings)
    record = {
        "diagnostics": diagnostics,
        "provenance": _provenance(runs, card, seed),
        "seconds": {"compile": compile_seconds, "total": time.perf_counter() - started},
        "pool": True,
    }
    return Posterior(sampled, card, runs, record)
