"""Rules on cells, before their units are converted."""

import re
from collections.abc import Iterator

import numpy as np

from bayescale.conventions import UNKNOWN, Configuration
from bayescale.conventions.configuration import NEEDED_FOR
from bayescale.errors import argument, leaving_out, listed
from bayescale.findings import Finding
from bayescale.runs.cells import is_missing, yes_or_no
from bayescale.runs.draft import Draft, stop
from bayescale.runs.log import ERRORS, SCALES

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def numbers_are_in_range(draft: Draft) -> Iterator[Finding]:
    """Numbers are finite and above zero; errors may be zero."""
    for column, numbers in draft.numbers.items():
        infinite = np.flatnonzero(np.isinf(numbers) & draft.keep)
        if infinite.size:
            yield stop(
                "infinite",
                f"{draft.named(column)} is infinite: {draft.where(infinite, numbers.tolist())}; "
                "correct it, or leave such rows out with `missing='drop'`",
            )
        low = (numbers < 0) if column in ERRORS else (numbers <= 0)
        wrong = np.flatnonzero(low & np.isfinite(numbers) & draft.keep)
        if wrong.size:
            needed = "must not be negative" if column in ERRORS else "must be greater than zero"
            yield stop(
                "not_positive",
                f"{draft.named(column)} {needed}: {draft.where(wrong, numbers.tolist())}; correct "
                f"it, or leave such rows out ({leaving_out(draft.ids[i] for i in wrong)})",
            )


def schedule_is_yes_or_no(draft: Draft) -> Iterator[Finding]:
    """The column ``schedule_complete`` has only yes and no."""
    cells = draft.labels.get("schedule_complete", [])
    wrong = [
        i
        for i, cell in enumerate(cells)
        if draft.keep[i] and not yes_or_no(cell) and not is_missing(cell)
    ]
    if wrong:
        yield stop(
            "not_yes_or_no",
            f"{draft.named('schedule_complete')} is neither yes nor no: "
            f"{draft.where(wrong, cells)}; write yes for runs that were trained to the end of "
            "their learning-rate schedule, and no for the others",
        )


def names_are_on_one_line(draft: Draft) -> Iterator[Finding]:
    """Names of runs and families have no line break or other control character."""
    for column in ("run_id", "run", "family"):
        cells = draft.labels.get(column, [])
        wrong = [
            i
            for i, cell in enumerate(cells)
            if draft.keep[i] and isinstance(cell, str) and _CONTROL.search(cell)
        ]
        if wrong:
            names = listed((repr(cells[i]) for i in wrong), 5)
            where = draft.where(wrong, cells) if column == "family" else names
            yield stop(
                "name_on_several_lines",
                f"{draft.named(column)} holds a line break, tab or other control character: "
                f"{where}; write it on one line, without tabs",
            )


def tokens_per_byte_are_known(draft: Draft) -> Iterator[Finding]:
    """Losses in bits per byte come with their tokenizer's tokens per byte."""
    stated = draft.stated
    lacking = draft.keep & (stated["loss"] == "bits_per_byte") & np.isnan(stated["tokens_per_byte"])
    if lacking.any():
        yield stop(
            "tokens_per_byte_missing",
            "losses in bits per byte need tokens_per_byte, the tokenizer's on the evaluation set, "
            "to be put in nats per token, and it is not stated in "
            f"{draft.where(np.flatnonzero(lacking))}: state it with "
            f"{argument('conventions', tokens_per_byte='VALUE')} or a column of that name; with "
            "tokens_per_byte=1 the law is one of nats per byte",
        )


def params_can_be_counted(draft: Draft) -> Iterator[Finding]:
    """Params are in the log, or can be counted from the models' configuration."""
    if "params" in draft.numbers:
        return
    models = Configuration.of(draft.shapes)
    kinds = list(dict.fromkeys(draft.stated["params"][draft.keep]))
    name_params = argument("columns", params="HEADER")
    if models is None:
        if not {*SCALES, "params_no_embed"} & set(draft.numbers):
            yield stop(
                "no_scale",
                "it has none of params, tokens and flops, and no width to count params from the "
                "models' configuration: add it, or name a scale with, for example, "
                f"{name_params}",
            )
    elif UNKNOWN in kinds:
        yield stop(
            "params_convention_missing",
            "it has no params; to have them counted from the models' configuration, say what they "
            f"are to count with {argument('conventions', params='NAME')}, one of all, "
            "no_input_embedding and non_embedding",
        )
    elif lacking := {c for kind in kinds for c in models.lacks(*NEEDED_FOR.get(kind, ()))}:
        yield stop(
            "configuration_missing",
            f"it has no params, and {', '.join(sorted(lacking))} are missing to count them from "
            "the models' configuration: add such columns, or name the column of params with "
            f"{name_params}",
        )


RULES = (
    numbers_are_in_range,
    schedule_is_yes_or_no,
    names_are_on_one_line,
    tokens_per_byte_are_known,
    params_can_be_counted,
)
