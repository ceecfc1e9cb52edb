"""What a long match may take: threads of its own, and no longer than somebody waits."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from time import monotonic
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import numpy.typing as npt
import pytest

from indexers import registry
from indexers.fingerprint import Fingerprint, Scheme
from indexers.image import ImageModality
from indexers.image.hashes import PDQ
from indexers.image.local import LOCAL
from indexers.index import Hits
from indexers.modality import Alignment, Channel
from service.domain import DescriptorOwner
from service.inquiry import Answering, Inquiry, Options
from service.matcher import Matcher, Query
from service.matching.decide import Thresholds
from service.matching.report import Selection
from service.matching.score import Scorer
from service.metrics import Metrics
from service.tracing import NoTracer

ROWS = 1000
DESCRIPTORS = np.random.default_rng(5).integers(0, 256, (ROWS, 32), dtype=np.uint8)
SPANS = np.array([[i, i + 1] for i in range(ROWS)], np.float64)
LONG = Query(
    "image",
    (Fingerprint(PDQ, DESCRIPTORS, SPANS, np.ones(ROWS, np.float32), np.zeros(ROWS, np.uint8)),),
    None,
)


def nothing(*_: object, **__: object) -> dict[object, Any]:
    return {}


class StubCatalogue:
    """Finds nothing, and says how often it was asked; can be told to wait."""

    sequence = 0

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = threading.Event()
        self.entered = threading.Semaphore(0)
        view = SimpleNamespace(descriptor_owners=nothing, fingerprints=nothing, get_registered=nothing)
        self.store = SimpleNamespace(view=lambda: nullcontext(view))

    def largest_index(self, modality: str) -> int:
        assert modality == "image"
        return 0

    def search(self, channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        assert channel.scheme is PDQ
        assert limit >= 10
        self.asked += 1
        self.entered.release()
        self.go_on.wait()
        return Hits(np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def options(deadline: float | None = None) -> Options:
    return Options(Selection(0.5, 0, 0, 10), deadline=deadline)


def answering(catalogue: StubCatalogue) -> Answering:
    return Answering(
        catalogue=catalogue,  # type: ignore[arg-type]
        scorer=Scorer.load(),
        thresholds=Thresholds(0.5, 0.9),
        max_candidates=10,
        metrics=Metrics(NoTracer()),
    )


@asynccontextmanager
async def matching(catalogue: StubCatalogue) -> AsyncIterator[Matcher]:
    matcher = Matcher(answering(catalogue), pool=None)  # type: ignore[arg-type]
    try:
        yield matcher
    finally:
        catalogue.go_on.set()
        await matcher.close()


async def test_long_matches_leave_threads_to_everything_else() -> None:
    catalogue = StubCatalogue()
    async with matching(catalogue) as matcher:
        many = 64 + 2 * (os.cpu_count() or 1)  # more than asyncio's own executor has threads
        waiting = [asyncio.create_task(matcher.match(LONG, options())) for _ in range(many)]
        for _ in range(os.cpu_count() or 1):
            assert await asyncio.to_thread(catalogue.entered.acquire, timeout=60)
        assert await asyncio.to_thread(lambda: "free") == "free"
        catalogue.go_on.set()
        reports = await asyncio.gather(*waiting)
    assert {report.partial_reasons for report in reports} == {()}


async def test_a_cancelled_match_stops_its_work() -> None:
    catalogue = StubCatalogue()
    async with matching(catalogue) as matcher:
        task = asyncio.create_task(matcher.match(LONG, options()))
        assert await asyncio.to_thread(catalogue.entered.acquire, timeout=60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        catalogue.go_on.set()
    assert catalogue.asked == 1


async def test_a_match_that_has_no_time_left_says_so() -> None:
    catalogue = StubCatalogue()
    catalogue.go_on.set()
    async with matching(catalogue) as matcher:
        report = await matcher.match(LONG, options(deadline=monotonic()))
    assert catalogue.asked == 0
    assert report.partial_reasons == ("DEADLINE: not all of the query was looked up in time",)


def inquiry(last_moment: float, *, fast: bool = False) -> Inquiry:
    catalogue = StubCatalogue()
    catalogue.go_on.set()
    return Inquiry(answering(catalogue), replace(options(), fast=fast), None, last_moment)


def test_every_stage_is_looked_up_while_nothing_is_sure() -> None:
    stages = len(ImageModality.stages)
    asking = inquiry(float("inf"))
    for number in range(1, stages + 1):
        assert asking.answer is None
        asking.look("image", LONG.fingerprints, more=number < stages)
    assert asking.answer is not None
    assert asking.answer.partial_reasons == ()


def test_a_fast_answer_leaves_out_the_last_stages_and_is_whole_nonetheless() -> None:
    asking = inquiry(float("inf"), fast=True)
    for _ in range(ImageModality.fast_stages - 1):  # nothing is likely
        assert asking.answer is None
        asking.look("image", LONG.fingerprints, more=True)
    assert asking.answer is not None
    assert asking.answer.partial_reasons == ()


def test_stages_for_which_there_is_no_time_are_named() -> None:
    asking = inquiry(monotonic() + 1e-9)
    asking.look("image", LONG.fingerprints, more=True)
    assert asking.answer is not None
    assert f"DEADLINE: no time for {', '.join(ImageModality.stages[1:])}" in asking.answer.partial_reasons


def test_what_could_not_be_read_is_told() -> None:
    asking = inquiry(float("inf"))
    asking.look("image", LONG.fingerprints, more=True, lost=[(1.0, 2.5)])
    asking.look("image", LONG.fingerprints, more=False, lost=[(7.0, 9.0)])
    assert asking.answer is not None
    (reason,) = asking.answer.partial_reasons
    assert reason.startswith("DAMAGED: 1.0 to 2.5 s, 7.0 to 9.0 s could not be read")


def test_a_cancelled_inquiry_asks_for_no_further_stage() -> None:
    asking = inquiry(float("inf"))
    asking.cancel()
    asking.look("image", LONG.fingerprints, more=True)
    assert asking.answer is not None


class StubModality:
    """Measures the first byte of references' hashes, and notes which are compared, and which closely."""

    name = "image"
    channels = ImageModality().channels
    stages = ("hashes", "whole", "local", "windows")
    fast_stages = 3
    scene_stages: frozenset[int] = frozenset()
    place_stages: frozenset[int] = frozenset()
    accompanying: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.aligned: list[int] = []
        self.closely: list[int] = []
        self.views: dict[int, frozenset[int]] = {}
        self.coverage = 0.5
        self.uncertain = False

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment:
        by_scheme = {fingerprint.scheme: fingerprint for fingerprint in work}
        assert {fingerprint.scheme for fingerprint in query} == by_scheme.keys()
        distance = int(by_scheme[PDQ].descriptors[0, 0])
        self.aligned.append(distance)
        if LOCAL in by_scheme:
            self.closely.append(distance)
        views = self.views.get(distance, frozenset())
        return Alignment(
            {"pdq_distance": distance, "pdq_quality": 1.0},
            query_coverage=self.coverage,
            views=views,
            uncertain=self.uncertain,
        )


