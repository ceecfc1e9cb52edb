"""Files that are there whole or not at all, and that show when the disk has lost bytes of them.

A file holds, little-endian:

=========  ==================================================================
8 bytes    what kind of file it is
32 bytes   SHA-256 of all that follows
4 bytes    length of the header, unsigned
the header JSON, filled up with spaces so that the body begins at a multiple of 64
the body   as the kind says
=========  ==================================================================
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from indexers.errors import SnapshotError

UNFINISHED = ".writing"
"""Suffix of a file until it is whole and on disk."""
_MAGIC_BYTES = 8
_DIGEST_BYTES = 32
_LENGTH_BYTES = 4
_ALIGNED = 64


class DamagedError(SnapshotError):
    """The file is not what was written."""


def write(path: Path, magic: bytes, header: Mapping[str, Any], body: Iterable[npt.NDArray[Any]]) -> None:
    """Write a file so that it is there whole or not at all, whatever happens; it replaces an older one.

    Args:
        path: Where to; the folder is there.
        magic: 8 bytes.
        header: What JSON can hold.
        body: Arrays, one after the other, taken one at a time.

    Raises:
        OSError: If the disk is full or fails; nothing of it is left then.
    """
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-(_MAGIC_BYTES + _DIGEST_BYTES + _LENGTH_BYTES + len(text)) % _ALIGNED)
    digest = hashlib.sha256()
    unfinished = path.with_suffix(UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            file.write(magic + bytes(_DIGEST_BYTES))
            for part in _parts(text, body):
                digest.update(part)
                file.write(part)
            file.seek(_MAGIC_BYTES)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextlib.contextmanager
def opened(path: Path, magic: bytes) -> Iterator[tuple[dict[str, Any], BinaryIO]]:
    """Yield the header, and the file where its body begins.

    Raises:
        DamagedError: If it is of another kind, or not what was written.
    """
    with path.open("rb") as file:
        expected = _digest(file, magic)
        if expected is None or hashlib.file_digest(file, "sha256").digest() != expected:
            raise DamagedError(f"{path} is damaged: the disk lost or changed bytes of it")
        file.seek(_MAGIC_BYTES + _DIGEST_BYTES)
        yield _header(file), file


def digest(path: Path, magic: bytes) -> bytes:
    """The SHA-256 that a file names, unchecked.

    Raises:
        DamagedError: If it is of another kind.
    """
    with path.open("rb") as file:
        named = _digest(file, magic)
    if named is None:
        raise DamagedError(f"{path} is damaged: it does not begin as it should")
    return named


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(file: BinaryIO, magic: bytes) -> bytes | None:
    return file.read(_DIGEST_BYTES) if file.read(_MAGIC_BYTES) == magic else None


def _header(file: BinaryIO) -> dict[str, Any]:
    """Read the header of a file that stands behind the digest; it stands at the body then."""
    (length,) = struct.unpack("<I", file.read(_LENGTH_BYTES))
    header: dict[str, Any] = json.loads(file.read(length))
    return header


def _parts(header: bytes, body: Iterable[npt.NDArray[Any]]) -> Iterator[bytes | memoryview]:
    yield struct.pack("<I", len(header))
    yield header
    for array in body:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
