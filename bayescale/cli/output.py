"""From results to what is printed: for people, as one JSON object, as a figure, as an exit code."""

import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bayescale.errors import OutputError, as_options, listed
from bayescale.results import plain

if TYPE_CHECKING:
    from bayescale.findings import Finding
    from bayescale.runs import Runs
    from bayescale.trackers import TrackerLog

BAD_INPUT, NOT_TO_BE_TRUSTED = 2, 3
MOST_COLUMNS = 20
"""Unread columns that a command lists."""

FIGURE_ENDINGS = (".png", ".svg", ".pdf")


def show(answer: Mapping[str, Any], text: str, as_json: bool, *, passed: bool = True) -> None:
    """Print a result, as one JSON object or as its text; exit 3 unless it passed its checks."""
    printed = json.dumps(plain(answer), indent=2, allow_nan=False) if as_json else text
    write(printed)
    exit_unless(passed)


_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that move a terminal's cursor, turn its text around, or are no characters."""


def printable(text: str) -> str:
    """Write a text for a terminal: options in place of arguments, control characters escaped."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], as_options(text))


def write(text: str) -> None:
    """Write a text to standard output.

    Raises
    ------
    OutputError
        If it cannot be written, for example to a full disk.
    """
    if sys.stdout is None:  # as Python has it where the descriptor is closed
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
    """Send what is still in the buffer of standard output nowhere."""
    if sys.stdout is not None:
        with suppress(io.UnsupportedOperation):  # no file: captured by another program
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_unless(passed: bool) -> None:
    """Exit 3 where something was computed that is not to be trusted."""
    if not passed:
        raise typer.Exit(NOT_TO_BE_TRUSTED)


def dropped_json(log: "Runs | TrackerLog") -> list[dict[str, Any]]:
    """List the rows that were left out, for JSON."""
    return [item._asdict() for item in log.dropped]


def dropped_lines(log: "Runs | TrackerLog") -> list[str]:
    """Write a line for each row that was left out, with the reason."""
    return [f"Left out: {item.id}: {item.reason}" for item in log.dropped]


def log_lines(log: "Runs", notes: "Sequence[Finding]") -> list[str]:
    """Write what a user should know about a log: rows left out, columns unread, and notes."""
    unused = [f"Not read: {listed(log.unused, MOST_COLUMNS)}"] if log.unused else []
    return [*dropped_lines(log), *unused, *(list(map(note_line, notes)) or ["No warnings."])]


def note_line(note: "Finding") -> str:
    """Write a note as one line."""
    return f"Note ({note.code}): {note.text}"


def check_lines(check: "Finding") -> str:
    """Write a check: its verdict, its name and its text, wrapped."""
    from textwrap import fill

    verdict = {True: "ok", False: "WEAK", None: "info"}[check.passed]
    lead = f"  {verdict:<4}  {check.code.replace('_', ' '):<17}  "
    return fill(
        check.text,
        width=100,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,  # commands stay whole
    )


def draw(plot: str, result: Any, figure: Path | None, **look: Any) -> str | None:
    """Draw a result into a file, which is written as a whole or not at all.

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

    try:
        ax = getattr(plotting, plot)(result, **look)
        with replacing(figure) as temporary:
            ax.figure.savefig(temporary, dpi=150)
    finally:
        plt.close("all")
    return str(figure)


def with_figure(text: str, path: str | None) -> str:
    """Add a line that says where the figure is."""
    return f"{text}\n\nFigure: {path}" if path else text


def require_figure(figure: Path | None) -> None:
    """Refuse, before long work, a figure that could not be written.

    Raises
    ------
    OutputError, FigureError
        If its folder cannot be written to, or its ending is no format of figures.
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
