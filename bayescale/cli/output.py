"""From results to what is printed: for people, as one JSON object, as a figure, as an exit code."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bayescale.errors import as_options
from bayescale.results import plain

if TYPE_CHECKING:
    from bayescale.findings import Finding
    from bayescale.runs import Runs
    from bayescale.trackers import TrackerLog

BAD_INPUT, NOT_TO_BE_TRUSTED = 2, 3
FIGURE_ENDINGS = (".png", ".svg", ".pdf")


def show(answer: Mapping[str, Any], text: str, as_json: bool, *, passed: bool = True) -> None:
    """Print a result, as one JSON object or as its text; exit 3 unless it passed its checks."""
    printed = json.dumps(plain(answer), indent=2, allow_nan=False) if as_json else text
    print(as_options(printed))
    exit_unless(passed)


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
    unused = [f"Not read: {', '.join(log.unused)}"] if log.unused else []
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
