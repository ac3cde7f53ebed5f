"""Findings: what checks of a log, a design or a fit come to, in one type."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pandas as pd


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    INFORMATION = "information"
    WARNS = "warns"
    STOPS = "stops"


_PASSED = {True: Severity.OK, None: Severity.INFORMATION, False: Severity.WARNS}


@dataclass(frozen=True)
class Finding:
    """What one check came to.

    Attributes
    ----------
    code : str
        Short and stable, in snake case, for people and programs.
    severity : Severity
    text : str
        A sentence: what was found, and what to do about it where that is known.
    table : pandas.DataFrame or None
        The figures behind it.
    means : str
        What it means for answers, and what to do, where the text does not say so.
    """

    code: str
    severity: Severity
    text: str
    table: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    means: str = ""

    @classmethod
    def check(
        cls, code: str, passed: bool | None, text: str, table: pd.DataFrame | None = None
    ) -> "Finding":
        """Make the finding of a check: passed, failed (a warning), or None for information."""
        return cls(code, _PASSED[passed], text, table)

    @property
    def passed(self) -> bool | None:
        """Whether the check passed; None for information, on which nothing depends."""
        if self.severity is Severity.INFORMATION:
            return None
        return self.severity is Severity.OK

    def to_json(self) -> dict[str, Any]:
        """Return plain values under the keys of warnings at the command line."""
        return {"code": self.code, "severity": str(self.severity), "text": self.text}

    def check_json(self, figures: bool = False) -> dict[str, Any]:
        """Return plain values under the keys of checks at the command line."""
        found = {
            "name": self.code,
            "passed": self.passed,
            "severity": str(self.severity),
            "text": self.text,
            "means": self.means,
        }
        if not figures:
            return found
        rows = None if self.table is None else self.table.rename_axis("name").reset_index()
        return found | {"table": None if rows is None else rows.to_dict(orient="records")}

    def __str__(self) -> str:
        return f"{self.severity}  {self.code}: {self.text}"


def note(code: str, text: str) -> Finding:
    """Make a finding that warns."""
    return Finding(code, Severity.WARNS, text)


def note_lines(findings: Iterable[Finding]) -> list[str]:
    """Write one line per finding: its code and its text."""
    return [f"Note ({found.code}): {found.text}" for found in findings]
