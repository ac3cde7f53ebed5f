"""Figures and tables on the page, and their downloads."""

import io
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.components.v2 import component

from bayescale.drawings import Drawing
from bayescale.plotting.inline import NARROW, SIZE, STYLE, Picture, in_parts

_PAGE = """
.figure {
  --text: var(--st-text-color); --page: var(--st-background-color);
  --quiet: color-mix(in srgb, var(--st-text-color) 72%, var(--st-background-color));
  overflow-x: auto;
}
.figure .drawing { max-width: 46rem; }
.figure.slim .drawing { max-width: 32rem; }
@media (prefers-color-scheme: dark) { .figure image { filter: invert(1) hue-rotate(180deg); } }
"""

# On a narrow page the script requests smaller figures once. It adds the names of points when the
# pointer first enters a figure, because they have most of its elements.
_SCRIPT = """
export default ({ data, parentElement, setStateValue }) => {
  const box = parentElement.querySelector('.figure');
  if (box.drawn !== data.svg) {
    box.innerHTML = box.drawn = data.svg;
    box.onpointerover = () => {
      box.onpointerover = null;
      box.firstChild.insertAdjacentHTML('beforeend', data.names);
    };
    box.style.setProperty('--blue', data.blue);
    box.classList.toggle('slim', data.slim);
  }
  const slim = box.clientWidth < 620;
  if (box.clientWidth && slim !== data.slim) setStateValue('slim', slim);
}
"""

_SLIM = "slim"

KEPT = 16
"""Number of figures that are cached."""

_mount = component(
    "bayescale_figure",
    html='<div class="figure"></div>',
    css=STYLE + _PAGE,
    js=_SCRIPT,
    isolate_styles=False,
)


def show_figure(
    name: str,
    table: Callable[[], pd.DataFrame],
    make: Callable[..., Drawing],
    *of: Any,
    **more: Any,
) -> None:
    """Show the figure that ``make`` returns for results, and buttons for it and its table."""
    slim = bool(st.session_state.get(_SLIM, False))
    drawing, picture = _drawn(name, slim, make, *of, **more)
    blue = "#4ea7dd" if st.context.theme.type == "dark" else "#0072b2"
    data = {"svg": picture.svg, "names": picture.names, "slim": slim, "blue": blue}
    found = _mount(data=data, key=f"figure_{name}", on_slim_change=lambda: None)
    if found.slim is not None and found.slim != slim:
        st.session_state[_SLIM] = found.slim
        st.rerun()
    st.caption(drawing.caption)
    with st.container(horizontal=True):
        for kind in ("svg", "png"):
            _offer(f"Figure ({kind.upper()})", f"{name}.{kind}", partial(_image, drawing, kind))
        offer_table(name, table)


@lru_cache(KEPT)
def _drawn(
    name: str, slim: bool, make: Callable[..., Drawing], *of: Any, **more: Any
) -> tuple[Drawing, Picture]:
    """Return a figure, which is not drawn again while its results are cached."""
    drawing = make(*of, **more)
    size = NARROW if slim else SIZE
    return drawing, in_parts(drawing.draw, name, drawing.alt, named=drawing.named, size=size)


def offer_table(name: str, table: Callable[[], pd.DataFrame]) -> None:
    """Show a button that downloads a table as CSV."""
    _offer("Table (CSV)", f"{name}.csv", lambda: table().to_csv(index=False).encode())


def _offer(label: str, file: str, make: Callable[[], bytes]) -> None:
    """Show a download button, whose file is made when it is pressed."""
    st.download_button(
        label, make, file, key=f"download_{file}", on_click="ignore", type="tertiary",
        icon=":material/download:",
    )  # fmt: skip


def _image(drawing: Drawing, kind: str) -> bytes:
    from matplotlib.figure import Figure

    canvas = Figure(figsize=SIZE, layout="constrained")
    drawing.draw(canvas.subplots())
    into = io.BytesIO()
    canvas.savefig(into, format=kind, dpi=200)
    return into.getvalue()
