"""Conversion of runs to other conventions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.conventions import read_flop_count
from bayescale.errors import RunLogError, collected
from bayescale.runs.cells import where
from bayescale.runs.harmonize import Harmonized
from bayescale.runs.log import Runs
from bayescale.runs.read import as_runs
from bayescale.runs.statements import unstated


def convert(runs: Runs | pd.DataFrame | str | Path, **to: Any) -> Runs:
    """Convert runs to other conventions.

    Parameters
    ----------
    runs : Runs, pandas.DataFrame or path
        Runs that state the conventions that the conversion needs.
    **to
        The conventions to convert to: ``params``, ``flops``, ``tokenizer`` or ``tokens_per_byte``.
        Params change by the difference outside the blocks, so that the log's own count of the
        blocks is kept. Compute by 6 N D changes with them.

    Returns
    -------
    Runs

    Raises
    ------
    RunLogError
        If conventions or parts of the configuration that the conversion needs are not known.

    Examples
    --------
    >>> from bayescale.runs import read_runs
    >>> log = pd.DataFrame({"params": [8e8], "tokens": [1e10], "loss": [2.9], "layers": [24],
    ...     "width": [1600], "vocab_size": [50257]})
    >>> runs = read_runs(log, conventions={"params": "no_input_embedding"})
    >>> convert(runs, params="non_embedding")["params"]
    array([7.195888e+08])
    """
    runs = as_runs(runs)
    stated = {}
    for name, value in runs.conventions.to_json().items():
        stated[name] = unstated(name, len(runs))
        if value is not None:
            stated[name][:] = value
    ids = [str(one) for one in runs["run_id"]]
    harmonized = Harmonized(runs.to_frame(), stated, lambda rows: where(rows, ids))
    harmonized.convert(to)
    harmonized.refuse_mixtures({})
    if harmonized.problems:
        raise RunLogError(collected(f"{runs.source} cannot be converted:", harmonized.problems))
    columns = dict(runs.columns)
    harmonized.record(columns)
    return replace(
        runs,
        frame=harmonized.frame,
        columns=columns,
        conventions=harmonized.conventions,
        flop_count=read_flop_count(harmonized.frame),
        warnings=(*runs.warnings, *harmonized.findings),
        _arrays={},
    )
