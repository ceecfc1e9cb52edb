"""One run of a list: what the spider asks and tells, and whether the run goes on."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from uuid_utils import uuid7

from copyhound.monitor_types import Assignment, CaptureHeader, SeenAgain
from crawler import urls
from crawler.capture import Evidence, RobotsVerdict, Written, token_record, write_capture
from crawler.exchanges import Exchange, unpacked
from crawler.extract import Kind
from crawler.frontier import Frontier, HostBudget, Outcome, State, Task
from crawler.metrics import CrawlerMetrics
from crawler.rendering import Rendering
from crawler.scope import Scope
from crawler.settings import CrawlerSettings
from crawler.spool import Spool
from crawler.timestamp import TimestampAuthority

logger = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024
_MAX_URL: Final = 8_000
_MAX_TITLE: Final = 1_000


class Session:
    """A run under way."""

    def __init__(
        self,
        settings: CrawlerSettings,
        assignment: Assignment,
        frontier: Frontier,
        spool: Spool,
        *,
        crawler: str,
        metrics: CrawlerMetrics | None = None,
    ) -> None:
        """Begin the run, or go on with it.

        Args:
            settings: Of the crawler.
            assignment: What to do.
            frontier: State of all runs.
            spool: Where captures wait.
            crawler: Name of the crawler.
            metrics: Where it is counted; None: nowhere that anybody looks.
        """
        self.metrics = metrics or CrawlerMetrics()
        self.settings = settings
        self.assignment = assignment
        self.scope = Scope(assignment)
        self.run = frontier.open_run(assignment.run, assignment.list, assignment.max_pages)
        self.run.on_budget = self.metrics.refused.labels("budget").inc
        self.stopped = ""
        self.failure = ""
        self._frontier = frontier
        self._spool = spool
        self._crawler = crawler
        self._budget = HostBudget(
            settings.host_pages, int(settings.host_mb * _MIB), settings.host_hours * 3600.0
        )
        self._authority = TimestampAuthority(settings.timestamp_url) if settings.timestamp_url else None
        self._stop_event = asyncio.Event()
        if not self.run.begun():
            self.run.add(self.scope.starts())

    def stop(self, reason: str) -> None:
        """End the crawl; what waits goes on another time."""
        if not self.stopped:
            self.stopped = reason
            self._stop_event.set()

    def fail(self, reason: str) -> None:
        """End the crawl because of something that a person has to put right."""
        self.failure = self.failure or reason
        self.stop(reason)

    async def until_stopped(self) -> None:
        """Wait until `stop` is called."""
        await self._stop_event.wait()

    # The frontier

    def next_task(self) -> Task | None:
        """Return what to fetch next; None: nothing now."""
        if self.stopped or self._frontier.spooled_bytes > self.settings.spool_mb * _MIB:
            return None
        # Pages that wait for the browser wait in memory.
        pages = 2 * self.settings.browser_pages if self.settings.browser is not None else None
        return self.run.next_task(per_host=self.settings.host_concurrency, budget=self._budget, pages=pages)

    def finish(self, task: Task, outcome: Outcome) -> None:
        """Write down what became of a task, and count it.

        Raises:
            sqlite3.Error: If it cannot be written: the task stays under way.
        """
        media = self.run.finish(task, outcome)
        self.metrics.note(outcome, media)
        self.metrics.waiting.set(self.run.waiting)

    def refusal(self, url: str) -> str:
        """Say why something is not fetched for a page; empty: it may be."""
        return self.scope.refusal(url) or self.run.spent(urls.host_of(url), self._budget)

    def pending(self) -> bool:
        """Whether anything waits, or is under way."""
        return not self.stopped and self.run.waiting > 0

    def retry(self, task: Task, outcome: Outcome, after: float | None = None) -> Outcome:
        """Turn a failure that may pass into a later attempt, as long as there are attempts left.

        Args:
            task: What failed.
            outcome: How; its reason stays.
            after: Pause that the server asked for, in seconds.
        """
        if task.attempts + 1 >= self.settings.attempts:
            outcome.state = State.FAILED
            return outcome
        pause = self.settings.retry_seconds * 2.0**task.attempts
        outcome.state = State.WAITING
        outcome.due = time.time() + min(max(pause, after or 0.0), 3600.0)
        return outcome

    # Captures

    def page_of(self, task: Task) -> Exchange | None:
        """Return how the page that named a medium came; None: it was not kept."""
        data = self.run.exchange(task.parent)
        return unpacked(data) if data is not None else None

    def rendering_of(self, task: Task) -> Rendering | None:
        """Return how the page that named a medium looked; None: it was not kept."""
        data = self.run.rendering(task.parent)
        return Rendering.unpack(data) if data is not None else None

    async def keep(
        self,
        task: Task,
        outcome: Outcome,
        *,
        media_url: str,
        hops: Sequence[Exchange],
        exchanges: Sequence[Exchange],
        contents: Sequence[bytes],
        content_type: str,
        found_as: str,
        robots: RobotsVerdict,
        engine: Any,
        rendering: Rendering | None = None,
    ) -> None:
        """Make a capture of a content, or note where it was seen if it was captured often enough.

        Args:
            task: What was fetched.
            outcome: Gets the capture's header, or the sighting.
            media_url: Where the medium lies, after redirects; of a stream, its playlist.
            hops: What led to the exchanges.
            exchanges: Those that brought the content.
            contents: Their bodies, unpacked.
            content_type: As the server named it.
            found_as: How the page named it.
            robots: What robots.txt said.
            engine: Scrapy's, which asks the authority for a time stamp.
            rendering: How a page looked that is the content itself.

        Raises:
            DiskFullError: If there is not enough space.
            OSError: If it cannot be written.
        """
        digest = hashlib.sha256()
        for content in contents:
            digest.update(content)
        sha256 = digest.digest()
        outcome.sha256 = sha256
        same = task.sha256 == sha256
        if same or self.run.captured(sha256) >= self.settings.copies_of_content:
            outcome.seen = self.seen(task, sha256, media_url, found_as)
            return
        place = self.assignment.places[task.place]
        capture_id = UUID(bytes=uuid7().bytes)
        is_page = task.kind in (Kind.PAGE, Kind.FRAME)
        uploader = outcome.uploader if is_page else task.uploader
        evidence = Evidence(
            capture_id=capture_id,
            run=self.assignment.run,
            crawler=self._crawler,
            place_id=place.id,
            page=None if is_page else self.page_of(task),
            rendering=rendering if is_page else self.rendering_of(task),
            page_url=task.page_url,
            page_title=task.page_title,
            media_url=media_url,
            found_as=found_as,
            context=task.context,
            uploader=uploader,
            hops=hops,
            exchanges=exchanges,
            contents=contents,
            content_type=content_type[:255],
            robots=robots,
        )
        written, size = await self._write(evidence, engine)
        if size > self.assignment.max_capture_bytes:
            self._spool.remove(capture_id)
            outcome.state, outcome.cause = State.LEFT_OUT, "size"
            outcome.reason = "its capture is larger than the service takes"
            return
        outcome.header = CaptureHeader(
            capture_id=capture_id,
            run=self.assignment.run,
            crawler=self._crawler,
            media_url=media_url[:_MAX_URL],
            content_sha256=written.content_sha256,
            content_ranges=written.content_ranges,
            byte_count=size,
            sha256=written.digest.digest(),
            captured_at=exchanges[-1].received_at,
            place_id=place.id,
            page_url=task.page_url[:_MAX_URL],
            page_title=task.page_title[:_MAX_TITLE],
            requested_url="" if task.url == media_url else task.url[:_MAX_URL],
            found_as=found_as[:64],
            content_type=content_type[:255],
            remote_address=exchanges[-1].address,
            uploader=uploader,
        )

    async def _write(self, evidence: Evidence, engine: Any) -> tuple[Written, int]:
        """Write a capture into the spool, with a time stamp if there is an authority; return its size too."""
        capture = evidence.capture_id

        def draft() -> Written:
            return self._spool.draft(capture, lambda file: write_capture(file, evidence))

        def draft_and_commit() -> Written:
            written = draft()
            self._spool.commit(capture)
            return written

        if self._authority is None:
            written = await asyncio.to_thread(draft_and_commit)
            return written, written.size
        written = await asyncio.to_thread(draft)
        token = await self._authority.stamp(written.seal, engine)
        tail = token_record(token, written, evidence.media_url) if token else b""
        written.digest.update(tail)
        await asyncio.to_thread(self._spool.commit, capture, tail)
        return written, written.size + len(tail)

    def seen(self, task: Task, sha256: bytes, url: str, found_as: str) -> SeenAgain:
        """Return the sighting of a content at the place that a task names."""
        return SeenAgain(
            sha256=sha256,
            media_url=url[:_MAX_URL],
            seen_at=datetime.now(UTC),
            page_url=task.page_url[:_MAX_URL],
            page_title=task.page_title[:_MAX_TITLE],
            found_as=found_as[:64],
            uploader=task.uploader,
        )
