"""Whether laws agree on an answer; if they do not, their average is not an answer.

If two laws say 250B and 8.5T tokens, a median over the draws of both is a number that neither law
supports. Then each law's own answer is given, and no answer of the average.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr

from bayescale.results import quantiles_by_rank
from bayescale.units import format_size

MOST_APART = 3.0
"""The largest factor between medians of laws, in tokens, params or FLOP, with which they agree."""

GAP, FEWEST_DRAWS = 2.0, 100
"""The factor between neighboring draws from which they have a gap, and the draws needed to see
it."""

CENTRAL = 0.5
"""The mass around the median in which a gap matters, because it makes the median arbitrary."""


class Averaged(Protocol):
    """A result of one law or of several, with the result of each law."""

    @property
    def law(self) -> str:
        """The law's name."""
        ...

    @property
    def by_law(self) -> Sequence[Any]:
        """Each law's own result; empty for one law."""
        ...

    @property
    def weights(self) -> Sequence[float]:
        """The weights of the laws, which sum to one."""
        ...


def disagreement[R: Averaged](
    result: R,
    draws: Callable[[R], xr.DataArray],
    what: str,
    form: Callable[[float], str] = format_size,
) -> str | None:
    """Return how laws disagree on an amount, if they do.

    Parameters
    ----------
    result : Averaged
        The answer of one law or of several.
    draws : callable
        A function from a result to its draws of the amount, dims (chain, draw); they may be
        infinite.
    what : str
        What is counted: ``tokens``, ``params`` or ``FLOP``.
    form : callable
        A function from an amount to its text.

    Returns
    -------
    str or None
        A text. None for a single law, or if the medians of all laws with a weight above zero differ
        by a factor of at most :data:`MOST_APART` and the average's draws have no gap in their
        central half.
    """
    shares = zip(result.by_law, result.weights, strict=True)
    medians = {
        law.law: quantiles_by_rank(draws(law))["median"] for law, share in shares if share > 0
    }
    if len(medians) < 2:
        return None
    low, high = min(medians.values()), max(medians.values())
    if low == high == np.inf:
        return None
    if not high <= MOST_APART * low:
        each = [f"{name} says {_amount(x, what, form)}" for name, x in medians.items()]
        return f"The laws do not agree: {', '.join(each)}. {_ADVICE}"
    gap = _gap(draws(result))
    if gap is None:
        return None
    return (
        f"The laws do not agree: no draw lies between {form(gap[0])} and {form(gap[1])} {what}. "
        f"{_ADVICE}"
    )


_ADVICE = (
    "An average would be a number that no law holds, so none is given: decide which law to "
    "believe, or buy runs that tell them apart."
)


def _amount(value: float, what: str, form: Callable[[float], str]) -> str:
    return f"{form(value)} {what}" if np.isfinite(value) else f"no amount of {what}"


def _gap(average: xr.DataArray) -> tuple[float, float] | None:
    """Return the ends of the first gap between neighboring draws around the median, or None."""
    values = np.sort(np.asarray(average, dtype=float).ravel())
    values = values[~np.isnan(values)]
    tail = int(len(values) * (1 - CENTRAL) / 2)
    inside = values[tail : len(values) - tail]
    inside = inside[np.isfinite(inside)]
    if len(values) < FEWEST_DRAWS or len(inside) < 2:
        return None
    wide = np.flatnonzero(inside[1:] > GAP * inside[:-1])
    return (float(inside[wide[0]]), float(inside[wide[0] + 1])) if len(wide) else None
