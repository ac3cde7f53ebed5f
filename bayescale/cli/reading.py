"""From what was typed to values: sizes, pairs, run logs, fits and laws."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bayescale.cli.options import Missing
from bayescale.units import parse_size

if TYPE_CHECKING:
    import numpy as np

    from bayescale.cards import ModelCard
    from bayescale.laws import Law
    from bayescale.posterior import Fit
    from bayescale.runs import Runs


def name_values(items: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE, as options repeat it, by name."""
    pairs = {}
    for item in items or ():
        name, separator, value = item.partition("=")
        if not (name and separator and value):
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint=option)
        if name.strip() in pairs:
            raise typer.BadParameter(f"{name.strip()} is given twice", param_hint=option)
        pairs[name.strip()] = value.strip()
    return pairs


def number(text: str, name: str, option: str = "--set") -> float:
    """A number, or a message that names the option."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{name}={text} is not a number", param_hint=option) from None


def shares_of(weight: list[str] | None) -> dict[str, float] | None:
    """Shares of laws in a pool, where any is given."""
    given = name_values(weight, "--weight")
    return {name: number(text, name, "--weight") for name, text in given.items()} or None


def size_of(text: str | None, option: str) -> float | None:
    """A size as people write it, where one was given."""
    return None if text is None else parse_size(text, option)


def sizes_of(text: str, option: str) -> list[float]:
    """Sizes with commas between them."""
    return [parse_size(part, option) for part in text.split(",")]


def low_high(text: str | None, option: str) -> tuple[float, float] | None:
    """LOW,HIGH, where given."""
    if text is None:
        return None
    ends = [number(part, option, option) for part in text.split(",")]
    if len(ends) != 2:
        raise typer.BadParameter(f"{text!r} is not LOW,HIGH", param_hint=option)
    return ends[0], ends[1]


_A_TENFOLD = 8


def path_between(text: str | None, option: str) -> "np.ndarray | None":
    """Sizes between two ends, eight to a tenfold."""
    import numpy as np

    if text is None:
        return None
    ends = sizes_of(text, option)
    if len(ends) != 2 or not 0 < ends[0] < ends[1]:
        raise typer.BadParameter(f"{text!r} is not FROM,TO, the smaller first", param_hint=option)
    steps = max(round(_A_TENFOLD * np.log10(ends[1] / ends[0])), 2)
    return np.geomspace(ends[0], ends[1], steps + 1)


def read_log(
    path: Path,
    column: list[str] | None,
    unit: list[str] | None,
    exclude: list[str] | None,
    missing: Missing,
    convention: list[str] | None = None,
    convert: list[str] | None = None,
) -> "Runs":
    """The run log that a command was given, with its options of reading."""
    from bayescale.runs import read_runs

    return read_runs(
        path,
        columns=name_values(column, "--column"),
        units=name_values(unit, "--unit"),
        exclude=name_values(exclude, "--exclude"),
        missing=missing.value,
        conventions=name_values(convention, "--convention"),
        convert=name_values(convert, "--convert"),
    )


def open_fit(path: Path, laws: list[str] | None) -> "Fit":
    """A fit, with the user's own laws found by name."""
    from bayescale.laws import find_law
    from bayescale.posterior import open_posterior

    return open_posterior(path, law=[find_law(name) for name in laws or ()])


def cards_for(log: "Runs", laws: list[str] | None, cards: list[Path] | None) -> "list[ModelCard]":
    """The cards of the laws named, or of those that the log's columns can carry."""
    from bayescale.cards import cards_for_laws, default_laws, laws_with_cards

    named = laws_with_cards(laws or (), cards or ())
    return list(cards_for_laws(log, named or default_laws(log)))


def to_fit(laws: list[str] | None, cards: list[Path] | None) -> dict[str, Any]:
    """What bayescale.fit takes for ``law`` and ``card``: of one law, of several, or neither."""
    from bayescale.cards import ModelCard, laws_with_cards

    named = laws_with_cards(laws or (), cards or ())
    if len(named) > 1:
        return {"law": named, "card": None}
    one = named[0] if named else None
    return {"law": None, "card": one} if isinstance(one, ModelCard) else {"law": one, "card": None}


def own_laws(laws: list[str] | None) -> str:
    """The option by which later commands are told of one's own laws."""
    return "".join(f" --law {name}" for name in laws or () if ".py:" in name)


def law_for(log: "Runs", law: str | None, card: Path | None) -> "tuple[Law, ModelCard | None]":
    """The law, with its card where one is named or implied."""
    from bayescale.cards import choose_card
    from bayescale.laws import find_law

    if law is not None and card is None:
        return find_law(law), None
    chosen = choose_card(log, law, card)
    return chosen.law, chosen
