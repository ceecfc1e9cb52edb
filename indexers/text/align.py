"""Which passages of a text come from another, told by the keys that both hold.

Keys that two texts share lie, for a copied passage, near one diagonal: the difference of their places
hardly changes, but for what was inserted and deleted. So the plane of places and diagonals is cut into
cells, cells with several keys in them or beside them are joined, and each patch is a passage. Its evidence
compares the number of separate places that agree with what chance gives in a patch of that size, at the
rate at which this very pair agrees by chance: the tail of a Poisson distribution (Chernoff's bound), less
the number of patches there could be. Phrases that the language repeats agree everywhere and raise that
rate.

A query row of quality 0 is not looked at, and one below 1 counts less: whoever knows that many works hold a
key (a licence, a heading) says so by lowering the quality of the query's row.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Fingerprint, SpanUnit
from indexers.median import median
from indexers.modality import AlignedSegment, Alignment
from indexers.text import winnow

BAND: Final = 48
"""Characters by which diagonals of one cell may differ."""
BLOCK: Final = 160
"""Characters of the query in one cell."""
PLACES: Final = 3
"""Separate places that must agree in a cell and those around it."""
COMMON: Final = 64
"""Pairs of places that a key may give; a key with more is left out."""
STRETCH: Final = 3
"""Runs, in length, that count as one place: text that agrees goes on agreeing, without being copied."""
CHANCE: Final = 2.0**-19
"""Part of all pairs of rows that agree by chance before any is counted."""
SURE: Final = 2.0
"""Least evidence of a passage."""
MOST: Final = 256
"""Most passages that are told."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Rows of two texts that hold the same key, by place in the query.

    Attributes:
        query: (n,) int64 first characters in the query.
        work: (n,) int64 the same in the work.
        weight: (n,) float64 quality of the query's row.
        width: Characters of a run, on the median.
    """

    query: npt.NDArray[np.int64]
    work: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    width: int

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.query)

    def some(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "_Pairs":
        """Those at given places."""
        return _Pairs(self.query[chosen], self.work[chosen], self.weight[chosen], self.width)

    def places(self) -> float:
        """Weight of the separate places that agree, in both: a common phrase or its repetition is one."""
        if not len(self):
            return 0.0
        order = np.argsort(self.work, kind="stable")
        return float(
            min(self._separate(self.query, self.weight), self._separate(self.work[order], self.weight[order]))
        )

    def _separate(self, starts: npt.NDArray[np.int64], weight: npt.NDArray[np.float64]) -> float:
        """The best weight of each stretch; `starts` never fall."""
        stretches = starts // (STRETCH * self.width)
        begins = np.ones(len(starts), np.bool_)
        np.not_equal(stretches[1:], stretches[:-1], out=begins[1:])
        return float(np.maximum.reduceat(weight, begins.nonzero()[0]).sum())


@dataclass(frozen=True, slots=True)
class _Passage:
    query: tuple[float, float]
    work: tuple[float, float]
    places: float
    keys: int
    evidence: float


def align(query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
    """Relate two texts; None where one has no keys.

    Returns:
        Signals: ``text_evidence`` (powers of ten by which the passages beat chance; 0 without any),
        ``text_places`` (separate places that agree, in all passages), ``text_density`` (part of the keys in
        the passages that agree: 1 for an unchanged copy), ``text_characters`` (of the query, in passages)
        and ``text_longest`` (in the longest).
    """
    ours = next((one for one in query if one.scheme.id == winnow.WINNOW.id), None)
    theirs = next((one for one in work if one.scheme.id == winnow.WINNOW.id), None)
    if ours is None or theirs is None:
        return None
    pairs = _paired(ours, theirs)
    passages = _apart(_passages(pairs, ours, theirs))
    segments = tuple(
        AlignedSegment(one.query, one.work, 1.0, SpanUnit.CHARACTER)
        for one in sorted(passages, key=lambda one: one.query)
    )
    covered, covered_work = _length(one.query for one in passages), _length(one.work for one in passages)
    starts = ours.spans[:, 0]
    within = sum(
        int(np.searchsorted(starts, one.query[1]) - np.searchsorted(starts, one.query[0])) for one in passages
    )
    return Alignment(
        {
            "text_evidence": sum(one.evidence for one in passages),
            "text_places": sum(one.places for one in passages),
            "text_density": min(1.0, sum(one.keys for one in passages) / within) if within else 0.0,
            "text_characters": covered,
            "text_longest": max((one.query[1] - one.query[0] for one in passages), default=0.0),
        },
        segments,
        query_coverage=min(1.0, covered / float(ours.spans[-1, 1] - ours.spans[0, 0])),
        work_coverage=min(1.0, covered_work / float(theirs.spans[-1, 1] - theirs.spans[0, 0])),
    )


def _length(intervals: Iterable[tuple[float, float]]) -> float:
    """Characters in the union of intervals."""
    total, reached = 0.0, -np.inf
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return float(total)


def _paired(query: Fingerprint, work: Fingerprint) -> _Pairs:
    """All pairs of rows with the same key, but for keys that are too common; by place in the query."""
    asked = winnow.unpacked(query.descriptors)
    looked = np.flatnonzero(query.quality > 0)
    looked = looked[np.argsort(asked[looked], kind="stable")]
    asked = asked[looked]
    sieve = np.zeros(1 << 16, np.bool_)
    sieve[_halves(query.descriptors[looked])] = True
    maybe = np.flatnonzero(sieve.take(_halves(work.descriptors)))
    stored = winnow.unpacked(work.descriptors[maybe])
    first = np.searchsorted(asked, stored, "left")
    held = asked[np.minimum(first, len(asked) - 1)] == stored if len(asked) else first < 0
    maybe, stored, first = maybe[held], stored[held], first[held]
    if (asked[1:] == asked[:-1]).any():
        counts = np.searchsorted(asked, stored, "right") - first
    else:
        counts = np.ones(len(first), np.int64)
    rare = np.bincount(first)[first] * counts <= COMMON  # rows with one key have one `first`
    maybe, first, counts = maybe[rare], first[rare], counts[rare]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    ours = looked[np.repeat(first, counts) + within]
    theirs = np.repeat(maybe, counts)
    order = np.argsort(ours, kind="stable")  # `theirs` rises already
    ours, theirs = ours[order], theirs[order]
    spans = query.spans[looked] if len(looked) else query.spans
    return _Pairs(
        query.spans[ours, 0].astype(np.int64),
        work.spans[theirs, 0].astype(np.int64),
        query.quality[ours].astype(np.float64),
        max(1, int(median(spans[:, 1] - spans[:, 0]))),
    )


def _halves(descriptors: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """The last two bytes of each row, as this machine reads them: to sift rows quickly."""
    return np.ascontiguousarray(descriptors).view(np.uint16)[:, 1]


def _passages(pairs: _Pairs, query: Fingerprint, work: Fingerprint) -> list[_Passage]:
    patches = _patches(pairs)
    if not patches:
        return []
    extent_query = float(query.spans[-1, 1] - query.spans[0, 0])
    extent_work = float(work.spans[-1, 1] - work.spans[0, 0])
    area = extent_query * extent_work
    inside = np.zeros(len(pairs), np.bool_)
    for patch in patches:
        inside[patch] = True
    by_chance = len(query) * len(work) * CHANCE + pairs.some(~inside).places()
    tries = max(1.0, area / (BAND * BLOCK))
    found = []
    for patch in patches:
        stretches = pairs.query[patch] // (STRETCH * pairs.width)
        most = 1 + int(np.count_nonzero(stretches[1:] != stretches[:-1]))
        if _evidence(most, by_chance / area * BLOCK * BAND, tries) < SURE:  # at best
            continue
        passage = _passage(pairs.some(_straight(pairs, patch)), by_chance / area, tries, query, work)
        if passage is not None:
            found.append(passage)
    return found


def _patches(pairs: _Pairs) -> list[npt.NDArray[np.intp]]:
    """Groups of pairs that lie close together, each by place in the query."""
    if len(pairs) < PLACES:
        return []
    columns = pairs.query // BLOCK
    rows = (pairs.work - pairs.query) // BAND
    rows -= rows.min() - 1
    stride = int(rows.max()) + 2
    cells, of_pair = np.unique((columns + 1) * stride + rows, return_inverse=True)
    # Separate places: pairs whose neighbour before them in the same cell starts in another stretch.
    stretch = pairs.query // (pairs.width + pairs.width // 2)
    many = int(stretch[-1]) + 1
    separate = np.sort(of_pair * many + stretch)
    separate = separate[np.append(True, separate[1:] != separate[:-1])] // many
    counts = np.bincount(separate, minlength=len(cells))
    steps = [across * stride + along for across in (-1, 0, 1) for along in (-1, 0, 1)]
    sought = cells[:, None] + np.array(steps)
    place = np.minimum(np.searchsorted(cells, sought), len(cells) - 1)
    there = cells[place] == sought
    dense = np.where(there, counts[place], 0).sum(axis=1) >= PLACES
    seeds = np.flatnonzero(dense)
    around = dict(zip(seeds.tolist(), np.where(there[seeds], place[seeds], -1).tolist(), strict=True))
    labels = [-1] * len(cells)
    groups = 0
    for seed in around:
        if labels[seed] >= 0:
            continue
        labels[seed] = groups
        waiting = [seed]
        while waiting:
            for other in around[waiting.pop()]:
                if other >= 0 and labels[other] < 0:
                    labels[other] = groups
                    if other in around:
                        waiting.append(other)
        groups += 1
    of_group = np.array(labels)[of_pair]
    order = np.argsort(of_group, kind="stable")
    bounds = np.searchsorted(of_group[order], np.arange(groups + 1))
    return [order[bounds[group] : bounds[group + 1]] for group in range(groups)]


def _straight(pairs: _Pairs, patch: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Those pairs of a patch that lie on the path that most of their neighbours follow."""
    diagonals = pairs.work[patch] - pairs.query[patch]
    reach = 4
    around = np.arange(len(patch))[:, None] + np.arange(-reach, reach + 1)
    around = diagonals[np.clip(around, 0, len(patch) - 1)]
    middle = np.partition(around, reach, axis=1)[:, reach]
    straight: npt.NDArray[np.intp] = patch[np.abs(diagonals - middle) <= BAND // 2]
    return straight


def _passage(
    pairs: _Pairs, rate: float, tries: float, query: Fingerprint, work: Fingerprint
) -> _Passage | None:
    """The passage that a patch shows, if chance does not explain it."""
    if len(pairs) < PLACES:
        return None
    places = pairs.places()
    near = np.diff(pairs.query) <= 8 * _gap(pairs, places)
    if not near.all():  # a stray pair at an end
        edges = np.concatenate([[0], np.flatnonzero(~near) + 1, [len(pairs)]])
        longest = int(np.argmax(np.diff(edges)))
        pairs = pairs.some(np.arange(edges[longest], edges[longest + 1]))
        if len(pairs) < PLACES:
            return None
        places = pairs.places()
    diagonals = pairs.work - pairs.query
    length = float(pairs.query[-1] - pairs.query[0]) + pairs.width
    expected = rate * max(length, float(BLOCK)) * max(float(BAND), float(np.ptp(diagonals)) + pairs.width)
    evidence = _evidence(places, expected, tries)
    if evidence < SURE:
        return None
    ahead = min(_gap(pairs, places), 4.0 * pairs.width) / 2
    return _Passage(
        _widened(pairs.query, pairs.width, ahead, query),
        _widened(np.sort(pairs.work), pairs.width, ahead, work),
        places,
        1 + int(np.count_nonzero(np.diff(pairs.query))),
        evidence,
    )


def _evidence(places: float, expected: float, tries: float) -> float:
    """Powers of ten by which so many separate places beat chance, which gives `expected` of them."""
    beyond = places * np.log(max(1.0, places / expected)) - max(0.0, places - expected)
    return float(beyond / np.log(10) - np.log10(tries))


def _gap(pairs: _Pairs, places: float) -> float:
    """Characters from one separate place to the next, on average."""
    return max(float(pairs.width), float(pairs.query[-1] - pairs.query[0]) / max(1.0, places))


def _widened(
    starts: npt.NDArray[np.int64], width: int, ahead: float, text: Fingerprint
) -> tuple[float, float]:
    """The characters from the first run to the last, and half a gap more on both sides."""
    first, last = float(text.spans[0, 0]), float(text.spans[-1, 1])
    start = max(first, float(round(starts[0] - ahead)))
    return start, min(last, float(round(starts[-1] + width + ahead)))


def _apart(passages: list[_Passage]) -> list[_Passage]:
    """The best passages of those that share more than half of their characters in the query."""
    kept: list[_Passage] = []
    for one in sorted(passages, key=lambda one: -one.evidence):
        length = one.query[1] - one.query[0]
        shared = max(
            (min(one.query[1], other.query[1]) - max(one.query[0], other.query[0]) for other in kept),
            default=0.0,
        )
        if shared <= length / 2:
            kept.append(one)
        if len(kept) == MOST:
            break
    return kept
