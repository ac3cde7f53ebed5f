"""The house: every module imports only what stands above it."""

import ast
from pathlib import Path

import pytest

import bayescale

PACKAGE = Path(bayescale.__file__).parent
LAYERS = [
    {"errors"},
    {"units", "files", "progress", "tasks"},
    {"laws", "conventions"},
    {"runs", "drift", "noise"},
    {"cards"},
    {"likelihood"},
    {"posterior"},
    {"verdict"},
    {"inference", "datasets", "forecast", "simulate", "trackers"},
    {"trust", "decide", "scenarios", "published"},
    {"plots"},
    {"report", "explore", "demo", "contract"},
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
SAMPLERS = {"pymc", "nutpie", "pytensor", "numba"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path, *, at_top: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_top else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


RUN_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
RUN_TEXT = {"eval", "exec", "compile", "__import__", "literal_eval"}
TRUSTED = {
    "contract.py": "pickles the user's law, to see whether it can be sent to a worker",
    "laws/own.py": "runs the file of laws that the user names",
    "inference/machine.py": "loads compiled models that this package kept and digested",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_code_comes_from_data(path: Path) -> None:
    """Neither pickles nor text are run; what loads code says of whose it is."""
    tree, trusted = ast.parse(path.read_text()), str(path.relative_to(PACKAGE)) in TRUSTED
    assert trusted or not {name.split(".")[0] for name in imported(path)} & RUN_DATA
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {call.func.id for call in calls if isinstance(call.func, ast.Name)} & RUN_TEXT
    attributes = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
    assert trusted or not {"exec_module", "run_path", "run_module"} & attributes
    words = {word.arg for call in calls for word in call.keywords}
    assert not {"allow_pickle", "shell"} & words


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return
    assert room(path) in RANK, "a new module needs a place among the layers"
    for name in imported(path):
        parts = name.split(".")
        if (
            parts[0] == "bayescale"
            and len(parts) > 1
            and parts[1] in RANK
            and parts[1] != room(path)
        ):
            assert RANK[parts[1]] < RANK[room(path)], f"{room(path)} imports {parts[1]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_inference_knows_the_sampler(path: Path) -> None:
    used = {name.split(".")[0] for name in imported(path)}
    if room(path) != "inference":
        assert not used & SAMPLERS
    asks = {"verdict", "forecast", "trust", "decide", "scenarios", "plots", "report", "explore"}
    if room(path) in asks:
        assert not any(name.startswith("bayescale.inference") for name in imported(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_imports_happen_where_they_are_needed(path: Path) -> None:
    heavy = {"nutpie", "arviz", "matplotlib", "scipy", "pyarrow", "pooch", "rich", "jinja2"}
    heavy |= {"streamlit", "mlflow", "wandb", "tensorboard", "google_crc32c"}
    if room(path) == "inference":
        heavy -= SAMPLERS
    assert not {name.split(".")[0] for name in imported(path, at_top=True)} & heavy


def test_public_names_exist_and_functions_are_not_hidden_by_modules() -> None:
    import bayescale.forecast  # the module

    for name in bayescale.__all__:
        assert getattr(bayescale, name) is not None
    assert callable(bayescale.forecast)
    assert callable(bayescale.simulate)
    assert set(bayescale.__all__) <= set(dir(bayescale))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = bayescale.nonsense
