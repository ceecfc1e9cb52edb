"""Retrieve: which registered media items might the query be a copy of?"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Fingerprint
from indexers.index import Hits
from indexers.index.contract import found_in
from indexers.modality import Channel, Place, Search
from service.domain import DescriptorOwner

Find = Callable[[Channel, npt.NDArray[Any], int], Hits]
"""(channel, queries, hits for each query) to hits within the channel's radius."""
Owners = Callable[[str, npt.NDArray[np.int64]], Mapping[int, DescriptorOwner]]
"""(scheme id, descriptor ids) to their owners; deleted ones, and those that the caller may not see, are
absent."""

_HITS_PER_CANDIDATE = 4
"""A reference may have several near descriptors (an animation's frames), so look for more hits than
candidates."""
_DEEPER = 4
_DEEPEST = 16
"""How often as many hits are looked for where those found belong to too few works, and at most."""
_FEW_WORKS = 3
"""Works that a descriptor's nearest neighbours should belong to at least, so that a work that holds one
picture many times does not hide the others."""
_BLOCK_STEPS = 20
"""Steps of the query whose votes count together: played a twentieth faster, its ends are half a step off."""
_MOST_ASKED = 8192
"""Descriptors of a query that are looked up where they vote for places."""
_MOST_PLACES = 6
"""Places of a reference that are told. Of attacked excerpts of sounds, the true one is among the first six
for .94 of those of 5 s, and for all of 10 and 20 s."""
_MOST_TRIED = 32
"""Cells with the most votes of which these are chosen: some are the same place."""
_WORD_BYTES = 8
_HALF_WORD_BYTES = 4
_FIRST_ASKED = 4
"""Descriptors whose owners are asked for at first, where many of the others belong to the same."""


_Find = Callable[[npt.NDArray[Any], int], Hits]
_Owners = Callable[[npt.NDArray[np.int64]], Mapping[int, DescriptorOwner]]
"""`Find` and `Owners` of one channel."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A registered media item near the query.

    Attributes:
        closeness: Smallest distance over all channels, as a fraction of the channel's radius: 0 is
            identical, 1 at the edge. Where descriptors vote: 1 without votes, less the more there are.
        places: Where they vote for places: those with the most votes.
        leads: Where they vote in groups (`Search.group`): whether it has most of some group's votes.
    """

    work_id: UUID
    reference_id: UUID
    closeness: float
    places: tuple[Place, ...] = ()
    leads: bool = False


@dataclass(frozen=True, slots=True)
class Candidates:
    """What was retrieved.

    Attributes:
        found: Nearest first.
        truncated: Whether there were more than were asked for.
        crowded: Whether so many descriptors lie near the query that not all of them were looked at; they
            may belong to works that the caller may not see.
        common: Part of the query's descriptors, 0..1, that say nothing, since as many works hold them as
            `Search.common` tells; the largest of all channels.
        complete: False if there was no time to look up all of the query.
        query: What was looked up, of less quality where it is what many works hold.
    """

    found: tuple[Candidate, ...]
    truncated: bool
    crowded: bool
    common: float
    complete: bool
    query: tuple[Fingerprint, ...]


