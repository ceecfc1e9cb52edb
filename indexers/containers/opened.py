"""Going through a container and those in it: the list of parts, and the bytes of each."""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Final

from indexers import registry
from indexers.containers import labels, sniff
from indexers.containers.levels import PASSWORD, Level, TarLevel, ZipLevel, count_refused
from indexers.containers.sevenzip import UNUSUAL, SevenZipLevel
from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits

MAX_DEPTH: Final = 4
"""Containers in each other: a phone's app in a package of several, with a game's data in it, and a comic."""

_FORMATS = ", ".join(sniff.FORMATS)

ITSELF: Final = -1
"""In the place of an entry: the text of the document that the place is in."""

_LEAST_BYTES = 200
"""Smaller entries are not looked at: no picture, sound or text of this size says anything."""


@cache
def load() -> Mapping[str, Callable[[BinaryIO, str, MediaLimits], Level]]:
    """Import the libraries that open containers; return what opens each kind."""
    from indexers.containers.pages import PdfLevel  # noqa: PLC0415 - a tenth of a second of libraries

    return {
        "ZIP": ZipLevel,
        "EPUB": ZipLevel,
        "DOCX": ZipLevel,
        "PDF": PdfLevel,
        "tar": TarLevel,
        "tar.gz": TarLevel,
        "7z": SevenZipLevel,
    }


@dataclass(frozen=True, slots=True)
class Part:
    """A media item in a container.

    Attributes:
        name: Its label, such as ``assets/title.png``, of a container in it ``book.epub!cover.jpg``; ``text``
            is a document's own.
        modality: Such as ``image``.
        byte_count: Unpacked, as the container says.
        place: Number of its entry in the container; in a container in it, the numbers on the way.
    """

    name: str
    modality: str
    byte_count: int
    place: tuple[int, ...]


