"""What a 7z file lists: its blocks of packed data, and the files in each.

After Igor Pavlov's 7zFormat.txt, which is in the public domain. A *folder* in its words is a block here: one
stream, packed as a whole, that unpacks to one file after another.
"""

import stat
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError

MAGIC: Final = b"7z\xbc\xaf\x27\x1c"
"""What a file begins with."""

AES: Final = bytes.fromhex("06f10701")
"""A coder that needs a password."""

_START_BYTES = 32
_MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
_MAX_FILES = 65_535
_MAX_CODERS = 32
"""As 7-Zip has it."""
_MAX_HEADERS = 4
"""Packed headers that unpack to packed headers."""

_END, _HEADER, _MAIN_STREAMS, _FILES, _PACKED, _UNPACKED, _WITHIN, _SIZES, _DIGESTS = (
    0,
    1,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
)
_BLOCKS, _BLOCK_SIZES, _FILES_OF_BLOCK, _WITHOUT_STREAM, _NO_FOLDER = 11, 12, 13, 14, 15
_NAMES, _ATTRIBUTES, _PACKED_HEADER = 17, 21, 23
_UNIX_EXTENSION = 0x8000
_REPARSE_POINT = 0x400


@dataclass(frozen=True, slots=True)
class Coder:
    """How a block is packed; several follow each other.

    Attributes:
        method: Its number, as bytes.
        properties: Its settings.
        byte_count: That it unpacks to.
    """

    method: bytes
    properties: bytes
    byte_count: int


@dataclass(frozen=True, slots=True)
class Block:
    """Packed data.

    Attributes:
        start: Where they begin in the file.
        packed_bytes: How many they are.
        coders: In the order in which they unpack; empty: the data are of several streams, which is unusual.
        encrypted: Whether a password is needed.
        byte_count: That they unpack to.
    """

    start: int
    packed_bytes: int
    coders: Sequence[Coder]
    encrypted: bool
    byte_count: int


@dataclass(frozen=True, slots=True)
class Item:
    """A file.

    Attributes:
        name: As the archive has it.
        byte_count: Unpacked.
        block: Number of the block that it is in; -1: it is empty.
        offset: Where it begins in what the block unpacks to.
        crc: Its CRC-32, where it is told.
        folder: Whether it is none but a folder.
        link: Whether it is a link.
    """

    name: str
    byte_count: int
    block: int
    offset: int
    crc: int | None
    folder: bool
    link: bool


def read(
    source: BinaryIO, unpack: Callable[[BinaryIO, Block, int], bytes]
) -> tuple[Sequence[Block], Sequence[Item]]:
    """Return the blocks and the files.

    Args:
        source: The archive.
        unpack: Unpacks a block of it to at most so many bytes: the directory may be packed.

    Raises:
        DamagedMediaError: If it is broken.
        MediaLimitError: If it lists too much.
        UnsupportedMediaError: If even the names need a password, or it is packed in an unusual way.
    """
    source.seek(0)
    start = source.read(_START_BYTES)
    size = source.seek(0, 2)
    if len(start) < _START_BYTES or not start.startswith(MAGIC):
        raise damaged("it has no beginning")
    crc, offset, length, header_crc = struct.unpack("<IQQI", start[8:])
    if zlib.crc32(start[12:]) != crc or offset + length > size - _START_BYTES:
        raise damaged("its directory is missing")
    if not length:
        return (), ()
    _check_size(length)
    source.seek(_START_BYTES + offset)
    header = source.read(length)
    for _ in range(_MAX_HEADERS):
        if zlib.crc32(header) != header_crc:
            raise damaged("its directory is broken")
        cursor = _Cursor(header)
        kind = cursor.byte()
        if kind == _HEADER:
            return _directory(cursor)
        if kind != _PACKED_HEADER:
            break
        blocks, items = _streams(cursor)
        if len(blocks) != 1 or items[0].crc is None:
            break
        if blocks[0].encrypted:
            raise UnsupportedMediaError("the 7z is protected by a password: save it without one")
        _check_size(blocks[0].byte_count)
        header, header_crc = unpack(source, blocks[0], _MAX_HEADER_BYTES), items[0].crc
    raise damaged("its directory is broken")


def damaged(why: str) -> DamagedMediaError:
    """Make the error for a broken archive."""
    return DamagedMediaError(
        f"the 7z is damaged or cut off ({why}): send the whole file, or pack it again as ZIP"
    )


def _check_size(byte_count: int) -> None:
    if byte_count > _MAX_HEADER_BYTES:
        raise MediaLimitError(f"the 7z has more than {_MAX_FILES} parts, or is huge: send it in smaller ones")