def retrieve(
    query: Sequence[Fingerprint],
    channels: Iterable[Channel],
    find: Find,
    owners: Owners,
    limit: int,
    *,
    in_time: Callable[[], bool],
) -> Candidates:
    """Look the query's descriptors up in the index of every channel.

    Args:
        query: The query's fingerprints, with all views.
        channels: How each scheme is searched.
        find: Finds neighbours.
        owners: Finds the media items that descriptors belong to.
        limit: Most candidates, ≥ 1. Where there are more, each work's nearest comes first, so that many
            near references of one work do not hide the others.
        in_time: Asked before every chunk of descriptors; once it says no, the rest is left out.
    """
    by_scheme = {fingerprint.scheme.id: fingerprint for fingerprint in query}
    nearest: dict[UUID, Candidate] = {}
    truncated = crowded = False
    complete = True
    common = 0.0
    for channel in channels:
        fingerprint = by_scheme.get(channel.scheme.id)
        if fingerprint is None or channel.search is None:
            continue
        find_rows, of_rows = partial(find, channel), partial(owners, channel.scheme.id)
        asked = np.flatnonzero(fingerprint.quality >= channel.search.min_quality)
        lookup: _Lookup | _Votes | _Places
        if channel.search.step:
            lookup = _Places(channel.search, fingerprint, asked, find_rows, of_rows, limit=limit)
            asked = lookup.asked
        elif channel.search.votes:  # of descriptors that are neighbours in the query too
            lookup = _Votes(channel.search, find_rows, of_rows, limit)
        else:
            lookup = _Lookup(channel.search, find_rows, of_rows, limit)
            asked = asked[_first_of_equal(fingerprint.descriptors[asked])]
        telling, all_asked = _looked_up(lookup, fingerprint, asked, in_time)
        complete &= all_asked
        if telling is not None and (telling < 1.0).any():
            common = max(common, float((telling[asked] == 0.0).mean()))
            by_scheme[channel.scheme.id] = replace(fingerprint, quality=fingerprint.quality * telling)
        for candidate in lookup.found():
            known = nearest.get(candidate.reference_id)
            if known is None or candidate.closeness < known.closeness:
                nearest[candidate.reference_id] = candidate
        truncated |= lookup.truncated
        crowded |= lookup.crowded
    return Candidates(
        _nearest_of_many_works(nearest, limit),
        truncated or len(nearest) > limit,
        crowded,
        common,
        complete,
        tuple(by_scheme.values()),
    )


def _looked_up(
    lookup: "_Lookup | _Votes | _Places",
    fingerprint: Fingerprint,
    asked: npt.NDArray[np.int64],
    in_time: Callable[[], bool],
) -> tuple[npt.NDArray[np.float32] | None, bool]:
    """Look descriptors up.

    Returns:
        How much each of the fingerprint's descriptors says about a work, 0..1; None: no less than any other.
        And whether there was time for all that were asked about.
    """
    telling: npt.NDArray[np.float32] | None = None
    for start in range(0, len(asked), lookup.rows):
        if not in_time():
            return telling, False
        some = asked[start : start + lookup.rows]
        said = lookup.look_up(fingerprint.descriptors[some])
        if said is not None:
            telling = np.ones(len(fingerprint), np.float32) if telling is None else telling
            telling[some] = said
    return telling, True


class _Lookup:
    """Searches one channel for what is nearest, and gathers whom the hits belong to."""

    rows: ClassVar = 64
    """Descriptors of the query that are searched at a time: between two looks at the clock."""

    def __init__(self, search: Search, find: _Find, owners: _Owners, limit: int) -> None:
        self._search = search
        self._find = find
        self._owners = owners
        # Where only the nearest count, deeper ones matter if these belong to hardly more than one work.
        self._depth = search.nearest or limit * _HITS_PER_CANDIDATE
        self._works_wanted = limit if search.nearest is None else _FEW_WORKS
        self._nearest: dict[UUID, Candidate] = {}
        self._known: dict[int, DescriptorOwner | None] = {}
        self.truncated = False
        self.crowded = False

    def found(self) -> Iterable[Candidate]:
        """What lies near the rows that were looked up."""
        return self._nearest.values()

    def look_up(self, rows: npt.NDArray[Any]) -> None:
        """Add what is near the rows, of which none says less than others about a work.

        Where hits of few works may hide others, look deeper.
        """
        depth, deepest = self._depth, self._depth * _DEEPEST
        while len(rows):
            hits = self._find(rows, depth)
            if len(hits.ids) == 0:  # most queries: uploads that resemble nothing
                return
            self._gather(hits)
            if len(hits.ids) < depth:  # no row has more
                return
            cut = np.flatnonzero(np.diff(hits.offsets) >= depth).tolist()
            few = [row for row in cut if self._works(hits.of(row)[0]) < self._works_wanted]
            if self._search.nearest is None:
                self.truncated |= len(few) < len(cut)
            rows = rows[few]
            if depth >= deepest:
                self.crowded |= len(rows) > 0
                return
            depth *= _DEEPER

    def _gather(self, hits: Hits) -> None:
        distances = _smallest(hits)
        new = [descriptor_id for descriptor_id in distances if descriptor_id not in self._known]
        self._known |= dict.fromkeys(new)
        self._known |= self._owners(np.array(new, np.int64))
        for descriptor_id, distance in distances.items():
            owner = self._known[descriptor_id]
            if owner is None:
                continue
            closeness = distance / self._search.radius
            known = self._nearest.get(owner.reference_id)
            if known is None or closeness < known.closeness:
                self._nearest[owner.reference_id] = Candidate(owner.work_id, owner.reference_id, closeness)

    def _works(self, ids: npt.NDArray[np.int64]) -> int:
        """How many works these descriptors belong to."""
        found = (self._known[descriptor_id] for descriptor_id in ids.tolist())
        return len({owner.work_id for owner in found if owner is not None})


