"""From a list to reports: captures are matched once, and works registered later are found in them."""

from __future__ import annotations

# ruff: noqa: ASYNC110 - what is waited for happens in the server
import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

import copyhound
from service.app import Running, running
from service.domain import KeyRole
from service.keys import new_key
from service.monitored import CustodyEvent as StoredEvent
from service.monitored import digest_of_event
from service.monitoring import Suspects
from service.sandbox import ForkServer
from service.settings import Settings
from tests.e2e.pictures import encoded, photograph

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "a secret of webhooks"  # noqa: S105 - of this test alone
SEEN_AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
PAGE = copyhound.Place(copyhound.PlaceKind.PAGE, "https://pirate.example/")


@dataclass
class Hook:
    """A receiver of webhooks, which fails the first time it is told of anything."""

    url: str = ""
    bodies: list[dict[str, object]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    failures: int = 1


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    kept = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            copyhound.verify_webhook(SECRET, self.headers["Copyhound-Signature"], body)
            kept.ids.append(self.headers["Idempotency-Key"])
            kept.failures -= 1
            if kept.failures < 0:
                kept.bodies.append(json.loads(body))
            self.send_response(503 if kept.failures >= 0 else 204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}/hook?x=1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()
    thread.join()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> AsyncIterator[Running]:
    """One server for all tests here: each works for an owner of its own."""
    settings = Settings(
        data=tmp_path_factory.mktemp("monitoring") / "hound",
        listen="127.0.0.1:0",
        workers=1,
        allow_anonymous=True,
        webhook_networks="127.0.0.0/8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.monitoring.webhooks._FIRST_PAUSE", timedelta(milliseconds=1))
        async with running(settings, forks=forks) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def client(service: Running) -> AsyncIterator[copyhound.AsyncClient]:
    async with copyhound.AsyncClient(f"127.0.0.1:{service.port}") as client:
        yield client


def key_of(service: Running, role: KeyRole, owner: str | None = None) -> str:
    key, text = new_key(role, owner, 0, 0)
    service.catalogue.store.create_key(key)
    return text


@asynccontextmanager
async def crawler_of(service: Running, name: str = "spider") -> AsyncIterator[copyhound.AsyncCrawlerClient]:
    key = key_of(service, KeyRole.CRAWLER)
    target = f"127.0.0.1:{service.port}"
    async with copyhound.AsyncCrawlerClient(target, crawler=name, api_key=key) as crawler:
        yield crawler


def capture_of(
    content: bytes, run: str, page: str = "https://pirate.example/1", **others: object
) -> tuple[copyhound.CaptureHeader, bytes]:
    """A capture in two parts, with bytes around them that are no content."""
    half = len(content) // 2
    head, between = b"WARC/1.1\r\n\r\n", b"\r\n"
    warc = head + content[:half] + between + content[half:] + between
    ranges = ((len(head), half), (len(head) + half + len(between), len(content) - half))
    header = copyhound.CaptureHeader(
        capture_id=uuid4(),
        run=run,
        crawler="spider",
        media_url=f"{page}.jpg",
        content_sha256=hashlib.sha256(content).digest(),
        content_ranges=ranges,
        byte_count=len(warc),
        sha256=hashlib.sha256(warc).digest(),
        captured_at=SEEN_AT,
        page_url=page,
        page_title="Free films\x1b[2J",
        found_as="img",
        content_type="image/jpeg",
        remote_address="93.184.216.34",
    )
    return replace(header, **others), warc  # type: ignore[arg-type]


async def leased(
    client: copyhound.AsyncClient, crawler: copyhound.AsyncCrawlerClient, new: copyhound.NewMonitoringList
) -> tuple[copyhound.MonitoringList, copyhound.Assignment]:
    """A list, with a run that the crawler holds."""
    made = await client.create_list(new)
    run = await client.run_list(made.name)
    assignment = await crawler.lease_run(run.name)
    assert assignment is not None
    return made, assignment


async def settled(client: copyhound.AsyncClient, run: str) -> copyhound.Run:
    """The run, once all that it captured was read and matched."""
    while (found := await client.get_run(run)).pending_contents:
        await asyncio.sleep(0.02)
    return found


async def reports_of(client: copyhound.AsyncClient, name: str) -> list[copyhound.MatchReport]:
    return [report async for report in client.reports(list_name=name)]


async def test_captures_become_reports_each_content_once(
    client: copyhound.AsyncClient, service: Running, hook: Hook
) -> None:
    photo = photograph("coffee")
    work = await client.register(encoded(photo, 95), owner="once", external_id="C", title="Coffee")
    copy = encoded(photo.resize((300, 200)), 40)
    async with crawler_of(service) as crawler:
        webhook = copyhound.Webhook(hook.url, SECRET)
        made, job = await leased(
            client, crawler, copyhound.NewMonitoringList("once", places=(PAGE,), webhook=webhook)
        )
        first, warc = capture_of(copy, job.run)
        taken = await crawler.ingest_capture(first, warc)
        again = await crawler.ingest_capture(first, warc)
        other = await crawler.ingest_capture(*capture_of(copy, job.run, "https://pirate.example/2"))
        broken = await crawler.ingest_capture(
            *capture_of(b"\x7fELF\2\1\1\0" * 99, job.run, "https://x.example/b")
        )
        seen = copyhound.SeenAgain(
            first.content_sha256, "https://mirror.example/c.jpg", SEEN_AT, page_url="https://mirror.example/"
        )
        unknown = replace(seen, sha256=bytes(32))
        assert await crawler.report_sightings(job.run, [seen, unknown, seen]) == (unknown,)
        progress = copyhound.Progress(pages=3, media=4, captures=3)
        await crawler.report_progress(job.run, progress, state=copyhound.RunState.DONE)
    run = await settled(client, job.run)

    assert (taken.already_present, again.already_present, again.capture) == (False, True, taken.capture)
    assert (taken.content_known, other.content_known, broken.content_known) == (False, True, False)
    assert (run.state, run.progress) == (copyhound.RunState.DONE, progress)
    assert (run.unreadable_contents, run.reports) == (1, 1)
    (listed,) = await reports_of(client, made.name)
    report = await client.get_report(listed.name)
    assert (report.match.work, report.match.title, report.modality) == (work.name, "Coffee", "image")
    assert report.match.probability > 0.9
    assert report.match.regions
    assert report.sha256 == first.content_sha256
    assert report.byte_count == len(copy)
    assert not report.on_registration
    assert report.sighting_count == 3
    assert [(one.page_url, one.media_url) for one in report.sightings] == [
        (first.page_url, first.media_url),
        ("https://pirate.example/2", "https://pirate.example/2.jpg"),
        ("https://mirror.example/", "https://mirror.example/c.jpg"),
    ]
    assert [one.capture for one in report.sightings] == [taken.capture, other.capture, None]
    assert {one.run for one in report.sightings} == {job.run}

    kept = await client.get_capture(taken.capture)
    assert kept.content_state == "read"
    assert [event.action for event in kept.custody] == ["RECEIVED", "FINGERPRINTED"]
    assert chain_holds(kept)
    unread = await client.get_capture(broken.capture)
    assert (unread.content_state, unread.unreadable_reason.partition(":")[0]) == (
        "unreadable",
        "MEDIA_UNSUPPORTED",
    )

    everything = [one async for one in client.captures(job.run, page_size=1)]
    assert {one.name for one in everything} == {taken.capture, broken.capture}
    assert [one async for one in client.captures(job.run, content_state="unreadable")] == [
        replace(unread, custody=())
    ]

    while len(hook.bodies) < 2:
        await asyncio.sleep(0.02)
    bodies = {str(body["event"]): body for body in hook.bodies}
    assert bodies["report.created"]["report"]["name"] == report.name  # type: ignore[index]
    assert bodies["report.created"]["list"] == made.name
    assert bodies["run.ended"]["run"]["state"] == "done"  # type: ignore[index]
    assert len(hook.ids) == 3
    assert len(set(hook.ids)) == 2  # the one that failed came again with its id


def chain_holds(capture: copyhound.Capture) -> bool:
    """Whether each event's digest covers the one before, as the guide says."""
    previous = bytes(32)
    for event in capture.custody:
        stored = StoredEvent(event.number, event.at, event.actor, event.action, event.detail, b"")
        if digest_of_event(UUID(capture.name.removeprefix("captures/")), stored, previous) != event.sha256:
            return False
        previous = event.sha256
    return True


async def test_a_suppressed_reference_raises_no_report_and_no_answer_above_review(
    client: copyhound.AsyncClient, service: Running
) -> None:
    photo = photograph("coffee")
    work = await client.register(encoded(photo, 95), owner="flooded")
    reference = (await client.get_work(work.name)).references[0]
    copy = encoded(photo.resize((320, 210)), 50)
    await client.suppress(reference.name, note="it is everywhere")
    key = key_of(service, KeyRole.OWNER, "flooded")
    async with crawler_of(service) as crawler:
        made, job = await leased(client, crawler, copyhound.NewMonitoringList("flooded", places=(PAGE,)))
        await crawler.ingest_capture(*capture_of(copy, job.run))
        await settled(client, job.run)
    async with copyhound.AsyncClient(f"127.0.0.1:{service.port}", api_key=key) as owner:
        answer = await owner.match(copy)
        assert (answer.action, [one.code for one in answer.reasons]) == ("review", ["SUPPRESSED"])
        assert not await reports_of(client, made.name)
        await owner.unsuppress(reference.name)
        answer = await owner.match(copy)
        assert (answer.action, answer.reasons[0].code) == ("block", "COPY_FOUND")
        while not (found := await reports_of(client, made.name)):  # what was captured meanwhile
            await asyncio.sleep(0.02)
        assert [report.match.reference for report in found] == [reference.name]
        events = [event.action async for event in owner.review_events()]
    assert events == ["OPENED", "UNSUPPRESSED", "SUPPRESSED"]


async def test_a_work_registered_later_is_found_in_what_was_captured_before(
    client: copyhound.AsyncClient, service: Running
) -> None:
    chelsea, rocket = photograph("chelsea"), photograph("rocket")
    known = await client.register(encoded(rocket), owner="later", external_id="known")
    everything = copyhound.NewMonitoringList("later", places=(PAGE,))
    async with crawler_of(service) as crawler:
        watching, job = await leased(client, crawler, everything)
        await crawler.ingest_capture(*capture_of(encoded(chelsea.crop((20, 10, 400, 280)), 50), job.run))
        await settled(client, job.run)
        chosen = await client.create_list(replace(everything, works=("known",)))
        run = await client.run_list(chosen.name)
        assert await crawler.lease_run(run.name)
        await crawler.ingest_capture(*capture_of(encoded(chelsea.crop((20, 10, 400, 280)), 50), run.name))
        await settled(client, run.name)
        stranger = await client.create_list(replace(everything, owner="somebody else"))
    assert not await reports_of(client, watching.name)

    watch = client.watch_reports(list_name=watching.name)
    event = asyncio.create_task(anext(watch))
    await client.register(encoded(photograph("china")), owner="later", external_id="unlike")
    work = await client.register(encoded(chelsea, 95), owner="later", external_id="new", title="Cat")
    told = await event
    await watch.aclose()

    assert told.report.match.work == work.name
    assert told.report.on_registration
    (report,) = await reports_of(client, watching.name)
    assert (report.name, report.sighting_count) == (told.report.name, 1)
    assert (await client.get_run(job.run)).reports == 1
    assert not await reports_of(client, chosen.name)  # which watches for another work
    assert not await reports_of(client, stranger.name)

    await client.update_list(chosen.name, works=("known", "new"))
    while not (widened := await reports_of(client, chosen.name)):
        await asyncio.sleep(0.02)
    assert [one.name for one in widened] == [report.name]
    assert (await client.get_report(report.name)).sighting_count == 2

    await client.delete_work(work.name)
    kept = await client.get_report(report.name)
    assert (kept.work_deleted, kept.match.title, kept.match.work) == (True, "Cat", work.name)
    await client.delete_list(watching.name)
    await client.delete_list(chosen.name)
    assert (await client.get_report(report.name)).sighting_count == 2
    with service.catalogue.store.view() as view:
        assert view.captures.suspect(report.sha256) is None
    assert (await client.get_work(known.name)).name == known.name


async def test_a_run_belongs_to_one_crawler_at_a_time(
    client: copyhound.AsyncClient, service: Running
) -> None:
    places = (
        copyhound.Place(copyhound.PlaceKind.SEARCH, "https://s.example/?q={keywords}", ("a b", "ü")),
        copyhound.Place(copyhound.PlaceKind.DOMAIN, "Example.ORG."),
    )
    new = copyhound.NewMonitoringList("lease", places=places, leave_alone=("licensee.example",), max_depth=0)
    async with crawler_of(service) as spider, crawler_of(service, "other") as other:
        _, job = await leased(client, spider, new)
        assert [place.url for place in job.places] == [
            "https://s.example/?q=a+b",
            "https://s.example/?q=%C3%BC",
            "example.org",
        ]
        assert (job.leave_alone, job.max_depth, job.max_pages) == (("licensee.example",), 0, 1000)
        assert (await spider.lease_run()) is not None  # after a restart
        assert (await spider.lease_run(job.run)) is not None
        assert await other.lease_run() is None
        header, warc = capture_of(b"GIF89a", job.run, crawler="other")
        for refused in (
            other.lease_run(job.run),
            other.report_progress(job.run, copyhound.Progress()),
            other.ingest_capture(header, warc),
            other.report_sightings(job.run, []),
        ):
            with pytest.raises(copyhound.LeaseLostError):
                await refused
        given_back = await spider.report_progress(
            job.run, copyhound.Progress(pages=7), state=copyhound.RunState.PENDING
        )
        assert not given_back.cancelled
        taken_over = await other.lease_run()
        assert taken_over is not None
        assert (taken_over.run, taken_over.progress.pages) == (job.run, 7)
        assert (await client.cancel_run(job.run)).state is copyhound.RunState.CANCELLED
        assert (await other.report_progress(job.run, copyhound.Progress())).cancelled
        with pytest.raises(copyhound.LeaseLostError):
            await other.ingest_capture(header, warc)


async def test_a_capture_that_does_not_fit_its_header_is_refused(
    client: copyhound.AsyncClient, service: Running
) -> None:
    async with crawler_of(service) as crawler:
        _, job = await leased(client, crawler, copyhound.NewMonitoringList("refuse", places=(PAGE,)))
        header, warc = capture_of(b"GIF89a" * 10, job.run)
        for wrong, sent, field in (
            (replace(header, sha256=bytes(32)), warc, "header.sha256"),
            (replace(header, content_sha256=bytes(32)), warc, "header.content_sha256"),
            (replace(header, content_ranges=((0, 10_000),)), warc, "header.content_ranges"),
            (replace(header, media_url="ftp://x.example/a"), warc, "header.media_url"),
            (header, b"GARBAGE" + warc, "chunk"),
        ):
            with pytest.raises(copyhound.InvalidRequestError) as caught:
                await crawler.ingest_capture(wrong, sent)
            assert caught.value.violations[0].field == field
        with pytest.raises(copyhound.LeaseLostError):
            await crawler.ingest_capture(replace(header, crawler="nobody"), warc)


async def test_a_thousand_items_are_imported_with_errors_by_row(client: copyhound.AsyncClient) -> None:
    await client.register(encoded(photograph("coins")), owner="import", external_id="W")
    made = await client.create_list(copyhound.NewMonitoringList("import"))
    kinds = copyhound.PlaceKind
    rows = [
        copyhound.MonitoringItem(place=copyhound.Place(kinds.PAGE, f"https://x.example/{i}"))
        for i in range(1000)
    ]
    rows[10] = copyhound.MonitoringItem(place=copyhound.Place(kinds.PAGE, "httpx://x.example/"))
    rows[20] = copyhound.MonitoringItem(work="W")
    rows[30] = copyhound.MonitoringItem(work="nothing like it")
    rows[40] = copyhound.MonitoringItem(place=copyhound.Place(kinds.SEARCH, "https://x.example/?q="))
    rows[50] = rows[51]
    rows[60] = copyhound.MonitoringItem(leave_alone="https://video.example/@studio")

    refused = await client.import_items(made.name, rows)
    tried = await client.import_items(made.name, rows, allow_partial=True, validate_only=True)
    assert (await client.get_list(made.name)).place_count == 0
    done = await client.import_items(made.name, rows, allow_partial=True)
    again = await client.import_items(made.name, rows, allow_partial=True)

    assert (refused.added, tried.added, done.added, again.added) == (0, 996, 996, 0)
    assert (done.present, again.present) == (1, 997)
    assert [(one.row, one.field) for one in done.errors] == [
        (10, "place.url"),
        (30, "work"),
        (40, "place.url"),
    ]
    found = await client.get_list(made.name)
    assert (found.place_count, len(found.works)) == (994, 1)
    assert found.leave_alone == ("https://video.example/@studio",)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"owner": ""}, "list.owner"),
        ({"works": ("nobody",)}, "list.works[0]"),
        ({"places": (copyhound.Place(copyhound.PlaceKind.DOMAIN, "no host"),)}, "list.places[0].url"),
        ({"leave_alone": ("https://user:pass@x.example/",)}, "list.leave_alone[0]"),
        ({"schedule": copyhound.Schedule(timedelta(hours=1), "03:00")}, "list.schedule"),
        ({"schedule": copyhound.Schedule(timedelta(seconds=1))}, "list.schedule.interval"),
        ({"schedule": copyhound.Schedule(daily_time="25:00")}, "list.schedule.daily_time"),
        ({"expires_at": SEEN_AT - timedelta(days=9999)}, "list.expire_time"),
        ({"webhook": copyhound.Webhook("https://x.example/", "short")}, "list.webhook.secret"),
        ({"max_depth": 101}, "list.max_depth"),
        ({"max_pages": -1}, "list.max_pages"),
    ],
)
async def test_a_wrong_list_is_refused_by_its_field(
    client: copyhound.AsyncClient, change: dict[str, object], field: str
) -> None:
    new = replace(copyhound.NewMonitoringList("wrong", places=(PAGE,)), **change)  # type: ignore[arg-type]
    with pytest.raises(copyhound.InvalidRequestError) as caught:
        await client.create_list(new, validate_only=True)
    assert caught.value.violations[0].field == field


