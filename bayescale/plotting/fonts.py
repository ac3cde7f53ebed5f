"""Fonts that are missing: named once, and no reason for a figure that is half drawn."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayescale.errors import FigureError

_LOGGER = "matplotlib.font_manager"


@contextmanager
def naming_fonts() -> Iterator[None]:
    """Draw so that a missing font family is named once, not at every word.

    Matplotlib then draws with its own font, DejaVu Sans.

    Raises
    ------
    FigureError
        If matplotlib's own fonts are missing as well.
    """
    told: set[str] = set()

    def once(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return text not in told and not told.add(text)

    logger = logging.getLogger(_LOGGER)
    logger.addFilter(once)
    try:
        yield
    except FileNotFoundError as error:
        import matplotlib as mpl

        file = Path(error.filename or "")
        if not file.is_relative_to(Path(mpl.get_data_path()) / "fonts"):
            raise
        raise FigureError(
            f"no figure can be drawn: matplotlib's own font {file.name} is missing from "
            f"{file.parent}. Install matplotlib again: "
            "python -m pip install --force-reinstall --no-deps matplotlib"
        ) from error
    finally:
        logger.removeFilter(once)
