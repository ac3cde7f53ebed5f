"""What a report is made of: values that know which command's answer they come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Told:
    """One value as it is shown, and where it stands.

    Attributes
    ----------
    text : str
        As people read it.
    value : object
        As the answer has it.
    of, pointer : str
        The answer's key, and the place in it as a JSON pointer (RFC 6901).
    """

    text: str
    value: Any
    of: str
    pointer: str

    @property
    def is_number(self) -> bool:
        """Whether a machine should read the value and not the text."""
        return isinstance(self.value, int | float) and not isinstance(self.value, bool)


Prose = tuple[str | Told, ...]
"""A sentence: words, and values with their origin."""

Form = Callable[[Any], str]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a command of the package answers.

    Attributes
    ----------
    key : str
        Short and unique within the report.
    command : str
        As it would be typed.
    json : mapping
        What the command prints with ``--json``, but for what it adds on where files are.
    """

    key: str
    command: str
    json: Mapping[str, Any]

    def __call__(self, *path: str | int, form: Form = str, none: str = "unknown") -> Told:
        """The value at this place, written by ``form``; ``none`` where there is no number."""
        value = self.raw(*path)
        if hasattr(value, "item"):
            value = value.item()
        absent = value is None or value != value
        return Told(none if absent else form(value), None if absent else value, self.key, _at(path))

    def raw(self, *path: str | int) -> Any:
        """The value itself."""
        value: Any = self.json
        for step in path:
            value = value[step]
        return value

    def middle(self, *path: str | int, form: Form, none: str = "unknown") -> Prose:
        """A median with its interval: 1.92 (1.82 to 1.99)."""
        return (self(*path, "median", form=form, none=none), " ", *self.between(*path, form=form))

    def between(self, *path: str | int, form: Form, none: str = "unknown") -> Prose:
        """An interval in brackets."""
        lower, upper = (self(*path, end, form=form, none=none) for end in ("lower", "upper"))
        return ("(", lower, "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}", upper, ")")


def _at(path: Sequence[str | int]) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


@dataclass(frozen=True)
class Text:
    """A paragraph; a ``tone`` (good, bad, note) sets it apart."""

    kind: ClassVar[str] = "text"
    parts: Prose
    tone: str = ""


@dataclass(frozen=True)
class Facts:
    """Short answers, each under its question."""

    kind: ClassVar[str] = "facts"
    items: tuple[tuple[str, Prose], ...]


@dataclass(frozen=True)
class Bullets:
    """A list of sentences, or of commands where ``tone`` says so."""

    kind: ClassVar[str] = "bullets"
    items: tuple[Prose, ...]
    tone: str = ""


@dataclass(frozen=True)
class Checked:
    """One check: ``state`` is pass, fail or information."""

    name: str
    state: str
    parts: Prose


@dataclass(frozen=True)
class Checks:
    """Checks, one below the other."""

    kind: ClassVar[str] = "checks"
    items: tuple[Checked, ...]


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows.

    Attributes
    ----------
    words : tuple of int
        Columns of words, which are set flush left.
    folded : bool
        Whether it is shown on request.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Prose, ...], ...]
    words: tuple[int, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A drawing as SVG, and what it says to those who do not see it."""

    kind: ClassVar[str] = "figure"
    svg: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Failed:
    """What could not be made, and why: it stands in the place of a part of a section."""

    kind: ClassVar[str] = "failed"
    what: str
    error: str


Block = Text | Facts | Bullets | Checks | Table | Figure | Failed


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes
    ----------
    name : str
        Short and stable; the anchor in the page.
    error : str or None
        Why the section, or a part of it, could not be made.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that a report says, ready to be rendered.

    Attributes
    ----------
    title : str
    reasons : tuple of str
        Why the sampler is not to be believed; empty where it passed its gate.
    answers : tuple of Answer
        Of all commands that numbers come from.
    """

    title: str
    file: str
    date: str
    law: str
    n_runs: int
    converged: bool
    reasons: tuple[str, ...]
    sections: tuple[Section, ...]
    answers: tuple[Answer, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        return {
            "law": self.law,
            "n_runs": self.n_runs,
            "converged": self.converged,
            "sections": [
                {"name": s.name, "ok": s.error is None, "error": s.error} for s in self.sections
            ],
            "commands": {answer.key: answer.command for answer in self.answers},
        }

    def __str__(self) -> str:
        failed = [f"  {s.title}: {s.error}" for s in self.sections if s.error is not None]
        n = f"{len(self.sections)} sections"
        if not failed:
            return f"{self.title}: {n}."
        return "\n".join([f"{self.title}: {n}, {len(failed)} of them not whole:", *failed])
