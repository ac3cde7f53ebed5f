"""Utilization that depends on the model's size, and the compute that a budget of GPU time pays for.

A budget in days of GPUs pays for the same time whatever the model, but models that reach less of
the GPUs' peak do less compute in that time. So time is counted as the compute that it would allow
at a reference utilization: a FLOP of a model with half of that utilization counts twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from bayescale.conventions import FlopCount
from bayescale.errors import DecisionError, collected
from bayescale.runs import Runs
from bayescale.runs.inputs import read_inputs
from bayescale.units import as_size, format_size

_BISECTIONS = 50
_ROUNDING = 1e-9

_SLACK = 1.0
"""E-folds of params above the result for the fastest of the sizes: between two sizes a model may be
faster than at both."""


@dataclass(frozen=True)
class Utilization:
    """The share of the GPUs' peak that training reaches (MFU), by the model's size.

    Between the sizes it is a power of params: a straight line in the logs of both. Below the
    smallest and above the largest size it is constant.

    Attributes
    ----------
    sizes : tuple of float, shape (size,)
        Sizes in params, from small to large.
    shares : tuple of float, shape (size,)
        The share at each size, above 0 and at most 1. Shares may rise and fall.

    Raises
    ------
    DecisionError
        If a share is out of range, a size occurs twice, or shares rise as fast as sizes.

    Examples
    --------
    >>> falling = Utilization.of({"1B": 0.45, "100B": 0.2})
    >>> print(f"{falling.at(10e9):.2f}, {falling.at(1e12):.2f}")
    0.30, 0.20
    """

    sizes: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        named = [format_size(size) for size in self.sizes]
        problems = [
            f"{share:g} at {size} params must be above 0 and at most 1, such as 0.4 for 40 %"
            for size, share in zip(named, self.shares, strict=True)
            if not 0 < share <= 1
        ]
        growth = np.diff(np.log(self.sizes))
        problems += [
            f"{named[i]} params are given twice: give one share for each size"
            for i in np.flatnonzero(growth == 0)
        ]
        if not self.sizes:
            problems.append("no size is given: give at least one pair of params and share")
        if not problems:
            steep = np.diff(np.log(self.shares)) >= (1 - _ROUNDING) * growth
            problems = [
                f"{self.shares[i]:g} at {named[i]} to {self.shares[i + 1]:g} at {named[i + 1]} "
                "params rises as fast as the size, so that the larger model would take no more "
                "time per token: check both numbers"
                for i in np.flatnonzero(steep)
            ]
        if problems:
            raise DecisionError(collected("this utilization is not possible:", problems))

    @classmethod
    def of(cls, shares: Mapping[Any, float] | list[tuple[Any, float]]) -> "Utilization":
        """Return utilization from pairs of params, such as 1e9 or "1B", and shares, in any order.

        Raises
        ------
        DecisionError, UnitError
            See :class:`Utilization`.
        """
        pairs = shares.items() if isinstance(shares, Mapping) else shares
        known = sorted((float(as_size(size, "params")), float(share)) for size, share in pairs)
        return cls(tuple(size for size, _ in known), tuple(share for _, share in known))

    @classmethod
    def of_runs(cls, runs: Runs) -> "Utilization":
        """Return the utilization in the column ``utilization``, or ``mfu``, of a run log.

        Between the smallest and the largest model it is the power of params that fits the runs
        best, by least squares of logs.

        Raises
        ------
        DecisionError, RunLogError
            If the log has no such column of shares, or no params.
        """
        found = read_inputs(runs, ("utilization",), "utilization cannot be read off")
        if not {"params", "utilization"} <= set(found.columns):
            raise DecisionError(
                f"{runs.source} has no column of utilization by size: add a column `utilization` "
                "or `mfu`, besides params"
            )
        shares = found["utilization"]
        if wrong := [x for x in shares if not 0 < x <= 1]:
            raise DecisionError(
                f"utilization is {wrong[0]:g} in {runs.source}, but must be above 0 and at most 1, "
                "such as 0.4 for 40 %"
            )
        ends = np.unique([found["params"].min(), found["params"].max()])
        away = np.log(found["params"]) - np.log(found["params"]).mean()
        line = np.polyfit(away, np.log(shares), len(ends) - 1)
        fitted = np.exp(np.polyval(line, np.log(ends) - np.log(found["params"]).mean()))
        return cls(tuple(map(float, ends)), tuple(map(float, fitted)))

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """Sizes in params, each with its share."""
        return tuple(zip(self.sizes, self.shares, strict=True))

    @property
    def reference(self) -> float:
        """The share at the smallest size, at which GPU time is counted."""
        return self.shares[0]

    def at(self, params: Any) -> Any:
        """Return the share that models of these params reach, in the shape of ``params``."""
        logs = np.log(self.sizes), np.log(self.shares)
        return np.exp(np.interp(np.log(params), *logs))

    def in_words(self) -> str:
        """Return a text of the shares, and of what is assumed for other sizes."""
        if len(self.sizes) == 1:
            return f"{self.shares[0]:.0%} of the peak"
        by_size = ", ".join(f"{share:.0%} at {format_size(size)}" for size, share in self.pairs)
        return f"{by_size} params, and held there for smaller and larger models"


@dataclass(frozen=True, kw_only=True)
class GpuTimeCount(FlopCount):
    """A count of GPU time, as the FLOP that it would allow at the reference utilization.

    Attributes
    ----------
    utilization : Utilization
    """

    utilization: Utilization

    @classmethod
    def of(cls, count: FlopCount, utilization: Utilization) -> "GpuTimeCount":
        """Return the count of GPU time for a log's count of compute."""
        own = {each.name: getattr(count, each.name) for each in fields(FlopCount)}
        return cls(**own, utilization=utilization)

    @property
    def plain(self) -> FlopCount:
        """The log's count of compute, without utilization."""
        return FlopCount(**{each.name: getattr(self, each.name) for each in fields(FlopCount)})

    @property
    def is_constant(self) -> bool:
        """Whether models of all sizes take the same time for each parameter and token."""
        return super().is_constant and len(self.utilization.sizes) == 1

    @property
    def unit(self) -> str:
        """The unit of the count."""
        return f"FLOP at {self.utilization.reference:.0%} utilization"

    def per_param_token(self, params: Any) -> Any:
        """Return the time per parameter and token, for models of these sizes."""
        slower = self.utilization.reference / self.utilization.at(params)
        return super().per_param_token(params) * slower

    def in_flops(self, amount: Any, params: Any) -> Any:
        """Return the FLOP that training models of these sizes spends in this time."""
        return amount * self.utilization.at(params) / self.utilization.reference

    def solve(self, params_of: Callable[[Any], Any]) -> Any:
        """Return the params that are consistent with their own time: see :meth:`FlopCount.solve`.

        Utilization may change too fast for the iteration of that method, so logs of params are
        bisected.
        """
        ends = np.array([self.smallest, self.largest, *self.utilization.sizes])
        each = self.per_param_token(ends)
        low, high = np.log(params_of(each.max())), np.log(params_of(each.min())) + _SLACK
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            more = params_of(self.per_param_token(np.exp(middle))) > np.exp(middle)
            low, high = np.where(more, middle, low), np.where(more, high, middle)
        return np.exp((low + high) / 2)
