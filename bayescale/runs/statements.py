"""What a log's rows state of their conventions, put together into one answer for the log.

Rows that state different things do not mix: they are converted where that was asked for, and
refused otherwise.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.conventions import UNKNOWN, Configuration, Conventions
from bayescale.conventions.configuration import NEEDED_FOR
from bayescale.conventions.stated import CHOICES, NAMES, given, needed, understood
from bayescale.errors import RunLogError, collected, listed
from bayescale.runs.cells import is_missing, named, where
from bayescale.runs.log import Note, Runs

COLUMN_OF: Mapping[str, str] = MappingProxyType(
    {
        "params": "params_convention",
        "flops": "flops_convention",
        "loss": "loss_unit",
        "evaluation_set": "evaluation_set",
        "tokenizer": "tokenizer",
        "tokens_per_byte": "tokens_per_byte",
    }
)
"""The column that states each convention, row by row."""

CONVERTIBLE = ("params", "flops", "loss", "tokenizer", "tokens_per_byte")

Stated = dict[str, np.ndarray]
"""Each convention row by row, of dims (run,); ``unknown``, or NaN, where a row does not say."""


def read_statements(
    raw: pd.DataFrame,
    mapping: Mapping[str, str],
    options: Mapping[str, Any],
    unit_of_loss: str | None,
    ids: list[str],
    keep: np.ndarray,
) -> tuple[Stated, list[str]]:
    """Conventions as columns and options state them.

    Parameters
    ----------
    raw : pandas.DataFrame
        The file's cells.
    mapping : mapping of str to str
        From our columns to the file's headers.
    options : mapping of str to object
        Conventions that the reader states for all rows.
    unit_of_loss : str, optional
        As ``--unit loss=`` says it.
    ids : list of str
    keep : (row,) of bool

    Returns
    -------
    stated : dict of str to array
    problems : list of str
        Values that are no convention, and columns and options that contradict each other.
    """
    chosen, problems = given(options, "--convention")
    unit = None if unit_of_loss is None else understood("loss", unit_of_loss)
    if unit is not None and chosen.setdefault("loss", unit) != unit:
        problems.append(
            f"--unit loss={unit_of_loss} and --convention loss={chosen['loss']} contradict each "
            "other: keep one"
        )
    if unit_of_loss is not None and unit is None and ("loss" in chosen or "loss_unit" in mapping):
        problems.append(
            f"--unit loss={unit_of_loss} is a factor, and the unit is stated as well: keep one"
        )
    stated: Stated = {}
    for name in NAMES:
        column = COLUMN_OF[name]
        rows = _nothing(name, len(raw))
        if column in mapping:
            rows, wrong = _column(raw, name, mapping[column], ids, keep)
            problems += wrong
            problems += _contradictions(name, mapping[column], rows, chosen, ids, keep)
        if name in chosen:
            rows = np.full(len(raw), chosen[name], dtype=rows.dtype)
        stated[name] = rows
    return stated, problems


def _nothing(name: str, n: int) -> np.ndarray:
    return np.full(n, np.nan) if name == "tokens_per_byte" else np.full(n, UNKNOWN, dtype=object)


def _column(
    raw: pd.DataFrame, name: str, header: str, ids: list[str], keep: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    rows, wrong = _nothing(name, len(raw)), []
    cells = raw[header].tolist()
    for i, cell in enumerate(cells):
        if not keep[i] or is_missing(cell) or str(cell).strip() == UNKNOWN:
            continue
        value = understood(name, cell)
        if value is None:
            wrong.append(i)
        else:
            rows[i] = value
    if not wrong:
        return rows, []
    return rows, [
        f"{named(COLUMN_OF[name], header)} says {where(wrong, ids, cells)}, which is not "
        f"{needed(name)}"
    ]


def _contradictions(
    name: str,
    header: str,
    rows: np.ndarray,
    chosen: Mapping[str, Any],
    ids: list[str],
    keep: np.ndarray,
) -> list[str]:
    if name not in chosen:
        return []
    against = np.flatnonzero(keep & _known(rows) & (rows != chosen[name]))
    if not against.size:
        return []
    return [
        f"{named(COLUMN_OF[name], header)} says {where(against, ids, rows.tolist())}, and the "
        f"option says {name}={chosen[name]}: leave the option out, or correct the column"
    ]


def _known(rows: np.ndarray) -> np.ndarray:
    return ~np.isnan(rows) if rows.dtype.kind == "f" else rows != UNKNOWN


# one answer for the log


class Harmonized(NamedTuple):
    """Runs that all count the same things."""

    frame: pd.DataFrame
    conventions: Conventions
    records: dict[str, str]
    notes: list[Note]
    problems: list[str]


def harmonize(
    frame: pd.DataFrame,
    stated: Stated,
    convert: Mapping[str, Any],
    ids: list[str],
    headers: Mapping[str, str],
) -> Harmonized:
    """Convert what was asked for, and refuse what still differs between rows.

    Parameters
    ----------
    frame : pandas.DataFrame
        The kept runs in raw units, indexed by their rows in the file.
    stated : dict of str to array
        For the kept runs.
    convert : mapping of str to object
        What to convert to, by convention.
    ids : list of str
        Of all rows in the file.
    headers : mapping of str to str
        From our columns to the file's.

    Returns
    -------
    United
        ``records`` says of each column changed what was done to it.
    """
    aims, problems = _aims(convert, stated)
    stated, records, notes = dict(stated), dict[str, str](), list[Note]()
    if "params" in aims:
        before = stated["params"]
        frame, stated, wrong = _to_params(frame, stated, aims["params"], ids)
        problems += wrong
        if not wrong:
            records["params"] = f"converted from {_names(before)} to {aims['params']}"
    if "flops" in aims:
        before = stated["flops"]
        frame, stated, wrong = _to_flops(frame, stated, aims["flops"], ids)
        problems += wrong
        if not wrong:
            records["flops"] = f"converted from {_names(before)} to {aims['flops']}"
    if "loss" in aims:  # losses of every unit are in nats by now
        stated["loss"] = np.full(len(frame), "nats", dtype=object)
    if {"tokenizer", "tokens_per_byte"} & set(aims):
        frame, stated, wrong, told = _to_tokenizer(frame, stated, aims, ids)
        problems += wrong
        if not wrong:
            records["loss"] = told
            notes.append(
                Note(
                    "tokens_as_counted",
                    f"losses are {told}; tokens stay as each run's own tokenizer counted them",
                )
            )
    problems += _mixed(frame, stated, ids, headers)
    answers = {name: _answer(rows) for name, rows in stated.items()}
    return Harmonized(frame, Conventions(**answers), records, notes, problems)


def _names(rows: np.ndarray) -> str:
    return listed(dict.fromkeys(map(str, rows)))


def _answer(rows: np.ndarray) -> Any:
    value = rows[0] if len(rows) else UNKNOWN
    if isinstance(value, float):
        return None if np.isnan(value) else float(value)
    return value


def _aims(convert: Mapping[str, Any], stated: Stated) -> tuple[dict[str, Any], list[str]]:
    pairs = {name: value for name, value in convert.items() if name in CONVERTIBLE}
    problems = [
        f"--convert {name}={value}: {name!r} cannot be converted; {listed(CONVERTIBLE)} can"
        for name, value in convert.items()
        if name not in CONVERTIBLE
    ]
    aims, wrong = given(pairs, "--convert")
    if aims.get("loss", "nats") != "nats":
        wrong.append(
            f"--convert loss={aims['loss']}: laws are fitted to nats per token, so losses are "
            "converted to nats only; state what they are in with --unit loss="
            f"{aims['loss']}"
        )
    if {"tokenizer", "tokens_per_byte"} <= set(aims):
        wrong.append("--convert takes one of tokenizer and tokens_per_byte: leave one out")
        del aims["tokenizer"]
    return aims, problems + wrong


def _mixed(
    frame: pd.DataFrame, stated: Stated, ids: list[str], headers: Mapping[str, str]
) -> list[str]:
    problems = []
    index = frame.index.to_numpy()
    for name, rows in stated.items():
        labels = np.where(_known(rows), rows.astype(object), "nothing")
        kinds = list(dict.fromkeys(labels.tolist()))
        if len(kinds) < 2 or (name == "tokens_per_byte" and _already_told(stated)):
            continue
        parts = [
            f"{kind!r} in {int((labels == kind).sum())} ({where(index[labels == kind], ids)})"
            for kind in kinds
        ]
        column = headers.get(COLUMN_OF[name], COLUMN_OF[name])
        problems.append(f"{column} says {'; '.join(parts)}: {_way_out(name, column, kinds)}")
    return problems


def _already_told(stated: Stated) -> bool:
    return len(set(stated["tokenizer"])) > 1 or len(set(stated["evaluation_set"])) > 1


def _way_out(name: str, column: str, kinds: list[Any]) -> str:
    apart = f"fit them apart with --exclude {column}=VALUE"
    if "nothing" in kinds:
        return "runs that state different things do not mix; fill in the empty cells"
    match name:
        case "params" | "flops":
            choice = next(kind for kind in CHOICES[name] if kind in kinds)
            return (
                "different counts do not mix in one law; convert them with --convert "
                f"{name}={choice}, which needs each model's configuration, or {apart}"
            )
        case "loss":
            return f"different units do not mix; convert them with --convert loss=nats, or {apart}"
        case "tokenizer":
            return (
                "losses per token of different tokenizers do not compare; convert them with "
                f"--convert tokenizer={kinds[0]}, which needs tokens_per_byte for each, or {apart}"
            )
        case "tokens_per_byte":
            return (
                "so there are several tokenizers, whose losses per token do not compare; convert "
                f"them with --convert tokens_per_byte=VALUE, or {apart}"
            )
    return f"losses on different texts do not compare and cannot be converted; {apart}"


# conversions


def _shapes(frame: pd.DataFrame) -> Configuration | None:
    return Configuration.of({str(c): frame[c].to_numpy() for c in frame})


def _lacking(shapes: Configuration | None, names: Iterable[str], aim: str) -> list[str]:
    lacks = ["layers", "width", *names] if shapes is None else shapes.lacks(*names)
    if not lacks:
        return []
    return [f"--convert {aim} needs {', '.join(lacks)} of each model: add such columns"]


def _incomplete(values: np.ndarray, frame: pd.DataFrame, ids: list[str], aim: str) -> list[str]:
    lacking = frame.index.to_numpy()[np.isnan(values)]
    if not lacking.size:
        return []
    return [f"--convert {aim} lacks a part of the configuration in {where(lacking, ids)}: add it"]


def _beside(
    frame: pd.DataFrame, kinds: Iterable[str], ids: list[str], aim: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Parameters outside the blocks, for each convention that is needed."""
    kinds = set(kinds)
    names = ["vocabulary"] if kinds - {"non_embedding"} else []
    names += ["tied_head"] if "all" in kinds else []
    shapes = _shapes(frame)
    problems = _lacking(shapes, names, aim)
    if problems or shapes is None:
        return {}, problems
    counts = {kind: np.asarray(shapes.beside_blocks(kind), dtype=float) for kind in kinds}
    wrong = [text for values in counts.values() for text in _incomplete(values, frame, ids, aim)]
    return counts, list(dict.fromkeys(wrong))


