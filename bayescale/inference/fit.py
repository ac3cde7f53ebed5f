"""Sampling: one compiled model a card and process, refits by replacing its data."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, overload

import numpy as np
import xarray as xr

import bayescale
from bayescale.cards import ModelCard, card_for, cards_for_laws, choose_card, default_laws
from bayescale.errors import PosteriorError
from bayescale.inference.diagnostics import REFIT_LIMITS, check_convergence
from bayescale.inference.model.data import family_names, model_data, with_runs
from bayescale.inference.model.drift import with_walk
from bayescale.inference.trees import complete, with_leave_one_out
from bayescale.laws import LAWS, Law
from bayescale.posterior import (
    DRIFTING,
    EXACT,
    ModelAverage,
    Posterior,
    model_weights,
    quantiles,
    worst_diagnostics,
)
from bayescale.progress import Stage, progress, quiet
from bayescale.runs import Runs, require_runs_for

Tries = Sequence[tuple[int, float, int]]

TRIES: Tries = (
    # times tuning, target acceptance, times draws (thinned back to those asked for)
    (1, 0.9, 1),
    (2, 0.9, 4),
    (4, 0.99, 8),
)
EXACT_TRIES: Tries = ((1, 0.8, 1), (2, 0.95, 4), TRIES[2])
"""Of a law without drift, where fewer steps serve."""

REFIT_TRIES = ((1, 0.85, 1), (3, 0.95, 2))
EXACT_REFIT_TRIES = ((1, 0.8, 1), (3, 0.95, 2))
"""Of one refit among many: a short try, because hardly one in ten has to be made again."""

FOR_COMPARISON = {"draws": 500, "tune": 300}
"""Of a chain, at most: of coefficients without surprising runs only intervals are told."""

COMPARISON_LIMITS = {"most_rhat": 1.05}
"""So few draws scatter R-hat more, and the largest of a thousand families' terms most of all."""

FEWEST_DRAWS = 25
"""Of all chains together: what leave-one-out needs."""

VERSIONS_OF = ("bayescale", "pymc", "nutpie", "pytensor", "arviz", "numpy", "scipy", "xarray")

_compiled: dict[tuple[Any, ...], Any] = {}


# fmt: off
@overload
def fit(
    runs: Runs, law: str | Law, *, card: str | Path | ModelCard | None = ...,
    seed: int = ..., draws: int = ..., tune: int = ..., chains: int = ...,
    cores: int | None = ..., families: bool = ..., show_progress: bool = ...,
) -> Posterior: ...
@overload
def fit(
    runs: Runs, law: None = ..., *, card: str | Path | ModelCard,
    seed: int = ..., draws: int = ..., tune: int = ..., chains: int = ...,
    cores: int | None = ..., families: bool = ..., show_progress: bool = ...,
) -> Posterior: ...
@overload
def fit(
    runs: Runs, law: Sequence[str | Law | ModelCard] | None = ..., *,
    weights: Mapping[str, float] | None = ...,
    seed: int = ..., draws: int = ..., tune: int = ..., chains: int = ...,
    cores: int | None = ..., families: bool = ..., show_progress: bool = ...,
) -> ModelAverage: ...
# fmt: on


