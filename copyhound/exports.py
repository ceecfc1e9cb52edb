"""Reports and cases handed over: as signed bundles of evidence, or as documents."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

import grpc

from copyhound import status
from copyhound.errors import ServerError
from copyhound.transport import Transport
from copyhound.v1 import report_pb2, report_pb2_grpc


class EvidenceFormat(StrEnum):
    """What a report or case is handed over as."""

    BUNDLE = "bundle"
    """Zip, signed: reports, captures, the proof that the work was registered, the decisions."""
    JSON = "json"
    """The report or case alone, for programs."""
    PAGE = "page"
    """The report or case alone, a page of HTML to be printed."""
    PDF = "pdf"
    """The report or case alone, PDF/A."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A report or case that was handed over.

    Attributes:
        path: Where it was written.
        media_type: Such as ``application/zip``.
        byte_count: Its size.
        key_id: Of a bundle: the key that signed it; empty otherwise.
        stamped: Of a bundle: whether it has a time stamp.
        left_out: Of a bundle: why captures, suspects or reports are not in it, by the name of their file.
    """

    path: Path
    media_type: str
    byte_count: int
    key_id: str
    stamped: bool
    left_out: Mapping[str, str]


_FORMATS: Final = {
    EvidenceFormat.BUNDLE: report_pb2.EVIDENCE_FORMAT_BUNDLE,
    EvidenceFormat.JSON: report_pb2.EVIDENCE_FORMAT_JSON,
    EvidenceFormat.PAGE: report_pb2.EVIDENCE_FORMAT_PAGE,
    EvidenceFormat.PDF: report_pb2.EVIDENCE_FORMAT_PDF,
}


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file that is there, under its name, once all of it was written; not at all if that fails."""
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


class ExportCalls:
    """The calls of `AsyncClient` that hand reports over."""

    _transport: Transport
    _reports: "report_pb2_grpc.ReportServiceAsyncStub"

    async def export_evidence(
        self,
        name: str,
        target: str | os.PathLike[str],
        *,
        form: EvidenceFormat = EvidenceFormat.BUNDLE,
        language: str = "en",
        with_reference: bool = False,
        max_captures: int = 0,
    ) -> Exported:
        """Write a report, or a case with its reports, to a file: as a signed bundle or a document.

        The file is there when all of it has arrived, and replaces one that was there. `copyhound.bundle`
        checks bundles.

        Args:
            name: ``reports/{uuid}``, or ``cases/{uuid}``.
            target: The file.
            form: As what.
            language: Of its sentences, ``en`` or ``zh``.
            with_reference: Whether to put in what is kept to show of the work: a reduced picture, clip or
                sound, or its text.
            max_captures: Most captures of each report to put into a bundle, the first ones; 0: all.

        Raises:
            OSError: If the file cannot be written.
        """
        path = Path(target)
        request = report_pb2.ExportEvidenceRequest(
            name=name,
            format=_FORMATS[form],
            language=language,
            with_reference=with_reference,
            max_captures=max_captures,
        )
        with _written(path) as file:
            header = await self._receive(request, file)
        return Exported(
            path=path,
            media_type=header.media_type,
            byte_count=header.byte_count,
            key_id=header.key_id,
            stamped=header.stamped,
            left_out=dict(header.left_out),
        )

    async def _receive(
        self, request: report_pb2.ExportEvidenceRequest, file: BinaryIO
    ) -> report_pb2.ExportEvidenceResponse.Header:
        """Write what the server sends; from the beginning again where it is busy or cannot be reached."""
        attempt = 0
        while True:
            file.seek(0)
            file.truncate()
            header = report_pb2.ExportEvidenceResponse.Header()
            call = self._reports.ExportEvidence(request, metadata=self._transport.metadata)
            try:
                async for message in call:
                    if message.WhichOneof("payload") == "header":
                        header = message.header
                    else:
                        file.write(message.chunk)
            except grpc.aio.AioRpcError as failure:
                attempt += 1
                await self._transport.pause(status.from_call(failure), attempt, failure)
                continue
            finally:
                call.cancel()
            if file.tell() != header.byte_count:
                raise ServerError("the server sent less than it announced; look at its log, then try again")
            return header
