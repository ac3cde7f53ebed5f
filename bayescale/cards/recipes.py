"""Recipes that share a law, and how they differ.

The log loss of recipe r is that of the law, with one set of coefficients for all recipes, and

    a_r + b_r (log C - mean) + e_r (log D/N - mean) + shared drift + drift of r.

All of this is linear in standard normals: the steps of the shared drift and of each recipe's own,
and the three coefficients of each recipe. Recipes are exchangeable, so no answer depends on their
order. Runs of one size, which often share data order and seed, share part of their noise.
"""

import tomllib
from dataclasses import dataclass

import numpy as np

from bayescale.cards.card import ModelCard
from bayescale.cards.for_log import drift_bases
from bayescale.cards.load import cards_folder
from bayescale.cards.parts import Recipes
from bayescale.drift import coordinate
from bayescale.runs import Runs

SAME_SIZE = 0.03
"""Runs whose log sizes differ by less than this have the same size."""

OWN_STEPS = 3
"""Steps of a recipe's own drift on each side of the center: a few, because it is small and few runs
inform it."""


@dataclass(frozen=True, eq=False)
class RecipeColumns:
    """The columns of the shared drift and of the recipes' differences at the runs.

    Attributes
    ----------
    names : tuple of str
        The recipes.
    shared, own : dict of str to numpy.ndarray, shape (run, step)
        Columns of the shared drift and of a recipe's own drift, by walk.
    of_recipe : numpy.ndarray of bool, shape (run, recipe)
    trend : numpy.ndarray, shape (run, 3)
        A column of ones, and e-folds of compute and of tokens per parameter from the runs' center.
    size : numpy.ndarray of int, shape (run,)
        The index of each run's size: runs of the same size share noise.
    """

    names: tuple[str, ...]
    shared: dict[str, np.ndarray]
    own: dict[str, np.ndarray]
    of_recipe: np.ndarray
    trend: np.ndarray
    size: np.ndarray

    def matrix(self) -> np.ndarray:
        """Return all columns, shape (run, column): shared, then own and trend by recipe."""
        apart = [self.of_recipe[:, i, None] for i in range(len(self.names))]
        own = [np.concatenate(list(self.own.values()), axis=1) * mine for mine in apart]
        trend = [self.trend * mine for mine in apart]
        return np.concatenate([*self.shared.values(), *own, *trend], axis=1)


def with_recipes(card: ModelCard) -> ModelCard:
    """Return a card with the differences between recipes of ``models/versus/recipes.toml``."""
    text = (cards_folder() / "versus" / "recipes.toml").read_text(encoding="utf-8")
    return card.model_copy(update={"recipes": Recipes.model_validate(tomllib.loads(text))})


def recipe_columns(card: ModelCard, runs: Runs) -> RecipeColumns:
    """Return the columns at these runs, whose column ``family`` names the recipe."""
    inputs = {name: np.array(runs[name]) for name in card.law.inputs}
    scales = [coordinate(inputs, axis) for axis in ("flops", "tokens_per_param")]
    family = runs["family"].astype(str)
    names = tuple(map(str, np.unique(family)))
    return RecipeColumns(
        names,
        drift_bases(card, runs),
        drift_bases(card, runs, OWN_STEPS),
        family[:, None] == np.array(names),
        np.column_stack([np.ones(len(runs)), *(x - x.mean() for x in scales)]),
        _sizes(np.log(np.column_stack([runs["params"], runs["tokens"]])), family),
    )


def _sizes(at: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Number the sizes that runs of different recipes share; seeds of one recipe stay apart."""
    number = np.full(len(at), -1)
    for i in range(len(at)):
        if number[i] >= 0:
            continue
        number[i] = number.max() + 1
        for name in np.unique(family[family != family[i]]):
            near = (np.abs(at - at[i]).max(axis=1) <= SAME_SIZE) & (family == name) & (number < 0)
            number[np.flatnonzero(near)[:1]] = number[i]
    return number
