"""MonitorService: lists, their runs, and reports as they come."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from copyhound.v1 import monitor_pb2, monitor_pb2_grpc
from service.catalogue import Catalogue
from service.domain import Work
from service.errors import BusyError, InvalidRequestError, NotFoundError
from service.monitored import ListSettings, MonitoringList, ReportFilter, Run, StoredReport
from service.monitoring import events
from service.rpc import convert, convert_monitor, pages
from service.rpc.access import Caller, current_caller, not_found
from service.rpc.context import Context
from service.rpc.errors import failure
from service.rpc.once import Once, digest_of_request
from service.store import Store, Transaction, View

_WATCH_SECONDS = 0.5
"""Between two looks for reports that changed."""
_WATCH_PAGE = 100
_NOW = "now"


class MonitorService(monitor_pb2_grpc.MonitorServiceServicer):
    """See proto/copyhound/v1/monitor.proto, which documents every method."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Keep lists in the store of `catalogue`."""
        self._catalogue = catalogue
        self._store: Store = catalogue.store
        self._once = Once(catalogue)
        self._stopping = asyncio.Event()

    def stop_watching(self) -> None:
        """End the streams of reports, since the server stops."""
        self._stopping.set()

    async def CreateMonitoringList(
        self, request: monitor_pb2.CreateMonitoringListRequest, context: Context
    ) -> monitor_pb2.MonitoringList:
        """Create a list."""
        del context
        caller = current_caller()
        owner = convert.read_owner(request.list.owner, "list.owner")
        caller.may_write_for(owner)
        settings = await asyncio.to_thread(self._settings, request.list, (), ListSettings(), owner)
        now = datetime.now(UTC)

        def create(transaction: Transaction) -> monitor_pb2.MonitoringList:
            return convert_monitor.list_message(transaction.lists.create(owner, settings, now))

        if request.validate_only:
            place_count = len(settings.places)
            checked = MonitoringList(UUID(int=0), owner, settings, place_count, None, None, 0, now, now)
            message = convert_monitor.list_message(checked)
            message.name = ""
            return message
        digest = digest_of_request(request)
        return await self._once.write(caller, request.request_id, digest, monitor_pb2.MonitoringList, create)

    async def GetMonitoringList(
        self, request: monitor_pb2.GetMonitoringListRequest, context: Context
    ) -> monitor_pb2.MonitoringList:
        """Return a list."""
        del context
        caller = current_caller()
        found = await self._read(lambda view: _visible(view.lists.get, request.name, "name", caller))
        return convert_monitor.list_message(found)

    async def ListMonitoringLists(
        self, request: monitor_pb2.ListMonitoringListsRequest, context: Context
    ) -> monitor_pb2.ListMonitoringListsResponse:
        """Return a page of lists."""
        del context
        caller = current_caller()
        owner = convert.read_text(request.owner, "owner", 128)
        if caller.owner is not None and owner not in ("", caller.owner):
            return monitor_pb2.ListMonitoringListsResponse()
        size = convert.read_page_size(request.page_size, "page_size", 100)
        after = pages.read_token(request.page_token, (owner,))
        of_owner = (owner or None) if caller.owner is None else caller.owner
        found = await self._read(lambda view: view.lists.page(owner=of_owner, after=after, limit=size + 1))
        return monitor_pb2.ListMonitoringListsResponse(
            lists=[convert_monitor.list_message(one) for one in found[:size]],
            next_page_token=pages.token(found[size - 1].id, (owner,)) if len(found) > size else "",
        )

    async def UpdateMonitoringList(
        self, request: monitor_pb2.UpdateMonitoringListRequest, context: Context
    ) -> monitor_pb2.MonitoringList:
        """Change the fields that the mask names."""
        del context
        caller = current_caller()
        name, paths = request.list.name, tuple(request.update_mask.paths)
        convert_monitor.check_mask(paths)
        revision = convert.read_etag(request.list.etag, "list.etag")
        known = await self._read(lambda view: _visible(view.lists.get, name, "list.name", caller))
        wanted = await asyncio.to_thread(self._settings, request.list, paths, known.settings, known.owner)

        def change(transaction: Transaction) -> monitor_pb2.MonitoringList:
            now = datetime.now(UTC)
            latest = _visible(transaction.lists.get, name, "list.name", caller)
            # What others changed meanwhile stays, but for the fields that are named.
            fields = {_attribute(path): getattr(wanted, _attribute(path)) for path in paths}
            settings = replace(latest.settings, **fields) if paths else wanted
            convert_monitor.check_size(settings, "list")
            changed = transaction.lists.update(latest.id, settings, now, revision=revision)
            return convert_monitor.list_message(changed)

        digest = digest_of_request(request)
        return await self._once.write(caller, request.request_id, digest, monitor_pb2.MonitoringList, change)

    async def DeleteMonitoringList(
        self, request: monitor_pb2.DeleteMonitoringListRequest, context: Context
    ) -> monitor_pb2.DeleteMonitoringListResponse:
        """Delete a list."""
        del context
        caller = current_caller()
        revision = convert.read_etag(request.etag, "etag")

        def delete(transaction: Transaction) -> monitor_pb2.DeleteMonitoringListResponse:
            found = _visible(transaction.lists.get, request.name, "name", caller)
            transaction.lists.delete(found.id, revision=revision)
            return monitor_pb2.DeleteMonitoringListResponse()

        kind = monitor_pb2.DeleteMonitoringListResponse
        return await self._once.write(caller, request.request_id, digest_of_request(request), kind, delete)

    async def ImportItems(
        self, request: monitor_pb2.ImportItemsRequest, context: Context
    ) -> monitor_pb2.ImportItemsResponse:
        """Add works, places and exceptions to a list."""
        del context
        caller = current_caller()
        most = convert_monitor.MAX_ITEMS
        if not 1 <= len(request.items) <= most:
            raise InvalidRequestError("items", f"send 1 to {most:,} rows, not {len(request.items):,}")
        if request.validate_only and not request.name:
            owner = convert.read_owner(request.owner, "owner")
            caller.may_write_for(owner)
            rows, errors = await asyncio.to_thread(self._rows, request, owner)
            settings, added = _with_rows(ListSettings(), rows)
            convert_monitor.check_size(settings, "items")
            return monitor_pb2.ImportItemsResponse(
                added_count=added, present_count=len(rows) - added, errors=errors
            )
        found = await self._read(lambda view: _visible(view.lists.get, request.name, "name", caller))
        rows, errors = await asyncio.to_thread(self._rows, request, found.owner)
        refused = bool(errors) and not request.allow_partial

        def add(transaction: Transaction) -> monitor_pb2.ImportItemsResponse:
            latest = _visible(transaction.lists.get, request.name, "name", caller)
            settings, added = _with_rows(latest.settings, rows)
            convert_monitor.check_size(settings, "items")
            if added and not refused and not request.validate_only:
                transaction.lists.update(latest.id, settings, datetime.now(UTC), revision=None)
            return monitor_pb2.ImportItemsResponse(
                added_count=0 if refused else added, present_count=len(rows) - added, errors=errors
            )

        kind = monitor_pb2.ImportItemsResponse
        return await self._once.write(caller, request.request_id, digest_of_request(request), kind, add)

    def _rows(
        self, request: monitor_pb2.ImportItemsRequest, owner: str
    ) -> tuple[list[tuple[str, Any]], list[monitor_pb2.ImportItemsResponse.ItemError]]:
        rows, errors = [], []
        with self._store.view() as view:
            resolve = partial(_resolve, view, owner)
            for i, item in enumerate(request.items):
                try:
                    rows.append(convert_monitor.read_item(item, resolve))
                except InvalidRequestError as error:
                    errors.append(
                        monitor_pb2.ImportItemsResponse.ItemError(
                            row=i, field=error.field, error=failure(error)
                        )
                    )
        return rows, errors

    async def RunList(self, request: monitor_pb2.RunListRequest, context: Context) -> monitor_pb2.Run:
        """Ask for a run."""
        del context
        caller = current_caller()

        def start(transaction: Transaction) -> Run:
            now = datetime.now(UTC)
            found = _visible(transaction.lists.get, request.name, "name", caller)
            if not found.active(now):
                raise InvalidRequestError("name", "the list has expired; give it a later expire_time")
            if not found.settings.places:
                raise InvalidRequestError("name", "the list has no places to watch; import some")
            return transaction.lists.start_run(found.id, now, scheduled=False)[0]

        return convert_monitor.run_message(await self._catalogue.write(start))

    async def GetRun(self, request: monitor_pb2.GetRunRequest, context: Context) -> monitor_pb2.Run:
        """Return a run."""
        del context
        caller = current_caller()
        return convert_monitor.run_message(
            await self._read(lambda view: visible_run(view.lists.run, request.name, caller))
        )

    async def ListRuns(
        self, request: monitor_pb2.ListRunsRequest, context: Context
    ) -> monitor_pb2.ListRunsResponse:
        """Return a page of a list's runs."""
        del context
        caller = current_caller()
        size = convert.read_page_size(request.page_size, "page_size", 100)
        after = pages.read_token(request.page_token, (request.list,))

        def read(view: View) -> list[Run]:
            found = _visible(view.lists.get, request.list, "list", caller)
            return view.lists.runs(found.id, after=after, limit=size + 1)

        runs = await self._read(read)
        return monitor_pb2.ListRunsResponse(
            runs=[convert_monitor.run_message(run) for run in runs[:size]],
            next_page_token=pages.token(runs[size - 1].id, (request.list,)) if len(runs) > size else "",
        )

    async def CancelRun(self, request: monitor_pb2.CancelRunRequest, context: Context) -> monitor_pb2.Run:
        """End a run."""
        del context
        caller = current_caller()

        def cancel(transaction: Transaction) -> Run:
            now = datetime.now(UTC)
            found = visible_run(transaction.lists.run, request.name, caller)
            if found.ended:
                return found
            run = transaction.lists.cancel_run(found.id, now, "cancelled on request")
            transaction.reports.tell(run.list_id, events.RUN_ENDED, events.run_ended(run, now), now)
            return run

        return convert_monitor.run_message(await self._catalogue.write(cancel))

    async def WatchReports(
        self, request: monitor_pb2.WatchReportsRequest, context: Context
    ) -> AsyncIterator[monitor_pb2.WatchReportsResponse]:
        """Yield reports as they are made or change."""
        del context
        caller = current_caller()
        list_id = None
        if request.list:
            found = await self._read(lambda view: _visible(view.lists.get, request.list, "list", caller))
            list_id = found.id
        which = ReportFilter(
            list_id=list_id,
            owner=caller.owner,
            min_probability=convert.read_fraction(request.min_probability, "min_probability"),
        )
        if request.resume_token == _NOW:
            after = await asyncio.to_thread(self._store.sequence)
        else:
            after = _read_resume_token(request.resume_token)
        while True:
            changed, after = await asyncio.to_thread(self._changed, which, after)
            for report in changed:
                yield monitor_pb2.WatchReportsResponse(
                    report=convert_monitor.report_message(report), resume_token=_resume_token(report.sequence)
                )
            if self._stopping.is_set():
                raise BusyError("the server is stopping; go on with the last resume_token")
            if len(changed) < _WATCH_PAGE:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WATCH_SECONDS):
                        await self._stopping.wait()

    def _changed(self, which: ReportFilter, after: int) -> tuple[list[StoredReport], int]:
        """Reports that changed since, and up to where that is."""
        until = self._store.sequence()
        if until <= after:
            return [], after
        with self._store.view() as view:
            found = view.reports.changed(which, after=after, until=until, limit=_WATCH_PAGE)
        return found, found[-1].sequence if len(found) == _WATCH_PAGE else until

    async def _read(self, read: Callable[[View], Any]) -> Any:
        def look() -> Any:
            with self._store.view() as view:
                return read(view)

        return await asyncio.to_thread(look)

    def _settings(
        self, message: monitor_pb2.MonitoringList, paths: tuple[str, ...], known: ListSettings, owner: str
    ) -> ListSettings:
        with self._store.view() as view:
            return convert_monitor.read_settings(message, paths, known, partial(_resolve, view, owner))


