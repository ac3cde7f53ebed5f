"""From results to what is printed: for people, as one JSON object, as a figure, as an exit code."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bayescale.errors import as_options

if TYPE_CHECKING:
    from bayescale.findings import Finding
    from bayescale.runs import Runs
    from bayescale.trackers import TrackerLog

BAD_INPUT, NOT_TO_BE_TRUSTED = 2, 3


def tell(answer: Mapping[str, Any], text: str, as_json: bool) -> None:
    """Print a result: one JSON object, or its text."""
    print(as_options(json.dumps(_plain(answer), indent=2, allow_nan=False) if as_json else text))


def _plain(value: Any) -> Any:
    """JSON has neither NaN nor infinity nor NumPy: undefined numbers become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def exit_untrusted(passed: bool) -> None:
    """Exit 3 where the sampler's convergence gate was missed."""
    if not passed:
        raise typer.Exit(NOT_TO_BE_TRUSTED)


def left_out(log: "Runs | TrackerLog") -> list[str]:
    """A line for each row that was left out, with the reason."""
    return [f"Left out: {item.id}: {item.reason}" for item in log.dropped]


def told_of(log: "Runs", notes: "Sequence[Finding]") -> list[str]:
    """What is to be told of a log: rows left out, and notes."""
    return left_out(log) + ([told_note(note) for note in notes] or ["No warnings."])


def told_note(note: "Finding") -> str:
    """A note as one line."""
    return f"Note ({note.code}): {note.text}"


def told_check(check: "Finding") -> str:
    """A check as lines: its verdict, its name, its text."""
    from textwrap import fill

    verdict = {True: "ok", False: "WEAK", None: "info"}[check.passed]
    lead = f"  {verdict:<4}  {check.code.replace('_', ' '):<17}  "
    return fill(check.text, width=100, initial_indent=lead, subsequent_indent=" " * len(lead))


def draw(plot: str, result: Any, figure: Path | None) -> str | None:
    """The figure of a result, written whole or not at all."""
    if figure is None:
        return None
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    from bayescale import plotting as plots
    from bayescale.files import replacing

    ax = getattr(plots, plot)(result)
    with replacing(figure) as temporary:
        ax.figure.savefig(temporary, dpi=150)
    plt.close(ax.figure)
    return str(figure)