def fit(
    runs: Runs,
    law: str | Law | Sequence[str | Law | ModelCard] | None = None,
    *,
    card: str | Path | ModelCard | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    families: bool = True,
    show_progress: bool = False,
) -> Posterior | ModelAverage:
    """Sample the posterior of a scaling law's coefficients, or of several laws'.

    Parameters
    ----------
    runs : Runs
        At least two runs, with the columns that the laws need.
    law : str, Law, or a sequence of them or of cards, optional
        A law's name, or your own law (then with a card), for its posterior. Several, for a
        pool of them. Without it, the card's law; without either, a pool of the laws that the
        columns can carry: see :func:`bayescale.cards.default_laws`.
    card : str, path or ModelCard, optional
        Priors and likelihood of the one law; the card named like the law where not given.
    weights : mapping of str to float, optional
        Shares of the laws in the pool; equal where not given, because few runs cannot tell
        which law extrapolates best.
    seed : int
        The same runs, card, seed and versions give the same draws on one machine.
    draws, tune, chains : int
        Draws kept and tuning steps a chain, and chains.
    cores : int, optional
        Threads to sample on; all of this computer's where not given.
    families : bool
        Whether families in the log get partially pooled terms of their own.
    show_progress : bool
        Show progress on standard error.

    Returns
    -------
    Posterior or ModelAverage
        Whether or not the convergence gate was passed: see :attr:`Posterior.diagnostics`.
        Where it is missed, sampling is tried again with longer tuning and higher target
        acceptance before giving up.

    Raises
    ------
    LawError, CardError, RunLogError, PosteriorError
        If laws, card, weights and runs do not fit each other.
    """
    cards, alone = cards_of(runs, law, card)
    if alone and weights is not None:
        raise PosteriorError("`weights=` are for several laws, and only one is fitted")
    for chosen in cards:
        require_runs_for(chosen.law, runs)
    cards = tuple(card_for(runs, chosen) for chosen in cards)
    for name, value, least in (("draws", draws, 10), ("tune", tune, 10), ("chains", chains, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")
    if draws * chains < FEWEST_DRAWS:
        raise PosteriorError(
            f"draws times chains are {draws * chains}, but must be at least {FEWEST_DRAWS}: runs "
            "cannot be left out one at a time on fewer"
        )
    shares = model_weights([chosen.law.name for chosen in cards], weights)
    settings = {"draws": draws, "tune": tune, "chains": chains, "cores": cores, "seed": seed}
    with progress(show_progress) as stage:
        fitted = tuple(_fit_one(runs, chosen, families, settings, stage) for chosen in cards)
    return fitted[0] if alone else ModelAverage(fitted, shares)


def cards_of(
    runs: Runs,
    law: str | Law | Sequence[str | Law | ModelCard] | None,
    card: str | Path | ModelCard | None = None,
) -> tuple[tuple[ModelCard, ...], bool]:
    """The cards that :func:`fit` fits, and whether it is one law alone and no pool."""
    if law is None and card is None:
        laws = default_laws(runs)
        law = laws if laws[1:] else laws[0]
    if law is None or isinstance(law, str | Law):
        return (choose_card(runs, law, card),), True
    return cards_for_laws(runs, law, card), False


def refit(
    runs: Runs,
    card: ModelCard,
    seed: int = 0,
    *,
    drift: bool = True,
    draws: int = 300,
    tune: int = 120,
) -> Posterior:
    """The draws alone, on one core, on a model compiled once a process: for many refits.

    Parameters
    ----------
    runs, card, seed
        As for :func:`fit`.
    drift : bool
        Whether the draws allow for the law's drift.
    draws, tune : int
        Draws kept and tuning steps a chain, of four chains.

    Returns
    -------
    Posterior
        Which forecasts, but has no prior, predictive or leave-one-out groups.
    """
    card = card_for(runs, card if drift else card.without_drift())
    settings = {"draws": draws, "tune": tune, "chains": 4, "cores": 1, "seed": seed}
    tries = EXACT_REFIT_TRIES if card.drift is None else REFIT_TRIES
    sampler, _ = Sampler.of(runs, card, settings, tries)
    tree, diagnostics = sampler.until_good(**REFIT_LIMITS)
    record = {"diagnostics": diagnostics, "provenance": {"seed": seed}, "seconds": {}}
    group = EXACT if card.drift is None else DRIFTING
    tree = xr.DataTree.from_dict({group: tree["posterior"].to_dataset()})
    return Posterior(tree, card, runs, record)


def _fit_one(
    runs: Runs, card: ModelCard, families: bool, settings: Mapping[str, Any], stage: Stage
) -> Posterior:
    started = time.perf_counter()
    exact = card.without_drift()  # fewer dimensions, in which a sampler finds its way sooner
    record: dict[str, Any] = {
        "provenance": _provenance(runs, card, families, settings),
        "families": families,
    }
    of_law, compiling = Sampler.of(runs, exact, settings, EXACT_TRIES, families, stage)
    of_drift = None
    with of_law.begun() as wait:
        if card.drift is not None:  # meanwhile
            of_drift, more = Sampler.of(runs, card, settings, TRIES, families, stage)
            compiling += more
        first = wait()
    with nullcontext() if of_drift is None else of_drift.begun() as wait:
        tree, reached = of_law.until_good(lambda: first)
        checked = {card.law.name: reached}
        posterior = with_leave_one_out(Posterior(tree, card, runs, record))
        if of_drift is not None:
            tree, checked[f"{card.law.name} with drift"] = of_drift.until_good(wait)
            posterior.tree[DRIFTING] = tree["posterior"]
    of_rest = _without_surprising(posterior, of_law)
    with nullcontext() if of_rest is None else of_rest.begun() as wait:
        posterior = complete(posterior)
        without = None if of_rest is None else _moved(posterior, of_rest, wait)
    record |= {"diagnostics": worst_diagnostics(checked), "without_outliers": without}
    total = time.perf_counter() - started
    record["seconds"] = {"compile": compiling, "sample": total - compiling, "total": total}
    return replace(posterior, record=record)


def compiled_model(
    runs: Runs, card: ModelCard, families: bool = True, stage: Stage = quiet
) -> tuple[Any, float]:
    """The nutpie model of a card, compiled once a process, and the seconds that took now."""
    # the function itself, because two own laws can share a card's text
    parts = (card.model_dump_json(exclude={"law"}), family_names(runs, card, families))
    parts += (card.integrates_drift(runs), sorted(model_data(runs, card, families)))
    key = (json.dumps(parts), card.law.loss)
    started = time.perf_counter()
    if key not in _compiled:
        from bayescale.inference.compiled.machine import machine

        stage(f"compiling {card.law.name}")
        own = LAWS.get(card.law.name) is not card.law
        kept_as = None if own else json.dumps([card.law.name, *parts, _made_of()], sort_keys=True)
        _compiled[key] = machine(partial(_model, runs, card, families), kept_as)
    return _compiled[key], time.perf_counter() - started


def _model(runs: Runs, card: ModelCard, families: bool) -> Any:
    from bayescale.inference.model.build import build_model  # and PyMC: only where nothing is kept

    return build_model(runs, card, families=families)


def _made_of() -> dict[str, str]:
    """What turns a card into machine code: versions, and the sources that write the model."""
    package = Path(bayescale.__file__).parent
    files = (package / f"{name}.py" for name in ("drift", "noise"))
    rooms = (package / "laws", package / "cards", package / "inference", *files)
    files = [file for room in rooms for file in (room.rglob("*.py") if room.is_dir() else [room])]
    sources = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()
    versions = {name: metadata.version(name) for name in (*VERSIONS_OF, "numba", "llvmlite")}
    return versions | {"python": platform.python_version(), "sources": sources}


def ready(compiled: Any, runs: Runs, card: ModelCard, families: bool = True) -> Any:
    """A card's compiled model with the data of these runs, where chains find their way."""
    model = with_runs(compiled, runs, card, families)
    return (
        model.preconditioned() if hasattr(model, "preconditioned") else model
    )  # nutpie's own has not


@contextmanager
def sampling(
    model: Any,
    runs: Runs,
    card: ModelCard,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int | None,
    seed: int,
    target_accept: float = 0.9,
    thin: int = 1,
    stage: Stage = quiet,
) -> Iterator[Callable[[], xr.DataTree]]:
    """Sample a card's model that is ready for these runs while the block runs.

    Yields
    ------
    callable
        Waits for the draws and gives them, one in ``thin``: ``posterior``, ``sample_stats``.
    """
    from bayescale.inference import nuts  # and nutpie with it

    done = stage(f"sampling {chains} chains", total=chains * (draws * thin + tune))
    under_way = nuts.sampling(
        model, draws=draws * thin, tune=tune,
        chains=chains, cores=cores, seed=seed, target_accept=target_accept, done=done,
    )  # fmt: skip

    def thinned(tree: xr.DataTree) -> xr.DataTree:
        each = slice(thin - 1, None, thin)
        groups = {
            name: group.to_dataset().isel(draw=each).assign_coords(draw=np.arange(draws))
            for name, group in tree.children.items()
        }
        # walks and terms of families say the same in plain units
        steps = ("any_step", "pooled_step")
        groups["posterior"] = groups["posterior"].drop_dims(steps, errors="ignore")
        tree = xr.DataTree.from_dict(groups)
        return with_walk(tree, runs, card, seed) if card.integrates_drift(runs) else tree

    with under_way as wait:
        yield lambda: thinned(wait())


def sample(
    compiled: Any, runs: Runs, card: ModelCard, families: bool = True, **how: Any
) -> xr.DataTree:
    """The draws alone, of a compiled model: as :func:`sampling`."""
    with sampling(ready(compiled, runs, card, families), runs, card, **how) as wait:
        return wait()


@dataclass(frozen=True)
class Sampler:
    """A card's model, ready for the runs it is sampled for, and how: until it is good enough."""

    model: Any
    runs: Runs
    card: ModelCard
    settings: Mapping[str, Any]
    tries: Tries
    families: bool = True
    stage: Stage = quiet

    @classmethod
    def of(
        cls, runs: Runs, card: ModelCard, settings: Mapping[str, Any], tries: Tries,
        families: bool = True, stage: Stage = quiet,
    ) -> "tuple[Sampler, float]":  # fmt: skip
        """Of these runs, and the seconds that compiling took now."""
        compiled, seconds = compiled_model(runs, card, families, stage)
        model = ready(compiled, runs, card, families)
        return cls(model, runs, card, settings, tries, families, stage), seconds

    def once(
        self, times_tune: int, target_accept: float, thin: int
    ) -> AbstractContextManager[Callable[[], xr.DataTree]]:
        """One try: see :func:`sampling`."""
        how = dict(self.settings) | {"tune": self.settings["tune"] * times_tune}
        return sampling(
            self.model, self.runs, self.card, stage=self.stage,
            target_accept=target_accept, thin=thin, **how,
        )  # fmt: skip

    def begun(self) -> AbstractContextManager[Callable[[], xr.DataTree]]:
        """The first try: see :func:`sampling`."""
        return self.once(*self.tries[0])

    def until_good(
        self, first: Callable[[], xr.DataTree] | None = None, **limits: Any
    ) -> tuple[xr.DataTree, dict[str, Any]]:
        """The draws of the first try that passes the gate, or else of the last one.

        ``first`` is the first try where that is under way already.
        """
        for attempt, how in enumerate(self.tries, 1):
            if first is not None and attempt == 1:
                tree = first()
            else:
                with self.once(*how) as wait:
                    tree = wait()
            diagnostics = check_convergence(tree, **limits) | {
                "attempts": attempt,
                "target_accept": how[1],
            }
            if diagnostics["passed"]:
                break
        return tree, diagnostics


def _without_surprising(posterior: Posterior, sampler: Sampler) -> Sampler | None:
    """The same of the runs that leave-one-out finds nothing surprising about, if not of all."""
    runs, card, families = sampler.runs, sampler.card, sampler.families
    surprising = _surprising(posterior)
    rest = runs.take(~surprising)
    if not surprising.any() or len(rest) <= len(card.law.coefficients):
        return None
    if (
        family_names(rest, card, families) != family_names(runs, card, families)
        or card_for(rest, card) != card
    ):
        return None  # a family, or all but one checkpoint of every run, would vanish
    fewer = {name: min(sampler.settings[name], most) for name, most in FOR_COMPARISON.items()}
    settings = {**sampler.settings, **fewer}
    return Sampler.of(rest, card, settings, sampler.tries, families, sampler.stage)[0]


def _surprising(posterior: Posterior) -> np.ndarray:
    return posterior.tree["leave_one_out"].to_dataset()["outlier"].values.astype(bool)


def _moved(
    posterior: Posterior, of_rest: Sampler, first: Callable[[], xr.DataTree] | None
) -> dict[str, Any]:
    """Coefficients with and without the runs that were surprising."""
    card, (tree, diagnostics) = of_rest.card, of_rest.until_good(first, **COMPARISON_LIMITS)
    moved, without = {}, tree["posterior"].to_dataset()
    for name in card.law.coefficients:
        factor = card.coefficients[name].unit_factor
        moved[name] = {
            "with": quantiles(posterior.draws[name].values / factor),
            "without": quantiles(without[name].values / factor),
        }
    left_out = posterior.tree["leave_one_out"].to_dataset()
    return {
        "runs": [str(run) for run in left_out["run"].values[_surprising(posterior)]],
        "coefficients": moved,
        "passed": diagnostics["passed"],
    }


def _provenance(
    runs: Runs, card: ModelCard, families: bool, settings: Mapping[str, Any]
) -> dict[str, Any]:
    how = {name: settings[name] for name in ("seed", "draws", "tune", "chains")}
    return {
        "runs": runs.source,
        "runs_sha256": runs.digest,
        "card": card.name,
        "card_sha256": hashlib.sha256(card.text.encode()).hexdigest(),
        **made_with(**how, families=families),
    }


def made_with(
    seed: int = 0, draws: int = 1000, tune: int = 500, chains: int = 4, families: bool = True
) -> dict[str, Any]:
    """Settings of :func:`fit` and versions, which make draws what they are beside runs and card."""
    return {
        "seed": seed,
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "families": families,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in VERSIONS_OF},
    }
