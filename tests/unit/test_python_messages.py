"""Results and messages name arguments and calls of Python; the command line names its own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bayescale
from bayescale.cli import app
from bayescale.errors import COMMANDS, as_options
from bayescale.posterior import Posterior

PACKAGE = Path(bayescale.__file__).parent
SHELL = ("cli", "explore", "reporting")
PAGES = ("command_lines.py", "questions.py", "demo.py", "drawings.py", "errors.py")
"""What speaks to readers of the command line and of pages."""

COMMAND = "|".join(
    re.escape(command.name or command.callback.__name__.strip("_").replace("_", "-"))  # type: ignore[union-attr]
    for command in app.registered_commands
)
SHELL_WORDS = re.compile(rf"(?<![\w-])--[a-z][a-z-]+|\bbayescale ({COMMAND}|models)\b")
OTHERS = re.compile(r"--(nthreads|head|backend-store-uri|force-reinstall|no-deps)|var\(--")
"""Options of other programs, and variables of style sheets."""


def sources() -> Iterator[Path]:
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in (*SHELL, *PAGES):
            yield path


def messages(path: Path) -> Iterator[str]:
    """Texts of a module that are not documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_no_message_of_the_package_names_a_shell_command() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}: {text}"
        for path in sources()
        for text in messages(path)
        if SHELL_WORDS.search(text) and not OTHERS.search(text)
    }
    assert not found


@pytest.mark.parametrize("call", COMMANDS)
def test_calls_in_messages_exist_and_become_commands(call: str) -> None:
    name = re.search(r"(?:bayescale|fit)\.(\w+)", call)
    assert name is not None
    assert hasattr(bayescale if call.startswith("bayescale") else Posterior, name[1])
    command = as_options(f"`{call}`")
    assert SHELL_WORDS.match(command), command


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_printed_results_name_no_shell_command(chinchilla_posterior: Posterior) -> None:
    fit = chinchilla_posterior
    results = [
        fit,
        fit.forecast(params="70B", tokens="1.4T", target=0.2),
        fit.forecast(flops=1e30),
        fit.allocate(1e23),
        fit.trust(),
        fit.data_budget(params="7B"),
        fit.next_run(budget=1e21, target_flops=1e24),
        bayescale.slices(fit, [1e9]),
        bayescale.cross_check(fit),
    ]
    for result in results:
        text = str(result)
        assert not SHELL_WORDS.search(text), text
