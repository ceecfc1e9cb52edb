"""Retrieval and verification, against indexes and owners of the test's own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import numpy.typing as npt
import pytest

from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from indexers.index import Hits
from indexers.index.exact import ExactIndex
from indexers.modality import Alignment, Channel, Search
from service.domain import DescriptorOwner
from service.matching.retrieve import Candidates, _Votes, retrieve
from service.matching.verify import verify

SCHEME = Scheme("test.bits", 1, 64, Metric.HAMMING, SpanUnit.FRAME)
SEARCH = Search(radius=8, narrow_radius=4, min_quality=0.5)
CHANNEL = Channel(SCHEME, SEARCH)


def fingerprint(*rows: int, quality: float = 1.0) -> Fingerprint:
    n = len(rows)
    return Fingerprint(
        SCHEME,
        np.array([list(row.to_bytes(8, "big")) for row in rows], np.uint8),
        np.array([[i, i + 1] for i in range(n)], np.float64),
        np.full(n, quality, np.float32),
        np.zeros(n, np.uint8),
    )


def always() -> bool:
    return True


class Registered:
    """A catalogue of fingerprints."""

    def __init__(self) -> None:
        self.index = ExactIndex(SCHEME)
        self.owners_by_id: dict[int, DescriptorOwner] = {}

    def add(self, *rows: int) -> UUID:
        work, reference = uuid4(), uuid4()
        first = len(self.owners_by_id)
        ids = np.arange(first, first + len(rows), dtype=np.int64)
        self.index.add(ids, fingerprint(*rows).descriptors)
        self.owners_by_id |= dict.fromkeys(ids.tolist(), DescriptorOwner(work, reference, first, len(rows)))
        return reference

    def search(self, channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        assert channel is CHANNEL
        return self.index.search(queries, radius=SEARCH.radius, limit=limit)

    def owners(self, scheme: str, ids: npt.NDArray[np.int64]) -> Mapping[int, DescriptorOwner]:
        assert scheme == SCHEME.id
        return {int(i): self.owners_by_id[int(i)] for i in ids if int(i) in self.owners_by_id}


def bits(count: int) -> int:
    return (1 << count) - 1


def test_nearest_first_and_the_radius_is_inclusive() -> None:
    registered = Registered()
    at_edge, beyond, same = registered.add(bits(8)), registered.add(bits(9)), registered.add(0)
    found = retrieve([fingerprint(0)], [CHANNEL], registered.search, registered.owners, 10, in_time=always)
    assert [c.reference_id for c in found.found] == [same, at_edge]
    assert [c.closeness for c in found.found] == [0.0, 1.0]
    assert beyond not in [c.reference_id for c in found.found]
    assert not found.truncated


def test_a_reference_with_many_near_descriptors_is_one_candidate() -> None:
    registered = Registered()
    film = registered.add(bits(3), bits(1), bits(2))
    found = retrieve(
        [fingerprint(0, bits(1))], [CHANNEL], registered.search, registered.owners, 10, in_time=always
    )
    assert [(c.reference_id, c.closeness) for c in found.found] == [(film, 0.0)]


def test_descriptors_that_carry_no_information_are_not_looked_up() -> None:
    registered = Registered()
    registered.add(0)
    query = fingerprint(0, quality=0.4)
    assert not retrieve([query], [CHANNEL], registered.search, registered.owners, 10, in_time=always).found


def test_more_candidates_than_the_limit_are_said_to_be_left_out() -> None:
    registered = Registered()
    nearest = registered.add(0)
    for i in range(5):
        registered.add(1 << i)
    found = retrieve([fingerprint(0)], [CHANNEL], registered.search, registered.owners, 3, in_time=always)
    assert found.found[0].reference_id == nearest
    assert len(found.found) == 3
    assert found.truncated


def test_descriptors_of_deleted_works_are_no_candidates() -> None:
    registered = Registered()
    registered.add(0)
    registered.owners_by_id.clear()
    assert not retrieve(
        [fingerprint(0)], [CHANNEL], registered.search, registered.owners, 3, in_time=always
    ).found


def test_a_reference_with_many_equal_descriptors_hides_no_other() -> None:
    registered = Registered()
    film = registered.add(*[0] * 30)
    other = registered.add(bits(2))
    found = retrieve([fingerprint(0)], [CHANNEL], registered.search, registered.owners, 3, in_time=always)
    assert [c.reference_id for c in found.found] == [film, other]
    assert not found.truncated
    assert not found.crowded


def test_how_deep_hits_are_looked_for_is_bounded_and_said() -> None:
    registered = Registered()
    film = registered.add(*[0] * 200)
    registered.add(bits(2))
    depths: list[tuple[int, int]] = []

    def search(channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        depths.append((len(queries), limit))
        return registered.search(channel, queries, limit)

    query = fingerprint(0, bits(60))
    found = retrieve([query], [CHANNEL], search, registered.owners, 2, in_time=always)
    assert [c.reference_id for c in found.found] == [film]
    assert (found.truncated, found.crowded) == (False, True)
    assert depths == [(2, 8), (1, 32), (1, 128)]


def test_many_near_references_of_one_work_hide_no_other_work() -> None:
    registered = Registered()
    same = [registered.add(0) for _ in range(20)]
    other = registered.add(bits(2))
    work = uuid4()
    for descriptor_id, owner in registered.owners_by_id.items():
        if owner.reference_id in same:
            registered.owners_by_id[descriptor_id] = replace(owner, work_id=work)
    found = retrieve([fingerprint(0)], [CHANNEL], registered.search, registered.owners, 4, in_time=always)
    assert [c.reference_id for c in found.found] == [*sorted(same)[:3], other]
    assert [c.closeness for c in found.found] == [0, 0, 0, 0.25]
    assert found.truncated


def test_what_the_caller_may_not_see_takes_no_places() -> None:
    registered = Registered()
    for _ in range(30):
        registered.add(0)
    mine = registered.add(bits(2))

    def owners(scheme: str, ids: npt.NDArray[np.int64]) -> Mapping[int, DescriptorOwner]:
        found = registered.owners(scheme, ids)
        return {i: owner for i, owner in found.items() if owner.reference_id == mine}

    found = retrieve([fingerprint(0)], [CHANNEL], registered.search, owners, 3, in_time=always)
    assert [c.reference_id for c in found.found] == [mine]
    assert not found.truncated


VOTING = Channel(SCHEME, replace(SEARCH, radius=3, nearest=8, votes=True))


def voted(registered: Registered, *rows: int, limit: int = 10) -> list[UUID]:
    found = retrieve(
        [fingerprint(*rows)],
        [VOTING],
        lambda _, queries, nearest: registered.index.search(queries, radius=3, limit=nearest),
        registered.owners,
        limit,
        in_time=always,
    )
    assert found.complete
    assert not found.truncated
    assert all(0.0 < candidate.closeness < 1.0 for candidate in found.found)
    return [candidate.reference_id for candidate in found.found]


def far(*places: int) -> list[int]:
    """Rows that lie 16 bits or more from each other."""
    return [0xFFFF << 16 * (place % 4) ^ 0xFF << 8 * (place // 4) for place in places]


def test_who_holds_more_of_the_query_comes_before_who_holds_one_part_exactly() -> None:
    registered = Registered()
    one_exactly = registered.add(far(0)[0])
    most_nearly = registered.add(*(row ^ 1 for row in far(1, 2, 3)))
    registered.add(*far(5, 6))
    assert voted(registered, *far(0, 1, 2, 3)) == [most_nearly, one_exactly]


def test_what_many_hold_counts_little() -> None:
    registered = Registered()
    phrases = [registered.add(*far(0, 1)) for _ in range(7)]
    rare = registered.add(*far(2))
    assert voted(registered, *far(0, 1, 2)) == [rare, *sorted(phrases)]


def test_a_reference_that_holds_a_descriptor_often_has_one_vote_of_it() -> None:
    registered = Registered()
    refrain = registered.add(*far(0) * 5)
    twice = registered.add(*far(1, 2))
    assert voted(registered, *far(0, 1, 2)) == [twice, refrain]


def test_what_leads_a_few_descriptors_is_found_however_many_votes_others_have() -> None:
    registered = Registered()
    most = [registered.add(*far(place, place + 1)) for place in (0, 2)]
    briefly = registered.add(*far(4))

    def asked(group: int) -> dict[UUID, bool]:
        found = retrieve(
            [fingerprint(*far(0, 1, 2, 3, 4))],
            [replace(VOTING, search=replace(SEARCH, radius=3, nearest=8, votes=True, most=2, group=group))],
            lambda _, queries, nearest: registered.index.search(queries, radius=3, limit=nearest),
            registered.owners,
            10,
            in_time=always,
        )
        return {one.reference_id: one.leads for one in found.found}

    assert asked(0) == dict.fromkeys(most, False)
    assert asked(2) == dict.fromkeys([*most, briefly], True)


def test_rows_without_any_neighbour_leave_the_votes_of_others_as_they_are() -> None:
    registered = Registered()
    held = registered.add(*far(0, 1))
    unknown = [(1 << 40) + (i << 8) for i in range(2 * _Votes.rows)]
    assert voted(registered, *far(0, 1), *unknown) == [held]


def test_owners_are_asked_for_by_the_reference_not_by_the_descriptor() -> None:
    registered = Registered()
    rows = [i << 8 for i in range(4000)]
    long = registered.add(*rows)
    asked: list[int] = []

    def owners(scheme: str, ids: npt.NDArray[np.int64]) -> Mapping[int, DescriptorOwner]:
        asked.extend(ids.tolist())
        return registered.owners(scheme, ids)

    found = retrieve(
        [fingerprint(*rows)],
        [VOTING],
        lambda _, queries, nearest: registered.index.search(queries, radius=0, limit=nearest),
        owners,
        10,
        in_time=always,
    )
    assert [candidate.reference_id for candidate in found.found] == [long]
    assert len(asked) < 500


LOCAL = Channel(SCHEME, Search(0, 0, nearest=64, votes=True, stretch=8, least_votes=3.0, common=8))


def looked_up(registered: Registered, *rows: int) -> Candidates:
    return retrieve(
        [fingerprint(*rows)],
        [LOCAL],
        lambda _, queries, nearest: registered.index.search(queries, radius=0, limit=nearest),
        registered.owners,
        10,
        in_time=always,
    )


def test_votes_of_one_stretch_make_a_candidate_and_those_all_over_a_reference_do_not() -> None:
    registered = Registered()
    registered.add(*(row if row % 20 else row // 20 << 32 for row in range(1, 200)))
    copied = registered.add(*(row << 32 for row in range(1, 9)), *range(1_000, 1_050))
    found = looked_up(registered, *(row << 32 for row in range(1, 9)))
    assert [one.reference_id for one in found.found] == [copied]
    assert found.query[0].quality.tolist() == [1.0] * 8


def test_rows_that_many_works_hold_in_one_place_count_less_when_candidates_are_compared() -> None:
    registered = Registered()
    licence = [row << 32 for row in range(1, 13)]
    for number in range(4):
        registered.add(*licence, *range(1_000 * (number + 1), 1_000 * (number + 1) + 20))
    found = looked_up(registered, *licence, 1_000)
    assert len(found.found) == 4
    assert found.query[0].quality.tolist() == [0.25] * 12 + [1.0]
    assert found.common == 0.0
    for number in range(4, 9):
        registered.add(*licence, *range(1_000 * (number + 1), 1_000 * (number + 1) + 20))
    found = looked_up(registered, *licence, 1_000)
    assert found.query[0].quality.tolist() == [0.0] * 12 + [1.0]
    assert found.common == pytest.approx(12 / 13)


def test_a_row_with_too_many_neighbours_counts_nothing() -> None:
    registered = Registered()
    for _ in range(70):
        registered.add(7 << 32)
    found = looked_up(registered, 7 << 32, 8 << 32)
    assert found.found == ()
    assert found.query[0].quality.tolist() == [0.0, 1.0]


def test_votes_for_one_place_outdo_as_many_that_are_scattered() -> None:
    placing = Channel(SCHEME, replace(SEARCH, radius=3, nearest=8, votes=True, step=1.0))
    registered = Registered()
    rows = [(number * 0x9E3779B97F4A7C15) % (1 << 63) for number in range(1, 13)]
    backwards = registered.add(*rows[::-1])
    forwards = registered.add(*rows)
    found = retrieve(
        [fingerprint(*rows)],
        [placing],
        lambda _, queries, nearest: registered.index.search(queries, radius=3, limit=nearest),
        registered.owners,
        10,
        in_time=always,
    )
    assert [candidate.reference_id for candidate in found.found] == [forwards, backwards]
    place = found.found[0].places[0]
    assert place[0] - place[1] == pytest.approx(0.0, abs=2.0)  # as far from both beginnings
    assert 2 <= len(found.found[1].places) <= 6


def test_votes_of_a_view_that_changes_the_length_are_for_places_at_that_length() -> None:
    paced = Channel(SCHEME, replace(SEARCH, radius=3, nearest=8, votes=True, step=1.0, paces=(1.0, 4.0)))
    registered = Registered()
    rows = [(number * 0x9E3779B97F4A7C15) % (1 << 63) for number in range(1, 13)]
    together = registered.add(*rows)
    query = fingerprint(*rows)
    at = np.arange(12.0) / 4.0  # four times as fast
    query = replace(query, spans=np.stack([at, at + 0.25], axis=1), views=np.ones(12, np.uint8))
    found = retrieve(
        [query],
        [paced],
        lambda _, queries, nearest: registered.index.search(queries, radius=3, limit=nearest),
        registered.owners,
        10,
        in_time=always,
    )
    (candidate,) = found.found
    assert candidate.reference_id == together
    assert len(candidate.places) == 1
    in_query, in_work, view = candidate.places[0]
    assert in_query * 4.0 == pytest.approx(in_work, abs=2.0)
    assert view == 1


def test_descriptors_of_others_have_no_votes() -> None:
    registered = Registered()
    hidden = registered.add(*far(0, 1, 2))
    mine = registered.add(*far(3))
    for i in list(registered.owners_by_id):
        if registered.owners_by_id[i].reference_id == hidden:
            del registered.owners_by_id[i]
    assert voted(registered, *far(0, 1, 2, 3)) == [mine]


def test_equal_descriptors_are_looked_up_once_and_in_chunks_while_there_is_time() -> None:
    registered = Registered()
    references = [registered.add(i << 20) for i in range(200)]
    sizes: list[int] = []

    def search(channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        sizes.append(len(queries))
        return registered.search(channel, queries, limit)

    query = fingerprint(*(i % 200 << 20 for i in range(1000)))
    found = retrieve([query], [CHANNEL], search, registered.owners, 200, in_time=always)
    assert {c.reference_id for c in found.found} == set(references)
    assert sizes == [64, 64, 64, 8]
    assert found.complete
    answers = iter([True, True, False])
    partly = retrieve([query], [CHANNEL], search, registered.owners, 200, in_time=lambda: next(answers))
    assert len(sizes) == 6
    assert not partly.complete
    assert len(partly.found) >= 128


class StubModality:
    """Measures the distance of the first descriptors."""

    channels: tuple[Channel, ...] = (CHANNEL,)

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        difference = np.bitwise_xor(query[0].descriptors[0], work[0].descriptors[0])
        return Alignment({"distance": float(np.bitwise_count(difference).sum())})


def test_verification_stops_when_the_time_is_over() -> None:
    references = [uuid4() for _ in range(100)]
    answers = iter([True, True, False])
    verified = verify(
        [fingerprint(0)],
        references,
        dict.fromkeys(references, StubModality()),  # type: ignore[arg-type]
        lambda ids, **_: {i: (fingerprint(bits(5)),) for i in ids},
        lambda: next(answers),
    )
    assert list(verified.alignments) == references[:64]
    assert verified.left_out == 36
    assert verified.alignments[references[0]].signals == {"distance": pytest.approx(5.0)}


def test_what_is_compared_beside_a_scheme_of_the_query_is_loaded_too() -> None:
    beside, other = (replace(SCHEME, name=f"test.{name}") for name in ("beside", "other"))
    loaded: set[str] = set()

    def fingerprints(ids: Sequence[UUID], *, schemes: Collection[str]) -> dict[UUID, list[Fingerprint]]:
        loaded.update(schemes)
        return {one: [fingerprint(0)] for one in ids}

    modality = StubModality()
    modality.channels = (CHANNEL, Channel(beside, None, beside=SCHEME), Channel(other, None))
    reference = uuid4()
    verify([fingerprint(0)], [reference], {reference: modality}, fingerprints, lambda: True)  # type: ignore[dict-item]
    assert loaded == {SCHEME.id, beside.id}


def test_references_deleted_meanwhile_are_passed_over() -> None:
    kept, deleted = uuid4(), uuid4()
    verified = verify(
        [fingerprint(0)],
        [deleted, kept],
        dict.fromkeys([deleted, kept], StubModality()),  # type: ignore[arg-type]
        lambda ids, **_: {i: (fingerprint(0),) for i in ids if i == kept},
        lambda: True,
    )
    assert list(verified.alignments) == [kept]
    assert verified.left_out == 0
