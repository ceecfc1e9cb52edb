"""Reading a container part by part: what is counted, what ends it, and what people are told is left out."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from time import monotonic
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numpy as np
import pytest

from indexers.containers import Part
from indexers.fingerprint import Fingerprint
from indexers.image.hashes import PDQ
from service import containers
from service.containers import Containers
from service.errors import BusyError, UnreadableMediaError
from service.inquiry import Answering, Options
from service.matching.decide import Thresholds
from service.matching.report import Selection
from service.matching.score import Scorer
from service.metrics import Metrics
from service.sandbox import Listing, Pool, Reading, ReadMedia
from service.tracing import NoTracer
from tests.unit.test_matcher import nothing

T = TypeVar("T")
MEDIA = BytesIO()
OPTIONS = Options(Selection(0.0, 0.0, 0.0, 10))
Outcome = bytes | Exception


def read_media(digest: bytes) -> ReadMedia:
    described = Fingerprint(
        PDQ,
        np.zeros((1, 32), np.uint8),
        np.array([[0.0, 1.0]]),
        np.ones(1, np.float32),
        np.zeros(1, np.uint8),
    )
    return ReadMedia("image", (described,), digest * 32, 100, 0.0, 0.0)


class StubPool:
    """Gives for each part what it is told: a digest's byte, or an error; the last again and again."""

    workers = 2
    closing = False

    def __init__(self, **outcomes: Sequence[Outcome]) -> None:
        self._outcomes = {name: list(some) for name, some in outcomes.items()}
        self.asked: list[str] = []

    def seconds(self, byte_count: int) -> float:
        return 60.0 if byte_count else 0.0

    async def read(
        self,
        _: object,
        *,
        part: Part,
        role: object,
        consider: Callable[[ReadMedia], Awaitable[bool]] | None = None,
    ) -> ReadMedia:
        del role
        self.asked.append(part.name)
        left = self._outcomes[part.name]
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, Exception):
            raise outcome
        found = read_media(outcome)
        if consider is not None:
            await consider(found)
        return found


async def run(function: Callable[[], T]) -> T:
    return function()


def answering() -> Answering:
    view = SimpleNamespace(
        descriptor_owners=nothing,
        fingerprints=nothing,
        get_registered=lambda _: [],
        references_by_sha256=lambda *_, **__: [],
        get_references=nothing,
        get_holdings=nothing,
    )
    catalogue: Any = SimpleNamespace(
        sequence=7,
        largest_index=lambda _: 0,
        search=lambda *_: pytest.fail("nothing is looked up"),
        store=SimpleNamespace(view=lambda: nullcontext(view)),
    )
    return Answering(catalogue, Scorer.load(), Thresholds(0.5, 0.9), 10, Metrics(NoTracer()))


def reading(pool: StubPool) -> Containers:
    return Containers(answering(), cast("Pool", pool), run, lambda _: None)


def listing(*names: str, kind: str = "ZIP", left_out: dict[str, int] | None = None) -> Listing:
    parts = tuple(Part(name, "image", 100 + number, (number,)) for number, name in enumerate(names))
    return Listing(kind, parts, left_out or {})


def unreadable(reason: str) -> UnreadableMediaError:
    return UnreadableMediaError(reason, "no")


async def test_a_part_that_is_there_twice_counts_once_and_a_broken_one_not_at_all() -> None:
    pool = StubPool(a=[b"1"], b=[b"2"], c=[b"1"], d=[unreadable("MEDIA_DAMAGED")])
    far = Reading()
    found = await reading(pool).read(MEDIA, listing("a", "b", "c", "d"), far)
    assert (far.parts, far.part_count) == (3, 4)
    assert [part.name for part, _ in found.parts] in (["a", "b"], ["b", "c"])
    assert sorted(pool.asked) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("kind", "order"), [("ZIP", ["c", "b", "a"]), ("7z", ["a", "b", "c"])])
async def test_the_largest_come_first_where_the_order_costs_nothing(kind: str, order: list[str]) -> None:
    pool = StubPool(a=[b"1"], b=[b"2"], c=[b"3"])
    await reading(pool).read(MEDIA, listing("a", "b", "c", kind=kind), Reading())
    assert pool.asked == order


