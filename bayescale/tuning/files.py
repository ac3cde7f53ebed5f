"""Posteriors of sweeps as files: draws and runs in one NetCDF file, and no code."""

import json
from pathlib import Path

import pandas as pd
import xarray as xr

from bayescale.errors import PosteriorError
from bayescale.files import read_tree, save_tree
from bayescale.runs import Runs
from bayescale.tuning.posterior import Tuning
from bayescale.tuning.sweep import read_sweep

_FORMAT = "bayescale tuning 2"


def save_tuning(tuning: Tuning, path: str | Path) -> Path:
    """Write a posterior of a sweep to a file, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    sweep, path = tuning.sweep, Path(path)
    columns = ["run_id", "params", "tokens", "lr", *([sweep.batch] if sweep.batch else []), "loss"]
    runs = {name: ("run_index", sweep.runs[name]) for name in columns}
    about = {"format": _FORMAT, "source": sweep.runs.source, "record": json.dumps(tuning.record)}
    tree = xr.DataTree.from_dict({"posterior": tuning.draws, "runs": xr.Dataset(runs)})
    tree.attrs.update(about)
    save_tree(tree, path)
    return path


def open_tuning(path: str | Path) -> Tuning:
    """Open a posterior that :func:`save_tuning` wrote.

    Raises
    ------
    PosteriorError
        If the file is none.
    """
    tree = read_tree(path)
    if tree.attrs.get("format") != _FORMAT:
        raise PosteriorError(
            f"{path} does not hold a posterior of learning rates: give the run log of the sweep, "
            "or a file that bayescale tune -o wrote"
        )
    table = tree["runs"].to_dataset()
    frame = pd.DataFrame({str(name): x.values for name, x in table.data_vars.items()})
    runs = Runs(frame=frame, columns={}, source=str(tree.attrs["source"]))
    record = json.loads(tree.attrs["record"])
    return Tuning(tree["posterior"].to_dataset(), read_sweep(runs), record)
