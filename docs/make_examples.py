"""Run the examples on the pages, and write what they print and draw next to them.

``uv run python docs/make_examples.py`` runs all of ``docs/examples`` in order. Each ``NAME.sh`` is
run line by line into ``NAME.sh.txt``, and each ``NAME.py`` into ``NAME.py.txt``; the last figure
that a Python example draws goes into ``docs/figures/NAME.svg``. ``examples_on_pages.py`` then puts
all of them into the pages. The examples share one folder, so that later ones use the fits of
earlier ones.
The runs are public, see :func:`bayescale.datasets.load`, or simulated by scripts that the pages
name. Takes some minutes on two cores.
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
from examples_on_pages import write_pages

DOCS = Path(__file__).parent
EXAMPLES = DOCS / "examples"
ORDER = (
    "quick_start",
    "coefficients",
    "arviz",
    "trust",
    "next_loss",
    "budget",
    "next_run",
    "data",
    "emergence",
    "own_laws",
    "versus",
    "watch",
    "tuning",
    "tutorial",
    "readme",
)
WIDTH = "80"  # columns of the terminal
SIZE = (7.0, 4.2)


def transcript(script: Path) -> str:
    """Run a script, and return each command with its output, without progress and warnings."""
    parts = []
    for command in filter(None, script.read_text(encoding="utf-8").splitlines()):
        ran = subprocess.run(command, shell=True, capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(f"{command}\nexit {ran.returncode}\n{ran.stderr}")
        parts.append(f"$ {command}\n{ran.stdout}".rstrip())
    return "\n\n".join(parts) + "\n"


def output(script: Path, figure: Path) -> str:
    """Run a Python example, return what it prints, and save its last figure."""
    from matplotlib import pyplot

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        runpy.run_path(str(script))
    if pyplot.get_fignums():
        pyplot.gcf().set_size_inches(SIZE)
        pyplot.gcf().savefig(figure, bbox_inches="tight", metadata={"Date": None})
        pyplot.close("all")
    return text.getvalue()


def main(names: tuple[str, ...]) -> None:
    """Run these examples in the folder that holds the fits of earlier ones."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "bayescale"  # the same figure is the same file
    folder = Path(os.environ.get("BAYESCALE_EXAMPLES", tempfile.mkdtemp()))
    bin_ = str(Path(sys.executable).parent)
    os.environ |= {"COLUMNS": WIDTH, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    for given in ("own_law", "pilots", "tutorial"):
        shutil.copytree(EXAMPLES / given, folder, dirs_exist_ok=True)
    (DOCS / "figures").mkdir(exist_ok=True)
    os.chdir(folder)
    for name in names:
        script = EXAMPLES / f"{name}.sh"
        if script.exists():
            script.with_suffix(".sh.txt").write_text(transcript(script), encoding="utf-8")
        script = EXAMPLES / f"{name}.py"
        if script.exists():
            text = output(script, DOCS / "figures" / f"{name}.svg")
            if text:
                script.with_suffix(".py.txt").write_text(text, encoding="utf-8")
        print(name, flush=True)
    write_pages()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ORDER)
