"""The frontier gives tasks out fairly, within budgets, and loses nothing; the delivery waits."""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from copyhound import errors
from copyhound.monitor_types import (
    Assignment,
    CaptureHeader,
    Ingested,
    Lease,
    Place,
    PlaceKind,
    Progress,
    RunState,
    SeenAgain,
)
from crawler.delivery import Delivery
from crawler.extract import Kind, Link
from crawler.frontier import (
    _SCHEMA,
    _SINCE_VERSION_2,
    Found,
    Frontier,
    HostBudget,
    Outcome,
    RunFrontier,
    State,
    Task,
)
from crawler.handover import folder_assignment
from crawler.run import CrawlerProcess, CrawlError
from crawler.scope import Scope
from crawler.session import Session
from crawler.settings import CrawlerSettings
from crawler.spool import Spool

PLENTY = HostBudget(10**6, 10**12, 10**6)
LIST = f"lists/{UUID(int=1)}"
RUN = f"{LIST}/runs/{UUID(int=2)}"


@pytest.fixture
def frontier(tmp_path: Path) -> Iterator[Frontier]:
    opened = Frontier(tmp_path / "crawl.db")
    yield opened
    opened.close()


def page(url: str, depth: int = 0) -> Found:
    return Found(url, Kind.PAGE, depth, follow=True)


def picture(url: str) -> Found:
    return Found(url, Kind.MEDIA, 0, follow=False, found_as="img")


def opened(frontier: Frontier, *found: Found, run: str = RUN, pages: int = 1000) -> RunFrontier:
    run_frontier = frontier.open_run(run, LIST, pages)
    run_frontier.add((0, item) for item in found)
    return run_frontier


def task_of(run: RunFrontier, *, per_host: int = 100, budget: HostBudget = PLENTY) -> Task:
    task = run.next_task(per_host=per_host, budget=budget)
    assert task is not None
    return task


def none_left(run: RunFrontier, *, per_host: int = 100, budget: HostBudget = PLENTY) -> bool:
    return run.next_task(per_host=per_host, budget=budget) is None


def header(task: Task, content: bytes = b"content") -> CaptureHeader:
    return CaptureHeader(
        capture_id=uuid4(),
        run=RUN,
        crawler="me",
        media_url=task.url,
        content_sha256=hashlib.sha256(content).digest(),
        content_ranges=((3, len(content)),),
        byte_count=10,
        sha256=b"s" * 32,
        captured_at=datetime(2026, 11, 22, tzinfo=UTC),
    )


def captured(task: Task, content: bytes = b"content") -> Outcome:
    made = header(task, content)
    return Outcome(header=made, sha256=made.content_sha256, etag='"1"')


def test_hosts_take_turns_and_media_come_first(frontier: Frontier) -> None:
    run = opened(
        frontier,
        *(page(f"https://a.example/{n}") for n in range(3)),
        page("https://b.example/"),
        picture("https://a.example/x.png"),
    )
    order = [task_of(run).url for _ in range(5)]
    assert order[:2] == ["https://a.example/x.png", "https://b.example/"]
    assert order[2:] == [f"https://a.example/{n}" for n in range(3)]
    assert none_left(run)


def test_no_host_gets_more_than_its_share_at_a_time(frontier: Frontier) -> None:
    run = opened(frontier, *(page(f"https://a.example/{n}") for n in range(5)))
    first, _second = task_of(run, per_host=2), task_of(run, per_host=2)
    assert none_left(run, per_host=2)
    run.finish(first, Outcome(page=True))
    assert task_of(run, per_host=2).url == "https://a.example/2"


def test_urls_of_the_same_page_are_one(frontier: Frontier) -> None:
    run = opened(
        frontier, page("https://a.example/?a=1&b=2"), page("https://a.example/?b=2&a=1&utm_source=x")
    )
    assert run.waiting == 1


