"""Conversions of params, compute and losses from one convention to another.

Each function takes the runs in raw units, the conventions of each row, and a function that writes
the places of rows. It returns the converted runs and conventions.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayescale.conventions.configuration import NEEDED_FOR, Configuration
from bayescale.conventions.stated import UNKNOWN
from bayescale.errors import RunLogError, argument, listed

Stated = dict[str, np.ndarray]
Where = Callable[[Iterable[int]], str]


def convert_params(
    frame: pd.DataFrame, stated: Stated, to: str, where: Where
) -> tuple[pd.DataFrame, Stated]:
    """Return runs with params under another convention; compute by 6 N D changes with them."""
    request = argument("convert", params=to)
    if "params" not in frame:
        raise RunLogError(
            f"{request}: the log has no params: name their column with "
            f"{argument('columns', params='HEADER')}, or leave the conversion out"
        )
    frame = frame.assign(params=_recount(frame, stated["params"], to, request, where))
    by_params = stated["flops"] == "6ND"
    if by_params.any() and {"tokens", "flops"} <= set(frame.columns):
        flops = 6.0 * frame["params"] * frame["tokens"]
        frame["flops"] = frame["flops"].where(~by_params, flops)
    return frame, stated | {"params": np.full(len(frame), to, dtype=object)}


def convert_flops(
    frame: pd.DataFrame, stated: Stated, to: str, where: Where
) -> tuple[pd.DataFrame, Stated]:
    """Return runs with compute under another convention."""
    request = argument("convert", flops=to)
    absent = [name for name in ("params", "tokens") if name not in frame]
    if absent:
        raise RunLogError(
            f"{request}: the log has no {' and no '.join(absent)}: name their columns with "
            f"{argument('columns', **{absent[0]: 'HEADER'})}, or leave the conversion out"
        )
    tokens = frame["tokens"].to_numpy()
    if to == "6ND":
        flops = 6.0 * frame["params"].to_numpy() * tokens
    elif to == "6ND_non_embedding":
        flops = 6.0 * _recount(frame, stated["params"], "non_embedding", request, where) * tokens
    else:
        shapes = _configuration(frame, NEEDED_FOR[to], request)
        flops = np.asarray(shapes.hoffmann_flops(tokens, blocks_only=to == "hoffmann_blocks"))
        _require_complete(np.where(np.isnan(tokens), 0.0, flops), frame, request, where)
    return frame.assign(flops=flops), stated | {"flops": np.full(len(frame), to, dtype=object)}


def convert_tokenizer(
    frame: pd.DataFrame, stated: Stated, targets: Mapping[str, Any], where: Where
) -> tuple[pd.DataFrame, Stated, str]:
    """Return runs with losses in nats per token of one tokenizer, converted through nats per byte.

    Parameters
    ----------
    targets : mapping of str to object
        ``tokenizer``, a name that rows state, or ``tokens_per_byte``.

    Returns
    -------
    frame, stated
    text : str
        The new unit of the losses, for messages.

    Raises
    ------
    RunLogError
        If tokens per byte are not known.
    """
    per_byte, index = stated["tokens_per_byte"], frame.index.to_numpy()
    name = targets.get("tokenizer")
    request = argument("convert", **({"tokenizer": name} if name else _tokens_per_byte(targets)))
    unknown = index[np.isnan(per_byte)]
    if unknown.size:
        raise RunLogError(
            f"{request} needs tokens_per_byte of each run's tokenizer on the evaluation set, which "
            f"is missing in {where(unknown)}: add a column of that name"
        )
    if name:
        known = np.unique(per_byte[stated["tokenizer"] == name])
        if len(known) != 1:
            found = "runs of several tokens_per_byte" if len(known) else "no run"
            raise RunLogError(
                f"{request}: {found} under that name, among {names_of(stated['tokenizer'])}; name "
                f"another, or a number with {argument('convert', tokens_per_byte='VALUE')}"
            )
        target = float(known[0])
    else:
        target = float(targets["tokens_per_byte"])
    factor = per_byte / target
    frame = frame.assign(
        **{c: frame[c] * factor for c in ("loss", "loss_se", "loss_step") if c in frame}
    )
    stated = stated | {
        "tokens_per_byte": np.full(len(frame), target),
        "tokenizer": np.full(len(frame), name or UNKNOWN, dtype=object),
    }
    text = f"per token of {name}" if name else f"per token at {target:g} tokens per byte"
    return frame, stated, text


def _tokens_per_byte(targets: Mapping[str, Any]) -> dict[str, str]:
    return {"tokens_per_byte": f"{targets['tokens_per_byte']:g}"}


def names_of(rows: np.ndarray) -> str:
    """Return the distinct values of rows as text."""
    return listed(dict.fromkeys(map(str, rows)))


def _recount(
    frame: pd.DataFrame, have: np.ndarray, to: str, request: str, where: Where
) -> np.ndarray:
    """Return params under another convention, changed by the difference outside the blocks."""
    params, index = frame["params"].to_numpy(), frame.index.to_numpy()
    unknown = index[have == UNKNOWN]
    if unknown.size:
        raise RunLogError(
            f"{request} needs to know what params counts, which is not stated in {where(unknown)}: "
            f"state it with {argument('conventions', params='NAME')} or a column "
            "params_convention"
        )
    if (have == to).all():
        return params
    beside = _params_beside_blocks(frame, {*have, to}, request, where)
    new = params - np.array([beside[kind][i] for i, kind in enumerate(have)]) + beside[to]
    below = index[new - beside[to] <= 0]
    if below.size:
        raise RunLogError(
            f"{request}: embeddings of vocabulary times width are more than all params in "
            f"{where(below)}, so params counts something else than was stated, or the "
            "configuration is another model's: correct one of them"
        )
    return new


def _params_beside_blocks(
    frame: pd.DataFrame, kinds: set[str], request: str, where: Where
) -> dict[str, np.ndarray]:
    """Return the parameters outside the blocks, for each convention."""
    needed = ["vocabulary"] if kinds - {"non_embedding"} else []
    needed += ["tied_head"] if "all" in kinds else []
    shapes = _configuration(frame, needed, request)
    counts = {kind: np.asarray(shapes.beside_blocks(kind), dtype=float) for kind in kinds}
    for count in counts.values():
        _require_complete(count, frame, request, where)
    return counts


def _configuration(frame: pd.DataFrame, needed: Iterable[str], request: str) -> Configuration:
    shapes = Configuration.of(frame)
    lacking = ["layers", "width", *needed] if shapes is None else shapes.lacks(*needed)
    if shapes is None or lacking:
        raise RunLogError(f"{request} needs {', '.join(lacking)} of each model: add such columns")
    return shapes


def _require_complete(values: np.ndarray, frame: pd.DataFrame, request: str, where: Where) -> None:
    lacking = frame.index.to_numpy()[np.isnan(values)]
    if lacking.size:
        raise RunLogError(
            f"{request} lacks a part of the configuration in {where(lacking)}: add it"
        )
