"""Sphinx configuration of the site. Some pages are made from the code before each build."""

import sys
from pathlib import Path

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import bayescale

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from made_pages import write_pages  # noqa: E402

project = "bayescale"
release = version = bayescale.__version__
html_title = "bayescale"
language = "en"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "examples", "reference/columns.md"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # case studies take minutes each; they are committed with their output

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say types, with dims and units
autosummary_generate = False
numpydoc_show_class_members = False  # autodoc shows them already

html_theme = "furo"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_copy_source = html_show_sourcelink = False
html_show_copyright = False
html_math_renderer = "mathml"


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    mathml = latex2mathml.converter.convert(node.astext(), display="block")
    writer.body.append(f'<div class="math">{mathml}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Write pages from the code, and set up mathematics that needs no script."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("config-inited", lambda app, config: write_pages(DOCS))
