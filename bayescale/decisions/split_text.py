"""Splits of a budget as text: a line, an interval, and a row of a table of budgets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayescale.units import format_size, three_digits


def range_text(q: Mapping[str, float]) -> str:
    """Return the ends of an interval of sizes as text."""
    return f"{format_size(q['lower'])} to {format_size(q['upper'])}"


def split_text(point: Mapping[Any, Any] | pd.Series) -> str:
    """Return the params and tokens of a split as text."""
    return (
        f"{format_size(point['params'])} params on {format_size(point['tokens'])} tokens "
        f"({three_digits(point['tokens'] / point['params'])} per param)"
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
