"""Uploads of run logs and fits, which are stored in a private folder, fitted and opened there.

This module does not use Streamlit. Only the bytes and the suffix of an upload reach the disk; the
folder is removed when the page's session ends.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from weakref import finalize

from bayescale.errors import ExplorerError

LOGS, FITS = (".csv", ".parquet", ".json", ".jsonl"), (".nc",)
MOST_LOG, MOST_FIT = 50, 500
"""The largest run log and fit that are accepted, in megabytes."""

Progress = Callable[[float, str], object]
"""A function that is called with the share of a stage that is done, and the stage's name."""


@dataclass(frozen=True)
class Upload:
    """A file that the page was given.

    Attributes
    ----------
    name : str
        The file's name on the reader's computer, which is shown and never used as a path.
    path : Path
        The fit in the private folder, which is removed with this object.
    """

    name: str
    path: Path


def take(name: str, data: bytes, tell: Progress) -> Upload:
    """Store an upload, fit it if it is a run log, and return it.

    Parameters
    ----------
    name : str
        The file's name, whose suffix says whether it is a run log or a fit.
    data : bytes
    tell : callable
        See :data:`Progress`. An exception that it raises ends the fit.

    Raises
    ------
    ExplorerError
        If the file is empty, too large or of another kind, or the run log cannot be fitted.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in (*LOGS, *FITS):
        kinds = ", ".join((*LOGS, *FITS))
        raise ExplorerError(f"{name!r} is neither a run log nor a fit: give a file of {kinds}")
    most = MOST_FIT if suffix in FITS else MOST_LOG
    if not data:
        raise ExplorerError(f"{name!r} is empty: give a file with runs, or a fit")
    if len(data) > most * 1e6:
        raise ExplorerError(
            f"{name!r} has {len(data) / 1e6:,.0f} MB, and at most {most} are taken here: fit it "
            "at the command line, bayescale fit, and open that fit"
        )
    folder = Path(mkdtemp(prefix="bayescale-"))  # only its owner can read it
    try:
        path = _kept(name, data, folder, tell)
    except BaseException:
        rmtree(folder, ignore_errors=True)
        raise
    upload = Upload(name, path)
    finalize(upload, rmtree, folder, ignore_errors=True)
    return upload


def _kept(name: str, data: bytes, folder: Path, tell: Progress) -> Path:
    """Write the upload into the folder, and fit it if it is a run log; return the fit's path."""
    kept = folder / f"upload{Path(name).suffix.lower()}"
    try:
        kept.write_bytes(data)
    except OSError as error:
        raise ExplorerError(
            f"{name!r} cannot be kept in {folder}: {error.strerror}. Make room there, or set "
            "TMPDIR to another folder"
        ) from error
    if kept.suffix in FITS:
        return kept
    fitted = folder / "fit.nc"
    _fit(name, kept, fitted, tell)
    return fitted


def _fit(name: str, log: Path, output: Path, tell: Progress) -> None:
    """Fit in a separate process, which ends with this call."""
    command = [sys.executable, "-m", "bayescale.explore.fitting", str(log), str(output)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=output.parent
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                said = json.loads(line)
                if "error" in said:
                    said_of = said["error"].replace(str(log), name).replace(log.name, name)
                    raise ExplorerError(said_of)
                tell(said["share"], " ".join(filter(None, (said["text"], said["note"]))))
        except BaseException:
            process.kill()
            raise
        told = process.stderr.read().strip().splitlines()
    if process.returncode:
        last = told[-1] if told else f"it ended with {process.returncode}"
        raise ExplorerError(f"{name!r} could not be fitted: {last}")
