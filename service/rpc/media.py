"""Inline media: bytes in a message to fingerprints."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import BinaryIO, TypeVar

from copyhound.v1 import fingerprint_pb2
from indexers.modality import Role
from service.errors import InvalidRequestError, MediaTooLargeError
from service.matcher import Matcher
from service.rpc.access import Caller
from service.sandbox import ReadMedia, spool

T = TypeVar("T")

_LARGE_BYTES = 1024 * 1024


async def unblocked(size: int, work: Callable[[], T]) -> T:
    """Do work on `size` bytes: much of it in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(work) if size > _LARGE_BYTES else work()


class MediaReader:
    """Reads media that came inside a message."""

    def __init__(self, matcher: Matcher, max_bytes: int) -> None:
        """Read by `matcher`, at most `max_bytes` in one message."""
        self._matcher = matcher
        self.max_bytes = max_bytes

    def check_size(self, media: Iterable[fingerprint_pb2.Media]) -> None:
        """Check the size of all media of a message together.

        Raises:
            MediaTooLargeError: If they have more bytes than allowed.
        """
        size = sum(len(item.content) for item in media)
        if size > self.max_bytes:
            raise MediaTooLargeError(
                f"the media in one message may have {self.max_bytes} bytes, these have {size}; stream "
                "larger ones by UploadReference or MatchStream",
                max_inline_bytes=str(self.max_bytes),
            )

    async def read(
        self,
        item: fingerprint_pb2.Media,
        role: Role,
        modality: str | None,
        field: str,
        caller: Caller,
    ) -> ReadMedia:
        """Fingerprint one item; the caller's quota pays for its bytes.

        Raises:
            InvalidRequestError: If it is empty.
            UnreadableMediaError: If it cannot be read.
        """
        content = item.content  # each look at the field copies it
        if not content:
            raise InvalidRequestError(f"{field}.content", "is empty: send the whole file")
        caller.charge(media_bytes=len(content))
        sha256, file = await unblocked(len(content), lambda: _prepare(content))
        with file:
            read = await self._matcher.read(file, role, modality)
        # The worker has read the file, which may have taken it over: what can be known without it, is.
        return replace(read, sha256=sha256, byte_count=len(content))


def _prepare(content: bytes) -> tuple[bytes, BinaryIO]:
    """The content's SHA-256, and a file that holds it."""
    return hashlib.sha256(content).digest(), spool(content)
