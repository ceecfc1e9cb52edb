"""Files that evidence consists of: kept whole, named by their SHA-256, behind one small interface."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from service.errors import DISK_FULL, NotFoundError, StorageFullError

_COPY_BYTES = 1024 * 1024
_DIGEST_BYTES = 32


class Blobs(Protocol):
    """Keeps files. For many threads at a time; blocking."""

    def put(self, sha256: bytes, file: IO[bytes]) -> None:
        """Keep a file, from its beginning; when this returns, it survives a loss of power.

        Keeping the same file again changes nothing.

        Args:
            sha256: Digest of the file, which the caller has checked.
            file: What is kept.

        Raises:
            StorageFullError: If there is no room: nothing was kept.
        """
        ...

    def put_all(self, files: Sequence[tuple[bytes, IO[bytes]]]) -> None:
        """Keep several files, for less than each by itself; as `put`.

        Raises:
            StorageFullError: If there is no room; some may have been kept.
        """
        ...

    def open(self, sha256: bytes) -> BinaryIO:
        """Open a file for reading; the caller closes it.

        Raises:
            NotFoundError: If there is none.
        """
        ...

    def delete(self, sha256: bytes) -> None:
        """Erase a file; when this returns, it is gone for good. One that is not there stays so.

        Files are shared by whatever has the same content: it is the caller who knows that nothing else needs
        this one. Who has it open can go on reading.
        """
        ...

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of all files that are there, in no order; others may come and go meanwhile."""
        ...


class FolderBlobs:
    """Blobs in a folder: each written aside, synced, then renamed to where it is found."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made if it is missing; what was cut off is cleared away.

        Raises:
            OSError: If it cannot be made.
        """
        self._folder = folder
        self._aside = folder / "aside"
        self._lasting: set[str] = set()
        """Folders that are known to survive a loss of power themselves."""
        self._aside.mkdir(parents=True, exist_ok=True)
        for left in self._aside.iterdir():
            left.unlink()

    def put(self, sha256: bytes, file: IO[bytes]) -> None:
        """See `Blobs.put`."""
        self.put_all([(sha256, file)])

    def put_all(self, files: Sequence[tuple[bytes, IO[bytes]]]) -> None:
        """See `Blobs.put_all`."""
        # Folders are synced once for all files; those of a file that is there already too: who puts it at the
        # same time may not have come so far.
        touched = dict[str, None]()
        try:
            for sha256, file in files:
                folder, target, former = self._places(sha256)
                if os.path.exists(former):  # noqa: PTH110
                    touched[os.path.dirname(former)] = None  # noqa: PTH120
                elif not os.path.exists(target):  # noqa: PTH110
                    self._place(file, folder, target)
                touched[folder] = None
            for folder in touched:
                _sync(folder)
            if not self._lasting.issuperset(touched):
                _sync(self._folder)
                self._lasting.update(touched)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise StorageFullError(
                    "the server's disk is full, the file was not kept; tell its operator, then try again"
                ) from error
            raise

    def open(self, sha256: bytes) -> BinaryIO:
        """See `Blobs.open`."""
        for path in self._places(sha256)[1:]:
            with suppress(FileNotFoundError):
                return Path(path).open("rb")
        raise NotFoundError(f"there is no file {sha256.hex()}", sha256=sha256.hex())

    def delete(self, sha256: bytes) -> None:
        """See `Blobs.delete`."""
        for path in map(Path, self._places(sha256)[1:]):
            with suppress(FileNotFoundError):
                path.unlink()
                _sync(path.parent)

    def digests(self) -> Iterator[bytes]:
        """See `Blobs.digests`."""
        for pattern in ("??/*", "??/??/*"):
            for path in self._folder.glob(pattern):
                with suppress(ValueError):  # somebody else's
                    digest = bytes.fromhex(path.name)
                    if len(digest) == _DIGEST_BYTES:  # no folder
                        yield digest

    def _place(self, file: IO[bytes], folder: str, target: str) -> None:
        """Write a file where it is found."""
        # By the system's calls and plain texts: previews are many, and pathlib costs as much as they do.
        aside = f"{self._aside}/{secrets.token_hex(8)}"
        try:
            _write(aside, file)
            if folder not in self._lasting:
                os.makedirs(folder, exist_ok=True)  # noqa: PTH103
            os.rename(aside, target)  # noqa: PTH104
        except BaseException:
            with suppress(OSError):
                os.unlink(aside)  # noqa: PTH108
            raise

    def _places(self, sha256: bytes) -> tuple[str, str, str]:
        """The folder that a file is in, the file, and where earlier versions put it: one folder deeper.

        A folder has to be made and synced beside its file: with 65,536 of them that cost more than the files.
        """
        name = sha256.hex()
        folder = f"{self._folder}/{name[:2]}"
        return folder, f"{folder}/{name}", f"{folder}/{name[2:4]}/{name}"


def _write(path: str, file: IO[bytes]) -> None:
    """Write a new file with what another holds, from its beginning; it survives a loss of power then."""
    file.seek(0)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while piece := file.read(_COPY_BYTES):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: str | Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pieces(file: BinaryIO, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the parts of a file, in order, in small pieces.

    Raises:
        NotFoundError: If the file ends before they do.
    """
    for offset, length in ranges:
        file.seek(offset)
        left = length
        while left:
            piece = file.read(min(left, _COPY_BYTES))
            if not piece:
                raise NotFoundError("the capture's file ends before its content does")
            left -= len(piece)
            yield piece


def cut_out(blobs: Blobs, sha256: bytes, ranges: Sequence[tuple[int, int]], folder: Path) -> BinaryIO:
    """Copy the parts of a file into one without a name, which the caller closes. Blocking.

    Args:
        blobs: Where the file is.
        sha256: Its digest.
        ranges: Offsets and lengths, in order.
        folder: Where the copy is.

    Raises:
        NotFoundError: If the file is not there, or ends before they do.
    """
    media = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    try:
        with blobs.open(sha256) as file:
            for piece in pieces(file, ranges):
                media.write(piece)
        media.flush()
        media.seek(0)
    except BaseException:
        media.close()
        raise
    return media


async def in_threads(found: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces of an iterator that blocks, each fetched in a thread when it is asked for."""
    while (piece := await asyncio.to_thread(next, found, None)) is not None:
        yield piece
