"""The answer that every check of trust gives."""

from typing import NamedTuple

import pandas as pd


class Check(NamedTuple):
    """Whether something holds, in one sentence of advice, with the figures behind it.

    Attributes
    ----------
    name : str
        Stable, for programs.
    passed : bool or None
        None where the check only informs.
    text : str
        A sentence that says what was found and what to do.
    table : pandas.DataFrame or None
        What the sentence was drawn from.
    """

    name: str
    passed: bool | None
    text: str
    table: pd.DataFrame | None = None
