"""Findings: the results of checks of a log, a design or a fit, in one type."""

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


SCALE_NOT_READ = "scale_not_read"
"""The code of notes on columns that may hold a scale and were not read."""

_PASSED = {True: Severity.OK, None: Severity.INFORMATION, False: Severity.WARNS}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    code : str
        A short and stable name in snake case, for people and programs.
    severity : Severity
    text : str
        What was found, and what to do about it if that is known.
    table : pandas.DataFrame or None
        The numbers on which the finding rests.
    means : str
        What the finding means for answers, and what to do, if the text does not say so.
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
        """Return the finding of a check: passed, failed (a warning), or None for information."""
        return cls(code, _PASSED[passed], text, table)

    @property
    def passed(self) -> bool | None:
        """Whether the check passed; None for information."""
        if self.severity is Severity.INFORMATION:
            return None
        return self.severity is Severity.OK

    def to_json(self) -> dict[str, Any]:
        """Return plain values under the JSON keys of warnings."""
        return {"code": self.code, "severity": str(self.severity), "text": self.text}

    def check_json(self, figures: bool = False) -> dict[str, Any]:
        """Return plain values under the JSON keys of checks, with the table if ``figures``."""
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
    """Return a finding that warns."""
    return Finding(code, Severity.WARNS, text)


def note_lines(findings: Iterable[Finding]) -> list[str]:
    """Return one line per finding, with its code and its text."""
    return [f"Note ({found.code}): {found.text}" for found in findings]
