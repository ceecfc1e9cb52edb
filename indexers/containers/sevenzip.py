"""7z files, unpacked by what Python itself holds: LZMA, LZMA2, DEFLATE, BZip2, filters, and stored data.

PPMd, Deflate64 and the filters for programs in front of LZMA are not: files that are packed so are left out.
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Final, Protocol

from indexers.containers.levels import MAX_ENTRY_BYTES, PASSWORD, TOO_MUCH, Entry
from indexers.containers.sevenzip_header import Block, Coder, Item, damaged, read
from indexers.containers.sniff import HEAD_BYTES
from indexers.errors import MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits

_CHUNK_BYTES = 256 * 1024
_MAX_DICTIONARY_BYTES: Final = 512 * 1024 * 1024
"""Of LZMA: it is memory. 7-Zip's largest setting by name takes 64 MiB to 256 MiB."""
_LEAST_DICTIONARY_BYTES = 4096

_LZMA, _LZMA2 = b"\3\1\1", b"\x21"
_FILTERS: Final[Mapping[bytes, int]] = {
    b"\3\3\1\3": lzma.FILTER_X86,
    b"\4": lzma.FILTER_X86,
    b"\3\3\2\5": lzma.FILTER_POWERPC,
    b"\5": lzma.FILTER_POWERPC,
    b"\3\3\4\1": lzma.FILTER_IA64,
    b"\6": lzma.FILTER_IA64,
    b"\3\3\5\1": lzma.FILTER_ARM,
    b"\7": lzma.FILTER_ARM,
    b"\3\3\7\1": lzma.FILTER_ARMTHUMB,
    b"\x08": lzma.FILTER_ARMTHUMB,
    b"\3\3\x08\5": lzma.FILTER_SPARC,
    b"\x09": lzma.FILTER_SPARC,
}
_DELTA = b"\3"
_STORED, _DEFLATE, _BZIP2 = b"\0", b"\4\1\x08", b"\4\2\2"
"""From 7-Zip's Methods.txt, in the public domain."""

UNUSUAL: Final = "packed in an unusual way"
"""Why an entry is left out."""