async def test_where_nothing_can_be_read_the_error_counts_why() -> None:
    pool = StubPool(
        a=[unreadable("MEDIA_DAMAGED")], b=[unreadable("MEDIA_LIMIT")], c=[unreadable("MEDIA_LIMIT")]
    )
    with pytest.raises(
        UnreadableMediaError, match=r"none of the 3 .* in the ZIP .* \(1 MEDIA_DAMAGED, 2 MEDIA_LIMIT\)"
    ) as caught:
        await reading(pool).read(MEDIA, listing("a", "b", "c"), Reading())
    assert caught.value.reason == "MEDIA_LIMIT"


async def test_parts_wait_while_others_are_read_and_give_up_when_the_service_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "_BUSY_SECONDS", 0.0)
    pool = StubPool(a=[BusyError("full"), BusyError("full"), b"1"])
    found = await reading(pool).read(MEDIA, listing("a"), Reading())
    assert [part.name for part, _ in found.parts] == ["a"]
    assert pool.asked == ["a", "a", "a"]
    stopping = StubPool(a=[BusyError("stops")])
    stopping.closing = True
    with pytest.raises(BusyError, match="stops"):
        await reading(stopping).read(MEDIA, listing("a"), Reading())


async def test_a_part_that_took_too_long_is_read_once_more() -> None:
    late = unreadable("MEDIA_TIMEOUT")
    pool = StubPool(a=[late, b"1"], b=[late, late], c=[b"3"])
    found = await reading(pool).read(MEDIA, listing("a", "b", "c"), Reading())
    assert [part.name for part, _ in found.parts] == ["a", "c"]
    assert sorted(pool.asked) == ["a", "a", "b", "b", "c"]


async def test_a_container_that_ends_one_worker_after_another_is_given_up() -> None:
    names = [f"n{number}" for number in range(9)]
    pool = StubPool(**{name: [unreadable("MEDIA_CRASHED")] for name in names})
    with pytest.raises(UnreadableMediaError) as caught:
        await reading(pool).read(MEDIA, listing(*names), Reading())
    assert caught.value.reason == "MEDIA_CRASHED"
    assert len(pool.asked) <= 7


async def test_what_says_too_much_or_takes_too_long_as_a_whole_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "_MAX_BYTES", 40)
    with pytest.raises(UnreadableMediaError, match="says too much for one container"):
        await reading(StubPool(a=[b"1"], b=[b"2"])).read(MEDIA, listing("a", "b"), Reading())
    monkeypatch.setattr(containers, "_PART_SECONDS", 0.0)
    monkeypatch.setattr(StubPool, "seconds", lambda *_: 0.0)
    with pytest.raises(UnreadableMediaError, match="took too long: send it in parts") as caught:
        await reading(StubPool(a=[b"1"])).read(MEDIA, listing("a"), Reading())
    assert caught.value.reason == "MEDIA_TIMEOUT"


async def test_an_answer_tells_what_was_not_looked_up() -> None:
    pool = StubPool(
        a=[unreadable("MEDIA_UNSUPPORTED")], b=[unreadable("MEDIA_DAMAGED")], c=[unreadable("MEDIA_TIMEOUT")]
    )
    late = await reading(pool).match(
        MEDIA, bytes(32), listing("a", "b", left_out={"RAR files": 2, "links": 1}), OPTIONS, monotonic() - 1.0
    )
    assert late.matches == ()
    assert late.partial_reasons == (
        "DEADLINE: 2 of 2 parts were not looked up in time",
        "PARTS: 3 parts were not looked up (2 RAR files, 1 links)",
    )
    assert pool.asked == []
    with pytest.raises(UnreadableMediaError, match="none of the 3"):
        await reading(pool).match(MEDIA, bytes(32), listing("a", "b", "c"), OPTIONS, float("inf"))


async def test_a_part_that_is_not_there_in_time_is_late_and_the_rest_is_told() -> None:
    pool = StubPool(slow=[TimeoutError()], bad=[unreadable("MEDIA_DAMAGED")])
    found = await reading(pool).match(
        MEDIA, bytes(32), listing("slow", "bad"), replace(OPTIONS, fast=True), float("inf")
    )
    assert found.partial_reasons == (
        "DEADLINE: 1 of 2 parts were not looked up in time",
        "PARTS: 1 part was not looked up (1 MEDIA_DAMAGED)",
    )
