"""The wheel, alone in a fresh environment, carries all that a fit needs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_wheel_alone_fits_a_log(tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the path: run the tests as the README says")
    clean = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH"}}

    def run(*command: object) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path, env=clean, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(uv, "build", "--quiet", "--wheel", "--python", sys.executable, "-o", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    python = tmp_path / "env" / "bin" / "python"
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    run(uv, "pip", "install", "--quiet", "--python", python, wheel)
    bayescale = python.with_name("bayescale")
    assert json.loads(run(bayescale, "models", "--json"))["models"]
    law = ("--law", "chinchilla")
    design = ("--params", "100M,1B,3B", "--tokens-per-param", "5,20,80")
    run(
        bayescale, "simulate", "--law", "chinchilla", "--published", "besiroglu_2024", *design,
        "-o", "runs.csv",
    )  # fmt: skip
    fitted = json.loads(run(bayescale, "fit", "runs.csv", *law, "-o", "fit.nc", "--json"))
    assert fitted["diagnostics"]["passed"]
    assert json.loads(run(bayescale, "forecast", "fit.nc", "--flops", "1e23", "--json"))["loss"]
