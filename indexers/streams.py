"""Large entries of files as files of their own, of which no more is in memory than is looked at."""

import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from indexers.errors import MediaError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK_BYTES = 256 * 1024
_APART_BYTES: Final = 8 * 1024 * 1024
"""Between two places from which inflating can go on: zlib keeps 40 kB for each."""


def window(source: BinaryIO, start: int, size: int) -> BinaryIO:
    """A stretch of a file."""
    return _buffered(_Window(source, start, size))


def own_place(source: BinaryIO) -> BinaryIO:
    """All of a file, read at a place of its own, so that several can read it by turns."""
    return window(source, 0, source.seek(0, io.SEEK_END))


def inflated(packed: BinaryIO, size: int, damaged: Callable[[str], MediaError]) -> BinaryIO:
    """What DEFLATE packed, from any place on.

    To look at a place, all before it has to be unpacked once. Later it is some megabytes at most.

    Args:
        packed: The packed data; read by this alone.
        size: Of what it unpacks to, as the container says; more is never read.
        damaged: Makes the error for data that cannot be unpacked.
    """
    return _buffered(_Inflated(packed, size, damaged))


def _buffered(raw: io.RawIOBase) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(raw, _CHUNK_BYTES))


class _Stretch(io.RawIOBase):
    """Something of a known size that can be read from any place on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; return where to."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill a buffer, as far as the next bytes are at hand."""
        room = memoryview(buffer).cast("B")
        most = min(len(room), self._size - self._at)
        if most <= 0:
            return 0
        piece = self._piece(self._at, most)
        room[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _piece(self, place: int, most: int) -> bytes:
        raise NotImplementedError


class _Window(_Stretch):
    def __init__(self, source: BinaryIO, start: int, size: int) -> None:
        super().__init__(size)
        self._source = source
        self._start = start

    def _piece(self, place: int, most: int) -> bytes:
        self._source.seek(self._start + place)
        return self._source.read(most)


class _Inflated(_Stretch):
    def __init__(self, packed: BinaryIO, size: int, damaged: Callable[[str], MediaError]) -> None:
        super().__init__(size)
        self._packed = packed
        self._damaged = damaged
        self._kept = [(0, 0, zlib.decompressobj(-zlib.MAX_WBITS))]
        """Places, how many packed bytes were taken up before each, and what goes on from there."""
        self._go_on(0)

    def _go_on(self, number: int) -> None:
        """Take up one of those that were kept."""
        self._place, self._taken, kept = self._kept[number]
        self._inflate = kept.copy()

    def _piece(self, place: int, most: int) -> bytes:
        last = max(number for number, kept in enumerate(self._kept) if kept[0] <= place)
        if not self._kept[last][0] <= self._place <= place:
            self._go_on(last)
        while self._place < place:
            self._next(min(_CHUNK_BYTES, place - self._place))
        return self._next(most)

    def _next(self, most: int) -> bytes:
        """Some bytes of what comes next, one at least."""
        piece = b""
        while not piece:
            self._packed.seek(self._taken)
            chunk = self._packed.read(_CHUNK_BYTES)
            try:
                piece = b"" if self._inflate.eof else self._inflate.decompress(chunk, most)
            except zlib.error as error:
                raise self._damaged(str(error)) from error
            if not piece and (self._inflate.eof or not chunk):
                raise self._damaged("it ends early")
            self._taken += len(chunk) - len(self._inflate.unconsumed_tail)
        self._place += len(piece)
        if self._place >= self._kept[-1][0] + _APART_BYTES:
            self._kept.append((self._place, self._taken, self._inflate.copy()))
        return piece
