"""Lines and tables as text, laid out so that no line is wider than the terminal."""

import html
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

WIDTH = 80
"""Width in columns if the output is not a terminal and COLUMNS is not set."""

NARROWEST = 20
_GAP = "  "


@dataclass(frozen=True)
class TextTable:
    """A table of text: right-aligned columns in a terminal, HTML in a notebook.

    Attributes
    ----------
    head : tuple of str
        Column titles.
    rows : tuple of tuple of str
    indent : str
        The beginning of each line in a terminal.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    indent: str = ""

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, str]], indent: str = "") -> "TextTable":
        """Return a table from mappings of column title to cell."""
        rows = list(rows)
        head = tuple(rows[0]) if rows else ()
        return cls(head, tuple(tuple(row[name] for name in head) for row in rows), indent)

    def __str__(self) -> str:
        lines = (self.head, *self.rows)
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.head))]
        return "\n".join(
            (
                self.indent + "  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def to_html(self) -> str:
        """Return the table as an HTML element."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.head)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def width() -> int:
    """Return the width of the terminal in columns."""
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, NARROWEST)


def lay_out(content: Iterable[str | TextTable], columns: int) -> str:
    """Return lines and tables as one text, wrapped at ``columns`` columns.

    Longer words, such as paths, are not broken, so that they can be copied.
    """
    lines: list[str] = []
    for part in content:
        if isinstance(part, TextTable):
            lines += table_lines(part, columns)
        else:
            for line in part.split("\n"):
                lines += wrapped(line, columns)
    return "\n".join(lines)


def wrapped(line: str, columns: int) -> list[str]:
    """Return one line, wrapped; the text after its label stays in its own column if there is room.

    If a command on its own line is broken, each part but the last ends in a backslash, as a shell
    needs.
    """
    if len(line) <= columns:
        return [line.rstrip()]
    bare = line.lstrip()
    indent = len(line) - len(bare)
    label, gap, rest = bare.partition(_GAP)
    hang = len(line) - len(rest.lstrip()) if gap else 0
    if not gap or hang > columns // 3:
        hang = indent + 2
    is_command = indent > 0 and label.startswith("bayescale ")
    room = columns - 2 * is_command
    found = wrap(
        line,
        room,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [f"{part} \\" for part in found[:-1]] + found[-1:] if is_command else found


def table_lines(table: TextTable, columns: int) -> list[str]:
    """Return the lines of a table: unchanged, with wrapped texts, in blocks, or row by row."""
    if not table.rows or _span(table) <= columns:
        return str(table).split("\n")
    for narrower in (_with_wrapped_texts(table, columns), *_blocks(table, columns)):
        if narrower is not None:
            return narrower
    return list(_records(table, columns))


def _widths(table: TextTable) -> list[int]:
    return [max(map(len, cells)) for cells in zip(table.head, *table.rows, strict=True)]


def _span(table: TextTable) -> int:
    return len(table.indent) + sum(_widths(table)) + len(_GAP) * (len(table.head) - 1)


def _with_wrapped_texts(table: TextTable, columns: int) -> list[str] | None:
    """Return lines with the widest column of words wrapped, or None if that would be too narrow."""
    widths = _widths(table)
    texts = [i for i in range(1, len(widths)) if _holds_words(table, i)]
    if not texts:
        return None
    widest = max(texts, key=widths.__getitem__)
    room = widths[widest] - (_span(table) - columns)
    longest = max(len(word) for row in table.rows for word in row[widest].split() or [""])
    if room < max(longest, len(table.head[widest])) or 2 * room < widths[widest]:
        return None
    rows: list[tuple[str, ...]] = []
    for row in table.rows:
        for k, part in enumerate(wrap(row[widest], room) or [""]):
            cells = row if k == 0 else ("",) * len(row)
            rows.append((*cells[:widest], part, *cells[widest + 1 :]))
    return str(replace(table, rows=tuple(rows))).split("\n")


def _holds_words(table: TextTable, i: int) -> bool:
    """Return whether a column holds words; intervals, which stay on one line, are not words."""
    return any(row[i][:1].isalpha() and " " in row[i] for row in table.rows)


def _blocks(table: TextTable, columns: int) -> Iterator[list[str] | None]:
    """Yield the lines of blocks with a few columns each, all of which begin with the first one."""
    widths = _widths(table)
    first = len(table.indent) + widths[0]
    groups: list[list[int]] = [[]]
    used = first
    for i in range(1, len(widths)):
        if first + len(_GAP) + widths[i] > columns:
            return
        if used + len(_GAP) + widths[i] > columns:
            groups.append([])
            used = first
        groups[-1].append(i)
        used += len(_GAP) + widths[i]
    lines: list[str] = []
    for group in groups:
        lines += [""] * bool(lines) + str(_only(table, [0, *group])).split("\n")
    yield lines


def _only(table: TextTable, columns: Sequence[int]) -> TextTable:
    rows = tuple(tuple(row[i] for i in columns) for row in table.rows)
    return replace(table, head=tuple(table.head[i] for i in columns), rows=rows)


def _records(table: TextTable, columns: int) -> Iterator[str]:
    """Yield the lines of rows, each with one line per column."""
    room = max(map(len, table.head[1:]), default=0)
    for row in table.rows:
        title = f"{table.head[0]} {row[0]}".strip()
        yield from wrapped(table.indent + title, columns)
        for name, cell in zip(table.head[1:], row[1:], strict=True):
            if cell:
                yield from wrapped(f"{table.indent}  {name.ljust(room)}  {cell}", columns)
