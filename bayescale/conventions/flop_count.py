"""How a log counts compute: C / (N D) as a function of the model's size.

Budgets, prices and extrapolation ratios are in the log's own count. This is 6 N D if the log's
flops are 6 N D or missing. Otherwise the FLOP per parameter and token are estimated from the log.
They fall with size if compute includes attention and embeddings, whose share falls.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.units import format_size

SIX = 6.0
"""FLOP per parameter and token: 2 in the forward pass and 4 in the backward pass."""

FORWARD_SHARE = 1.0 / 3.0
"""Share of the forward pass in training: the cost of serving a token relative to training on it."""

EQUAL = 0.03
"""Counts that differ by less than this share are the same count, rounded differently."""

STEEPEST = 0.5
"""The steepest plausible change of C / (N D) with params, in logs."""

_POWERS = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 1.0)
_STEPS = 60


@dataclass(frozen=True, kw_only=True)
class FlopCount:
    """FLOP of training in a log's own count: C = (level + extra * (N / smallest)^-power) N D.

    Models outside the log's range are assumed to cost as many FLOP per parameter and token as its
    largest or smallest model.

    Attributes
    ----------
    level, extra, power : float
        Coefficients of the FLOP per parameter and token. ``extra`` is zero if these do not depend
        on size.
    smallest, largest : float
        The range of params in the log.
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
        """Whether models of all sizes cost the same FLOP per parameter and token."""
        return self.extra == 0.0

    @property
    def is_6nd(self) -> bool:
        """Whether it is C = 6 N D."""
        return self.is_constant and self.level == SIX

    @property
    def plain(self) -> "FlopCount":
        """The count of the log in FLOP: this count, unless budgets are counted in another unit."""
        return self

    @property
    def unit(self) -> str:
        """The unit of budgets."""
        return "FLOP"

    def in_flops(self, amount: Any, params: Any) -> Any:
        """Return an amount in the unit of budgets as FLOP of training models of these sizes."""
        return amount * np.ones_like(params)

    def per_param_token(self, params: Any) -> Any:
        """Return the FLOP per parameter and token, for models of these sizes."""
        if self.is_constant:
            return self.level
        size = np.clip(params, self.smallest, self.largest) / self.smallest
        return self.level + self.extra * size**-self.power

    def flops(self, params: Any, tokens: Any) -> Any:
        """Return the FLOP of training."""
        return self.per_param_token(params) * params * tokens

    def served(self, params: Any, tokens: Any) -> Any:
        """Return the FLOP of serving tokens, which needs the forward pass alone."""
        return self.per_param_token(params) * FORWARD_SHARE * params * tokens

    def tokens(self, flops: Any, params: Any) -> Any:
        """Return the training tokens that a budget buys for models of these sizes."""
        return flops / (self.per_param_token(params) * params)

    def solve(self, params_of: Callable[[Any], Any]) -> Any:
        """Return the params that are consistent with their own FLOP per parameter and token.

        Parameters
        ----------
        params_of : callable
            A function from FLOP per parameter and token to params, which fall at most in
            proportion.
        """
        params = params_of(self.per_param_token(self.largest))
        for _ in range(0 if self.is_constant else _STEPS):
            params, before = params_of(self.per_param_token(params)), params
            if np.allclose(params, before, rtol=1e-14, atol=0):
                break
        return params

    def in_words(self) -> str:
        """Return a text on the count, its spread, and the assumption beyond the log."""
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
        """A line on how compute is counted, if that is not 6 N D."""
        return () if self.is_6nd else (f"  Compute is counted as {self.in_words()}.",)

    def to_json(self) -> dict[str, Any]:
        """Return plain values by name, and the text."""
        return {**asdict(self), "words": self.in_words()}


SIX_ND = FlopCount()
"""C = 6 N D (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""


def read_flop_count(columns: pd.DataFrame | Mapping[str, Any]) -> FlopCount:
    """Return how a log counts compute, estimated from its runs.

    Parameters
    ----------
    columns : pandas.DataFrame or mapping
        ``params``, ``tokens`` and ``flops`` of the runs, in raw units; runs that lack one are not
        used.

    Returns
    -------
    FlopCount
        :data:`SIX_ND` if the runs do not tell, or agree with it within :data:`EQUAL`.

    Notes
    -----
    C / (N D) is a constant, or a constant plus a power of params, fitted by least squares of its
    relative error. The second form needs three sizes, must leave less than half of the squared
    error of the first, and must not be steeper than :data:`STEEPEST`.
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
    """Return fitted counts that change with size, one for each power."""
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
