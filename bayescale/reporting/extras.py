"""Results that a report shows besides the answers of its fit: recipes, a run in progress."""

from dataclasses import dataclass

from bayescale.decisions.versus_answer import Versus
from bayescale.decisions.watch_answer import Watch

TITLES = {Versus: "Which recipe is better", Watch: "The run in progress"}
"""Titles of their sections."""


@dataclass(frozen=True, eq=False)
class Extra:
    """A result that has its own section.

    Attributes
    ----------
    result : Versus or Watch
    command : str
        The command line that gives the result; empty if it was computed in Python.
    """

    result: Versus | Watch
    command: str = ""

    @property
    def title(self) -> str:
        """The title of the section."""
        return TITLES[type(self.result)]

    @property
    def passed(self) -> bool:
        """Whether the comparison converged, or the run is on its course."""
        if isinstance(self.result, Watch):
            return self.result.on_course is not False
        return self.result.passed


def extra_of(given: "Extra | Versus | Watch") -> Extra:
    """Return a result as an :class:`Extra`."""
    return given if isinstance(given, Extra) else Extra(given)
