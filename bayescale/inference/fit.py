"""From cards and runs to posteriors: fits of one law or several, and refits of one."""

import hashlib
import importlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.arguments import checks_arguments
from bayescale.cards import (
    ModelCard,
    card_for,
    cards_for_laws,
    choose_card,
    default_laws,
    load_card,
    require_level,
    runs_for,
)
from bayescale.errors import PosteriorError
from bayescale.inference.compile import VERSIONS_OF, compiled_ahead
from bayescale.inference.diagnostics import REFIT_LIMITS
from bayescale.inference.model.data import family_names
from bayescale.inference.schedule import (
    EXACT_REFIT_TRIES,
    EXACT_TRIES,
    REFIT_TRIES,
    TRIES,
    Sampler,
)
from bayescale.inference.trees import complete, with_leave_one_out
from bayescale.laws import Law
from bayescale.posterior import (
    DRIFTING,
    EXACT,
    ModelAverage,
    Posterior,
    model_weights,
    quantiles,
    worst_diagnostics,
)
from bayescale.posterior.conflicts import with_conflicts
from bayescale.progress import Stage, progress
from bayescale.runs import Runs, as_runs, require_runs_for
from bayescale.tasks import Serial

Source = Runs | pd.DataFrame | str | Path
"""Runs, or a table or file that is read without further options."""

FOR_COMPARISON = {"draws": 500, "tune": 300}
"""The most draws and tuning steps per chain of the refit without outliers, which is shown as
intervals only."""

COMPARISON_LIMITS = {"most_rhat": 1.05}
"""Limits for that refit: with few draws R-hat varies more, above all for many families' terms."""

STACKING = "stacking"

FEWEST_DRAWS = 25
"""The fewest draws, over all chains, for leave-one-out."""


class FitSettings(TypedDict, total=False):
    """Options of :func:`fit` that do not depend on the number of laws."""

    seed: int
    draws: int
    tune: int
    chains: int
    cores: int | None
    families: bool
    show_progress: bool | Stage | None


