"""Posterior files: NetCDF that holds draws, card, runs and provenance, and no code."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import parse_card
from bayescale.conventions import Conventions
from bayescale.errors import CardError, PosteriorError
from bayescale.files import replacing
from bayescale.laws import LAWS, Law
from bayescale.likelihood import card_for
from bayescale.posterior.draws import Posterior
from bayescale.posterior.pool import Fit, Pool
from bayescale.runs import LeftOut, Note, Runs

FORMAT = 1
"""Version of the posterior file. A file with a higher one was made by a later package."""


def save(fit: Fit, path: str | Path) -> Path:
    """Write a posterior, or a pool of them, to a NetCDF file, whole or not at all.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written to.
    """
    path = Path(path)
    if isinstance(fit, Pool):
        members = {_member(i): _tree_of(member) for i, member in enumerate(fit.members)}
        tree = xr.DataTree(children=members)
        tree.attrs = {"weights": json.dumps(fit.weights)}
    else:
        tree = _tree_of(fit)
    if fit.runs is not None:
        tree["runs"] = xr.DataTree(_runs_dataset(fit.runs))
    tree.attrs["bayescale_format"] = FORMAT
    with replacing(path) as temporary:
        try:
            tree.to_netcdf(temporary, engine="netcdf4")
        except RuntimeError as error:  # the library's word for what the system refused
            raise OSError(f"{error} (is the disk full?)") from error
    return path


def _member(i: int) -> str:
    return f"law_{i}"


def _tree_of(posterior: Posterior) -> xr.DataTree:
    tree = posterior.tree.copy()
    tree.attrs = {
        "law": posterior.law.name,
        "card": posterior.card.text,
        "record": json.dumps(posterior.record),
    }
    return tree


def open_posterior(path: str | Path, *, law: Law | Sequence[Law] | None = None) -> Fit:
    """Open a posterior file, wholly into memory.

    Parameters
    ----------
    path : path
        A file written by :func:`save` or ``bayescale fit``.
    law : Law or sequence of Law, optional
        The laws that are the caller's own: a file holds no code.

    Returns
    -------
    Posterior or Pool
        As it was saved.

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
        with xr.open_datatree(path, engine="netcdf4") as opened:
            tree = opened.load()
    except Exception as error:  # the library raises many kinds on damaged files
        raise PosteriorError(
            f"{path.name} is damaged or cut short ({type(error).__name__}): fit again or restore it"
        ) from error
    found = tree.attrs.get("bayescale_format")
    if found is None or not {"posterior", _member(0)} & set(tree.children):
        raise PosteriorError(
            f"{path.name} is a NetCDF file, but not a posterior that bayescale wrote"
        )
    if int(found) > FORMAT:
        raise PosteriorError(
            f"{path.name} has format {int(found)}, made by a later version of bayescale; this one "
            f"reads up to {FORMAT}: upgrade bayescale"
        )
    own = {one.name: one for one in ([law] if isinstance(law, Law) else law or ())}
    try:
        runs = _runs_from(tree["runs"].to_dataset()) if "runs" in tree.children else None
        if "weights" not in tree.attrs:
            return _posterior_from(tree, runs, own, path.name)
        weights = tuple(json.loads(tree.attrs["weights"]))
        members = [
            _posterior_from(tree.children[_member(i)], runs, own, path.name)
            for i in range(len(weights))
        ]
        return Pool(tuple(members), weights)
    except (CardError, KeyError, ValueError) as error:
        if isinstance(error, PosteriorError):
            raise
        raise PosteriorError(f"{path.name} cannot be understood: {error}") from error


def _posterior_from(
    tree: xr.DataTree, runs: Runs | None, own: Mapping[str, Law], name: str
) -> Posterior:
    law = tree.attrs["law"]
    if law not in own and law not in LAWS:
        raise PosteriorError(
            f"{name} was fitted with your own law {law!r}, whose equation is not in the file: name "
            "it with --law file.py:NAME"
        )
    card = parse_card(tree.attrs["card"], law=own.get(law), place=f"the card in {name}")
    card = card if runs is None else card_for(runs, card)
    groups = {n: group.to_dataset() for n, group in tree.children.items() if n != "runs"}
    return Posterior(xr.DataTree.from_dict(groups), card, runs, json.loads(tree.attrs["record"]))


def _runs_dataset(runs: Runs) -> xr.Dataset:
    data = {c: ("run_index", np.asarray(runs[c])) for c in runs.frame.columns}
    about = {
        "columns": dict(runs.columns),
        "dropped": [list(item) for item in runs.dropped],
        "warnings": [list(item) for item in runs.warnings],
        "source": runs.source,
        "conventions": runs.conventions.to_json(),
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
        conventions=Conventions(**about.get("conventions", {})),
    )