def _recounted(
    frame: pd.DataFrame, have: np.ndarray, to: str, ids: list[str], aim: str
) -> tuple[np.ndarray, list[str]]:
    """Params under another convention, by what differs outside the blocks."""
    params = frame["params"].to_numpy()
    index = frame.index.to_numpy()
    silent = index[have == UNKNOWN]
    if silent.size:
        return params, [
            f"--convert {aim} needs to know what params counts, which is not stated in "
            f"{where(silent, ids)}: say it with --convention params=NAME or a column "
            "params_convention"
        ]
    if (have == to).all():
        return params, []
    beside, problems = _beside(frame, {*have, to}, ids, aim)
    if problems:
        return params, problems
    was = np.array([beside[kind][i] for i, kind in enumerate(have)])
    new = params - was + beside[to]
    below = index[new - beside[to] <= 0]
    if below.size:
        return params, [
            f"--convert {aim}: embeddings of vocabulary times width are more than all params in "
            f"{where(below, ids)}, so params counts something else than was stated, or the "
            "configuration is another model's"
        ]
    return new, []


def _to_params(
    frame: pd.DataFrame, stated: Stated, to: str, ids: list[str]
) -> tuple[pd.DataFrame, Stated, list[str]]:
    aim = f"params={to}"
    if "params" not in frame:
        return frame, stated, [f"--convert {aim}: the log has no params"]
    new, problems = _recounted(frame, stated["params"], to, ids, aim)
    if problems:
        return frame, stated, problems
    by_params = stated["flops"] == "6ND"
    frame = frame.assign(params=new)
    if by_params.any() and {"tokens", "flops"} <= set(frame.columns):
        again = 6.0 * frame["params"] * frame["tokens"]
        frame["flops"] = frame["flops"].where(~by_params, again)
    return frame, {**stated, "params": np.full(len(frame), to, dtype=object)}, []


