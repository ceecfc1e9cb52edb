"""Large catalogues of sound: the fingerprints of real tracks that nothing is asked about, recombined.

A made-up work is put together of pieces of `PIECE` seconds from several tracks, at any place, until it is
`SECONDS` long. So how often a code occurs, how codes follow each other and how many peaks there are is as in
real sound. As one piece occurs in many works, a tenth of the bits of all codes is turned over, as another
recording's would be, and peaks move by up to two semitones: without it, the works would be copies of each
other.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

import indexers.modality
from benchmarks.quality.audio_media import Plan
from benchmarks.quality.audio_peers import Hit, Part
from indexers import registry
from indexers.audio import NEAREST
from indexers.audio.align import glimpse, promising
from indexers.audio.chromaprint import CHROMAPRINT, CODES, STEP
from indexers.fingerprint import Fingerprint
from indexers.index.base import Hits
from indexers.index.live import Change, LiveIndex
from indexers.modality import Alignment, Channel, MediaLimits, Role
from service.domain import DescriptorOwner
from service.inquiry import ALIGNED
from service.matching import retrieve
from service.matching.score import Scorer
from service.settings import Settings

SECONDS: Final = 150.0
PIECE: Final = 8 * CODES * STEP
"""Eight rows of codes: 7.9 s."""
TURNED: Final = 0.1
_MOST_CENTS: Final = 200
_CANDIDATES: Final = 200
_TAIL: Final = 5.0
"""Seconds at the end of a track in which no row starts, at most."""


@dataclass(frozen=True, slots=True)
class Grown:
    """What was said among so many works.

    Attributes:
        works: Registered ones and made-up ones.
        rows: That are searched.
        found: What each query holds, best first.
        describing: CPU seconds of describing all queries.
        retrieving: Of looking them up.
        comparing: Of aligning and judging what came first.
    """

    works: int
    rows: int
    found: Sequence[Sequence[Hit]]
    describing: float
    retrieving: float
    comparing: float

    @property
    def cpu_seconds(self) -> float:
        """Of all queries."""
        return self.describing + self.retrieving + self.comparing


def grown(plan: Plan, queries: Sequence[Path], totals: Sequence[int], folder: Path) -> Iterator[Grown]:
    """Ask among the plan's references alone, and among so many works.

    Args:
        plan: What is registered, and the tracks that works are made up of.
        queries: Files.
        totals: How many works, ascending.
        folder: For the index; made.
    """
    catalogue = _Catalogue(plan, folder)
    began = time.process_time()
    asked = [described(path, Role.QUERY) for path in queries]
    describing = time.process_time() - began
    for total in (len(plan.references), *totals):
        catalogue.grow(total)
        answers = [catalogue.ask(query) for query in asked]
        yield Grown(
            total,
            catalogue.rows,
            [answer.hits for answer in answers],
            describing,
            sum(answer.retrieving for answer in answers),
            sum(answer.comparing for answer in answers),
        )


def described(path: Path, role: Role) -> tuple[Fingerprint, ...]:
    """All fingerprints of a file."""
    audio = registry.by_name("audio")
    with path.open("rb") as file:
        return indexers.modality.described(audio, audio.decode(file, MediaLimits()), role)


@dataclass(frozen=True, slots=True)
class _Answer:
    hits: Sequence[Hit]
    retrieving: float
    comparing: float


class _Catalogue:
    """The service's index of codes and its way through a query, in one process and without a database.

    Peaks of made-up works are made again from their number when they are compared: only codes are searched.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._audio = registry.by_name("audio")
        channel = self._audio.channels[0]
        lists_from = Settings(data=folder).float_approximate_from
        self._index = LiveIndex.open(CHROMAPRINT, folder, float_approximate_from=lists_from, far=channel.far)
        self._names = list(plan.references)
        self._real = [described(path, Role.REFERENCE) for path in plan.references.values()]
        self._tracks = [described(path, Role.REFERENCE) for path in plan.crowd]
        self._codes = [[one for one in track if one.scheme == CHROMAPRINT] for track in self._tracks]
        self._owners: list[DescriptorOwner] = []
        self._starts: list[int] = []
        self._scorer = Scorer.load()
        self.rows = 0

    def grow(self, total: int) -> None:
        """Add works until there are so many."""
        for number in range(len(self._owners), total):
            (codes,) = (one for one in self._work(number, codes_alone=True) if one.scheme == CHROMAPRINT)
            start, owner = self.rows + 1, UUID(int=number)
            self._owners.append(DescriptorOwner(owner, owner, start, len(codes)))
            self._starts.append(start)
            ids = np.arange(start, start + len(codes))
            self._index.apply([Change(number + 1, ids, codes.descriptors)])
            self.rows += len(codes)
        self._index.fold()

    def _work(self, number: int, *, codes_alone: bool = False) -> Sequence[Fingerprint]:
        if number < len(self._real):
            return self._real[number]
        tracks = self._codes if codes_alone else self._tracks
        return _recombined(tracks, np.random.default_rng(number))

    def ask(self, query: Sequence[Fingerprint]) -> _Answer:
        """What a query holds, best first."""
        began = time.process_time()
        found = retrieve.retrieve(
            query, self._audio.channels, self._near, self._owned, _CANDIDATES, in_time=lambda: True
        ).found
        retrieving = time.process_time() - began
        comparing = 0.0
        hits = []
        for rank, candidate in enumerate(found):
            number = candidate.reference_id.int
            work = self._work(number)
            began = time.process_time()
            worth = rank < ALIGNED or (
                promising(query, work, candidate.places) if rank < NEAREST else glimpse(query, work)
            )
            aligned = self._audio.align(query, work) if worth else None
            comparing += time.process_time() - began
            if aligned is not None:
                score = self._scorer.probability("audio", aligned.signals, self.rows)
                hits.append(Hit(self._name(number), score, _parts(aligned)))
        return _Answer(sorted(hits, key=lambda hit: -hit.score), retrieving, comparing)

    def _name(self, number: int) -> str:
        return self._names[number] if number < len(self._names) else f"made up {number}"

    def _near(self, channel: Channel, rows: npt.NDArray[Any], limit: int) -> Hits:
        assert channel.search is not None  # noqa: S101 - others are not looked up
        return self._index.search(rows, radius=channel.search.radius, limit=limit)

    def _owned(self, _: str, ids: npt.NDArray[np.int64]) -> dict[int, DescriptorOwner]:
        places = np.searchsorted(self._starts, ids, side="right") - 1
        return {int(one): self._owners[place] for one, place in zip(ids, places, strict=True)}