class _Cursor:
    """Goes through the bytes of a directory. Whatever is read takes a byte at least, so all loops end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise damaged("its directory ends early")
        self._at += count
        return piece

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """A number of one to nine bytes: the first one's leading bits tell how many follow."""
        first = self.byte()
        more = 0
        while more < 8 and first & (0x80 >> more):
            more += 1
        low = int.from_bytes(self.take(more), "little")
        high = first & ((0x80 >> more) - 1) if more < 8 else 0
        return low | high << (8 * more)

    def count(self, most: int) -> int:
        """A number that tells how much of something follows."""
        count = self.number()
        if count > most:
            raise MediaLimitError(
                f"the 7z has more than {_MAX_FILES} parts, or is huge: send it in smaller ones"
            )
        return count

    def bits(self, count: int) -> list[bool]:
        """Yes or no so many times."""
        packed = self.take((count + 7) // 8)
        return [bool(packed[place // 8] & (0x80 >> place % 8)) for place in range(count)]

    def bits_unless_all(self, count: int) -> list[bool]:
        """The same, or one byte that says yes for all."""
        return [True] * count if self.byte() else self.bits(count)

    def expect(self, kind: int) -> None:
        """Pass over a mark."""
        if self.byte() != kind:
            raise damaged("its directory is broken")

    def skip(self, kind: int, until: int) -> None:
        """Pass over properties that do not matter, up to one of a kind that does, and over its mark."""
        while kind != until:
            if kind == _END:
                raise damaged("its directory is broken")
            self.take(self.number())
            kind = self.byte()

    def digests(self, count: int) -> list[int | None]:
        """CRC-32 of some, where they are told."""
        return [
            int.from_bytes(self.take(4), "little") if told else None for told in self.bits_unless_all(count)
        ]


def _directory(cursor: _Cursor) -> tuple[Sequence[Block], Sequence[Item]]:
    kind = cursor.byte()
    blocks: Sequence[Block] = ()
    streams: Sequence[Item] = ()
    if kind != _FILES:
        cursor.skip(kind, _MAIN_STREAMS)
        blocks, streams = _streams(cursor)
        kind = cursor.byte()
    if kind == _END:
        return blocks, ()
    if kind != _FILES:
        raise damaged("its directory is broken")
    return blocks, _files(cursor, streams)


def _streams(cursor: _Cursor) -> tuple[Sequence[Block], Sequence[Item]]:
    """The blocks, and the streams that they unpack to, as files without names."""
    cursor.expect(_PACKED)
    start = _START_BYTES + cursor.number()
    sizes: list[int] = [0] * cursor.count(_MAX_FILES)
    while (kind := cursor.byte()) != _END:
        if kind == _SIZES:
            sizes = [cursor.number() for _ in sizes]
        elif kind == _DIGESTS:
            cursor.digests(len(sizes))
        else:
            raise damaged("its directory is broken")
    cursor.expect(_UNPACKED)
    cursor.expect(_BLOCKS)
    count = cursor.count(_MAX_FILES)
    cursor.expect(0)  # no other place
    shapes = [_shape(cursor) for _ in range(count)]
    cursor.expect(_BLOCK_SIZES)
    blocks = []
    for shape in shapes:
        unpacked = [cursor.number() for _ in shape.coders]
        packed = sizes[: shape.packed]
        if len(packed) < shape.packed:
            raise damaged("its directory is broken")
        blocks.append(shape.block(start, packed, unpacked))
        del sizes[: shape.packed]
        start += sum(packed)
    crcs: list[int | None] = [None] * count
    while (kind := cursor.byte()) != _END:
        if kind != _DIGESTS:
            raise damaged("its directory is broken")
        crcs = cursor.digests(count)
    return blocks, _within(cursor, blocks, crcs)


def _within(cursor: _Cursor, blocks: Sequence[Block], crcs: Sequence[int | None]) -> Sequence[Item]:
    """What the blocks unpack to: one stream each, unless it is told otherwise."""
    counts = [1] * len(blocks)
    lengths = [[block.byte_count] for block in blocks]
    told: list[list[int | None]] = [[crc] for crc in crcs]
    kind = cursor.byte()
    if kind == _WITHIN:
        kind = cursor.byte()
        if kind == _FILES_OF_BLOCK:
            counts = [cursor.count(_MAX_FILES) for _ in blocks]
            kind = cursor.byte()
        if sum(counts) > _MAX_FILES:
            raise MediaLimitError(
                f"the 7z has more than {_MAX_FILES} parts, or is huge: send it in smaller ones"
            )
        lengths = _lengths(cursor, blocks, counts, told=kind == _SIZES)
        if kind == _SIZES:
            kind = cursor.byte()
        unknown = [count for count, crc in zip(counts, crcs, strict=True) if count != 1 or crc is None]
        found: list[int | None] = [None] * sum(unknown)
        while kind != _END:
            if kind != _DIGESTS:
                raise damaged("its directory is broken")
            found = cursor.digests(len(found))
            kind = cursor.byte()
        rest = iter(found)
        told = [
            [crc] if count == 1 and crc is not None else [next(rest) for _ in range(count)]
            for count, crc in zip(counts, crcs, strict=True)
        ]
        kind = cursor.byte()
    if kind != _END:
        raise damaged("its directory is broken")
    return _in_order(lengths, told)


def _lengths(
    cursor: _Cursor, blocks: Sequence[Block], counts: Sequence[int], *, told: bool
) -> list[list[int]]:
    """Of the streams of each block: all but the last are told, if any are."""
    lengths = []
    for block, count in zip(blocks, counts, strict=True):
        first = [cursor.number() if told else 0 for _ in range(count - 1)]
        if sum(first) > block.byte_count:
            raise damaged("its directory is broken")
        lengths.append([*first, block.byte_count - sum(first)] if count else [])
    return lengths


def _in_order(lengths: Sequence[Sequence[int]], told: Sequence[Sequence[int | None]]) -> list[Item]:
    items = []
    for number, (parts, of_block) in enumerate(zip(lengths, told, strict=True)):
        offset = 0
        for length, crc in zip(parts, of_block, strict=True):
            items.append(Item("", length, number, offset, crc, folder=False, link=False))
            offset += length
    return items


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the coders of a block hang together.

    Attributes:
        coders: Their methods and properties.
        order: The coders one after another, the first unpacks first; empty: they are no chain.
        last: The coder that nothing else feeds on.
        packed: Streams that go in.
    """

    coders: Sequence[tuple[bytes, bytes]]
    order: Sequence[int]
    last: int
    packed: int

    def block(self, start: int, packed: Sequence[int], unpacked: Sequence[int]) -> Block:
        """The block, once sizes are known."""
        chain = [Coder(*self.coders[place], unpacked[place]) for place in self.order]
        encrypted = any(method == AES for method, _ in self.coders)
        return Block(start, sum(packed), chain, encrypted, unpacked[self.last])


def _shape(cursor: _Cursor) -> _Shape:
    coders = []
    streams_in = streams_out = 0
    for _ in range(cursor.count(_MAX_CODERS) or 1):
        flags = cursor.byte()
        method = cursor.take(flags & 0xF)
        ins, outs = (cursor.count(_MAX_CODERS), cursor.count(_MAX_CODERS)) if flags & 0x10 else (1, 1)
        properties = cursor.take(cursor.number()) if flags & 0x20 else b""
        if flags & 0x80 or outs != 1:
            raise UnsupportedMediaError("the 7z is packed in an unusual way: pack it again as ZIP")
        coders.append((method, properties))
        streams_in += ins
        streams_out += 1
    feeds = {}
    for _ in range(streams_out - 1):
        fed = cursor.number()
        feeds[cursor.number()] = fed
    packed = streams_in - (streams_out - 1)
    if packed > 1:
        for _ in range(packed):
            cursor.number()
    last = next((place for place in range(len(coders)) if place not in feeds), 0)
    return _Shape(coders, _order(feeds, len(coders)) if packed == 1 else (), last, packed)


def _order(feeds: dict[int, int], count: int) -> Sequence[int]:
    """The coders of a chain in the order in which they unpack, by what each feeds; empty: it is none."""
    first = set(range(count)) - set(feeds.values())
    order = list(first) if len(first) == 1 else []
    while order and order[-1] in feeds and len(order) <= count:
        order.append(feeds[order[-1]])
    return order if len(order) == count and set(order) == set(range(count)) else ()


def _files(cursor: _Cursor, streams: Sequence[Item]) -> Sequence[Item]:
    count = cursor.count(_MAX_FILES)
    names = [""] * count
    empty = [False] * count
    files: list[bool] = []  # of the empty ones
    modes: list[int] = [0] * count
    while (kind := cursor.byte()) != _END:
        property_ = _Cursor(cursor.take(cursor.number()))
        if kind == _NAMES:
            names = _names(property_, count)
        elif kind == _WITHOUT_STREAM:
            empty = property_.bits(count)
        elif kind == _NO_FOLDER:
            files = property_.bits(sum(empty))
        elif kind == _ATTRIBUTES:
            told = property_.bits_unless_all(count)
            property_.expect(0)
            modes = [int.from_bytes(property_.take(4), "little") if one else 0 for one in told]
    items = []
    rest, flags = iter(streams), iter(files)
    for name, nothing, mode in zip(names, empty, modes, strict=True):
        link = bool(mode & _REPARSE_POINT) or (bool(mode & _UNIX_EXTENSION) and stat.S_ISLNK(mode >> 16))
        if nothing:
            items.append(Item(name, 0, -1, 0, None, folder=not next(flags, False), link=link))
            continue
        held = next(rest, None)
        if held is None:
            raise damaged("its directory lists more files than it holds")
        items.append(Item(name, held.byte_count, held.block, held.offset, held.crc, folder=False, link=link))
    return items


def _names(cursor: _Cursor, count: int) -> list[str]:
    cursor.expect(0)  # no other place
    names = []
    for _ in range(count):
        units = bytearray()
        while (unit := cursor.take(2)) != b"\0\0":
            units += unit
        names.append(units.decode("utf-16-le", "replace"))
    return names
