"""The note that commands print before refits that take minutes or hours."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bayescale.cli.output import note_beside
from bayescale.progress import about

if TYPE_CHECKING:
    from bayescale.cards import ModelCard
    from bayescale.runs import Runs

WORTH_A_NOTE = 120.0
"""Duration of refits, in seconds, from which a note is printed before they begin."""


def note_long_refits(
    log: "Runs",
    cards: "Sequence[ModelCard]",
    cutoffs: Sequence[float] | None = None,
    workers: int | None = None,
    then: str = "",
) -> None:
    """Print on standard error how long a backtest will take, what follows, and what is faster."""
    from bayescale.validation.backtest import default_refit, planned_refits
    from bayescale.validation.duration import guessed_seconds

    refits = planned_refits(log, cards, cutoffs)
    at_once = min(workers or os.cpu_count() or 1, len(refits))
    seconds = guessed_seconds(refits, default_refit(), at_once)
    if seconds < WORTH_A_NOTE:
        return
    largest = max(len(runs) for runs, _ in refits)
    cores = "1 core" if at_once == 1 else f"{at_once} cores"
    text = f"Note (long): {len(refits)} refits of up to {largest:,} runs take about "
    text += f"{about(seconds)} on {cores}, guessed from one that was timed{then}. "
    text += "bayescale backtest, compare and trust take less with one --cutoff SIZE, or elsewhere "
    note_beside([f"{text}with --executor dask://HOST:PORT."])
