"""The errors of the package, by their meaning.

Every error says which value is wrong, where it stands, what is needed and what to do. Messages name
arguments and calls as Python does, in backticks: ``units={'loss': 'bits'}``, ``fit.summary()``. The
command line turns any :class:`BayescaleError` into its message, with options instead of arguments
(``--unit loss=bits``), commands instead of calls (:data:`COMMANDS`), and exit code 2.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MOST_LISTED = 5
LONGEST = 150
"""The most characters of a one-line ``repr``, apart from the type's name."""

NEAR = 0.6
"""From this similarity on, a name may be a misspelling of another."""

MOST_NAMES = 8
"""The most names of a long list, such as all laws, that a message shows."""

MOST_IN_OPTION = 30
"""The most names that an option in a message lists."""


class BayescaleError(Exception):
    """The base of every error that this package raises on purpose."""


class ArgumentError(BayescaleError, TypeError):
    """An argument of a wrong type."""


class UnitError(BayescaleError, ValueError):
    """A quantity or a unit that cannot be read."""


class RunLogError(BayescaleError, ValueError):
    """A run log that cannot be read, or runs that do not suffice for the requested analysis."""


class TrackerError(BayescaleError, ValueError):
    """A tracker that cannot be read, or whose runs lack the requested values."""


class FigureError(BayescaleError, TypeError):
    """An object or option from which a figure cannot be drawn."""


class LawError(BayescaleError, ValueError):
    """A scaling law that is unknown, ill-defined, or lacks what a question needs."""


class CardError(BayescaleError, ValueError):
    """A model card that is missing, invalid, or does not fit its law."""


class PosteriorError(BayescaleError, ValueError):
    """A posterior file that cannot be opened, or a posterior that cannot answer."""


class UnconvergedError(PosteriorError):
    """A posterior that failed the convergence checks and that the caller did not allow."""


class NoFitError(BayescaleError, TypeError):
    """An object that is not a fit, given to a function that needs one."""


class TrustError(BayescaleError, ValueError):
    """A backtest with nothing to hold out, or an invalid question about trust."""


class DecisionError(BayescaleError, ValueError):
    """A budget, a limit, a target or a candidate that leaves nothing to decide."""


class ScenarioError(BayescaleError, ValueError):
    """A scenario of pruned data or of a metric that cannot be computed with the given values."""


class OutputError(BayescaleError, OSError):
    """A result that cannot be written to the requested place."""


class ExplorerError(BayescaleError, RuntimeError):
    """A page that cannot be served on this computer."""


class ClusterError(BayescaleError, RuntimeError):
    """A cluster that cannot be reached, or whose workers cannot do the work."""


class DataUnavailableError(BayescaleError, OSError):
    """A named data set that is neither on this computer nor reachable."""