def test_what_was_under_way_waits_again_and_what_was_done_does_not(
    frontier: Frontier, tmp_path: Path
) -> None:
    run = opened(frontier, page("https://a.example/1"), page("https://a.example/2"))
    done = task_of(run)
    task_of(run)
    run.finish(done, Outcome(page=True, found=[picture("https://a.example/x.png")], sha256=b"p" * 32))
    again = Frontier(tmp_path / "crawl.db")  # as after a kill: nothing was closed
    resumed = again.open_run(RUN, LIST, 1000)
    assert resumed.begun()
    assert [task_of(resumed).url for _ in range(2)] == ["https://a.example/x.png", "https://a.example/2"]
    assert none_left(resumed)
    assert resumed.progress() == Progress(pages=1, media=1, queued=2)
    again.close()


def test_an_outcome_is_written_whole_or_not_at_all(frontier: Frontier) -> None:
    run = opened(frontier, page("https://a.example/"))
    task = task_of(run)
    wrong = replace(page("https://a.example/x"), kind="\ud800")  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        run.finish(task, Outcome(page=True, found=[picture("https://a.example/a.png"), wrong]))
    assert (run.waiting, run.active) == (1, 1)
    run.finish(task, Outcome(page=True, found=[picture("https://a.example/a.png")]))
    assert task_of(run).url == "https://a.example/a.png"


@pytest.mark.parametrize(
    "budget", [HostBudget(2, 10**9, 10**6), HostBudget(100, 20, 10**6), HostBudget(100, 10**9, -1)]
)
def test_a_spent_host_is_left_out_and_others_go_on(frontier: Frontier, budget: HostBudget) -> None:
    run = opened(frontier, *(page(f"https://a.example/{n}") for n in range(9)), page("https://b.example/"))
    fetched = []
    while (task := run.next_task(per_host=1, budget=budget)) is not None:
        fetched.append(task.url)
        run.finish(task, Outcome(page=True, received=10))
    assert "https://b.example/" in fetched
    assert len(fetched) == (2 if budget.seconds < 0 else 3)
    assert run.waiting == 0
    assert run.progress().refused == 10 - len(fetched)


def test_the_budget_of_pages_ends_pages_and_not_media(frontier: Frontier) -> None:
    run = opened(frontier, *(page(f"https://a.example/{n}") for n in range(5)), pages=2)
    first, second = task_of(run), task_of(run)
    assert none_left(run)
    media = [picture("https://a.example/x.png"), page("https://a.example/more", 1)]
    run.finish(first, Outcome(page=True))
    run.finish(second, Outcome(page=True, found=media))
    assert task_of(run).url == "https://a.example/x.png"
    assert none_left(run)
    assert run.waiting == 1


def test_later_attempts_wait_until_they_are_due(frontier: Frontier) -> None:
    run = opened(frontier, page("https://a.example/"))
    run.finish(task_of(run), Outcome(state=State.WAITING, due=time.time() + 3600, reason="HTTP 503"))
    assert none_left(run)
    assert run.waiting == 1
    later = opened(frontier, page("https://b.example/"), run=f"{LIST}/runs/{UUID(int=9)}")
    later.finish(task_of(later), Outcome(state=State.WAITING, due=time.time() - 1))
    assert task_of(later).attempts == 1


def test_pages_of_a_shape_are_counted_until_one_brings_something(frontier: Frontier) -> None:
    run = opened(frontier, *(page(f"https://a.example/day/{n}") for n in range(4)))
    for _ in range(3):
        run.finish(task_of(run), Outcome(page=True))
    assert run.barren("https://a.example/day/999") == 3
    run.finish(task_of(run), Outcome(page=True, found=[picture("https://a.example/x.png")]))
    assert run.barren("https://a.example/day/999") == 0


def test_what_an_unchanged_page_named_counts_again(frontier: Frontier) -> None:
    first = opened(frontier, page("https://a.example/"))
    found = [picture("https://a.example/x.png"), page("https://a.example/2", 1)]
    first.finish(task_of(first), Outcome(page=True, found=found, sha256=b"p" * 32, etag='"p"', title="T"))
    first.finish(task_of(first), captured(task_of_none()))
    first.finish(task_of(first), Outcome(page=True, sha256=b"q" * 32))
    first.end()
    second = opened(frontier, page("https://a.example/"), run=f"{LIST}/runs/{UUID(int=3)}")
    home = task_of(second)
    assert home.etag == '"p"'
    second.finish(home, Outcome(page=True, unchanged=True))
    media, deeper = task_of(second), task_of(second)
    assert (media.url, media.etag, media.page_url, media.found_as) == (
        "https://a.example/x.png", '"1"', "https://a.example/", "img",
    )  # fmt: skip
    assert media.sha256 == hashlib.sha256(b"content").digest()
    assert (deeper.url, deeper.depth) == ("https://a.example/2", 1)


