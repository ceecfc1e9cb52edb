"""The files of a preview while a worker writes them: bounded, and looked at before anybody is shown them."""

import codecs
import hashlib
import io
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self, TypeAlias

from indexers.previews import Facts, Kind
from service.errors import DISK_FULL, BusyError, StorageFullError, UnreadableMediaError
from service.sandbox import ShownFile

_MIB: Final = 1024 * 1024

MAX_BYTES: Final = 512 * _MIB
"""Of a film's or a sound's file: more than ten hours."""

_IN_MEMORY_BYTES: Final = _MIB
"""Of one file: pictures and thumbnails mostly have less."""

_MOST_BYTES: Final = {
    Kind.PICTURE: 8 * _MIB,
    Kind.THUMBNAIL: _MIB,
    Kind.CLIP: MAX_BYTES + 16 * _MIB,
    Kind.SOUND: MAX_BYTES + 16 * _MIB,
    Kind.WAVEFORM: 64 * _MIB,
    Kind.SPECTROGRAM: 16 * _MIB,
    Kind.TEXT: 32 * _MIB,
}
"""What each kind has at most; what a worker writes beyond is not ours."""

_BEGINNINGS: Final = {
    Kind.PICTURE: b"\xff\xd8\xff",
    Kind.THUMBNAIL: b"\xff\xd8\xff",
    Kind.SPECTROGRAM: b"\xff\xd8\xff",
    Kind.CLIP: b"\x1aE\xdf\xa3",
    Kind.SOUND: b"\x1aE\xdf\xa3",
}


Shown: TypeAlias = tuple[ShownFile, ...] | UnreadableMediaError | None
"""A preview that was made while its item was read, or why there is none; None: it was not made then."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A file that was written to its end."""

    kind: Kind
    content: IO[bytes]
    facts: Facts


class Receiver:
    """Takes what a worker writes, into memory or files without names. Use it in a ``with``."""

    def __init__(self, folder: Path) -> None:
        """Keep files that are not small in `folder`."""
        self._folder = folder
        self._files: dict[Kind, tempfile.SpooledTemporaryFile[bytes]] = {}
        self._closed = False
        self.finished: list[Finished] = []
        """What is complete, in the order of its ends; `checked` looks at it."""

    def write(self, kind: Kind, at: int, piece: bytes) -> None:
        """See `service.sandbox.Received`.

        Raises:
            UnreadableMediaError: If it is too large, or comes after the file's end.
            StorageFullError: If there is no room.
            BusyError: If nobody waits for it any more: who did was cancelled, and the worker goes on.
        """
        if self._closed:
            raise BusyError("nobody waits for the preview any more")
        if at + len(piece) > _MOST_BYTES[kind] or any(file.kind is kind for file in self.finished):
            raise _not_ours()
        try:
            if kind not in self._files:
                self._files[kind] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed at the end
                    _IN_MEMORY_BYTES, dir=str(self._folder)
                )
            file = self._files[kind]
            if at + len(piece) > _IN_MEMORY_BYTES:
                file.rollover()
            file.seek(at)
            file.write(piece)
            file.flush()
        except OSError as error:
            if error.errno in DISK_FULL:
                raise StorageFullError(
                    "the server's disk is full, no preview was made; tell its operator"
                ) from error
            raise

    def end(self, kind: Kind, facts: Facts) -> None:
        """See `service.sandbox.Received`.

        Raises:
            UnreadableMediaError: If nothing was written.
        """
        if kind not in self._files:
            raise _not_ours()
        self.finished.append(Finished(kind, self._files.pop(kind), facts))

    def checked(self) -> list[tuple[Finished, bytes, int]]:
        """The complete files, each with SHA-256 and size. Blocking.

        Raises:
            UnreadableMediaError: If one is not what such a file is, or there is none.
        """
        if not self.finished:
            raise _not_ours()
        return [(file, *_digest(file.kind, file.content)) for file in self.finished]

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of all files, and take no more."""
        self._closed = True
        for file in (*self._files.values(), *(one.content for one in self.finished)):
            with suppress(OSError):
                file.close()


def checked(shown: tuple[ShownFile, ...] | UnreadableMediaError) -> list[tuple[ShownFile, bytes]]:
    """The files of a whole preview, each with its SHA-256.

    Raises:
        UnreadableMediaError: If there is none, or a file is too large, or not what such a file is.
    """
    if isinstance(shown, UnreadableMediaError):
        raise shown
    kinds = {file.kind for file in shown}
    if not shown or len(kinds) < len(shown) or any(len(one.content) > _MOST_BYTES[one.kind] for one in shown):
        raise _not_ours()
    return [(file, _digest(file.kind, io.BytesIO(file.content))[0]) for file in shown]


def _digest(kind: Kind, content: IO[bytes]) -> tuple[bytes, int]:
    """SHA-256 and size of a file that begins as its kind does; of a text, all of it has to be one."""
    beginning = _BEGINNINGS.get(kind, b"")
    decoder = codecs.getincrementaldecoder("utf-8")() if kind is Kind.TEXT else None
    digest, size = hashlib.sha256(), 0
    content.seek(0)
    try:
        while piece := content.read(_MIB):
            if size == 0 and not piece.startswith(beginning):
                raise _not_ours()
            if decoder is not None:
                decoder.decode(piece)
            digest.update(piece)
            size += len(piece)
        if decoder is not None:
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _not_ours() from error
    return digest.digest(), size


def _not_ours() -> UnreadableMediaError:
    return UnreadableMediaError(
        "MEDIA_CRASHED",
        "the process that made the preview wrote something else: the file is hostile; save it again in "
        "another format",
    )
