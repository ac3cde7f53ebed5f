"""One convention for all rows of a log.

Rows that state different conventions cannot be mixed: they are converted on request, and refused
otherwise.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from bayescale.conventions import UNKNOWN, Conventions
from bayescale.conventions.convert import (
    convert_flops,
    convert_params,
    convert_tokenizer,
    names_of,
)
from bayescale.conventions.stated import CHOICES, parse_conventions
from bayescale.errors import RunLogError, argument, did_you_mean, listed
from bayescale.findings import Finding, note
from bayescale.runs.draft import Draft, Stated, stop
from bayescale.runs.statements import COLUMN_OF, is_stated

CONVERTIBLE = ("params", "flops", "loss", "tokenizer", "tokens_per_byte")


def harmonize_draft(draft: Draft, convert: Mapping[str, Any]) -> None:
    """Convert a log's kept rows on request, and add findings on remaining differences."""
    harmonized = Harmonized(
        draft.frame.loc[draft.keep],
        {name: rows[draft.keep] for name, rows in draft.stated.items()},
        lambda rows: draft.where(rows),
    )
    harmonized.convert(convert)
    kept = draft.raw.loc[draft.keep]
    headers = {name: draft.headers.get(column, "") for name, column in COLUMN_OF.items()}
    cells = {name: kept[header].map(str) for name, header in headers.items() if header}
    harmonized.refuse_mixtures(draft.headers, cells)
    draft.frame, draft.conventions = harmonized.frame, harmonized.conventions
    draft.findings += harmonized.findings
    harmonized.record(draft.sources)


@dataclass
class Harmonized:
    """Rows that are converted to one convention."""

    frame: pd.DataFrame
    stated: Stated
    where: Callable[[Iterable[int]], str]
    records: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def conventions(self) -> Conventions:
        """The conventions of the rows."""
        return Conventions(**{name: _first(rows) for name, rows in self.stated.items()})

    @property
    def problems(self) -> list[str]:
        """Texts of the findings for which the rows are refused."""
        return [found.text for found in self.findings if found.severity == "stops"]

    def record(self, sources: dict[str, str]) -> None:
        """Add the conversions of each column to its source."""
        for column, text in self.records.items():
            sources[column] = f"{sources.get(column, 'nowhere')}, {text}"

    def convert(self, to: Mapping[str, Any]) -> None:
        """Convert the rows, and add findings on conversions that are impossible."""
        targets, problems = _parse_targets(to)
        self.findings += [stop("cannot_convert", problem) for problem in problems]
        for name, conversion in (("params", convert_params), ("flops", convert_flops)):
            if name not in targets:
                continue
            before = names_of(self.stated[name])
            try:
                self.frame, self.stated = conversion(
                    self.frame, self.stated, targets[name], self.where
                )
            except RunLogError as error:
                self.findings.append(stop("cannot_convert", str(error)))
            else:
                self.records[name] = f"converted from {before} to {targets[name]}"
        if "loss" in targets:  # losses were converted to nats when units were read
            self.stated["loss"] = np.full(len(self.frame), "nats", dtype=object)
        if {"tokenizer", "tokens_per_byte"} & set(targets):
            self._convert_tokenizer(targets)

    def _convert_tokenizer(self, targets: Mapping[str, Any]) -> None:
        try:
            self.frame, self.stated, text = convert_tokenizer(
                self.frame, self.stated, targets, self.where
            )
        except RunLogError as error:
            self.findings.append(stop("cannot_convert", str(error)))
            return
        self.records["loss"] = text
        self.findings.append(
            note(
                "tokens_as_counted",
                f"losses are {text}; tokens stay as each run's own tokenizer counted them",
            )
        )

    def refuse_mixtures(
        self, headers: Mapping[str, str], cells: Mapping[str, pd.Series] = MappingProxyType({})
    ) -> None:
        """Add findings on conventions that differ between rows; ``cells`` are those of the log."""
        index = self.frame.index.to_numpy()
        several = any(len(set(self.stated[n])) > 1 for n in ("tokenizer", "evaluation_set"))
        for name, rows in self.stated.items():
            labels = np.where(is_stated(rows), rows.astype(object), "nothing")
            kinds = list(dict.fromkeys(labels.tolist()))
            if len(kinds) < 2 or (name == "tokens_per_byte" and several):
                continue
            parts = [
                f"{kind!r} in {int((labels == kind).sum())} ({self.where(index[labels == kind])})"
                for kind in kinds
            ]
            column = headers.get(COLUMN_OF[name], COLUMN_OF[name])
            first = _as_written(cells.get(name), labels, kinds[0])
            self.findings.append(
                stop(
                    "mixed_conventions",
                    f"{column} says {'; '.join(parts)}: {_advice(name, column, kinds, first)}",
                )
            )


def _first(rows: np.ndarray) -> Any:
    value = rows[0] if len(rows) else UNKNOWN
    if isinstance(value, float):
        return None if np.isnan(value) else float(value)
    return value


def _parse_targets(convert: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    problems = [
        f"{argument('convert', **{name: value})}: {name!r} cannot be converted; "
        f"{listed(CONVERTIBLE)} can{did_you_mean(name, CONVERTIBLE)}"
        for name, value in convert.items()
        if name not in CONVERTIBLE
    ]
    pairs = {name: value for name, value in convert.items() if name in CONVERTIBLE}
    targets, wrong = parse_conventions(pairs, "convert")
    if targets.get("loss", "nats") != "nats":
        wrong.append(
            f"{argument('convert', loss=targets['loss'])}: laws are fitted to nats per token, so "
            "losses are converted to nats only; state what they are in with "
            f"{argument('units', loss=targets['loss'])}"
        )
    if {"tokenizer", "tokens_per_byte"} <= set(targets):
        wrong.append("`convert=` takes one of tokenizer and tokens_per_byte: leave one out")
        del targets["tokenizer"]
    return targets, problems + wrong


def _as_written(cells: pd.Series | None, labels: np.ndarray, kind: Any) -> str:
    """Return a convention's value as the log's cells write it."""
    if cells is None:
        return str(kind)
    return ",".join(dict.fromkeys(cells.to_numpy()[labels == kind].tolist()))


def _advice(name: str, column: str, kinds: list[Any], first: str) -> str:
    if "nothing" in kinds:
        return "runs that state different things do not mix; fill in the empty cells"
    apart = f"fit them apart, as with {argument('only', **{column: first})}"
    match name:
        case "params" | "flops":
            choice = next(kind for kind in CHOICES[name] if kind in kinds)
            return (
                "different counts do not mix in one law; convert them with "
                f"{argument('convert', **{name: choice})}, which needs each model's "
                f"configuration, or {apart}"
            )
        case "loss":
            return (
                "different units do not mix; convert them with "
                f"{argument('convert', loss='nats')}, or {apart}"
            )
        case "tokenizer":
            return (
                "losses per token of different tokenizers do not compare; convert them with "
                f"{argument('convert', tokenizer=kinds[0])}, which needs tokens_per_byte for "
                f"each, or {apart}"
            )
        case "tokens_per_byte":
            return (
                "so there are several tokenizers, whose losses per token do not compare; convert "
                f"them with {argument('convert', tokens_per_byte=first)}, or {apart}"
            )
    return f"losses on different texts do not compare and cannot be converted; {apart}"
