"""Previews as pages and calls read them. Every method blocks: call them in a thread."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Final, Self

from service.blobs import Blobs
from service.errors import NotFoundError
from service.previewed import Kind, PreviewFile, PreviewSet, PreviewState, Subject
from service.store import Store

_PIECE_BYTES: Final = 256 * 1024

_WHY_NOT: Final = {
    PreviewState.PENDING: "the preview is still being made; ask again in some seconds",
    PreviewState.NOT_KEPT: "the owner of the work asked for no previews",
    PreviewState.ABSENT: "no preview was made: only fingerprints were registered, or it is a container",
    PreviewState.DELETED: "the reference or content was deleted",
}


@dataclass(frozen=True, slots=True)
class OpenPreview:
    """A file of a preview that can be read, any part of it at a time. Use it in a ``with``."""

    file: PreviewFile
    _content: BinaryIO

    def pieces(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield a range of its bytes, in order, at most 256 KiB at a time.

        Args:
            start: First byte, from 0; beyond the end: nothing is yielded.
            length: How many; None, or more than there are: up to the end.

        Raises:
            NotFoundError: If the file ends before it should.
        """
        start = max(0, start)
        left = max(0, self.file.byte_count - start)
        left = left if length is None else min(left, max(0, length))
        self._content.seek(start)
        while left:
            piece = self._content.read(min(left, _PIECE_BYTES))
            if not piece:
                raise NotFoundError("the preview's file ends before it should")
            left -= len(piece)
            yield piece

    def fileno(self) -> int:
        """The open file, for a process that reads it by itself."""
        return self._content.fileno()

    def close(self) -> None:
        """Let go of the file."""
        self._content.close()

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the file."""
        self.close()


class PreviewReader:
    """Finds and opens previews. For many threads at a time."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        """Read rows from `store`, files from `blobs`."""
        self._store = store
        self._blobs = blobs

    def find(self, subject: Subject) -> PreviewSet:
        """What there is to show of a reference (its id) or a content (its SHA-256)."""
        return self.find_all([subject])[subject]

    def find_all(self, subjects: Collection[Subject]) -> dict[Subject, PreviewSet]:
        """What there is to show of each of several subjects; all are in the answer."""
        with self._store.view() as view:
            return view.previews.find(subjects)

    def open(self, subject: Subject, kind: Kind) -> OpenPreview:
        """Open one file of a preview; the caller closes it.

        Raises:
            NotFoundError: If there is no such file; metadata `preview` has the state, and the message says
                why for people.
        """
        found = self.find(subject)
        file = found.files.get(kind)
        if file is None:
            why = _WHY_NOT.get(found.state) or found.reason or f"the preview has no {kind}"
            raise NotFoundError(why, preview=found.state.value)
        return OpenPreview(file, self._blobs.open(file.sha256))

    def text(self, subject: Subject, start: int, end: int) -> str:
        """Characters `start` to `end` (exclusive) of a text's preview; fewer where it ends before.

        Raises:
            NotFoundError: As `open`.
        """
        with self.open(subject, Kind.TEXT) as preview:
            return characters(preview.pieces(), start, end)


def characters(pieces: Iterator[bytes], start: int, end: int) -> str:
    """Characters of a UTF-8 text between two offsets, of which no more than a piece is held beside."""
    found: list[str] = []
    at, waiting = 0, b""
    for piece in pieces:
        if at >= end:
            break
        whole = waiting + piece
        cut = len(whole)
        while cut > len(whole) - 4 and cut and whole[cut - 1] & 0xC0 == 0x80:
            cut -= 1
        if cut and whole[cut - 1] >= 0xC0:
            cut -= 1
        else:
            cut = len(whole)
        text, waiting = whole[:cut].decode("utf-8", "replace"), whole[cut:]
        found.append(text[max(0, start - at) : max(0, end - at)])
        at += len(text)
    return "".join(found)
