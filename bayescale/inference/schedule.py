"""Sampling until the draws converge: attempts in order, and thinning."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayescale.cards import ModelCard
from bayescale.inference.compile import compiled_model, ready
from bayescale.inference.diagnostics import check_convergence
from bayescale.inference.model.drift import with_walk
from bayescale.progress import Stage, about, quiet
from bayescale.runs import Runs

Tries = Sequence[tuple[int, float, int]]
"""Attempts in order: a factor on tuning steps, the target acceptance, and a factor on draws, which
are then thinned by it."""

TRIES: Tries = ((1, 0.9, 1), (2, 0.9, 4), (4, 0.99, 8))
EXACT_TRIES: Tries = ((1, 0.8, 1), (2, 0.95, 4), TRIES[2])
"""Attempts for a law without drift, which needs fewer steps."""

REFIT_TRIES = ((1, 0.85, 1), (3, 0.95, 2))
EXACT_REFIT_TRIES = ((1, 0.8, 1), (3, 0.95, 2))
"""Attempts for one refit among many: the first is short, because fewer than one in ten fails."""


WORTH_SAYING = 5.0
"""If sampling is expected to take more seconds than this, the progress bar shows the estimate."""


@contextmanager
def sampling(  # noqa: PLR0913 all settings of the sampler
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
    """Sample a card's model that has the data of these runs, while the block runs.

    Yields
    ------
    callable
        Waits for the draws and returns one in ``thin`` of them, with the groups ``posterior`` and
        ``sample_stats``.
    """
    from bayescale.inference import nuts  # imports nutpie

    count, text = chains * (draws * thin + tune), f"sampling {chains} chains"
    guess = nuts.guessed_seconds(model, count, min(chains, cores or os.cpu_count() or 1))
    if guess > WORTH_SAYING:
        text += f", about {about(guess)}"
    done = stage(text, total=count)
    under_way = nuts.sampling(
        model,
        draws=draws * thin,
        tune=tune,
        chains=chains,
        cores=cores,
        seed=seed,
        target_accept=target_accept,
        done=done,
    )

    def finished(tree: xr.DataTree) -> xr.DataTree:
        # drift walks and families' terms hold these values in the units of answers
        tree = thinned(tree, thin, ("any_step", "pooled_step"))
        return with_walk(tree, runs, card, seed) if card.integrates_drift(runs) else tree

    with under_way as wait:
        yield lambda: finished(wait())


def thinned(tree: xr.DataTree, thin: int, without: Sequence[str]) -> xr.DataTree:
    """Return one draw in ``thin``, without the variables that have one of these dims."""
    each, found = slice(thin - 1, None, thin), {}
    for name, group in tree.children.items():
        kept = group.to_dataset().isel(draw=each).drop_dims(without, errors="ignore")
        found[name] = kept.assign_coords(draw=np.arange(kept.sizes["draw"]))
    return xr.DataTree.from_dict(found)


def until_converged(
    attempt: Callable[..., AbstractContextManager[Callable[[], xr.DataTree]]],
    tries: Tries,
    first: Callable[[], xr.DataTree] | None = None,
    **limits: Any,
) -> tuple[xr.DataTree, dict[str, Any]]:
    """Return draws and diagnostics of the first attempt that passes the checks, or of the last one.

    ``attempt`` samples once, with the settings of one of the tries; ``first`` waits for the first
    attempt if that has started already. The limits are those of :func:`check_convergence`.
    """
    for number, how in enumerate(tries, 1):
        if first is not None and number == 1:
            tree = first()
        else:
            with attempt(*how) as wait:
                tree = wait()
        diagnostics = check_convergence(tree, **limits)
        diagnostics |= {"attempts": number, "target_accept": how[1]}
        if diagnostics["passed"] or number == len(tries):
            return tree, diagnostics
    raise ValueError("no attempt is given")


def sample(
    compiled: Any, runs: Runs, card: ModelCard, families: bool = True, **how: Any
) -> xr.DataTree:
    """Sample a compiled model: see :func:`sampling`."""
    with sampling(ready(compiled, runs, card, families), runs, card, **how) as wait:
        return wait()


@dataclass(frozen=True)
class Sampler:
    """A card's compiled model, with the runs and settings that it is sampled with."""

    model: Any
    runs: Runs
    card: ModelCard
    settings: Mapping[str, Any]
    tries: Tries
    families: bool = True
    stage: Stage = quiet

    @classmethod
    def make(
        cls,
        runs: Runs,
        card: ModelCard,
        settings: Mapping[str, Any],
        tries: Tries,
        families: bool = True,
        stage: Stage = quiet,
    ) -> "tuple[Sampler, float]":
        """Make a sampler for these runs, and return the seconds that compiling took."""
        compiled, seconds = compiled_model(runs, card, families, stage)
        model = ready(compiled, runs, card, families)
        return cls(model, runs, card, settings, tries, families, stage), seconds

    def attempt(
        self, times_tune: int, target_accept: float, thin: int
    ) -> AbstractContextManager[Callable[[], xr.DataTree]]:
        """Sample once: see :func:`sampling`."""
        how = {**self.settings, "tune": self.settings["tune"] * times_tune}
        how |= {"target_accept": target_accept, "thin": thin, "stage": self.stage}
        return sampling(self.model, self.runs, self.card, **how)

    def start(self) -> AbstractContextManager[Callable[[], xr.DataTree]]:
        """Start the first attempt: see :func:`sampling`."""
        return self.attempt(*self.tries[0])

    def until_converged(
        self, first: Callable[[], xr.DataTree] | None = None, **limits: Any
    ) -> tuple[xr.DataTree, dict[str, Any]]:
        """Return draws and diagnostics: see the function :func:`until_converged`."""
        return until_converged(self.attempt, self.tries, first, **limits)
