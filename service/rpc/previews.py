"""PreviewService: what people are shown of references and suspects."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from copyhound.v1 import preview_pb2, preview_pb2_grpc
from service.blobs import in_threads
from service.errors import InvalidRequestError, NotFoundError
from service.monitored import StoredReport
from service.previewed import Kind, PreviewFile, PreviewState, Subject
from service.previews import PreviewReader
from service.rpc import convert, convert_monitor
from service.rpc.access import Caller, current_caller, not_found
from service.rpc.context import Context
from service.store import Store
from service.store.monitor_codec import load_parts

_KINDS: Final = {
    preview_pb2.PREVIEW_KIND_PICTURE: Kind.PICTURE,
    preview_pb2.PREVIEW_KIND_THUMBNAIL: Kind.THUMBNAIL,
    preview_pb2.PREVIEW_KIND_CLIP: Kind.CLIP,
    preview_pb2.PREVIEW_KIND_SOUND: Kind.SOUND,
    preview_pb2.PREVIEW_KIND_WAVEFORM: Kind.WAVEFORM,
    preview_pb2.PREVIEW_KIND_SPECTROGRAM: Kind.SPECTROGRAM,
    preview_pb2.PREVIEW_KIND_TEXT: Kind.TEXT,
}
_KIND_CODES: Final = {kind: code for code, kind in _KINDS.items()}
_STATE_CODES: Final = {
    PreviewState.READY: preview_pb2.Preview.STATE_READY,
    PreviewState.PENDING: preview_pb2.Preview.STATE_PENDING,
    PreviewState.FAILED: preview_pb2.Preview.STATE_FAILED,
    PreviewState.NOT_KEPT: preview_pb2.Preview.STATE_NOT_KEPT,
    PreviewState.ABSENT: preview_pb2.Preview.STATE_ABSENT,
    PreviewState.DELETED: preview_pb2.Preview.STATE_DELETED,
}
_REPORT: Final = "reports/"


class PreviewService(preview_pb2_grpc.PreviewServiceServicer):
    """See proto/copyhound/v1/preview.proto, which documents every method."""

    def __init__(self, store: Store, previews: PreviewReader) -> None:
        """Read from these."""
        self._store = store
        self._previews = previews

    async def GetPreview(
        self, request: preview_pb2.GetPreviewRequest, context: Context
    ) -> preview_pb2.Preview:
        """Say what there is to show."""
        del context
        subject = await asyncio.to_thread(self._visible, request.name, current_caller())
        found = await asyncio.to_thread(self._previews.find, subject)
        return preview_pb2.Preview(
            state=_STATE_CODES[found.state],
            reason=found.reason,
            modality=convert.modality_code(found.modality or None),
            files=[_file_message(file) for file in found.files.values()],
        )

    async def ReadPreview(
        self, request: preview_pb2.ReadPreviewRequest, context: Context
    ) -> AsyncIterator[preview_pb2.ReadPreviewResponse]:
        """Send a file of it, or a range."""
        del context
        if request.kind not in _KINDS:
            raise InvalidRequestError("kind", "name a kind of file; GetPreview lists those that there are")
        for field, number in (("start", request.start), ("length", request.length)):
            if number < 0:
                raise InvalidRequestError(field, f"must be 0 or more, not {number}")
        subject = await asyncio.to_thread(self._visible, request.name, current_caller())
        preview = await asyncio.to_thread(self._previews.open, subject, _KINDS[request.kind])
        with preview:
            yield preview_pb2.ReadPreviewResponse(file=_file_message(preview.file))
            async for chunk in in_threads(preview.pieces(request.start, request.length or None)):
                yield preview_pb2.ReadPreviewResponse(chunk=chunk)

    def _visible(self, name: str, caller: Caller) -> Subject:
        """What a name stands for, if the caller may see it."""
        if name.startswith(_REPORT):
            report_id, key = convert_monitor.read_part_name(name, "name")
            with contextlib.suppress(NotFoundError), self._store.view() as view:
                report = view.reports.get(report_id)
                if caller.owner in (None, report.owner):
                    return _subject(report, key)
            raise not_found("report" if key is None else "part of a report", name)
        work_id, reference_id = convert.read_reference_name(name, "name")
        with self._store.view() as view:
            for found in view.get_registered([reference_id]):
                if found.work.id == work_id and caller.owner in (None, found.work.owner):
                    return found.reference.id
        raise not_found("reference", name)


def _subject(report: StoredReport, key: bytes | None) -> Subject:
    """A report's suspect, or the part of it that a key stands for.

    Raises:
        NotFoundError: If the report names no such part.
    """
    if key is None:
        return report.sha256
    if any(part.key == key for part in load_parts(report.match)):
        return key
    raise NotFoundError("the report names no such part")


def _file_message(file: PreviewFile) -> preview_pb2.PreviewFile:
    facts = file.facts
    return preview_pb2.PreviewFile(
        kind=_KIND_CODES[file.kind],
        media_type=file.media_type,
        sha256=file.sha256,
        byte_count=file.byte_count,
        width=facts.width,
        height=facts.height,
        seconds=facts.seconds,
        characters=facts.characters,
        cut=not facts.whole,
    )
