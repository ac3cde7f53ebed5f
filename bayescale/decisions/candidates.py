"""Candidate runs: checks of given ones, and a default grid."""

import numpy as np
import pandas as pd

from bayescale.errors import DecisionError, collected, listed
from bayescale.laws.optimum import OF_THE_DATA, splits
from bayescale.posterior import Fit, flop_count_of
from bayescale.splits import Constraints
from bayescale.verdict import sizes

GRID_BUDGETS, GRID_RATIOS = 12, (5.0, 20.0, 80.0)
"""The default grid of candidates: its number of budgets, and its tokens per parameter."""

WITHOUT_RUNS = 1000.0
"""Ratio of the budget to the smallest candidate of the grid, for a fit without runs."""


def checked_candidates(fit: Fit, given: pd.DataFrame | None, budget: float) -> pd.DataFrame:
    """Return the given candidates, or a grid, with the laws' inputs and ``flops``, their price.

    Raises
    ------
    DecisionError
        If candidates lack a column, a value is not finite and above zero, or none is within the
        budget.
    """
    inputs = [name for name in fit.inputs if name not in OF_THE_DATA]
    if given is None:
        given = _grid(fit, budget)
    given = given.assign(**{name: x for name, x in fit.held.items() if name not in given})
    lacking = [name for name in inputs if name not in given]
    if "flops" not in given and splits(fit.inputs) and not lacking:
        given = given.assign(flops=flop_count_of(fit).flops(given["params"], given["tokens"]))
    lacking += [name for name in ("flops",) if name not in given and name not in lacking]
    if lacking:
        raise DecisionError(
            f"the candidates have no column {' or '.join(lacking)}: each needs "
            f"{', '.join(dict.fromkeys([*inputs, 'flops']))} (flops is what it costs)"
        )
    table = given[list(dict.fromkeys([*inputs, "flops"]))].reset_index(drop=True)
    if not len(table):
        raise DecisionError("there are no candidates: name at least one")
    problems = []
    for name in table:
        values = pd.to_numeric(table[name], errors="coerce")
        wrong = ~(np.isfinite(values) & (values > 0))
        if wrong.any():
            rows = listed(f"row {i + 1} ({table[name][i]})" for i in np.flatnonzero(wrong))
            problems.append(f"{name} must be finite and above zero: {rows}")
    if problems:
        raise DecisionError(collected("these candidates cannot be evaluated:", problems))
    table = table.astype(float)
    if not (table["flops"] <= budget).any():
        raise DecisionError(
            f"the cheapest of {len(table)} candidates costs {table['flops'].min():.3g} FLOP, more "
            f"than the budget of {budget:.3g}: raise the budget, or name smaller runs"
        )
    return table


def _grid(fit: Fit, budget: float) -> pd.DataFrame:
    if splits(fit.inputs):
        ratios: tuple[float, ...] = GRID_RATIOS
    elif fit.inputs == ("flops",):
        ratios = (1.0,)
    else:
        raise DecisionError(
            f"law {fit.name!r} is a function of {' and '.join(fit.inputs)}, which does not say "
            "what a run costs: name candidates with their flops"
        )
    smallest = budget / WITHOUT_RUNS
    if fit.runs is not None:
        smallest = float(sizes(fit.runs.frame, fit.inputs).min())
    if smallest > budget:
        raise DecisionError(
            f"the budget of {budget:.3g} FLOP is below the smallest run of the log, "
            f"{smallest:.3g}: raise it, or name candidates"
        )
    flops = np.repeat(np.geomspace(smallest, budget, GRID_BUDGETS), len(ratios))
    of_log = Constraints(count=flop_count_of(fit))
    params, tokens = of_log.split(flops, np.log(np.tile(ratios, GRID_BUDGETS)))
    return pd.DataFrame({"params": params, "tokens": tokens, "flops": flops})
