"""What the service vouches for itself, whatever a worker says."""

import hashlib
from dataclasses import replace
from typing import BinaryIO

from service.sandbox.wire import ReadMedia


def digest_of(media: BinaryIO) -> tuple[bytes, int]:
    """SHA-256 and size of a file, which is at its beginning before and after. Blocking."""
    sha256 = hashlib.file_digest(media, "sha256").digest()  # type: ignore[arg-type] # any binary file is one
    size = media.tell()
    media.seek(0)
    return sha256, size


def vouched(read: ReadMedia, sha256: bytes, byte_count: int) -> ReadMedia:
    """What a worker found, with the digest and size that the service itself took.

    The worker has read the file, which may have taken it over: what can be known without it, is.
    """
    return replace(read, sha256=sha256, byte_count=byte_count)
