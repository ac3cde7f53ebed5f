"""The form of one check: passed, failed or information, a sentence, and what it rests on."""

from typing import Any, NamedTuple

import pandas as pd


class Check(NamedTuple):
    """One thing that was looked at, and what came of it.

    Attributes
    ----------
    name : str
        Short and stable, for people and programs.
    passed : bool or None
        None: information, which nothing depends on.
    text : str
        A sentence: what was found, and what to do where that is known.
    table : pandas.DataFrame or None
        The figures behind it.
    """

    name: str
    passed: bool | None
    text: str
    table: pd.DataFrame | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        rows = None if self.table is None else self.table.rename_axis("name").reset_index()
        table = None if rows is None else rows.to_dict(orient="records")
        return {"name": self.name, "passed": self.passed, "text": self.text, "table": table}

    def __str__(self) -> str:
        word = {True: "pass", False: "FAIL", None: "info"}[self.passed]
        return f"{word}  {self.name}: {self.text}"
