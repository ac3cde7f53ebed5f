"""Whether laws agree on an answer: where they do not, no average of them is one.

A median over the draws of laws that say 250B and 8.5T tokens is a number that no law holds. Each
law's own answer is then given, and none of the average.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr

from bayescale.results import quantiles_by_rank
from bayescale.units import format_size

MOST_APART = 3.0
"""Factor between medians of laws, in tokens, params or FLOP, up to which they agree."""

GAP, FEWEST_DRAWS = 2.0, 100
"""Factor between neighboring draws that is a gap; draws needed to see one."""

CENTRAL = 0.5
"""Mass around the median in which a gap matters: there it makes the median arbitrary."""


class Averaged(Protocol):
    """A result that may be of several laws, with each law's own."""

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
        """The laws' shares."""
        ...


def disagreement[R: Averaged](
    result: R,
    draws: Callable[[R], xr.DataArray],
    what: str,
    form: Callable[[float], str] = format_size,
) -> str | None:
    """Say how laws disagree on an amount, if they do.

    Parameters
    ----------
    result : Averaged
        The answer of one law or of several.
    draws : callable
        Gives a result's draws of the amount, dims (chain, draw); they may be infinite.
    what : str
        What is counted: ``tokens``, ``params`` or ``FLOP``.
    form : callable
        How to write an amount.

    Returns
    -------
    str or None
        None for a single law, or if the medians of all laws with a share differ by a factor of at
        most :data:`MOST_APART` and the average's draws have no gap in their central half.
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
    """Find the first gap between neighboring draws around the median."""
    values = np.sort(np.asarray(average, dtype=float).ravel())
    values = values[~np.isnan(values)]
    tail = int(len(values) * (1 - CENTRAL) / 2)
    inside = values[tail : len(values) - tail]
    inside = inside[np.isfinite(inside)]
    if len(values) < FEWEST_DRAWS or len(inside) < 2:
        return None
    wide = np.flatnonzero(inside[1:] > GAP * inside[:-1])
    return (float(inside[wide[0]]), float(inside[wide[0] + 1])) if len(wide) else None
