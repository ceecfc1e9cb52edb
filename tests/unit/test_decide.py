"""Decisions: thresholds, licences, territories, severity; monotone in the probability."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import Action, Licence, Match, Policy, Reference, Work
from service.matching.decide import (
    COPY_FOUND,
    LICENSED,
    NOTHING_FOUND,
    OUT_OF_TERRITORY,
    POSSIBLE_COPY,
    SAME_SCENE,
    SUPPRESSED,
    Thresholds,
    Upload,
    decide,
)
from service.matching.report import best_of_each_work

NOW = datetime(2026, 1, 1, tzinfo=UTC)
THRESHOLDS = Thresholds(review=0.5, action=0.9)
SOMEWHERE = Upload("", (), NOW)


def match(probability: float, policy: Policy | None = None) -> Match:
    work_id = uuid4()
    return Match(
        work=Work(
            id=work_id,
            owner="studio",
            external_id="P-17",
            title="Poster",
            labels={},
            policy=policy or Policy(),
            references=None,
            reference_count=1,
            revision=1,
            created_at=NOW,
            updated_at=NOW,
            sequence=1,
        ),
        reference=Reference(UUID(int=1), work_id, "", "image", None, 0, (), NOW, 1),
        probability=probability,
        signals={},
        segments=(),
        regions=(),
        query_coverage=1.0,
        work_coverage=1.0,
    )


def code_of(matches: list[Match], upload: Upload = SOMEWHERE) -> tuple[Action, str]:
    verdict, _ = decide(matches, THRESHOLDS, upload, "test")
    return verdict.action, verdict.reasons[0].code


@pytest.mark.parametrize(
    ("probability", "action", "code"),
    [
        (0.0, Action.ALLOW, NOTHING_FOUND),
        (0.499, Action.ALLOW, NOTHING_FOUND),
        (0.5, Action.REVIEW, POSSIBLE_COPY),
        (0.899, Action.REVIEW, POSSIBLE_COPY),
        (0.9, Action.BLOCK, COPY_FOUND),
        (1.0, Action.BLOCK, COPY_FOUND),
    ],
)
def test_thresholds_are_inclusive(probability: float, action: Action, code: str) -> None:
    assert code_of([match(probability)]) == (action, code)


@pytest.mark.parametrize(
    ("probability", "alone", "scene", "action", "code"),
    [
        (0.1, 0.1, 0.95, Action.REVIEW, SAME_SCENE),
        (0.7, 0.7, 0.95, Action.REVIEW, SAME_SCENE),
        (1.0, 0.6, 0.95, Action.REVIEW, SAME_SCENE),  # the sound is sure, and lies elsewhere
        (0.95, 0.95, 0.99, Action.BLOCK, COPY_FOUND),
        (0.1, 0.1, 0.8, Action.ALLOW, NOTHING_FOUND),
        (0.7, 0.7, 0.8, Action.REVIEW, POSSIBLE_COPY),
    ],
)
def test_another_moment_of_a_scene_is_no_copy(
    probability: float, alone: float, scene: float, action: Action, code: str
) -> None:
    found = replace(match(probability), alone=alone, scene=scene)
    assert code_of([found]) == (action, code)


def test_nothing_found_still_gives_a_reason() -> None:
    assert code_of([]) == (Action.ALLOW, NOTHING_FOUND)


def test_a_work_may_ask_for_less_and_for_an_earlier_action() -> None:
    policy = Policy(action=Action.MONITOR, min_probability=0.3)
    assert code_of([match(0.3, policy)]) == (Action.MONITOR, COPY_FOUND)
    assert code_of([match(0.29, policy)]) == (Action.ALLOW, NOTHING_FOUND)


def test_a_possible_copy_asks_for_no_more_than_its_policy() -> None:
    assert code_of([match(0.6, Policy(action=Action.MONITOR))]) == (Action.MONITOR, POSSIBLE_COPY)


@pytest.mark.parametrize(
    ("licence", "upload", "allowed"),
    [
        (Licence(), SOMEWHERE, True),
        (Licence(uploader_token="ann"), Upload("ann", (), NOW), True),
        (Licence(uploader_token="ann"), Upload("bob", (), NOW), False),
        (Licence(uploader_token="ann"), SOMEWHERE, False),
        (Licence(territories=("FR", "DE")), Upload("", ("FR",), NOW), True),
        (Licence(territories=("FR",)), Upload("", ("FR", "DE"), NOW), False),
        (Licence(territories=("FR",)), SOMEWHERE, False),
        (Licence(expires_at=NOW + timedelta(seconds=1)), SOMEWHERE, True),
        (Licence(expires_at=NOW), SOMEWHERE, False),
    ],
)
def test_a_licence_allows_what_it_covers(licence: Licence, upload: Upload, *, allowed: bool) -> None:
    found = match(0.99, Policy(licences=(licence,)))
    verdict, (decided,) = decide([found], THRESHOLDS, upload, "test")
    assert verdict.action == (Action.ALLOW if allowed else Action.BLOCK)
    assert verdict.reasons[0].code == (LICENSED if allowed else COPY_FOUND)
    assert decided.licence == (licence if allowed else None)


def test_what_is_suppressed_asks_for_review_at_most_and_says_so() -> None:
    found = replace(match(1.0), suppressed=True)
    assert code_of([found]) == (Action.REVIEW, SUPPRESSED)
    assert code_of([replace(found, probability=0.4)]) == (Action.ALLOW, NOTHING_FOUND)
    mild = replace(match(1.0, Policy(action=Action.MONITOR)), suppressed=True)
    assert code_of([mild]) == (Action.MONITOR, SUPPRESSED)
    licensed = replace(match(1.0, Policy(licences=(Licence(),))), suppressed=True)
    assert code_of([licensed]) == (Action.ALLOW, LICENSED)


def test_a_suppressed_reference_gives_way_to_others_of_its_work_that_are_found() -> None:
    loud = replace(match(0.99), suppressed=True)
    other = replace(loud, suppressed=False, probability=0.6)
    assert best_of_each_work([loud, other], 0.5) == (other,)
    assert best_of_each_work([loud, replace(other, probability=0.4)], 0.5) == (loud,)
    stranger = match(0.8)
    assert best_of_each_work([other, stranger, loud], 0.5) == (stranger, other)


def test_rights_end_at_the_border() -> None:
    policy = Policy(territories=("FR",))
    assert code_of([match(0.99, policy)], Upload("", ("US",), NOW)) == (
        Action.ALLOW,
        OUT_OF_TERRITORY,
    )
    assert code_of([match(0.99, policy)], Upload("", ("US", "FR"), NOW)) == (
        Action.BLOCK,
        COPY_FOUND,
    )
    assert code_of([match(0.99, policy)], SOMEWHERE) == (Action.BLOCK, COPY_FOUND)


def test_the_most_severe_action_wins_and_its_reason_comes_first() -> None:
    mild = match(0.99, Policy(action=Action.MONITOR))
    severe = match(0.95)
    verdict, decided = decide([mild, severe], THRESHOLDS, SOMEWHERE, "test")
    assert verdict.action is Action.BLOCK
    assert verdict.reasons[0].work_id == severe.work.id
    assert [m.action for m in decided] == [Action.MONITOR, Action.BLOCK]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.sampled_from(Action), st.floats(0, 1))
def test_a_higher_probability_never_asks_for_less(
    pair: list[float], action: Action, threshold: float
) -> None:
    lower, higher = sorted(pair)
    found = match(lower, Policy(action=action, min_probability=threshold))
    low, _ = decide([found], THRESHOLDS, SOMEWHERE, "test")
    high, _ = decide([replace(found, probability=higher)], THRESHOLDS, SOMEWHERE, "test")
    assert low.action <= high.action
