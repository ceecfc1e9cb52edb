"""Cases, decisions, events, feedback and suppression, on both backends."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, event, insert, select

from service.domain import ApiKey, KeyRole
from service.errors import CaseHeldError, ForbiddenError, InvalidRequestError, NotFoundError, StaleError
from service.metrics import Metrics
from service.review import Desk
from service.review.gauges import show
from service.reviewed import (
    SERVER,
    Actor,
    Batch,
    Case,
    CaseFilter,
    CaseOrder,
    CaseState,
    Chosen,
    EventFilter,
    Outcome,
    PrecisionKind,
    Ruling,
    SubjectKind,
    digest_of_event,
)
from service.store import Store, Transaction, schema
from service.store import cases as case_store
from service.tracing import NoTracer
from tests.contract.reviewing import (
    ADMIN,
    INVESTIGATOR,
    MINUTE,
    NOW,
    OTHER,
    STUDIO,
    Scene,
    ids,
    scene_in,
)
from tests.contract.store_values import SCHEMES
from tests.contract.test_store_database import TABLE_SCANS, Plans

DESK = Desk()
INFRINGING = Ruling(Outcome.INFRINGING, "FULL_COPY", "all of it")
WRONG = Ruling(Outcome.WRONG_MATCH, "OTHER_WORK")


def decide(scene: Scene, case: Case, ruling: Ruling = INFRINGING, actor: Actor = ADMIN) -> Case:
    with scene.store.transaction() as transaction:
        return DESK.decide(transaction, actor, Chosen(case.id, case.revision), ruling, NOW)


def undo(scene: Scene, case: Case, number: int, actor: Actor = ADMIN) -> Case:
    with scene.store.transaction() as transaction:
        return DESK.undo(transaction, actor, case.id, number, NOW)


def actions(scene: Scene, case: Case) -> list[str]:
    with scene.store.view() as view:
        return [one.action for one in DESK.history(view, ADMIN, case.id)]


def test_reports_on_a_work_at_a_site_are_a_case(store: Store) -> None:
    scene = scene_in(store, 2)
    first, second = scene.works
    scene.see(1, "a.example", "1", title="Où voir")
    scene.see(1, "b.example")
    scene.see(2, "a.example")
    assert scene.find(1, [first, second]) == 2
    assert scene.find(2, [first], probability=0.97) == 1
    case = scene.case(first, "a.example")
    assert (case.report_count, case.open_count, case.probability, case.revision) == (2, 2, 0.97, 2)
    assert (case.state, case.owner, case.work_title) == (CaseState.OPEN, "studio", "Work 1")
    assert (case.page_url, case.page_title) == ("https://a.example/1", "Où voir")
    assert scene.case(first, "b.example").report_count == 1
    assert scene.case(second, "a.example").probability == 0.9
    assert len(scene.cases()) == 4

    scene.see(1, "a.example", "2")  # another page of the site: nothing to decide anew
    assert scene.case(first, "a.example") == case
    scene.see(2, "c.example")  # another site: a case, in the transaction that saw it there
    assert scene.case(first, "c.example").report_count == 1
    scene.find(1, [first], probability=0.99)
    assert scene.case(first, "a.example").probability == 0.99
    assert scene.case(first, "b.example").probability == 0.99
    assert actions(scene, case) == ["OPENED", "REPORT_ADDED"]
    with store.view() as view:
        (one, two) = DESK.reports(view, STUDIO, case.id)
        assert (one.number, two.number, one.covered) == (1, 2, False)
        assert DESK.reports(view, STUDIO, case.id, after=1) == [two]
        assert ids(DESK.cases_of_report(view, STUDIO, one.report_id)) == sorted(
            [case.id, scene.case(first, "b.example").id]
        )
        assert DESK.cases_of_report(view, OTHER, one.report_id) == []


def test_a_site_is_the_host_of_the_page_or_else_of_the_media() -> None:
    assert case_store.site_of("https://A.example:8080/x", "https://cdn.example/y") == "a.example"
    assert case_store.site_of("", "https://cdn.example/y") == "cdn.example"
    assert case_store.site_of("https://[broken", "no address") == ""
    assert len(case_store.site_of(f"https://{'a' * 400}/", "")) == 255


def test_a_decision_covers_what_is_there_and_a_new_report_opens_the_case_again(store: Store) -> None:
    scene = scene_in(store)
    (work,) = scene.works
    for content in (1, 2):
        scene.see(content, "a.example")
        scene.find(content, [work])
    case = decide(scene, scene.case(work, "a.example"))
    assert (case.state, case.open_count, case.revision) == (CaseState.DECIDED, 0, 3)
    assert case.decision is not None
    assert (case.decision.ruling, case.decision.actor, case.decision.at) == (INFRINGING, ADMIN.id, NOW)

    scene.see(3, "a.example")
    scene.find(3, [work], probability=0.7, now=NOW + MINUTE)
    again = scene.case(work, "a.example")
    assert (again.state, again.open_count, again.probability) == (CaseState.OPEN, 1, 0.7)
    assert again.decision == case.decision
    assert again.reported_at == NOW + MINUTE
    with store.view() as view:
        assert [one.covered for one in DESK.reports(view, ADMIN, case.id)] == [True, True, False]

    waiting = decide(scene, again, Ruling(Outcome.NEED_MORE, "ASK_OWNER"))
    assert waiting.state is CaseState.WAITING
    last = decide(scene, waiting, Ruling(Outcome.FAIR_USE))
    assert last.state is CaseState.DECIDED
    assert last.decision is not None
    back = undo(scene, last, last.decision.number)
    assert (back.state, back.decision and back.decision.number) == (CaseState.WAITING, 5)
    with pytest.raises(StaleError, match="undone already"):
        undo(scene, back, last.decision.number)
    back = undo(scene, back, 5)
    assert (back.state, back.open_count, back.probability) == (CaseState.OPEN, 1, 0.7)
    assert back.decision == case.decision
    back = undo(scene, back, 3)
    assert (back.state, back.open_count, back.decision) == (CaseState.OPEN, 3, None)
    with pytest.raises(NotFoundError, match="no decision 1"):
        undo(scene, back, 1)
    before, after = ["OPENED", "REPORT_ADDED", "DECIDED", "REOPENED"], ["DECIDED"] * 2 + ["UNDONE"] * 3
    assert actions(scene, case) == before + after
    with store.view() as view:
        assert [one.undone_by for one in DESK.decisions(view, ADMIN, case.id)] == [9, 8, 7]


def test_a_content_that_is_settled_needs_no_decision_elsewhere(store: Store) -> None:
    scene = scene_in(store, len(Outcome))
    for content, (outcome, work) in enumerate(zip(Outcome, scene.works, strict=True)):
        scene.see(content, "a.example")
        scene.find(content, [work])
        decide(scene, scene.case(work, "a.example"), Ruling(outcome))
        scene.see(content, "b.example")
        elsewhere = scene.case(work, "b.example")
        settled = outcome in (Outcome.LICENSED, Outcome.WRONG_MATCH)
        assert (elsewhere.state is CaseState.OPEN) is not settled
        assert actions(scene, elsewhere) == ["REPORT_SETTLED" if settled else "OPENED"]
    with store.view() as view:
        assert DESK.overview(view, ADMIN).states[CaseState.OPEN] == 3


def test_what_is_settled_elsewhere_is_open_again_when_that_decision_is_undone(store: Store) -> None:
    scene = scene_in(store)
    (work,) = scene.works
    scene.see(1, "a.example")
    scene.find(1, [work])
    case = decide(scene, scene.case(work, "a.example"), WRONG)
    scene.see(1, "b.example")
    elsewhere = scene.case(work, "b.example")
    assert (elsewhere.state, elsewhere.open_count) == (CaseState.DECIDED, 0)
    assert len(scene.cases(CaseFilter(outcome=Outcome.WRONG_MATCH))) == 2
    with store.view() as view:
        (one,) = DESK.reports(view, ADMIN, elsewhere.id)
    assert (one.covered, one.settled_by) == (True, (case.id, 2))

    scene.see(2, "b.example")
    scene.find(2, [work])  # another content: to be decided
    assert scene.case(work, "b.example").open_count == 1
    decide(scene, case, Ruling(Outcome.LICENSED, note="looked again"))
    with store.view() as view:
        assert DESK.reports(view, ADMIN, elsewhere.id)[0].settled_by == (case.id, 3)
    undo(scene, case, 3)
    undo(scene, case, 2)
    elsewhere = scene.case(work, "b.example")
    assert (elsewhere.state, elsewhere.open_count) == (CaseState.OPEN, 2)
    assert actions(scene, elsewhere) == ["REPORT_SETTLED", "REOPENED", "REOPENED"]


def test_a_case_is_decided_once_for_each_look_at_it(store: Store) -> None:
    scene = scene_in(store)
    scene.see(1, "a.example")
    scene.find(1, scene.works)
    (case,) = scene.cases()
    decide(scene, case)
    with pytest.raises(StaleError, match="has changed since revision 1; look at revision 2"):
        decide(scene, case, WRONG, INVESTIGATOR)
    with pytest.raises(InvalidRequestError, match="none of those for wrong_match"):
        decide(scene, case, Ruling(Outcome.WRONG_MATCH, "FULL_COPY"))
    with pytest.raises(InvalidRequestError, match="10,001 characters"):
        decide(scene, case, Ruling(Outcome.WRONG_MATCH, note="x" * 10_001))


def test_a_lease_is_for_one_until_it_ends(store: Store) -> None:
    scene = scene_in(store, 3)
    scene.see(1, "a.example")
    scene.find(1, scene.works)

    def take(actor: Actor, *, after: UUID | None = None, now: Any = NOW) -> UUID | None:
        with store.transaction() as transaction:
            found = DESK.lease_next(transaction, actor, CaseFilter(), CaseOrder.PROBABLE, now, after=after)
            assert found is None or found.held_by(now) == actor.id
            return None if found is None else found.id

    newest, middle, oldest = ids(scene.cases(order=CaseOrder.PROBABLE))
    assert take(ADMIN) == newest
    assert take(ADMIN) == newest  # an answer that was lost loses no case
    assert take(INVESTIGATOR) == middle
    assert take(STUDIO) == oldest
    assert take(INVESTIGATOR, after=middle) == middle  # begins anew
    assert take(OTHER) is None
    assert take(replace(STUDIO, id="late")) is None
    with pytest.raises(CaseHeldError, match=r"held by key admin-key until 2026-.*take another") as caught:
        decide(scene, scene.cases(order=CaseOrder.PROBABLE)[0], actor=INVESTIGATOR)
    assert caught.value.metadata["holder"] == "admin-key"
    with store.transaction() as transaction:
        with pytest.raises(CaseHeldError):
            DESK.lease(transaction, INVESTIGATOR, newest, NOW)
        renewed = DESK.lease(transaction, ADMIN, newest, NOW + MINUTE)
        assert renewed.lease is not None
        assert renewed.lease.until == NOW + MINUTE + timedelta(minutes=15)
        assert DESK.release(transaction, INVESTIGATOR, newest, NOW).held_by(NOW) == ADMIN.id
        assert DESK.release(transaction, ADMIN, newest, NOW).held_by(NOW) is None
        DESK.assign(transaction, ADMIN, newest, ADMIN.id, NOW)
    assert take(replace(STUDIO, id="late")) is None  # assigned to somebody else
    assert take(replace(STUDIO, id="late"), now=NOW + timedelta(minutes=16)) == middle
    (held,) = (case for case in scene.cases() if case.id == oldest)
    assert decide(scene, held, actor=STUDIO).lease is None


def test_a_batch_is_all_or_each(store: Store) -> None:
    scene = scene_in(store, 4)
    scene.see(1, "a.example")
    scene.find(1, scene.works)
    with store.transaction() as transaction:
        held = DESK.lease_next(transaction, INVESTIGATOR, CaseFilter(), CaseOrder.NEWEST, NOW)
    assert held is not None
    before = scene.cases()
    chosen = [Chosen(case.id, case.revision) for case in before] + [Chosen(uuid4(), 1)]

    def run(**how: bool) -> Batch:
        with store.transaction() as transaction:
            return DESK.decide_many(transaction, ADMIN, chosen, INFRINGING, NOW, **how)

    for refused in (run(), run(preview=True), run(preview=True, allow_partial=True)):
        assert refused.id is None
        assert (refused.failed, refused.report_count) == (2, 3)
        errors = [type(item.error) for item in refused.items if item.error]
        assert errors == [CaseHeldError, NotFoundError]
        assert scene.cases() == before
    batch = run(allow_partial=True)
    assert batch.id is not None
    assert [item.case is not None for item in batch.items] == [one.id != held.id for one in before] + [False]
    assert [case.state for case in scene.cases()].count(CaseState.DECIDED) == 3
    with store.view() as view:
        (last,) = DESK.events(view, ADMIN, EventFilter(actor=ADMIN.id), limit=1)
    assert last.facts == {
        "outcome": "infringing",
        "reason": "FULL_COPY",
        "note": "all of it",
        "reports": 1,
        "batch": str(batch.id),
    }

    with store.transaction() as transaction:
        with pytest.raises(NotFoundError):
            DESK.undo_batch(transaction, OTHER, batch.id, NOW)
        first = next(item.case for item in batch.items if item.case)
        DESK.undo(transaction, ADMIN, first.id, 2, NOW)
        undone = DESK.undo_batch(transaction, STUDIO, batch.id, NOW, "by mistake")
        assert (len(undone.items), undone.failed) == (2, 0)
        assert DESK.undo_batch(transaction, ADMIN, batch.id, NOW).items == ()
        for wrong in ([], [Chosen(held.id, 1)] * 2, [Chosen(uuid4(), 1)] * 1001):
            with pytest.raises(InvalidRequestError):
                DESK.decide_many(transaction, ADMIN, wrong, INFRINGING, NOW)
    assert {case.state for case in scene.cases()} == {CaseState.OPEN}


def test_events_are_a_chain(store: Store) -> None:
    scene = scene_in(store)
    scene.see(1, "a.example")
    scene.find(1, scene.works)
    (case,) = scene.cases()
    due = NOW + timedelta(days=3)
    with store.transaction() as transaction:
        assert DESK.comment(transaction, STUDIO, case.id, "who is that?", NOW).revision == 2
        assert DESK.set_due(transaction, STUDIO, case.id, due, NOW).due_at == due
        assert DESK.set_due(transaction, STUDIO, case.id, due, NOW).revision == 3
        assert DESK.assign(transaction, STUDIO, case.id, STUDIO.id, NOW).assignee == STUDIO.id
        assert DESK.assign(transaction, STUDIO, case.id, None, NOW).assignee is None
        last = DESK.set_due(transaction, STUDIO, case.id, None, NOW)
        assert (last.due_at, last.revision) == (None, 6)
        with pytest.raises(InvalidRequestError, match="is empty"):
            DESK.comment(transaction, STUDIO, case.id, " ", NOW)
    with store.view() as view:
        history = DESK.history(view, ADMIN, case.id)
        newest_first = DESK.events(view, ADMIN, EventFilter(subject_id=case.id), limit=4)
        rest = DESK.events(view, ADMIN, EventFilter(), after=newest_first[-1].id)
        assert [*newest_first, *rest] == history[::-1]
        assert DESK.events(view, ADMIN, EventFilter(actor=SERVER)) == history[:1]
        assert DESK.events(view, STUDIO, EventFilter(owner="other")) == []
        assert DESK.events(view, OTHER, EventFilter(subject_id=case.id)) == []
    previous = bytes(32)
    for number, one in enumerate(history, 1):
        assert (one.number, digest_of_event(one, previous)) == (number, one.sha256)
        previous = one.sha256
    assert history[2].facts == {"due": due.isoformat()}


def test_a_case_is_assigned_to_keys_that_may_decide_it(store: Store) -> None:
    scene = scene_in(store)
    scene.see(1, "a.example")
    scene.find(1, scene.works)
    (case,) = scene.cases()

    def add(key_id: str, role: KeyRole, owner: str | None) -> None:
        store.create_key(ApiKey(key_id, role, owner, 0, 0, bytes(32), NOW, None))

    add("good", KeyRole.OWNER, "studio")
    add("foreign", KeyRole.OWNER, "other")
    add("platform", KeyRole.PLATFORM, None)
    add("revoked", KeyRole.ADMIN, None)
    store.revoke_key("revoked", NOW)
    with store.transaction() as transaction:
        assert DESK.assign(transaction, STUDIO, case.id, "good", NOW).assignee == "good"
        for bad in ("foreign", "platform", "revoked", "nobody"):
            with pytest.raises(InvalidRequestError, match="may decide the case"):
                DESK.assign(transaction, STUDIO, case.id, bad, NOW)


def test_keys_have_names(store: Store) -> None:
    for key_id, role, owner in (
        ("a", KeyRole.OWNER, "studio"),
        ("b", KeyRole.OWNER, "other"),
        ("c", KeyRole.ADMIN, None),
        ("d", KeyRole.CRAWLER, None),
    ):
        store.create_key(ApiKey(key_id, role, owner, 0, 0, bytes(32), NOW, None, name=f"Name of {key_id}"))
    assert store.rename_key("a", "Åsa 李").name == "Åsa 李"
    assert store.rename_key("d", "").name == ""
    assert store.key_names() == {"a": "Åsa 李", "b": "Name of b", "c": "Name of c"}
    with pytest.raises(NotFoundError):
        store.rename_key("nobody", "x")
    with store.view() as view:
        assert view.key_names() == store.key_names()
        assert {one.id for one in DESK.reviewers(view, STUDIO)} == {"a", "c"}
        assert {one.id for one in DESK.reviewers(view, ADMIN)} == {"a", "b", "c"}
        with pytest.raises(ForbiddenError):
            DESK.reviewers(view, Actor("p", KeyRole.PLATFORM, None))


def test_figures_tell_how_reviewing_goes_on(store: Store) -> None:
    scene = scene_in(store)
    for content, site in enumerate(("a.example", "b.example", "c.example"), 1):
        scene.see(content, site)
        scene.find(content, scene.works)
    decided = decide(scene, scene.case(scene.works[0], "a.example"))
    decide(scene, decided, WRONG)
    undo(scene, decided, 2)
    with store.transaction() as transaction:
        DESK.lease_next(transaction, STUDIO, CaseFilter(), CaseOrder.NEWEST, NOW)
    with store.view() as view:
        found = view.reviews.figures(NOW + MINUTE)
        assert (found.states[CaseState.OPEN], found.states[CaseState.DECIDED], found.leased) == (2, 1, 1)
        assert (found.decided[Outcome.INFRINGING], found.undone[Outcome.INFRINGING]) == (1, 1)
        assert (found.decided[WRONG.outcome], found.undone[WRONG.outcome]) == (1, 0)
        assert found.oldest_open_at == min(one.reported_at for one in scene.cases()[:2])
        assert view.reviews.figures(NOW + 60 * MINUTE).leased == 0
    metrics = Metrics(NoTracer())
    show(metrics, found, found.oldest_open_at + MINUTE)
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }
    assert told["copyhound_cases", "open"] == 2
    assert told["copyhound_decisions", "infringing"] == told["copyhound_decisions_undone", "infringing"] == 1
    assert told["copyhound_case_leases",] == 1
    assert told["copyhound_oldest_open_case_seconds",] == 60
    assert told["copyhound_suppressed", "work"] == 0


def readers(case: Case) -> dict[str, Callable[[Any, Actor], object]]:
    return {
        "case": lambda view, actor: DESK.case(view, actor, case.id),
        "reports": lambda view, actor: DESK.reports(view, actor, case.id),
        "decisions": lambda view, actor: DESK.decisions(view, actor, case.id),
        "history": lambda view, actor: DESK.history(view, actor, case.id),
    }


def writers(case: Case, work: UUID, reference: UUID) -> dict[str, Callable[[Any, Actor], object]]:
    chosen = Chosen(case.id, case.revision)
    return {
        "lease": lambda to, actor: DESK.lease(to, actor, case.id, NOW),
        "next": lambda to, actor: DESK.lease_next(to, actor, CaseFilter(), CaseOrder.DUE, NOW, after=case.id),
        "release": lambda to, actor: DESK.release(to, actor, case.id, NOW),
        "decide": lambda to, actor: DESK.decide(to, actor, chosen, WRONG, NOW),
        "undo": lambda to, actor: DESK.undo(to, actor, case.id, 1, NOW),
        "assign": lambda to, actor: DESK.assign(to, actor, case.id, actor.id, NOW),
        "due": lambda to, actor: DESK.set_due(to, actor, case.id, NOW, NOW),
        "comment": lambda to, actor: DESK.comment(to, actor, case.id, "hello", NOW),
        "suppress work": lambda to, actor: DESK.suppress(to, actor, SubjectKind.WORK, work, NOW),
        "suppress": lambda to, actor: DESK.suppress(to, actor, SubjectKind.REFERENCE, reference, NOW),
        "unsuppress": lambda to, actor: DESK.unsuppress(to, actor, SubjectKind.REFERENCE, reference, NOW),
    }


def test_cases_of_others_are_as_if_they_were_not_there(store: Store) -> None:
    scene = scene_in(store)
    scene.see(1, "a.example")
    scene.find(1, scene.works)
    (case,) = scene.cases()
    (work,) = scene.works
    assert work.references is not None
    change = writers(case, work.id, work.references[0].id)
    roles = [Actor("p", KeyRole.PLATFORM, None), Actor("c", KeyRole.CRAWLER, None)]
    for read in readers(case).values():
        with store.view() as view:
            assert read(view, STUDIO) is not None
            with pytest.raises(NotFoundError, match="there is no case"):
                read(view, OTHER)
            for role in roles:
                with pytest.raises(ForbiddenError, match="reviews nothing"):
                    read(view, role)
    for write in change.values():
        with store.transaction() as transaction:
            with pytest.raises(NotFoundError, match="there is no"):
                write(transaction, OTHER)
            for role in roles:
                with pytest.raises(ForbiddenError, match="reviews nothing"):
                    write(transaction, role)
    with store.view() as view:
        for owner in (None, "other", "studio"):
            assert DESK.page(view, OTHER, CaseFilter(owner=owner)) == []
        assert DESK.page(view, STUDIO, CaseFilter()) == [case]
        assert DESK.events(view, OTHER, EventFilter()) == []
        assert DESK.overview(view, OTHER).states[CaseState.OPEN] == 0
        for kind in PrecisionKind:
            assert DESK.precision(view, OTHER, kind) == []
        nothing = DESK.examples(view, OTHER), DESK.suppressions(view, OTHER), DESK.flagged(view, OTHER)
        assert nothing == ([], [], [])
    assert scene.cases() == [case]


def test_decisions_are_examples_and_a_flood_of_wrong_ones_is_flagged(store: Store) -> None:
    scene = scene_in(store, 2)
    flooding, good = scene.works
    for content in range(1, 9):
        scene.see(content, "a.example")
        scene.find(content, [flooding], signals={"distance": 20.0 + content / 10, "match": 0.25})
    scene.find(1, [good], probability=0.99, signals={"distance": 1.0})
    assert flooding.references is not None
    reference = flooding.references[0].id
    case = decide(scene, scene.case(flooding, "a.example"), Ruling(Outcome.LICENSED))
    case = decide(scene, case, WRONG)
    decide(scene, scene.case(good, "a.example"))
    with store.view() as view:
        examples = DESK.examples(view, STUDIO)
        assert len(DESK.examples(view, STUDIO, after=examples[0].id, limit=3)) == 3

        def told(kind: PrecisionKind) -> dict[str, tuple[int, int]]:
            found = DESK.precision(view, STUDIO, kind)
            assert found == DESK.precision(view, ADMIN, kind)
            return {one.key: (one.right, one.wrong) for one in found}

        assert told(PrecisionKind.MODALITY) == {"image": (1, 8)}
        assert told(PrecisionKind.LIST) == {str(scene.lists[0].id): (1, 8)}
        assert told(PrecisionKind.SIGNAL) == {
            "distance [20, 30)": (0, 8),
            "match [0.2, 0.3)": (0, 8),
            "distance [1, 2)": (1, 0),
        }
        assert told(PrecisionKind.WORK) == {str(flooding.id): (0, 8), str(good.id): (1, 0)}
        (by_list,) = DESK.precision(view, STUDIO, PrecisionKind.LIST)
        assert (by_list.title, by_list.precision) == ("Main", 1 / 9)
        flagged = DESK.flagged(view, STUDIO)
        assert {(one.kind, one.subject_id, one.title, one.wrong) for one in flagged} == {
            (SubjectKind.REFERENCE, reference, "Work 1", 8),
            (SubjectKind.WORK, flooding.id, "Work 1", 8),
        }
        assert all(0.67 < one.wrong_at_least < 0.68 for one in flagged)
    assert [one.is_copy for one in examples] == [False] * 8 + [True]
    assert examples[0].signals == {"distance": 20.1, "match": 0.25}
    assert (examples[0].outcome, examples[0].reference_id) == (Outcome.WRONG_MATCH, reference)

    undone = undo(scene, case, case.revision)
    assert undone.decision is not None
    with store.view() as view:
        assert [one.is_copy for one in DESK.examples(view, ADMIN)] == [True] * 9
        assert DESK.precision(view, ADMIN, PrecisionKind.MODALITY)[0].precision == 1.0


def test_what_is_suppressed_is_flagged_no_more_and_remembered(store: Store) -> None:
    scene = scene_in(store)
    (flooding,) = scene.works
    for content in range(1, 9):
        scene.see(content, "a.example")
        scene.find(content, [flooding])
    decide(scene, scene.case(flooding, "a.example"), WRONG)
    assert flooding.references is not None
    reference = flooding.references[0].id
    with store.transaction() as transaction:
        made = DESK.suppress(transaction, STUDIO, SubjectKind.REFERENCE, reference, NOW, "a logo")
        again = DESK.suppress(transaction, ADMIN, SubjectKind.REFERENCE, reference, NOW + MINUTE)
    with store.view() as view:
        assert DESK.suppressions(view, STUDIO) == [made] == [again]
        assert view.reviews.suppressed([reference, flooding.id]) == {reference}
        assert [one.kind for one in DESK.flagged(view, STUDIO)] == [SubjectKind.WORK]
        (last,) = DESK.events(view, ADMIN, EventFilter(subject_id=reference))
        assert (last.action, last.actor, last.facts["note"]) == ("SUPPRESSED", STUDIO.id, "a logo")
    with store.transaction() as transaction:
        DESK.unsuppress(transaction, ADMIN, SubjectKind.REFERENCE, reference, NOW)
        DESK.unsuppress(transaction, ADMIN, SubjectKind.REFERENCE, reference, NOW)
        DESK.suppress(transaction, ADMIN, SubjectKind.WORK, flooding.id, NOW)
    with store.view() as view:
        assert view.reviews.figures(NOW).suppressed == {SubjectKind.WORK: 1}
        assert view.captures.recalled(9) == [reference]
        assert DESK.flagged(view, ADMIN) == []
        assert len(view.reviews.chain(reference)) == 2
    with store.transaction() as transaction:
        DESK.unsuppress(
            transaction, ADMIN, SubjectKind.WORK, flooding.id, NOW
        )  # it is to be looked for already
        transaction.captures.set_recalled([reference])
        DESK.suppress(transaction, ADMIN, SubjectKind.WORK, flooding.id, NOW)
        assert transaction.captures.recalled(9) == []
        transaction.delete_work(flooding.id, revision=None)
    with store.view() as view:
        assert DESK.suppressions(view, ADMIN) == []
        assert DESK.flagged(view, ADMIN) == []
        assert [one.title for one in DESK.precision(view, ADMIN, PrecisionKind.WORK)] == [""]


def test_views_are_kept_for_each_key(store: Store) -> None:
    with store.transaction() as transaction:
        first = DESK.save_view(transaction, STUDIO, "Urgent", '{"state":"open"}', NOW)
        second = DESK.save_view(transaction, STUDIO, "Urgent", "{}", NOW)
        assert second.id == first.id
        DESK.save_view(transaction, STUDIO, "All", "{}", NOW)
        with pytest.raises(NotFoundError):
            DESK.delete_view(transaction, ADMIN, first.id)
        for title, query in ((" ", ""), ("x" * 201, ""), ("x", "x" * 4001)):
            with pytest.raises(InvalidRequestError):
                DESK.save_view(transaction, STUDIO, title, query, NOW)
    with store.view() as view:
        assert [one.title for one in DESK.views(view, STUDIO)] == ["All", "Urgent"]
        assert DESK.views(view, ADMIN) == []
    with store.transaction() as transaction:
        DESK.delete_view(transaction, STUDIO, first.id)
        for number in range(99):
            DESK.save_view(transaction, STUDIO, f"{number}", "", NOW)
        with pytest.raises(InvalidRequestError, match="100 saved views"):
            DESK.save_view(transaction, STUDIO, "one more", "", NOW)


def test_the_overview_counts_open_cases(store: Store) -> None:
    scene = scene_in(store, 3)
    scene.add_list("Second")
    scene.see(1, "a.example")
    scene.see(1, "b.example", at=1)
    scene.find(1, scene.works)
    scene.find(1, scene.works[:1], at=1)
    decide(scene, scene.case(scene.works[0], "a.example"))
    decide(scene, scene.case(scene.works[1], "a.example"), Ruling(Outcome.NEED_MORE))
    with store.view() as view:
        found = DESK.overview(view, STUDIO)
        assert DESK.overview(view, ADMIN) == found
    assert found.states == {CaseState.OPEN: 2, CaseState.WAITING: 1, CaseState.DECIDED: 1}
    assert {(one.title, one.open, one.decided) for one in found.lists} == {("Main", 1, 2), ("Second", 1, 0)}
    assert {(one.key, one.open, one.decided) for one in found.sites} == {
        ("a.example", 1, 2),
        ("b.example", 1, 0),
    }
    assert [(one.day, one.opened, one.decided) for one in found.days] == [("2026-11-22", 4, 2)]


def test_reports_from_before_there_were_cases_are_put_into_cases(store: Store, store_url: str) -> None:
    scene = scene_in(store, 2)
    scene.add_list("Second")
    scene.see(1, "a.example")
    scene.see(1, "b.example", at=1)
    scene.find(1, scene.works)
    scene.find(1, scene.works[:1], at=1)

    def shape() -> set[tuple[object, ...]]:
        return {(one.work_id, one.site, one.report_count, one.state, one.page_url) for one in scene.cases()}

    before = shape()
    new = ("case_reports", "case_lists", "case_words", "review_events", "tallies", "cases")
    with store._database.writer.begin() as connection:
        for name in new:
            connection.execute(delete(schema.metadata.tables[name]))
        connection.execute(
            insert(schema.unfiled_reports).from_select(["report_id"], select(schema.reports.c.id))
        )
    assert shape() == set()
    Store.open(store_url, SCHEMES).close()
    assert shape() == before
    assert len(before) == 3
    with store.view() as view:
        assert DESK.overview(view, ADMIN).states[CaseState.OPEN] == 3


SITES = ("a.example", "b.example", "kino.example")
TITLES = ("Nachts im Café", "海报设计", "Logo", "Night train")


def many_cases(store: Store, chance: random.Random) -> Scene:
    scene = scene_in(store, 0)
    scene.add_list("Second")
    for number in range(14):
        scene.add_works(1, title=chance.choice(TITLES))
        scene.see(number, chance.choice(SITES), at=number % 2, title=f"Seite {chance.choice(TITLES)}")
        scene.find(
            number,
            scene.works[-1:],
            at=number % 2,
            probability=chance.choice((0.6, 0.8, 0.95)),
            modality=chance.choice(("image", "video")),
            now=NOW + chance.randrange(5) * MINUTE,
        )
    for case in scene.cases():
        with store.transaction() as transaction:
            if chance.random() < 0.5:
                DESK.set_due(transaction, ADMIN, case.id, NOW + chance.randrange(3) * MINUTE, NOW)
            if chance.random() < 0.5:
                DESK.assign(transaction, ADMIN, case.id, ADMIN.id, NOW)
        if chance.random() < 0.4:
            with store.view() as view:
                case = view.cases.get(case.id)  # noqa: PLW2901 - as it is now
            decide(scene, case, Ruling(chance.choice(list(Outcome))))
    return scene


def expected(found: list[Case], which: CaseFilter, words: dict[UUID, str]) -> list[Case]:
    """What a filter asks for, said once more, as plainly as can be."""
    asked = which.text.casefold().replace("é", "e").split()
    return [
        case
        for case in found
        if (not which.states or case.state in which.states)
        and which.site in (None, case.site)
        and which.work_id in (None, case.work_id)
        and which.modality in (None, case.modality)
        and which.min_probability <= case.probability <= which.max_probability
        and (which.assignee is None or (case.assignee or "") == which.assignee)
        and (which.due_before is None or (case.due_at is not None and case.due_at < which.due_before))
        and (which.reported_from is None or case.reported_at >= which.reported_from)
        and (which.reported_before is None or case.reported_at < which.reported_before)
        and (which.outcome is None or (case.decision and case.decision.ruling.outcome) == which.outcome)
        and all(any(word.startswith(one) for word in words[case.id].split()) for one in asked)
    ]


KEYS: dict[CaseOrder, Callable[[Case], Any]] = {
    CaseOrder.NEWEST: lambda case: (case.reported_at, case.id),
    CaseOrder.PROBABLE: lambda case: (case.probability, case.id),
    CaseOrder.DUE: lambda case: (case.due_at or case_store.NEVER, case.id),
}


def test_filters_orders_and_pages_agree_with_a_plain_search(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = many_cases(store, random.Random(7))
    every = scene.cases()
    with store.view() as view:
        titles = {case.id: f"{case.work_title} {case.page_title} {case.site}" for case in every}
    words = {
        one: text.casefold().replace("é", "e").replace(".", " ") + (" 报设 设计" if "海" in text else "")
        for one, text in titles.items()
    }
    filters = [
        CaseFilter(),
        CaseFilter(states=(CaseState.OPEN,)),
        CaseFilter(states=(CaseState.DECIDED, CaseState.WAITING), site="a.example"),
        CaseFilter(site="nowhere.example"),
        CaseFilter(work_id=every[0].work_id),
        CaseFilter(modality="video", min_probability=0.8),
        CaseFilter(max_probability=0.8, states=(CaseState.OPEN,)),
        CaseFilter(assignee=""),
        CaseFilter(assignee=ADMIN.id, due_before=NOW + 2 * MINUTE),
        CaseFilter(reported_from=NOW + MINUTE, reported_before=NOW + 3 * MINUTE),
        CaseFilter(outcome=Outcome.WRONG_MATCH),
        CaseFilter(text="CAFÉ nacht"),
        CaseFilter(text="kino log"),
        CaseFilter(text="设计", site="b.example"),
        CaseFilter(text="absent"),
    ]
    for few in (2000, 0):  # from the rarest filter, and along the order's index
        monkeypatch.setattr(case_store, "_FEW", few)
        for number, which in enumerate(filters):
            for order in CaseOrder if not number else [list(CaseOrder)[(number + few) % 3]]:
                wanted = sorted(
                    expected(every, which, words), key=KEYS[order], reverse=order != CaseOrder.DUE
                )
                found: list[Case] = []
                with store.view() as view:
                    while page := DESK.page(
                        view,
                        STUDIO,
                        which,
                        order,
                        after=DESK.position(view, found[-1], order) if found else None,
                        limit=5,
                    ):
                        found += page
                assert ids(found) == ids(wanted), (which, order, few)
        by_list = [CaseFilter(list_id=one.id) for one in scene.lists]
        assert sorted(ids(scene.cases(by_list[0])) + ids(scene.cases(by_list[1]))) == sorted(ids(every))
        assert scene.cases(CaseFilter(text="*?")) == []
        assert scene.cases(CaseFilter(owner="nobody")) == []


def test_every_frequent_statement_uses_an_index(store: Store) -> None:
    scene = scene_in(store, 2)
    plans = Plans()
    for engine in (store._database.reader, store._database.writer):
        event.listen(engine, "before_cursor_execute", plans.explain)
    scene.see(1, "a.example")
    scene.find(1, scene.works)
    scene.see(1, "b.example")
    work = scene.works[0]
    case = decide(scene, scene.case(work, "a.example"), WRONG)
    undo(scene, case, 2)
    filters = (
        CaseFilter(),
        CaseFilter(owner="studio"),
        CaseFilter(list_id=scene.lists[0].id, text="work"),
        CaseFilter(modality="image", assignee="x", outcome=Outcome.LICENSED),
        CaseFilter(min_probability=0.5, due_before=NOW, reported_from=NOW),
    )
    with store.transaction() as transaction:
        taken = DESK.lease_next(transaction, STUDIO, CaseFilter(), CaseOrder.NEWEST, NOW)
        assert taken is not None
        DESK.release(transaction, STUDIO, taken.id, NOW)
        DESK.undo_batch(transaction, ADMIN, made_batch(transaction, taken), NOW)
    with store.view() as view:
        for order in CaseOrder:
            for which in filters:
                view.cases._rarest(which, (CaseState.OPEN,), [b"w"])
            view.cases.page(filters[order is CaseOrder.DUE], order, after=None, limit=9)
        DESK.reports(view, STUDIO, case.id)
        DESK.history(view, STUDIO, case.id)
        DESK.events(view, STUDIO, EventFilter())
        DESK.overview(view, STUDIO)
        DESK.examples(view, STUDIO)
        DESK.flagged(view, STUDIO)
        DESK.views(view, STUDIO)
    assert len(plans.plans) >= 40
    bad = re.compile(TABLE_SCANS[store._database.writer.dialect.name], re.MULTILINE)
    few = re.compile(r"SCAN anon_1|USE TEMP B-TREE FOR ORDER BY|Sort(?=  \(| Key)")  # 2,000 cases at most
    read = {sql: few.sub("", plan) if "AS anon_1" in sql else plan for sql, plan in plans.plans.items()}
    assert {sql: plan for sql, plan in read.items() if bad.search(plan)} == {}


def made_batch(transaction: Transaction, case: Case) -> UUID:
    """Decide a case in a batch; return the batch's id."""
    batch = DESK.decide_many(transaction, ADMIN, [Chosen(case.id, case.revision)], INFRINGING, NOW)
    assert batch.id is not None
    return batch.id
