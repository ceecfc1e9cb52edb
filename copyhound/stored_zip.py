"""Zip archives whose files are stored as they are: written as a stream, read strictly.

What is written depends on names and contents alone: no times, no compression. What is read must have been
written this way. There is then one reading of an archive, the same for every program: nothing lies between
or behind the files, no name comes twice or leads out of a folder, and a file takes the room that it says.

The format is that of PKWARE's APPNOTE.TXT 6.3.10, with ZIP64 where a number needs it.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

MAX_FILES: Final = 10_000
"""Most files of an archive."""
MAX_DIRECTORY: Final = 4 * 1024 * 1024
"""Most bytes of its directory."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*", re.ASCII)
_PART: Final = 128
_MAX32: Final = 0xFFFFFFFF
_MAX16: Final = 0xFFFF
_FIRST_OF_1980: Final = 0x21
_REGULAR_FILE: Final = 0o100644 << 16
_UNIX: Final = 3 << 8
_PLAIN: Final = 10
_ZIP64: Final = 45

_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END64: Final = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR: Final = struct.Struct("<4sIQI")
_END: Final = struct.Struct("<4sHHHHIIH")


class ArchiveError(Exception):
    """The archive is damaged, or was not written by `write`."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file to be written.

    Attributes:
        name: Parts of letters, digits, ``_``, ``-`` and single dots, with ``/`` between them.
        size: Its bytes.
        crc32: Their CRC-32.
        pieces: Gives the bytes, in pieces.
    """

    name: str
    size: int
    crc32: int
    pieces: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, name: str, content: bytes) -> "Member":
        """A file whose bytes are at hand."""
        return cls(name, len(content), zlib.crc32(content), lambda: iter((content,)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file lies in an archive.

    Attributes:
        offset: Its first byte.
        size: Its bytes.
    """

    offset: int
    size: int


def is_name(name: str) -> bool:
    """Whether an archive may hold a file of this name."""
    return (
        all(len(part) <= _PART and _NAME.fullmatch(part) for part in name.split("/")) and name.count("/") < 4
    )


def size_of(members: Iterable[Member]) -> int:
    """Bytes of the archive that `write` makes of them."""
    offset, directory, count = 0, 0, 0
    for member in members:
        directory += len(_central(member, offset))
        offset += len(_local(member)) + member.size
        count += 1
    return offset + directory + len(_end(count, directory, offset))


def write(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield an archive of the files, in their order.

    Raises:
        ValueError: If a name cannot be stored, or comes twice.
        ArchiveError: If the bytes of a file are not those that were announced.
    """
    offset = 0
    directory: list[bytes] = []
    names: set[str] = set()
    for member in members:
        if not is_name(member.name) or member.name in names:
            raise ValueError(f"{member.name!r} cannot be the name of another file of an archive")
        names.add(member.name)
        directory.append(_central(member, offset))
        head = _local(member)
        yield head
        size, crc = 0, 0
        for piece in member.pieces():
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            if size > member.size:
                break
            yield piece
        if (size, crc) != (member.size, member.crc32):
            raise ArchiveError(f"{member.name} changed while it was written")
        offset += len(head) + size
    central = b"".join(directory)
    yield central
    yield _end(len(directory), len(central), offset)


def read(file: BinaryIO) -> dict[str, Place]:
    """Where the files of an archive lie, by name, in their order.

    Raises:
        ArchiveError: If it is damaged, or was not written by `write`.
    """
    try:
        return _read(file)
    except (struct.error, UnicodeDecodeError) as error:
        raise ArchiveError("the archive is damaged: its directory cannot be read") from error


class Window(io.RawIOBase):
    """A part of a file that reads as a file of its own. For one user of the file at a time."""

    def __init__(self, file: BinaryIO, place: Place) -> None:
        """Show `place` of a file, which stays open."""
        super().__init__()
        self._file = file
        self._place = place
        self._at = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to another byte, as files do."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._place.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read what fits into a writable buffer, as files do."""
        view = memoryview(buffer)
        length = max(0, min(len(view), self._place.size - self._at))
        self._file.seek(self._place.offset + self._at)
        piece = self._file.read(length)
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def window(file: BinaryIO, place: Place) -> BinaryIO:
    """A file of the archive, as a file of its own, buffered."""
    return cast(BinaryIO, io.BufferedReader(Window(file, place)))


def _wide(*numbers: int) -> bytes:
    """The ZIP64 field of numbers that do not fit."""
    large = [number for number in numbers if number >= _MAX32]
    return struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""


def _local(member: Member) -> bytes:
    name = member.name.encode("ascii")
    extra = _wide(member.size, member.size)
    size = min(member.size, _MAX32)
    needed = _ZIP64 if extra else _PLAIN
    head = _LOCAL.pack(
        b"PK\3\4", needed, 0, 0, 0, _FIRST_OF_1980, member.crc32, size, size, len(name), len(extra)
    )
    return head + name + extra


def _central(member: Member, offset: int) -> bytes:
    name = member.name.encode("ascii")
    extra = _wide(member.size, member.size, offset)
    size = min(member.size, _MAX32)
    needed = _ZIP64 if extra else _PLAIN
    head = _CENTRAL.pack(
        *(b"PK\1\2", _UNIX | needed, needed, 0, 0, 0, _FIRST_OF_1980, member.crc32, size, size),
        *(len(name), len(extra), 0, 0, 0, _REGULAR_FILE, min(offset, _MAX32)),
    )
    return head + name + extra


def _end(count: int, directory: int, offset: int) -> bytes:
    wide = b""
    if count >= _MAX16 or offset >= _MAX32 or directory >= _MAX32:
        wide = _END64.pack(
            b"PK\6\6", _END64.size - 12, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count, directory, offset
        )
        wide += _LOCATOR.pack(b"PK\6\7", 0, offset + directory, 1)
    small, last = min(count, _MAX16), min(offset, _MAX32)
    return wide + _END.pack(b"PK\5\6", 0, 0, small, small, min(directory, _MAX32), last, 0)


def _read(file: BinaryIO) -> dict[str, Place]:
    total = file.seek(0, io.SEEK_END)
    if _at(file, 0, 4) != b"PK\3\4":
        raise ArchiveError("this is no archive that was written here: it does not begin with a file")
    if _at(file, total - _END.size, 4) != b"PK\5\6":
        raise ArchiveError("the archive was cut off, or something follows it")
    *_, count, length, offset, _ = _END.unpack(_at(file, total - _END.size, _END.size))
    wide = total - _END.size - _LOCATOR.size - _END64.size
    if wide > 0 and _at(file, wide, 4) == b"PK\6\6":
        *_, count, length, offset = _END64.unpack(_at(file, wide, _END64.size))
    if count > MAX_FILES or length > MAX_DIRECTORY:
        raise ArchiveError(f"the archive is larger than any: at most {MAX_FILES:,} files are taken")
    if offset + length + len(_end(count, length, offset)) != total:
        raise ArchiveError("the archive is damaged, or something lies between its parts")
    if _at(file, offset + length, total - offset - length) != _end(count, length, offset):
        raise ArchiveError("the archive is damaged: its end was written by another program")
    return _places(file, _at(file, offset, length), count, offset)


def _places(file: BinaryIO, directory: bytes, count: int, end: int) -> dict[str, Place]:
    found: dict[str, Place] = {}
    at, start = 0, 0
    for _ in range(count):
        _, _, _, _, method, _, _, crc, packed, size, name_length, extra_length, *_ = _CENTRAL.unpack_from(
            directory, at
        )
        name_at = at + _CENTRAL.size
        name = directory[name_at : name_at + name_length].decode("ascii")
        extra = directory[name_at + name_length : name_at + name_length + extra_length]
        if method or packed != size:
            raise ArchiveError(f"{name!a} is packed: files are stored as they are")
        if not is_name(name):
            raise ArchiveError(f"{name!a} is no name of a file here")
        if name in found:
            raise ArchiveError(f"{name} is there twice")
        if size == _MAX32 and len(extra) >= 12:
            (size,) = struct.unpack_from("<Q", extra, 4)
        member = Member(name, size, crc, lambda: iter(()))
        head = _local(member)
        expected = _central(member, start)
        if directory[at : at + len(expected)] != expected or _at(file, start, len(head)) != head:
            raise ArchiveError(f"{name} is not where, or what, the directory says")
        found[name] = Place(start + len(head), size)
        start += len(head) + size
        at += len(expected)
        if start > end:
            raise ArchiveError(f"{name} is larger than the archive")
    if at != len(directory) or start != end:
        raise ArchiveError("something lies between the files of the archive")
    return found


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    if offset < 0:
        return b""
    file.seek(offset)
    return file.read(length)
