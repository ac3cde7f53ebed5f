"""Cards from TOML files and from their text."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bayescale.arguments import checks_arguments
from bayescale.cards.card import ModelCard
from bayescale.errors import MOST_NAMES, CardError, collected, did_you_mean, listed
from bayescale.laws import LAWS, Law, find_law


def cards_folder() -> Path:
    """Return the folder of the package's cards, in the wheel or in a checkout."""
    installed = Path(str(resources.files("bayescale"))) / "models"
    return installed if installed.is_dir() else installed.parents[1] / "models"


def card_names() -> list[str]:
    """Return the names of the cards that come with the package, in alphabetical order."""
    return sorted(path.stem for path in cards_folder().glob("*.toml"))


@checks_arguments
def load_card(source: str | Path, *, law: str | Law | Sequence[Law] | None = None) -> ModelCard:
    """Read a model card.

    Parameters
    ----------
    source : str or Path
        The name of one of the package's cards, or a path to a TOML file.
    law : Law or sequence of Law, optional
        Your own law, or several laws of which the card may name one. By default the card names one
        of the package's laws.

    Returns
    -------
    ModelCard

    Raises
    ------
    CardError
        If there is no such card, it is not TOML, or it does not fit its law. The message lists all
        problems of the card.

    Examples
    --------
    >>> load_card("chinchilla").law.inputs
    ('params', 'tokens')
    """
    path = Path(source)
    if path.is_dir() and str(source) not in card_names():
        raise CardError(
            f"model card {str(source)!r} is a folder: give a .toml file, or a card's name"
        )
    if path.suffix != ".toml":
        if str(source) not in card_names():
            raise CardError(
                f"model card {str(source)!r} is unknown: use one of "
                f"{listed(card_names(), MOST_NAMES)}, or a path ending in .toml"
                f"{did_you_mean(source, card_names())}"
            )
        path = cards_folder() / f"{source}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CardError(f"model card {str(path)!r} does not exist: correct the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"model card {str(path)!r} cannot be read: {error}") from error
    return parse_card(text, law=law, place=str(path))


def parse_card(
    text: str, *, law: str | Law | Sequence[Law] | None = None, place: str = "model card"
) -> ModelCard:
    """Return the card that a TOML text describes. See :func:`load_card`."""
    content = read_toml(text, place)
    if own_keys := {"text", "recipes"} & set(content):
        raise CardError(f"{place} has an unknown key {min(own_keys)!r}: leave it out")
    content |= {"text": text, "law": _law_of(content.get("law"), law, place)}
    return validated(ModelCard, content, place)


def read_toml(text: str, place: str) -> dict[str, Any]:
    """Return the content of a TOML text.

    Raises
    ------
    CardError
        If it is not TOML.
    """
    try:
        return tomllib.loads(text)
    # raised also for numbers and nesting that are too long
    except (ValueError, RecursionError) as error:
        raise CardError(f"{place} is not valid TOML: {error}") from error


def validated[T: BaseModel](model: type[T], content: Mapping[str, Any], place: str) -> T:
    """Return the record that the content of a file describes.

    Raises
    ------
    CardError
        If the content does not fit. The message lists all problems.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [line for item in error.errors() for line in _problem(item).splitlines()]
        raise CardError(collected(f"{place} cannot be used:", problems)) from None


def _law_of(name: Any, own: str | Law | Sequence[Law] | None, place: str) -> Law:
    # a card names its law and never a file: opening a card runs no code
    own = find_law(own) if isinstance(own, str) else own
    for law in (own,) if isinstance(own, Law) else own or ():
        if law.name == name:
            return law
    if isinstance(own, Law):
        raise CardError(
            f"{place} is for law {name!r}, not for law {own.name!r}: give that law or another card"
        )
    if name not in LAWS:
        raise CardError(
            f"{place} is for law {name!r}, which is not one of {', '.join(LAWS)}; if it is your "
            "own, give it too, with `law=`: the law itself, or file.py:NAME on the command line"
        )
    return LAWS[name]


def _problem(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"])
    match item["type"]:
        case "extra_forbidden":
            return f"{place} is an unknown key: leave it out"
        case "missing":
            return f"{place} is missing"
        case "value_error":
            return f"{place}: {item['ctx']['error']}" if place else str(item["ctx"]["error"])
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"{place} is {item['input']!r}: {message}"
