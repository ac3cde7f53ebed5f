"""How a log counts the compute of a run: C / (N D) as a function of the model's size.

Budgets, prices and extrapolation ratios are in the log's own count. Where its flops are 6 N D, or
absent, that is 6 N D. Elsewhere the FLOP of one parameter and token are read off the log: they
fall with size where compute counts attention and embeddings, whose share falls.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.units import format_size

SIX = 6.0
"""FLOP of one parameter on one token: 2 in the forward pass, 4 in the backward pass."""

FORWARD_SHARE = 1.0 / 3.0
"""Share of the forward pass in training: what serving a token costs of training on it."""

EQUAL = 0.03
"""Counts within this share are one count, differently rounded."""

STEEPEST = 0.5
"""Steepest change of C / (N D) with params, in logs, that counts as a way of counting."""

_POWERS = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 1.0)
_STEPS = 60


@dataclass(frozen=True, kw_only=True)
class FlopCount:
    """FLOP of training in a log's own count: C = (level + extra * (N / smallest)^-power) N D.

    Models beyond the log's are taken to cost, for each parameter and token, as much as its largest
    or smallest.

    Attributes
    ----------
    level, extra, power : float
        FLOP of one parameter and token. ``extra`` is zero where they do not depend on size.
    smallest, largest : float
        Params between which the log shows it.
    lower, median, upper : float
        C / (6 N D) over the log's runs.
    scatter : float
        Largest departure of a run's C from this count, in logs.
    """

    level: float = SIX
    extra: float = 0.0
    power: float = 0.0
    smallest: float = 1.0
    largest: float = 1.0
    lower: float = 1.0
    median: float = 1.0
    upper: float = 1.0
    scatter: float = 0.0

    @property
    def is_constant(self) -> bool:
        """Whether models of all sizes cost the same for each parameter and token."""
        return self.extra == 0.0

    @property
    def is_6nd(self) -> bool:
        """Whether it is C = 6 N D."""
        return self.is_constant and self.level == SIX

    @property
    def plain(self) -> "FlopCount":
        """How the log counts compute, where budgets are counted otherwise; else this count."""
        return self

    @property
    def unit(self) -> str:
        """What is counted."""
        return "FLOP"

    def in_flops(self, amount: Any, params: Any) -> Any:
        """Return FLOP of training models of these sizes, of an amount of what is counted."""
        return amount * np.ones_like(params)

    def per_param_token(self, params: Any) -> Any:
        """Return FLOP of one parameter on one token, for models of these sizes."""
        if self.is_constant:
            return self.level
        size = np.clip(params, self.smallest, self.largest) / self.smallest
        return self.level + self.extra * size**-self.power

    def flops(self, params: Any, tokens: Any) -> Any:
        """Return FLOP of training."""
        return self.per_param_token(params) * params * tokens

    def served(self, params: Any, tokens: Any) -> Any:
        """Return FLOP of serving tokens, which takes the forward pass alone."""
        return self.per_param_token(params) * FORWARD_SHARE * params * tokens

    def tokens(self, flops: Any, params: Any) -> Any:
        """Return the training tokens that a budget buys a model."""
        return flops / (self.per_param_token(params) * params)

    def solve(self, params_of: Callable[[Any], Any]) -> Any:
        """Find the params that agree with their own FLOP of one parameter and token.

        Parameters
        ----------
        params_of : callable
            From FLOP of one parameter and token to params, which fall with them at most in
            proportion.
        """
        params = params_of(self.per_param_token(self.largest))
        for _ in range(0 if self.is_constant else _STEPS):
            params, before = params_of(self.per_param_token(params)), params
            if np.allclose(params, before, rtol=1e-14, atol=0):
                break
        return params

    def in_words(self) -> str:
        """Write the count, its spread, and what is assumed beyond the log."""
        if self.is_6nd:
            return "6 N D"
        within = f", within {np.expm1(self.scatter):.0%}" if self.scatter > EQUAL else ""
        if self.is_constant:
            spread = f" (runs from {self.lower:.3g} to {self.upper:.3g}{within})" if within else ""
            times = f"{self.level / SIX:.3g} times 6 N D, as in the log"
            return f"{times}{spread}, whatever the model's size"
        ends = [self.per_param_token(size) / SIX for size in (self.smallest, self.largest)]
        return (
            f"{ends[0]:.3g} times 6 N D at {format_size(self.smallest)} params to {ends[1]:.3g} "
            f"times at {format_size(self.largest)}, as in the log{within}; larger models are taken "
            f"to cost {ends[1]:.3g} times 6 N D too, smaller ones {ends[0]:.3g} times"
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """A line on how compute is counted, where that is not 6 N D; else none."""
        return () if self.is_6nd else (f"  Compute is counted as {self.in_words()}.",)

    def to_json(self) -> dict[str, Any]:
        """Return plain values under their names, and the words."""
        return {**asdict(self), "words": self.in_words()}


SIX_ND = FlopCount()
"""C = 6 N D (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""


def read_flop_count(columns: pd.DataFrame | Mapping[str, Any]) -> FlopCount:
    """Read off a log how it counts compute.

    Parameters
    ----------
    columns : pandas.DataFrame or mapping
        ``params``, ``tokens`` and ``flops`` of the runs, in raw units; runs that lack one say
        nothing.

    Returns
    -------
    FlopCount
        :data:`SIX_ND` where the runs do not say, or agree with it within :data:`EQUAL`.

    Notes
    -----
    C / (N D) is a constant, or a constant and a part that changes as a power of params, by least
    squares of its relative error. The second needs three sizes, must leave less than half of the
    first's squared error, and must not be steeper than :data:`STEEPEST`.
    """
    if not {"params", "tokens", "flops"} <= set(columns):
        return SIX_ND
    n, d, c = (np.asarray(columns[name], dtype=float) for name in ("params", "tokens", "flops"))
    known = np.isfinite(n) & np.isfinite(d) & np.isfinite(c)
    if not known.any():
        return SIX_ND
    params, ratio = n[known], (c / (n * d))[known]
    middle = float(np.median(ratio))
    about = {
        "smallest": float(params.min()),
        "largest": float(params.max()),
        "lower": float(ratio.min()) / SIX,
        "median": middle / SIX,
        "upper": float(ratio.max()) / SIX,
    }
    flat = FlopCount(level=middle, **about)
    best = min((flat, *_falling(params, ratio, about)), key=lambda x: _error(x, params, ratio))
    flat_error = _error(flat, params, ratio)
    chosen = best if _error(best, params, ratio) < flat_error / 2 else flat
    ends = [chosen.per_param_token(size) for size in (chosen.smallest, chosen.largest)]
    if np.ptp(np.log(ends)) < EQUAL:
        chosen = flat
    if chosen.is_constant and abs(np.log(chosen.level / SIX)) < EQUAL:
        return SIX_ND
    scatter = float(np.abs(np.log(ratio / chosen.per_param_token(params))).max())
    return FlopCount(**{**asdict(chosen), "scatter": scatter})


def _error(count: FlopCount, params: np.ndarray, ratio: np.ndarray) -> float:
    return float(np.sum(np.log(ratio / count.per_param_token(params)) ** 2))


def _falling(params: np.ndarray, ratio: np.ndarray, about: Mapping[str, float]) -> list[FlopCount]:
    """Fit counts that change with size, one for each power."""
    if np.unique(params).size < 3:
        return []
    found = []
    for power in _POWERS:
        size = (params / about["smallest"]) ** -power
        design = np.column_stack([np.ones_like(size), size]) / ratio[:, None]
        level, extra = np.linalg.lstsq(design, np.ones_like(ratio), rcond=None)[0]
        count = FlopCount(level=float(level), extra=float(extra), power=power, **about)
        x = np.geomspace(about["smallest"], about["largest"], 50)
        y = count.per_param_token(x)
        if np.all(y > 0) and np.all(abs(np.gradient(np.log(y), np.log(x))) <= STEEPEST):
            found.append(count)
    return found
