"""ReportService: what was found where."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Final

from copyhound.v1 import report_pb2, report_pb2_grpc
from service.blobs import in_threads
from service.errors import InvalidRequestError, NotFoundError
from service.evidence import Bundler, Scope, Wish
from service.language import DEFAULT_LANGUAGE, LANGUAGES
from service.monitored import ReportFilter, StoredReport
from service.reviewed import Actor
from service.rpc import convert, convert_monitor, convert_review, pages
from service.rpc.access import Caller, current_caller, not_found
from service.rpc.context import Context
from service.store import Store

_CHUNK_BYTES: Final = 256 * 1024
_FORMATS: Final = {
    report_pb2.EVIDENCE_FORMAT_UNSPECIFIED: ("application/zip", "zip"),
    report_pb2.EVIDENCE_FORMAT_BUNDLE: ("application/zip", "zip"),
    report_pb2.EVIDENCE_FORMAT_JSON: ("application/json", "json"),
    report_pb2.EVIDENCE_FORMAT_PAGE: ("text/html; charset=utf-8", "html"),
    report_pb2.EVIDENCE_FORMAT_PDF: ("application/pdf", "pdf"),
}
"""Media type and ending of each format."""


class ReportService(report_pb2_grpc.ReportServiceServicer):
    """See proto/copyhound/v1/report.proto, which documents every method."""

    def __init__(self, store: Store, bundler: Bundler) -> None:
        """Read from `store`, hand over by `bundler`."""
        self._store = store
        self._bundler = bundler

    async def GetMatchReport(
        self, request: report_pb2.GetMatchReportRequest, context: Context
    ) -> report_pb2.MatchReport:
        """Return a report with its sightings."""
        del context
        found = await asyncio.to_thread(self._visible, request.name, current_caller())
        return convert_monitor.report_message(found)

    async def ListMatchReports(
        self, request: report_pb2.ListMatchReportsRequest, context: Context
    ) -> report_pb2.ListMatchReportsResponse:
        """Return a page of reports."""
        del context
        caller = current_caller()
        owner = convert.read_text(request.owner, "owner", 128)
        if caller.owner is not None and owner not in ("", caller.owner):
            return report_pb2.ListMatchReportsResponse()
        which = ReportFilter(
            list_id=convert_monitor.read_list_name(request.list, "list") if request.list else None,
            owner=(owner or None) if caller.owner is None else caller.owner,
            work_id=convert.read_work_name(request.work, "work") if request.work else None,
            min_probability=convert.read_fraction(request.min_probability, "min_probability"),
        )
        size = convert.read_page_size(request.page_size, "page_size", 100)
        filters = (request.list, owner, request.work, str(request.min_probability))
        after = pages.read_token(request.page_token, filters)

        def read() -> list[StoredReport]:
            with self._store.view() as view:
                return view.reports.page(which, after=after, limit=size + 1)

        found = await asyncio.to_thread(read)
        return report_pb2.ListMatchReportsResponse(
            reports=[convert_monitor.report_message(one) for one in found[:size]],
            next_page_token=pages.token(found[size - 1].id, filters) if len(found) > size else "",
        )

    async def ExportEvidence(
        self, request: report_pb2.ExportEvidenceRequest, context: Context
    ) -> AsyncIterator[report_pb2.ExportEvidenceResponse]:
        """Hand a report or a case over."""
        del context
        wish = _read_wish(request)
        media_type, ending = _read_format(request.format)
        actor = current_caller().actor
        with _not_found(wish.scope.removesuffix("s"), request.name):
            if ending == "zip":
                bundle = await self._bundler.export(actor, wish)
                header = report_pb2.ExportEvidenceResponse.Header(
                    filename=bundle.filename,
                    media_type=media_type,
                    byte_count=bundle.byte_count,
                    key_id=bundle.key_id,
                    stamped=bundle.stamped,
                    left_out=bundle.left_out,
                )
                pieces = bundle.pieces()
            else:
                content = await asyncio.to_thread(self._render, actor, wish, ending)
                header = report_pb2.ExportEvidenceResponse.Header(
                    filename=f"copyhound-{wish.id}.{ending}",
                    media_type=media_type,
                    byte_count=len(content),
                )
                pieces = (
                    content[start : start + _CHUNK_BYTES] for start in range(0, len(content), _CHUNK_BYTES)
                )
        yield report_pb2.ExportEvidenceResponse(header=header)
        async for piece in in_threads(pieces):
            yield report_pb2.ExportEvidenceResponse(chunk=piece)

    def _render(self, actor: Actor, wish: Wish, ending: str) -> bytes:
        if ending == "json":
            values = self._bundler.document(actor, wish)
            return json.dumps(values, ensure_ascii=False, indent=1).encode()
        if ending == "html":
            return self._bundler.page(actor, wish).encode()
        return self._bundler.pdf(actor, wish)

    def _visible(self, name: str, caller: Caller) -> StoredReport:
        report_id = convert_monitor.read_report_name(name, "name")
        with contextlib.suppress(NotFoundError), self._store.view() as view:
            found = view.reports.get(report_id)
            if caller.owner in (None, found.owner):
                return found
        raise not_found("report", name)


def _read_wish(request: report_pb2.ExportEvidenceRequest) -> Wish:
    language = request.language or DEFAULT_LANGUAGE
    if language not in LANGUAGES:
        raise InvalidRequestError("language", f"must be one of {', '.join(LANGUAGES)}")
    if request.max_captures < 0:
        raise InvalidRequestError("max_captures", f"must be 0 or more, not {request.max_captures}")
    if request.name.startswith(f"{Scope.CASE}/"):
        scope, subject = Scope.CASE, convert_review.read_case_name(request.name, "name")
    else:
        scope, subject = Scope.REPORT, convert_monitor.read_report_name(request.name, "name")
    return Wish(
        scope,
        subject,
        language=language,
        with_reference=request.with_reference,
        max_captures=request.max_captures,
    )


def _read_format(code: "report_pb2.EvidenceFormat.ValueType") -> tuple[str, str]:
    if code not in _FORMATS:
        raise InvalidRequestError("format", "is none that this server knows")
    return _FORMATS[code]


@contextlib.contextmanager
def _not_found(kind: str, name: str) -> Iterator[None]:
    """Say of what is not there the same as of what is others'."""
    try:
        yield
    except NotFoundError as error:
        raise not_found(kind, name) from error
