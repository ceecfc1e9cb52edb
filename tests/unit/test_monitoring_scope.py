"""Which matches a monitoring list is told of."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from service.domain import Licence, Match, Policy, Reference, Work
from service.monitored import ListSettings, Watch
from service.monitoring.suspects import in_scope

NOW = datetime(2026, 11, 1, tzinfo=UTC)
WORK = Work(uuid4(), "studio", "P-17", "Poster", {}, Policy(), None, 1, 1, NOW, NOW, 1)
MATCH = Match(WORK, Reference(UUID(int=1), WORK.id, "", "video", None, 0, (), NOW, 1), 0.7, {}, (), (), 1, 1)
WATCH = Watch(b"s" * 32, uuid4(), "studio", ListSettings(), 1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, True),
        ({"probability": 0.5}, True),
        ({"probability": 0.49}, False),
        ({"probability": 0.04, "scene": 0.99}, True),
        ({"probability": 0.04, "scene": 0.4}, False),
        ({"licence": Licence()}, False),
        ({"suppressed": True}, False),
        ({"work": replace(WORK, owner="somebody else")}, False),
    ],
)
def test_a_list_is_told_of_what_is_probable_or_the_same_scene(changes: dict[str, object], told: bool) -> None:
    match = replace(MATCH, **changes)  # type: ignore[arg-type]

    assert in_scope([match], WATCH, 0.5) == ((match,) if told else ())


def test_a_list_may_ask_for_more_and_for_chosen_works() -> None:
    sure = replace(WATCH, settings=ListSettings(min_probability=0.9))
    others = replace(WATCH, settings=ListSettings(works=(uuid4(),)))

    assert in_scope([MATCH], sure, 0.5) == in_scope([MATCH], others, 0.5) == ()
    assert in_scope([replace(MATCH, probability=0.9)], sure, 0.5)