class Container:
    """A container that is open. For one thread at a time."""

    def __init__(self, source: BinaryIO, limits: MediaLimits) -> None:
        """Open it; `parts` lists what is in it.

        Args:
            source: The file; it stays open.
            limits: What it may hold.

        Raises:
            UnsupportedMediaError: If it is no container, or needs a password.
            DamagedMediaError: If it is broken.
            MediaLimitError: If it holds too much.
        """
        self._source = source
        self._limits = limits
        self.kind, self._level = _opened(source, limits)
        self._inner: tuple[tuple[int, ...], Container] | None = None
        self._unpacked = 0
        self.left_out: Counter[str] = Counter()
        """How many entries `parts` left out, by why: ``links``, ``password``, ``too large``, ``damaged``."""

    def parts(self) -> list[Part]:
        """List the media in it, in the order of its entries; a document's text first.

        Raises:
            UnsupportedMediaError: If there are none.
            MediaLimitError: If there are too many, they unpack to too much, or containers lie in each other
                deeper than `MAX_DEPTH`.
        """
        found: list[Part] = []
        self.left_out.clear()
        self._unpacked = 0
        for part in self.walk("", (), 1, self):
            found.append(part)
            if len(found) > self._limits.max_parts:
                raise MediaLimitError(
                    f"the {self.kind} holds more than {self._limits.max_parts:,} pictures, sounds and texts: "
                    "send it in parts"
                )
        if not found:
            raise self._nothing()
        return found

    def _nothing(self) -> UnsupportedMediaError:
        if self.left_out[PASSWORD]:
            return UnsupportedMediaError(f"the {self.kind} is protected by a password: save it without one")
        if self.left_out[UNUSUAL]:
            return UnsupportedMediaError(f"the {self.kind} is {UNUSUAL}: pack it again as ZIP")
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.left_out.items()))
        return UnsupportedMediaError(
            f"the {self.kind} holds no picture, sound or text that can be compared"
            + (f" (left out: {why})" if why else "")
            + ": send one that has some"
        )

    def walk(self, prefix: str, place: tuple[int, ...], depth: int, root: "Container") -> Iterator[Part]:
        """Yield the parts of this container, and of those in it; see `parts`.

        Args:
            prefix: Its own label; empty: it lies in no other.
            place: Its own place.
            depth: In how many containers its parts lie.
            root: The outermost, which counts for all.
        """
        level = self._level
        root.left_out.update(count_refused(level.entries))
        document = self.kind in sniff.DOCUMENTS
        if document:
            size = self._source.seek(0, io.SEEK_END)
            yield Part(_joined(prefix, "text"), "text", size, (*place, ITSELF))
        for number, entry in enumerate(level.entries):
            if entry.refused or entry.byte_count < _LEAST_BYTES:
                continue
            name = _joined(prefix, labels.label(entry.name) or f"part {number + 1}")
            here = (*place, number)
            try:
                modality = entry.modality or self._modality(number, entry.name, document=document)
                if modality is None and (closed := sniff.closed(level.head(number))) is not None:
                    root.left_out[f"{closed} files"] += 1
                inner = self._inside(number, depth, root) if modality == "" else None
            except DamagedMediaError:
                root.left_out["damaged"] += 1
                continue
            except UnsupportedMediaError:
                continue
            if inner is not None:
                yield from inner.walk(name, here, depth + 1, root)
            elif modality:
                root.count(entry.byte_count)
                yield Part(name, modality, entry.byte_count, here)

    def _modality(self, number: int, name: str, *, document: bool) -> str | None:
        """Kind of media of an entry; empty: it is a container; None: nothing that counts."""
        head = self._level.head(number)
        if not document and sniff.kind_of(head) is not None:
            return ""
        try:
            modality = registry.detect(head).name
        except (UnsupportedMediaError, DamagedMediaError):
            return None
        return None if modality == "text" and (document or labels.is_stock(name)) else modality

    def _inside(self, number: int, depth: int, root: "Container") -> "Container":
        """A container in this one."""
        if depth == MAX_DEPTH:
            raise MediaLimitError(
                f"in the {root.kind}, containers lie in each other more than {MAX_DEPTH} deep: unpack the "
                "outer ones, and send what is in them"
            )
        content = self._level.open(number)
        root.count(self._level.entries[number].byte_count)
        return Container(content, self._limits)

    def count(self, byte_count: int) -> None:
        """Count what is unpacked, or will be.

        Raises:
            MediaLimitError: If that is too much.
        """
        self._unpacked += byte_count
        if self._unpacked > self._limits.max_unpacked_bytes:
            raise MediaLimitError(
                f"the {self.kind} unpacks to more than {self._limits.max_unpacked_bytes:,} bytes: send it in "
                "parts"
            )

    def content(self, place: tuple[int, ...]) -> BinaryIO:
        """The bytes of the part at a place that `parts` gave. The container that it lies in stays unpacked.

        Raises:
            DamagedMediaError: If it is broken, or there is no such place.
            MediaLimitError: If it unpacks to too much.
        """
        number, *rest = place
        if number == ITSELF:
            self._source.seek(0)
            return self._source
        if not 0 <= number < len(self._level.entries):
            raise DamagedMediaError(f"the {self.kind} has no entry {number}: send the whole file")
        if not rest:
            return self._level.open(number)
        if self._inner is None or self._inner[0] != (number,):
            self._inner = None  # one at a time in memory
            self._inner = (number,), Container(self._level.open(number), self._limits)
        return self._inner[1].content(tuple(rest))


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}{labels.NESTED}{name}"[-2 * labels.MOST_CHARACTERS :] if prefix else name


def _opened(source: BinaryIO, limits: MediaLimits) -> tuple[str, Level]:
    source.seek(0)
    head = source.read(sniff.HEAD_BYTES)
    kind = sniff.kind_of(head)
    if closed := sniff.closed(head):
        raise UnsupportedMediaError(sniff.refusal(closed))
    if kind is None:
        raise UnsupportedMediaError(f"this is no container that can be opened: send {_FORMATS}")
    return kind, load()[kind](source, kind, limits)
