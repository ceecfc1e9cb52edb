"""Hands captures and sightings over, and tells how far a run is; waits as long as the other side is away."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from copyhound import errors
from copyhound.monitor_types import CaptureHeader, RunState
from crawler import urls
from crawler.frontier import Frontier
from crawler.handover import MAX_SIGHTINGS, Handover
from crawler.session import Session
from crawler.spool import Spool

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.5
_IDLE_SECONDS: Final = 0.2
_AT_ONCE: Final = 4

LATER: Final = (
    errors.BusyError,
    errors.CancelledError,
    errors.DeadlineExceededError,
    errors.QuotaExceededError,
    errors.ServerError,
    errors.ServerUnreachableError,
    errors.StorageFullError,
)
"""Errors that pass: the same call is made again, with longer and longer pauses."""

REFUSED: Final = (errors.ForbiddenError, errors.UnauthenticatedError)
"""Errors that a person has to put right: the crawler's key was revoked, or has another role."""


class Delivery:
    """Carries one session's captures to the other side.

    A capture leaves the outbox when the other side says that it is durable there. Killed in between, it is
    handed over again, under the same id.
    """

    def __init__(
        self, handover: Handover, frontier: Frontier, spool: Spool, session: Session, *, longest_pause: float
    ) -> None:
        """Prepare.

        Args:
            handover: The other side.
            frontier: Holds the outbox.
            spool: Holds the files.
            session: The run, which ends when the other side does not want it any more.
            longest_pause: Between two attempts, in seconds.
        """
        self._handover = handover
        self._frontier = frontier
        self._spool = spool
        self._session = session
        self._longest = longest_pause
        self.crawled = asyncio.Event()
        self._waiting: set[str] = set()

    @property
    def away(self) -> bool:
        """Whether something waits since the other side did not take it."""
        return bool(self._waiting)

    async def run(self) -> None:
        """Carry until the crawl has ended and nothing waits any more."""
        while True:
            ended = self.crawled.is_set()
            carried = await self._captures()
            carried |= await self._sightings()
            if self._session.failure:
                return
            if carried:
                continue
            if ended:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.crawled.wait(), _IDLE_SECONDS)

    async def report(self, state: RunState, message: str = "") -> bool:
        """Tell how far the run is; whether it is still wanted."""
        run = self._session.run

        async def send() -> bool:
            lease = await self._handover.report_progress(
                run.name, run.progress(), state=state, message=message
            )
            return not lease.cancelled

        try:
            wanted = await self._patiently(send, "the run's progress")
        except REFUSED as error:
            self._session.fail(str(error))
            return False
        if not wanted and state is RunState.RUNNING:
            self.unwanted()
        return bool(wanted)

    def unwanted(self) -> None:
        """Stop, and forget what waits: the run was cancelled, or another crawler has it."""
        for capture in self._frontier.drop_run(self._session.run.name):
            self._spool.remove_named(capture)
        self._session.run.end("the run was cancelled")
        self._session.stop("the run was cancelled, or belongs to another crawler")

    async def _captures(self) -> bool:
        headers = self._frontier.waiting_captures(_AT_ONCE)
        outbox = self._session.metrics.outbox
        outbox.labels("captures").set(self._frontier.outbox_count() if headers else 0)
        outbox.labels("bytes").set(self._frontier.spooled_bytes if headers else 0)
        if headers:
            await asyncio.gather(*map(self._capture, headers))
        return bool(headers)

    async def _capture(self, header: CaptureHeader) -> None:
        path = self._spool.path(header.capture_id)

        async def send() -> bool:
            await self._handover.ingest_capture(header, path)
            return True

        try:
            await self._patiently(send, "a capture")
        except REFUSED as error:
            self._session.fail(str(error))
            return
        except (errors.CopyhoundError, FileNotFoundError) as error:
            where = self._spool.set_aside(header.capture_id)
            logger.error("a capture is refused: %s; it lies in %s", urls.shown(str(error)), where)  # noqa: TRY400
        self._frontier.handed_over(header.capture_id)
        await asyncio.to_thread(self._spool.remove, header.capture_id)

    async def _sightings(self) -> bool:
        waiting = self._frontier.waiting_sightings(MAX_SIGHTINGS)
        if not waiting:
            return False
        run = waiting[0][1]
        rows = [row for row, of, _ in waiting if of == run]
        seen = [sighting for _, of, sighting in waiting if of == run]
        try:
            unknown = await self._patiently(lambda: self._handover.report_sightings(run, seen), "sightings")
        except REFUSED as error:
            self._session.fail(str(error))
            return False
        for sighting in unknown or ():
            self._frontier.capture_again(self._session.run.list, sighting.sha256)
        self._frontier.told(rows)
        return True

    async def _patiently(self, call: Callable[[], Awaitable[T]], what: str) -> T | None:
        """Make a call until the other side answers; None: it does not want the run any more.

        Raises:
            CopyhoundError: If it will never take it.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = await call()
            except errors.LeaseLostError as error:
                logger.warning("the run is not ours any more: %s", urls.shown(str(error)))
                self.unwanted()
                return None
            except errors.NotFoundError as error:
                logger.warning("the run is gone: %s", urls.shown(str(error)))
                self.unwanted()
                return None
            except LATER as error:
                if what not in self._waiting:
                    logger.warning("%s cannot be handed over yet: %s", what, urls.shown(str(error)))
                self._waiting.add(what)
                self._session.metrics.away.set(1)
                await asyncio.sleep(max(pause, error.retry_after or 0.0))
                pause = min(pause * 2, self._longest)
            else:
                if what in self._waiting:
                    logger.warning("%s can be handed over again", what)
                self._waiting.discard(what)
                self._session.metrics.away.set(self.away)
                return answer
