"""Values from the texts of options: sizes, pairs and paths of scale."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import typer

from bayescale.units import parse_size

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np

PER_DECADE = 8
"""Number of points of a path of scale in each factor of ten."""

_SIZE, _INCHES = "--figure-size", (2, 40)


def name_values(items: list[str] | None, option: str) -> dict[str, str]:
    """Return values by name, from a repeated option NAME=VALUE."""
    pairs = {}
    for name, values in several_values(items, option).items():
        if len(values) > 1:
            raise typer.BadParameter(f"{name} is given twice: give it once", param_hint=option)
        pairs[name] = values[0]
    return pairs


def several_values(items: list[str] | None, option: str) -> dict[str, list[str]]:
    """Return lists of values by name, from a repeated option NAME=VALUE."""
    pairs: dict[str, list[str]] = {}
    for item in items or ():
        name, separator, value = item.partition("=")
        if not (name and separator and value):
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint=option)
        pairs.setdefault(name.strip(), []).append(value.strip())
    return pairs


def number(text: str, name: str, option: str = "--set") -> float:
    """Return a number, or raise an error that names the option."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{name}={text} is not a number", param_hint=option) from None


def size_of(text: str | None, option: str) -> float | None:
    """Return the size that a text such as 7B states, or None without a text."""
    return None if text is None else parse_size(text, option)


def sizes_of(text: str, option: str) -> list[float]:
    """Return sizes from a text in which commas separate them."""
    return [parse_size(part, option) for part in text.split(",")]


def low_high(text: str | None, option: str) -> tuple[float, float] | None:
    """Return the numbers of LOW,HIGH, or None without a text."""
    if text is None:
        return None
    ends = [number(part, option, option) for part in text.split(",")]
    if len(ends) != 2:
        raise typer.BadParameter(
            f"{text!r} is not LOW,HIGH: write two numbers with a comma", param_hint=option
        )
    return ends[0], ends[1]


def inches(text: str | None, figure: object) -> tuple[float, float] | None:
    """Return width and height from WxH, or None without a text; only a figure has a size."""
    if text is None:
        return None
    if figure is None:
        raise typer.BadParameter("there is no figure: add --figure FILE", param_hint=_SIZE)
    try:
        ends = [float(part) for part in text.lower().split("x")]
    except ValueError:
        ends = []
    if len(ends) != 2 or not all(_INCHES[0] <= end <= _INCHES[1] for end in ends):
        raise typer.BadParameter(
            f"{text!r} is not a width and a height from {_INCHES[0]} to {_INCHES[1]} inches: "
            "write them as 8x4.5",
            param_hint=_SIZE,
        )
    return ends[0], ends[1]


def path_between(text: str | None, option: str) -> "np.ndarray | None":
    """Return sizes between the two ends FROM,TO, evenly spaced in logs, or None without a text."""
    import numpy as np

    if text is None:
        return None
    ends = sizes_of(text, option)
    if len(ends) != 2 or not 0 < ends[0] < ends[1]:
        raise typer.BadParameter(f"{text!r} is not FROM,TO, the smaller first", param_hint=option)
    steps = max(round(PER_DECADE * np.log10(ends[1] / ends[0])), 2)
    return np.geomspace(ends[0], ends[1], steps + 1)


def stated(**values: Any) -> dict[str, Any]:
    """Return the values that were given, for a function that has its own defaults."""
    return {name: value for name, value in values.items() if value is not None}


def given_fields(options: Any) -> dict[str, Any]:
    """Return the fields of a dataclass whose value is not the default, by name."""
    values = {each.name: (getattr(options, each.name), each.default) for each in fields(options)}
    return {name: value for name, (value, default) in values.items() if value != default}


def refuse_unread(given: Mapping[str, object], why: str, instead: str = "") -> None:
    """Raise an error for given options that would have no effect; it says why and what to do."""
    if named := [
        option for option, value in given.items() if not (value is None or value is False)
    ]:
        them = "it" if len(named) == 1 else "them"
        raise typer.BadParameter(f"{why}: leave {them} out{instead}", param_hint=", ".join(named))


def executor_for(
    address: str | None, workers: int | None
) -> "AbstractContextManager[Executor | None]":
    """Return the executor of a cluster, or None for processes of this computer."""
    if address is None:
        return nullcontext()
    if workers is not None:
        raise typer.BadParameter(
            "is for processes of this computer: leave it out with --executor",
            param_hint="--workers",
        )
    from bayescale.clusters import executor_at

    return executor_at(address)
