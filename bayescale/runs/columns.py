"""The columns of a file by the package's names, and their aliases."""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.conventions.stated import parse_convention
from bayescale.errors import MOST_NAMES, UnitError, argument, did_you_mean, listed, nearest
from bayescale.runs.cells import read_numbers
from bayescale.runs.log import HELPERS, LABELS, NUMBERS, SCALES, SHAPES
from bayescale.runs.statements import COLUMN_OF
from bayescale.units import LOGS, unit_factor, unit_in_words

STATEMENTS = tuple(COLUMN_OF.values())

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": (
            "n", "n_params", "num_params", "parameters", "num_parameters", "model_size",
            "total_params", "total_parameters", "n_parameters", "param_count", "parameter_count",
        ),
        "tokens": (
            "d", "n_tokens", "num_tokens", "training_tokens", "train_tokens", "tokens_trained",
            "trained_tokens", "total_tokens", "token_count", "num_train_tokens", "tokens_seen",
        ),
        "flops": (
            "c", "flop", "compute", "training_flop", "training_flops", "train_flops",
            "compute_budget", "flops_budget", "flop_budget", "total_flops", "total_flos",
            "training_compute", "train_compute",
        ),
        "loss": ("l", "final_loss", "val_loss", "validation_loss", "eval_loss", "test_loss"),
        "loss_se": ("loss_stderr", "loss_std_err", "loss_standard_error"),
        "loss_step": ("loss_resolution",),
        "family": ("model_family",),
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
        "tokens_per_param": ("tokens_per_parameter", "tokens_to_params", "tpp"),
        "batch_size": ("global_batch_size", "train_batch_size", "batch"),
        "batch_tokens": ("tokens_per_batch", "tokens_per_step", "batch_size_tokens"),
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
        "lr": ("learning_rate", "peak_lr", "max_lr", "peak_learning_rate", "max_learning_rate"),
        "experts": ("n_experts", "num_experts", "number_of_experts"),
        "utilization": ("mfu", "model_flops_utilization", "model_flop_utilization"),
    }
)  # fmt: skip
"""Headers that are understood as each column; case, spaces and dashes do not matter."""

KNOWN = (*NUMBERS, *LABELS, *SHAPES, *STATEMENTS, *HELPERS)
"""All columns that the package knows."""

_HINTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "params": frozenset({"param", "params", "parameter", "parameters"}),
        "tokens": frozenset({"token", "tokens", "toks"}),
        "flops": frozenset({"flop", "flops", "flos", "compute", "pfdays"}),
        "loss": frozenset(
            {"loss", "nll", "xent", "ce", "entropy", "ppl", "perplexity", "bpb", "bits"}
        ),
    }
)
"""Words in headers of columns that may be a scale or the loss."""

_LOSS_WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "bits_per_byte": frozenset({"bpb", "bpc", "byte", "character"}),
        "bits": frozenset({"bits", "bit", "bpt"}),
        "perplexity": frozenset({"ppl", "perplexity"}),
        "score": frozenset({"accuracy", "acc", "error", "errors", "err"}),
    }
)
"""Words in headers of losses that are in another unit than nats."""

_NOT = frozenset(
    {"per", "unique", "vocab", "batch", "embedding", "embed", "std", "stderr", "se", "convention",
     "unit", "lm", "step", "aux"}
)  # fmt: skip
"""Words in headers of columns that are something else."""

CONFIGURED = (*SCALES, "params_no_embed")
"""Columns that are also found by the last part of a header below ``config/`` or ``config.``."""

_VAGUE = frozenset({"n", "d", "c", "compute"})
"""Aliases that may mean something else in a configuration."""