def task_of_none() -> Task:
    return Task(
        0,
        "https://a.example/x.png",
        "a.example",
        Kind.MEDIA,
        0,
        False,
        0,
        None,
        "",
        "",
        "",
        "",
        "",
        0,
        "",
        "",
        None,
    )


def test_other_pages_that_show_a_captured_picture_are_told_of(frontier: Frontier) -> None:
    run = opened(frontier, *(page(f"https://a.example/{n}") for n in range(3)))
    shown = [picture("https://a.example/x.png")]
    pages = [task_of(run) for _ in range(3)]
    run.finish(pages[0], Outcome(page=True, found=shown, title="0", uploader="Ann"))
    run.finish(pages[1], Outcome(page=True, found=shown, title="1"))
    media = task_of(run)
    run.finish(media, captured(task_of_none()))
    run.finish(pages[2], Outcome(page=True, found=shown, title="2", uploader="Bob"))
    seen = [(sighting.page_url, sighting.uploader) for _, _, sighting in frontier.waiting_sightings(10)]
    assert seen == [("https://a.example/1", ""), ("https://a.example/2", "Bob")]
    assert media.uploader == "Ann"


def test_a_database_of_an_earlier_version_gains_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "crawl.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(f"{_SCHEMA}{_SINCE_VERSION_2} PRAGMA user_version=2;")
    opened_again = Frontier(path)
    run = opened(opened_again, page("https://a.example/"))
    assert task_of(run).uploader == ""
    opened_again.close()


def assignment(*places: Place, leave_alone: tuple[str, ...] = (), depth: int = 2) -> Assignment:
    return Assignment(RUN, LIST, places, leave_alone, depth, 100, 1 << 30, Progress(), datetime.now(UTC))


@pytest.mark.parametrize(
    ("kind", "url", "link", "depth", "follow"),
    [
        (PlaceKind.PAGE, "https://a.example/", "https://a.example/x", 1, True),
        (PlaceKind.PAGE, "https://www.a.example/", "https://img.a.example/x", 1, True),
        (PlaceKind.PAGE, "https://a.example/", "https://b.example/x", None, None),
        (PlaceKind.SEARCH, "https://a.example/?q=1", "https://b.example/x", 1, False),
        (PlaceKind.FEED, "https://a.example/rss", "https://b.example/x", 1, False),
        (PlaceKind.DOMAIN, "a.example", "https://a.example/x", 1, True),
        (PlaceKind.PAGE, "https://a.example/", "https://shop.a.example/x", None, None),
        (PlaceKind.PAGE, "https://a.example/", "https://a.example/u/9/x", None, None),
    ],
)
def test_which_links_are_followed(
    kind: PlaceKind, url: str, link: str, depth: int | None, *, follow: bool | None
) -> None:
    scope = Scope(assignment(Place(kind, url), leave_alone=("shop.a.example", "https://a.example/u/9")))
    ((place, start),) = scope.starts()
    listing = kind is PlaceKind.FEED
    task = replace(task_of_none(), url=start.url, kind=start.kind, follow=True, place=place)
    found = scope.follow(task, Link(link, Kind.PAGE), start.url)
    assert listing is (start.kind is Kind.FEED)
    assert (found.depth, found.follow) == (depth, follow) if found is not None else depth is None


