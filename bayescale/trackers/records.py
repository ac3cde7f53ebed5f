"""Files of records, read one record at a time; a file may end within a record."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bayescale.errors import TrackerError


@dataclass
class Records:
    """The complete records of a file, in order.

    Attributes
    ----------
    path : path
    frames : callable
        Yields the records of an open file; raises EOFError within one.
    cut : str
        Set when the records have been read: says so if the file ends within a record, else empty.
    """

    path: Path
    frames: Callable[..., Iterator[bytes]]
    cut: str = field(default="", init=False)

    def each(self, take: Callable[[bytes], object]) -> None:
        """Call ``take`` with each record; it raises ValueError if a record cannot be read."""
        with self.path.open("rb") as stream:
            try:
                for record in self.frames(stream):
                    take(record)
            except EOFError:
                self.cut = f"has a file {self.path.name} that ends within a record"
            except ValueError as error:
                raise TrackerError(
                    f"{self.path} is damaged at byte {stream.tell()}: {error}; restore the file, "
                    "or take it out of the folder"
                ) from error


def message(kind: Any, data: bytes) -> Any:
    """Return a parsed protocol buffer, or raise a ValueError with its library's message."""
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def _exactly(stream, count: int) -> bytes:
    if count > os.fstat(stream.fileno()).st_size - stream.tell():  # before it allocates memory
        raise EOFError
    return stream.read(count)


def event_frames(stream) -> Iterator[bytes]:
    """Yield records of a TensorBoard event file: length, its checksum, data, their checksum."""
    import google_crc32c

    def checked(data: bytes, stated: bytes) -> bytes:
        plain = google_crc32c.value(data)
        if struct.unpack("<I", stated)[0] != ((plain >> 15 | plain << 17) + 0xA282EAD8) % 2**32:
            raise ValueError("a checksum does not fit its record")
        return data

    while first := stream.read(1):
        head = first + _exactly(stream, 11)
        (length,) = struct.unpack("<Q", checked(head[:8], head[8:]))
        body = _exactly(stream, length + 4)
        yield checked(body[:length], body[length:])


_BLOCK = 32_768
_HEAD = 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def run_frames(stream) -> Iterator[bytes]:
    """Yield records of a Weights & Biases run file: a header of seven bytes and a LevelDB log."""
    if _exactly(stream, 7)[:4] != b":W&B":
        raise ValueError("it does not begin as a Weights & Biases run file does")
    record = b""
    while True:
        left = _BLOCK - stream.tell() % _BLOCK
        if left < _HEAD:
            stream.read(left)
        head = stream.read(_HEAD)
        if not head:
            break
        if len(head) < _HEAD:
            raise EOFError
        checksum, length, kind = struct.unpack("<IHB", head)
        data = _exactly(stream, length)
        if zlib.crc32(data, zlib.crc32(head[6:])) != checksum:
            raise ValueError("a checksum does not fit its record")
        record = data if kind in (_WHOLE, _FIRST) else record + data
        if kind in (_WHOLE, _LAST):
            yield record
            record = b""
    if record:
        raise EOFError