async def test_a_list_is_read_changed_and_deleted_as_it_was_given(client: copyhound.AsyncClient) -> None:
    new = copyhound.NewMonitoringList(
        "fields",
        "Films",
        places=(PAGE, copyhound.Place(copyhound.PlaceKind.FEED, "https://x.example/feed")),
        leave_alone=("licensee.example",),
        max_depth=5,
        max_pages=99,
        schedule=copyhound.Schedule(daily_time="03:30"),
        expires_at=datetime(2099, 1, 1, tzinfo=UTC),
        webhook=copyhound.Webhook("https://hooks.example/a", SECRET),
        min_probability=0.75,
    )
    made = await client.create_list(new)
    assert made == await client.get_list(made.name)
    assert (made.title, made.max_depth, made.max_pages, made.min_probability) == ("Films", 5, 99, 0.75)
    assert [place.url for place in made.places] == ["https://pirate.example/", "https://x.example/feed"]
    assert (made.schedule, made.expires_at) == (new.schedule, new.expires_at)
    assert made.webhook == copyhound.Webhook("https://hooks.example/a")  # never with its secret
    assert made.next_run_at is not None
    assert (made.next_run_at.hour, made.next_run_at.minute) == (3, 30)
    listed = [one async for one in client.lists(owner="fields", page_size=1)]
    assert [(one.name, one.place_count, one.places) for one in listed] == [(made.name, 2, ())]

    changed = await client.update_list(made.name, etag=made.etag, schedule=None, title="Music")
    assert (changed.title, changed.schedule, changed.next_run_at) == ("Music", None, None)
    assert changed.places == made.places
    with pytest.raises(copyhound.StaleError):
        await client.update_list(made.name, etag=made.etag, title="too late")
    await client.delete_list(made.name, etag=changed.etag)
    with pytest.raises(copyhound.NotFoundError):
        await client.get_list(made.name)