def _parts(aligned: Alignment) -> tuple[Part, ...]:
    return tuple(Part(one.query, one.work[0], one.speed) for one in aligned.segments)


def _recombined(tracks: Sequence[Sequence[Fingerprint]], generator: np.random.Generator) -> list[Fingerprint]:
    parts: dict[str, list[Fingerprint]] = {}
    for place in range(int(SECONDS / PIECE)):
        track = tracks[int(generator.integers(len(tracks)))]
        ends = next(float(one.spans[:, 1].max()) for one in track if one.scheme == CHROMAPRINT)
        start = generator.integers(max(1, int((ends - _TAIL) / PIECE))) * PIECE
        cents = int(generator.integers(-_MOST_CENTS, _MOST_CENTS + 1))
        for one in track:
            inside = (one.spans[:, 0] >= start - STEP / 2) & (one.spans[:, 0] < start + PIECE - STEP / 2)
            if inside.any():
                moved = one.spans[inside] + (place * PIECE - start)
                part = _changed(one, inside, moved, cents, generator)
                parts.setdefault(one.scheme.id, []).append(part)
    return [_joined(some) for some in parts.values()]


def _changed(
    one: Fingerprint,
    inside: npt.NDArray[np.bool_],
    spans: npt.NDArray[np.float64],
    cents: int,
    generator: np.random.Generator,
) -> Fingerprint:
    rows = one.descriptors[inside]
    if one.scheme.id == CHROMAPRINT.id:
        turned = generator.random((*rows.shape, 8)) < TURNED
        rows = rows ^ np.packbits(turned, axis=-1)[..., 0]
    else:
        higher = rows.view(">u2").astype(np.int64) + cents
        rows = higher.clip(0, 65_535).astype(">u2").view(np.uint8)
    return replace(
        one,
        descriptors=rows,
        spans=np.maximum(spans, [0.0, 0.001]),
        quality=one.quality[inside],
        views=one.views[inside],
    )


def _joined(parts: Sequence[Fingerprint]) -> Fingerprint:
    return replace(
        parts[0],
        descriptors=np.concatenate([one.descriptors for one in parts]),
        spans=np.concatenate([one.spans for one in parts]),
        quality=np.concatenate([one.quality for one in parts]),
        views=np.concatenate([one.views for one in parts]),
    )
