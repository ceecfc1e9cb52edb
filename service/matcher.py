"""Reads media and answers queries: what runs where, and for whom it stops."""

import asyncio
import contextvars
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, BinaryIO, TypeVar

import numpy as np

from indexers import registry
from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Modality, Role
from service.domain import MatchReport
from service.inquiry import Answering, Inquiry, Options
from service.matching.score import IDENTICAL_FILE
from service.sandbox import Pool, ReadMedia

T = TypeVar("T")

_RESERVE = 0.15
"""Part of a caller's time that is kept back for deciding and answering."""
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

    async def close(self) -> None:
        """Wait for what is being matched; drop what waits."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    @property
    def review_threshold(self) -> float:
        """Probability from which a match is returned where the caller names none."""
        return self._answering.thresholds.review

    async def read(self, media: BinaryIO, role: Role, modality: str | None = None) -> ReadMedia:
        """Fingerprint a media item in the sandbox.

        Raises:
            UnreadableMediaError: If it cannot be read.
            BusyError: If too many wait, or the service is stopping.
        """
        with self._answering.metrics.stage("read"):
            read = await self._pool.read(media, role=role, modality=modality)
        self._observe(read)
        return read

    def _observe(self, read: ReadMedia) -> None:
        stages = self._answering.metrics.stages
        stages.labels("decode").observe(read.decode_seconds)
        stages.labels("fingerprint").observe(read.fingerprint_seconds)

    async def match(self, query: Query, options: Options) -> MatchReport:
        """Answer a query whose fingerprints are known.

        Raises:
            StaleError: If `min_sequence` is not seen in time.
        """
        inquiry = await self._begin(options, query.sha256)
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
        inquiry = await self._begin(options, sha256)
        waiting_since = monotonic()

        async def consider(read: ReadMedia) -> bool:
            nonlocal waiting_since
            self._answering.metrics.stages.labels("read").observe(monotonic() - waiting_since)
            self._observe(read)
            await self._run(lambda: inquiry.look(read.modality, read.fingerprints, more=read.more))
            waiting_since = monotonic()
            return inquiry.answer is None

        return await self._answer(
            inquiry, self._pool.read(media, role=Role.QUERY, modality=modality, consider=consider)
        )

    async def _begin(self, options: Options, sha256: bytes | None) -> Inquiry:
        catalogue = self._answering.catalogue
        if options.min_sequence > catalogue.sequence:
            seconds = _WAIT_SECONDS
            if options.deadline is not None:
                seconds = min(seconds, (options.deadline - monotonic()) * (1 - _RESERVE))
            await catalogue.wait_for(options.min_sequence, seconds=seconds)
        return Inquiry(self._answering, options, sha256, _last_moment(options.deadline))

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
