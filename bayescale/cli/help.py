"""Help in boxes, or as plain paragraphs if a terminal is too narrow for boxes."""

from functools import partial
from typing import Any

from typer.core import TyperCommand, TyperGroup

from bayescale.layout import width

BOXED = 80
"""Width of a terminal, in columns, below which boxes cut off names of options."""


class Command(TyperCommand):
    """A command whose help names every option in full, however narrow the terminal is."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help for the terminal's width."""
        if width() >= BOXED:
            super().format_help(ctx, formatter)
        else:
            super(TyperCommand, self).format_help(ctx, _narrow(formatter))


class Group(TyperGroup):
    """A group of commands whose help names every option in full, as that of :class:`Command`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help for the terminal's width."""
        if width() >= BOXED:
            super().format_help(ctx, formatter)
        else:
            super(TyperGroup, self).format_help(ctx, _narrow(formatter))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands of each panel, with the first paragraph of their help."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                title = panel if isinstance(panel, str) else "Commands"
                rows = panels.setdefault(title, [])
                rows.append((name, (command.help or "").split("\n\n")[0]))
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def _narrow(formatter: Any) -> Any:
    """Return the formatter with lines and names as narrow as the terminal, unlike click's."""
    formatter.width = width()
    formatter.write_dl = partial(formatter.write_dl, col_max=width() // 3)
    return formatter
