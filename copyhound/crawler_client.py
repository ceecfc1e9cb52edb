"""The client of crawlers: runs to work on, captures to hand over."""

from collections.abc import Sequence
from itertools import chain

from copyhound import monitor_convert as convert
from copyhound.media import CHUNK_BYTES, LocalMedia
from copyhound.monitor_types import (
    Assignment,
    CaptureHeader,
    Ingested,
    Lease,
    Progress,
    RunState,
    SeenAgain,
)
from copyhound.transport import Connected, Tls, Transport, stream
from copyhound.types import Source
from copyhound.v1 import capture_pb2, capture_pb2_grpc


class AsyncCrawlerClient(Connected):
    """Takes runs and hands captures over. Made and used inside one running event loop.

    Every method raises a subclass of `CopyhoundError`. Repeating any of them is safe; what the server refuses
    because it is busy, and what cannot reach it, is repeated within the timeout. `LeaseLostError` says that
    another crawler has the run, or that it has ended: stop working on it.
    """

    def __init__(
        self,
        target: str,
        *,
        crawler: str,
        api_key: str | None = None,
        tls: Tls | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Prepare the connection; the first call makes it.

        Args:
            target: The server's ``HOST:PORT``.
            crawler: The name that the crawler keeps over restarts, and shares with no other, 1 to 128
                characters.
            api_key: Of role ``crawler`` or ``admin``; None: anonymous.
            tls: None: no encryption.
            timeout: Longest time that one call may take, repetitions included, in seconds.

        Raises:
            LocalFileError: If a PEM file of `tls` cannot be read.
        """
        self._transport = Transport(target, api_key=api_key, tls=tls, timeout=timeout)
        self._captures = capture_pb2_grpc.CaptureServiceStub(self._transport.channel)
        self._crawler = crawler

    async def lease_run(self, run: str = "") -> Assignment | None:
        """Take a run to work on.

        Args:
            run: Which, ``lists/{uuid}/runs/{uuid}``; empty: what this crawler holds already, else the oldest
                that waits or whose lease has ended.

        Returns:
            What to do; None: nothing now.

        Raises:
            LeaseLostError: If the run that was asked for has ended, or belongs to another crawler.
        """
        request = capture_pb2.LeaseRunRequest(crawler=self._crawler, run=run)

        async def send(seconds: float) -> capture_pb2.LeaseRunResponse:
            return await self._captures.LeaseRun(request, timeout=seconds, metadata=self._transport.metadata)

        response = await self._transport.call(send)
        if not response.HasField("assignment"):
            return None
        return convert.assignment_from_message(response.assignment)

    async def report_progress(
        self, run: str, progress: Progress, *, state: RunState = RunState.RUNNING, message: str = ""
    ) -> Lease:
        """Tell how far a run is, and renew its lease.

        Args:
            run: ``lists/{uuid}/runs/{uuid}``.
            progress: Counted from the beginning of the run.
            state: RUNNING; DONE or FAILED at its end; PENDING gives it back to be taken by another.
            message: For people, at most 1,000 characters.

        Raises:
            LeaseLostError: If the run belongs to another crawler.
        """
        request = capture_pb2.ReportProgressRequest(
            run=run,
            crawler=self._crawler,
            progress=convert.progress_to_message(progress),
            state=convert.state_to_message(state),
            message=message[:1000],
        )

        async def send(seconds: float) -> capture_pb2.ReportProgressResponse:
            return await self._captures.ReportProgress(
                request, timeout=seconds, metadata=self._transport.metadata
            )

        return convert.lease_from_message(await self._transport.call(send))

    async def report_sightings(self, run: str, sightings: Sequence[SeenAgain]) -> tuple[SeenAgain, ...]:
        """Tell of places where contents were seen that were captured before.

        Args:
            run: ``lists/{uuid}/runs/{uuid}``.
            sightings: At most 1,000.

        Returns:
            Those whose contents the server does not have: they have to be captured.

        Raises:
            LeaseLostError: If the run has ended, or belongs to another crawler.
        """
        request = capture_pb2.ReportSightingsRequest(
            run=run,
            crawler=self._crawler,
            sightings=[convert.seen_to_message(seen) for seen in sightings],
        )

        async def send(seconds: float) -> capture_pb2.ReportSightingsResponse:
            return await self._captures.ReportSightings(
                request, timeout=seconds, metadata=self._transport.metadata
            )

        response = await self._transport.call(send)
        return tuple(sightings[i] for i in response.unknown)

    async def ingest_capture(self, header: CaptureHeader, warc: Source) -> Ingested:
        """Hand a capture over, and wait until it is durable.

        Args:
            header: What it is of. Its `crawler` has to be this client's.
            warc: The WARC file: path, bytes or seekable binary file object, read anew for every attempt.

        Raises:
            InvalidRequestError: If the capture can never be taken, as where a digest does not fit.
            LeaseLostError: If the run has ended, or belongs to another crawler.
            MediaTooLargeError: If it is larger than the server takes.
            StorageFullError: If the server's disk is full: try again later.
        """
        local = LocalMedia.of(warc)
        first = capture_pb2.IngestCaptureRequest(header=convert.header_to_message(header))

        async def send(seconds: float) -> capture_pb2.IngestCaptureResponse:
            call = self._captures.IngestCapture(timeout=seconds, metadata=self._transport.metadata)
            chunks = (capture_pb2.IngestCaptureRequest(chunk=chunk) for chunk in local.chunks())
            # Most captures are small: a thread for each message would cost more than sending it.
            if local.size <= CHUNK_BYTES:
                return await stream(call, [first, *chunks])
            return await stream(call, chain([first], chunks))

        return convert.ingested_from_message(await self._transport.call(send))
