"""Conversion of a log's numbers to raw counts, FLOP and nats per token."""

import numpy as np

from bayescale.conventions import UNKNOWN, Configuration
from bayescale.findings import note
from bayescale.runs.draft import Draft
from bayescale.units import LOGS, PER_RUN_UNITS, to_nats, unit_factor


def convert_units(draft: Draft) -> None:
    """Convert numbers to raw units from the units that the caller or the log states."""
    numbers, units = draft.numbers, draft.units
    loss_units = draft.stated["loss"]
    logs = {c: LOGS[u.strip().lower()] for c, u in units.items() if u.strip().lower() in LOGS}
    for column, base in logs.items():
        draft.sources[column] += f" in {units[column]}"
        with np.errstate(over="ignore"):  # a rule refuses infinite sizes
            numbers[column] = np.exp(base * numbers[column])
    if "loss" in logs:
        for column in (c for c in PER_RUN_UNITS if c in numbers and c not in units):
            numbers[column] = numbers[column] * logs["loss"] * numbers["loss"]
    units = {column: unit for column, unit in units.items() if column not in logs}
    for column, unit in units.items():
        draft.sources[column] += f" in {unit}"
        if column != "loss" or (loss_units == UNKNOWN).all():
            numbers[column] = numbers[column] * unit_factor(column, unit)
    in_loss_units = [c for c in PER_RUN_UNITS if c in numbers and c not in units]
    if "loss" in units and (loss_units == UNKNOWN).all():
        factor = unit_factor("loss", units["loss"])
        numbers |= {column: numbers[column] * factor for column in in_loss_units}
    loss = numbers["loss"].copy()
    for unit in set(loss_units) - {UNKNOWN}:
        rows = loss_units == unit
        per_byte = draft.stated["tokens_per_byte"][rows]
        numbers["loss"][rows] = to_nats(loss[rows], unit, tokens_per_byte=per_byte)
        slope = 1 / loss[rows] if unit == "perplexity" else numbers["loss"][rows] / loss[rows]
        for column in in_loss_units:
            numbers[column][rows] *= slope
        if unit != "nats" and "loss" not in units:
            draft.sources["loss"] += f" in {unit}"


def take_other_count(draft: Draft) -> None:
    """Take a count without embeddings as params if the log has no other count."""
    kinds = draft.stated["params"]
    if "params" in draft.frame or "params_no_embed" not in draft.frame:
        return
    if not set(kinds[draft.keep]) <= {UNKNOWN, "non_embedding"}:
        return
    kinds[:] = "non_embedding"
    draft.frame = draft.frame.rename(columns={"params_no_embed": "params"})
    draft.sources["params"] = draft.sources.pop("params_no_embed")
    draft.findings.append(
        note(
            "params_without_embeddings",
            f"params are {draft.named('params_no_embed')}, without embeddings, which is the only "
            "count that the log has: forecast in that count",
        )
    )


def count_params(draft: Draft) -> None:
    """Count params from the models' configuration if the log has none."""
    models, kinds = Configuration.of(draft.shapes), draft.stated["params"]
    if "params" in draft.frame or models is None or UNKNOWN in set(kinds):
        return
    counts = {kind: models.params(kind) for kind in set(kinds)}
    draft.frame["params"] = [counts[kind][i] for i, kind in enumerate(kinds)]
    draft.sources["params"] = "the models' configuration"
