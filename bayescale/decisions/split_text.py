"""Splits of a budget as text: a line, an interval, and a row of a table of budgets."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.units import format_size, three_digits

NEAR_END = 1.01
"""Splits within this factor of an end of the search lie at it."""


def range_text(q: Mapping[str, float]) -> str:
    """Return the ends of an interval of sizes as text."""
    return f"{format_size(q['lower'])} to {format_size(q['upper'])}"


def split_text(point: Mapping[Any, Any] | pd.Series) -> str:
    """Return the params and tokens of a split as text."""
    return (
        f"{format_size(point['params'])} params on {format_size(point['tokens'])} tokens "
        f"({three_digits(point['tokens'] / point['params'])} per param)"
    )


def end_lines(tokens_per_param: xr.DataArray, searched: tuple[float, float]) -> Iterator[str]:
    """Yield a line for each end of the search at which draws have their best split."""
    sides = (
        ("fewest", "few", "below", searched[0], tokens_per_param < searched[0] * NEAR_END),
        ("most", "many", "above", searched[1], tokens_per_param > searched[1] / NEAR_END),
    )
    for most, many, side, end, there in sides:
        if (share := float(there.mean())) > 0:
            yield (
                f"  In {share:.1%} of draws the best split has the {most} tokens per parameter of "
                f"the search, {three_digits(end)}, a factor of 4.5 {side} the runs': the runs do "
                f"not say whether still {'fewer' if many == 'few' else 'more'} would be better. "
                f"Train runs with as {many} to find out."
            )


def frontier_row(row: Mapping[Any, Any]) -> dict[str, str]:
    """Return the cells of one budget's choice, from the row of the allocation's table.

    A budget that is known in days is shown in days instead of FLOP.
    """
    budget = {} if "days" in row else {"FLOP": f"{row['flops']:.3g}"}
    budget |= {"days": three_digits(row["days"])} if "days" in row else {}
    budget |= {"dollars": f"{row['dollars']:,.0f}"} if "dollars" in row else {}
    if np.isnan(row["choice_params"]):
        columns = ("params", "tokens", "tokens per param", "loss", "regret", "wasted")
        return budget | dict.fromkeys(columns, "-")
    ends = [three_digits(row[f"tokens_per_param_{end}"]) for end in ("lower", "upper")]
    wasted = f"{row['wasted_mean'] / row['choice_flops']:.1%}"
    if "wasted_dollars_mean" in row:
        wasted += f", ${row['wasted_dollars_mean']:,.0f}"
    losses = [f"{row[f'loss_{end}']:.3f}" for end in ("lower", "upper")]
    return budget | {
        "params": format_size(row["choice_params"]),
        "tokens": format_size(row["choice_tokens"]),
        "tokens per param": (
            f"{three_digits(row['choice_tokens'] / row['choice_params'])} ({' to '.join(ends)})"
        ),
        "loss": f"{row['loss_median']:.3f} ({' to '.join(losses)})",
        "regret": f"{row['regret_mean']:.2g}",
        "wasted": wasted,
    }