@overload
def fit(
    runs: Source,
    law: str | Law,
    *,
    card: str | Path | ModelCard | None = ...,
    **settings: Unpack[FitSettings],
) -> Posterior: ...
@overload
def fit(
    runs: Source,
    law: None = ...,
    *,
    card: str | Path | ModelCard,
    **settings: Unpack[FitSettings],
) -> Posterior: ...
@overload
def fit(
    runs: Source,
    law: Sequence[str | Law | ModelCard] | None = ...,
    *,
    weights: Mapping[str, float] | Literal["stacking"] | None = ...,
    **settings: Unpack[FitSettings],
) -> ModelAverage: ...
@checks_arguments
def fit(  # noqa: PLR0913 every option has a name and a default
    runs: Source,
    law: str | Law | Sequence[str | Law | ModelCard] | None = None,
    *,
    card: str | Path | ModelCard | None = None,
    weights: Mapping[str, float] | Literal["stacking"] | None = None,
    seed: int = 0,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    families: bool = True,
    show_progress: bool | Stage | None = None,
) -> Posterior | ModelAverage:
    """Sample the posterior of a scaling law's coefficients, or the posteriors of several laws.

    Parameters
    ----------
    runs : Runs, pandas.DataFrame or path
        At least two runs, with the columns that the laws need.
    law : str, Law, or a sequence of them or of cards, optional
        The name of a law, or your own law (which needs a card). Several laws are averaged. By
        default the card's law; without a card, the laws that the log's columns support: see
        :func:`bayescale.cards.default_laws`.
    card : str, path or ModelCard, optional
        Priors and likelihood of a single law: the name of a card, or a path ending in ``.toml``. By
        default the card with the law's name.
    weights : mapping of str to float, or "stacking", optional
        Shares of the laws in the average; equal by default, because few runs cannot tell which law
        extrapolates best. ``"stacking"`` backtests the laws first, one refit after the other, and
        takes the weights of :func:`bayescale.compare`.
    seed : int
        The same runs, card, seed and versions give the same draws on one machine.
    draws, tune, chains : int
        Draws and tuning steps per chain, and the number of chains. Tuning steps are not kept.
    cores : int, optional
        Threads to sample on; by default all cores of this computer.
    families : bool
        Whether families in the log get partially pooled terms of their own.
    show_progress : bool or callable, optional
        Show progress on standard error, or below the cell in a notebook; by default only in
        notebooks. A function is called with the progress instead: see
        :data:`bayescale.progress.Stage`.

    Returns
    -------
    Posterior or ModelAverage
        The posterior of one law, or the model average of several. It is returned whether or not it
        passed the convergence checks: see :attr:`Posterior.diagnostics`. If the draws fail the
        checks, sampling is repeated with longer tuning and a higher target acceptance, twice at
        most.

    Raises
    ------
    LawError, CardError, RunLogError, PosteriorError
        If laws, card, weights and runs do not fit each other, or if draws times chains are too few
        for leave-one-out.
    ValueError
        If draws, tuning steps or chains are too few.
    """
    runs = as_runs(runs)
    cards, alone = cards_of(runs, law, card)
    if alone and weights is not None:
        raise PosteriorError(
            "weights are for several laws, and only one is fitted: leave them out, or name "
            "several laws"
        )
    for chosen in cards:
        runs = runs_for(chosen, runs)
        require_runs_for(chosen.law, runs)
    cards = tuple(card_for(runs, chosen) for chosen in cards)
    for chosen in cards:
        require_level(runs, chosen)
    for name, value, least in (("draws", draws, 10), ("tune", tune, 10), ("chains", chains, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")
    if draws * chains < FEWEST_DRAWS:
        raise PosteriorError(
            f"draws times chains are {draws * chains}, but must be at least {FEWEST_DRAWS} for "
            "leave-one-out: raise `draws=` or `chains=`"
        )
    shown = None if callable(show_progress) else show_progress
    shares = _shares(runs, cards, weights, seed, shown)
    settings = {"draws": draws, "tune": tune, "chains": chains, "cores": cores, "seed": seed}
    with progress(show_progress) as stage:
        fitted = tuple(_fit_one(runs, chosen, families, settings, stage) for chosen in cards)
    return fitted[0] if alone else ModelAverage(fitted, shares)


def _shares(
    runs: Runs,
    cards: Sequence[ModelCard],
    weights: Mapping[str, float] | str | None,
    seed: int,
    show_progress: bool | None,
) -> tuple[float, ...]:
    if isinstance(weights, str):
        if weights != STACKING:
            raise PosteriorError(
                f"weights is {weights!r}, but must be {STACKING!r} or a share for each law"
            )
        questions = importlib.import_module("bayescale")  # its modules import this one
        tested = questions.backtest(
            runs, cards, executor=Serial(), seed=seed, show_progress=show_progress
        )
        found: Mapping[str, float] = questions.compare(tested).weights
        return model_weights([chosen.law.name for chosen in cards], found)
    return model_weights([chosen.law.name for chosen in cards], weights)


def cards_of(
    runs: Runs,
    law: str | Law | Sequence[str | Law | ModelCard] | None,
    card: str | Path | ModelCard | None = None,
) -> tuple[tuple[ModelCard, ...], bool]:
    """Return the cards that :func:`fit` fits, and whether they are of a single law."""
    if law is None and card is None:
        laws = default_laws(runs)
        law = laws if laws[1:] else laws[0]
    if law is None or isinstance(law, str | Law):
        return (choose_card(runs, law, card),), True
    return cards_for_laws(runs, law, card), False


def refit(
    runs: Source,
    card: str | Path | ModelCard,
    seed: int = 0,
    *,
    drift: bool = True,
    draws: int = 300,
    tune: int = 120,
) -> Posterior:
    """Sample one law on one core with few draws, as backtests do.

    Parameters
    ----------
    runs, card, seed
        As for :func:`fit`.
    drift : bool
        Whether the draws allow for the law's drift.
    draws, tune : int
        Draws and tuning steps per chain, of four chains.

    Returns
    -------
    Posterior
        Without prior, predictive and leave-one-out groups. With ``drift`` it has only the view
        ``drifting``, otherwise only ``exact``.
    """
    runs = as_runs(runs)
    card = card if isinstance(card, ModelCard) else load_card(card)
    runs = runs_for(card, runs)
    card = card_for(runs, card if drift else card.without_drift())
    settings = {"draws": draws, "tune": tune, "chains": 4, "cores": 1, "seed": seed}
    tries = EXACT_REFIT_TRIES if card.drift is None else REFIT_TRIES
    sampler, _ = Sampler.make(runs, card, settings, tries)
    tree, diagnostics = sampler.until_converged(**REFIT_LIMITS)
    record = {"diagnostics": diagnostics, "provenance": {"seed": seed}, "seconds": {}}
    group = EXACT if card.drift is None else DRIFTING
    groups = {
        group: tree["posterior"].to_dataset(),
        "sample_stats": tree["sample_stats"].to_dataset(),
    }
    return Posterior(xr.DataTree.from_dict(groups), card, runs, record)


def _fit_one(
    runs: Runs, card: ModelCard, families: bool, settings: Mapping[str, Any], stage: Stage
) -> Posterior:
    started = time.perf_counter()
    exact = card.without_drift()  # fewer dimensions, which sample faster
    record: dict[str, Any] = {
        "provenance": _provenance(runs, card, families, settings),
        "families": families,
    }
    of_drift = None
    apart = card.drift is not None and settings["cores"] != 1
    ahead = compiled_ahead(runs, exact, card, families) if apart else nullcontext()
    with ahead:
        of_law, compiling = Sampler.make(runs, exact, settings, EXACT_TRIES, families, stage)
        with of_law.start() as wait:
            if card.drift is not None:  # compiled and preconditioned while the exact law is sampled
                of_drift, more = Sampler.make(runs, card, settings, TRIES, families, stage)
                compiling += more
            first = wait()
    with nullcontext() if of_drift is None else of_drift.start() as wait:
        tree, reached = of_law.until_converged(lambda: first)
        checked = {card.law.name: reached}
        posterior = with_leave_one_out(Posterior(tree, card, runs, record))
        if of_drift is not None:
            tree, checked[f"{card.law.name} with drift"] = of_drift.until_converged(wait)
            posterior.tree[DRIFTING] = tree["posterior"]
    of_rest = _sampler_without_outliers(posterior, of_law)
    with nullcontext() if of_rest is None else of_rest.start() as wait:
        posterior = complete(posterior)
        without = None if of_rest is None else _comparison(posterior, of_rest, wait)
    record |= {"diagnostics": worst_diagnostics(checked), "without_outliers": without}
    total = time.perf_counter() - started
    record["seconds"] = {"compile": compiling, "sample": total - compiling, "total": total}
    return with_conflicts(replace(posterior, record=record))


def _sampler_without_outliers(posterior: Posterior, sampler: Sampler) -> Sampler | None:
    """Return the sampler for the runs without the outliers; None if there is nothing to compare."""
    runs, card, families = sampler.runs, sampler.card, sampler.families
    outliers = _outliers(posterior)
    rest = runs.take(~outliers)
    if not outliers.any() or len(rest) <= len(card.law.coefficients):
        return None
    if (
        family_names(rest, card, families) != family_names(runs, card, families)
        or card_for(rest, card) != card
    ):
        # without the outliers a family, or every run's further checkpoints, would be missing
        return None
    fewer = {name: min(sampler.settings[name], most) for name, most in FOR_COMPARISON.items()}
    settings = {**sampler.settings, **fewer}
    return Sampler.make(rest, card, settings, sampler.tries, families, sampler.stage)[0]


def _outliers(posterior: Posterior) -> np.ndarray:
    return posterior.tree["leave_one_out"].to_dataset()["outlier"].values.astype(bool)


def _comparison(
    posterior: Posterior, of_rest: Sampler, first: Callable[[], xr.DataTree] | None
) -> dict[str, Any]:
    """Compare coefficients with and without the outliers."""
    card, (tree, diagnostics) = of_rest.card, of_rest.until_converged(first, **COMPARISON_LIMITS)
    moved, without = {}, tree["posterior"].to_dataset()
    for name in card.law.coefficients:
        factor = card.coefficients[name].unit_factor
        moved[name] = {
            "with": quantiles(posterior.draws[name].values / factor),
            "without": quantiles(without[name].values / factor),
        }
    left_out = posterior.tree["leave_one_out"].to_dataset()
    return {
        "runs": [str(run) for run in left_out["run"].values[_outliers(posterior)]],
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
    """Return settings of :func:`fit` and versions; with runs and card they determine the draws."""
    return {
        "seed": seed,
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "families": families,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in VERSIONS_OF},
    }
