"""Pages made from the code, so that nothing public can be left out of them."""

import ast
import contextlib
import importlib
import inspect
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import bayescale
from bayescale.runs.columns import ALIASES

TITLES = {
    "cards": "Model cards",
    "datasets": "Public run logs",
    "conventions": "Conventions",
    "decisions": "Decisions",
    "errors": "Errors",
    "forecasting": "Forecasts",
    "inference": "Fitting",
    "laws": "Laws",
    "plotting": "Figures",
    "posterior": "Posteriors",
    "reporting": "Reports",
    "runs": "Run logs",
    "scenarios": "Scenarios",
    "simulation": "Simulated runs",
    "trackers": "Experiment trackers",
    "validation": "Validation",
    "units": "Units",
}
WHOLE = ("cards", "conventions", "datasets", "errors", "laws", "plotting", "trackers", "units")
"""Modules of which everything public is on their page, not the package's own names alone."""


def _public(module: ModuleType) -> list[str]:
    """Names that a module offers: those it lists, else what it defines itself."""
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return sorted(getattr(module, "__all__", own))


def _homes() -> dict[str, str]:
    """The top-level module of each public name, as ``bayescale/__init__.pyi`` lists them."""
    stub = ast.parse(Path(bayescale.__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: (node.module or alias.name).partition(".")[0]
        for node in imports
        for alias in node.names
    }


def reference() -> dict[str, list[str]]:
    """Full names of everything public, by the module whose page they stand on."""
    pages: dict[str, list[str]] = {}
    homes = _homes()
    for name in bayescale.__all__:
        pages.setdefault(homes[name], []).append(f"bayescale.{name}")
    for home in WHOLE:
        module = importlib.import_module(f"bayescale.{home}")
        names = [name for name in _public(module) if name not in bayescale.__all__]
        pages.setdefault(home, []).extend(f"{module.__name__}.{name}" for name in names)
    return {
        home: pages[home]
        for home in sorted(filter(pages.get, pages), key=lambda home: _title(home).lower())
    }


def _title(home: str) -> str:
    return TITLES.get(home, home.capitalize())


def _value(full: str) -> object:
    home, _, name = full.rpartition(".")
    return getattr(importlib.import_module(home), name)


def _documented(value: object) -> bool:
    """Whether it has a docstring of its own, rather than its type's."""
    return inspect.isclass(value) or inspect.isroutine(value)


def _directive(full: str) -> list[str]:
    value = _value(full)
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, Exception) else "autoclass"
        return [f".. {kind}:: {full}", "   :members:", ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {full}", ""]
    about = f"A {type(value).__name__}."
    if isinstance(value, bayescale.Law):
        about = f"The law ``{value.name}``, of {' and '.join(value.inputs)}, with coefficients "
        about += f"{', '.join(value.coefficients)}. {value.reference}"
    if isinstance(value, Mapping):
        about = f"By name: {', '.join(value)}."
    return [f".. py:data:: {full}", "", f"   {about}", ""]


def _page(home: str, names: list[str]) -> str:
    module = importlib.import_module(f"bayescale.{home}")
    title = _title(home)
    lines = [title, "=" * len(title), "", inspect.getdoc(module) or "", ""]
    told = [name for name in names if _documented(_value(name))]
    lines += [".. autosummary::", "", *(f"   {name}" for name in told), ""]
    for name in names:
        lines += _directive(name)
    return "\n".join(lines)


def _commands() -> str:
    """The command line's own help, as Markdown."""
    from typer.cli import app

    text = io.StringIO()
    arguments = ["bayescale.cli", "utils", "docs", "--name", "bayescale"]
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        app([*arguments, "--title", "Every command"])
    return text.getvalue()


def _columns() -> str:
    """Names of a run log's columns that are understood, as a table."""
    rows = [
        f"| `{c}` | {', '.join(f'`{n}`' for n in names)} |" for c, names in ALIASES.items() if names
    ]
    return "\n".join(["| column | also understood |", "|---|---|", *rows, ""])


def write_pages(docs: Path) -> None:
    """Write the reference and the commands, and fetch the case studies, below ``docs``."""
    folder = docs / "reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pages = reference()
    for home, names in pages.items():
        (folder / f"{home}.rst").write_text(_page(home, names), encoding="utf-8")
    (folder / "commands.md").write_text(_commands(), encoding="utf-8")
    (folder / "columns.md").write_text(_columns(), encoding="utf-8")
    contents = [
        "# Every public name",
        "",
        "What `bayescale.NAME` and the modules beside it offer. Names of the package itself are",
        "imported when first used.",
        "",
        "```{toctree}",
        *pages,
        "```",
    ]
    (folder / "index.md").write_text("\n".join(contents), encoding="utf-8")
    studies = docs / "case_studies"
    studies.mkdir(exist_ok=True)
    for notebook in (docs.parent / "case_studies").glob("*.ipynb"):
        shutil.copy(notebook, studies)
