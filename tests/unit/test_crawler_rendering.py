"""What a page may ask for, what rendering brings, what is kept of it, and what the spider makes of it."""

import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response

from copyhound.evidence import verify
from crawler.exchanges import EXCHANGE, KEPT, Exchange
from crawler.extract import Kind, extract
from crawler.frontier import Found, Frontier, HostBudget, Outcome, State
from crawler.handover import folder_assignment
from crawler.kept import REUSE, KeptAnswers
from crawler.rendering import (
    BrowserError,
    Fetched,
    Given,
    Load,
    LoadLimits,
    PageLoads,
    RefusedLoadError,
    Rendered,
    RenderError,
    Rendering,
    Screenshot,
    Visit,
    Wanted,
    added,
    is_scripted,
)
from crawler.run import CrawlError, open_browser
from crawler.session import Session
from crawler.settings import CrawlerSettings
from crawler.spider import CrawlSpider
from crawler.spool import Spool

SITE = "https://site.example"
PICTURE = b"\x89PNG\r\n\x1a\n" + b"x" * 200
NOW = datetime(2026, 11, 23, tzinfo=UTC)


# What a page may ask for


class Fetcher:
    """Fetches a hundred bytes of everything."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bool, int]] = []

    async def __call__(
        self, url: str, method: str, headers: Mapping[str, str], reuse: bool, limit: int
    ) -> Fetched:
        self.asked.append((url, method, dict(headers), reuse, limit))
        answer = {"content-type": "text/plain", "set-cookie": "a=b", "content-encoding": "br", "link": "</x>"}
        return Fetched(Given(url, 200, answer, b"x" * 100), {"site.example": 100})


def loads(fetch: Fetcher, *, requests: int = 10, size: int = 1000, refused: str = "") -> PageLoads:
    limits = LoadLimits(requests, size)
    return PageLoads(
        f"{SITE}/page", limits, refusal=lambda url: "left alone" if url == refused else "", fetch=fetch
    )


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Wanted(f"{SITE}/x", "POST"), "POST would change something"),
        (Wanted(f"{SITE}/x", "DELETE"), "DELETE would change something"),
        (Wanted(f"{SITE}/x", kind="font"), "a page's font is not fetched for it"),
        (Wanted(f"{SITE}/x", kind="media"), "a page's media is not fetched for it"),
        (Wanted("wss://site.example/x", kind="websocket"), "a page's websocket is not fetched for it"),
        (Wanted(f"{SITE}/x", headers={"authorization": "Bearer x"}), "the crawler has no account"),
        (Wanted("https://user:secret@site.example/x"), "it is nothing that the crawler fetches"),
        (Wanted("ftp://site.example/x"), "it is nothing that the crawler fetches"),
        (Wanted(f"{SITE}/alone"), "left alone"),
    ],
)
async def test_what_a_page_does_not_get(wanted: Wanted, reason: str) -> None:
    fetch = Fetcher()
    page = loads(fetch, refused=f"{SITE}/alone")
    with pytest.raises(RefusedLoadError, match=reason):
        await page.load(wanted)
    assert fetch.asked == []
    assert page.log == [Load(wanted.url, wanted.kind, reason=reason)]


async def test_what_a_page_gets_and_tells() -> None:
    fetch = Fetcher()
    page = loads(fetch)
    said = {"accept": "application/json", "cookie": "a=b", "x-key": "1", "user-agent": "Chrome"}
    given = await page.load(Wanted(f"{SITE}/api", headers=said))
    assert given.headers == {"content-type": "text/plain"}
    await page.load(Wanted("https://api.example/x", headers=said))
    await page.load(Wanted(f"{SITE}/a.png", kind="image", headers=said))
    assert [(headers, reuse) for _, _, headers, reuse, _ in fetch.asked] == [
        ({"Accept": "application/json", "x-key": "1", "Referer": f"{SITE}/page"}, False),
        ({"Accept": "application/json", "Origin": SITE}, False),
        ({"Referer": f"{SITE}/page"}, True),
    ]
    assert [load.status for load in page.log] == [200, 200, 200]
    assert page.log[0].size == 100
    assert len(page.log[0].sha256) == 64


async def test_requests_and_bytes_of_a_page_are_limited() -> None:
    fetch = Fetcher()
    page = loads(fetch, requests=3, size=150)
    await page.load(Wanted(f"{SITE}/1"))
    await page.load(Wanted(f"{SITE}/2"))
    with pytest.raises(RefusedLoadError, match="bytes are used up"):
        await page.load(Wanted(f"{SITE}/3"))
    with pytest.raises(RefusedLoadError, match="more than a page may"):
        await page.load(Wanted(f"{SITE}/4"))
    assert [limit for *_, limit in fetch.asked] == [150, 50]
    assert page.received == {"site.example": 200}
    assert len(page.log) == 3


# What rendering brings


def test_what_rendering_adds() -> None:
    sent = extract(b'<img src="/a.png"><a href="/one">x</a>', f"{SITE}/")
    shown = extract(
        b'<img src="/a.png"><img src="/b.png" alt="B"><img src="/pixel.gif"><img src="/gone.png">'
        b'<img srcset="/small.png 1x, /large.png 2x"><a href="/one">x</a><a href="/two">y</a>',
        f"{SITE}/",
    )
    log = [
        Load(f"{SITE}/b.png", "image", 200, "0", 500),
        Load(f"{SITE}/pixel.gif", "image", 200, "0", 43),
        Load(f"{SITE}/gone.png", "image", 404, "0", 500),
        Load(f"{SITE}/small.png", "image", 200, "0", 500),
        Load(f"{SITE}/drawn", "image", 200, "0", 500),
        Load(f"{SITE}/known.png", "image", 304, reason="it has not changed"),
        Load(f"{SITE}/refused.png", "image", reason="robots.txt forbids it"),
        Load(f"{SITE}/film", "media", reason="a page's media is not fetched for it"),
        Load(f"{SITE}/live.m3u8", "xhr", 200, "0", 500),
        Load(f"{SITE}/icon.svg", "image", 200, "0", 500),
        Load(f"{SITE}/api", "fetch", 200, "0", 500),
    ]
    more = added(sent, shown, log, [f"{SITE}/away", "about:blank", f"{SITE}/one"])
    assert [(m.url.removeprefix(SITE), m.found_as, m.kind) for m in more.media] == [
        ("/b.png", "rendered img", Kind.MEDIA),
        ("/large.png", "rendered img[srcset]", Kind.MEDIA),
        ("/drawn", "rendered request", Kind.MEDIA),
        ("/known.png", "rendered request", Kind.MEDIA),
        ("/film", "rendered request", Kind.MEDIA),
        ("/live.m3u8", "rendered request", Kind.PLAYLIST),
    ]
    assert more.media[0].context == "B"
    assert [(link.url, link.following) for link in more.links] == [
        (f"{SITE}/two", False),
        (f"{SITE}/away", True),
    ]


@pytest.mark.parametrize(
    ("html", "scripted"),
    [
        ('<div id="app"></div><script src="/app.js"></script>', True),
        (
            '<meta property="og:image" content="/a.png"><script>render()</script><noscript>Scripts!</noscript>',
            True,
        ),
        ('<div id="app"></div><script type="application/ld+json">{}</script>', False),
        ("<p>A page.</p>", False),
        ("<p>" + "Words. " * 300 + "</p><script>count()</script>", False),
        ('<img src="/1.png"><img src="/2.png"><img src="/3.png"><script>count()</script>', False),
    ],
)
def test_which_pages_need_their_scripts(html: str, *, scripted: bool) -> None:
    assert is_scripted(extract(html.encode(), SITE)) is scripted


def rendered(dom: bytes = b"<p>", *, shot: bool = True) -> Rendered:
    return Rendered(
        dom,
        Screenshot(b"\xff\xd8\xffpicture", 1280, 900, whole=True) if shot else None,
        NOW,
        (1280, 800),
        "B/1",
    )


@pytest.mark.parametrize("shot", [True, False])
@pytest.mark.parametrize("dom", [b"", "<p>作品</p>".encode()])
def test_packed_renderings_come_back(dom: bytes, *, shot: bool) -> None:
    before = Rendering(
        SITE, rendered(dom, shot=shot), (Load(SITE, "script", 200, "00", 5), Load("x", "image", reason="no"))
    )
    assert Rendering.unpack(before.pack()) == before


def test_large_documents_are_not_kept() -> None:
    before = Rendering(SITE, rendered(b"x" * 600_000), ())
    assert Rendering.unpack(before.pack()).rendered == replace(before.rendered, dom=b"")


# Answers that are kept


def answer(request: Request, body: bytes = PICTURE, status: int = 200) -> Response:
    request.meta[EXCHANGE] = Exchange(request.url, NOW, b"", NOW, b"", body, status)
    return Response(request.url, status=status, body=body)


def asking(path: str, headers: dict[str, str] | None = None, **meta: object) -> Request:
    return Request(SITE + path, headers=headers, meta={REUSE: True, **meta})


def test_kept_answers_answer_once_more() -> None:
    kept = KeptAnswers(limit=10_000)
    first = asking("/a.png")
    assert kept.process_request(first) is None
    kept.process_response(first, answer(first))
    second = asking("/a.png", {"If-None-Match": '"x"'})
    again = kept.process_request(second)
    assert again is not None
    assert (again.body, again.flags) == (PICTURE, [KEPT])
    assert second.meta[EXCHANGE] is first.meta[EXCHANGE]
    assert kept.process_request(Request(SITE + "/a.png")) is None
    assert kept.process_request(asking("/a.png", {"Range": "bytes=0-5"})) is None
    assert kept.process_request(asking("/a.png", download_maxsize=10)) is None


def test_what_did_not_change_is_only_said_to_who_asked_the_same() -> None:
    kept = KeptAnswers(limit=10_000)
    first = asking("/a.png", {"If-None-Match": '"x"'})
    kept.process_response(first, answer(first, b"", 304))
    assert kept.process_request(asking("/a.png")) is None
    assert kept.process_request(asking("/a.png", {"If-None-Match": '"y"'})) is None
    again = kept.process_request(asking("/a.png", {"If-None-Match": '"x"'}))
    assert again is not None
    assert again.status == 304


def test_kept_answers_are_bounded_and_only_good_ones() -> None:
    kept = KeptAnswers(limit=3 * (len(PICTURE) + 1024))
    for number in range(4):
        request = asking(f"/{number}.png")
        kept.process_response(request, answer(request))
        kept.process_request(asking("/0.png"))
    assert [kept.process_request(asking(f"/{n}.png")) is not None for n in range(4)] == [
        True,
        False,
        True,
        True,
    ]
    for status, meta in ((404, {}), (503, {}), (200, {"copyhound_exempt": True})):
        request = asking("/x", None, **meta)
        kept.process_response(request, answer(request, status=status))
        assert kept.process_request(asking("/x")) is None


# The frontier

PLENTY = HostBudget(10**6, 10**12, 10**6)


@pytest.fixture
def frontier(tmp_path: Path) -> Iterator[Frontier]:
    opened = Frontier(tmp_path / "crawl.db")
    yield opened
    opened.close()


def medium(path: str) -> Found:
    return Found(SITE + path, Kind.MEDIA, 0, follow=False, found_as="rendered img")


def test_how_a_page_looks_is_kept_until_its_media_are_done(frontier: Frontier) -> None:
    run = frontier.open_run("lists/a/runs/b", "lists/a", 10)
    run.add([(0, Found(SITE + "/", Kind.PAGE, 0, follow=True))])
    page = run.next_task(per_host=1, budget=PLENTY)
    assert page is not None
    child = Found(SITE + "/child", Kind.PAGE, 1, follow=True)
    found = [medium("/1.png"), medium("/2.png"), child]
    spent = {"cdn.example": 70}
    run.finish(page, Outcome(page=True, found=found, rendering=b"how", received=30, elsewhere=spent))
    assert run.progress().bytes == 100
    assert run.spent("cdn.example", HostBudget(1, 70, 10**6)) == "the host's budget of bytes is used up"
    assert not run.spent("cdn.example", HostBudget(1, 71, 10**6))
    for left in (True, False):
        task = run.next_task(per_host=1, budget=PLENTY)
        assert task is not None
        assert run.rendering(task.parent) == b"how"
        run.finish(task, Outcome(sha256=b"x" * 32, etag='"x"'))
        assert (run.rendering(page.id) is not None) is left
    assert run.validators(SITE + "/1.png") == ("", "")
    assert frontier.open_run("lists/a/runs/c", "lists/a", 10).validators(SITE + "/1.png") == ('"x"', "")


def test_few_pages_wait_for_the_browser(frontier: Frontier) -> None:
    run = frontier.open_run("lists/a/runs/b", "lists/a", 10)
    run.add((0, Found(f"https://{n}.example/", Kind.PAGE, 0, follow=True)) for n in range(5))
    assert run.next_task(per_host=1, budget=PLENTY, pages=1) is not None
    assert run.next_task(per_host=1, budget=PLENTY, pages=1) is None
    assert run.next_task(per_host=1, budget=PLENTY, pages=2) is not None


def test_a_database_of_the_version_before_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "crawl.db"
    Frontier(path).close()
    with sqlite3.connect(path) as db:
        db.executescript(
            "DROP TABLE rendering; DROP INDEX waiting_of; ALTER TABLE url DROP COLUMN uploader;"
            " PRAGMA user_version=1"
        )
    db.close()
    opened = Frontier(path)
    assert opened.open_run("lists/a/runs/b", "lists/a", 10).rendering(1) is None
    opened.close()


# The spider


@dataclass(slots=True)
class FakeBrowser:
    """Shows what it is told to.

    Attributes:
        show: From a visit to what the page looks like; may raise.
        asks: What pages ask for.
    """

    show: Callable[[Visit], bytes]
    asks: tuple[Wanted, ...] = ()
    visits: list[Visit] = field(default_factory=list)

    async def render(self, visit: Visit) -> Rendered:
        self.visits.append(visit)
        for wanted in self.asks:
            await visit.load(wanted)
        return rendered(self.show(visit))

    async def close(self) -> None:
        """Nothing is open."""


class Engine:
    """Scrapy's engine, before which the whole web consists of pictures."""

    async def download_async(self, request: Request) -> Response:
        response = answer(request)
        response.request = request
        return response