class _Votes:
    """Searches one channel, and counts how many descriptors of the query each reference has a neighbour of.

    Where descriptors of a reference vote by stretch, a chunk of the query votes by itself, so that both sides
    are local: a copied passage has its votes in one place, and chance has them all over.
    """

    rows: ClassVar = 4096
    """As of `_Lookup`."""
    truncated = False
    crowded = False

    def __init__(self, search: Search, find: _Find, owners: _Owners, limit: int) -> None:
        if search.nearest is None:
            raise ValueError("descriptors that vote have a bounded number of neighbours")
        self._search = search
        self._depth = search.nearest
        self._find = find
        self._most = min(limit, search.most)
        self._owned = _Owned(owners)
        self._votes = np.zeros(0)
        self._leading: set[int] = set()

    def found(self) -> Iterable[Candidate]:
        """The references with most votes, and those with most votes of a group."""
        ranked = np.argsort(-self._votes, kind="stable").tolist()
        for rank, place in enumerate(ranked):
            votes, leads = float(self._votes[place]), place in self._leading
            if votes > 0 and (rank < self._most or leads):
                owner = self._owned.owners[place]
                yield Candidate(owner.work_id, owner.reference_id, 1.0 / (1.0 + votes), leads=leads)

    def look_up(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
        """Add the votes of some descriptors that follow each other.

        Returns:
            How much each says about a work, (n,), 0..1: less if many works hold it; None: none says less.
        """
        rows, of_row = _distinct(rows)
        hits = self._find(rows, self._depth)
        counts = np.diff(hits.offsets)
        if not self._search.stretch:
            places = self._owned.places(hits.ids)
            owned = places >= 0
            row = np.repeat(np.arange(len(rows)), counts)
            row, places = row[owned], places[owned]
            worth = self._worth(hits.distances[owned], row, places, counts)
            self._add(row, places, worth)
            if self._search.group:
                first = np.unique(of_row, return_index=True)[1]  # where each of the distinct ones stands
                self._lead(first[row] // self._search.group, places, worth)
            return None
        telling = np.ones(len(rows))
        all_known = counts < self._depth
        if self._search.common is not None:
            telling[~all_known] = 0.0
        known = np.repeat(all_known, counts)
        row, ids = np.repeat(np.arange(len(rows)), np.where(all_known, counts, 0)), hits.ids[known]
        stretches = ids // self._search.stretch
        worth = self._worth(hits.distances[known], row, stretches, counts)
        strong = self._strong(stretches, worth)
        if len(strong):
            places = self._owned.places(ids[strong])
            owned = places >= 0
            row, places = row[strong][owned], places[owned]
            self._add(row, places, worth[strong][owned])
            if self._search.common is not None:
                telling *= self._telling(row, places, len(rows))
        return telling[of_row]

    def _worth(
        self,
        distances: npt.NDArray[np.float32],
        row: npt.NDArray[np.int64],
        groups: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float64]:
        """What each hit is worth: a row's hits in one group have one vote or less together.

        Args:
            distances: (m,) of the hits.
            row: (m,) of the query; never falls.
            groups: (m,) ≥ 0.
            counts: Hits of each row, those that are not among the m too.
        """
        first = _first_of_each(row * (int(groups.max(initial=0)) + 1) + groups)
        shared = np.bincount(row[first], minlength=len(counts)).astype(np.float64)
        shared[counts >= self._depth] = self._depth  # there may be more
        near = 1.0 - distances / (self._search.radius + 1.0)
        worth: npt.NDArray[np.float64] = first * near / np.log2(1.0 + np.maximum(shared, 1.0))[row]
        return worth

    def _strong(
        self, stretches: npt.NDArray[np.int64], worth: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.intp]:
        """Which hits lie in two neighbouring stretches that have votes enough."""
        size = 1 << len(stretches).bit_length()
        bins = stretches & (size - 1)
        binned = np.bincount(bins, weights=worth, minlength=size + 1)
        binned[-1] = binned[0]
        pair = binned[:-1] + binned[1:] >= self._search.least_votes
        if not pair.any():  # most queries: texts that resemble nothing
            return np.empty(0, np.intp)
        many = pair.copy()
        many[1:] |= pair[:-1]
        many[0] |= pair[-1]
        maybe = np.flatnonzero(many[bins])  # with the votes of other stretches in the same bin
        known, of_hit = np.unique(stretches[maybe], return_inverse=True)
        votes = np.bincount(of_hit, weights=worth[maybe], minlength=len(known))
        follows = np.append(np.diff(known) == 1, False)[: len(known)]
        enough = votes + np.where(follows, np.append(votes[1:], 0.0)[: len(known)], 0.0)
        reached = enough >= self._search.least_votes
        reached[1:] |= reached[:-1] & follows[:-1]
        strong: npt.NDArray[np.intp] = maybe[reached[of_hit]]
        return strong

    def _add(
        self, row: npt.NDArray[np.int64], places: npt.NDArray[np.int64], worth: npt.NDArray[np.float64]
    ) -> None:
        """Give the owners at these places their votes: of a row, each has the best."""
        if not len(row):
            return
        order = np.lexsort((-worth, places, row))
        row, places, worth = row[order], places[order], worth[order]
        first = np.ones(len(row), np.bool_)
        first[1:] = (row[1:] != row[:-1]) | (places[1:] != places[:-1])
        votes: npt.NDArray[Any] = np.bincount(
            places[first], weights=worth[first], minlength=len(self._owned.owners)
        )
        votes[: len(self._votes)] += self._votes
        self._votes = votes

    def _lead(
        self, group: npt.NDArray[np.int64], places: npt.NDArray[np.int64], worth: npt.NDArray[np.float64]
    ) -> None:
        """Remember which owner has most votes of each group."""
        if not len(group):
            return
        width = len(self._owned.owners)
        votes = np.bincount(group * width + places, worth, (int(group.max()) + 1) * width).reshape(-1, width)
        self._leading |= set(votes.argmax(axis=1)[votes.any(axis=1)].tolist())

    def _telling(
        self, row: npt.NDArray[np.int64], places: npt.NDArray[np.int64], rows: int
    ) -> npt.NDArray[np.float64]:
        """How much each row says, (rows,), 0..1, by how many works hold it in a strong stretch."""
        many = self._search.common or 1
        numbers: dict[UUID, int] = {}
        work_of = np.array(
            [numbers.setdefault(one.work_id, len(numbers)) for one in self._owned.owners], np.int64
        )
        pairs = np.sort(row * max(1, len(numbers)) + work_of[places]) if len(row) else row
        pairs = pairs[_first_of_each(pairs)]
        holders = np.bincount(pairs // max(1, len(numbers)), minlength=rows)
        telling: npt.NDArray[np.float64] = (many / 4 / np.maximum(holders, many / 4)) ** 2
        telling[holders >= many] = 0.0
        return telling


def _first_of_equal(rows: npt.NDArray[Any]) -> list[int]:
    """The first of each of the rows that are equal; of some rows, a tenth of the time of `np.unique`."""
    first: dict[bytes, int] = {}
    for place, row in enumerate(np.ascontiguousarray(rows)):
        first.setdefault(row.tobytes(), place)
    return list(first.values())


def _distinct(rows: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """The distinct rows, and which of them each row is."""
    width = rows.shape[1] * rows.dtype.itemsize
    if width > _WORD_BYTES:
        different, inverse = np.unique(rows, axis=0, return_inverse=True)
        return different, inverse.reshape(-1)
    word = np.uint32 if width == _HALF_WORD_BYTES else np.uint64
    wide = np.zeros((len(rows), np.dtype(word).itemsize), np.uint8)
    wide[:, :width] = np.ascontiguousarray(rows).view(np.uint8)
    words, inverse = np.unique(wide.view(word).ravel(), return_inverse=True)
    different = np.ascontiguousarray(words.view(np.uint8).reshape(len(words), -1)[:, :width])
    return different.view(rows.dtype), inverse.reshape(-1)


def _first_of_each(keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether a key is the first of its value; quick where keys never fall, as those of equally near hits."""
    first = np.ones(len(keys), np.bool_)
    steps = np.diff(keys)
    if steps.min(initial=0) >= 0:
        np.not_equal(steps, 0, out=first[1:])
        return first
    first[:] = False
    first[np.unique(keys, return_index=True)[1]] = True
    return first


class _Places:
    """Searches one channel, and counts how many descriptors of the query agree about a place in a reference.

    A descriptor that lies so far from the query's beginning has its neighbour as far from where the copy
    begins, more or less: a copy may be played faster or slower. Votes within `_BLOCK_STEPS` of the query and
    of one view count together where they put the beginning within two steps. A vote counts twice as much
    as one that lies a 64th of the descriptor's bits farther. Of a long query, `_MOST_ASKED` descriptors all
    over it are looked up.
    """

    rows: ClassVar = 1024
    """As of `_Lookup`."""
    truncated = False
    crowded = False

    def __init__(
        self,
        search: Search,
        query: Fingerprint,
        asked: npt.NDArray[np.intp],
        find: _Find,
        owners: _Owners,
        *,
        limit: int,
    ) -> None:
        if search.nearest is None:
            raise ValueError("descriptors that vote have a bounded number of neighbours")
        if len(asked) > _MOST_ASKED:
            asked = np.sort(np.random.default_rng(0).choice(asked, _MOST_ASKED, replace=False))
        self.asked = asked
        self._step = search.step
        self._view = query.views[asked].astype(np.int64)
        self._paces = np.ones(int(self._view.max(initial=0)) + 1) if search.paces is None else search.paces
        steps = query.spans[asked, 0] / self._step * np.asarray(self._paces)[self._view]
        self._block = np.floor(steps / _BLOCK_STEPS).astype(np.int64)
        self._after = steps - (self._block + 0.5) * _BLOCK_STEPS
        self._depth = search.nearest
        self._radius = search.radius
        self._halving = query.scheme.dim / 64
        self._find = find
        self._owned = _Owned(owners)
        self._most = min(limit, search.most + len(np.unique(self._block)))
        self._done = 0
        self._cells: list[npt.NDArray[np.int64]] = []
        self._worth: list[npt.NDArray[np.float64]] = []

    def look_up(self, rows: npt.NDArray[Any]) -> None:
        """Gather the votes of the next of `asked`; see `_Lookup.look_up`."""
        hits = self._find(rows, self._depth)
        places = self._owned.places(hits.ids)
        kept = np.flatnonzero(places >= 0)
        row = np.repeat(np.arange(len(rows)), np.diff(hits.offsets))[kept] + self._done
        self._done += len(rows)
        if not len(kept):
            return
        first = np.array([owner.first_id for owner in self._owned.owners])
        begin = (hits.ids[kept] - first[places[kept]]) - self._after[row]
        cells = (places[kept], self._view[row], self._block[row], np.floor(begin / 2).astype(np.int64))
        self._cells.append(np.stack(cells, axis=1))
        self._worth.append(np.exp2((self._radius - hits.distances[kept]) / self._halving))

    def found(self) -> Iterable[Candidate]:
        """The references with the most votes for one place, and a block more of the query for each block."""
        if not self._cells:
            return
        cells, of_vote = np.unique(np.concatenate(self._cells), axis=0, return_inverse=True)
        votes = np.bincount(of_vote.ravel(), weights=np.concatenate(self._worth))
        # A place near a cell's border has votes in both.
        together = votes.copy()
        follows = (np.diff(cells, axis=0) == (0, 0, 0, 1)).all(axis=1)
        together[:-1] += np.where(follows, votes[1:], 0.0)
        best = np.zeros(len(self._owned.owners))
        np.maximum.at(best, cells[:, 0], together)
        order = np.argsort(-together, kind="stable")
        order = order[np.argsort(cells[order, 0], kind="stable")]
        held = np.bincount(cells[:, 0], minlength=len(best))
        ends = np.cumsum(held)
        for place in np.argsort(-best, kind="stable")[: self._most].tolist():
            owner = self._owned.owners[place]
            if best[place] > 0:
                some = order[ends[place] - held[place] : ends[place]]
                places = self._places(cells[some[:_MOST_TRIED]])
                closeness = 1.0 / (1.0 + float(best[place]))
                yield Candidate(owner.work_id, owner.reference_id, closeness, places)

    def _places(self, cells: npt.NDArray[np.int64]) -> tuple[Place, ...]:
        """The first of some cells that are not the same place, as `Candidate.places`."""
        chosen: dict[tuple[float, int, int], int] = {}
        for _, view, block, begin in cells.tolist():
            pace = float(self._paces[view])
            if not any((pace, block, begin + off) in chosen for off in (-1, 0, 1)):
                chosen[pace, block, begin] = view
        return tuple(
            ((block + 0.5) * _BLOCK_STEPS * self._step / pace, 2 * (begin + 1) * self._step, view)
            for (pace, block, begin), view in list(chosen.items())[:_MOST_PLACES]
        )


class _Owned:
    """Whom descriptors belong to, asked for once a reference instead of once a descriptor.

    Attributes:
        owners: Those that were met so far.
    """

    def __init__(self, owners: _Owners) -> None:
        self.owners: list[DescriptorOwner] = []
        self._ask = owners
        self._absent = np.empty(0, np.int64)

    def places(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where in `owners` the owner of each descriptor stands, (n,); -1: it has none."""
        asked = _FIRST_ASKED
        while True:
            places = self._known(ids)
            unknown = np.unique(ids[places < 0])
            unknown = unknown[~found_in(self._absent, unknown)]
            if len(unknown) == 0:
                return places
            some = unknown[:: -(-len(unknown) // asked)]
            found = self._ask(some)
            fresh = {owner.first_id: owner for owner in found.values()}
            self.owners += fresh.values()
            absent = np.array([one for one in some.tolist() if one not in found], np.int64)
            self._absent = np.union1d(self._absent, absent)
            asked *= 4

    def _known(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if not self.owners:
            return np.full(len(ids), -1)
        starts = np.array([owner.first_id for owner in self.owners])
        counts = np.array([owner.count for owner in self.owners])
        order = np.argsort(starts)
        before = np.searchsorted(starts[order], ids, side="right") - 1
        place = order[before]
        within = (before >= 0) & (ids < starts[place] + counts[place])
        known: npt.NDArray[np.int64] = np.where(within, place, -1)
        return known


def _nearest_of_many_works(nearest: Mapping[UUID, Candidate], limit: int) -> tuple[Candidate, ...]:
    """The nearest first; where not all fit, the nearest of each work, then the second of each, and so on."""
    ranked = sorted(nearest.values(), key=lambda c: (c.closeness, c.reference_id))
    if len(ranked) <= limit:
        return tuple(ranked)
    before: Counter[UUID] = Counter()
    places = []
    for rank, candidate in enumerate(ranked):
        places.append((before[candidate.work_id], rank))
        before[candidate.work_id] += 1
    return tuple(ranked[rank] for rank in sorted(rank for _, rank in sorted(places)[:limit]))


def _smallest(hits: Hits) -> dict[int, float]:
    """Smallest distance of each descriptor over all queries."""
    order = np.argsort(-hits.distances)  # the nearest of equal ids comes last, and stays
    return dict(zip(hits.ids[order].tolist(), hits.distances[order].tolist(), strict=True))
