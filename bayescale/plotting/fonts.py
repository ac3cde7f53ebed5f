"""Missing fonts: a missing family is named once, and a missing default is an error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayescale.errors import FigureError

_LOGGER = "matplotlib.font_manager"


@contextmanager
def naming_fonts() -> Iterator[None]:
    """Return a context in which a missing font family is named once, not at every word.

    Matplotlib then uses its own font, DejaVu Sans.

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
