"""CaptureService: what crawlers do."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from copyhound.v1 import capture_pb2, capture_pb2_grpc
from service.blobs import Blobs, pieces
from service.catalogue import Catalogue
from service.errors import InvalidRequestError, LeaseLostError, MediaTooLargeError, NotFoundError
from service.metrics import Metrics
from service.monitored import (
    Capture,
    Content,
    MonitoringList,
    NewCapture,
    Place,
    PlaceKind,
    Progress,
    Run,
    Told,
)
from service.monitoring import events
from service.rpc import convert, convert_monitor, pages
from service.rpc.access import Caller, current_caller, not_found
from service.rpc.context import Context
from service.rpc.monitoring import visible_run
from service.rpc.uploads import Spooler, Upload, first_message
from service.store import Transaction, View

_MAX_SIGHTINGS = 1000
_MAX_TITLES = 1000
_WARC = b"WARC/"


class CaptureService(capture_pb2_grpc.CaptureServiceServicer):
    """See proto/copyhound/v1/capture.proto, which documents every method."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        spooler: Spooler,
        blobs: Blobs,
        lease_seconds: float,
        captured: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        """Take the parts; `captured` is called when there is something to read or match."""
        self._catalogue = catalogue
        self._spooler = spooler
        self._blobs = blobs
        self._lease = timedelta(seconds=lease_seconds)
        self._captured = captured
        self._metrics = metrics

    async def LeaseRun(
        self, request: capture_pb2.LeaseRunRequest, context: Context
    ) -> capture_pb2.LeaseRunResponse:
        """Give a crawler a run, if there is one."""
        del context
        crawler = convert_monitor.read_crawler(request.crawler)
        wanted = convert_monitor.read_run_name(request.run, "run")[1] if request.run else None
        # Whoever has nothing to do asks often: look before a transaction is begun.
        if wanted is None and await asyncio.to_thread(self._leasable, crawler) is None:
            return capture_pb2.LeaseRunResponse()

        def lease(transaction: Transaction) -> Run | None:
            now = datetime.now(UTC)
            chosen = wanted or transaction.lists.leasable(crawler, now)
            if chosen is None:
                return None
            return transaction.lists.lease(chosen, crawler, now, now + self._lease)

        run = await self._catalogue.write(lease)
        if run is None:
            return capture_pb2.LeaseRunResponse()
        return capture_pb2.LeaseRunResponse(assignment=await asyncio.to_thread(self._assignment, run))

    def _leasable(self, crawler: str) -> UUID | None:
        with self._catalogue.store.view() as view:
            return view.lists.leasable(crawler, datetime.now(UTC))

    def _assignment(self, run: Run) -> capture_pb2.Assignment:
        with self._catalogue.store.view() as view:
            found = view.lists.get(run.list_id)
            titles = _titles(view, found)
        settings = found.settings
        places: dict[str, Place] = {}
        for place in settings.places:
            places |= {one.id: one for one in convert_monitor.filled_in(place, titles)}
        return capture_pb2.Assignment(
            run=convert_monitor.run_name(run.list_id, run.id),
            list=convert_monitor.list_name(run.list_id),
            places=[convert_monitor.place_message(place) for place in places.values()],
            leave_alone=settings.leave_alone,
            max_depth=settings.max_depth,
            max_pages=settings.max_pages,
            max_capture_bytes=self._spooler.max_bytes,
            progress=convert_monitor.progress_message(run.progress),
            lease_expire_time=convert.timestamp(run.lease_expires_at or datetime.now(UTC)),
        )

    async def ReportProgress(
        self, request: capture_pb2.ReportProgressRequest, context: Context
    ) -> capture_pb2.ReportProgressResponse:
        """Note how far a run is."""
        del context
        crawler = convert_monitor.read_crawler(request.crawler)
        _, run_id = convert_monitor.read_run_name(request.run, "run")
        told = convert_monitor.read_told(request)
        before, run = await self._catalogue.write(partial(self._report, run_id, crawler, told))
        self._count(before, run.progress)
        return capture_pb2.ReportProgressResponse(
            cancelled=run.ended and run.state is not told.state,
            lease_expire_time=convert.timestamp(run.lease_expires_at or datetime.now(UTC)),
        )

    def _report(
        self, run_id: UUID, crawler: str, told: Told, transaction: Transaction
    ) -> tuple[Progress, Run]:
        now = datetime.now(UTC)
        before = transaction.lists.run(run_id)
        run = transaction.lists.report(run_id, crawler, told, now, now + self._lease)
        if run.ended and not before.ended:
            transaction.reports.tell(run.list_id, events.RUN_ENDED, events.run_ended(run, now), now)
        return before.progress, run

    def _count(self, before: Progress, after: Progress) -> None:
        for what in ("pages", "media", "captures", "bytes", "errors", "refused"):
            self._metrics.crawled.labels(what).inc(max(getattr(after, what) - getattr(before, what), 0))

    async def ReportSightings(
        self, request: capture_pb2.ReportSightingsRequest, context: Context
    ) -> capture_pb2.ReportSightingsResponse:
        """Note where contents were seen again."""
        del context
        crawler = convert_monitor.read_crawler(request.crawler)
        list_id, run_id = convert_monitor.read_run_name(request.run, "run")
        if len(request.sightings) > _MAX_SIGHTINGS:
            raise InvalidRequestError("sightings", f"send at most {_MAX_SIGHTINGS:,} at a time")
        seen = [convert_monitor.read_seen(one, f"sightings[{i}]") for i, one in enumerate(request.sightings)]

        def note(transaction: Transaction) -> list[int]:
            run = transaction.lists.check_held(run_id, crawler, datetime.now(UTC))
            _check_list(run, list_id)
            return [
                i for i, one in enumerate(seen) if not transaction.captures.see_again(list_id, run_id, one)
            ]

        unknown = await self._catalogue.write(note)
        self._captured()
        return capture_pb2.ReportSightingsResponse(unknown=unknown)

    async def IngestCapture(
        self, request_iterator: AsyncIterator[capture_pb2.IngestCaptureRequest], context: Context
    ) -> capture_pb2.IngestCaptureResponse:
        """Take a capture, and answer when it is durable."""
        del context
        caller = current_caller()
        header = (await first_message(request_iterator)).header
        crawler = convert_monitor.read_crawler(header.crawler)
        list_id, run_id = convert_monitor.read_run_name(header.run, "header.run")
        run = await asyncio.to_thread(self._held, run_id, crawler)
        _check_list(run, list_id)
        new = convert_monitor.read_capture(header, (list_id, run_id), run.owner, crawler)
        if new.byte_count > self._spooler.max_bytes:
            raise MediaTooLargeError(
                f"the server takes captures of at most {self._spooler.max_bytes} bytes",
                max_media_bytes=str(self._spooler.max_bytes),
            )
        upload = await self._spooler.receive(request_iterator, caller, _check_head)
        with upload.media:
            await asyncio.to_thread(_check_digests, new, upload)
            await asyncio.to_thread(self._blobs.put, new.sha256, upload.media)
        content_bytes = sum(length for _, length in new.ranges)

        def keep(transaction: Transaction) -> tuple[bool, bool]:
            now = datetime.now(UTC)
            if transaction.captures.exists(new.id, new.sha256):
                return True, True
            transaction.lists.check_held(run_id, crawler, now)
            return transaction.captures.add(new, caller.id, content_bytes, now)

        present, known = await self._catalogue.write(keep)
        self._metrics.captures.labels("present" if present else "stored").inc()
        self._captured()
        return capture_pb2.IngestCaptureResponse(
            capture=convert_monitor.capture_name(new.id), already_present=present, content_known=known
        )

    def _held(self, run_id: UUID, crawler: str) -> Run:
        with self._catalogue.store.view() as view:
            run = view.lists.run(run_id)
        if run.crawler != crawler:
            raise LeaseLostError(
                f"run {run_id} belongs to another crawler, or was not leased", run=str(run_id)
            )
        return run

    async def GetCapture(
        self, request: capture_pb2.GetCaptureRequest, context: Context
    ) -> capture_pb2.Capture:
        """Return what is known of a capture."""
        del context
        return await asyncio.to_thread(self._visible, request.name, current_caller())

    def _visible(self, name: str, caller: Caller) -> capture_pb2.Capture:
        capture_id = convert_monitor.read_capture_name(name, "name")
        with contextlib.suppress(NotFoundError), self._catalogue.store.view() as view:
            found = view.captures.get(capture_id)
            if caller.owner in (None, found.new.owner):
                content = view.captures.content(found.new.seen.sha256)
                return convert_monitor.capture_message(found, content, view.captures.custody(capture_id))
        raise not_found("capture", name)

    async def ListCaptures(
        self, request: capture_pb2.ListCapturesRequest, context: Context
    ) -> capture_pb2.ListCapturesResponse:
        """Return a page of what a run captured."""
        del context
        caller = current_caller()
        state = convert_monitor.read_content_state(request.content_state, "content_state")
        filters = (request.run, str(request.content_state))
        after = pages.read_token(request.page_token, filters)
        size = convert.read_page_size(request.page_size, "page_size", 100)

        def read() -> list[tuple[Capture, Content]]:
            with self._catalogue.store.view() as view:
                run = visible_run(view.lists.run, request.run, caller, "run")
                return view.captures.of_run(run.id, state, after=after, limit=size + 1)

        found = await asyncio.to_thread(read)
        last = found[size - 1][1].half if len(found) > size else None
        return capture_pb2.ListCapturesResponse(
            captures=[
                convert_monitor.capture_message(capture, content, ()) for capture, content in found[:size]
            ],
            next_page_token="" if last is None else pages.token(last, filters),
        )