@dataclass(frozen=True, slots=True)
class Crawl:
    """A spider on two pages, and what it left."""

    session: Session
    spider: CrawlSpider
    spool: Spool
    db: Path

    async def fetch(self, body: bytes) -> None:
        """Let the next task be answered."""
        task = self.session.next_task()
        assert task is not None
        request = self.spider._request(task, task.url)
        response = answer(request, body).replace(headers={"Content-Type": "text/html", "ETag": '"p"'})
        response.request = request
        await self.spider.arrived(response)

    def rows(self) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.db) as db:
            found = db.execute("SELECT url, state, reason, found_as, etag FROM url ORDER BY id").fetchall()
        db.close()
        return [(url.removeprefix(SITE), *rest) for url, *rest in found]


@pytest.fixture
def crawl_with(tmp_path: Path, frontier: Frontier) -> Callable[..., Crawl]:
    def make(browser: FakeBrowser, **settings: Any) -> Crawl:
        chosen = CrawlerSettings(data=tmp_path, contact="a@b.example", browser=Path("chromium"), **settings)
        spool = Spool(tmp_path / "spool", min_free_mb=0)
        places = [f"{SITE}/1", f"{SITE}/2"]
        session = Session(
            chosen, folder_assignment(places, max_depth=1, max_pages=9), frontier, spool, crawler="me"
        )
        spider = CrawlSpider(session, browser)
        spider.crawler = SimpleNamespace(engine=Engine(), settings={"USER_AGENT": "Copyhound"})  # type: ignore[assignment]
        return Crawl(session, spider, spool, tmp_path / "crawl.db")

    return make


