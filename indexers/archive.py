"""ZIP files, documents among them, with limits against bombs. Nothing is ever written to disk."""

import codecs
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError
from indexers.streams import inflated, window

_MAX_PARTS = 65_535
"""More need ZIP64."""
_MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
_MAX_RATIO = 300
"""Prose is packed 2 to 5 times, markup of tables some 50 times; DEFLATE reaches 1,030."""
_RATIO_FROM_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024

ENCRYPTED = 1
"""Flag of a part that needs a password, from PKWARE's APPNOTE 4.4.4."""

_LOCAL = b"PK\3\4"
_LOCAL_BYTES = 30
_END = b"PK\5\6"
_ZIP64_LOCATOR = b"PK\6\7"
_END_BYTES = 22
_LOCATOR_BYTES = 20
_MAX_COMMENT_BYTES = 65_535
"""From PKWARE's APPNOTE 4.3.7, 4.3.15 and 4.3.16."""


def prepare() -> None:
    """Load what zipfile loads late: the encoding of parts' names."""
    codecs.lookup("cp437")


class Archive:
    """A file's parts. What all of them may take unpacked is one budget."""

    def __init__(
        self,
        source: BinaryIO,
        *,
        kind: str,
        max_bytes: int,
        too_much: str = "than a text needs: send it in parts, or as plain text",
    ) -> None:
        """Read the directory.

        Args:
            source: The file.
            kind: What users call it, for errors.
            max_bytes: Most bytes that may be unpacked in all.
            too_much: How the error goes on that says that it unpacks to far more.

        Raises:
            DamagedMediaError: If there is no directory, as in a file that was cut off.
            MediaLimitError: If it lists too many parts.
        """
        self._kind = kind
        self._left = max_bytes
        self._too_much = too_much
        self._source = source
        _check_directory(source, kind)
        with self._as_media_errors():
            self._zip = zipfile.ZipFile(source)
        self.names = frozenset(self._zip.namelist())

    @property
    def entries(self) -> Sequence[zipfile.ZipInfo]:
        """All parts, in the order of the directory; several may have one name."""
        return self._zip.filelist

    def chunks(self, part: str | zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the bytes of a part, of several with one name of the last.

        Raises:
            DamagedMediaError: If there is no such part, or it is broken.
            MediaLimitError: If it unpacks to too much.
            UnsupportedMediaError: If it needs a password, or is packed in an unusual way.
        """
        with self._as_media_errors():
            if isinstance(part, str):
                part = self._zip.getinfo(part)
            self._check(part)
            read = 0
            with self._zip.open(part) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    read += len(chunk)
                    self._left -= len(chunk)
                    if self._left < 0 or (
                        read > _RATIO_FROM_BYTES and read > _MAX_RATIO * max(1, part.compress_size)
                    ):
                        raise MediaLimitError(f"the {self._kind} unpacks to far more {self._too_much}")
                    yield chunk

    def stream(self, part: zipfile.ZipInfo) -> BinaryIO:
        """A part as a file, of which no more is in memory than is looked at, for what memory cannot hold.

        Raises as `chunks`, at once or while it is read; the checksum is not looked at.
        """
        self._check(part)
        with self._as_media_errors():
            self._source.seek(part.header_offset)
            header = self._source.read(_LOCAL_BYTES)
            if len(header) < _LOCAL_BYTES or not header.startswith(_LOCAL):
                raise EOFError("a part is missing")
        if part.file_size > _MAX_RATIO * max(1, part.compress_size):
            raise MediaLimitError(f"the {self._kind} unpacks to far more {self._too_much}")
        start = part.header_offset + _LOCAL_BYTES
        start += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        if part.compress_type == zipfile.ZIP_STORED:
            return window(self._source, start, min(part.file_size, part.compress_size))
        packed = window(self._source, start, part.compress_size)
        return inflated(packed, part.file_size, self._damaged)

    def content(self, part: str | zipfile.ZipInfo, *, max_bytes: int) -> bytes:
        """Return a whole part. Raises as `chunks`, and MediaLimitError beyond `max_bytes`."""
        content = bytearray()
        for chunk in self.chunks(part):
            content += chunk
            if len(content) > max_bytes:
                raise MediaLimitError(
                    f"a part of the {self._kind} has more than {max_bytes} bytes: send it in smaller parts"
                )
        return bytes(content)

    @contextmanager
    def _as_media_errors(self) -> Iterator[None]:
        try:
            yield
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            KeyError,
            OSError,
            ValueError,
            NotImplementedError,
        ) as e:
            raise self._damaged(str(e)) from e

    def _damaged(self, why: str) -> DamagedMediaError:
        return DamagedMediaError(
            f"the {self._kind} is damaged or cut off ({why}): send the whole file, or save it again"
        )

    def _check(self, part: zipfile.ZipInfo) -> None:
        """Refuse what cannot be unpacked."""
        if part.flag_bits & ENCRYPTED:
            raise UnsupportedMediaError(f"the {self._kind} is protected by a password: save it without one")
        if part.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise UnsupportedMediaError(
                f"the {self._kind} is packed in an unusual way: save it again, packed by DEFLATE"
            )


def _check_directory(source: BinaryIO, kind: str) -> None:
    """Look at the size of the directory before it is read into memory."""
    size = source.seek(0, 2)
    source.seek(max(0, size - _END_BYTES - _MAX_COMMENT_BYTES - _LOCATOR_BYTES))
    tail = source.read()
    ends = [found.start() for found in re.finditer(_END, tail) if found.start() + _END_BYTES <= len(tail)]
    if not ends:
        raise DamagedMediaError(f"the {kind} is cut off: send the whole file")
    for at in ends:  # which of them counts is zipfile's choice
        parts = int.from_bytes(tail[at + 10 : at + 12], "little")
        directory = int.from_bytes(tail[at + 12 : at + 16], "little")
        if parts > _MAX_PARTS or directory > _MAX_DIRECTORY_BYTES or _ZIP64_LOCATOR in tail[: at + 1]:
            raise MediaLimitError(
                f"the {kind} has more than {_MAX_PARTS} parts, or is huge: send it in smaller ones"
            )