def listed(objects: Iterable[object], most: int = MOST_LISTED) -> str:
    """Return a list for a message: the first few items, and the number of the others."""
    items = [str(item) for item in objects]
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def did_you_mean(given: object, known: Iterable[object]) -> str:
    """Return a question for the end of a message, with the known name that is nearest; or no text.

    Case does not matter.

    Examples
    --------
    >>> did_you_mean("Chinchila", ["unified", "chinchilla"])
    "; did you mean 'chinchilla'?"
    """
    near = nearest(given, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def nearest(given: object, known: Iterable[object], similarity: float = NEAR) -> str | None:
    """Return the known name that is most like another, or None; case does not matter."""
    names = {str(name).strip().lower(): str(name) for name in known if str(name) != str(given)}
    near = get_close_matches(str(given).strip().lower(), names, 1, cutoff=similarity)
    return names[near[0]] if near else None


def shortened(text: str, most: int = LONGEST) -> str:
    """Return a text, cut and with three dots if it has more than ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def first_few(items: Sequence[str], more: str = "") -> list[str]:
    """Return the first few items, and a line with the number of the others."""
    rest = len(items) - MOST_LISTED
    return [*items[:MOST_LISTED], *([f"and {rest} more{more}"] if rest > 0 else [])]


def collected(headline: str, problems: Iterable[str]) -> str:
    """Return one message for all problems of one input, with a bullet for each."""
    return "\n".join([headline, *(f"  - {problem}" for problem in problems)])


def leaving_out(ids: Iterable[object]) -> str:
    """Return the argument that leaves runs out by id, without ids that an option cannot hold.

    Examples
    --------
    >>> leaving_out(["a", "b"])
    "`exclude={'run_id': 'a,b'}`"
    """
    names = [str(name) for name in ids]
    plain = len(names) <= MOST_IN_OPTION and not any(
        {",", "'", '"', "\\", "`"} & set(name) for name in names
    )
    return argument("exclude", run_id=",".join(names)) if plain else "`exclude=`"


COMMANDS = {
    "fit = fit.with_backtest()": "bayescale trust",
    "fit.summary()": "bayescale summary",
    "fit.trust()": "bayescale summary",  # prints its notes without a backtest, as that does
    "bayescale.next_run": "bayescale next-run",
    "bayescale.sensitivity": "bayescale check --sensitivity",
    "bayescale.read_runs": "bayescale check",
    "bayescale.open_posterior": "bayescale summary",
    "bayescale.read_wandb": "bayescale import",
    "bayescale.save": "bayescale fit",
    "bayescale.save_recipes": "bayescale versus -o",
    "bayescale.save_tuning": "bayescale tune -o",
    "bayescale.load_card('chinchilla')": "bayescale models show chinchilla",
}
"""What messages name in backticks as Python, and the command that does it."""

_CALL = re.compile("|".join(f"`{re.escape(call)}`" for call in COMMANDS))
_ARGUMENT = re.compile(r"`(\w+)=([^`]*)`")
_PAIR = re.compile(r"'([^']*)':\s*'([^']*)'")
_ITEM = re.compile(r"'([^']*)'")
_QUOTED = re.compile(r"[^\w@%+=:,./-]")
_OPTION_OF = {"columns": "column", "units": "unit", "conventions": "convention", "tracker": "from"}


def argument(name: str, **items: object) -> str:
    """Return the text of an argument that is a dictionary, for a message.

    Examples
    --------
    >>> argument("units", loss="bits")
    "`units={'loss': 'bits'}`"
    """
    return f"`{name}={ {key: str(value) for key, value in items.items()} }`"


def names_arguments(text: str) -> bool:
    """Return whether a message names an argument, as :func:`argument` writes it."""
    return _ARGUMENT.search(text) is not None


def as_options(text: str) -> str:
    """Return a message in which arguments and calls are written as options and commands.

    Examples
    --------
    >>> as_options("say `units={'loss': 'bits'}`, `missing='drop'` or `allow_unconverged=True`")
    'say --unit loss=bits, --missing drop or --allow-unconverged'
    >>> as_options("`columns={'params': 'size', 'tokens': 'seen'}`")
    '--column params=size --column tokens=seen'
    >>> as_options("fit `law=['unified', 'chinchilla']`")
    'fit --law unified --law chinchilla'
    >>> as_options("Test it: `fit = fit.with_backtest()`.")
    'Test it: bayescale trust.'
    """

    def option(match: re.Match[str]) -> str:
        name, value = match.groups()
        flag = f"--{_OPTION_OF.get(name, name).replace('_', '-')}"
        if value.startswith("["):
            return " ".join(f"{flag} {_shell(item)}" for item in _ITEM.findall(value))
        if pairs := [_shell(f"{key}={item}") for key, item in _PAIR.findall(value)]:
            return " ".join(f"{flag} {pair}" for pair in pairs)
        value = "" if value == "True" else _shell(value.strip("'\""))
        return f"{flag} {value}".rstrip()

    commands = _CALL.sub(lambda match: COMMANDS[match[0].strip("`")], text)
    return _ARGUMENT.sub(option, commands)


def _shell(word: str) -> str:
    """Return a word, quoted if a shell needs it."""
    return f"'{word}'" if _QUOTED.search(word) else word
