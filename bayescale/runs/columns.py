"""The columns of a file, by our names: aliases are added here."""

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from bayescale.conventions.stated import parse_convention
from bayescale.errors import RunLogError, UnitError, argument, collected, listed
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
"""Column names understood besides ours; case, spaces and dashes do not matter."""

KNOWN = (*NUMBERS, *LABELS, *SHAPES, *STATEMENTS)
"""All of our columns."""


def canonical(header: str) -> str:
    """A header without case, spaces and signs."""
    return "_".join("".join(c if c.isalnum() else " " for c in header.lower()).split())


def map_columns(
    raw: pd.DataFrame, chosen: dict[str, str], units: dict[str, str], name: str
) -> dict[str, str]:
    """Find our columns in a file, as the caller names them, by our names or by aliases."""
    problems = [
        f"column {column!r} is not one of {', '.join(KNOWN)}"
        for column in {**chosen, **units}
        if column not in KNOWN
    ]
    problems += [
        f"column {header!r}, named for {column}, is not there; it has {listed(raw.columns, 20)}"
        for column, header in chosen.items()
        if header not in raw.columns
    ]
    mapping = {c: h for c, h in chosen.items() if c in KNOWN and h in raw.columns}
    ambiguous = _add_found(mapping, raw)
    problems += ambiguous.values()
    problems += _unit_problems(units, mapping)
    if "loss" not in {*mapping, *chosen, *ambiguous}:
        problems.append(
            f"it has no loss among its columns {listed(raw.columns, 20)}: name it with "
            f"{argument('columns', loss='HEADER')}"
        )
    if not any(column in mapping for column in (*SCALES, "layers")):
        problems.append(
            "it has none of params, tokens and flops: name at least one with, for example, "
            f"{argument('columns', params='HEADER')}"
        )
    if problems:
        raise RunLogError(collected(f"{name} cannot be used:", problems))
    return mapping


def _add_found(mapping: dict[str, str], raw: pd.DataFrame) -> dict[str, str]:
    """Add columns that are found by name or alias, and return problems with ambiguous ones."""
    problems = {}
    for column in KNOWN:
        if column in mapping:
            continue
        exact = [h for h in raw.columns if canonical(h) == column]
        found = exact or [h for h in raw.columns if canonical(h) in ALIASES.get(column, ())]
        found = [h for h in found if h not in mapping.values()]
        if len(found) > 1:
            problems[column] = (
                f"columns {listed(map(repr, found))} could each be {column}: choose with "
                f"{argument('columns', **{column: 'HEADER'})}"
            )
        elif found:
            mapping[column] = found[0]
    return problems


def _unit_problems(units: dict[str, str], mapping: dict[str, str]) -> list[str]:
    problems = []
    for column, unit in units.items():
        if column not in KNOWN or (column == "loss" and parse_convention("loss", unit)):
            continue
        if column not in mapping:
            problems.append(f"a unit is stated for {column}, which the log does not have")
            continue
        try:
            unit_factor(column, unit)
        except UnitError as error:
            problems.append(str(error))
    return problems
