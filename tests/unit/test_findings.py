"""Findings: one type for what checks and notes say, in the whole package."""

import re
from pathlib import Path

import pandas as pd
import pytest

import bayescale
from bayescale.findings import Finding, Severity, note, note_lines


@pytest.mark.parametrize(
    ("passed", "severity", "word"),
    [
        (True, Severity.OK, "ok"),
        (None, Severity.INFORMATION, "information"),
        (False, Severity.WARNS, "warns"),
    ],
)
def test_a_check_passes_fails_or_informs(
    passed: bool | None, severity: Severity, word: str
) -> None:
    found = Finding.check("ranges", passed, "params over a factor of 10")
    assert (found.severity, found.passed) == (severity, passed)
    assert str(found) == f"{word}  ranges: params over a factor of 10"
    assert found.check_json() == {
        "name": "ranges", "passed": passed, "severity": word, "text": found.text, "means": "",
    }  # fmt: skip


def test_findings_are_equal_by_what_they_say() -> None:
    table = pd.DataFrame({"sd": [1.0]}, index=["E"])
    found = Finding.check("ridges", False, "A and B", table)
    assert found == Finding("ridges", Severity.WARNS, "A and B")
    assert found.check_json(figures=True)["table"] == [{"name": "E", "sd": 1.0}]


def test_a_note_warns_by_code_and_text() -> None:
    found = note("few_runs", "3 runs")
    assert found.to_json() == {"code": "few_runs", "severity": "warns", "text": "3 runs"}
    assert note_lines([found]) == ["Note (few_runs): 3 runs"]
    assert Finding("few_runs", Severity.STOPS, "none").passed is False


def test_no_other_type_of_finding_is_left() -> None:
    folder = Path(bayescale.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*.py")}
    other = re.compile(r"^class (Note|Check|Warning|Problem)\b", re.MULTILINE)
    assert [str(path) for path, text in sources.items() if other.search(text)] == []
    codes = re.compile(r"(?:Finding\.check|Finding|note)\(\s*\"([^\"]*)\"")
    found = {code for text in sources.values() for code in codes.findall(text)}
    assert len(found) > 30
    assert sorted(code for code in found if not re.fullmatch(r"[a-z][a-z0-9_]*", code)) == []
