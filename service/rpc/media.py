"""Inline media: bytes in a message to fingerprints."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from copyhound.v1 import fingerprint_pb2
from indexers.modality import Role
from service.errors import InvalidRequestError, MediaTooLargeError
from service.matcher import Matcher
from service.rpc.access import Caller
from service.rpc.uploads import Upload
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
        media = list(media)
        # A look at a content copies it, and the size of its message is that of all of it.
        if sum(item.ByteSize() for item in media) <= self.max_bytes:
            return
        size = sum(len(item.content) for item in media)
        if size > self.max_bytes:
            raise MediaTooLargeError(
                f"the media in one message may have {self.max_bytes} bytes, these have {size}; stream "
                "larger ones by UploadReference or MatchStream",
                max_inline_bytes=str(self.max_bytes),
            )

    async def take(self, item: fingerprint_pb2.Media, field: str, caller: Caller) -> Upload:
        """Put one item into a file, which the caller closes; the caller's quota pays for its bytes.

        Raises:
            InvalidRequestError: If it is empty.
        """
        content = item.content  # each look at the field copies it
        if not content:
            raise InvalidRequestError(f"{field}.content", "is empty: send the whole file")
        caller.charge(media_bytes=len(content))
        return await unblocked(len(content), lambda: _spooled(content))

    async def read(
        self,
        item: fingerprint_pb2.Media,
        role: Role,
        modality: str | None,
        field: str,
        caller: Caller,
    ) -> ReadMedia:
        """Fingerprint one item, with all that there is to say of it.

        Raises:
            InvalidRequestError: If it is empty.
            UnreadableMediaError: If it cannot be read.
        """
        upload = await self.take(item, field, caller)
        with upload.media:
            return upload.vouched(await self._matcher.read(upload.media, role, modality))


def _spooled(content: bytes) -> Upload:
    return Upload(spool(content), hashlib.sha256(content).digest(), len(content))
