"""Users' own laws in Python files, and messages about errors in these files."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from bayescale.errors import LawError
from bayescale.laws.law import Law

_PREFIX = "bayescale_own_"


def own_law(path: Path, attribute: str) -> Law:
    """Run a Python file and return the law with this name in it.

    Raises
    ------
    LawError
        If there is no such file or law, or if running the file fails; the message then names the
        line.
    """
    if not path.is_file():
        raise LawError(f"law file {str(path)!r} does not exist: correct the path")
    module = _run(path)
    law = getattr(module, attribute, None)
    if isinstance(law, Law):
        return law
    laws = [key for key, value in vars(module).items() if isinstance(value, Law)]
    holds = f"it defines {', '.join(laws) or 'none'}"
    if not attribute:
        raise LawError(f"name the law in {str(path)!r} as {path}:NAME; {holds}")
    if attribute in vars(module):
        found = f"{attribute!r} in {str(path)!r} is a {type(law).__name__}, not a Law"
        raise LawError(f"{found}: make a law with bayescale.laws.Law; {holds}")
    raise LawError(f"{str(path)!r} has no law named {attribute!r}: {holds}")


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{_PREFIX}{path.resolve()}", path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise LawError(
            f"law file {str(path)!r} is not Python, line {error.lineno}: {error.msg}: "
            f"{(error.text or '').strip()}"
        ) from error
    except Exception as error:
        raise LawError(fault(error, path.resolve())) from error
    return module


def fault(error: BaseException, path: Path) -> str:
    """Return a sentence on an exception from a file of laws, with the line."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    where = f"{path.name}, line {lines[-1]}" if lines else path.name
    if isinstance(error, LawError):
        return f"{where}: {error}"
    said = str(error).strip().splitlines()
    return f"{where}: {type(error).__name__}{f': {said[0]}' if said else ''}"


def own_fault(error: BaseException) -> str | None:
    """Return :func:`fault` for the innermost file of own laws that raised an exception, if any."""
    files = {
        module.__file__
        for name, module in sys.modules.items()
        if name.startswith(_PREFIX) and module.__file__
    }
    passed = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    own = next((name for name in reversed(passed) if name in files), None)
    return None if own is None else fault(error, Path(own))
