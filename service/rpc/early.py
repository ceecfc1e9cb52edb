"""Answers to uploads that are still under way: from their beginning, where that settles what to do."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import BinaryIO, Final

from service.domain import MatchReport
from service.sandbox import spool

_AT: Final = (1 << 20, 4 << 20, 16 << 20)
"""Bytes after which the beginning is asked about; what they do not settle is answered when all is there."""
_BOX_HEADER: Final = 8
_STARTS: Final = (
    b"ID3",
    b"OggS",
    b"fLaC",
    b"RIFF",
    b"RF64",
    b"FORM",
    b".snd",
    b"#!AMR",
    b"\x1aE\xdf\xa3",
    b"FLV",
)
_TS_PACKET: Final = 188

Ask = Callable[[BinaryIO], Awaitable[MatchReport | None]]
"""The answer for the beginning of a media item; None: what follows may change it."""


class EarlyAnswer:
    """Asks about what has arrived of one upload. Belongs to one event loop."""

    def __init__(self, ask: Ask) -> None:
        """Begin; `ask` is given a file with the beginning, once at a time."""
        self._ask = ask
        self._left = list(_AT)
        self._asking: asyncio.Task[None] | None = None
        self.found: asyncio.Future[MatchReport] = asyncio.get_running_loop().create_future()
        """Done once there is an answer; it may never be."""

    def arrived(self, media: BinaryIO, size: int) -> None:
        """Note that a file has `size` bytes now; ask about them if that is enough and nothing is asked."""
        if not self._left or size < self._left[0] or (self._asking and not self._asking.done()):
            return
        self._left = [one for one in self._left if one > size]
        beginning = os.pread(media.fileno(), size, 0)
        if readable_from_the_start(beginning):
            self._asking = asyncio.create_task(self._look(spool(beginning)))
        else:
            self._left = []

    async def _look(self, media: BinaryIO) -> None:
        with media:
            answer = await self._ask(media)
        if answer is not None:
            self.found.set_result(answer)

    async def stop(self) -> None:
        """Ask no more; what is being asked is given up."""
        self._left = []
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


def readable_from_the_start(beginning: bytes) -> bool:
    """Tell whether a file's sound or film can be decoded without its end, by what its format is.

    Args:
        beginning: Its first bytes, as many as are there.
    """
    if beginning.startswith(_STARTS) or beginning[:1] == beginning[_TS_PACKET : _TS_PACKET + 1] == b"G":
        return True
    if beginning[:1] == b"\xff" and beginning[1:2] >= b"\xe0":  # frames of MP3 or AAC
        return True
    return beginning[4:8] == b"ftyp" and _index_first(beginning)


def _index_first(beginning: bytes) -> bool:
    """Whether an ISO base media file has its index (``moov``) before its media."""
    at = 0
    while at + _BOX_HEADER <= len(beginning):
        length, kind = int.from_bytes(beginning[at : at + 4], "big"), beginning[at + 4 : at + 8]
        if kind == b"moov":
            return at + length <= len(beginning)
        if kind == b"mdat" or length < _BOX_HEADER:  # media, or a length that is given otherwise
            return False
        at += length
    return False
