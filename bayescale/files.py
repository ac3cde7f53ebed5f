"""Files that are written whole or not at all, and files of trees of arrays."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bayescale.errors import OutputError, PosteriorError, listed

if TYPE_CHECKING:
    import xarray as xr


def require_folder(path: str | Path) -> Path:
    """Return the path if a file can be made there; it is called before long work.

    Raises
    ------
    OutputError
        If the folder is missing, a file or not writable, or the path is itself a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder: name a file to write")
    if path.parent.exists() and not path.parent.is_dir():
        raise OutputError(f"{str(path.parent)!r} is a file, not a folder: write elsewhere")
    if not path.parent.is_dir():
        raise OutputError(
            f"folder {str(path.parent)!r} does not exist: make it, or write elsewhere"
        )
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"folder {str(path.parent)!r} cannot be written to: write elsewhere")
    return path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside ``path``, which replaces it if the block succeeds.

    Raises
    ------
    OutputError
        If the file cannot be written; a file that was at ``path`` is unchanged.
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


def save_tree(tree: "xr.DataTree", path: str | Path) -> None:
    """Write a tree to a NetCDF file, whole or not at all, with checksums of its numbers.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    checked = {
        node.path: {
            name: {"fletcher32": True}
            for name, variable in node.to_dataset(inherit=False).variables.items()
            if variable.ndim and variable.dtype.kind in "fiub"
        }
        for node in tree.subtree
    }
    with replacing(path) as temporary:
        try:
            tree.to_netcdf(temporary, engine="netcdf4", encoding=checked)
        except RuntimeError as error:  # raised by the library for errors of the system
            raise OSError(f"{error} (is the disk full?)") from error


def _fit_first(path: Path) -> str:
    """Return what to do with a file that seems to be a run log, for the end of a message."""
    is_log = path.suffix.lower() in (".csv", ".parquet", ".jsonl", ".json")
    return "; if it is a run log, fit it first" if is_log else ""


def read_tree(path: str | Path) -> "xr.DataTree":
    """Return the tree in a NetCDF file, read into memory as a whole.

    Raises
    ------
    PosteriorError
        If the file is absent, cut short, damaged, or of another kind.
    """
    import xarray as xr

    path = Path(path)
    if path.is_dir():
        files = sorted(file.name for file in path.glob("*.nc"))
        holds = f"one of its files: {listed(files)}" if files else "it holds no .nc file"
        raise PosteriorError(
            f"{str(path)!r} is a folder: give a file that `bayescale.save` wrote, {holds}"
        )
    if not path.is_file():
        raise PosteriorError(f"posterior file {str(path)!r} does not exist: correct the path")
    try:
        # The library keeps a file open that it fails to read, and ends the process if another file
        # then replaces it. So it is given the bytes.
        data = path.read_bytes()
    except OSError as error:
        raise PosteriorError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    if not data.startswith(b"\x89HDF\r\n\x1a\n"):
        what = "is not a posterior file (NetCDF)" if data else "is empty"
        raise PosteriorError(
            f"{path.name} {what}: give one that `bayescale.save` wrote{_fit_first(path)}"
        )
    try:
        with xr.open_datatree(data, engine="netcdf4") as opened:
            return opened.load()
    except Exception as error:  # the library raises many kinds of errors on damaged files
        raise PosteriorError(
            f"{path.name} is damaged or cut short ({type(error).__name__}): fit again or restore it"
        ) from error