def _titles(view: View, found: MonitoringList) -> list[str]:
    """What search pages without keywords are asked for: the titles of the list's works."""
    if not any(one.kind is PlaceKind.SEARCH and not one.keywords for one in found.settings.places):
        return []
    chosen = found.settings.works[:_MAX_TITLES]
    if chosen:
        works = list(view.get_works(chosen).values())
    else:
        works = view.list_works(owner=found.owner, limit=_MAX_TITLES)
    return list(dict.fromkeys(work.title.strip() for work in works if work.title.strip()))


def _check_list(run: Run, list_id: UUID) -> None:
    if run.list_id != list_id:
        raise NotFoundError(f"list {list_id} has no run {run.id}", run=str(run.id))


def _check_head(head: bytes) -> None:
    if not head.startswith(_WARC):
        raise InvalidRequestError("chunk", "is no WARC file")


def _check_digests(new: NewCapture, upload: Upload) -> None:
    """Check that what arrived is what the header says, whole and its content."""
    if (upload.byte_count, upload.sha256) != (new.byte_count, new.sha256):
        raise InvalidRequestError(
            "header.sha256", "or byte_count does not fit what arrived: the file changed; send it again"
        )
    digest = hashlib.sha256()
    for piece in pieces(upload.media, new.ranges):
        digest.update(piece)
    if digest.digest() != new.seen.sha256:
        raise InvalidRequestError("header.content_sha256", "does not fit the content that the ranges name")
