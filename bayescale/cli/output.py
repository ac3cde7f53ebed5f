"""Output of results: text for people, one JSON object, a figure, and an exit code."""

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bayescale.errors import OutputError, as_options, listed
from bayescale.layout import lay_out, width
from bayescale.results import LINES_OF_BRIEF, Result, TextTable, plain

if TYPE_CHECKING:
    from bayescale.findings import Finding
    from bayescale.runs import Runs
    from bayescale.trackers import TrackerLog

BAD_INPUT, NOT_TO_BE_TRUSTED = 2, 3
MOST_COLUMNS = 20
"""The most unread columns that a command lists."""

_DPI = 200
FIGURE_ENDINGS = (".png", ".svg", ".pdf")
FILE_ENDINGS = (*FIGURE_ENDINGS, ".csv", ".html", ".json", ".jsonl", ".nc", ".toml", ".tsv")
"""Endings of formats that commands read or write."""


@dataclass(frozen=True)
class Detail:
    """How much a command prints, and the size of its figure in inches; None is the figure's own."""

    quiet: bool = False
    brief: bool = False
    figure_size: tuple[float, float] | None = None


DETAIL: ContextVar[Detail] = ContextVar("DETAIL", default=Detail())  # noqa: B039 frozen
"""The detail of the running command, which the functions of this module read."""


def progress_wanted() -> bool:
    """Return whether progress is shown: in a terminal, unless the user asked for less."""
    detail = DETAIL.get()
    return sys.stderr.isatty() and not (detail.quiet or detail.brief)


def show(
    answer: Mapping[str, Any],
    text: Result | str | Iterable[str | TextTable],
    as_json: bool,
    *,
    brief: Sequence[str] = (),
    notes: Iterable[str] = (),
    verbatim: bool = False,
    passed: bool = True,
) -> None:
    """Print a result, as one JSON object or for people, and exit with 3 if its checks failed.

    Parameters
    ----------
    answer : mapping
        The content of the JSON object, which does not depend on the detail.
    text : Result, str or iterable of lines and tables
        The answer, wrapped at the terminal's width.
    brief : sequence of str
        What --brief shows; by default, that of the result, or the first lines.
    notes : iterable of str
        Lines below the answer; --quiet leaves them out, as it does notes and cautions of the
        result.
    verbatim : bool
        Whether the text is the content of a file, which is printed unchanged.
    """
    if as_json:
        write(json.dumps(plain(answer), indent=2, allow_nan=False))
    elif verbatim:
        write(str(text))
    else:
        shown = _shown(text, brief, notes)
        parts = [printable(part) if isinstance(part, str) else part for part in shown]
        write(lay_out(parts, width()))
    exit_unless(passed)


def note_beside(notes: Iterable[str]) -> None:
    """Print notes on standard error, beside an answer that another program reads."""
    if (notes := list(notes)) and not DETAIL.get().quiet:
        print(lay_out(map(printable, notes), width()), file=sys.stderr)


def _shown(
    text: Result | str | Iterable[str | TextTable], brief: Sequence[str], notes: Iterable[str]
) -> list[str | TextTable]:
    detail = DETAIL.get()
    if isinstance(text, Result):
        brief = brief or text.brief()
        lines = list(text.content())
    else:
        lines = [text] if isinstance(text, str) else list(text)
        brief = brief or [x for x in lines if x and isinstance(x, str)][:LINES_OF_BRIEF]
    if detail.brief:
        return list(brief)
    return list(filterfalse(_is_note, lines)) if detail.quiet else [*lines, *notes]


def _is_note(line: str | TextTable) -> bool:
    return isinstance(line, str) and line.startswith(("Note (", "Caution ("))


_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that move a terminal's cursor or reverse its text, and lone surrogates."""