def _to_flops(
    frame: pd.DataFrame, stated: Stated, to: str, ids: list[str]
) -> tuple[pd.DataFrame, Stated, list[str]]:
    aim = f"flops={to}"
    absent = [name for name in ("params", "tokens") if name not in frame]
    if absent:
        return frame, stated, [f"--convert {aim}: the log has no {' and no '.join(absent)}"]
    tokens = frame["tokens"].to_numpy()
    if to in ("6ND", "6ND_non_embedding"):
        params, problems = frame["params"].to_numpy(), list[str]()
        if to == "6ND_non_embedding":
            params, problems = _recounted(frame, stated["params"], "non_embedding", ids, aim)
        new = 6.0 * params * tokens
    else:
        shapes = _shapes(frame)
        problems = _lacking(shapes, NEEDED_FOR[to], aim)
        new = tokens
        if shapes is not None and not problems:
            new = np.asarray(shapes.hoffmann_flops(tokens, blocks_only=to == "hoffmann_blocks"))
            problems = _incomplete(np.where(np.isnan(tokens), 0.0, new), frame, ids, aim)
    if problems:
        return frame, stated, problems
    return frame.assign(flops=new), {**stated, "flops": np.full(len(frame), to, dtype=object)}, []


def _to_tokenizer(
    frame: pd.DataFrame, stated: Stated, aims: Mapping[str, Any], ids: list[str]
) -> tuple[pd.DataFrame, Stated, list[str], str]:
    """Nats per token of one tokenizer, by way of nats per byte."""
    per_byte, index = stated["tokens_per_byte"], frame.index.to_numpy()
    name = aims.get("tokenizer")
    aim = f"tokenizer={name}" if name else f"tokens_per_byte={aims['tokens_per_byte']:g}"
    silent = index[np.isnan(per_byte)]
    if silent.size:
        return frame, stated, [
            f"--convert {aim} needs tokens_per_byte of each run's tokenizer on the evaluation set, "
            f"which is missing in {where(silent, ids)}: add a column of that name"
        ], ""  # fmt: skip
    if name:
        known = np.unique(per_byte[stated["tokenizer"] == name])
        if len(known) != 1:
            found = "no run" if not len(known) else "runs of several tokens_per_byte"
            return frame, stated, [
                f"--convert {aim}: {found} under that name, among {_names(stated['tokenizer'])}; "
                "name another, or a number with --convert tokens_per_byte=VALUE"
            ], ""  # fmt: skip
        aimed = float(known[0])
    else:
        aimed = float(aims["tokens_per_byte"])
    factor = per_byte / aimed
    changed = {c: frame[c] * factor for c in ("loss", "loss_se", "loss_step") if c in frame}
    stated = {
        **stated,
        "tokens_per_byte": np.full(len(frame), aimed),
        "tokenizer": np.full(len(frame), name or UNKNOWN, dtype=object),
    }
    told = f"per token of {name}" if name else f"per token at {aimed:g} tokens a byte"
    return frame.assign(**changed), stated, [], told


