"""Splits of a compute budget between parameters and tokens: the best of each draw, and a choice."""

from bayescale.splits.choice import (
    DefaultSplit,
    Solved,
    chosen,
    default_sizes,
    default_split,
    limits_of,
    solve,
    solve_down_to,
    solved,
)
from bayescale.splits.constraints import Constraints, checked_budgets, searched_range
from bayescale.splits.optimum import best_split, least_compute, losses_of, without_rounding

__all__ = [
    "Constraints",
    "DefaultSplit",
    "Solved",
    "best_split",
    "checked_budgets",
    "chosen",
    "default_sizes",
    "default_split",
    "least_compute",
    "limits_of",
    "losses_of",
    "searched_range",
    "solve",
    "solve_down_to",
    "solved",
    "without_rounding",
]
