"""The card for a law, and the laws that a log's columns support."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bayescale.cards.card import ModelCard
from bayescale.cards.load import load_card
from bayescale.errors import CardError, LawError
from bayescale.laws import LAWS, Law, find_law
from bayescale.runs import Runs
from bayescale.runs.log import SCALES

REPEATED = 1.05
"""A run with more epochs than this has repeated its data."""


def choose_card(
    runs: Runs, law: str | Law | None = None, card: str | Path | ModelCard | None = None
) -> ModelCard:
    """Return the card for a law of these runs. See :func:`bayescale.fit`.

    Raises
    ------
    LawError, CardError
        If the law is unknown, or the card is for another law.
    """
    if isinstance(law, str):
        law = find_law(law)
    if isinstance(card, ModelCard):
        chosen = card
    elif card is not None:
        own = law if law is not None and _is_own(law) else None
        chosen = load_card(card, law=own)
    elif law is not None and _is_own(law):
        raise CardError(
            f"law {law.name!r} is your own, so it needs a card of priors: name one with `card=`"
        )
    else:
        chosen = load_card(law.name if law is not None else default_laws(runs)[0])
    if law is not None and chosen.law.name != law.name:
        raise CardError(
            f"card {chosen.name!r} is for law {chosen.law.name!r}, not for law {law.name!r}: name "
            "one for this law, or leave the law out"
        )
    return chosen


def cards_for_laws(
    runs: Runs,
    laws: Sequence[str | Law | ModelCard],
    card: str | Path | ModelCard | None = None,
) -> tuple[ModelCard, ...]:
    """Return the cards of several laws of these runs. See :func:`bayescale.fit`.

    Raises
    ------
    LawError, CardError
        If a law is unknown or repeated, the laws are functions of different inputs, or a single
        card is given for several laws.
    """
    if card is not None:
        raise CardError("one card cannot serve several laws: give their cards instead of laws")
    cards = tuple(law if isinstance(law, ModelCard) else choose_card(runs, law) for law in laws)
    names = [chosen.law.name for chosen in cards]
    if not names or len(set(names)) < len(names):
        raise LawError(f"name each law once; given {', '.join(names) or 'none'}")
    if len({frozenset(chosen.law.inputs) for chosen in cards}) > 1:
        inputs = [f"{card.law.name} is of {' and '.join(card.law.inputs)}" for card in cards]
        raise LawError(
            f"laws of different inputs cannot be compared or averaged: {'; '.join(inputs)}. Choose "
            "laws of the same inputs"
        )
    return cards


def laws_with_cards(
    laws: Sequence[str], cards: Sequence[str | Path]
) -> tuple[Law | ModelCard, ...]:
    """Return the card of each law that has one, and the other laws; all cards if no law is named.

    Raises
    ------
    LawError, CardError
        If a law is unknown, or a card is for none of the laws, or for a law that already has a
        card.
    """
    found = [find_law(name) for name in laws]
    chosen: dict[str, ModelCard] = {}
    for source in cards:
        card = load_card(source, law=found)
        if found and card.law.name not in {law.name for law in found}:
            raise CardError(
                f"card {str(source)!r} is for law {card.law.name!r}, which is not among "
                f"{', '.join(law.name for law in found)}: name that law too, or leave the card out"
            )
        if card.law.name in chosen:
            raise CardError(
                f"card {str(source)!r} is a second card for law {card.law.name!r}: name one of them"
            )
        chosen[card.law.name] = card
    return tuple(chosen.get(law.name, law) for law in found) if found else tuple(chosen.values())


def _is_own(law: Law) -> bool:
    return LAWS.get(law.name) is not law


def _repeats(runs: Runs) -> bool:
    """Return whether any run has repeated its data, so that laws of fresh data do not apply."""
    if "unique_tokens" not in runs:
        return False
    return bool((runs["tokens"] > REPEATED * runs["unique_tokens"]).any())


def default_laws(runs: Runs) -> tuple[str, ...]:
    """Return the names of the laws that a log's columns support, which are fitted by default.

    Raises
    ------
    LawError
        If the log has no complete column params, tokens or flops.
    """
    complete = {c for c in SCALES if c in runs and np.isfinite(runs[c]).all()}
    if {"params", "tokens"} <= complete:
        if "kept_fraction" in runs and (runs["kept_fraction"] < 1).any():
            return ("pruned",)
        return ("repetition",) if _repeats(runs) else ("unified",)
    for column, name in (("flops", "compute"), ("params", "params"), ("tokens", "tokens")):
        if column in complete:
            return (f"henighan_{name}", f"saturating_{name}")
    raise LawError(
        f"{runs.source} has no column params, tokens or flops without gaps: fill in the gaps of one"
    )
