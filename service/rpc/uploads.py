"""Streamed media: header first, then chunks, spooled to disk and never held in memory."""

import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeVar

from service.errors import DISK_FULL, InvalidRequestError, MediaTooLargeError, StorageFullError
from service.rpc.access import Caller
from service.rpc.convert import MAX_CHUNK_BYTES
from service.sandbox import ReadMedia, vouched

_HEAD_BYTES = 4096


class StreamMessage(Protocol):
    """A message of a streamed upload, as far as this module needs it: a header, or a chunk."""

    @property
    def chunk(self) -> bytes:
        """The next bytes of the file."""
        ...

    def WhichOneof(self, oneof_group: Literal["payload"], /) -> Literal["header", "chunk"] | None:
        """Which of both it holds."""
        ...


M = TypeVar("M", bound=StreamMessage)


@dataclass(frozen=True, slots=True)
class Upload:
    """A media item that arrived.

    Attributes:
        media: The file; the caller closes it.
        sha256: Its digest, 32 bytes.
        byte_count: Its size.
    """

    media: BinaryIO
    sha256: bytes
    byte_count: int

    def vouched(self, read: ReadMedia) -> ReadMedia:
        """What a worker found in it, with the digest and size that were taken here."""
        return vouched(read, self.sha256, self.byte_count)


async def first_message(messages: AsyncIterator[M]) -> M:
    """The message with the header, so that it can be checked before any chunk is taken.

    Raises:
        InvalidRequestError: If the stream begins with something else.
    """
    async for message in messages:
        if message.WhichOneof("payload") == "header":
            return message
        break
    raise InvalidRequestError("header", "the first message of the stream must hold the header")


def _ignore(_media: BinaryIO, _size: int) -> None:
    """Take no notice of what arrived."""


@dataclass(frozen=True, slots=True)
class Spooler:
    """Where uploads under way are kept, and how large they may be.

    Attributes:
        folder: Files in it have no names and vanish with the process.
        max_bytes: Largest media item.
    """

    folder: Path
    max_bytes: int

    async def receive(
        self,
        messages: AsyncIterator[StreamMessage],
        caller: Caller,
        check_head: Callable[[bytes], None],
        arrived: Callable[[BinaryIO, int], None] = _ignore,
    ) -> Upload:
        """Take in what follows the header.

        Args:
            messages: The rest of the stream.
            caller: Whose quota pays: for the first chunk it has to suffice, the others may overdraw it.
            check_head: Called with the file's first bytes as soon as these are there (4,096,
                or all of a smaller file); what it raises ends the upload at once.
            arrived: Called after each chunk with the file, which it must not move, and how many bytes of it
                are there.

        Raises:
            InvalidRequestError: If a message is no chunk, or a chunk is empty or too large.
            MediaTooLargeError: If there are more bytes than allowed.
            QuotaExceededError: If the caller's quota does not allow them.
            StorageFullError: If the disk is full.
        """
        media = _new_file(self.folder)
        try:
            digest, size, head, checked = hashlib.sha256(), 0, b"", False
            async for message in messages:
                chunk = _chunk(message)
                self._check_size(size + len(chunk))
                caller.charge(media_bytes=len(chunk), overdraft=size > 0)
                size += len(chunk)
                digest.update(chunk)
                _write(media, chunk)
                if not checked:
                    head = (head + chunk)[:_HEAD_BYTES]
                    if len(head) == _HEAD_BYTES:
                        check_head(head)
                        checked = True
                arrived(media, size)
            if not checked:
                check_head(head)
            media.seek(0)
        except BaseException:
            media.close()
            raise
        return Upload(media, digest.digest(), size)

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise MediaTooLargeError(
                f"the server takes media of at most {self.max_bytes} bytes; send a shorter or smaller "
                "version, or raise max_media_bytes",
                max_media_bytes=str(self.max_bytes),
            )


def _chunk(message: StreamMessage) -> bytes:
    if message.WhichOneof("payload") != "chunk":
        raise InvalidRequestError("chunk", "every message after the first must hold a chunk")
    if not message.chunk:
        raise InvalidRequestError("chunk", "is empty: leave it out")
    if len(message.chunk) > MAX_CHUNK_BYTES:
        raise InvalidRequestError("chunk", f"has {len(message.chunk)} bytes; at most 1 MiB is allowed")
    return message.chunk


def _new_file(folder: Path) -> BinaryIO:
    try:
        # Unbuffered: closing it after a full disk must not try to write once more.
        return tempfile.TemporaryFile(dir=folder, buffering=0)
    except OSError as error:
        raise _storage_error(error) from error


def _write(media: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[media.write(rest) :]
    except OSError as error:
        raise _storage_error(error) from error


def _storage_error(error: OSError) -> Exception:
    if error.errno in DISK_FULL:
        return StorageFullError(
            "the server's disk is full, the upload was not taken; tell its operator, then try again"
        )
    return error
