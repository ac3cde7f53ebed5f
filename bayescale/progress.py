"""Progress of long work, shown on standard error or in the cell of a notebook."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Stage = Callable[..., Callable[..., None]]
"""``stage(text, total=None)`` starts a stage and returns ``done(count, note="")``, which sets its
progress."""

_EVERY = 0.2  # seconds between updates of a cell
_BAR = 30


def quiet(text: str, total: float | None = None) -> Callable[..., None]:
    """Return a stage's ``done`` that shows nothing."""
    return lambda done, note="": None


def about(seconds: float) -> str:
    """Return a rounded length of time as a text.

    Examples
    --------
    >>> about(7.2), about(100.0), about(5400.0)
    ('7 s', '2 min', '1.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def in_notebook() -> bool:
    """Return whether this runs in a cell of a notebook."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def progress(show: "bool | Stage | None") -> Iterator[Stage]:
    """Show stages while the block runs, or nothing; None shows them only in notebooks.

    If ``show`` is a function, it is called with the stages instead: see :data:`Stage`.
    """
    if callable(show):
        yield show
        return
    notebook = in_notebook()
    if not (notebook if show is None else show):
        yield quiet
        return
    with _in_cell() if notebook else _in_terminal() as stage:
        yield stage


@contextmanager
def _in_terminal() -> Iterator[Stage]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def stage(text: str, total: float | None = None) -> Callable[..., None]:
            for task in bar.tasks:  # the previous stages have ended
                bar.update(task.id, total=1, completed=1)
                bar.stop_task(task.id)
            current = bar.add_task(text, total=total, note="")
            return lambda done, note="": bar.update(current, completed=done, note=note)

        yield stage


@contextmanager
def _in_cell() -> Iterator[Stage]:
    """Show the current stage in one line below the cell, and the last note at the end."""
    from IPython.display import display

    handle: Any = display(_Line("starting"), display_id=True)
    started, last, notes = time.perf_counter(), [0.0], []

    def stage(text: str, total: float | None = None) -> Callable[..., None]:
        handle.update(_Line(f"{text} ..."))
        place = len(notes)
        notes.append("")

        def done(count: float, note: str = "") -> None:
            now = time.perf_counter()
            notes[place] = f"{text}: {note}" if note else ""
            if now - last[0] >= _EVERY and place == len(notes) - 1:
                last[0] = now
                handle.update(_Line(f"{_bar(count, total)} {text} {note}".strip()))

        return done

    yield stage
    known = [note for note in notes if note]
    took = f"{time.perf_counter() - started:.1f} s"
    handle.update(_Line(f"Done in {took}" + (f"; {known[-1]}" if known else "")))


def _bar(count: float, total: float | None) -> str:
    if not total:
        return ""
    full = int(_BAR * min(count / total, 1.0))
    return f"[{'#' * full}{'.' * (_BAR - full)}]"


class _Line:
    """A line that a notebook shows unchanged."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
