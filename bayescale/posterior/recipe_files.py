"""Posteriors of recipes as NetCDF files, which hold draws, card and runs, and no code."""

import json
from pathlib import Path

import numpy as np
import xarray as xr

from bayescale.cards import card_for, parse_card
from bayescale.cards.parts import Recipes as Differences
from bayescale.errors import PosteriorError
from bayescale.files import read_tree, save_tree
from bayescale.posterior.files import runs_dataset, runs_from
from bayescale.posterior.recipes import Recipes

_FORMAT = "bayescale recipes 1"


def save_recipes(recipes: Recipes, path: str | Path) -> Path:
    """Write a posterior of recipes to a file, completely or not at all, and return the path.

    Parameters
    ----------
    recipes : Recipes
        From :func:`bayescale.fit_recipes`.
    path : path
        The file; ``.nc`` is the usual ending.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path, differences = Path(path), recipes.card.recipes
    assert differences is not None
    groups = {"posterior": recipes.draws, "runs": runs_dataset(recipes.runs)}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "format": _FORMAT,
        "card": recipes.card.text,
        "recipes": differences.model_dump_json(),
        "diagnostics": json.dumps(recipes.diagnostics),
        "seed": recipes.seed,
    }
    save_tree(tree, path)
    return path


def open_recipes(path: str | Path) -> Recipes:
    """Read a posterior of recipes into memory.

    Parameters
    ----------
    path : path
        A file written by :func:`bayescale.save_recipes` or ``bayescale versus -o``.

    Returns
    -------
    Recipes

    Raises
    ------
    PosteriorError
        If the file does not exist, is truncated, or holds no posterior of recipes.
    """
    tree, name = read_tree(path), Path(path).name
    if tree.attrs.get("format") != _FORMAT:
        raise PosteriorError(
            f"{name} holds no posterior of recipes: give a log with a column of recipes, two fits, "
            "or a file that `bayescale.save_recipes` wrote"
        )
    try:
        runs = runs_from(tree["runs"].to_dataset())
        differences = Differences.model_validate_json(tree.attrs["recipes"])
        card = parse_card(tree.attrs["card"], place=f"the card in {name}")
        card = card_for(runs, card.model_copy(update={"recipes": differences}))
        diagnostics = json.loads(tree.attrs["diagnostics"])
        draws = tree["posterior"].to_dataset()
        for variable, values in draws.data_vars.items():
            if not np.isfinite(values).all():
                raise ValueError(f"{variable} has draws that are not finite")
        return Recipes(draws, card, runs, int(tree.attrs["seed"]), diagnostics)
    except (KeyError, ValueError) as error:  # pydantic's errors are ValueErrors
        raise PosteriorError(f"{name} cannot be understood: {error}") from error
