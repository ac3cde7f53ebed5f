"""Case studies run, and their notebooks are those of the scripts, executed."""

import base64
import os
import struct
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

FOLDER = Path(__file__).parents[2] / "case_studies"
SCRIPTS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
COLUMN = 720
"""Pixels, about, of the column of text in which a page shows a notebook."""


def cells(path: Path) -> list[tuple[str, str]]:
    return [(cell["cell_type"], cell["source"].strip()) for cell in jupytext.read(path)["cells"]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_is_the_script_executed(script: Path) -> None:
    notebook = script.with_suffix(".ipynb")
    assert cells(notebook) == cells(script), f"make it again: see {FOLDER.name}/README.md"
    code = [c for c in jupytext.read(notebook)["cells"] if c["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_study_opens_with_its_question_and_its_answer(script: Path) -> None:
    kind, first = cells(script)[0]
    assert kind == "markdown"
    assert "**Question.**" in first
    answer = first.split("**Answer.**")[1]
    assert any(character.isdigit() for character in answer)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_figures_are_shown_at_their_own_size(script: Path) -> None:
    """A page that shrinks a wide figure to its column makes the letters too small to read."""
    code = [c for c in jupytext.read(script.with_suffix(".ipynb"))["cells"] if "outputs" in c]
    drawn = [output.get("data", {}).get("image/png") for c in code for output in c["outputs"]]
    for picture in filter(None, drawn):
        width, _ = struct.unpack(">II", base64.b64decode(picture)[16:24])
        assert width <= COLUMN


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_study_runs(script: Path, real_data: Path) -> None:
    """With few draws."""
    fast = {**os.environ, "BAYESCALE_FAST": "1", "MPLBACKEND": "agg"}
    ran = subprocess.run(
        [sys.executable, script], env=fast, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert real_data
