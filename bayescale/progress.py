"""Progress of long work, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stage = Callable[..., Callable[[float], None]]
"""``stage(text, total=None)`` starts a stage and returns a function that sets its progress."""


def quiet(text: str, total: float | None = None) -> Callable[[float], None]:
    """Start a stage without showing it."""
    return lambda done: None


@contextmanager
def progress(show: bool) -> Iterator[Stage]:
    """Show stages while the block runs, or nothing."""
    if not show:
        yield quiet
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def stage(text: str, total: float | None = None) -> Callable[[float], None]:
            for task in bar.tasks:  # the stage before is over
                bar.update(task.id, total=1, completed=1)
                bar.stop_task(task.id)
            current = bar.add_task(text, total=total)
            return lambda done: bar.update(current, completed=done)

        yield stage
