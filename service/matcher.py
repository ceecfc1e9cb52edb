"""Reads media and answers queries: what runs where, and for whom it stops."""

import asyncio
import contextvars
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, BinaryIO, TypeVar

import numpy as np

from indexers import registry
from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Modality, Role
from service.containers import Containers
from service.domain import CONTAINER, Action, MatchReport
from service.errors import BusyError, StaleError, UnreadableMediaError
from service.inquiry import DAMAGED, Answering, Inquiry, Options, Searched
from service.matching.score import IDENTICAL_FILE
from service.monitored import Suspect
from service.sandbox import Pool, Reading, ReadMedia, read_twice

T = TypeVar("T")

_RESERVE = 0.15
"""Part of a caller's time that is kept back for deciding and answering."""
_EARLY = 0.99
"""Probability of a copy in the beginning of an upload that makes an answer to it sure."""
_WAIT_SECONDS = 5.0
"""Longest wait for `min_sequence` where the caller set no deadline."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked about: fingerprints, a digest, or both.

    Attributes:
        modality: Kind of media; None where only a digest is known.
        fingerprints: With all views that are known; empty where only a digest is.
        sha256: Digest of the file, where known.
    """

    modality: str | None
    fingerprints: tuple[Fingerprint, ...]
    sha256: bytes | None

    @classmethod
    def of(cls, media: ReadMedia) -> "Query":
        """The query that a media item makes."""
        return cls(media.modality, media.fingerprints, media.sha256)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two media items relate.

    Attributes:
        alignment: None where they have no scheme in common.
        notes: What was not looked at, for people.
    """

    probability: float
    alignment: Alignment | None
    notes: tuple[str, ...]


class Matcher:
    """Reads media and answers queries against a catalogue."""

    def __init__(self, answering: Answering, pool: Pool) -> None:
        """Take the parts."""
        self._answering = answering
        self._pool = pool
        # Its own, so that long matches leave threads to everything else.
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="match")
        self._containers = Containers(answering, pool, self._run, self._observe)

    async def close(self) -> None:
        """Wait for what is being matched; drop what waits."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    @property
    def review_threshold(self) -> float:
        """Probability from which a match is returned where the caller names none."""
        return self._answering.thresholds.review

    async def read(
        self, media: BinaryIO, role: Role, modality: str | None = None, reading: Reading | None = None
    ) -> ReadMedia:
        """Fingerprint a media item in the sandbox, of a container each part.

        Args:
            media: The item.
            role: What the fingerprints are for.
            modality: Kind of media; None: detect it.
            reading: Kept up to date with how far that has come.

        Raises:
            UnreadableMediaError: If it cannot be read.
            BusyError: If too many wait, or the service is stopping.
        """
        with self._answering.metrics.stage("read"):
            listing = None if role is Role.QUERY else await self._containers.listing(media, modality)
            if listing is not None:
                return await self._containers.read(media, listing, reading or Reading())
            read = await self._pool.read(media, role=role, modality=modality, reading=reading)
        self._observe(read)
        return read

    def _observe(self, read: ReadMedia) -> None:
        stages = self._answering.metrics.stages
        stages.labels("decode").observe(read.decode_seconds)
        stages.labels("fingerprint").observe(read.fingerprint_seconds)

    async def read_suspect(self, media: BinaryIO, sha256: bytes) -> tuple[Suspect, tuple[str, ...]]:
        """Fingerprint what was captured in the sandbox, of a container each part.

        Returns:
            What was found in it, and what of a container was left out, for people.

        Raises:
            UnreadableMediaError: If it cannot be read.
            BusyError: If too many wait, or the service is stopping.
        """
        with self._answering.metrics.stage("read"):
            listing = await self._containers.listing(media, None)
            if listing is not None:
                return await self._containers.read_suspect(media, sha256, listing)
            read = await read_twice(self._pool, media, role=Role.QUERY)
        self._observe(read)
        return Suspect(sha256, read.modality, read.fingerprints), ()

    async def match_suspect(
        self, suspect: Suspect, options: Options, searched: Searched | None = None
    ) -> MatchReport:
        """Answer what a captured content is a copy of.

        Args:
            suspect: What was captured.
            options: How to answer.
            searched: Where it is looked for; None: in the catalogue.

        Raises:
            StaleError: If `min_sequence` is not seen in time.
        """
        if suspect.modality == CONTAINER:
            await self._wait(options)
            return await self._containers.match_known(suspect, options, searched)
        query = Query(suspect.modality, suspect.fingerprints, suspect.sha256)
        return await self.match(query, options, searched)

    async def match(self, query: Query, options: Options, searched: Searched | None = None) -> MatchReport:
        """Answer a query whose fingerprints are known.

        Args:
            query: What is asked about.
            options: How to answer.
            searched: Where it is looked for; None: in the catalogue.

        Raises:
            StaleError: If `min_sequence` is not seen in time.
        """
        await self._wait(options)
        inquiry = Inquiry(self._answering, options, query.sha256, _last_moment(options.deadline), searched)
        return await self._answer(
            inquiry, self._run(lambda: inquiry.look(query.modality, query.fingerprints, more=False))
        )

    async def match_media(
        self, media: BinaryIO, sha256: bytes, options: Options, modality: str | None = None
    ) -> MatchReport:
        """Answer what a media item is a copy of: read it only as far as it takes to be sure.

        Args:
            media: The file.
            sha256: Its digest.
            options: How to answer.
            modality: Kind of media; None: detect it.

        Raises:
            StaleError: If `min_sequence` is not seen in time.
            UnreadableMediaError: If it cannot be read.
            BusyError: If too many wait, or the service is stopping.
        """
        await self._wait(options)
        last_moment = _last_moment(options.deadline)
        listing = await self._containers.listing(media, modality)
        if listing is not None:
            return await self._containers.match(media, sha256, listing, options, last_moment)
        return await self._match_item(media, sha256, options, last_moment, modality)

    async def _match_item(
        self,
        media: BinaryIO,
        sha256: bytes | None,
        options: Options,
        last_moment: float,
        modality: str | None,
    ) -> MatchReport:
        """Answer what a media item that is no container is a copy of."""
        inquiry = Inquiry(self._answering, options, sha256, last_moment)
        waiting_since = monotonic()

        async def consider(read: ReadMedia) -> Collection[int] | None:
            nonlocal waiting_since
            self._answering.metrics.stages.labels("read").observe(monotonic() - waiting_since)
            self._observe(read)
            await self._run(
                lambda: inquiry.look(read.modality, read.fingerprints, more=read.more, lost=read.lost)
            )
            waiting_since = monotonic()
            return inquiry.closer

        return await self._answer(
            inquiry, self._pool.read(media, role=Role.QUERY, modality=modality, consider=consider)
        )

    async def match_beginning(
        self, media: BinaryIO, options: Options, modality: str | None = None
    ) -> MatchReport | None:
        """Answer by the beginning of a media item, if what follows cannot change what is to be done with it.

        That is where it surely holds a copy for which the most severe action is asked. The answer is partial.
        Others go first: while any waits to be read, this does not.

        Args:
            media: A file with the beginning; if it cannot be read, that means nothing.
            options: How to answer. Where a match has to cover a part of the query or of the work, the rest
                has to be known.
            modality: Kind of media; None: detect it.

        Returns:
            None where the rest may change it.
        """
        selection = options.selection
        if self._pool.waiting or selection.min_query_coverage or selection.min_work_coverage:
            return None
        size = os.fstat(media.fileno()).st_size
        try:
            await self._wait(options)
            found = await self._match_item(media, None, options, _last_moment(options.deadline), modality)
        except (UnreadableMediaError, BusyError, StaleError):
            return None
        severe = max(Action)
        sure = any(one.action is severe and one.probability >= _EARLY for one in found.matches)
        # A beginning is cut off: that says nothing.
        if not sure or not all(one.startswith(DAMAGED) for one in found.partial_reasons):
            return None
        return replace(
            found, partial_reasons=(f"EARLY: the first {size} bytes settle it; the rest was not read",)
        )

    async def _wait(self, options: Options) -> None:
        """Wait until the change that the caller wants seen is seen."""
        catalogue = self._answering.catalogue
        if options.min_sequence > catalogue.sequence:
            seconds = _WAIT_SECONDS
            if options.deadline is not None:
                seconds = min(seconds, (options.deadline - monotonic()) * (1 - _RESERVE))
            await catalogue.wait_for(options.min_sequence, seconds=seconds)

    async def _answer(self, inquiry: Inquiry, looking: Awaitable[object]) -> MatchReport:
        try:
            await looking
        except asyncio.CancelledError:  # nobody waits for the answer: the thread is to stop
            inquiry.cancel()
            raise
        if inquiry.answer is None:
            raise AssertionError("the last stage answers")
        return inquiry.answer

    async def compare(self, a: Query, b: Query) -> Comparison:
        """Relate two media items; `a` should hold the query's views."""
        return await self._run(lambda: self._compare(a, b))

    async def _run(self, function: Callable[[], T]) -> T:
        """Run in a thread, in the caller's context: its trace and its log."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, function)

    def _compare(self, a: Query, b: Query) -> Comparison:
        notes = []
        modality: Modality[Any] = registry.by_name(b.modality or a.modality or "")
        if any(channel.views > 1 for channel in modality.channels) and not _has_views(a.fingerprints):
            notes.append("Flips and turns were not looked for, since the suspect was not given as a file.")
        alignment = modality.align(a.fingerprints, b.fingerprints)
        if a.sha256 is not None and a.sha256 == b.sha256:
            found = alignment or Alignment({})
            alignment = replace(found, signals={**found.signals, IDENTICAL_FILE: 1.0})
        if alignment is None:
            return Comparison(0.0, None, (*notes, "The two have no fingerprint scheme in common."))
        probability = self._answering.scorer.probability(modality.name, alignment.signals, registered=1)
        return Comparison(probability, alignment, tuple(notes))


def _has_views(fingerprints: Sequence[Fingerprint]) -> bool:
    return any(np.any(fingerprint.views) for fingerprint in fingerprints)


def _last_moment(deadline: float | None) -> float:
    """When verification has to end so that the answer arrives in time, on the monotonic clock."""
    if deadline is None:
        return float("inf")
    now = monotonic()
    return now + max(deadline - now, 0.0) * (1 - _RESERVE)
