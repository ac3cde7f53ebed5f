"""Limits of the sizes that training runs have; sizes beyond them are probably in another unit."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from bayescale.errors import UnitError
from bayescale.units import unit_factor

LEAST_ASKED: Mapping[str, float] = MappingProxyType({"params": 1e4, "tokens": 1e5, "flops": 1e9})
"""The smallest sizes that a question may ask about; smaller ones are in another unit."""

LEAST_LOGGED: Mapping[str, float] = MappingProxyType({"params": 1e4, "tokens": 1e6, "flops": 1e12})
"""The smallest sizes of a run log's runs, unless their unit is stated."""

MOST: Mapping[str, float] = MappingProxyType({"params": 1e15, "tokens": 1e16, "flops": 1e35})
"""The largest sizes that runs can have: a hundred times those of the largest runs or more, and
three million years at 1e21 FLOP/s."""

NEAR_RUNS = 100.0
"""Sizes that are smaller than the smallest run by less than this factor are plausible."""


def require_plausible(asked: Any, scale: str, name: str | None = None, known: Any = None) -> None:
    """Refuse sizes that are too small for any training run, which are probably in another unit.

    Parameters
    ----------
    asked : array_like or None
        Sizes, as raw counts.
    scale : {"params", "tokens", "flops"}
        What they count.
    name : str, optional
        The argument; by default ``scale``.
    known : array_like, optional
        Sizes of runs. What is at least a hundredth of the smallest is plausible.

    Raises
    ------
    UnitError
        If a size is below :data:`LEAST_ASKED` and far below all known sizes.

    Examples
    --------
    >>> require_plausible(70, "params")
    Traceback (most recent call last):
    ...
    bayescale.errors.UnitError: `params=` is 70, but a run has 10,000 parameters or more: write ...
    """
    if asked is None:
        return
    least = LEAST_ASKED[scale]
    if known is not None:
        sizes = np.asarray(known, dtype=float)
        least = min(least, sizes[np.isfinite(sizes)].min(initial=np.inf) / NEAR_RUNS)
    values = np.atleast_1d(np.asarray(asked, dtype=float))
    if not (low := values[values < least]).size:
        return
    what = {"params": "parameters", "flops": "FLOP"}.get(scale, scale)
    raise UnitError(
        f"`{name or scale}=` is {low[0]:.6g}, but a run has {_plain(least)} {what} or more: "
        f"{_perhaps(scale, float(low[0]))}"
    )


def _plain(value: float) -> str:
    return f"{value:,.0f}" if 1 <= value < 1e6 else f"{value:.3g}"


def _perhaps(scale: str, value: float) -> str:
    """Return sizes that may be meant by one that is too small, for a message."""
    units = {"params": ("M", "B"), "tokens": ("B", "T"), "flops": ("ZFLOP", "PF-day")}[scale]
    gap = " " if scale == "flops" else ""
    likely = [
        f"{value:.6g}{gap}{unit}"
        for unit in units
        if LEAST_ASKED[scale] <= value * unit_factor(scale, unit) <= MOST[scale] / 10
    ]
    if scale == "flops" and value < 35 and 10**value > LEAST_LOGGED[scale]:
        likely.append(f"1e{value:.3g}")
    if not likely:
        return "write raw counts, such as 7e9, 1.4T or 5.76e23"
    return f"write {' or '.join(likely)} if that is meant"
