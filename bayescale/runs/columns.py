"""Which column of a file is which of ours."""

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from bayescale.conventions.stated import understood
from bayescale.errors import RunLogError, UnitError, collected, listed
from bayescale.runs.log import LABELS, NUMBERS, SCALES, SHAPES
from bayescale.runs.statements import COLUMN_OF
from bayescale.units import unit_factor

STATEMENTS = tuple(COLUMN_OF.values())

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": ("n", "n_params", "num_params", "parameters", "num_parameters", "model_size"),
        "tokens": ("d", "n_tokens", "num_tokens", "training_tokens", "train_tokens"),
        "flops": ("c", "flop", "compute", "training_flop", "training_flops", "train_flops"),
        "loss": ("l", "final_loss", "val_loss", "validation_loss", "eval_loss", "test_loss"),
        "loss_se": ("loss_stderr", "loss_std_err", "loss_standard_error"),
        "loss_step": ("loss_resolution",),
        "family": ("model_family", "group"),
        "isoflop": ("isoflop_group", "isoflop_budget"),
        "unique_tokens": ("unique", "tokens_unique"),
        "epochs": ("n_epochs", "num_epochs"),
        "kept_fraction": ("fraction_kept", "keep_fraction"),
        "lm_loss": ("pretraining_loss",),
        "schedule_complete": ("decay_complete",),
        "steps": ("training_steps", "train_steps", "n_steps", "num_steps"),
        "run_id": ("run", "name", "run_name", "id"),
        "params_no_embed": (
            "params_non_embedding", "non_embedding_params", "n_params_non_embedding",
            "n_non_embedding", "params_without_embeddings",
        ),
        "params_convention": ("params_count", "param_convention"),
        "flops_convention": ("flop_convention",),
        "loss_unit": ("unit_of_loss", "loss_units"),
        "evaluation_set": ("eval_set", "loss_eval_set", "validation_set", "eval_dataset"),
        "tokenizer": ("tokeniser", "tokenizer_name"),
        "tokens_per_byte": ("tok_per_byte",),
        "layers": ("n_layer", "n_layers", "num_layers", "num_hidden_layers", "depth"),
        "width": (
            "d_model", "hidden_size", "n_embd", "embed_dim", "embedding_dim", "model_dim",
        ),
        "heads": ("n_head", "n_heads", "num_heads", "num_attention_heads"),
        "head_size": ("kv_size", "d_head", "head_dim", "key_size", "d_kv"),
        "feed_forward": (
            "d_ff", "ffw_size", "ff_size", "intermediate_size", "ffn_dim", "mlp_dim", "n_inner",
        ),
        "vocabulary": ("vocab_size", "n_vocab", "vocab"),
        "sequence_length": (
            "seq_len", "seq_length", "n_ctx", "context_length", "block_size", "n_positions",
            "max_position_embeddings",
        ),
        "gated": ("gated_mlp", "swiglu", "glu"),
        "tied_head": ("tie_word_embeddings", "tied_embeddings", "weight_tying"),
        "learned_positions": ("learned_position_embeddings",),
        "relative_positions": (),
    }
)  # fmt: skip
"""Column names understood beside the canonical ones; case, spaces and dashes do not matter."""


def canonical(header: str) -> str:
    """A header without case, spaces and signs."""
    return "_".join("".join(c if c.isalnum() else " " for c in header.lower()).split())


def map_columns(
    raw: pd.DataFrame, chosen: dict[str, str], units: dict[str, str], name: str
) -> dict[str, str]:
    """Our columns and the headers they stand under, by choice, by name or by alias.

    Raises
    ------
    RunLogError
        If a column is unknown, absent or could be several, or the log lacks a loss or any scale.
    """
    known = (*NUMBERS, *LABELS, *SHAPES, *STATEMENTS)
    problems = [
        f"column {column!r} is not one of {', '.join(known)}"
        for column in {**chosen, **units}
        if column not in known
    ]
    problems += [
        f"column {header!r}, named for {column}, is not there; it has {listed(raw.columns, 20)}"
        for column, header in chosen.items()
        if header not in raw.columns
    ]
    mapping = {c: h for c, h in chosen.items() if c in known and h in raw.columns}
    for column in known:
        if column in mapping:
            continue
        exact = [h for h in raw.columns if canonical(h) == column]
        found = exact or [h for h in raw.columns if canonical(h) in ALIASES.get(column, ())]
        found = [h for h in found if h not in mapping.values()]
        if len(found) > 1:
            problems.append(
                f"columns {listed(map(repr, found))} could each be {column}: choose with "
                f"--column {column}=HEADER"
            )
        elif found:
            mapping[column] = found[0]
    for column, unit in units.items():
        if column in known and column not in mapping:
            problems.append(f"a unit is named for {column}, which the log does not have")
        elif column in known and not (column == "loss" and understood("loss", unit)):
            try:
                unit_factor(column, unit)
            except UnitError as error:
                problems.append(str(error))
    if "loss" not in mapping and not any("be loss" in p or "for loss" in p for p in problems):
        problems.append(
            f"it has no loss among its columns {listed(raw.columns, 20)}: name it with "
            "--column loss=HEADER"
        )
    if not any(column in mapping for column in (*SCALES, "layers")):
        problems.append(
            "it has none of params, tokens and flops: name at least one with, for example, "
            "--column params=HEADER"
        )
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))
    return mapping
