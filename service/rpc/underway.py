"""Uploads that are under way, so that those who wait can be told how far they have come."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from service.errors import NotFoundError
from service.rpc.access import Caller
from service.sandbox import Reading


@dataclass(slots=True)
class UnderWay:
    """An upload that is under way.

    Attributes:
        byte_count: How much of the file has arrived.
        reading: How much of it was read since it arrived.
    """

    byte_count: int = 0
    reading: Reading = field(default_factory=Reading)

    def arrived(self, _media: BinaryIO, size: int) -> None:
        """Take note of how much is there."""
        self.byte_count = size


class UploadsUnderWay:
    """Knows them by their callers' request ids. For one event loop."""

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[tuple[str, str], UnderWay] = {}

    @contextmanager
    def begun(self, caller: Caller, request_id: str) -> Iterator[UnderWay]:
        """Know an upload until it ends; where it has no request id, nobody can ask about it."""
        upload = UnderWay()
        if not request_id:
            yield upload
            return
        key = (caller.id, request_id)
        self._known[key] = upload
        try:
            yield upload
        finally:
            if self._known.get(key) is upload:  # the same may have been sent once more
                del self._known[key]

    def find(self, caller: Caller, request_id: str) -> UnderWay:
        """The caller's upload with this request id.

        Raises:
            NotFoundError: If none is under way.
        """
        found = self._known.get((caller.id, request_id))
        if found is None:
            raise NotFoundError(
                "no upload with this request id is under way here: it has not begun, or has ended"
            )
        return found
