"""ARCHITECTURE.md names files, modules and functions that exist, and leaves no module out."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bayescale"
PAGES = [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "RELEASE.md")]
FOLDERS = (ROOT, ROOT / "benchmarks", PACKAGE, *(f for f in PACKAGE.rglob("*") if f.is_dir()))


def names_in(text: str) -> list[str]:
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def exists(path: str) -> bool:
    return any((folder / path).exists() for folder in FOLDERS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_on_the_page_exist(page: Path) -> None:
    names = names_in(page.read_text(encoding="utf-8"))
    files = [name for name in names if re.fullmatch(r"[\w./]+\.(py|pyi|toml|md|j2|cff)", name)]
    files += [name for name in names if re.fullmatch(r"(bayescale|docs|tests|models)/[\w/]*", name)]
    assert not [name for name in files if "NAME" not in name and not exists(name)]


def test_functions_and_tables_on_the_page_exist() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    names = names_in(PAGES[0].read_text(encoding="utf-8"))
    constants = {name for name in names if re.fullmatch(r"[A-Z][A-Z_]{3,}", name)} - {"NAME"}
    private = {name for name in names if re.fullmatch(r"_[a-z_]+", name)}
    assert {"ALIASES", "SECTIONS", "COMMANDS"} <= constants
    assert not [name for name in constants if not re.search(rf"^{name}\b", code, flags=re.M)]
    assert not [name for name in private if f"def {name}(" not in code]


def test_every_module_is_on_the_map() -> None:
    page = PAGES[0].read_text(encoding="utf-8")
    top = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert not [name for name in top - {"__init__.py"} if f"`{name}`" not in page]
