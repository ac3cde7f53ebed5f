"""Forecasts of runs whose tokens per parameter lie outside the range of the fitted runs.

A backtest in compute does not test such forecasts: a point with the runs' compute and a hundred
times their tokens per parameter has a ratio of 1. So the runs with the fewest, or the most, tokens
per parameter are fitted, and the others are forecast.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard
from bayescale.runs import Runs
from bayescale.validation.held_out import Refit, Sample, forecast_held_out

SHARES = (0.4, 0.6)
"""Shares of the range of log tokens per parameter that are fitted, from each end."""

NEAR = 3.0
"""Held-out runs have between a third and three times the compute of the runs that were fitted."""


@dataclass(frozen=True, eq=False)
class AcrossTask:
    """A refit to runs of few, or of many, tokens per parameter, for a worker process.

    Attributes
    ----------
    side : int
        1 if runs of more tokens per parameter are forecast, -1 if runs of fewer are.
    share : float
        One of :data:`SHARES`.
    """

    refit: Refit
    card: ModelCard
    runs: Runs
    training: np.ndarray
    held_out: np.ndarray
    side: int
    share: float
    seed: int

    @property
    def key(self) -> tuple[str, str]:
        """The law's name, and which runs are fitted."""
        return self.card.law.name, self.name

    @property
    def name(self) -> str:
        """Which runs are fitted."""
        part = "lowest" if self.side > 0 else "highest"
        return f"{part} {self.share:.0%} of tokens per parameter"

    def __call__(self) -> Sample:
        """Fit the runs on one side, and return forecasts of those on the other."""
        posterior = self.refit(self.runs.take(self.training), self.card, self.seed)
        return forecast_held_out(posterior, self.runs.frame.loc[self.held_out])

    def scored(self, law: str, sample: Sample) -> pd.DataFrame:
        """Return one row per held-out run: see :attr:`bayescale.Backtest.across`."""
        ratio = log_ratio(self.runs)
        edge = (self.side * ratio[self.training]).max()
        return pd.DataFrame(
            {
                "law": law,
                "training": self.name,
                "run_id": self.runs["run_id"][self.held_out],
                "side": self.side,
                "distance": self.side * ratio[self.held_out] - edge,
                **sample.errors(self.runs["loss"][self.held_out]),
                "converged": sample.converged,
            }
        )


def log_ratio(runs: Runs) -> np.ndarray:
    """Return the log of tokens per parameter, shape (run,)."""
    return np.log(runs["tokens"] / runs["params"])


def across_tasks(runs: Runs, card: ModelCard, refit: Refit, least: int, seed: int) -> Iterator[Any]:
    """Yield the refits that a log of params and tokens allows: each needs ``least`` runs."""
    if not {"params", "tokens"} <= set(card.law.inputs):
        return
    ratio, flops = log_ratio(runs), runs["params"] * runs["tokens"]
    low, high = ratio.min(), ratio.max()
    for side in (1, -1):
        for share in SHARES:
            edge = low + share * (high - low) if side > 0 else high - share * (high - low)
            training = side * ratio <= side * edge
            if training.sum() < least or any(
                np.ptp(np.log(runs[name][training])) < 0.01 for name in ("params", "tokens")
            ):
                continue
            inside = flops[training]
            held_out = ~training & (flops >= inside.min() / NEAR) & (flops <= inside.max() * NEAR)
            if held_out.any():
                yield AcrossTask(refit, card, runs, training, held_out, side, share, seed)


def across_record(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what a fit stores: side, distance and coverage of every forecast, as plain values."""
    if not len(rows):
        return []
    return [
        {"side": int(side), "distance": float(distance), "covered": bool(covered)}
        for side, distance, covered in zip(
            rows["side"], rows["distance"], rows["covered90"], strict=True
        )
    ]
