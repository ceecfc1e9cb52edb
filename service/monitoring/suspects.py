"""Captured contents: read in the sandbox, fingerprinted once, matched once for each list that saw them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import structlog

from service.blobs import Blobs, cut_out
from service.catalogue import Catalogue
from service.domain import CONTAINER, Match
from service.errors import BusyError, NotFoundError, ServiceError, StorageFullError, UnreadableMediaError
from service.inquiry import Options
from service.loop import Loop
from service.matcher import Matcher
from service.matching.report import Selection
from service.metrics import Metrics
from service.monitored import SHOWN_PARTS, Content, Finding, Suspect, Watch
from service.monitoring import events
from service.monitoring.near import SuspectIndexes
from service.monitoring.registrations import Block, Registrations
from service.store import Transaction
from service.store.monitor_codec import load_parts

T = TypeVar("T")

_AT_ONCE = 64
_SECONDS = 1.0
"""Between two looks for what other servers took, and for works that were registered."""
_MOST_MATCHES = 1000

log = structlog.get_logger()


class Suspects:
    """Reads and matches what was captured, and looks for newly registered works in it."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        matcher: Matcher,
        blobs: Blobs,
        scratch: Path,
        near: SuspectIndexes,
        parallel: int,
        metrics: Metrics,
    ) -> None:
        """Take the parts.

        Args:
            catalogue: The works, and the store.
            matcher: Reads and matches.
            blobs: Where captures are.
            scratch: Folder for contents that are being read.
            near: Says which of what was captured is worth comparing with a new work.
            parallel: Contents in work at the same time.
            metrics: Where it is counted.
        """
        self._catalogue = catalogue
        self._matcher = matcher
        self._blobs = blobs
        self._scratch = scratch
        self._slots = asyncio.Semaphore(parallel)
        self._metrics = metrics
        self._threshold = matcher.review_threshold
        self._registrations = Registrations(catalogue, matcher, near)
        self._loop = Loop("suspects", self._work, _SECONDS)

    def start(self) -> None:
        """Begin, or go on with what an earlier run left."""
        self._loop.start()

    def wake(self) -> None:
        """Say that something was captured."""
        self._loop.wake()

    async def close(self) -> None:
        """Stop; what is not done yet is done after the next start."""
        await self._loop.close()

    async def _work(self) -> None:
        while True:
            contents, watches = await asyncio.to_thread(self._look)
            if not contents and not watches:
                break
            await self._each(self._read, contents)
            await self._each(self._match, watches)
        await self._ask_registered()
        await asyncio.to_thread(self._registrations.tend)

    def _look(self) -> tuple[list[Content], list[Watch]]:
        with self._catalogue.store.view() as view:
            unread, unmatched = view.captures.waiting()
            for what, count in (("read", unread), ("match", unmatched)):
                self._metrics.suspects_waiting.labels(what).set(count)
            return (
                view.captures.pending_contents(_AT_ONCE) if unread else [],
                view.captures.ready_watches(_AT_ONCE) if unmatched else [],
            )

    async def _each(self, work: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
        async def one(item: T) -> None:
            async with self._slots:
                await work(item)

        results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _read(self, content: Content) -> None:
        """Fingerprint a content, or note why it cannot be read."""
        try:
            with await asyncio.to_thread(self._open, content) as media:
                read, left_out = await self._matcher.read_suspect(media, content.sha256)
        except (BusyError, StorageFullError):
            raise  # it stays pending and is tried again
        except Exception as error:
            if not isinstance(error, ServiceError):
                log.exception("content failed", sha256=content.sha256.hex())
            reason = _reason(error)
            await self._write(
                lambda transaction, now: transaction.captures.set_unreadable(content.sha256, reason, now)
            )
            self._metrics.contents.labels("unreadable").inc()
            return
        await self._write(lambda transaction, now: transaction.captures.set_read(read, left_out, now))
        self._metrics.contents.labels("read").inc()

    def _open(self, content: Content) -> BinaryIO:
        """The content by itself, in a file without a name."""
        with self._catalogue.store.view() as view:
            capture = view.captures.get(content.capture_id)
        return cut_out(self._blobs, capture.new.sha256, capture.new.ranges, self._scratch)

    async def _match(self, watch: Watch) -> None:
        """Match a content for a list, and report what is found."""
        now = datetime.now(UTC)
        expires_at = watch.settings.expires_at
        suspect, asking = await asyncio.to_thread(self._load, watch)
        if suspect is None or (expires_at is not None and expires_at <= now):
            done = self._catalogue.sequence
            await self._write(
                lambda transaction, _: transaction.captures.set_matched(watch, max(done, asking), 0)
            )
            return
        options = Options(
            selection=Selection(0.0, 0.0, 0.0, _MOST_MATCHES),  # `in_scope` chooses
            owner=watch.owner,
            min_sequence=asking,
        )
        answer = await self._matcher.match_suspect(suspect, options)
        finding = Finding(
            matches=in_scope(answer.matches, watch, self._threshold),
            policy_revision=answer.verdict.policy_revision,
            sequence=answer.sequence,
            on_registration=False,
        )

        def keep(transaction: Transaction, now: datetime) -> int:
            if _recalled(transaction, answer.matches):
                return 0  # matched again, as it has to be now
            if not transaction.captures.set_matched(watch, finding.sequence, len(finding.matches)):
                return 0
            return record(transaction, watch, finding, suspect.modality, now)

        made = await self._write(keep)
        self._metrics.reports.labels("capture").inc(made)

    def _load(self, watch: Watch) -> tuple[Suspect | None, int]:
        with self._catalogue.store.view() as view:
            return view.captures.suspect(watch.sha256), view.captures.registration_marks()[1]

    async def _ask_registered(self) -> None:
        """Look for works that were registered since in what was captured before."""
        while True:
            block = await asyncio.to_thread(self._registrations.next_block)
            if block is None:
                return
            await self._write(partial(_set_asking, block))
            async for suspect, watch, finding in self._registrations.ask(block):
                matches = in_scope(finding.matches, watch, self._threshold)
                await self._keep_registered(suspect, watch, finding, matches)
            await self._write(partial(_set_asked, block))

    async def _keep_registered(
        self, suspect: Suspect, watch: Watch, finding: Finding, matches: tuple[Match, ...]
    ) -> None:
        if not matches:
            return
        kept = Finding(matches, finding.policy_revision, finding.sequence, on_registration=True)

        def keep(transaction: Transaction, now: datetime) -> int:
            made = record(transaction, watch, kept, suspect.modality, now)
            transaction.captures.count_reports(watch, made)
            return made

        made = await self._write(keep)
        self._metrics.reports.labels("registration").inc(made)

    async def _write(self, operation: Callable[[Transaction, datetime], T]) -> T:
        return await self._catalogue.write(lambda transaction: operation(transaction, datetime.now(UTC)))


def _set_asking(block: Block, transaction: Transaction, _: datetime) -> None:
    transaction.captures.set_asking(block.target)


def _set_asked(block: Block, transaction: Transaction, _: datetime) -> None:
    if block.recalled:
        transaction.captures.set_recalled(block.references)
    else:
        transaction.captures.set_asked(block.until)


def least(watch: Watch, threshold: float) -> float:
    """Least probability of a report for a list."""
    wanted = watch.settings.min_probability
    return threshold if wanted is None else wanted


def in_scope(matches: Sequence[Match], watch: Watch, threshold: float) -> tuple[Match, ...]:
    """The matches that a list is told of: of its works, probable, not licensed to all, and not suppressed.

    The same scene of a film counts, though it may be another moment: still films are copied too.
    """
    works = set(watch.settings.works)
    return tuple(
        match
        for match in matches
        if match.work.owner == watch.owner
        and (not works or match.work.id in works)
        and max(match.probability, match.scene) >= least(watch, threshold)
        and match.licence is None
        and not match.suppressed
    )


def _recalled(transaction: Transaction, matches: Sequence[Match]) -> bool:
    """Whether something was kept back that is suppressed no more."""
    held = [
        {match.reference.id, match.reference.container_id or match.reference.id, match.work.id}
        for match in matches
        if match.suppressed
    ]
    still = transaction.reviews.suppressed(set().union(*held))
    return any(still.isdisjoint(subjects) for subjects in held)


def record(transaction: Transaction, watch: Watch, finding: Finding, modality: str, now: datetime) -> int:
    """Keep what was found, and tell the list's webhook of what is new; return how many that is."""
    told = transaction.reports.record(watch, finding, modality, now)
    if told and modality != CONTAINER:
        transaction.previews.ask(watch.sha256, modality, now)
    for report in told:
        for part in load_parts(report.match)[:SHOWN_PARTS]:
            transaction.previews.ask(part.key, part.modality, now)
        body = events.report_created(watch.list_id, report, now)
        transaction.reports.tell(watch.list_id, events.REPORT_CREATED, body, now)
    return len(told)


def _reason(error: Exception) -> str:
    if isinstance(error, UnreadableMediaError):
        return f"{error.reason}: {error}"
    if isinstance(error, NotFoundError):
        return f"CAPTURE_LOST: {error}"
    return "INTERNAL: the server failed on this content; its log tells more"
