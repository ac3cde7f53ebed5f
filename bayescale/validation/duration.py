"""A guess of how long refits will take, from the time of one refit to a part of the runs."""

import time
from collections.abc import Sequence

import numpy as np

from bayescale.cards import ModelCard
from bayescale.random import Purpose, generator
from bayescale.runs import Runs
from bayescale.validation.held_out import Refit

MANY_ROWS = 20_000
"""With fewer rows in all refits together, they take minutes at most, and nothing is timed."""

TIMED_ROWS = 1000
"""Number of runs in the timed refit."""


def guessed_seconds(
    refits: Sequence[tuple[Runs, ModelCard]], refit: Refit, workers: int = 1
) -> float:
    """Guess how many seconds refits take, from the time of one refit to 1,000 runs.

    Parameters
    ----------
    refits : sequence of (Runs, ModelCard)
        The runs and the card of each refit.
    refit : callable
        ``refit(runs, card, seed)`` makes a posterior.
    workers : int
        Number of refits that run at once.

    Returns
    -------
    float
        Seconds, or zero for refits of fewer than 20,000 rows in all. The guess is proportional to
        the number of rows, without second attempts of refits that fail their checks.
    """
    if sum(len(runs) for runs, _ in refits) < MANY_ROWS:
        return 0.0
    by_law: dict[str, list[tuple[Runs, ModelCard]]] = {}
    for runs, card in refits:
        by_law.setdefault(card.law.name, []).append((runs, card))
    total = 0.0
    for same in by_law.values():
        longest, card = max(same, key=lambda each: len(each[0]))
        few = _some_of(longest)
        refit(few, card, 0)  # compiles the model
        began = time.perf_counter()
        refit(few, card, 0)
        rows = sum(len(runs) for runs, _ in same)
        total += (time.perf_counter() - began) * rows / len(few)
    return total / workers


def _some_of(runs: Runs) -> Runs:
    """Return 1,000 of the runs at random, so that all sizes are among them."""
    chosen = generator(0, Purpose.TIMED_REFIT).permutation(len(runs))[:TIMED_ROWS]
    return runs.take(np.isin(np.arange(len(runs)), chosen))
