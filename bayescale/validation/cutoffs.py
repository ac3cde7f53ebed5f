"""Cutoffs of a backtest: sizes up to which runs are fitted, so that larger ones can be forecast."""

from collections.abc import Iterable, Sequence

import numpy as np

from bayescale.cards import ModelCard
from bayescale.errors import TrustError, collected
from bayescale.runs import Runs
from bayescale.verdict import size_scale, sizes

FEWEST_TRAINING = 5
MOST_CUTOFFS = 8
SAME_SIZE = 0.01
"""Sizes with a smaller relative difference count as one, because digitized logs are inexact."""
LARGEST_SIZE = 0.1
"""The largest relative difference between values that count as one size."""


def training_mask(size: np.ndarray, cutoff: float) -> np.ndarray:
    """Return which runs are fitted at a cutoff: those up to it, or within 1 % of it."""
    return size <= cutoff * (1 + SAME_SIZE)


def ends_of_sizes(ordered: np.ndarray, within: float = SAME_SIZE) -> np.ndarray:
    """Return the index of each size's last value in sorted values.

    A size ends at a gap, or a tenth above its first value. Otherwise many runs, each close to the
    next, would count as one size.

    Examples
    --------
    >>> ends_of_sizes(np.array([1.0, 1.001, 2.0, 3.0])).tolist()
    [1, 2, 3]
    >>> len(ends_of_sizes(np.geomspace(1.0, 1000.0, 10_000)))
    73
    """
    gaps = np.append(ordered[1:] > ordered[:-1] * (1 + within), True)
    ends, start = [], 0
    while start < len(ordered):
        far = int(np.searchsorted(ordered, ordered[start] * (1 + LARGEST_SIZE), "right"))
        end = min(start + int(np.argmax(gaps[start:])), far - 1)
        ends.append(end)
        start = end + 1
    return np.array(ends)


def fewest_training(cards: Sequence[ModelCard]) -> int:
    """Return the fewest runs of a refit: five, or the number of coefficients of the largest law."""
    return max(FEWEST_TRAINING, *(len(card.law.coefficients) for card in cards))


def choose_cutoffs(
    runs: Runs, cards: Sequence[ModelCard], given: Iterable[float] | None = None
) -> tuple[float, ...]:
    """Return the cutoffs of a backtest, from small to large: see :func:`bayescale.backtest`.

    Raises
    ------
    TrustError
        If a cutoff leaves too few runs to fit or none to forecast, or no cutoff can be used.
    """
    inputs = cards[0].law.inputs
    size = sizes(runs.frame, inputs)
    least = fewest_training(cards)
    if given is not None:
        chosen = tuple(sorted({float(cutoff) for cutoff in given}))
        problems = [_problem(runs, inputs, size, cutoff, least) for cutoff in chosen]
        problems = list(filter(None, problems)) if chosen else ["no cutoff is given"]
        if problems:
            raise TrustError(
                collected(f"{runs.source} cannot be backtested at these cutoffs:", problems)
            )
        return chosen
    ordered = np.sort(size)
    ends = ordered[ends_of_sizes(ordered)]
    usable = [c for c in ends if _problem(runs, inputs, size, c, least) is None]
    if not usable:
        raise TrustError(
            f"{runs.source} cannot be backtested: its {len(runs)} runs have {len(ends)} size"
            f"{'' if len(ends) == 1 else 's'} in {size_scale(inputs)}, and holding out the largest "
            f"must leave at least {least} runs to fit, of two sizes of {' and of '.join(inputs)}: "
            "add runs"
        )
    targets = np.linspace(np.log(usable[0]), np.log(usable[-1]), MOST_CUTOFFS)
    nearest = {int(np.abs(np.log(usable) - target).argmin()) for target in targets}
    return tuple(float(usable[i]) for i in sorted(nearest))


def _problem(
    runs: Runs, inputs: Sequence[str], size: np.ndarray, cutoff: float, least: int
) -> str | None:
    """Return why a cutoff cannot be used, or None."""
    if not (np.isfinite(cutoff) and cutoff > 0):
        return f"cutoff {cutoff:g} must be finite and above zero"
    training = training_mask(size, cutoff)
    n = int(training.sum())
    if n == len(runs):
        return (
            f"cutoff {cutoff:.4g} leaves no larger run to forecast: the largest is {size.max():.4g}"
        )
    if n < least:
        return f"cutoff {cutoff:.4g} leaves {n} of {len(runs)} runs to fit, and {least} are needed"
    for name in inputs:
        values = runs[name][training]
        if values.max() <= values.min() * (1 + SAME_SIZE):
            return (
                f"cutoff {cutoff:.4g} leaves {n} runs of one size to fit, {name} = "
                f"{values[0]:.4g}, and two are needed"
            )
    return None
