"""Answers queries: passes values from one stage of matching to the next."""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, BinaryIO, TypeVar
from uuid import UUID

import numpy as np

from indexers import registry
from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Modality, Role
from service.catalogue import Catalogue
from service.domain import Match, MatchReport, Reference, Work
from service.matching import decide, report, retrieve, verify
from service.matching.score import IDENTICAL_FILE, Scorer
from service.metrics import Metrics
from service.sandbox import Pool, ReadMedia
from service.store import View

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
class Options:
    """How a query is answered.

    Attributes:
        selection: Which matches are returned.
        uploader_token: Who uploads; empty: unknown.
        territories: Where it would be seen; empty: everywhere.
        min_sequence: Wait until this change is seen.
        owner: Only works of this owner; None: all.
        deadline: When the caller stops waiting, on the monotonic clock; None: never.
    """

    selection: report.Selection
    uploader_token: str = ""
    territories: tuple[str, ...] = ()
    min_sequence: int = 0
    owner: str | None = None
    deadline: float | None = None


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

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        pool: Pool,
        scorer: Scorer,
        thresholds: decide.Thresholds,
        max_candidates: int,
        metrics: Metrics,
    ) -> None:
        """Take the parts."""
        self._catalogue = catalogue
        self._pool = pool
        self._scorer = scorer
        self._thresholds = thresholds
        self._max_candidates = max_candidates
        self._metrics = metrics
        # Its own, so that long matches leave threads to everything else.
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="match")

    async def close(self) -> None:
        """Wait for what is being matched; drop what waits."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    @property
    def review_threshold(self) -> float:
        """Probability from which a match is returned where the caller names none."""
        return self._thresholds.review

    async def read(self, media: BinaryIO, role: Role, modality: str | None = None) -> ReadMedia:
        """Fingerprint a media item in the sandbox.

        Raises:
            UnreadableMediaError: If it cannot be read.
            BusyError: If too many wait, or the service is stopping.
        """
        with self._metrics.stage("read"):
            read = await self._pool.read(media, role=role, modality=modality)
        self._metrics.stages.labels("decode").observe(read.decode_seconds)
        self._metrics.stages.labels("fingerprint").observe(read.fingerprint_seconds)
        return read

    async def match(self, query: Query, options: Options) -> MatchReport:
        """Answer a query.

        Raises:
            StaleError: If `min_sequence` is not seen in time.
        """
        if options.min_sequence > self._catalogue.sequence:
            seconds = _WAIT_SECONDS
            if options.deadline is not None:
                seconds = min(seconds, (options.deadline - monotonic()) * (1 - _RESERVE))
            await self._catalogue.wait_for(options.min_sequence, seconds=seconds)
        last = _last_moment(options.deadline)
        cancelled = threading.Event()

        def in_time() -> bool:
            return not cancelled.is_set() and monotonic() < last

        try:
            return await self._run(lambda: self._match(query, options, in_time))
        except asyncio.CancelledError:  # nobody waits for the answer: the thread is to stop
            cancelled.set()
            raise

    async def compare(self, a: Query, b: Query) -> Comparison:
        """Relate two media items; `a` should hold the query's views."""
        return await self._run(lambda: self._compare(a, b))

    async def _run(self, function: Callable[[], T]) -> T:
        """Run in a thread, in the caller's context: its trace and its log."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, function)

    def _match(self, query: Query, options: Options, in_time: Callable[[], bool]) -> MatchReport:
        sequence = self._catalogue.sequence
        with self._catalogue.store.view() as view:
            return self._match_in(view, query, options, sequence, in_time)

    def _match_in(
        self, view: View, query: Query, options: Options, sequence: int, in_time: Callable[[], bool]
    ) -> MatchReport:
        """Answer from one state of the store, which is at least as new as `sequence`."""
        candidates, left_out = self._candidates(view, query, options, in_time)
        modality = None if query.modality is None else registry.by_name(query.modality)
        identical = _identical(view, query, options.owner)
        alignments: dict[UUID, Alignment] = {}
        if modality is not None:
            with self._metrics.stage("verify"):
                verified = verify.verify(
                    query.fingerprints,
                    dict.fromkeys([*identical, *candidates]),
                    modality,
                    view.fingerprints,
                    in_time,
                )
            alignments.update(verified.alignments)
            if verified.left_out:
                left_out.append(f"DEADLINE: {verified.left_out} candidates were not verified in time")
        for reference_id in identical:
            found = alignments.get(reference_id, Alignment({}))
            signals = {**found.signals, IDENTICAL_FILE: 1.0}
            alignments[reference_id] = replace(found, signals=signals, query_coverage=1.0, work_coverage=1.0)
        with self._metrics.stage("decide"):
            return self._report(
                view, query, options, alignments=alignments, left_out=left_out, sequence=sequence
            )

    def _candidates(
        self, view: View, query: Query, options: Options, in_time: Callable[[], bool]
    ) -> tuple[list[UUID], list[str]]:
        """Reference ids near the query, nearest first, and what was left out."""
        if query.modality is None:
            return [], []
        with self._metrics.stage("retrieve"):
            found = retrieve.retrieve(
                query.fingerprints,
                registry.by_name(query.modality).channels,
                self._catalogue.search,
                partial(view.descriptor_owners, owner=options.owner),
                self._max_candidates,
                in_time=in_time,
            )
        left_out = []
        if not found.complete:
            left_out.append("DEADLINE: not all of the query was looked up in time")
        # That many works of others lie near is nothing that an owner may learn.
        if found.truncated or (found.crowded and options.owner is None):
            left_out.append(f"CANDIDATES: only the nearest {self._max_candidates} candidates were verified")
        return [candidate.reference_id for candidate in found.found], left_out

    def _report(
        self,
        view: View,
        query: Query,
        options: Options,
        *,
        alignments: dict[UUID, Alignment],
        left_out: list[str],
        sequence: int,
    ) -> MatchReport:
        now = datetime.now(UTC)
        references = view.get_references(alignments.keys())
        works = view.get_works({reference.work_id for reference in references.values()})
        matches = [
            self._match_of(works[reference.work_id], reference, alignments[reference.id])
            for reference in references.values()
            if reference.work_id in works
        ]
        counting = report.best_of_each_work(report.covering(matches, options.selection))
        verdict, decided = decide.decide(
            counting,
            self._thresholds,
            decide.Upload(options.uploader_token, options.territories, now),
            f"{decide.POLICY_REVISION}/{self._scorer.revision}",
        )
        return MatchReport(
            verdict=verdict,
            matches=report.page(decided, options.selection),
            sequence=sequence,
            partial_reasons=tuple(left_out),
            modality=query.modality,
            sha256=query.sha256,
            created_at=now,
        )

    def _match_of(self, work: Work, reference: Reference, alignment: Alignment) -> Match:
        return Match(
            work=work,
            reference=reference,
            probability=self._scorer.probability(
                reference.modality, alignment.signals, self._catalogue.largest_index
            ),
            signals=alignment.signals,
            segments=alignment.segments,
            regions=alignment.regions,
            query_coverage=alignment.query_coverage,
            work_coverage=alignment.work_coverage,
        )

    def _compare(self, a: Query, b: Query) -> Comparison:
        notes = []
        modality: Modality[Any] = registry.by_name(a.modality or b.modality or "")
        if not _has_views(a.fingerprints):
            notes.append("Flips and turns were not looked for, since the suspect was not given as a file.")
        alignment = modality.align(a.fingerprints, b.fingerprints)
        if a.sha256 is not None and a.sha256 == b.sha256:
            found = alignment or Alignment({})
            alignment = replace(found, signals={**found.signals, IDENTICAL_FILE: 1.0})
        if alignment is None:
            return Comparison(0.0, None, (*notes, "The two have no fingerprint scheme in common."))
        probability = self._scorer.probability(modality.name, alignment.signals, registered=1)
        return Comparison(probability, alignment, tuple(notes))


def _identical(view: View, query: Query, owner: str | None) -> list[UUID]:
    """References whose file is the query's own."""
    if query.sha256 is None:
        return []
    return [reference.id for reference in view.references_by_sha256(query.sha256, owner=owner)]


def _has_views(fingerprints: Sequence[Fingerprint]) -> bool:
    return any(np.any(fingerprint.views) for fingerprint in fingerprints)


def _last_moment(deadline: float | None) -> float:
    """When verification has to end so that the answer arrives in time, on the monotonic clock."""
    if deadline is None:
        return float("inf")
    now = monotonic()
    return now + max(deadline - now, 0.0) * (1 - _RESERVE)