def test_frames_are_read_wherever_they_lie_and_lead_nowhere() -> None:
    scope = Scope(assignment(Place(PlaceKind.PAGE, "https://a.example/"), depth=0))
    task = replace(task_of_none(), url="https://a.example/", kind=Kind.PAGE, follow=True)
    frame = scope.follow(task, Link("https://p.example/e", Kind.FRAME), task.url)
    assert frame == Found("https://p.example/e", Kind.FRAME, 0, follow=False)
    inner = replace(task, url=frame.url, kind=Kind.FRAME, follow=False)
    assert scope.follow(inner, Link("https://q.example/e", Kind.FRAME), frame.url) is None
    assert scope.follow(task, Link("https://a.example/x", Kind.PAGE), task.url) is None
    assert scope.follow(task, Link("https://a.example/?p=2", Kind.PAGE, following=True), task.url) is not None


def test_a_folder_s_places_say_their_kinds() -> None:
    made = folder_assignment(
        ["https://a.example/?x=1", "feed=https://a.example/rss", "domain=b.example"], max_depth=1, max_pages=9
    )
    assert [(place.kind, place.url) for place in made.places] == [
        (PlaceKind.PAGE, "https://a.example/?x=1"),
        (PlaceKind.FEED, "https://a.example/rss"),
        (PlaceKind.DOMAIN, "b.example"),
    ]
    with pytest.raises(ValueError, match="no place"):
        folder_assignment(["a.example"], max_depth=1, max_pages=9)


class Service:
    """The other side, which fails as told before it takes anything."""

    def __init__(self, *failures: errors.CopyhoundError) -> None:
        self.failures = list(failures)
        self.taken: list[UUID] = []
        self.seen: list[SeenAgain] = []
        self.unknown: tuple[SeenAgain, ...] = ()
        self.states: list[RunState] = []
        self.cancelled = False

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def lease_run(self, run: str = "") -> Assignment | None:
        del run
        return None

    async def report_progress(
        self, run: str, progress: Progress, *, state: RunState = RunState.RUNNING, message: str = ""
    ) -> Lease:
        del run, progress, message
        self._fail()
        self.states.append(state)
        return Lease(self.cancelled, datetime.now(UTC))

    async def report_sightings(self, run: str, sightings: Sequence[SeenAgain]) -> tuple[SeenAgain, ...]:
        del run
        self._fail()
        self.seen += sightings
        return self.unknown

    async def ingest_capture(self, header: CaptureHeader, warc: Path) -> Ingested:
        self._fail()
        assert warc.read_bytes() == b"capture"  # noqa: ASYNC240  a few bytes
        self.taken.append(header.capture_id)
        return Ingested("captures/x", already_present=False, content_known=False)

    async def close(self) -> None:
        """Nothing is open."""


Deliver = Callable[[Service], tuple[Delivery, Session, Path]]


