"""ReportService: what was found where."""

import asyncio
import contextlib

from copyhound.v1 import report_pb2, report_pb2_grpc
from service.errors import NotFoundError
from service.monitored import ReportFilter, StoredReport
from service.rpc import convert, convert_monitor, pages
from service.rpc.access import Caller, current_caller, not_found
from service.rpc.context import Context
from service.store import Store


class ReportService(report_pb2_grpc.ReportServiceServicer):
    """See proto/copyhound/v1/report.proto, which documents every method."""

    def __init__(self, store: Store) -> None:
        """Read from `store`."""
        self._store = store

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

    def _visible(self, name: str, caller: Caller) -> StoredReport:
        report_id = convert_monitor.read_report_name(name, "name")
        with contextlib.suppress(NotFoundError), self._store.view() as view:
            found = view.reports.get(report_id)
            if caller.owner in (None, found.owner):
                return found
        raise not_found("report", name)
