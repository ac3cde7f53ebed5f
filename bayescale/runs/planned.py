"""Tables of planned runs, which are not trained yet."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.errors import RunLogError, UnitError, collected, first_few, listed
from bayescale.laws.law import INPUTS
from bayescale.runs.table import load_table
from bayescale.units import parse_size


@dataclass(frozen=True, eq=False)
class Planned:
    """A table of planned runs, one per row.

    Attributes
    ----------
    name : str
        The file's name.
    scales : mapping of str to numpy.ndarray, shape (run,)
        The columns that are among :data:`bayescale.laws.law.INPUTS` or the further inputs that the
        caller names, in raw units.
    others : pandas.DataFrame
        All other columns, unchanged.
    """

    name: str
    scales: Mapping[str, np.ndarray]
    others: pd.DataFrame

    def require_distinct(self, table: pd.DataFrame) -> None:
        """Refuse other columns that have the name of a column of the answer."""
        if both := [repr(name) for name in self.others if name in table]:
            raise RunLogError(
                f"{self.name} has a column {listed(both)}, which the answer has too: rename it, "
                "or leave it out"
            )

    def joined(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the other columns joined with an answer that has a row for each planned run."""
        self.require_distinct(table)
        return pd.concat([self.others, table.set_axis(self.others.index)], axis=1)


def read_planned(path: str | Path, others: Collection[str] = ()) -> Planned:
    """Read planned runs from a CSV, Parquet or JSON-lines file.

    Parameters
    ----------
    path : path
        A file with columns ``params``, ``tokens``, ``flops``, ``unique_tokens``, ``kept_fraction``
        or ``lm_loss``, as raw counts or texts such as ``70B``.
    others : collection of str
        Inputs of the laws that the package does not know.

    Raises
    ------
    RunLogError
        If the file cannot be read, has none of these columns, or a cell is not a size.
    """
    raw, name, _ = load_table(path)
    inputs = (*INPUTS, *others)
    columns = [str(column) for column in raw if column in inputs]
    if not columns:
        raise RunLogError(
            f"{name} has none of the columns {', '.join(inputs)}, but {listed(map(str, raw))}: "
            "rename its columns"
        )
    scales = {column: np.full(len(raw), np.nan) for column in columns}
    problems = []
    for column in columns:
        for row, cell in enumerate(raw[column]):
            try:
                scales[column][row] = parse_size(cell, f"row {row + 1}, {column}")
            except UnitError as error:
                problems.append(str(error))
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", first_few(problems)))
    return Planned(name, scales, raw.drop(columns=columns))