async def test_a_list_that_is_due_runs_by_itself_and_ends_when_it_expires(
    client: copyhound.AsyncClient, service: Running
) -> None:
    made = await client.create_list(
        copyhound.NewMonitoringList(
            "due", places=(PAGE,), schedule=copyhound.Schedule(interval=timedelta(hours=1))
        )
    )
    list_id = UUID(made.name.removeprefix("lists/"))
    due = datetime.now(UTC) - timedelta(hours=2, minutes=30)
    await service.catalogue.write(lambda transaction: transaction.lists.set_next_run(list_id, due))
    while not (runs := [run async for run in client.runs(made.name)]):
        await asyncio.sleep(0.02)
    planned = (await client.get_list(made.name)).next_run_at
    assert [run.scheduled for run in runs] == [True]
    assert planned == due + timedelta(hours=3)  # missed ones are made up for once
    assert (await client.run_list(made.name)).name == runs[0].name

    with service.catalogue.store.view() as view:
        settings = replace(view.lists.get(list_id).settings, expires_at=due)
    await service.catalogue.write(
        lambda transaction: transaction.lists.update(list_id, settings, datetime.now(UTC), revision=None)
    )
    while not (ended := await client.get_run(runs[0].name)).ended:
        await asyncio.sleep(0.02)
    assert (ended.state, ended.message) == (copyhound.RunState.CANCELLED, "the list has expired")
    with pytest.raises(copyhound.InvalidRequestError):
        await client.run_list(made.name)


