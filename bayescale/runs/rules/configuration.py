"""Rules on the models' configuration: sizes that transformers can have."""

from collections.abc import Iterator

import numpy as np

from bayescale.conventions.configuration import MOST, SIZES, SWITCHES
from bayescale.errors import listed
from bayescale.findings import Finding
from bayescale.runs.draft import Draft, stop


def _places(draft: Draft, column: str, wrong: np.ndarray) -> str:
    values = draft.shapes[column]
    return listed(f"{values[i]:.12g} in {draft.where([int(i)])}" for i in np.flatnonzero(wrong))


def sizes_are_whole_numbers(draft: Draft) -> Iterator[Finding]:
    """Sizes are whole numbers of one or more."""
    for name in filter(draft.shapes.__contains__, SIZES):
        values = draft.shapes[name]
        wrong = ((values < 1) | (values != np.round(values))) & ~np.isnan(values)
        if places := _places(draft, name, wrong):
            yield stop(
                "impossible_configuration",
                f"{name} must be a whole number of one or more: {places}; correct it, or leave the "
                f"column unread with `ignore={draft.headers.get(name, name)!r}`",
            )


def sizes_are_those_of_models(draft: Draft) -> Iterator[Finding]:
    """Sizes are not far above those of any model."""
    for name in filter(draft.shapes.__contains__, SIZES):
        values = draft.shapes[name]
        if places := _places(draft, name, np.isfinite(values) & (values > MOST[name])):
            yield stop(
                "impossible_configuration",
                f"{name} is above {MOST[name]:g}: {places}; no model has so many, so correct it, "
                "or rename the column if it holds something else",
            )


def switches_are_yes_or_no(draft: Draft) -> Iterator[Finding]:
    """Columns that say whether a model has a feature are 0 or 1."""
    for name in filter(draft.shapes.__contains__, SWITCHES):
        values = draft.shapes[name]
        if places := _places(draft, name, ~np.isin(values, (0.0, 1.0)) & ~np.isnan(values)):
            yield stop(
                "impossible_configuration",
                f"{name} must be 0 or 1: {places}; write 1 for yes",
            )


def heads_divide_the_width(draft: Draft) -> Iterator[Finding]:
    """Heads share the width evenly, unless their size is given."""
    shapes = draft.shapes
    sizes = (sizes_are_whole_numbers, sizes_are_those_of_models)
    if "head_size" in shapes and "heads" not in shapes:
        yield stop(
            "configuration_missing",
            "head_size is there without heads: add column heads, or leave it out",
        )
    if (
        "head_size" in shapes
        or not {"width", "heads"} <= set(shapes)
        or any(list(rule(draft)) for rule in sizes)
    ):
        return
    uneven = shapes["width"] % shapes["heads"] > 0  # false if one of the two is missing
    if places := _places(draft, "width", uneven):
        width, heads = shapes["width"][uneven][0], shapes["heads"][uneven][0]
        yield stop(
            "impossible_configuration",
            f"width is not divisible by heads: {places}, the first with {heads:g} heads of "
            f"{width / heads:.5g}; correct them, or name the size of one head in column head_size",
        )


def positions_can_be_counted(draft: Draft) -> Iterator[Finding]:
    """Learned positions come with the length of the sequence."""
    learned = np.asarray(draft.shapes.get("learned_positions", 0.0)) == 1
    if learned.any() and "sequence_length" not in draft.shapes:
        yield stop(
            "configuration_missing",
            "learned_positions is 1, but there is no sequence_length to count them by: add it",
        )


RULES = (
    sizes_are_whole_numbers,
    sizes_are_those_of_models,
    switches_are_yes_or_no,
    heads_divide_the_width,
    positions_can_be_counted,
)
