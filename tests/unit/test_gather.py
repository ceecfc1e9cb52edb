"""One answer from many parts: what alarms, what does not, and what is counted."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from service.domain import Action, Holding, Match, Policy, Reference, Work
from service.matching.gather import MOST_LISTED, ONE_PART, QueryPart, gather

NOW = datetime(2026, 11, 22, tzinfo=UTC)
WORK, CONTAINER = UUID(int=1), UUID(int=9)


def match(
    number: int,
    *,
    work: int = 1,
    owner: str = "studio",
    probability: float = 1.0,
    weight: float = 1.0,
    loose: bool = False,
) -> Match:
    """What part `number` matches in a work: the reference of the same number, in the work's container."""
    owned = Work(
        UUID(int=work), owner, None, "", {}, Policy(), None, 1, 1, NOW, NOW, 1
    )  # fmt: skip
    reference = Reference(
        id=UUID(int=1000 * work + number),
        work_id=owned.id,
        filename=f"game.apk!{number}.png",
        modality="image",
        sha256=None,
        byte_count=0,
        schemes=(),
        created_at=NOW,
        sequence=1,
        container_id=None if loose else CONTAINER,
        weight=weight,
    )
    return Match(owned, reference, probability, {}, (), (), 1.0, 1.0, action=Action.BLOCK)


def part(number: int, *matches: Match, weight: float = 1.0) -> QueryPart:
    return QueryPart(f"{number:03}.png", "image", weight, matches)


def holdings(count: int, *works: int, weight: float = 1.0) -> dict[UUID, list[Holding]]:
    return {UUID(int=work): [Holding(CONTAINER, "image", count, count * weight)] for work in works or (1,)}


def strangers(count: int) -> list[QueryPart]:
    return [part(900 + number) for number in range(count)]


def test_one_certain_part_is_named_and_does_not_make_the_whole_certain() -> None:
    (found,) = gather([part(1, match(1)), *strangers(99)], holdings(300))
    assert found.probability == pytest.approx(ONE_PART)
    assert found.action is Action.ALLOW
    assert [(one.name, one.reference.filename) for one in found.parts] == [("001.png", "game.apk!1.png")]
    assert found.query_coverage == pytest.approx(0.01)
    assert found.work_coverage == pytest.approx(1 / 300)


def test_an_icon_hardly_counts_and_many_parts_are_certain() -> None:
    (icon,) = gather([part(1, match(1, weight=0.06)), *strangers(9)], holdings(300))
    assert icon.probability < 0.05
    (many,) = gather([part(n, match(n)) for n in range(1, 6)], holdings(300))
    assert many.probability > 0.98
    assert many.query_coverage == 1.0


def test_a_reference_that_is_in_no_container_counts_in_full() -> None:
    (found,) = gather(
        [part(1, match(1, loose=True)), *strangers(99)], {WORK: [Holding(None, "image", 1, 1.0)]}
    )
    assert found.probability == 1.0
    assert found.work_coverage == 1.0


def test_what_several_owners_hold_is_no_copy_of_any_however_many_parts_that_are() -> None:
    stock = [part(n, match(n, work=1), match(n, work=2, owner="rival")) for n in range(1, 51)]
    found = gather([*stock, *strangers(200)], holdings(300, 1, 2))
    assert [one.probability for one in found] == [0.0, 0.0]
    assert all(len(one.parts) == MOST_LISTED for one in found)


def test_two_versions_of_one_owner_do_not_hide_each_other() -> None:
    found = gather([part(n, match(n, work=1), match(n, work=2)) for n in range(1, 6)], holdings(300, 1, 2))
    assert min(one.probability for one in found) > 0.98


@pytest.mark.parametrize(("share", "least", "most"), [(10, 0.0, 0.0), (50, 0.7, 0.8), (100, 1.0, 1.0)])
def test_two_owners_of_one_work_are_told_by_how_much_of_it_there_is(
    share: int, least: float, most: float
) -> None:
    parts = [part(n, match(n, work=1), match(n, work=2, owner="rival")) for n in range(share)]
    found = gather(parts, holdings(100, 1, 2))
    assert all(least <= one.probability <= most for one in found)


def test_parts_are_counted_by_kind_and_each_reference_once() -> None:
    twice = [part(1, match(1)), part(2, match(1)), part(3, match(2)), part(4, match(3, probability=0.2))]
    (found,) = gather(twice, holdings(10))
    (count,) = found.part_counts
    assert (count.modality, count.query_found, count.query_count) == ("image", 3, 4)
    assert (count.work_found, count.work_count) == (2, 10)
    assert found.work_coverage == pytest.approx(0.2)


def test_unlikely_parts_are_neither_named_nor_counted() -> None:
    (found,) = gather([part(1, match(1, probability=0.3))], holdings(10))
    assert (found.parts, found.part_counts, found.query_coverage, found.work_coverage) == ((), (), 0.0, 0.0)
    assert found.probability == pytest.approx(0.3 * ONE_PART)


def test_nothing_is_found_in_nothing() -> None:
    assert gather(strangers(5), {}) == ()


def test_what_is_suppressed_counts_only_where_nothing_else_of_the_work_is_found() -> None:
    held = replace(match(1), suppressed=True)
    (alone,) = gather([part(1, held), *strangers(9)], holdings(9))
    assert (alone.suppressed, [one.name for one in alone.parts]) == (True, ["001.png"])
    (both,) = gather([part(1, held), part(2, match(2)), *strangers(8)], holdings(9))
    assert (both.suppressed, [one.name for one in both.parts]) == (False, ["002.png"])
