"""The site says what is so: every public name, key, column, law and command on it exists."""

import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import typer
from pydantic import BaseModel
from support.browser import Browser

import bayescale
from bayescale.cards import DISTRIBUTIONS, ModelCard, Published
from bayescale.cli import app
from bayescale.inference.fit import fit
from bayescale.laws import LAWS, find_law
from bayescale.runs import read_runs
from bayescale.runs.columns import STATEMENTS
from bayescale.runs.log import LABELS, NUMBERS, SHAPES
from bayescale.simulation import simulate

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
PAGES = [DOCS.parent / "README.md", *DOCS.glob("*.md"), *DOCS.glob("questions/*.md")]


def made_pages() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "made_pages.py"))


def test_reference_holds_every_public_name() -> None:
    names = {name for page in made_pages()["reference"]().values() for name in page}
    assert {f"bayescale.{name}" for name in bayescale.__all__} <= names
    assert {"bayescale.datasets.load", "bayescale.errors.CardError"} <= names
    assert {"bayescale.laws.Amplitude", "bayescale.units.parse_size"} <= names


def test_commands_page_holds_every_option() -> None:
    page = made_pages()["_commands"]()
    for name, command in typer.main.get_command(app).commands.items():  # pyright: ignore
        assert f"## `bayescale {name}`" in page
        assert all(max(p.opts, key=len) in page for p in command.params if p.opts[0][0] == "-")


# commands on pages


def commands() -> Iterator[tuple[str, str]]:
    for page in [*PAGES, *EXAMPLES.glob("*.sh")]:
        for line in page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            if line.startswith("bayescale "):
                yield page.name, line


def usage_problem(line: str) -> str | None:
    """What the command line would say to this command without running it."""
    arguments = shlex.split(line, comments=True)[1:]
    if ">" in arguments:
        arguments = arguments[: arguments.index(">")]
    command: Any = typer.main.get_command(app)
    try:
        while hasattr(command, "commands") and arguments:
            name, *arguments = arguments
            if name not in command.commands:
                return f"no command {name}"
            command = command.commands[name]
        command.make_context(name, arguments)
    except Exception as error:  # of the copy of Click inside Typer, which has no public name
        return str(error)
    return None


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_commands_on_pages_exist(page: str, line: str) -> None:
    assert usage_problem(line) is None, f"{page}: {line}"


@pytest.mark.parametrize(
    "line", ["bayescale forcast fit.nc", "bayescale forecast fit.nc --parms 7B", "bayescale fit"]
)
def test_wrong_commands_are_seen(line: str) -> None:
    assert usage_problem(line)


# the card format


def models_within(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_within(inner)


def keys_of(model: type[BaseModel]) -> set[str]:
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in models_within(field.annotation):
            found |= keys_of(inner)
    return found


def test_card_format_names_every_key() -> None:
    page = (DOCS / "card_format.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    written = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`", prose))))
    assert "source" in keys_of(Published)
    assert keys_of(ModelCard) - {"text"} <= written
    for name, (needed, optional) in DISTRIBUTIONS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert {*needed, *optional} <= set(re.findall(r"`(\w+)`", row))


def test_run_logs_names_every_column() -> None:
    page = (DOCS / "run_logs.md").read_text(encoding="utf-8")
    assert {*NUMBERS, *LABELS, *SHAPES, *STATEMENTS} <= set(re.findall(r"`(\w+)`", page))


def test_laws_names_every_law() -> None:
    page = (DOCS / "laws.md").read_text(encoding="utf-8")
    assert set(LAWS) <= set(re.findall(r"`(\w+)`", page))
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert f"{len(LAWS)} [laws](docs/laws.md)" in readme


# examples


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_transcripts_are_of_the_scripts(script: Path) -> None:
    ran = script.with_suffix(".sh.txt").read_text(encoding="utf-8").splitlines()
    told = [line[2:] for line in ran if line.startswith("$ ")]
    assert told == script.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def on_pages() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "examples_on_pages.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_hold_their_examples_as_they_are(page: Path, on_pages: dict[str, Any]) -> None:
    text = page.read_text(encoding="utf-8")
    assert on_pages["with_examples"](text) == text, "python docs/examples_on_pages.py"
    assert "{literalinclude}" not in text, "a reader of the file itself would see no example"


def test_every_output_is_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for file in EXAMPLES.glob("*.txt"):
        assert f"<!-- example: {file.name} " in text


