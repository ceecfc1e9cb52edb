"""Previews: what the server shows people of references and suspects, for tools that show them too."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import grpc

from copyhound import status
from copyhound.transport import Transport
from copyhound.v1 import fingerprint_pb2, preview_pb2, preview_pb2_grpc


class PreviewKind(StrEnum):
    """What a file of a preview is."""

    PICTURE = "picture"
    """The picture as a viewer shows it, upright, at most 1,024 pixels wide and high. JPEG."""
    THUMBNAIL = "thumbnail"
    """The same, or of a film one of its frames, at most 256 pixels wide and high. JPEG."""
    CLIP = "clip"
    """The whole film at few frames a second, at most 320 pixels wide and high, with its sound. WebM."""
    SOUND = "sound"
    """The whole sound. WebM."""
    WAVEFORM = "waveform"
    """For each 1/20 s the smallest and the largest sample, two signed bytes, -127..127."""
    SPECTROGRAM = "spectrogram"
    """The sound as a picture: time from left to right, low frequencies at the bottom. JPEG."""
    TEXT = "text"
    """The text that is read from the item, UTF-8. Offsets of matches count its characters."""


class PreviewState(StrEnum):
    """Whether there is a preview, and if not, why."""

    READY = "ready"
    """Its files can be read."""
    PENDING = "pending"
    """It is still being made: ask again in some seconds."""
    FAILED = "failed"
    """It cannot be made; `Preview.reason` says why."""
    NOT_KEPT = "not_kept"
    """The owner of the work asked for none."""
    ABSENT = "absent"
    """None was ever made: only fingerprints were registered, or it is a container, whose parts have some."""
    DELETED = "deleted"
    """The reference, or the content, was deleted."""
    UNKNOWN = "unknown"
    """The server is newer than this client."""


@dataclass(frozen=True, slots=True)
class PreviewFile:
    """One file of a preview.

    Attributes:
        kind: What it is.
        media_type: Such as ``image/jpeg``.
        sha256: Digest of the file, 32 bytes.
        byte_count: Its size.
        width: In pixels; 0: it has none.
        height: In pixels; 0: it has none.
        seconds: How long it plays, or what a waveform or spectrogram covers; 0.0: it does not play.
        characters: How many characters a text has; 0: it is none.
        cut: Whether it shows the beginning of the item alone: all of it would have been too large, or taken
            too long.
    """

    kind: PreviewKind
    media_type: str
    sha256: bytes
    byte_count: int
    width: int
    height: int
    seconds: float
    characters: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What there is to show of a reference or of a suspect.

    Attributes:
        state: Whether there is something.
        reason: Why it failed: a code, a colon, a sentence; else empty.
        modality: Such as ``image``; empty: unknown.
        files: At most one of each kind; empty unless the state is READY.
    """

    state: PreviewState
    reason: str
    modality: str
    files: tuple[PreviewFile, ...]


_KINDS: Final = {
    preview_pb2.PREVIEW_KIND_PICTURE: PreviewKind.PICTURE,
    preview_pb2.PREVIEW_KIND_THUMBNAIL: PreviewKind.THUMBNAIL,
    preview_pb2.PREVIEW_KIND_CLIP: PreviewKind.CLIP,
    preview_pb2.PREVIEW_KIND_SOUND: PreviewKind.SOUND,
    preview_pb2.PREVIEW_KIND_WAVEFORM: PreviewKind.WAVEFORM,
    preview_pb2.PREVIEW_KIND_SPECTROGRAM: PreviewKind.SPECTROGRAM,
    preview_pb2.PREVIEW_KIND_TEXT: PreviewKind.TEXT,
}
_KIND_CODES: Final = {kind: code for code, kind in _KINDS.items()}
_STATES: Final = {
    preview_pb2.Preview.STATE_READY: PreviewState.READY,
    preview_pb2.Preview.STATE_PENDING: PreviewState.PENDING,
    preview_pb2.Preview.STATE_FAILED: PreviewState.FAILED,
    preview_pb2.Preview.STATE_NOT_KEPT: PreviewState.NOT_KEPT,
    preview_pb2.Preview.STATE_ABSENT: PreviewState.ABSENT,
    preview_pb2.Preview.STATE_DELETED: PreviewState.DELETED,
}


class PreviewCalls:
    """The calls of `AsyncClient` that speak of previews."""

    _transport: Transport

    def _show(self, transport: Transport) -> None:
        """Make the stub."""
        self._previews = preview_pb2_grpc.PreviewServiceStub(transport.channel)

    async def get_preview(self, name: str) -> Preview:
        """Return what there is to show of a reference, of a report's suspect, or of a part of one.

        Args:
            name: ``works/{uuid}/references/{uuid}``, ``reports/{uuid}``, or, of a container's part, its
                `PartMatch.name`.
        """
        request = preview_pb2.GetPreviewRequest(name=name)

        async def send(seconds: float) -> preview_pb2.Preview:
            return await self._previews.GetPreview(
                request, timeout=seconds, metadata=self._transport.metadata
            )

        return _preview(await self._transport.call(send))

    async def read_preview(
        self, name: str, kind: PreviewKind, *, start: int = 0, length: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a file of a preview, in pieces of at most 1 MiB.

        Args:
            name: As in `get_preview`.
            kind: Which file.
            start: First byte, from 0.
            length: How many bytes; 0, or more than there are: up to the end.

        Raises:
            NotFoundError: If there is no such file; `metadata["preview"]` says why, as a `PreviewState`.
        """
        request = preview_pb2.ReadPreviewRequest(
            name=name, kind=_KIND_CODES[kind], start=start, length=length
        )
        sent, attempt = 0, 0
        while True:
            request.start = start + sent
            request.length = length - sent if length else 0
            call = self._previews.ReadPreview(request, metadata=self._transport.metadata)
            try:
                async for message in call:
                    attempt = 0
                    if message.chunk:
                        sent += len(message.chunk)
                        yield message.chunk
            except grpc.aio.AioRpcError as failure:
                attempt += 1
                await self._transport.pause(status.from_call(failure), attempt, failure)
            else:
                return
            finally:
                call.cancel()


def _preview(message: preview_pb2.Preview) -> Preview:
    modality = fingerprint_pb2.Modality.Name(message.modality).removeprefix("MODALITY_").lower()
    return Preview(
        state=_STATES.get(message.state, PreviewState.UNKNOWN),
        reason=message.reason,
        modality="" if modality == "unspecified" else modality,
        files=tuple(_file(file) for file in message.files if file.kind in _KINDS),
    )


def _file(message: preview_pb2.PreviewFile) -> PreviewFile:
    return PreviewFile(
        kind=_KINDS[message.kind],
        media_type=message.media_type,
        sha256=message.sha256,
        byte_count=message.byte_count,
        width=message.width,
        height=message.height,
        seconds=message.seconds,
        characters=message.characters,
        cut=message.cut,
    )