SHELL = b'<!doctype html><div id="app"></div><script src="/app.js"></script>'
WORDS = b"<!doctype html><p>" + b"Words. " * 300


async def test_what_is_shown_counts(crawl_with: Callable[..., Crawl]) -> None:
    browser = FakeBrowser(
        lambda _: b'<img src="/a.png"><a href="/next">x</a>', (Wanted(f"{SITE}/a.png", kind="image"),)
    )
    crawl = crawl_with(browser)
    await crawl.fetch(SHELL)
    assert crawl.rows()[0] == (
        "/1",
        State.DONE,
        "",
        "page",
        "",
    )  # what was sent says nothing of what is shown
    assert crawl.rows()[2:] == [
        ("/a.png", State.WAITING, "", "rendered img", ""),
        ("/next", State.WAITING, "", "", ""),
    ]
    assert crawl.session.run.progress().bytes == len(SHELL) + len(PICTURE)
    assert browser.visits[0].answer.body == SHELL
    assert "etag" in browser.visits[0].answer.headers


async def test_one_shell_may_be_many_pages(crawl_with: Callable[..., Crawl]) -> None:
    crawl = crawl_with(FakeBrowser(lambda visit: b'<img src="%s.png">' % visit.answer.url.encode()))
    await crawl.fetch(SHELL)
    await crawl.fetch(SHELL)
    assert [row[0] for row in crawl.rows()] == ["/1", "/2", "/1.png", "/2.png"]