class _Decoder(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class SevenZipLevel:
    """A 7z file. What is packed together is unpacked from its beginning, so read entries in order."""

    def __init__(self, source: BinaryIO, kind: str, limits: MediaLimits) -> None:
        """Read the directory.

        Raises:
            DamagedMediaError: If there is none.
            MediaLimitError: If it lists too much, or unpacks to too much.
            UnsupportedMediaError: If even the names need a password.
        """
        del kind
        self._source = source
        self._blocks, items = read(source, _unpacked)
        if sum(block.byte_count for block in self._blocks) > limits.max_unpacked_bytes:
            raise MediaLimitError(f"the 7z unpacks to far more {TOO_MUCH}")
        self._items = [item for item in items if not item.folder]
        self.entries: Sequence[Entry] = [
            Entry(item.name, item.byte_count, self._refusal(item)) for item in self._items
        ]
        self._stream: tuple[int, _Stream] | None = None
        self._head: tuple[int, bytes] = (-1, b"")

    def _refusal(self, item: Item) -> str:
        if item.link:
            return "links"
        if item.byte_count > MAX_ENTRY_BYTES:
            return "too large"
        if item.block < 0:
            return ""
        block = self._blocks[item.block]
        if block.encrypted:
            return PASSWORD
        return "" if _decoder(block.coders) else UNUSUAL

    def head(self, number: int) -> bytes:
        """See `Level.head`."""
        if self._head[0] != number:
            self._head = number, self._read(number, HEAD_BYTES)
        return self._head[1]

    def content(self, number: int) -> bytes:
        """See `Level.content`."""
        head = self._head[1] if self._head[0] == number else b""
        content = head + self._read(number, MAX_ENTRY_BYTES, len(head))
        item = self._items[number]
        if item.crc is not None and zlib.crc32(content) != item.crc:
            raise damaged("a part is not what was packed")
        return content

    def open(self, number: int) -> BinaryIO:
        """See `Level.open`."""
        return io.BytesIO(self.content(number))

    def _read(self, number: int, most: int, skip: int = 0) -> bytes:
        item = self._items[number]
        if item.block < 0:
            return b""
        place = item.offset + skip
        if self._stream is None or self._stream[0] != item.block or self._stream[1].place > place:
            self._stream = None  # one at a time in memory
            self._stream = item.block, _Stream(self._source, self._blocks[item.block])
        stream = self._stream[1]
        stream.pass_to(place)
        return stream.read(min(most, item.byte_count) - skip)


class _Stream:
    """What a block unpacks to, from its beginning on.

    Attributes:
        place: How much of it was read.
    """

    def __init__(self, source: BinaryIO, block: Block) -> None:
        decoder = _decoder(block.coders)
        if decoder is None:
            raise UnsupportedMediaError(f"the 7z is {UNUSUAL}: pack it again as ZIP")
        self._source = source
        self._at = block.start
        self._left = block.packed_bytes
        self._decoder = decoder()
        self.place = 0

    def pass_to(self, place: int) -> None:
        """Leave out what comes before a place."""
        while self.place < place:
            self._some(min(_CHUNK_BYTES, place - self.place))

    def read(self, count: int) -> bytes:
        """The next so many bytes."""
        pieces = bytearray()
        while len(pieces) < count:
            pieces += self._some(min(_CHUNK_BYTES, count - len(pieces)))
        return bytes(pieces)

    def _some(self, most: int) -> bytes:
        """Some of what comes next."""
        try:
            while True:
                piece = self._decoder.decompress(b"", most)
                if piece:
                    break
                self._source.seek(self._at)
                packed = self._source.read(min(_CHUNK_BYTES, self._left))
                if not packed:
                    raise damaged("a part ends early")
                self._at += len(packed)
                self._left -= len(packed)
                piece = self._decoder.decompress(packed, most)
                if piece:
                    break
        except (lzma.LZMAError, zlib.error, EOFError, OSError, ValueError) as error:
            raise damaged(str(error)) from error
        self.place += len(piece)
        return piece


def _unpacked(source: BinaryIO, block: Block, most: int) -> bytes:
    return _Stream(source, block).read(min(most, block.byte_count))


class _Stored:
    """Data that are not packed, as if they were."""

    def __init__(self) -> None:
        self._waiting = b""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """The next bytes."""
        waiting = self._waiting + data
        self._waiting = waiting[max_length:]
        return waiting[:max_length]


class _Inflated:
    """DEFLATE, asked as the others are."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """The next bytes."""
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def _decoder(coders: Sequence[Coder]) -> Callable[[], _Decoder] | None:
    """What makes a decoder of a block; None: there is none."""
    if not coders:
        return None
    first, *filters = coders
    alone: Mapping[bytes, Callable[[], _Decoder]] = {
        _STORED: _Stored,
        _DEFLATE: _Inflated,
        _BZIP2: bz2.BZ2Decompressor,
    }
    if not filters and first.method in alone:
        return alone[first.method]
    chain = _lzma(first, filtered=any(one.method in _FILTERS for one in filters))
    if chain is None:
        return None
    for one in filters:
        if one.method == _DELTA and len(one.properties) == 1:
            chain.insert(0, {"id": lzma.FILTER_DELTA, "dist": one.properties[0] + 1})
        elif one.method in _FILTERS and not one.properties:
            chain.insert(0, {"id": _FILTERS[one.method]})
        else:
            return None
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)


def _lzma(coder: Coder, *, filtered: bool) -> list[dict[str, Any]] | None:
    """Settings of LZMA or LZMA2; None: they are not understood, or it is neither.

    Before a filter for programs, LZMA does not tell the filter where the data end, as LZMA2 does: their last
    bytes would be missing.
    """
    properties = coder.properties
    settings: dict[str, Any]
    if coder.method == _LZMA2 and len(properties) == 1 and properties[0] <= 40:
        bits = properties[0]
        dictionary = (2 | bits & 1) << (bits // 2 + 11)
        settings = {"id": lzma.FILTER_LZMA2}
    elif coder.method == _LZMA and len(properties) == 5 and not filtered:
        rest, lc = divmod(properties[0], 9)
        pb, lp = divmod(rest, 5)
        dictionary = int.from_bytes(properties[1:], "little")
        settings = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb}
        if pb > 4 or lc + lp > 4:
            return None
    else:
        return None
    # Nothing can be taken up again from before the beginning.
    dictionary = max(_LEAST_DICTIONARY_BYTES, min(dictionary, coder.byte_count))
    if dictionary > _MAX_DICTIONARY_BYTES:
        return None
    return [{**settings, "dict_size": dictionary}]
