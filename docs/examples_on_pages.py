"""Put examples and their output into the pages that show them.

A page names a file of ``docs/examples``, or lines of it, in a comment above a fenced block::

    <!-- example: tutorial.sh.txt from "$ bayescale fit" before "$ bayescale trust" -->

``python docs/examples_on_pages.py`` writes these lines into the block. So a page that is read
unbuilt, on a code host or in an editor, shows what the site shows.
"""

import re
from itertools import dropwhile, takewhile
from pathlib import Path
from textwrap import indent

DOCS = Path(__file__).resolve().parent
EXAMPLES = DOCS / "examples"
PAGES = (DOCS.parent / "README.md", *DOCS.glob("*.md"), *DOCS.glob("questions/*.md"))

MARKER = "<!-- example: "
_BLOCK = re.compile(
    rf'^(?P<head>(?P<margin> *){MARKER}(?P<file>\S+)(?: from "(?P<start>[^"\n]+)")?'
    r'(?: before "(?P<end>[^"\n]+)")? -->\n(?P=margin)```\w+\n)(?P<body>.*?)^(?P=margin)```$',
    re.MULTILINE | re.DOTALL,
)


def excerpt(file: str, start: str | None, end: str | None) -> str:
    """Return an example from the first line that begins with ``start`` up to one with ``end``."""
    lines = (EXAMPLES / file).read_text(encoding="utf-8").splitlines(keepends=True)
    if start is not None:
        lines = list(dropwhile(lambda line: not line.startswith(start), lines))
    if end is not None:
        lines = list(takewhile(lambda line: not line.startswith(end), lines))
    if not lines:
        raise ValueError(f"{file} has no lines from {start!r} before {end!r}")
    return "".join(lines).rstrip("\n") + "\n"


def with_examples(page: str) -> str:
    """Return the text of a page with every example that it names in place."""

    def block(found: re.Match[str]) -> str:
        body = excerpt(found["file"], found["start"], found["end"])
        return f"{found['head']}{indent(body, found['margin'])}{found['margin']}```"

    filled, n = _BLOCK.subn(block, page)
    if n != page.count(MARKER):
        raise ValueError(f"{page.count(MARKER) - n} examples have no fenced block below them")
    return filled


def write_pages() -> None:
    """Write the examples into all pages that name some."""
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        if MARKER in page:
            path.write_text(with_examples(page), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