async def test_owners_see_their_own_alone_and_platforms_nothing(
    client: copyhound.AsyncClient, service: Running
) -> None:
    target = f"127.0.0.1:{service.port}"
    mine = await client.create_list(copyhound.NewMonitoringList("mine", places=(PAGE,)))
    await client.create_list(copyhound.NewMonitoringList("theirs", places=(PAGE,)))
    run = await client.run_list(mine.name)
    async with copyhound.AsyncClient(target, api_key=key_of(service, KeyRole.OWNER, "theirs")) as other:
        assert [one.owner async for one in other.lists()] == ["theirs"]
        assert [one async for one in other.lists(owner="mine")] == []
        assert [one async for one in other.reports()] == []
        for hidden in (other.get_list(mine.name), other.get_run(run.name), other.delete_list(mine.name)):
            with pytest.raises(copyhound.NotFoundError):
                await hidden
        with pytest.raises(copyhound.NotFoundError):
            _ = [one async for one in other.captures(run.name)]
        with pytest.raises(copyhound.ForbiddenError):
            await other.create_list(copyhound.NewMonitoringList("mine"))
    async with copyhound.AsyncClient(target, api_key=key_of(service, KeyRole.INVESTIGATOR)) as investigator:
        assert (await investigator.get_list(mine.name)).name == mine.name
        with pytest.raises(copyhound.ForbiddenError):
            await investigator.run_list(mine.name)
    async with copyhound.AsyncClient(target, api_key=key_of(service, KeyRole.PLATFORM)) as platform:
        for refused in (platform.get_list(mine.name), platform.get_run(run.name)):
            with pytest.raises(copyhound.ForbiddenError):
                await refused
    async with copyhound.AsyncClient(target, api_key=key_of(service, KeyRole.CRAWLER)) as crawler:
        with pytest.raises(copyhound.ForbiddenError):
            await crawler.match(b"GIF89a")
    assert (await client.cancel_run(run.name)).ended


