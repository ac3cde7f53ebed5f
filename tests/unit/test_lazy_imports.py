"""Imports that are put off: absent to nobody, and found by whoever asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bayescale.inference.compiled import pytensor_folder

PUT_OFF = """
import json
import sys
from bayescale.inference.compiled.lazy_imports import lazy_imports

with lazy_imports("colorsys", "no_such_module"):
    import colorsys as waiting
    import no_such_module

assert "colorsys" not in sys.modules
assert "no_such_module" not in sys.modules
assert waiting.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)  # imported by asking
assert "colorsys" in sys.modules
with lazy_imports("colorsys"):
    import colorsys as known

assert known is sys.modules["colorsys"]
with lazy_imports("wsgiref.util", "wsgiref.validate", "json.tool"):
    import wsgiref.headers  # and with it the package, which takes its modules for imported
    from wsgiref.util import is_hop_by_hop

assert is_hop_by_hop("TE")
assert {"wsgiref.util", "wsgiref.validate"} < sys.modules.keys()
assert sys.modules["wsgiref.validate"].__file__
assert "json.tool" not in sys.modules
try:
    no_such_module.thing
except ModuleNotFoundError as error:
    print(error)
"""


def test_what_is_put_off_comes_when_asked_for_and_hides_from_nobody_else() -> None:
    ran = subprocess.run([sys.executable, "-c", PUT_OFF], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "No module named 'no_such_module'\n"


@pytest.mark.parametrize("flags", ["", "floatX=float64"])
def test_pytensor_compiles_elsewhere_where_its_folder_cannot_be_written(
    flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    monkeypatch.setenv("PYTENSOR_FLAGS", flags)
    monkeypatch.delitem(sys.modules, "pytensor", raising=False)
    pytensor_folder.use_writable_folder()
    *before, added = os.environ["PYTENSOR_FLAGS"].split(",")
    assert before == [flag for flag in [flags] if flag]
    assert added.startswith("base_compiledir=")
    assert Path(added.removeprefix("base_compiledir=")).is_dir()
    monkeypatch.setattr(os, "access", lambda folder, mode: True)
    monkeypatch.setenv("PYTENSOR_FLAGS", flags)
    pytensor_folder.use_writable_folder()
    assert os.environ["PYTENSOR_FLAGS"] == flags