def convert(runs: Runs, **to: Any) -> Runs:
    """The same runs under other conventions.

    Parameters
    ----------
    runs : Runs
        Whose conventions are stated, as far as the conversion needs them.
    **to
        ``params``, ``flops``, ``tokens_per_byte``: what to convert to. Parameters change by
        what differs outside the blocks, so that the log's own count of these stays; compute by
        6 N D follows them.

    Raises
    ------
    RunLogError
        If the conventions or the configuration that it takes are not known.

    Examples
    --------
    >>> from bayescale.runs import read_runs
    >>> log = pd.DataFrame({"params": [8e8], "tokens": [1e10], "loss": [2.9], "layers": [24],
    ...     "width": [1600], "vocab_size": [50257]})
    >>> runs = read_runs(log, conventions={"params": "no_input_embedding"})
    >>> convert(runs, params="non_embedding")["params"]
    array([7.195888e+08])
    """
    answers = runs.conventions.to_json()
    stated = {
        name: np.full(len(runs), np.nan if answers[name] is None else answers[name])
        if name == "tokens_per_byte"
        else np.full(len(runs), answers[name], dtype=object)
        for name in NAMES
    }
    ids = [str(one) for one in runs["run_id"]]
    harmonized = harmonize(runs.to_frame(), stated, to, ids, {})
    if harmonized.problems:
        raise RunLogError(collected(f"{runs.source} cannot be converted:", harmonized.problems))
    columns = dict(runs.columns)
    for name, record in harmonized.records.items():
        columns[name] = f"{columns.get(name, 'nowhere')}, {record}"
    return replace(
        runs,
        frame=harmonized.frame,
        columns=columns,
        conventions=harmonized.conventions,
        warnings=(*runs.warnings, *harmonized.notes),
        _arrays={},
    )
