"""What is worked around in other packages is still there: see ``docs/upstream.md``.

A test that fails here says that a workaround can be removed.
"""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "upstream.md"


def source(module: str) -> str:
    """Return the source of a module that is not imported."""
    package, _, rest = module.partition(".")
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / f"{rest.replace('.', '/')}.py").read_text(encoding="utf-8")


def test_every_entry_names_a_test_of_this_file() -> None:
    names = re.findall(r"`(test_\w+)`", DOCS.read_text(encoding="utf-8"))
    entries = DOCS.read_text(encoding="utf-8").count("\n## ")
    assert len(names) == entries
    assert set(names) == {name for name in globals() if name.startswith("test_")} - {
        "test_every_entry_names_a_test_of_this_file"
    }


def test_nutpie_names_shared_data_anew_in_every_process() -> None:
    assert "key = uuid4().hex" in source("nutpie.compile_pymc")


def test_pytensor_compiles_inner_graphs_in_c() -> None:
    text = source("pytensor.compile.inner_function")
    assert 'link_only_mode("cvm" if impl == "c" else "vm")' in text  # "vm" makes C thunks too


def test_pytensor_makes_a_function_of_each_operation() -> None:
    assert "fgraph_to_python" in source("pytensor.link.numba.dispatch.basic")


def test_llvmlite_takes_no_library_of_vectors() -> None:
    from llvmlite import binding

    taken = inspect.signature(binding.Target.create_target_machine).parameters
    assert not any("vec" in name for name in taken)


def test_nutpie_imports_arviz() -> None:
    assert re.search("^import arviz$", source("nutpie.sample"), re.MULTILINE)


def test_nutpie_leaves_blas_its_threads() -> None:
    assert not re.search("threadpool|OPENBLAS", source("nutpie.sample"))


def test_nutpie_and_arviz_name_the_depth_differently() -> None:
    assert "reached_max_treedepth" in source("arviz_stats.sampling_diagnostics")
    from bayescale.inference.nuts import STATISTICS

    assert STATISTICS["maxdepth_reached"] == "reached_max_treedepth"


@pytest.mark.skipif(sys.platform == "win32", reason="/dev/null is a file on Unix")
def test_pytensor_needs_a_folder_that_it_can_write() -> None:
    environment = {**os.environ, "PYTENSOR_FLAGS": "base_compiledir=/dev/null/none"}
    command = [sys.executable, "-c", "import pytensor; pytensor.config.compiledir"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode != 0
    assert "/dev/null" in ran.stderr
