"""Run what the pages show, and write what it printed and drew beside it.

``uv run python docs/make_examples.py`` runs all of ``docs/examples`` in order: each ``NAME.sh``
line by line into ``NAME.sh.txt``, each ``NAME.py`` into ``NAME.py.txt``, and the last figure that
it drew into ``docs/figures/NAME.svg``. All of them share one folder, in which fits are kept for
later examples. The runs are public: see :func:`bayescale.datasets.load`. Takes three minutes on
two cores.
"""

import contextlib
import io
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

DOCS = Path(__file__).parent
EXAMPLES = DOCS / "examples"
ORDER = (
    "quick_start", "coefficients", "trust", "next_loss", "budget", "next_run", "data", "emergence",
    "own_laws", "readme",
)  # fmt: skip
WIDTH = "100"  # characters of a line of help and tables
SIZE = (7.0, 4.2)


def transcript(script: Path) -> str:
    """Each command of a script with what it printed; progress and warnings are left out."""
    told = []
    for command in filter(None, script.read_text(encoding="utf-8").splitlines()):
        ran = subprocess.run(command, shell=True, capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(f"{command}\nexit {ran.returncode}\n{ran.stderr}")
        told.append(f"$ {command}\n{ran.stdout}".rstrip())
    return "\n\n".join(told) + "\n"


def printed(script: Path, figure: Path) -> str:
    """What a Python example prints; its last figure goes into a file."""
    from matplotlib import pyplot

    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        runpy.run_path(str(script))
    if pyplot.get_fignums():
        pyplot.gcf().set_size_inches(SIZE)
        pyplot.gcf().savefig(figure, bbox_inches="tight", metadata={"Date": None})
        pyplot.close("all")
    return told.getvalue()


def main(names: tuple[str, ...]) -> None:
    """Run these examples, in the folder where earlier ones left their fits."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "bayescale"  # the same figure is the same file
    folder = Path(os.environ.get("BAYESCALE_EXAMPLES", tempfile.mkdtemp()))
    bin_ = str(Path(sys.executable).parent)
    os.environ |= {"COLUMNS": WIDTH, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    shutil.copytree(EXAMPLES / "own_law", folder, dirs_exist_ok=True)
    (DOCS / "figures").mkdir(exist_ok=True)
    os.chdir(folder)
    for name in names:
        script = EXAMPLES / f"{name}.sh"
        if script.exists():
            script.with_suffix(".sh.txt").write_text(transcript(script), encoding="utf-8")
        script = EXAMPLES / f"{name}.py"
        if script.exists():
            told = printed(script, DOCS / "figures" / f"{name}.svg")
            script.with_suffix(".py.txt").write_text(told, encoding="utf-8")
        print(name, flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ORDER)