def printable(text: str) -> str:
    """Return a text for a terminal, with options for arguments and escaped control characters."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], as_options(text))


def write(text: str) -> None:
    """Write a text to standard output.

    Raises
    ------
    OutputError
        If the text cannot be written, for example to a full disk.
    """
    if sys.stdout is None:  # Python sets it so if the descriptor is closed
        raise OutputError("standard output is closed: give it a file, or /dev/null")
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_output()
        raise OutputError(
            f"standard output cannot be written: {error.strerror}; write it elsewhere"
        ) from None


def abandon_output() -> None:
    """Discard the text that is still in the buffer of standard output."""
    if sys.stdout is not None:
        with suppress(io.UnsupportedOperation):  # not a file, but captured by another program
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_unless(passed: bool) -> None:
    """Exit with 3 if something was computed that is not to be trusted."""
    if not passed:
        raise typer.Exit(NOT_TO_BE_TRUSTED)


def dropped_json(log: "Runs | TrackerLog") -> list[dict[str, Any]]:
    """Return the rows that were left out, for JSON."""
    return [item._asdict() for item in log.dropped]


def dropped_lines(log: "Runs | TrackerLog") -> list[str]:
    """Return a line for each reason why rows were left out, with the first few of them."""
    by_reason: dict[str, list[str]] = {}
    for item in log.dropped:
        by_reason.setdefault(item.reason, []).append(str(item.id))
    return [f"Left out: {listed(ids)}: {reason}" for reason, ids in by_reason.items()]


def log_lines(log: "Runs", notes: "Sequence[Finding]", *, more: bool = False) -> list[str]:
    """Return lines on the rows left out of a log, its unread columns, and notes.

    Without notes, a line says that there are none, unless there are ``more`` elsewhere.
    """
    unused = [f"Not read: {listed(log.unused, MOST_COLUMNS)}"] if log.unused else []
    none = [] if more else ["No warnings."]
    return [*dropped_lines(log), *unused, *(list(map(note_line, notes)) or none)]


def note_line(note: "Finding") -> str:
    """Return a note as one line."""
    return f"Note ({note.code}): {note.text}"


def check_line(check: "Finding") -> str:
    """Return a check as one line: its verdict, its name and its text."""
    verdict = {True: "ok", False: "WEAK", None: "info"}[check.passed]
    return f"  {verdict:<4}  {check.code.replace('_', ' ')}: {check.text}"


def figure_lines(path: str | None) -> list[str]:
    """Return lines with the path of the figure, if there is one."""
    return ["", f"Figure: {path}"] if path else []


def draw(plot: str, result: Any, figure: Path | None, **look: Any) -> str | None:
    """Draw a result into a file, which is written whole or not at all, and return its path.

    ``plot`` names a function of :mod:`bayescale.plotting`, such as ``plot_result``, which finds
    the one that suits the result.
    """
    if figure is None:
        return None
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    from bayescale import plotting
    from bayescale.files import replacing
    from bayescale.plotting.fonts import naming_fonts

    size = DETAIL.get().figure_size
    try:
        with replacing(figure) as temporary, naming_fonts():
            if size is not None:
                look["ax"] = plt.subplots(figsize=size, layout="constrained")[1]
            ax = getattr(plotting, plot)(result, **look)
            ax.figure.savefig(temporary, dpi=_DPI)
    finally:
        plt.close("all")
    return str(figure)


def require_figure(figure: Path | None) -> None:
    """Raise an error, before long work, if a figure could not be written.

    Raises
    ------
    OutputError, FigureError
        If its folder cannot be written to, or its ending is not that of a format of figures.
    """
    if figure is None:
        return
    from bayescale.errors import FigureError
    from bayescale.files import require_folder

    if figure.suffix.lower() not in FIGURE_ENDINGS:
        raise FigureError(
            f"figure {str(figure)!r} ends in {figure.suffix or 'nothing'!r}: end it in one of "
            f"{', '.join(FIGURE_ENDINGS)}"
        )
    require_folder(figure)


def require_output(output: Path, metavar: str, given: Iterable[Any]) -> None:
    """Raise an error, before any work, if a file to write is not meant to be that file.

    Parameters
    ----------
    output : Path
        The file to write.
    metavar : str
        Its name in the help, whose ending is that of the format.
    given : iterable
        The other options; paths among them, and in lists of them, are files that are read.

    Raises
    ------
    OutputError
        If it is one of the inputs, or its ending is that of another format.
    """
    ending, own = Path(metavar).suffix, output.suffix.lower()
    for path in _paths(given):
        if output.exists() and path.exists() and output.samefile(path):
            raise OutputError(
                f"{str(output)!r} is a file that this command reads, and would be replaced: name "
                "another file to write"
            )
    if ending and own != ending and own in FILE_ENDINGS:
        raise OutputError(
            f"{str(output)!r} ends in {own!r}, but this command writes {ending!r}: end the name in "
            f"{ending}"
        )


def _paths(values: Iterable[Any]) -> Iterator[Path]:
    for value in values:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, list | tuple):
            yield from _paths(value)
