"""One container each: its entries, and their bytes. `opened` goes through containers in containers."""

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from indexers.archive import ENCRYPTED, Archive
from indexers.containers.sniff import HEAD_BYTES
from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits
from indexers.streams import window

MAX_ENTRY_BYTES: Final = 256 * 1024 * 1024
"""Largest entry that is unpacked in memory. Of a larger one no more is there than is looked at, where the
container allows that: a ZIP or tar file does."""

TOO_MUCH: Final = "than what it holds should need: send what is in it by itself"
"""How an error goes on that says that a container unpacks to far more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a container lists.

    Attributes:
        name: As the container has it.
        byte_count: Unpacked, as the container says; for a PDF's pictures an estimate.
        refused: Why it is left out, such as ``links``; empty: it is not.
        modality: Where the container tells; None: its first bytes tell.
    """

    name: str
    byte_count: int
    refused: str = ""
    modality: str | None = None


PASSWORD: Final = "password"  # noqa: S105 - a reason
"""Why an encrypted entry is left out."""


class Level(Protocol):
    """A container, without those in it."""

    entries: Sequence[Entry]

    def head(self, number: int) -> bytes:
        """The first bytes of an entry, `HEAD_BYTES` or all of them.

        Raises:
            MediaError: If it cannot be read.
        """
        ...

    def content(self, number: int) -> bytes:
        """All of an entry.

        Raises:
            MediaError: If it cannot be read, or has more than `MAX_ENTRY_BYTES`.
        """
        ...

    def open(self, number: int) -> BinaryIO:
        """An entry as a file, of any size.

        Raises:
            MediaError: If it cannot be read; reading the file may raise it too.
        """
        ...


class ZipLevel:
    """A ZIP file."""

    def __init__(self, source: BinaryIO, kind: str, limits: MediaLimits) -> None:
        """Read the directory.

        Raises:
            DamagedMediaError: If there is none.
            MediaLimitError: If it lists too much.
        """
        most = limits.max_unpacked_bytes
        self._archive = Archive(source, kind=kind, max_bytes=2 * most, too_much=TOO_MUCH)
        self._infos = [info for info in self._archive.entries if not info.is_dir()]
        self.entries: Sequence[Entry] = [
            Entry(info.filename, info.file_size, _zip_refusal(info)) for info in self._infos
        ]

    def head(self, number: int) -> bytes:
        """See `Level.head`."""
        head = b""
        for chunk in self._archive.chunks(self._infos[number]):
            head += chunk
            if len(head) >= HEAD_BYTES:
                break
        return head[:HEAD_BYTES]

    def content(self, number: int) -> bytes:
        """See `Level.content`."""
        return self._archive.content(self._infos[number], max_bytes=MAX_ENTRY_BYTES)

    def open(self, number: int) -> BinaryIO:
        """See `Level.open`."""
        info = self._infos[number]
        if info.file_size <= MAX_ENTRY_BYTES:
            return io.BytesIO(self.content(number))
        return self._archive.stream(info)


def _zip_refusal(info: zipfile.ZipInfo) -> str:
    if stat.S_ISLNK(info.external_attr >> 16):
        return "links"
    return PASSWORD if info.flag_bits & ENCRYPTED else ""


class TarLevel:
    """A tar file, packed by gzip or not."""

    def __init__(self, source: BinaryIO, kind: str, limits: MediaLimits) -> None:
        """Read all headers.

        Raises:
            DamagedMediaError: If it is broken, or gzip holds no tar file.
            MediaLimitError: If it lists too much, or unpacks to too much.
        """
        source.seek(0)
        self._kind = kind
        self._source = source
        self._files: list[tarfile.TarInfo] = []
        packed = kind == "tar.gz"
        stream = _Bounded(gzip.GzipFile(fileobj=source), limits.max_unpacked_bytes) if packed else source
        with self._as_media_errors():
            try:
                self._tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - it lives as long as this
            except tarfile.ReadError as error:
                raise UnsupportedMediaError(
                    f"the {kind} holds no tar file: unpack it, and send what is in it"
                ) from error
            for member in self._tar:
                if len(self._files) > limits.max_parts * 10:
                    raise MediaLimitError(f"the {kind} lists too many files: send it in parts")
                if not member.isdir():
                    self._files.append(member)
        self.entries: Sequence[Entry] = [
            Entry(member.name, member.size, _tar_refusal(member, packed=packed)) for member in self._files
        ]

    def head(self, number: int) -> bytes:
        """See `Level.head`."""
        return self._read(number, HEAD_BYTES)

    def content(self, number: int) -> bytes:
        """See `Level.content`."""
        return self._read(number, MAX_ENTRY_BYTES)

    def open(self, number: int) -> BinaryIO:
        """See `Level.open`."""
        member = self._files[number]
        if member.size <= MAX_ENTRY_BYTES:
            return io.BytesIO(self.content(number))
        return window(self._source, member.offset_data, member.size)

    def _read(self, number: int, most: int) -> bytes:
        with self._as_media_errors():
            file = self._tar.extractfile(self._files[number])
            return b"" if file is None else file.read(most)

    @contextmanager
    def _as_media_errors(self) -> Iterator[None]:
        try:
            yield
        except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError) as error:
            raise DamagedMediaError(
                f"the {self._kind} is damaged or cut off ({error}): send the whole file, or pack it again"
            ) from error


def _tar_refusal(member: tarfile.TarInfo, *, packed: bool) -> str:
    if not member.isreg() or member.issparse():
        return "links"
    return "too large" if packed and member.size > MAX_ENTRY_BYTES else ""


class _Bounded(io.RawIOBase, BinaryIO):
    """What gzip unpacks to, as far as it may."""

    def __init__(self, stream: gzip.GzipFile, most: int) -> None:
        self._stream = stream
        self._most = most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or place > self._most:
            raise MediaLimitError(f"the tar.gz unpacks to far more {TOO_MUCH}")
        return self._stream.seek(place)

    def read(self, size: int = -1) -> bytes:
        if self._stream.tell() + max(size, 0) > self._most:
            raise MediaLimitError(f"the tar.gz unpacks to far more {TOO_MUCH}")
        return self._stream.read(size)


def count_refused(entries: Sequence[Entry]) -> Counter[str]:
    """How many entries are left out, by why."""
    return Counter(entry.refused for entry in entries if entry.refused)