_CONFIGURATION = re.compile(r"config[./]", re.IGNORECASE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BRACKETS = re.compile(r"(?P<name>.*?)[\s_]*[(\[]\s*(?P<unit>[^()\[\]]+?)\s*[)\]]\s*")


class Columns(NamedTuple):
    """The columns of a file.

    Attributes
    ----------
    headers : dict of str to str
        The file's header of each column that the package knows.
    units : dict of str to str
        Units in headers, such as ``Params (M)``.
    problems : list of str
        Why the columns cannot be used; empty if they can.
    """

    headers: dict[str, str]
    units: dict[str, str]
    problems: list[str]


def is_input_name(column: str) -> bool:
    """Return whether a column that the package does not know may be the input of a law.

    A name that is close to a known one is probably a misspelling and not an input.
    """
    ours = any(column in ALIASES.get(name, ()) for name in KNOWN)
    near = nearest(column, KNOWN, similarity=0.85)
    return bool(_NAME.fullmatch(column)) and not ours and near is None


@lru_cache(maxsize=2**16)
def canonical(header: str) -> str:
    """Return a header in lower case, with underscores instead of spaces and signs."""
    return "_".join("".join(c if c.isalnum() else " " for c in header.lower()).split())


def map_columns(
    raw: pd.DataFrame,
    chosen: Mapping[str, str],
    units: Mapping[str, str],
    ignored: Collection[str] = (),
) -> Columns:
    """Find the known columns of a file: as the caller names them, or by name or alias.

    A scale that is not found so is looked for in a tracker's table of configurations: in
    ``config/model.n_params``, the last part is an alias of params.
    """
    readable = [header for header in raw.columns if header not in ignored]
    problems = [
        f"column {column!r} is not one of {listed(KNOWN, MOST_NAMES)}{did_you_mean(column, KNOWN)}"
        for column in {**chosen, **units}
        if column not in KNOWN and not (column in chosen and is_input_name(column))
    ]
    problems += [
        f"column {header!r}, named for {column}, is not there; it has {listed(raw.columns, 20)}"
        f"{did_you_mean(header, raw.columns)}"
        for column, header in chosen.items()
        if header not in raw.columns
    ]
    problems += [
        f"column {header!r}, named for {column}, is to be ignored as well: leave out "
        f"`ignore={header!r}`"
        for column, header in chosen.items()
        if header in ignored
    ]
    usable = [column for column in chosen if column in KNOWN or is_input_name(column)]
    mapping = {column: chosen[column] for column in usable if chosen[column] in readable}
    ambiguous = _add_found(mapping, raw[readable]) | _add_configured(mapping, raw[readable])
    mapping = {c: mapping[c] for c in (*usable, *KNOWN) if c in mapping}
    problems += ambiguous.values()
    problems += unit_problems(units, mapping)
    problems += _absence_problems({*mapping, *chosen, *ambiguous}, raw[readable])
    in_headers = {c: unit_in_header(c, header)[1] for c, header in mapping.items()}
    stated = {c: unit for c, unit in in_headers.items() if unit and c not in units}
    return Columns(mapping, stated, problems)


def unit_in_header(column: str, header: str) -> tuple[str, str]:
    """Return the name and the unit in brackets of a header; the unit is empty if there is none.

    Examples
    --------
    >>> unit_in_header("tokens", "Tokens (B)"), unit_in_header("tokens", "tokens")
    (('Tokens', 'B'), ('tokens', ''))
    """
    match = _BRACKETS.fullmatch(header)
    unit = unit_in_words(column, match["unit"]) if match else None
    return (match["name"], unit) if match and unit else (header, "")


def likely(column: str, headers: Collection[str]) -> list[str]:
    """Return the headers that may be a scale or the loss, by their words."""
    return [
        header
        for header in headers
        if (words := set(canonical(header).split("_"))) & _HINTS[column] and not words & _NOT
    ]


def name_it(column: str, headers: Collection[str]) -> str:
    """Return the option that names a column, with a likely header and its likely unit."""
    found = likely(column, headers)
    if not found:
        return argument("columns", **{column: "HEADER"})
    text = argument("columns", **{column: found[0]})
    if unit := _likely_unit(column, found[0]):
        text += f" and {argument('units', **{column: unit})}"
    others = f" (or {listed(map(repr, found[1:]))})" if found[1:] else ""
    return f"{text}{others}"


def unit_of_loss_header(header: str) -> str | None:
    """Return the unit of a loss that the words of a header name, besides nats.

    Returns
    -------
    str or None
        ``bits``, ``bits_per_byte`` or ``perplexity``; or ``score`` for shares of right or wrong
        answers, which are no losses.

    Examples
    --------
    >>> unit_of_loss_header("val/bpb"), unit_of_loss_header("error_rate")
    ('bits_per_byte', 'score')
    """
    words = set(canonical(header).split("_"))
    return next((unit for unit, names in _LOSS_WORDS.items() if words & names), None)


def hold_numbers(cells: Sequence[Any], keep: np.ndarray) -> bool:
    """Return whether the kept cells of a column are numbers, at least one of them finite."""
    read = read_numbers(cells, keep, sizes=True)
    return not read.texts and bool(np.isfinite(read.values).any())


def _likely_unit(column: str, header: str) -> str:
    """Return the unit that the words of a header name; empty for raw counts and nats."""
    words = set(canonical(header).split("_"))
    if column == "loss":
        return unit_of_loss_header(header) or ""
    if not words & {*LOGS, "log"}:
        return ""
    return "ln" if "ln" in words else "log10"


def _name_scales(cells: pd.DataFrame) -> str:
    """Return a message that asks for the scales, with all columns that may hold one."""
    numeric = [h for h in cells.columns if _are_numbers(cells, h)]
    found = {scale: likely(scale, numeric) for scale in SCALES}
    first = {scale: headers[0] for scale, headers in found.items() if headers}
    none = "it has none of params, tokens and flops"
    if len(first) < 2:
        scale = next(iter(first), "params")
        return f"{none}: name at least one with, for example, {name_it(scale, numeric)}"
    text = f"{none}: name all that it has, for example with {argument('columns', **first)}"
    units = {scale: unit for scale, h in first.items() if (unit := _likely_unit(scale, h))}
    if units:
        text += f" and {argument('units', **units)}"
    others = [
        f"{scale} may also be {listed(map(repr, found[scale][1:]))}"
        for scale in first
        if found[scale][1:]
    ]
    return "; ".join([text, *others])


def _are_numbers(cells: pd.DataFrame, header: str) -> bool:
    return hold_numbers(cells[header].tolist(), np.ones(len(cells), dtype=bool))


def _add_found(mapping: dict[str, str], cells: pd.DataFrame) -> dict[str, str]:
    """Add columns that are found by name or alias, and return problems with ambiguous ones."""
    problems: dict[str, str] = {}
    readable = list(cells.columns)
    for column in KNOWN:
        if column in mapping:
            continue
        names = {h: canonical(unit_in_header(column, h)[0]) for h in readable}
        exact = [h for h, plain in names.items() if plain == column]
        found = exact or [h for h, plain in names.items() if plain in ALIASES.get(column, ())]
        found = [h for h in found if h not in mapping.values()]
        if len(found) > 1 and column not in HELPERS:
            problems[column] = (
                _ambiguous_ids(cells[found]) if column == "run_id" else _ambiguous(column, found)
            )
        elif len(found) == 1:
            mapping[column] = found[0]
    return problems


def _add_configured(mapping: dict[str, str], cells: pd.DataFrame) -> dict[str, str]:
    """Add scales that only a configuration holds, and return problems with ambiguous ones.

    A header elsewhere with the same last part, such as ``perf/total_tokens``, makes it ambiguous:
    the configuration may hold the planned count and the other column the actual one.
    """
    problems: dict[str, str] = {}
    last = {h: _last_part(h) for h in cells.columns if h not in mapping.values()}
    for column in CONFIGURED:
        if column in mapping:
            continue
        names = {column, *ALIASES[column]} - _VAGUE
        found = [h for h, part in last.items() if part in names and _are_numbers(cells, h)]
        if not any(_CONFIGURATION.match(header) for header in found):
            continue
        if len(found) > 1:
            problems[column] = _ambiguous(column, found)
        else:
            mapping[column] = found[0]
    return problems


def _last_part(header: str) -> str:
    """Return the plain name after the last slash or dot of a header; empty if there is none."""
    name = header
    if (match := _BRACKETS.fullmatch(header)) is not None:
        name = match["name"]
    parts = re.split(r"[./]", name)
    return canonical(parts[-1]) if len(parts) > 1 else ""


def _ambiguous_ids(cells: pd.DataFrame) -> str:
    """Return a message on columns of ids; it advises one whose values all differ, if there is one.

    If all repeat, the last is that of training runs: trackers give names first, and then ids.
    """
    found = list(cells.columns)
    several = f"columns {listed(map(repr, found))} could each be run_id"
    for header in found:
        if not cells[header].duplicated().any():
            return (
                f"{several}: take {header!r}, whose values all differ, with "
                f"{argument('columns', run_id=header)}, or choose another of them"
            )
    others = " ".join(f"`ignore={header!r}`" for header in found[:-1])
    return (
        f"{several}, and each repeats values: where the rows are checkpoints of training runs, say "
        f"{argument('columns', run=found[-1])} {others}; otherwise give each run an id of its own, "
        f"or leave them unread with {others} `ignore={found[-1]!r}`"
    )


def _ambiguous(column: str, found: list[str]) -> str:
    return (
        f"columns {listed(map(repr, found))} could each be {column}: choose with "
        f"{argument('columns', **{column: found[0]})} or another of them"
    )


def _absence_problems(there: set[str], cells: pd.DataFrame) -> list[str]:
    """Return messages on columns that every log needs, with headers that may be them."""
    readable = list(cells.columns)
    if {"summary", "config"} <= {canonical(header) for header in readable}:
        return [
            "it is a table of runs from the API of Weights & Biases: make a run log of it with "
            "`bayescale.read_wandb`, such as `metric='eval/loss'` "
            f"{argument('columns', params='config.n_params', tokens='summary.tokens')}"
        ]
    problems = []
    has = listed(readable, 20)
    if "loss" not in there:
        problems.append(
            f"it has no loss among its columns {has}: name it with {name_it('loss', readable)}"
        )
    if not any(column in there for column in (*SCALES, "layers", "params_no_embed")):
        problems.append(_name_scales(cells))
    return problems


def unit_problems(units: Mapping[str, str], mapping: Collection[str]) -> list[str]:
    """Return messages on units that are stated for columns and cannot be used."""
    problems = []
    for column, unit in units.items():
        if column not in KNOWN or (column == "loss" and parse_convention("loss", unit)):
            continue
        if column not in mapping:
            problems.append(
                f"a unit is stated for {column}, which the log does not have: leave it out"
            )
            continue
        if unit.strip().lower() in LOGS and column in (*SCALES, "loss", "unique_tokens"):
            continue
        try:
            unit_factor(column, unit)
        except UnitError as error:
            problems.append(str(error))
    return problems
