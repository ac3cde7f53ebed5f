"""Posterior files: NetCDF that holds draws, card, runs and provenance, and no code."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import parse_card
from bayescale.errors import CardError, PosteriorError
from bayescale.files import replacing
from bayescale.laws import LAWS, Law
from bayescale.posterior.draws import Posterior
from bayescale.runs import LeftOut, Note, Runs

FORMAT = 1
"""Version of the posterior file. A file with a higher one was made by a later package."""


def save(posterior: Posterior, path: str | Path) -> Path:
    """Write a posterior to a NetCDF file, whole or not at all.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written to.
    """
    path = Path(path)
    tree = posterior.tree.copy()
    if posterior.runs is not None:
        tree["runs"] = xr.DataTree(_runs_dataset(posterior.runs))
    tree.attrs = {
        "bayescale_format": FORMAT,
        "law": posterior.law.name,
        "card": posterior.card.text,
        "record": json.dumps(posterior.record),
    }
    with replacing(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")
    return path


def open_posterior(path: str | Path, *, law: Law | None = None) -> Posterior:
    """Open a posterior file, wholly into memory.

    Parameters
    ----------
    path : path
        A file written by :func:`save` or ``bayescale fit``.
    law : Law, optional
        The law, where it is the caller's own: a file holds no code.

    Raises
    ------
    PosteriorError
        If the file is absent, truncated, not a posterior of ours, or made by a later version.
    """
    path = Path(path)
    if not path.is_file():
        raise PosteriorError(f"posterior file {str(path)!r} does not exist")
    with path.open("rb") as stream:
        if stream.read(8) != b"\x89HDF\r\n\x1a\n":
            raise PosteriorError(
                f"{path.name} is not a posterior file (NetCDF): give one that bayescale fit wrote"
            )
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            tree = opened.load()
    except Exception as error:  # h5py raises many kinds on damaged files
        raise PosteriorError(
            f"{path.name} is damaged or cut short ({type(error).__name__}): fit again or restore it"
        ) from error
    found = tree.attrs.get("bayescale_format")
    if found is None or "posterior" not in tree.children:
        raise PosteriorError(
            f"{path.name} is a NetCDF file, but not a posterior that bayescale wrote"
        )
    if int(found) > FORMAT:
        raise PosteriorError(
            f"{path.name} has format {int(found)}, made by a later version of bayescale; this one "
            f"reads up to {FORMAT}: upgrade bayescale"
        )
    name = tree.attrs["law"]
    if law is None and name not in LAWS:
        raise PosteriorError(
            f"{path.name} was fitted with your own law {name!r}, whose equation is not in the "
            "file: name it with --law file.py:NAME"
        )
    try:
        card = parse_card(tree.attrs["card"], law=law, place=f"the card in {path.name}")
        record = json.loads(tree.attrs["record"])
        runs = _runs_from(tree["runs"].to_dataset()) if "runs" in tree.children else None
    except (CardError, KeyError, ValueError) as error:
        raise PosteriorError(f"{path.name} cannot be understood: {error}") from error
    if runs is not None:
        del tree["runs"]
    tree.attrs = {}
    return Posterior(tree, card, runs, record)


def _runs_dataset(runs: Runs) -> xr.Dataset:
    data = {c: ("run_index", np.asarray(runs[c])) for c in runs.frame.columns}
    about = {
        "columns": dict(runs.columns),
        "dropped": [list(item) for item in runs.dropped],
        "warnings": [list(item) for item in runs.warnings],
        "source": runs.source,
    }
    return xr.Dataset(data, attrs={"about": json.dumps(about)})


def _runs_from(dataset: xr.Dataset) -> Runs:
    about = json.loads(dataset.attrs["about"])
    return Runs(
        frame=pd.DataFrame({str(k): v.values for k, v in dataset.data_vars.items()}),
        columns=about["columns"],
        dropped=tuple(LeftOut(*item) for item in about["dropped"]),
        warnings=tuple(Note(*item) for item in about["warnings"]),
        source=about["source"],
    )
