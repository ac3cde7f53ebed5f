"""A report as one HTML page that needs nothing else: no network, no script, no other file."""

from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

from bayescale.files import replacing
from bayescale.reporting.blocks import Figure, Report, Told
from bayescale.reporting.figures import inline


def render(report: Report) -> str:
    """The page's HTML. Whatever comes from a run log or a card is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    numbers = count(1)

    def shown(figure: Figure) -> Markup:
        return Markup(inline(figure, f"f{next(numbers)}"))

    source = resources.files("bayescale.reporting").joinpath("report.html.j2").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["inline"] = shown
    environment.tests["told"] = _is_told
    return environment.from_string(source).render(report=report)


def write(report: Report, path: str | Path) -> Path:
    """Render into a file, which is replaced only whole.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path, page = Path(path), render(report)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _is_told(value: Any) -> bool:
    return isinstance(value, Told)