def _attribute(path: str) -> str:
    """The attribute of the settings that a field of the message sets."""
    return {"expire_time": "expires_at"}.get(path, path)


def _resolve(view: View, owner: str, name: str, field: str) -> UUID:
    """The work that a row names, by its resource name or its external id."""
    work: Work | None
    if name.startswith("works/"):
        work_id = convert.read_work_name(name, field)
        work = view.get_works([work_id]).get(work_id)
    else:
        external_id = convert.read_text(name, field, 255).strip()
        if not external_id:
            raise InvalidRequestError(field, "is empty: name a work, or leave it out")
        work = view.find_work(owner, external_id)
    if work is None or work.owner != owner:
        raise InvalidRequestError(field, f"“{convert.shown(name)}” is no work of {owner}; register it first")
    return work.id


def _with_rows(settings: ListSettings, rows: list[tuple[str, Any]]) -> tuple[ListSettings, int]:
    """The settings with what rows add, and how many of them were new."""
    known: dict[str, dict[object, object]] = {
        "works": {one: one for one in settings.works},
        "places": {place.id: place for place in settings.places},
        "leave_alone": {one: one for one in settings.leave_alone},
    }
    added = 0
    for field, value in rows:
        key = value.id if field == "places" else value
        if known[field].get(key) != value:
            added += key not in known[field] or field == "places"
            known[field][key] = value
    fields: dict[str, Any] = {field: tuple(values.values()) for field, values in known.items()}
    return replace(settings, **fields), added


def _visible(get: Callable[[UUID], MonitoringList], name: str, field: str, caller: Caller) -> MonitoringList:
    """A list that the caller may see; those of others are as if they were not there."""
    list_id = convert_monitor.read_list_name(name, field)
    with contextlib.suppress(NotFoundError):
        found = get(list_id)
        if caller.owner in (None, found.owner):
            return found
    raise not_found("list", name)


def visible_run(get: Callable[[UUID], Run], name: str, caller: Caller, field: str = "name") -> Run:
    """The run of a name, if the caller may see it.

    Raises:
        NotFoundError: If there is none that the caller may see.
        InvalidRequestError: If it is no name of a run.
    """
    list_id, run_id = convert_monitor.read_run_name(name, field)
    with contextlib.suppress(NotFoundError):
        found = get(run_id)
        if found.list_id == list_id and caller.owner in (None, found.owner):
            return found
    raise not_found("run", name)


def _resume_token(sequence: int) -> str:
    return base64.urlsafe_b64encode(sequence.to_bytes(8, "big")).decode()


def _read_resume_token(text: str) -> int:
    if not text:
        return 0
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 8:
        raise InvalidRequestError("resume_token", "is not a token that this server gave; begin anew")
    return int.from_bytes(raw, "big")
