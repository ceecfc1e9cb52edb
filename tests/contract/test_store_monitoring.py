"""Lists, runs, captures, suspects and reports, on both backends."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import event

from indexers.fingerprint import Fingerprint, SpanUnit
from indexers.modality import WHOLE, AlignedRegion, AlignedSegment, Box, Channel, Search
from service.catalogue import Folding
from service.domain import Match, Work
from service.errors import AlreadyExistsError, LeaseLostError, NotFoundError, StaleError
from service.monitored import (
    ContentState,
    CustodyEvent,
    Finding,
    ListSettings,
    MonitoringList,
    NewCapture,
    Place,
    PlaceKind,
    Progress,
    ReportFilter,
    Run,
    RunState,
    Schedule,
    Seen,
    Suspect,
    SuspectPart,
    Told,
    Watch,
    Webhook,
    digest_of_event,
    key_of_part,
)
from service.monitoring import SuspectIndexes
from service.previewed import PreviewState
from service.store import Store, View
from service.store.captures import FIRST_DIGEST
from service.store.monitor_codec import load_regions
from tests.contract.store_values import BITS, FLOATS, fingerprint, new_reference, new_work
from tests.contract.test_store_database import TABLE_SCANS, Plans

NOW = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SETTINGS = ListSettings(
    title="Filme",
    works=(UUID(int=1),),
    places=(
        Place(PlaceKind.PAGE, "https://x.example/ü"),
        Place(PlaceKind.SEARCH, "https://x.example/?q={keywords}", ("a", "b")),
    ),
    leave_alone=("y.example",),
    max_depth=3,
    max_pages=7,
    schedule=Schedule(interval=timedelta(hours=6)),
    expires_at=NOW + timedelta(days=9),
    webhook=Webhook("https://hook.example/", "0123456789abcdef"),
    min_probability=0.75,
)
CONTENT = b"c" * 32


def create(store: Store, settings: ListSettings = SETTINGS, owner: str = "studio") -> MonitoringList:
    with store.transaction() as transaction:
        return transaction.lists.create(owner, settings, NOW)


def leased(store: Store, list_id: UUID, crawler: str = "spider") -> Run:
    with store.transaction() as transaction:
        run, _ = transaction.lists.start_run(list_id, NOW, scheduled=False)
        return transaction.lists.lease(run.id, crawler, NOW, NOW + MINUTE)


def seen(page: str = "1", sha256: bytes = CONTENT) -> Seen:
    return Seen(sha256, f"https://p.example/{page}", "Page", f"https://m.example/{page}.jpg", "img", NOW)


def captured(store: Store, run: Run, page: str = "1", sha256: bytes = CONTENT) -> NewCapture:
    new = NewCapture(
        id=uuid4(),
        run_id=run.id,
        list_id=run.list_id,
        owner=run.owner,
        seen=seen(page, sha256),
        ranges=((10, 20), (40, 5)),
        sha256=sha256,
        byte_count=100,
        facts={"crawler": "spider"},
    )
    with store.transaction() as transaction:
        assert transaction.captures.add(new, "key", 25, NOW)[0] is False
    return new


def suspect_fingerprints() -> tuple[Fingerprint, ...]:
    bits = replace(
        fingerprint(BITS, 7, 3),
        views=np.array([0, 1, 2], np.uint8),
        regions=np.tile(np.array([0, 0, 0.5, 1], np.float32), (3, 1)),
    )
    return bits, fingerprint(FLOATS, 7, 2)


def read(store: Store, sha256: bytes = CONTENT) -> None:
    with store.transaction() as transaction:
        transaction.captures.set_read(Suspect(sha256, "image", suspect_fingerprints()), (), NOW)


def registered(store: Store, seed: int = 1) -> Work:
    with store.transaction() as transaction:
        return transaction.create_work(new_work(f"P-{seed}"), [new_reference(seed, 2)])


def match_of(work: Work, probability: float = 0.9) -> Match:
    assert work.references is not None
    region = AlignedRegion(Box(0.1, 0.2, 0.3, 0.4), WHOLE, "rotate_90")
    segment = AlignedSegment((1.0, 2.0), (3.0, 4.0), 1.0, SpanUnit.SECOND)
    return Match(work, work.references[0], probability, {"s": 1.5}, (segment,), (region,), 0.5, 1.0)


def only_watch(store: Store) -> Watch:
    with store.view() as view:
        (watch,) = view.captures.ready_watches(9)
    return watch


def report(store: Store, watch: Watch, *matches: Match, sequence: int = 1) -> int:
    finding = Finding(matches, "rules", sequence, on_registration=False)
    with store.transaction() as transaction:
        assert transaction.captures.set_matched(watch, sequence, len(matches))
        return len(transaction.reports.record(watch, finding, "image", NOW))


def test_a_list_is_kept_changed_and_deleted(store: Store) -> None:
    made = create(store)
    daily = replace(SETTINGS, schedule=Schedule(daily=time(3, 30)), webhook=None, min_probability=None)
    with store.view() as view:
        assert view.lists.get(made.id) == made
        assert made.next_run_at == NOW + timedelta(hours=6)
        (bare,) = view.lists.page(owner="studio", after=None, limit=9)
        assert (bare.settings.places, bare.place_count) == ((), 2)
        assert view.lists.page(owner="nobody", after=None, limit=9) == []
        assert view.lists.page(owner=None, after=made.id, limit=9) == []
        assert view.lists.due(NOW + timedelta(hours=6)) == [made.id]
        assert view.lists.due(NOW) == []
    with store.transaction() as transaction:
        changed = transaction.lists.update(made.id, daily, NOW, revision=1)
    assert (changed.settings, changed.revision) == (daily, 2)
    assert changed.next_run_at == datetime(2026, 11, 23, 3, 30, 0, tzinfo=UTC)
    with pytest.raises(StaleError), store.transaction() as transaction:
        transaction.lists.update(made.id, daily, NOW, revision=1)
    with store.transaction() as transaction:
        transaction.lists.delete(made.id, revision=2)
    with pytest.raises(NotFoundError), store.view() as view:
        view.lists.get(made.id)


def test_a_list_has_one_run_and_a_run_one_crawler(store: Store) -> None:
    made = create(store)
    run = leased(store, made.id)
    told = Told(Progress(pages=3, bytes=2**40), RunState.RUNNING, "on its way")
    with store.transaction() as transaction:
        assert transaction.lists.start_run(made.id, NOW, scheduled=True) == (run, False)
        assert transaction.lists.leasable("spider", NOW) == run.id
        assert transaction.lists.leasable("other", NOW) is None
        with pytest.raises(LeaseLostError):
            transaction.lists.lease(run.id, "other", NOW, NOW + MINUTE)
        later = transaction.lists.report(run.id, "spider", told, NOW, NOW + 2 * MINUTE)
        assert (later.progress, later.message) == (told.progress, "on its way")
        assert transaction.lists.leasable("other", NOW + 2 * MINUTE) == run.id
        taken = transaction.lists.lease(run.id, "other", NOW + 2 * MINUTE, NOW + 3 * MINUTE)
        assert (taken.crawler, taken.started_at) == ("other", NOW)
        with pytest.raises(LeaseLostError):
            transaction.lists.report(run.id, "spider", told, NOW, NOW)
        ended = transaction.lists.report(run.id, "other", replace(told, state=RunState.DONE), NOW, NOW)
        assert ended.ended
        assert transaction.lists.report(run.id, "other", told, NOW, NOW) == ended
        assert transaction.lists.cancel_run(run.id, NOW, "too late") == ended
        again, new = transaction.lists.start_run(made.id, NOW, scheduled=True)
        assert (new, again.scheduled) == (True, True)
    with store.view() as view:
        assert [one.id for one in view.lists.runs(made.id, after=None, limit=9)] == [run.id, again.id]
        assert view.lists.get(made.id).latest_run == again.id
        assert view.lists.expired_runs(NOW + timedelta(days=9)) == [again.id]
        assert view.lists.active_counts() == {RunState.PENDING: 1}


def test_a_capture_is_kept_once_with_a_chain_of_custody(store: Store) -> None:
    run = leased(store, create(store).id)
    new = captured(store, run)
    with store.transaction() as transaction:
        assert transaction.captures.add(new, "key", 25, NOW) == (True, True)
        with pytest.raises(AlreadyExistsError):
            transaction.captures.add(replace(new, sha256=bytes(32)), "key", 25, NOW)
        assert not transaction.captures.see_again(run.list_id, run.id, seen(sha256=bytes(32)))
    read(store)
    with store.view() as view:
        assert view.captures.get(new.id).new == new
        events = view.captures.custody(new.id)
    assert [one.action for one in events] == ["RECEIVED", "FINGERPRINTED"]
    previous = FIRST_DIGEST
    for one in events:
        bare = CustodyEvent(one.number, one.at, one.actor, one.action, one.detail, b"")
        previous = digest_of_event(new.id, bare, previous)
        assert one.sha256 == previous


def test_suspects_keep_their_fingerprints_until_no_list_has_seen_them(store: Store) -> None:
    first, second = create(store), create(store, replace(SETTINGS, works=()))
    captured(store, leased(store, first.id))
    captured(store, leased(store, second.id), "2")
    read(store)
    with store.view() as view:
        suspect = view.captures.suspect(CONTENT)
        assert suspect is not None
        assert (suspect.sha256, suspect.modality) == (CONTENT, "image")
        for found, given in zip(suspect.fingerprints, suspect_fingerprints(), strict=True):
            assert found.scheme == given.scheme
            for name in ("descriptors", "spans", "quality", "views"):
                np.testing.assert_array_equal(getattr(found, name), getattr(given, name))
        np.testing.assert_array_equal(suspect.fingerprints[0].regions, suspect_fingerprints()[0].regions)
        last = store.sequence()
        ((first_id, sha256, bits),) = view.captures.suspect_additions(BITS.id, 0, last, limit=9)
        assert (sha256, bits.shape) == (CONTENT, (3, 8))
        assert view.captures.suspect_ids(BITS.id, last) == [(first_id, CONTENT)]
        assert view.captures.suspect_additions(BITS.id, last, last + 9, limit=9) == []
        assert {watch.list_id for watch in view.captures.ready_watches(9)} == {first.id, second.id}
    for made, left in ((first, True), (second, False)):
        with store.transaction() as transaction:
            transaction.lists.delete(made.id, revision=None)
        with store.view() as view:
            assert (view.captures.suspect(CONTENT) is not None) is left
            removed = view.captures.suspect_removals(BITS.id, last, store.sequence())
            assert [one[1:] for one in removed] == ([] if left else [(first_id, 3)])


def test_parts_of_a_captured_container_are_kept_under_keys_of_their_own(store: Store) -> None:
    run = leased(store, create(store).id)
    captured(store, run)
    parts = tuple(
        SuspectPart(
            key=key_of_part(CONTENT, (number,)),
            name=f"{number}.jpg",
            modality="image",
            sha256=bytes([number]) * 32,
            byte_count=7,
            place=(number,),
            weight=0.5,
            fingerprints=suspect_fingerprints(),
        )
        for number in (1, 2)
    )
    with store.transaction() as transaction:
        transaction.captures.set_read(Suspect(CONTENT, "container", (), parts), ("PARTS: 1",), NOW)
    keys = [part.key for part in parts]
    with store.view() as view:
        suspect = view.captures.suspect(CONTENT)
        assert suspect is not None
        assert suspect.parts == tuple(replace(part, fingerprints=()) for part in parts)
        assert view.captures.suspect_fingerprints(keys).keys() == set(keys)
        assert view.captures.containers_of([*keys, CONTENT]) == dict.fromkeys(keys, CONTENT)
        assert view.captures.contents_with([parts[1].sha256]) == {CONTENT}
        assert view.captures.part(keys[0]) == (CONTENT, suspect.parts[0])
        added = view.captures.suspect_additions(BITS.id, 0, store.sequence(), limit=1)
        assert [key for _, key, _ in added] == keys  # of one change, so they come together
        assert added[1][0] - added[0][0] == 3
        assert view.previews.find(keys)[keys[0]].state is PreviewState.ABSENT


def test_indexes_of_suspects_follow_and_forget(store: Store, tmp_path: Path) -> None:
    made = create(store)
    captured(store, leased(store, made.id))
    read(store)
    channel = Channel(BITS, Search(radius=8, narrow_radius=8, min_quality=0.0))
    rows = suspect_fingerprints()[0].descriptors[1:2]
    folding = Folding(1, 60.0, 4_000_000, 50_000, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.monitoring.near.registry.searched", lambda: {BITS.id: BITS})
        indexes = SuspectIndexes(store, tmp_path / "suspects", folding)
        indexes.refresh(store.sequence())
        assert indexes.near(channel, {1: rows}) == {CONTENT}
        assert indexes.near(channel, {1: ~rows}) == set()
        opened = SuspectIndexes(store, tmp_path / "suspects", folding)  # from the snapshot
        opened.refresh(store.sequence())
        assert opened.near(channel, {1: rows}) == {CONTENT}
        files = [file for file in (tmp_path / "suspects").rglob("*") if file.is_file()]
        assert [file for file in files if rows.tobytes() in file.read_bytes()]
        with store.transaction() as transaction:
            transaction.lists.delete(made.id, revision=None)
        for each in (indexes, opened):
            each.refresh(store.sequence())
            assert each.near(channel, {1: rows}) == set()
        opened.tend()
        files = [file for file in (tmp_path / "suspects").rglob("*") if file.is_file()]
        assert not [file for file in files if rows.tobytes() in file.read_bytes()]


def test_what_cannot_be_read_is_kept_with_its_reason(store: Store) -> None:
    run = leased(store, create(store).id)
    new = captured(store, run)
    with store.view() as view:
        assert [one.capture_id for one in view.captures.pending_contents(9)] == [new.id]
        assert view.captures.waiting() == (1, 0)
        assert view.lists.run(run.id).pending == 1
        (waiting,) = view.captures.of_run(run.id, ContentState.PENDING, after=None, limit=9)
        assert (waiting[0].new.id, waiting[1].sha256) == (new.id, CONTENT)
    with store.transaction() as transaction:
        transaction.captures.set_unreadable(CONTENT, "MEDIA_DAMAGED: cut off", NOW)
    read(store)  # too late: nothing changes
    with store.view() as view:
        content = view.captures.content(CONTENT)
        assert content is not None
        assert (content.state, content.reason) == ("unreadable", "MEDIA_DAMAGED: cut off")
        assert view.captures.pending_contents(9) == []
        assert view.captures.ready_watches(9) == []
        assert view.lists.run(run.id).unreadable == 1
        ((_, unreadable),) = view.captures.of_run(run.id, ContentState.UNREADABLE, after=None, limit=9)
        assert unreadable.reason == "MEDIA_DAMAGED: cut off"
        assert view.captures.of_run(run.id, ContentState.READ, after=None, limit=9) == []
        assert view.captures.of_run(run.id, None, after=unreadable.half, limit=9) == []


def test_a_work_and_a_content_have_one_report_that_gains_sightings(store: Store) -> None:
    work = registered(store)
    first = create(store)
    run = leased(store, first.id)
    captured(store, run)
    read(store)
    assert report(store, only_watch(store), match_of(work)) == 1
    with store.transaction() as transaction:
        assert transaction.captures.see_again(first.id, run.id, seen("2"))
        later = replace(seen("2"), at=NOW + MINUTE)
        assert transaction.captures.see_again(first.id, run.id, later)
        assert transaction.captures.see_again(first.id, run.id, seen("2"))
    second = create(store, replace(SETTINGS, webhook=None))
    captured(store, leased(store, second.id), "3")
    assert report(store, only_watch(store), match_of(work, 0.95)) == 1

    with store.view() as view:
        (found,) = view.reports.page(ReportFilter(list_id=second.id), after=None, limit=9)
        whole = view.reports.get(found.id)
        assert view.lists.run(run.id).reports == 1
        for which in (
            ReportFilter(owner="nobody"),
            ReportFilter(work_id=uuid4()),
            ReportFilter(list_id=uuid4()),
            ReportFilter(min_probability=0.96),
        ):
            assert view.reports.page(which, after=None, limit=9) == []
        assert view.reports.page(ReportFilter(), after=found.id, limit=9) == []
        last = store.sequence()
        (changed,) = view.reports.changed(ReportFilter(work_id=work.id), after=last - 1, until=last, limit=9)
        assert changed.id == found.id
    assert (whole.revision, whole.sighting_count, whole.byte_count) == (3, 3, 25)
    assert [one.seen.page_url[-1] for one in whole.sightings] == ["1", "2", "3"]
    assert [one.capture_id is None for one in whole.sightings] == [False, True, False]
    assert [one.last_seen_at for one in whole.sightings] == [NOW, NOW + MINUTE, NOW]
    assert whole.match["probability"] == 0.95
    (region,) = whole.match["regions"]
    assert region[:3] == [[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 1.0], "rotate_90"]
    assert load_regions([region]) == load_regions([region[:3]]) == match_of(work).regions
    assert whole.match["segments"] == [[1.0, 2.0, 3.0, 4.0, 1.0, "second", 0.0, None, ""]]
    assert not whole.work_deleted
    with store.transaction() as transaction:
        transaction.delete_work(work.id, revision=None)
    with store.view() as view:
        assert view.reports.get(found.id).work_deleted


def test_works_registered_since_are_named_and_a_match_that_missed_them_is_refused(store: Store) -> None:
    run = leased(store, create(store).id)
    captured(store, run)
    read(store)
    watch = only_watch(store)
    with store.view() as view:
        assert view.captures.oldest_match() is None
    before = store.sequence()
    with store.transaction() as transaction:
        assert transaction.captures.set_matched(watch, before, 0)
    works = [registered(store, seed) for seed in (1, 2, 3)]
    with store.view() as view:
        assert view.captures.oldest_match() == before
        named = view.captures.new_references(before, store.sequence(), 9)
        assert [one for one, _ in named] == [work.references[0].id for work in works if work.references]
        assert len(view.captures.new_references(before, store.sequence(), 2)) == 2
        rows = view.captures.descriptors_between(BITS.id, before, named[0][1])
        assert [len(descriptors) for _, descriptors in rows] == [2]
        assert view.captures.digests_of([one for one, _ in named]) == {
            bytes(31) + bytes([i]) for i in (1, 2, 3)
        }
        assert view.captures.contents_with([CONTENT, bytes(32)]) == {CONTENT}
    until = store.sequence()
    with store.transaction() as transaction:
        transaction.captures.set_asking(until)
        assert not transaction.captures.set_matched(watch, until - 1, 0)
        assert transaction.captures.set_matched(watch, until, 0)
        transaction.captures.set_asked(until)
        transaction.captures.set_asked(1)  # another server was slower
        assert transaction.captures.registration_marks() == (until, until)


def test_events_wait_for_webhooks_until_they_are_told_or_unwanted(store: Store) -> None:
    def body(delivery_id: UUID) -> str:
        return f'{{"id":"{delivery_id}"}}'

    told, deaf = create(store), create(store, replace(SETTINGS, webhook=None))
    with store.transaction() as transaction:
        for made in (told, deaf):
            transaction.reports.tell(made.id, "run.ended", body, NOW)
        (delivery,) = transaction.reports.due_deliveries(NOW, 9)
        assert delivery.webhook == SETTINGS.webhook
        assert delivery.body == body(delivery.id)
        transaction.reports.put_off_delivery(delivery.id, 1, NOW + MINUTE)
        assert transaction.reports.due_deliveries(NOW, 9) == []
        (again,) = transaction.reports.due_deliveries(NOW + MINUTE, 9)
        assert (again.id, again.attempts) == (delivery.id, 1)
        assert (transaction.lists.get(told.id).untold, transaction.lists.get(told.id).failed_attempts) == (
            1,
            1,
        )
        assert transaction.lists.get(deaf.id).untold == 0
        transaction.reports.drop_delivery(delivery.id)
        transaction.reports.tell(told.id, "run.ended", body, NOW)
        transaction.lists.update(told.id, replace(SETTINGS, webhook=None), NOW, revision=None)
        assert transaction.reports.due_deliveries(NOW, 9) == []


def test_frequent_statements_of_monitoring_use_an_index(store: Store) -> None:
    work = registered(store)
    made = create(store)
    run = leased(store, made.id)
    captured(store, run)
    plans = Plans()
    for engine in (store._database.reader, store._database.writer):
        event.listen(engine, "before_cursor_execute", plans.explain)
    captured(store, run, "2")
    with store.transaction() as transaction:
        transaction.captures.see_again(made.id, run.id, seen("3"))
        transaction.lists.check_held(run.id, "spider", NOW)
    read(store)
    report(store, only_watch(store), match_of(work))
    looks: tuple[Callable[[View], object], ...] = (
        lambda view: view.lists.get(made.id),
        lambda view: view.lists.page(owner="studio", after=None, limit=9),
        lambda view: view.lists.due(NOW),
        lambda view: view.captures.custody(uuid4()),
        lambda view: view.captures.suspect(CONTENT),
        lambda view: view.captures.oldest_match(),
        lambda view: view.captures.new_references(0, 9, 9),
        lambda view: view.captures.descriptors_between(BITS.id, 0, 9),
        lambda view: view.captures.suspect_additions(BITS.id, 0, 9, limit=9),
        lambda view: view.captures.suspect_ids(BITS.id, 9),
        lambda view: view.captures.suspect_removals(BITS.id, 0, 9),
        lambda view: view.captures.suspect_fingerprints([CONTENT]),
        lambda view: view.captures.containers_of([CONTENT]),
        lambda view: view.captures.contents_with([CONTENT]),
        lambda view: view.cases.of_uploader("Ann", "x.example"),
        lambda view: view.reports.page(ReportFilter(owner="studio"), after=None, limit=9),
        lambda view: view.reports.page(ReportFilter(work_id=work.id), after=None, limit=9),
        lambda view: view.reports.changed(ReportFilter(), after=0, until=9, limit=9),
    )
    with store.view() as view:
        for look in looks:
            look(view)

    assert len(plans.plans) >= 25
    bad = re.compile(
        TABLE_SCANS[store._database.writer.dialect.name].replace("counters", "counters|registration_marks"),
        re.MULTILINE,
    )
    assert {sql: plan for sql, plan in plans.plans.items() if bad.search(plan)} == {}
