"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayescale.errors import OutputError


def require_folder(path: str | Path) -> Path:
    """Return the path if a file can be made there; called before long work, not after.

    Raises
    ------
    OutputError
        If the folder is missing or not writable, or the path is itself a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder: name a file to write")
    if not path.parent.is_dir():
        raise OutputError(
            f"folder {str(path.parent)!r} does not exist: make it, or write elsewhere"
        )
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"folder {str(path.parent)!r} cannot be written to: write elsewhere")
    return path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside ``path`` that replaces it when the block ends well.

    Raises
    ------
    OutputError
        If the file cannot be written; what stood at ``path`` stays as it was.
    """
    path = require_folder(path)
    beside = {"prefix": f".{path.stem}.", "suffix": path.suffix, "dir": path.parent}
    try:
        handle, name = tempfile.mkstemp(**beside)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
