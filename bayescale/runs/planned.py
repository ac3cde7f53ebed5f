"""Runs that are planned and not yet trained: their scales, as people write them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.errors import MOST_LISTED, RunLogError, UnitError, collected, listed
from bayescale.laws.law import INPUTS
from bayescale.runs.table import load_table
from bayescale.units import parse_size


@dataclass(frozen=True, eq=False)
class Planned:
    """A table of planned runs, one a row.

    Attributes
    ----------
    name : str
        Of the file.
    scales : mapping of str to numpy.ndarray, shape (run,)
        The columns out of :data:`bayescale.laws.law.INPUTS`, in raw units.
    others : pandas.DataFrame
        All further columns, as they stand in the file.
    """

    name: str
    scales: Mapping[str, np.ndarray]
    others: pd.DataFrame

    def require_apart(self, table: pd.DataFrame) -> None:
        """Refuse further columns that an answer has too.

        Raises
        ------
        RunLogError
            If any is named alike.
        """
        if both := [repr(name) for name in self.others if name in table]:
            raise RunLogError(
                f"{self.name} has a column {listed(both)}, which the answer has too: rename it, "
                "or leave it out"
            )

    def beside(self, table: pd.DataFrame) -> pd.DataFrame:
        """The further columns, and those of an answer that has a row for each planned run."""
        self.require_apart(table)
        return pd.concat([self.others, table.set_axis(self.others.index)], axis=1)


def read_planned(path: str | Path) -> Planned:
    """Read planned runs from a CSV, Parquet or JSON-lines file.

    Parameters
    ----------
    path : path
        With a header out of ``params``, ``tokens``, ``flops``, ``unique_tokens``,
        ``kept_fraction`` and ``lm_loss``; sizes as people write them (``70B``), or raw counts.

    Raises
    ------
    RunLogError
        If the file cannot be read, has none of these columns, or a cell is no size.
    """
    raw, name = load_table(path)
    columns = [column for column in raw if column in INPUTS]
    if not columns:
        raise RunLogError(
            f"{name} has none of the columns {', '.join(INPUTS)}, but {listed(map(str, raw))}: "
            "name them so"
        )
    values: dict[str, list[float]] = {str(column): [] for column in columns}
    problems = []
    for column in columns:
        for row, cell in enumerate(raw[column], 1):
            try:
                values[column].append(parse_size(cell, f"row {row}, {column}"))
            except UnitError as error:
                problems.append(str(error))
    if problems:
        shown, more = problems[:MOST_LISTED], len(problems) - MOST_LISTED
        shown += [f"and {more} more"] * (more > 0)
        raise RunLogError(collected(f"{name} cannot be used:", shown))
    scales = {column: np.array(sizes) for column, sizes in values.items()}
    return Planned(name, scales, raw.drop(columns=columns))
