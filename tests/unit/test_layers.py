"""The structure of the package: layers, lazy imports, and code that never comes from data."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import bayescale

PACKAGE = Path(bayescale.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"arviz", "jinja2", "matplotlib", "nutpie", "pooch", "pyarrow", "pymc", "rich", "scipy"}
HEAVY |= {"google_crc32c", "mlflow", "numba", "pytensor", "streamlit", "tensorboard", "wandb"}
HEAVY |= {"llvmlite"}
SAMPLERS = {"pymc", "nutpie", "pytensor", "numba", "llvmlite"}
RUN_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
RUN_TEXT = {"eval", "exec", "compile", "__import__", "literal_eval"}
TRUSTED = {
    "contract/checks.py": "pickles the user's law, to see whether it can be sent to a worker",
    "laws/own.py": "runs the file of laws that the user names",
    "inference/compile.py": "hands a log and its card by pipe to a process that it starts itself",
    "inference/compiled/llvm_module.py": "loads compiled models that this package kept, digested",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imported(nodes: list[ast.AST]) -> set[str]:
    """Top-level packages that these nodes import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_imports_respect_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


def test_an_upward_import_breaks_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contract of layers fails on a package in which the lowest room imports a higher one."""
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "errors.py").write_text("from house import cli\n")
    (package / "cli.py").write_text("")
    config = tmp_path / ".importlinter"
    config.write_text(
        "[importlinter]\nroot_package = house\n[importlinter:contract:layers]\nname = layers\n"
        "type = layers\ncontainers =\n    house\nlayers =\n    cli\n    errors\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert lint_imports(config_filename=str(config), no_cache=True) == 1


# What others provide is loaded once; each child process starts without bayescale.
EACH_IN_ITS_OWN_PROCESS = """
import os, sys
import jinja2, matplotlib.pyplot, nutpie, pandas, pydantic, pymc, scipy.stats, streamlit, typer
import xarray

for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        exec(f"import {name} as module; assert module.__name__ == name")
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"import {name} as module: failed")
"""


@pytest.mark.integration
def test_every_module_imports_by_its_dotted_path_in_a_fresh_interpreter() -> None:
    names = [m.name for m in pkgutil.walk_packages([str(PACKAGE)], "bayescale.")]
    names.remove("bayescale.__main__")  # it runs the command line
    command = [sys.executable, "-W", "ignore", "-c", EACH_IN_ITS_OWN_PROCESS, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"bayescale.validation.backtest", "bayescale.reporting.page"} <= set(names)


def test_public_names_exist_and_hide_no_module() -> None:
    for name in bayescale.__all__:
        assert getattr(bayescale, name) is not None
    modules = {m.name for m in pkgutil.iter_modules([str(PACKAGE)])}
    assert {name for name in bayescale.__all__ if name in modules} == {"datasets", "errors"}
    assert set(bayescale.__all__) <= set(dir(bayescale))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = bayescale.nonsense


def test_heavy_imports_happen_where_they_are_needed() -> None:
    heavy_at_top = {
        name_of(path): found
        for path in MODULES
        if (found := imported(ast.parse(path.read_text()).body) & HEAVY)
        and not (path.is_relative_to(PACKAGE / "inference") and found <= SAMPLERS)
        and not (path.parent == PACKAGE / "explore" and found <= {"streamlit"})
    }
    assert heavy_at_top == {}


def test_no_code_comes_from_data() -> None:
    """No pickles and no evaluated text; the exceptions say whose code they load."""
    for path in MODULES:
        nodes, name = list(ast.walk(ast.parse(path.read_text()))), name_of(path)
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        called = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
        attributes = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
        keywords = {keyword.arg for call in calls for keyword in call.keywords}
        assert not called & RUN_TEXT, name
        assert not keywords & {"allow_pickle", "shell"}, name
        if name not in TRUSTED:
            assert not imported(nodes) & RUN_DATA, name
            loads = {"exec_module", "run_path", "run_module", "add_object_img", "add_object_file"}
            assert not attributes & loads, name
