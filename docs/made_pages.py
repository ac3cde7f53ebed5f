"""Pages that are made from the code, so that they include everything public."""

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
    "curves": "Loss curves",
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
    "splits": "GPUs",
    "trackers": "Experiment trackers",
    "tuning": "Learning rate and batch size",
    "validation": "Validation",
    "units": "Units",
}
WHOLE = ("cards", "conventions", "datasets", "errors", "laws", "plotting", "trackers", "units")
"""Modules whose page has everything public, not only names of the package itself."""


def _public(module: ModuleType) -> list[str]:
    """Return the public names of a module: those in ``__all__``, else what it defines."""
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return sorted(getattr(module, "__all__", own))


def _homes() -> dict[str, str]:
    """Return the top-level module of each name in ``bayescale/__init__.pyi``."""
    stub = ast.parse(Path(bayescale.__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: (node.module or alias.name).partition(".")[0]
        for node in imports
        for alias in node.names
    }


def reference() -> dict[str, list[str]]:
    """Return the full names of everything public, by the module whose page has them."""
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
    """Return whether the value has its own docstring, and not that of its type."""
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
    documented = [name for name in names if _documented(_value(name))]
    lines += [".. autosummary::", "", *(f"   {name}" for name in documented), ""]
    for name in names:
        lines += _directive(name)
    return "\n".join(lines)


def _commands() -> str:
    """Return the help of the command line, as Markdown."""
    from typer.cli import app

    text = io.StringIO()
    arguments = ["bayescale.cli", "utils", "docs", "--name", "bayescale"]
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        app([*arguments, "--title", "Every command"])
    return text.getvalue()


def _columns() -> str:
    """Return a table of the names that are understood for each column of a run log."""
    rows = [
        f"| `{c}` | {', '.join(f'`{n}`' for n in names)} |" for c, names in ALIASES.items() if names
    ]
    return "\n".join(["| column | other names |", "|---|---|", *rows, ""])


def write_pages(docs: Path) -> None:
    """Write the reference and the commands below ``docs``, and copy the case studies there."""
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
        "The names of the package, `bayescale.NAME`, and of its modules. Names of the package are",
        "imported when they are first used.",
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
