"""Media on the caller's side: paths, bytes and file objects, read the same way."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from copyhound.errors import LocalFileError
from copyhound.types import Source

CHUNK_BYTES: Final = 1024 * 1024
"""Most bytes of a chunk in a stream: what the API allows."""


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """A media item that can be read as often as needed: a repeated request sends it again.

    Attributes:
        source: Where it is.
        filename: The name that it had; empty: none is known.
        size: In bytes.
        start: Where a file object stood when it was given.
    """

    source: Source
    filename: str
    size: int
    start: int = 0

    @classmethod
    def of(cls, source: Source, filename: str = "") -> "LocalMedia":
        """Look at a source without reading it.

        Args:
            source: Path, bytes or seekable binary file object.
            filename: The name to send instead of the file's own.

        Raises:
            LocalFileError: If the file does not exist or is none, or a file object cannot seek.
        """
        if isinstance(source, bytes):
            return cls(source, filename, len(source))
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            with _explained(path):
                size = path.stat().st_size
            if not path.is_file():
                raise LocalFileError(f"{path}: is no regular file; name a media file")
            return cls(path, filename or readable_name(path.name), size)
        name = filename or Path(str(getattr(source, "name", ""))).name
        with _explained(name):
            start = source.tell()
            size = source.seek(0, io.SEEK_END) - start
            source.seek(start)
        return cls(source, name, size, start)

    def read(self) -> bytes:
        """Return all bytes.

        Raises:
            LocalFileError: If the file cannot be read.
        """
        if isinstance(self.source, bytes):
            return self.source
        with _explained(self.filename), self._open() as file:
            return file.read()

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most `CHUNK_BYTES`, from the start each time.

        Raises:
            LocalFileError: If the file cannot be read.
        """
        with _explained(self.filename), self._open() as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def sha256(self) -> bytes:
        """Digest of all bytes, 32 bytes.

        Raises:
            LocalFileError: If the file cannot be read.
        """
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.digest()

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        """Open at the start; a file object of the caller's stays open."""
        if isinstance(self.source, bytes):
            yield io.BytesIO(self.source)
        elif isinstance(self.source, str | os.PathLike):
            with Path(self.source).open("rb") as file:
                yield file
        else:
            self.source.seek(self.start)
            yield self.source


def readable_name(name: str) -> str:
    """Return a file's name as text that can travel: bytes that are no UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextmanager
def _explained(name: str | Path) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise LocalFileError(f"{name or 'media'}: {why}; name a file that can be read") from error