async def test_what_was_acknowledged_is_matched_after_a_restart(
    tmp_path: Path, forks: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data=tmp_path / "hound", listen="127.0.0.1:0", workers=1, allow_anonymous=True)
    photo = photograph("flower")
    with monkeypatch.context() as cut_off:  # as if it had been killed before it read anything
        cut_off.setattr(Suspects, "start", lambda _: None)
        async with (
            running(settings, forks=forks) as before,
            crawler_of(before) as crawler,
            copyhound.AsyncClient(f"127.0.0.1:{before.port}") as client,
        ):
            await client.register(encoded(photo), owner="studio", external_id="F")
            _, job = await leased(client, crawler, copyhound.NewMonitoringList("studio", places=(PAGE,)))
            await crawler.ingest_capture(*capture_of(encoded(photo.resize((320, 213))), job.run))
    async with (
        running(settings, forks=forks) as after,
        crawler_of(after) as crawler,
        copyhound.AsyncClient(f"127.0.0.1:{after.port}") as client,
    ):
        run = await settled(client, job.run)
        assert (run.state, run.reports) == (copyhound.RunState.RUNNING, 1)
        again = await crawler.lease_run()  # the same crawler goes on with its run
        assert again is not None
        assert again.run == job.run
        await client.register(encoded(photo, 50), owner="studio", external_id="F2")
        watch = client.watch_reports()
        told = [await anext(watch), await anext(watch)]
        await watch.aclose()
    assert [(event.report.match.external_id, event.report.on_registration) for event in told] == [
        ("F", False),
        ("F2", True),
    ]