async def test_pages_that_look_alike_count_once(crawl_with: Callable[..., Crawl]) -> None:
    crawl = crawl_with(FakeBrowser(lambda _: b'<img src="/a.png">'))
    await crawl.fetch(SHELL)
    await crawl.fetch(SHELL + b"<!-- another -->")
    assert crawl.rows()[1][2] == "another URL brought the very same page"


async def test_pages_whose_scripts_add_nothing_keep_their_validators(
    crawl_with: Callable[..., Crawl],
) -> None:
    browser = FakeBrowser(lambda _: WORDS)
    crawl = crawl_with(browser)
    await crawl.fetch(WORDS)
    assert crawl.rows()[0][4] == '"p"'
    assert len(browser.visits) == 1
    await crawl.fetch(WORDS)
    assert len(browser.visits) == 1


async def test_only_scripted_pages_if_told_so(crawl_with: Callable[..., Crawl]) -> None:
    browser = FakeBrowser(lambda _: b"<p>")
    crawl = crawl_with(browser, browser_for="scripted")
    await crawl.fetch(WORDS)
    assert browser.visits == []
    await crawl.fetch(SHELL)
    assert len(browser.visits) == 1


def fails(error: Exception) -> Callable[[Visit], bytes]:
    def show(_: Visit) -> bytes:
        raise error

    return show