@pytest.fixture
def deliver(frontier: Frontier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deliver:
    """A delivery with one capture and one sighting in its outbox."""
    monkeypatch.setattr("crawler.delivery._FIRST_PAUSE", 0.001)

    def make(service: Service) -> tuple[Delivery, Session, Path]:
        spool = Spool(tmp_path / "spool", min_free_mb=0)
        settings = CrawlerSettings(data=tmp_path, contact="a@b.example", allow_address=())
        session = Session(
            settings,
            assignment(Place(PlaceKind.MEDIA, "https://a.example/x.png")),
            frontier,
            spool,
            crawler="me",
        )
        task = task_of(session.run)
        outcome = captured(task)
        assert outcome.header is not None
        spool.draft(outcome.header.capture_id, lambda file: file.write(b"cap"))
        spool.commit(outcome.header.capture_id, b"ture")
        outcome.seen = SeenAgain(b"c" * 32, task.url, datetime.now(UTC), "https://a.example/")
        session.run.finish(task, outcome)
        delivery = Delivery(service, frontier, spool, session, longest_pause=0.002)
        delivery.crawled.set()
        return delivery, session, spool.path(outcome.header.capture_id)

    return make


async def test_a_service_that_is_away_is_waited_for(deliver: Deliver, frontier: Frontier) -> None:
    service = Service(*[errors.ServerUnreachableError("away")] * 5, errors.StorageFullError("full"))
    delivery, session, path = deliver(service)
    await delivery.run()
    assert len(service.taken) == 1
    assert len(service.seen) == 1
    assert not path.exists()
    assert frontier.waiting_captures() == []
    assert frontier.spooled_bytes == 0
    assert not session.stopped


async def test_nothing_leaves_the_spool_before_it_was_taken(
    deliver: Deliver, frontier: Frontier, tmp_path: Path
) -> None:
    service = Service(*[errors.ServerUnreachableError("away")] * 100_000)
    delivery, _, path = deliver(service)
    carrying = asyncio.create_task(delivery.run())
    for _ in range(1_000_000):
        if delivery.away:
            break
        await asyncio.sleep(0)
    carrying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await carrying
    assert path.exists()
    (waiting,) = frontier.waiting_captures()
    again = Frontier(tmp_path / "crawl.db")
    assert again.spooled_bytes == frontier.spooled_bytes == waiting.byte_count > 0
    again.close()
    assert frontier.drop_run("nobody's") == []
    assert frontier.spooled_bytes == waiting.byte_count
    assert waiting.content_ranges == ((3, 7),)
    assert waiting.captured_at == datetime(2026, 11, 22, tzinfo=UTC)


async def test_what_will_never_be_taken_is_set_aside(deliver: Deliver, tmp_path: Path) -> None:
    delivery, session, path = deliver(Service(errors.InvalidRequestError("its digest does not fit")))
    await delivery.run()
    assert not path.exists()
    assert (tmp_path / "refused" / path.name).read_bytes() == b"capture"
    assert not session.stopped


async def test_a_revoked_key_stops_the_crawl_and_keeps_everything(
    deliver: Deliver, frontier: Frontier
) -> None:
    delivery, session, path = deliver(Service(errors.ForbiddenError("the key was revoked")))
    await delivery.run()
    assert session.failure == "the key was revoked"
    assert path.exists()
    assert len(frontier.waiting_captures()) == 1


class Away(Service):
    """A service that never answers."""

    async def lease_run(self, run: str = "") -> Assignment | None:
        await asyncio.Event().wait()
        return await super().lease_run(run)


async def test_a_crawler_that_waits_for_runs_stops_at_once(tmp_path: Path) -> None:
    settings = CrawlerSettings(data=tmp_path, contact="a@b.example")
    process = CrawlerProcess(settings)
    with pytest.raises(CrawlError, match="another crawler works in"):
        CrawlerProcess(settings)
    waiting = asyncio.create_task(process.run_forever(Away()))
    await asyncio.sleep(0)
    process.stop()
    await waiting
    name = process.name
    process.close()
    again = CrawlerProcess(settings)
    assert again.name == name
    again.close()


async def test_a_lost_lease_ends_the_run(deliver: Deliver, frontier: Frontier) -> None:
    service = Service(errors.LeaseLostError("another crawler has it"))
    delivery, session, path = deliver(service)
    await delivery.run()
    assert session.stopped
    assert not path.exists()
    assert service.seen == []
    assert frontier.waiting_sightings(10) == []


async def test_a_cancelled_run_ends(deliver: Deliver) -> None:
    service = Service()
    service.cancelled = True
    delivery, session, _ = deliver(service)
    assert not await delivery.report(RunState.RUNNING)
    assert session.stopped


async def test_contents_that_the_service_lost_are_captured_again(
    deliver: Deliver, frontier: Frontier
) -> None:
    service = Service()
    delivery, session, _ = deliver(service)
    content = hashlib.sha256(b"content").digest()
    assert session.run.captured(content) == 1
    service.unknown = (SeenAgain(content, "https://a.example/x.png", datetime.now(UTC)),)
    await delivery.run()
    assert session.run.captured(content) == 0
    again = opened(frontier, picture("https://a.example/x.png"), run=f"{LIST}/runs/{UUID(int=5)}")
    assert (task_of(again).etag, task_of_none().sha256) == ("", None)


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", min_free_mb=0)
    kept, lost = uuid4(), uuid4()
    for capture in (kept, lost):
        spool.draft(capture, lambda file: file.write(b"x"))
        spool.commit(capture)
    spool.draft(uuid4(), lambda file: file.write(b"x"))
    spool.sweep(lambda capture: capture == str(kept))
    assert list((tmp_path / "spool").iterdir()) == [spool.path(kept)]
