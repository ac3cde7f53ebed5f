"""A report as one HTML page that needs nothing else: no network, no script, no other file."""

from base64 import b64encode
from importlib import resources
from pathlib import Path
from typing import Any

from bayescale.files import replacing
from bayescale.report.blocks import Report, Told


def render(report: Report) -> str:
    """The page's HTML. Whatever comes from a run log or a card is escaped."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("bayescale.report").joinpath("report.html.j2").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["data_uri"] = _data_uri
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


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg).decode()}"


def _is_told(value: Any) -> bool:
    return isinstance(value, Told)
