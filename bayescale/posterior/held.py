"""Values of inputs that the package does not know, if a question does not state them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayescale.cards import ModelCard
from bayescale.errors import LawError, collected
from bayescale.laws import Law
from bayescale.runs import Runs


def checked_inputs(card: ModelCard, at: Mapping[str, Any]) -> dict[str, float]:
    """Return the stated values of inputs that the package does not know, as numbers.

    Raises
    ------
    LawError
        If the law has no such input, or a value is not a number within the card's guard.
    """
    values, problems = {}, []
    for name, value in at.items():
        if name not in card.inputs:
            has = f"only {', '.join(card.inputs)}" if card.inputs else "none"
            problems.append(
                f"{name} is stated, but law {card.law.name!r} has {has} besides the sizes of a "
                "run: leave it out"
            )
            continue
        described, (low, high) = card.inputs[name], card.inputs[name].guard
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            problems.append(f"{name} is {value!r}, which is not a number: write one such as 1e-3")
            continue
        if not low <= values[name] <= high:
            problems.append(
                f"{name} is {values[name]:g}, but must lie from {low:g} to {high:g} "
                f"({described.unit}: {described.meaning})"
            )
    if problems:
        raise LawError(collected("these inputs cannot be held:", problems))
    return values


def held_inputs(law: Law, runs: Runs | None, at: Mapping[str, float]) -> dict[str, float]:
    """Return a law's inputs that the package does not know: as stated, or as in the largest run."""
    if runs is None:
        return dict(at)
    scales = [runs[name] for name in ("params", "tokens", "flops") if name in law.inputs]
    size = sum((np.log(x) for x in scales), np.zeros(len(runs)))
    largest = int(np.argmax(size))
    return {name: at.get(name, float(runs[name][largest])) for name in law.foreign}


def held_lines(law: Law, held: Mapping[str, float], at: Mapping[str, float]) -> tuple[str, ...]:
    """Return a line on inputs that are held because the question did not state them, if any."""
    rest = [f"{name} {held[name]:.4g}" for name in law.foreign if name in held and name not in at]
    if not rest:
        return ()
    option = " ".join(f"`at={{'{name}': 'VALUE'}}`" for name in law.foreign if name not in at)
    return (f"Held as in the largest run: {', '.join(rest)} (change it with {option}).",)
