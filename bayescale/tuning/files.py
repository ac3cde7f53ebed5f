"""Posteriors of sweeps as files: draws and runs in one NetCDF file, and no code."""

import json
from pathlib import Path

import xarray as xr

from bayescale.errors import PosteriorError
from bayescale.files import read_tree, save_tree
from bayescale.posterior.files import runs_dataset, runs_from
from bayescale.tuning.posterior import Tuning
from bayescale.tuning.sweep import read_sweep

_FORMAT = "bayescale tuning 3"


def save_tuning(tuning: Tuning, path: str | Path) -> Path:
    """Write a posterior of a sweep to a file, whole or not at all, and return the path.

    Parameters
    ----------
    tuning : Tuning
        From :func:`bayescale.fit_tuning`.
    path : path
        The file; ``.nc`` is the usual ending.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    runs = runs_dataset(tuning.sweep.runs)
    tree = xr.DataTree.from_dict({"posterior": tuning.draws, "runs": runs})
    tree.attrs.update({"format": _FORMAT, "record": json.dumps(tuning.record)})
    save_tree(tree, path)
    return path


def open_tuning(path: str | Path) -> Tuning:
    """Return a posterior that :func:`save_tuning` wrote.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    PosteriorError
        If the file does not hold one.
    """
    tree = read_tree(path)
    if tree.attrs.get("format") != _FORMAT:
        raise PosteriorError(
            f"{path} does not hold a posterior of learning rates: give the run log of the sweep, "
            "or a file that `bayescale.save_tuning` wrote"
        )
    record = json.loads(tree.attrs["record"])
    sweep = read_sweep(runs_from(tree["runs"].to_dataset()))
    return Tuning(tree["posterior"].to_dataset(), sweep, record)