async def test_a_page_that_cannot_be_rendered_counts_as_sent(crawl_with: Callable[..., Crawl]) -> None:
    crawl = crawl_with(FakeBrowser(fails(RenderError("it does not come to rest"))))
    await crawl.fetch(SHELL + b'<img src="/sent.png">')
    assert crawl.rows()[0][1:3] == (State.DONE, "not rendered: it does not come to rest")
    assert crawl.rows()[2][0] == "/sent.png"


async def test_a_page_waits_again_when_the_crawl_stops(crawl_with: Callable[..., Crawl]) -> None:
    crawl = crawl_with(FakeBrowser(fails(RenderError("the browser is closed"))))
    crawl.session.stopped = "stopped"
    task = crawl.session.run.next_task(per_host=1, budget=PLENTY)
    assert task is not None
    request = crawl.spider._request(task, task.url)
    response = answer(request, SHELL)
    response.request = request
    await crawl.spider.arrived(response)
    assert [row[1] for row in crawl.rows()] == [State.WAITING, State.WAITING]
    assert crawl.session.run.active == 0


async def test_a_browser_that_does_not_start_stops_the_crawl(crawl_with: Callable[..., Crawl]) -> None:
    crawl = crawl_with(FakeBrowser(fails(BrowserError("chromium does not start"))))
    await crawl.fetch(SHELL)
    assert crawl.session.failure == "chromium does not start"
    assert crawl.rows()[0][1] == State.WAITING


async def test_captured_pages_are_what_scripts_made_of_them(crawl_with: Callable[..., Crawl]) -> None:
    crawl = crawl_with(FakeBrowser(lambda _: b"<p>The text</p>" * 10), capture_pages=True)
    await crawl.fetch(SHELL)
    (path,) = (crawl.spool.path(h.capture_id) for h in crawl.session._frontier.waiting_captures())
    verified = verify(path)
    assert verified.findings == ()
    assert verified.manifest["screenshot"]["software"] == "B/1"
    assert "dom" not in verified.manifest
    ((start, length),) = verified.manifest["content"]["ranges"]
    assert path.read_bytes()[start : start + length] == b"<p>The text</p>" * 10


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CrawlerSettings(data=tmp_path, contact="a@b.example")
    assert open_browser(settings) is None
    monkeypatch.delitem(sys.modules, "crawler.chromium", raising=False)
    monkeypatch.setitem(sys.modules, "playwright.async_api", None)
    with pytest.raises(CrawlError, match=r"copyhound\[browser\]"):
        open_browser(settings.model_copy(update={"browser": Path("chromium")}))