def described(scheme: Scheme, byte: int) -> Fingerprint:
    rows = np.full((1, 32), byte, np.uint8)
    return Fingerprint(scheme, rows, SPANS[:1], np.ones(1, np.float32), np.zeros(1, np.uint8))


class Near:
    """An inquiry about references at given distances; all are found, as near as is said last."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, distances: Sequence[int], *, fast: bool = False
    ) -> None:
        self.modality = StubModality()
        self.found_at: float | list[float] = 10.0
        monkeypatch.setattr(registry, "by_name", lambda _: self.modality)
        self._distances = {uuid4(): distance for distance in distances}
        self._owners = {row: DescriptorOwner(uuid4(), one, row, 1) for row, one in enumerate(self._distances)}
        catalogue = StubCatalogue()
        catalogue.search = self._search  # type: ignore[method-assign,assignment]
        view = SimpleNamespace(
            descriptor_owners=lambda *_, **__: self._owners,
            fingerprints=self._stored,
            get_registered=nothing,
        )
        catalogue.store = SimpleNamespace(view=lambda: nullcontext(view))
        self.inquiry = Inquiry(answering(catalogue), replace(options(), fast=fast), None, float("inf"))

    def _search(self, _channel: Channel, _queries: object, _limit: int) -> Hits:
        count = len(self._owners)
        distances = np.full(count, self.found_at, np.float32)
        return Hits(np.array([0, count]), np.arange(count), distances)

    def _stored(
        self, ids: Sequence[UUID], *, schemes: Collection[str]
    ) -> Mapping[UUID, Sequence[Fingerprint]]:
        known = {scheme.id: scheme for scheme in (PDQ, LOCAL)}
        return {
            one: [described(known[name], self._distances[one]) for name in sorted(schemes)] for one in ids
        }


@pytest.mark.parametrize(("stages", "settled"), [(frozenset({1}), False), (frozenset({2}), True)])
def test_where_the_place_is_uncertain_the_next_stage_may_tell_it(
    monkeypatch: pytest.MonkeyPatch, stages: frozenset[int], *, settled: bool
) -> None:
    near = Near(monkeypatch, (0,))
    near.modality.coverage, near.modality.uncertain, near.modality.place_stages = 1.0, True, stages
    near.inquiry.look("image", [described(PDQ, 0)], more=True)
    assert (near.inquiry.closer is None) is settled


def test_the_most_probable_candidates_are_compared_closely_the_first_few_however_improbable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = Near(monkeypatch, (30, 12, 44, 6, 10, 18, 24, 38, 8))
    near.inquiry.look("image", [described(PDQ, 0)], more=True)
    assert near.modality.closely == []
    near.inquiry.look("image", [described(LOCAL, 0)], more=True)
    assert near.modality.closely == [6, 8, 10, 12, 18, 24]
    far = Near(monkeypatch, (128, 120, 124, 122, 126))
    far.found_at = [5.0, 9.0, 8.0, 7.0, 6.0]
    far.inquiry.look("image", [described(PDQ, 0), described(LOCAL, 0)], more=False)
    assert far.modality.closely == [128, 126, 122]  # the nearest by what found them
    assert far.inquiry.answer is not None


def test_where_candidates_are_not_sifted_the_nearest_are_compared_closely_whatever_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = Near(monkeypatch, (12, 128, 126, 124))
    near.modality.channels = tuple(
        replace(one, compared=3, unsifted=True) if one.search is None else one
        for one in near.modality.channels
    )
    near.found_at = [9.0, 5.0, 8.0, 6.0]
    near.inquiry.look("image", [described(PDQ, 0)], more=True)
    assert near.modality.closely == []
    near.inquiry.look("image", [described(LOCAL, 0)], more=False)
    assert near.modality.closely == [128, 124, 126]
    assert near.inquiry.answer is not None


def with_a_first_look(near: Near, promising: Collection[int]) -> list[int]:
    """Let only some references be promising, by their first bytes; returns which are looked at."""
    looked_at: list[int] = []

    def look(_query: object, work: Sequence[Fingerprint], _places: object) -> bool:
        looked_at.append(int(work[0].descriptors[0, 0]))
        return looked_at[-1] in promising

    near.modality.channels = tuple(
        replace(one, compared=3, unsifted=True, promising=look) if one.search is None else one
        for one in near.modality.channels
    )
    return looked_at


def test_only_the_nearest_and_what_is_promising_is_compared_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    near = Near(monkeypatch, (12, 128, 126, 124, 18, 14))
    looked_at = with_a_first_look(near, {14})
    near.modality.channels = tuple(
        replace(one, compared=5) if one.search is None else one for one in near.modality.channels
    )
    near.found_at = [9.0, 5.0, 6.0, 7.0, 8.0, 4.0]
    near.inquiry.look("image", [described(PDQ, 0), described(LOCAL, 0)], more=False)
    assert near.modality.closely == [14, 128, 126]  # the nearest three
    assert looked_at == [124, 18]
    assert near.modality.aligned == near.modality.closely  # the farthest is not compared at all


def test_what_is_farther_is_compared_closely_if_a_glimpse_tells_so(monkeypatch: pytest.MonkeyPatch) -> None:
    near = Near(monkeypatch, (12, 128, 126, 124, 18, 14))
    looked_at = with_a_first_look(near, set())
    glimpsed_at: list[int] = []

    def glimpse(_query: object, work: Sequence[Fingerprint]) -> bool:
        glimpsed_at.append(int(work[0].descriptors[0, 0]))
        return glimpsed_at[-1] == 12

    near.modality.channels = tuple(
        replace(one, compared=4, glimpse=glimpse) if one.search is None else one
        for one in near.modality.channels
    )
    near.found_at = [9.0, 5.0, 6.0, 7.0, 8.0, 4.0]
    near.inquiry.look("image", [described(PDQ, 0), described(LOCAL, 0)], more=False)
    assert looked_at == [124]
    assert glimpsed_at == [18, 12]
    assert near.modality.closely == [14, 128, 126, 12]


def test_what_a_later_stage_compares_anew_is_compared_before_only_if_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = Near(monkeypatch, (12, 126))
    with_a_first_look(near, {12, 126})
    near.inquiry.look("image", [described(PDQ, 0)], more=True)
    assert near.modality.aligned == []
    near.inquiry.look("image", [described(LOCAL, 0)], more=False)
    assert near.modality.closely == near.modality.aligned
    assert sorted(near.modality.closely) == [12, 126]
    fast = Near(monkeypatch, (12, 126), fast=True)
    with_a_first_look(fast, {12, 126})
    fast.modality.fast_stages = 1
    fast.inquiry.look("image", [described(PDQ, 0)], more=True)
    assert fast.inquiry.answer is not None
    assert sorted(fast.modality.aligned) == [12, 126]
    assert fast.modality.closely == []


def test_what_a_later_stage_brings_nearer_is_compared_closely_again_while_it_is_plausible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = Near(monkeypatch, (12, 126))
    near.inquiry.look("image", [described(PDQ, 0), described(LOCAL, 0)], more=True)
    assert near.modality.closely == [12, 126]
    near.inquiry.look("image", [described(PDQ, 1)], more=True)
    assert near.modality.closely == [12, 126]  # as near as before
    near.found_at = 9.0
    near.inquiry.look("image", [described(PDQ, 2)], more=True)
    assert near.modality.closely == [12, 126, 12]


def test_what_is_plausible_is_judged_by_what_later_stages_add_however_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = Near(monkeypatch, (12, 126))
    near.inquiry.look("image", [described(PDQ, 0)], more=True)
    assert sorted(near.modality.aligned) == [12, 126]
    near.inquiry.look("image", [described(PDQ, 1)], more=True)  # brings nothing nearer
    assert near.modality.aligned[2:] == [12]


def test_where_descriptors_vote_a_later_stage_compares_its_own_candidates_however_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = Near(monkeypatch, (122, 124, 126))
    near.modality.channels = tuple(
        replace(one, search=replace(one.search, nearest=3, votes=True)) if one.search else one
        for one in near.modality.channels
    )
    near.inquiry.look("image", [described(PDQ, 0)], more=True)
    assert sorted(near.modality.aligned) == [122, 124, 126]
    near.inquiry.look("image", [described(PDQ, 1)], more=True)  # brings nothing nearer
    assert sorted(near.modality.aligned[3:]) == [122, 124, 126]


def test_the_views_in_which_candidates_are_found_are_worth_a_closer_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = Near(monkeypatch, (12, 124, 126))
    near.modality.views = {12: frozenset({0, 3}), 126: frozenset({5})}
    near.inquiry.look("image", [described(PDQ, 0)], more=True)
    closer = near.inquiry.closer
    assert closer == frozenset({0, 3, 5})
    near.inquiry.look("image", [described(PDQ, 1)], more=False)
    assert near.inquiry.answer is not None


@pytest.mark.parametrize(("distance", "stages"), [(126, 2), (34, 3)])
def test_a_fast_answer_takes_its_last_stage_only_where_a_candidate_is_likely(
    monkeypatch: pytest.MonkeyPatch, distance: int, stages: int
) -> None:
    near = Near(monkeypatch, (distance,), fast=True)
    for number in range(1, stages + 1):
        assert near.inquiry.answer is None
        near.inquiry.look("image", [described(PDQ, number)], more=True)
    assert near.inquiry.answer is not None
    assert near.inquiry.answer.partial_reasons == ()