def test_a_block_is_written_from_the_lines_that_its_marker_names(on_pages: dict[str, Any]) -> None:
    marker = '  <!-- example: own_law/tied.py from "def loss" before "TIED" -->\n  ```python\n'
    lines = """  def loss(params, tokens, *, E, A, B, alpha):
      return E + A / params**alpha + B / tokens**alpha
"""
    filled = on_pages["with_examples"](f"- One\n\n{marker}  old\n  ```\n\n- Two\n")
    assert filled == f"- One\n\n{marker}{lines}  ```\n\n- Two\n"


@pytest.mark.parametrize(
    ("marker", "problem"),
    [
        ("<!-- example: readme.py -->\n\n```python\n```\n", "1 examples have no fenced block"),
        ('<!-- example: readme.py from "no" -->\n```python\n```\n', "readme.py has no lines from"),
    ],
)
def test_a_marker_without_its_block_or_lines_is_refused(
    marker: str, problem: str, on_pages: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=problem):
        on_pages["with_examples"](marker)


def test_readme_shows_its_example_and_what_it_printed() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    script = EXAMPLES / "readme.py"
    assert script.read_text(encoding="utf-8") in readme
    assert script.with_suffix(".py.txt").read_text(encoding="utf-8") in readme


def measured(name: str) -> Any:
    place = DOCS.parent / "benchmarks" / "results" / f"{name}.json"
    return json.loads(place.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", ["README.md", "docs/limits.md"])
def test_how_far_trust_reaches_is_what_was_measured(page: str) -> None:
    text = " ".join((DOCS.parent / page).read_text(encoding="utf-8").split())
    kinds = measured("simulated_logs")["kinds"]
    horizons = sorted(kind["median horizon"] for kind in kinds)
    logs = sum(kind["logs"] for kind in kinds)
    assert f"{logs} simulated logs was {horizons[0]:.1f} to {horizons[-1]:.1f} times" in text
    inside, beyond = (
        next(row for row in measured("run_sets")["horizon"] if row["forecasts"].endswith(end))
        for end in ("drift: inside the horizon", "drift: beyond the horizon")
    )
    assert f"{inside['n']} forecasts" in text
    assert f"at most {inside['median ratio']:.1f} times" in text
    assert f"more than {inside['largest ratio']:.1f} times" in text
    assert f"{inside['within 2%']:.0%}".replace("%", " %") + " came within 2 %" in text
    if page == "docs/limits.md":
        assert f"{beyond['n']:,} forecasts beyond the horizon, {beyond['within 2%']:.0%}" in (
            text.replace(" %", "%")
        )


def test_no_line_of_a_case_study_is_a_comment_to_the_site() -> None:
    for notebook in (DOCS.parent / "case_studies").glob("*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        prose = [line for c in cells if c["cell_type"] == "markdown" for line in c["source"]]
        assert not [line for line in prose if line.lstrip().startswith("%")], notebook.name


def test_own_law_finds_the_truth_that_runs_were_made_from() -> None:
    own = find_law(f"{EXAMPLES / 'own_law' / 'tied.py'}:TIED")
    truth = {"E": 1.8, "A": 500.0, "B": 1500.0, "alpha": 0.35}
    grid = np.meshgrid(np.geomspace(1e8, 4e9, 5), [2e9, 1e10, 5e10])
    scales = {"params": grid[0].ravel(), "tokens": grid[1].ravel()}
    runs = read_runs(simulate(own, truth, scales, sigma=0.003))
    card = EXAMPLES / "own_law" / "tied.toml"
    posterior = fit(runs, own, card=card, draws=500, tune=500, chains=2)
    low, high = posterior.draws["alpha"].quantile([0.01, 0.99]).values
    assert low < truth["alpha"] < high
    assert high - low < 0.1


# the built site


@pytest.mark.slow
def test_site_builds_and_asks_for_nothing_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="uv sync --group docs")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(site)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    with Browser(tmp_path / "profile") as browser:
        for page in pages:
            for width, dark in ((1280, False), (390, True)):
                browser.open(page.as_uri(), width=width, dark=dark)
                outside = [
                    url for url in browser.requests() if not url.startswith(("file:", "data:"))
                ]
                assert not outside, page.name
                assert not browser.complaints(), page.name
                assert browser.find("document.documentElement.scrollWidth") <= width, page.name
        browser.open((site / "index.html").as_uri(), width=390)
        tables = "[...document.querySelectorAll('.table-wrapper')]"
        assert browser.find(f"{tables}.length")
        assert browser.find(f"{tables}.every(t => t.scrollWidth <= t.clientWidth)")
        browser.open((site / "questions" / "budget.html").as_uri(), width=390)
        assert browser.find("document.querySelector('p > img').clientWidth") > 600
