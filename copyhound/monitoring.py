"""What the clients say of monitoring: lists, runs, reports."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any, TypedDict, Unpack

import grpc

from copyhound import monitor_convert as convert
from copyhound import status
from copyhound.batches import new_request_id
from copyhound.monitor_types import (
    Capture,
    ItemsImported,
    MatchReport,
    MonitoringItem,
    MonitoringList,
    NewMonitoringList,
    Place,
    ReportEvent,
    Run,
    Schedule,
    Webhook,
)
from copyhound.transport import Calls, Transport
from copyhound.v1 import (
    capture_pb2,
    capture_pb2_grpc,
    monitor_pb2,
    monitor_pb2_grpc,
    report_pb2,
    report_pb2_grpc,
)


class ListChanges(TypedDict, total=False):
    """New values of a list's fields, as in `NewMonitoringList`; what is left out stays as it is."""

    title: str
    works: tuple[str, ...]
    places: tuple[Place, ...]
    leave_alone: tuple[str, ...]
    max_depth: int
    max_pages: int
    schedule: Schedule | None
    expires_at: Any
    webhook: Webhook | None
    min_probability: float


class MonitoringCalls(Calls):
    """The calls of `AsyncClient` that speak of monitoring."""

    def _use(self, transport: Transport) -> None:
        """Make the stubs."""
        self._transport = transport
        self._monitor = monitor_pb2_grpc.MonitorServiceStub(transport.channel)
        self._reports = report_pb2_grpc.ReportServiceStub(transport.channel)
        self._captures = capture_pb2_grpc.CaptureServiceStub(transport.channel)

    async def create_list(self, new: NewMonitoringList, *, validate_only: bool = False) -> MonitoringList:
        """Create a monitoring list.

        Args:
            new: The list.
            validate_only: Only say whether it could be created; the answer has no name.
        """
        request = monitor_pb2.CreateMonitoringListRequest(
            list=convert.list_to_message(new),
            request_id="" if validate_only else new_request_id(),
            validate_only=validate_only,
        )
        return convert.list_from_message(await self._unary(self._monitor.CreateMonitoringList, request))

    async def get_list(self, name: str) -> MonitoringList:
        """Return the list ``lists/{uuid}`` with its works, places and exceptions."""
        request = monitor_pb2.GetMonitoringListRequest(name=name)
        return convert.list_from_message(await self._unary(self._monitor.GetMonitoringList, request))

    async def lists(self, *, owner: str = "", page_size: int = 0) -> AsyncGenerator[MonitoringList, None]:
        """Yield monitoring lists, oldest first, without their works, places and exceptions.

        Args:
            owner: Only lists of this owner; empty: all that the key may see.
            page_size: Lists that are fetched at a time, 1 to 1,000; 0: 100.
        """
        request = monitor_pb2.ListMonitoringListsRequest(owner=owner, page_size=page_size)
        while True:
            page = await self._unary(self._monitor.ListMonitoringLists, request)
            for message in page.lists:
                yield convert.list_from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def update_list(
        self, name: str, *, etag: str = "", **changes: Unpack[ListChanges]
    ) -> MonitoringList:
        """Change a list's fields; those that are not given stay as they are.

        Args:
            name: ``lists/{uuid}``.
            etag: Refuse with `StaleError` unless the list still has it; empty: no check.
            changes: New values. A webhook without a secret keeps the one that it had.
        """
        if not changes:
            return await self.get_list(name)
        request = convert.changes_to_message(name, changes, etag)
        request.request_id = new_request_id()
        return convert.list_from_message(await self._unary(self._monitor.UpdateMonitoringList, request))

    async def delete_list(self, name: str, *, etag: str = "") -> None:
        """Delete a list; captures and reports stay.

        Args:
            name: ``lists/{uuid}``.
            etag: Refuse with `StaleError` unless the list still has it; empty: no check.
        """
        request = monitor_pb2.DeleteMonitoringListRequest(name=name, etag=etag, request_id=new_request_id())
        await self._unary(self._monitor.DeleteMonitoringList, request)

    async def import_items(
        self,
        name: str,
        items: Iterable[MonitoringItem],
        *,
        allow_partial: bool = False,
        validate_only: bool = False,
    ) -> ItemsImported:
        """Add works, places and exceptions to a list, at most 10,000.

        Args:
            name: ``lists/{uuid}``.
            items: The rows.
            allow_partial: Import the good rows although others are wrong; otherwise one wrong row keeps all
                out.
            validate_only: Only say what would become of each.
        """
        request = monitor_pb2.ImportItemsRequest(
            name=name,
            items=[convert.item_to_message(item) for item in items],
            allow_partial=allow_partial,
            validate_only=validate_only,
            request_id="" if validate_only else new_request_id(),
        )
        return convert.imported_from_message(await self._unary(self._monitor.ImportItems, request))

    async def check_items(self, owner: str, items: Iterable[MonitoringItem]) -> ItemsImported:
        """Say what would become of the rows of a list that an owner has not created yet, at most 10,000."""
        request = monitor_pb2.ImportItemsRequest(
            owner=owner,
            items=[convert.item_to_message(item) for item in items],
            allow_partial=True,
            validate_only=True,
        )
        return convert.imported_from_message(await self._unary(self._monitor.ImportItems, request))

    async def run_list(self, name: str) -> Run:
        """Ask for a run of a list; a run that waits or goes on is returned instead of a second one."""
        request = monitor_pb2.RunListRequest(name=name)
        return convert.run_from_message(await self._unary(self._monitor.RunList, request))

    async def get_run(self, name: str) -> Run:
        """Return the run ``lists/{uuid}/runs/{uuid}`` with its progress."""
        request = monitor_pb2.GetRunRequest(name=name)
        return convert.run_from_message(await self._unary(self._monitor.GetRun, request))

    async def runs(self, name: str, *, page_size: int = 0) -> AsyncGenerator[Run, None]:
        """Yield the runs of a list, oldest first.

        Args:
            name: ``lists/{uuid}``.
            page_size: Runs that are fetched at a time, 1 to 1,000; 0: 100.
        """
        request = monitor_pb2.ListRunsRequest(list=name, page_size=page_size)
        while True:
            page = await self._unary(self._monitor.ListRuns, request)
            for message in page.runs:
                yield convert.run_from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def cancel_run(self, name: str) -> Run:
        """End a run; one that has ended stays as it is."""
        request = monitor_pb2.CancelRunRequest(name=name)
        return convert.run_from_message(await self._unary(self._monitor.CancelRun, request))

    async def get_report(self, name: str) -> MatchReport:
        """Return the report ``reports/{uuid}`` with its sightings, the first 1,000 of them."""
        request = report_pb2.GetMatchReportRequest(name=name)
        return convert.report_from_message(await self._unary(self._reports.GetMatchReport, request))

    async def reports(
        self,
        *,
        list_name: str = "",
        owner: str = "",
        work: str = "",
        min_probability: float = 0.0,
        page_size: int = 0,
    ) -> AsyncGenerator[MatchReport, None]:
        """Yield match reports, oldest first, each with its first sighting.

        Args:
            list_name: Only those that ``lists/{uuid}`` led to; empty: all.
            owner: Only those on works of this owner; empty: all that the key may see.
            work: Only those on ``works/{uuid}``; empty: all.
            min_probability: Only those of at least this probability, 0..1.
            page_size: Reports that are fetched at a time, 1 to 1,000; 0: 100.
        """
        request = report_pb2.ListMatchReportsRequest(
            list=list_name, owner=owner, work=work, min_probability=min_probability, page_size=page_size
        )
        while True:
            page = await self._unary(self._reports.ListMatchReports, request)
            for message in page.reports:
                yield convert.report_from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch_reports(
        self, *, list_name: str = "", min_probability: float = 0.0, resume_token: str = ""
    ) -> AsyncGenerator[ReportEvent, None]:
        """Yield reports as they are made or gain sightings, without end.

        A connection that breaks is made again, and the stream goes on where it was.

        Args:
            list_name: Only those that ``lists/{uuid}`` led to; empty: all that the key may see.
            min_probability: Only those of at least this probability, 0..1.
            resume_token: Go on after the event that had it; empty: begin with the oldest report;
                ``now``: leave out what is there.
        """
        request = monitor_pb2.WatchReportsRequest(
            list=list_name, min_probability=min_probability, resume_token=resume_token
        )
        attempt = 0
        while True:
            call = self._monitor.WatchReports(request, metadata=self._transport.metadata)
            try:
                async for message in call:
                    attempt = 0
                    request.resume_token = message.resume_token
                    yield ReportEvent(convert.report_from_message(message.report), message.resume_token)
            except grpc.aio.AioRpcError as failure:
                attempt += 1
                await self._transport.pause(status.from_call(failure), attempt, failure)
            finally:
                call.cancel()

    async def get_capture(self, name: str) -> Capture:
        """Return what the server knows of ``captures/{uuid}``, with its custody."""
        request = capture_pb2.GetCaptureRequest(name=name)
        return convert.capture_from_message(await self._unary(self._captures.GetCapture, request))

    async def captures(
        self, run: str, *, content_state: str = "", page_size: int = 0
    ) -> AsyncGenerator[Capture, None]:
        """Yield what a run captured that its list had not seen before: one capture for each content.

        Args:
            run: ``lists/{uuid}/runs/{uuid}``.
            content_state: Only contents that are ``pending``, ``read`` or ``unreadable``; empty: all.
            page_size: Captures that are fetched at a time, 1 to 1,000; 0: 100.

        Yields:
            Captures without custody.
        """
        state = convert.content_state_to_message(content_state)
        request = capture_pb2.ListCapturesRequest(run=run, content_state=state, page_size=page_size)
        while True:
            page = await self._unary(self._captures.ListCaptures, request)
            for message in page.captures:
                yield convert.capture_from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
