"""A folder that PyTensor can write to: PyTensor fails if the home folder is read-only."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

_FLAGS, _NAME = "PYTENSOR_FLAGS", "base_compiledir"


def use_writable_folder() -> None:
    """Let PyTensor compile in a temporary folder if it cannot write to its own."""
    flags = os.environ.get(_FLAGS, "")
    if "pytensor" in sys.modules or _NAME in flags or _can_write(Path("~/.pytensor").expanduser()):
        return
    folder = tempfile.mkdtemp(prefix="bayescale-pytensor-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_FLAGS] = ",".join(filter(None, [flags, f"{_NAME}={folder}"]))


def _can_write(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)
