"""A few figures as a whole: what artist tests do not see, such as what lies above what."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.testing.compare import compare_images
from matplotlib.transforms import ScaledTranslation
from support.published import SPREAD
from test_plots import POOL, compared

from bayescale.decisions.allocate import allocate
from bayescale.decisions.regret import regret_map
from bayescale.forecasting import forecast
from bayescale.plotting import plot_comparison, plot_laws, plot_regret, plot_slices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASELINES = Path(__file__).parents[1] / "images"
ANEW = "BAYESCALE_NEW_IMAGES"
"""Set it to write the baselines anew; look at them before they are committed."""

TOLERANCE = 2.5
"""Between what other letters change, 1.8 at most, and what a line two pixels off does."""

LOOKS: dict[str, Any] = {
    "backend": "agg", "font.family": "DejaVu Sans", "font.size": 10.0, "text.hinting": "none",
    "figure.dpi": 80, "savefig.dpi": 80, "path.simplify": False,
}  # fmt: skip


def laws(ax: "Axes") -> None:
    plot_laws(forecast(POOL, flops=np.geomspace(1e20, 1e24, 9)), ax)


def slices(ax: "Axes") -> None:
    budgets, sizes = np.array([1e21, 1e22, 1e23]), np.geomspace(1e9, 1e11, 9)
    flops, params = (grid.ravel() for grid in np.meshgrid(budgets, sizes))
    curves = forecast(SPREAD, params=params, tokens=flops / 6 / params)
    plot_slices(curves, ax, best=allocate(SPREAD, budgets))


def regret(ax: "Axes") -> None:
    plot_regret(regret_map(SPREAD, 1e22, max_tokens=4e11), ax, of="regret")


def comparison(ax: "Axes") -> None:
    plot_comparison(compared(), ax)


FIGURES = [laws, slices, regret, comparison]


@pytest.fixture(autouse=True)
def fixed_looks() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(LOOKS)
        yield
        import matplotlib.pyplot as plt

        plt.close("all")


def drawn(draw: Callable[["Axes"], None], into: Path) -> Path:
    """A figure without words, at a place that their size does not move.

    Every FreeType draws letters its own way, by which a page differs more than by a moved line;
    tests of artists read them.
    """
    import matplotlib.pyplot as plt
    from matplotlib.legend import Legend
    from matplotlib.text import Text

    figure = plt.figure(figsize=(6.0, 4.0))
    draw(figure.add_axes((0.05, 0.05, 0.9, 0.9)))
    for words in figure.findobj(lambda artist: isinstance(artist, Legend | Text)):
        words.set_visible(False)
    figure.savefig(into, metadata={"Software": None})
    return into


def difference(name: str, of: Path) -> float:
    """Root mean square over pixels, of 255."""
    found = compare_images(str(BASELINES / f"{name}.png"), str(of), tol=0.0, in_decorator=True)
    return 0.0 if found is None else float(found["rms"])


of_each = pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)


@of_each
def test_a_figure_looks_as_it_did(draw: Callable[["Axes"], None], tmp_path: Path) -> None:
    name = draw.__name__
    if os.environ.get(ANEW):
        drawn(draw, BASELINES / f"{name}.png")
    found = difference(name, drawn(draw, tmp_path / f"{name}.png"))
    assert found < TOLERANCE, f"look at {tmp_path}; where it is meant, run with {ANEW}=1"


@of_each
@pytest.mark.parametrize("hinting", ["force_autohint", "default"])
def test_other_letters_do_not_matter(
    draw: Callable[["Axes"], None], hinting: str, tmp_path: Path
) -> None:
    """Another version of FreeType draws letters that are wider or narrower by as much."""
    with mpl.rc_context({"text.hinting": hinting}):
        assert difference(draw.__name__, drawn(draw, tmp_path / "other.png")) < TOLERANCE


@of_each
def test_a_line_two_pixels_off_is_seen(draw: Callable[["Axes"], None], tmp_path: Path) -> None:
    def moved(ax: "Axes") -> None:
        draw(ax)
        line = max(ax.get_lines(), key=lambda line: len(line.get_xdata()))
        up = ScaledTranslation(0, 2 / LOOKS["figure.dpi"], ax.figure.dpi_scale_trans)
        line.set_transform(line.get_transform() + up)

    assert difference(draw.__name__, drawn(moved, tmp_path / "moved.png")) > TOLERANCE
