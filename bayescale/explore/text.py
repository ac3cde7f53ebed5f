"""Numbers, and text that Streamlit shows without interpreting it as Markdown."""

import re
from typing import Any

_LINKS = re.compile(r":(?=\S)|www(?=\.)|@", re.IGNORECASE)
_MARKUP = re.compile(r"([!-/:-@\[-`{-~])")


def plain(text: str) -> str:
    """Return a text with escapes, so that Markdown shows it unchanged."""
    # Markdown also makes links and icons of bare text, unless a zero-width character breaks them.
    text = _LINKS.sub("\\g<0>\N{WORD JOINER}", text)
    return _MARKUP.sub(r"\\\1", text).replace("\n", "  \n")


def show_number(column: Any, label: str, value: str, below: str) -> None:
    """Show a number in a column, with a line below it."""
    column.metric(label, value, plain(below), delta_color="off", delta_arrow="off")
