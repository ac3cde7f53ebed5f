"""Model cards: a law's priors and likelihood, with what they mean and why.

A card is a TOML file in ``models/`` that people read, copy, edit and compare. Every posterior file
holds the text of its card.
"""

from bayescale.cards.card import ModelCard
from bayescale.cards.choose import (
    REPEATED,
    cards_for_laws,
    choose_card,
    default_laws,
    laws_with_cards,
)
from bayescale.cards.for_log import (
    card_for,
    drift_bases,
    drift_components,
    input_errors,
    log_size,
    loss_steps,
    memberships,
    runs_for,
)
from bayescale.cards.level import require_level
from bayescale.cards.load import card_names, cards_folder, load_card, parse_card
from bayescale.cards.parts import Described, Input, Published
from bayescale.cards.prior import DISTRIBUTIONS, PRIOR_MASS, NearOne, Prior
from bayescale.cards.recipes import RecipeColumns, recipe_columns, with_recipes

__all__ = [
    "DISTRIBUTIONS",
    "PRIOR_MASS",
    "REPEATED",
    "Described",
    "Input",
    "ModelCard",
    "NearOne",
    "Prior",
    "Published",
    "RecipeColumns",
    "card_for",
    "card_names",
    "cards_folder",
    "cards_for_laws",
    "choose_card",
    "default_laws",
    "drift_bases",
    "drift_components",
    "input_errors",
    "laws_with_cards",
    "load_card",
    "log_size",
    "loss_steps",
    "memberships",
    "parse_card",
    "recipe_columns",
    "require_level",
    "runs_for",
    "with_recipes",
]
