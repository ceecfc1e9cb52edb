"""The spider: takes tasks from the frontier, reads what comes back, and writes down what became of them."""

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

from scrapy import Request, Spider
from scrapy.core.scheduler import BaseScheduler
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadCancelledError, IgnoreRequest
from scrapy.http import Response
from twisted.python.failure import Failure

from crawler import urls
from crawler.capture import RobotsVerdict
from crawler.exchanges import KEPT, Exchange, exchange_of, packed
from crawler.extract import Kind, Medium, Page, decoded, extract, kind_of_type, style_media
from crawler.feeds import FeedError, read_feed
from crawler.frontier import Found, Outcome, State, Task
from crawler.guard import refusal_in
from crawler.kept import REUSE
from crawler.playlists import Piece, Plan, PlaylistError, read_playlist
from crawler.rendering import (
    Browser,
    BrowserError,
    Fetched,
    Given,
    LoadLimits,
    PageLoads,
    RefusedLoadError,
    RenderError,
    Rendering,
    Visit,
    added,
    is_scripted,
    told,
)
from crawler.robots import SITEMAPS, VERDICT, DisallowedError, RobotsUnreachableError
from crawler.session import Session
from crawler.spool import FULL, DiskFullError, is_full

logger = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_PASSING: Final = frozenset((408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524))
"""Statuses of troubles that may pass."""
_MIN_MEDIUM: Final = 100
"""Bytes below which nothing can be a copy of anything: counting pixels."""
_MAX_KEPT_PAGE: Final = 2 * _MIB
"""Largest page that is kept for the captures of what it names, in bytes."""
_MAX_PLAYLISTS: Final = 3
"""Most playlists that lead to each other."""
_TASK: Final = "copyhound_task"
_HTML_STARTS: Final = (b"<!doctype html", b"<html", b"<head", b"<body")
_MEDIA_STARTS: Final = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"%PDF-",
    b"PK\x03\x04",
    b"7z\xbc\xaf\x27\x1c",
    b"ID3",
    b"OggS",
    b"fLaC",
    b"\x1aE\xdf\xa3",
    b"II*\x00",
    b"MM\x00*",
)


class _StoppingError(Exception):
    """The crawl stops before a page was rendered, which waits again."""


class _RedirectError(Exception):
    """A chain of redirects leads nowhere, or where nothing may be fetched."""

    def __init__(self, reason: str, *, refused: bool) -> None:
        super().__init__(reason)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class _Arrived:
    """An answer after its redirects."""

    response: Response
    hops: tuple[Exchange, ...]
    exchange: Exchange
    kept: bool = False

    @property
    def content_type(self) -> str:
        return _header(self.response, "Content-Type")

    @property
    def received(self) -> int:
        """Bytes over the wire; what was fetched earlier in the run was counted then."""
        return 0 if self.kept else sum(len(hop.body) for hop in (*self.hops, self.exchange))

    @property
    def robots(self) -> RobotsVerdict:
        request = self.response.request
        return request.meta.get(VERDICT, RobotsVerdict()) if request is not None else RobotsVerdict()


class FrontierScheduler(BaseScheduler):
    """Scrapy's scheduler, over the frontier of a session."""

    def __init__(self) -> None:
        """Wait for the spider."""
        self._spider: CrawlSpider | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:  # noqa: ARG003  Scrapy's interface
        """Need nothing of the crawler."""
        return cls()

    def open(self, spider: Spider) -> None:
        """Take requests from this spider."""
        if not isinstance(spider, CrawlSpider):
            raise TypeError("only CrawlSpider has a frontier")
        self._spider = spider

    def has_pending_requests(self) -> bool:
        """Whether anything waits, or is under way."""
        return self._spider is not None and self._spider.session.pending()

    def enqueue_request(self, request: Request) -> bool:  # noqa: ARG002  Scrapy's interface
        """Refuse: everything goes through the frontier."""
        return False

    def next_request(self) -> Request | None:
        """Return the next request; None: none now."""
        return self._spider.next_request() if self._spider is not None else None


class CrawlSpider(Spider):
    """Works on one run."""

    name = "copyhound"

    def __init__(self, session: Session, browser: Browser | None = None, **kwargs: Any) -> None:
        """Work on a session; with a browser, pages are rendered."""
        super().__init__(**kwargs)
        self.session = session
        self._settings = session.settings
        self._browser = browser
        self._rendering = asyncio.Semaphore(session.settings.browser_pages)

    async def start(self) -> AsyncIterator[Any]:
        """Yield nothing: the scheduler has everything."""
        nothing: tuple[Request, ...] = ()
        for request in nothing:
            yield request

    def next_request(self) -> Request | None:
        """Return a request for the frontier's next task; None: none now."""
        try:
            while (task := self.session.next_task()) is not None:
                reason = self._not_worth_it(task)
                if not reason:
                    return self._request(task, task.url)
                self.session.finish(task, Outcome(state=State.LEFT_OUT, reason=reason, cause="trap"))
        except sqlite3.Error as error:
            self._broken(error)
        return None

    def _not_worth_it(self, task: Task) -> str:
        """Say why a page is left out that looked well when it was found; empty: it is not."""
        if task.kind is Kind.PAGE and self.session.run.barren(task.url) >= self._settings.barren_pages:
            return "pages of its shape bring nothing new"
        return ""

    def _request(self, task: Task, url: str, *, piece: Piece | None = None) -> Request:
        headers = {}
        # After redirects too: validators are those of the last answer.
        if piece is None and task.etag:
            headers["If-None-Match"] = task.etag
        if piece is None and task.modified:
            headers["If-Modified-Since"] = task.modified
        if task.page_url and urls.host_of(task.page_url) == urls.host_of(url):
            headers["Referer"] = task.page_url
        media = task.kind in (Kind.MEDIA, Kind.PLAYLIST)
        limit = self._settings.max_media_mb if media else self._settings.max_page_mb
        if piece is not None:
            limit = self._settings.max_stream_mb
            if piece.first is not None:
                headers["Range"] = f"bytes={piece.first}-{piece.first + piece.length - 1}"
        return Request(
            url,
            callback=self.arrived,
            errback=self.failed,
            headers=headers,
            dont_filter=True,
            meta={
                _TASK: task,
                "download_slot": urls.host_of(url),
                "download_maxsize": int(limit * _MIB),
                REUSE: task.kind is not Kind.PAGE and piece is None,
            },
        )

    # What Scrapy calls

    async def arrived(self, response: Response) -> None:
        """Read an answer."""
        request = response.request
        if request is None:
            raise RuntimeError("an answer without a request")
        task: Task = request.meta[_TASK]
        outcome = Outcome()
        try:
            await self._read(task, response, outcome)
        except (OSError, sqlite3.Error, DiskFullError, BrowserError) as error:
            self._broken(error)
            self.session.run.release(task)
            return
        except _StoppingError:
            self.session.run.release(task)
            return
        except Exception as error:  # noqa: BLE001  a hostile page must not end the crawl
            self._explain(task, outcome, error)
        self._finish(task, outcome)

    async def failed(self, failure: Failure) -> None:
        """Write down why there is no answer."""
        request: Request = failure.request  # type: ignore[attr-defined]
        task: Task = request.meta[_TASK]
        outcome = Outcome()
        error = failure.value
        if isinstance(error, Exception):
            self._explain(task, outcome, error)
        self._finish(task, outcome)

    def _finish(self, task: Task, outcome: Outcome) -> None:
        try:
            self.session.finish(task, outcome)
        except sqlite3.Error as error:
            self._broken(error)
            self.session.run.release(task)
        if outcome.state is State.WAITING:
            asyncio.get_running_loop().call_later(max(0.0, outcome.due - time.time()) + 0.01, self._wake)

    def _wake(self) -> None:
        """Let Scrapy ask for requests now; by itself it does when an answer comes, and every five seconds."""
        slot = getattr(self.crawler.engine, "_slot", None)
        if slot is not None:
            slot.nextcall.schedule()

    def _broken(self, error: Exception) -> None:
        """Stop: what the crawl writes to does not work."""
        self.session.fail(FULL if is_full(error) else str(error))

    def _explain(self, task: Task, outcome: Outcome, error: Exception) -> None:
        """Turn an error into an outcome."""
        cause = refusal_in(error)
        outcome.state = State.LEFT_OUT
        outcome.reason = urls.shown(str(error)) or type(error).__name__
        outcome.cause = _cause(error)
        if cause is not None:
            outcome.reason, outcome.cause = f"refused: {cause}", "address"
        elif isinstance(error, _RedirectError):
            outcome.state = State.LEFT_OUT if error.refused else State.FAILED
        elif isinstance(error, DownloadCancelledError):
            outcome.reason = "it is larger than the limit"
        elif isinstance(error, RobotsUnreachableError):
            self.session.retry(task, outcome)
            outcome.state = State.LEFT_OUT if outcome.state is State.FAILED else outcome.state
        elif not isinstance(error, DisallowedError | IgnoreRequest):
            outcome.reason = f"{type(error).__name__}: {outcome.reason}"
            self.session.retry(task, outcome)

    # Answers

    async def _read(self, task: Task, response: Response, outcome: Outcome) -> None:
        arrived = await self._after_redirects(task, response)
        outcome.received = arrived.received
        status = arrived.response.status
        if status == 304:
            self._unchanged(task, outcome, arrived)
            return
        if status in _PASSING:
            outcome.reason, outcome.cause = f"HTTP {status}", "status"
            self.session.retry(task, outcome, _retry_after(arrived.response))
            return
        if status not in (200, 203, 206):
            guessed = task.found_as == "guess"
            outcome.state, outcome.reason = State.LEFT_OUT if guessed else State.FAILED, f"HTTP {status}"
            outcome.cause = "guess" if guessed else "status"
            return
        outcome.etag = _header(arrived.response, "ETag")[:512]
        outcome.modified = _header(arrived.response, "Last-Modified")[:128]
        match self._kind(task, arrived):
            case Kind.PAGE | Kind.FRAME:
                await self._read_page(task, arrived, outcome)
            case Kind.FEED | Kind.SITEMAP:
                await self._read_feed(task, arrived, outcome)
            case Kind.STYLE:
                body = arrived.response.body
                outcome.sha256 = hashlib.sha256(body).digest()
                media = style_media(body, arrived.response.url, arrived.content_type)
                outcome.found = self._media(task, media)
            case Kind.PLAYLIST:
                await self._read_playlist(task, arrived, outcome)
            case _:
                await self._read_medium(task, arrived, outcome)

    def _kind(self, task: Task, arrived: _Arrived) -> Kind | None:
        """Return what an answer is: by its first bytes, by what was expected, by its declared type."""
        body = arrived.response.body
        start = body[:512].lstrip().lower()
        is_html = start.startswith(_HTML_STARTS) or (start.startswith(b"<?xml") and b"<html" in body[:2048])
        if body.startswith(_MEDIA_STARTS) or body[4:8] == b"ftyp" or body[:4] == b"RIFF":
            return Kind.MEDIA
        if body[:1024].lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"#EXTM3U"):
            return Kind.PLAYLIST
        declared = kind_of_type(arrived.content_type, arrived.response.url)
        if task.kind in (Kind.STYLE, Kind.PLAYLIST):
            return task.kind
        if task.kind in (Kind.FEED, Kind.SITEMAP):
            return Kind.PAGE if is_html and task.kind is Kind.FEED else task.kind
        if task.kind is Kind.MEDIA:
            if is_html or (declared is Kind.PAGE and arrived.content_type.startswith("text/html")):
                return Kind.PAGE if not task.page_url else None
            return declared if declared is Kind.PLAYLIST else Kind.MEDIA
        if is_html and declared is not Kind.FEED:
            return task.kind
        return task.kind if declared is Kind.PAGE else declared

    async def _after_redirects(self, task: Task, response: Response) -> _Arrived:
        """Follow the redirects of what a task asked for."""
        return await self._follow(response, lambda target: self._request(task, target))

    async def _follow(self, response: Response, request_for: Callable[[str], Request]) -> _Arrived:
        """Follow redirects, each under the same rules as its first request."""
        hops: list[Exchange] = []
        seen = {urls.canonical(response.url)}
        while response.status in _REDIRECTS and (location := response.headers.get("Location")):
            hops.append(exchange_of(response))
            target = urls.absolute(location.decode("utf-8", "replace"), response.url)
            if target is None:
                raise _RedirectError("it redirects to something that is no web address", refused=False)
            if len(hops) > self._settings.max_redirects:
                raise _RedirectError(
                    f"it redirects more than {self._settings.max_redirects} times", refused=False
                )
            if target in seen:
                raise _RedirectError("it redirects in a circle", refused=False)
            if reason := self.session.scope.refusal(target):
                raise _RedirectError(f"it redirects to {urls.shown(target)}: {reason}", refused=True)
            seen.add(target)
            response = await self._fetch(request_for(target))
        return _Arrived(response, tuple(hops), exchange_of(response), kept=KEPT in response.flags)

    async def _fetch(self, request: Request) -> Response:
        """Fetch something that belongs to a task under way."""
        engine = self.crawler.engine
        if engine is None:
            raise RuntimeError("the engine does not run")
        return await engine.download_async(request)

    def _unchanged(self, task: Task, outcome: Outcome, arrived: _Arrived) -> None:
        """Nothing changed since the last run: what the page named counts again, and so does a medium."""
        outcome.unchanged = True
        outcome.page = task.kind in (Kind.PAGE, Kind.FRAME)
        if task.kind in (Kind.MEDIA, Kind.PLAYLIST) and task.sha256 is not None:
            outcome.sha256 = task.sha256
            outcome.seen = self.session.seen(task, task.sha256, arrived.response.url, task.found_as)

    async def _read_page(self, task: Task, arrived: _Arrived, outcome: Outcome) -> None:
        outcome.page = True
        body = arrived.response.body
        outcome.sha256 = hashlib.sha256(body).digest()
        url = arrived.response.url
        page = extract(body, url, arrived.content_type)
        rendered = self._is_rendered(task, arrived, page)
        # One shell of scripts may stand for every page of a site.
        if self.session.run.known_page(outcome.sha256, task) and not (rendered and is_scripted(page)):
            outcome.reason = "another URL brought the very same page"
            return
        more, rendering = await self._render(task, arrived, page, outcome) if rendered else (None, None)
        if more is not None and self.session.run.known_page(outcome.sha256, task):
            outcome.reason = "another URL brought the very same page"
            return
        media = [*page.media, *(more.media if more else ())]
        outcome.title = page.title or (more.title if more else "")
        outcome.uploader = page.uploader or (more.uploader if more else "")
        outcome.found = self._media(task, media)
        if not self._is_variant(task, url, page.canonical):
            outcome.found += [
                found
                for link in (*page.links, *(more.links if more else ()))
                if (found := self.session.scope.follow(task, link, url)) is not None
            ]
            if task.found_as == "domain":
                outcome.found += self._sitemaps(task, arrived)
        if len(body) <= _MAX_KEPT_PAGE and media:
            outcome.exchange = packed(arrived.exchange)
        if rendering is not None and media:
            outcome.rendering = rendering.pack()
        if self._settings.capture_pages:
            dom = rendering.rendered.dom if rendering is not None and more is not None else b""
            await self._keep(task, outcome, arrived, "page", rendering=rendering, dom=dom)

    # Rendering

    def _is_rendered(self, task: Task, arrived: _Arrived, page: Page) -> bool:
        """Whether a page is shown to the browser. Frames are seen in the picture of the page around them."""
        declared = arrived.content_type.partition(";")[0].strip().lower()
        if self._browser is None or declared not in ("", "text/html", "application/xhtml+xml"):
            return False
        return is_scripted(page) or (self._settings.browser_for == "all" and task.kind is Kind.PAGE)

    async def _render(
        self, task: Task, arrived: _Arrived, page: Page, outcome: Outcome
    ) -> tuple[Page | None, Rendering | None]:
        """Render a page; returns what that brought (None: nothing new), and how it looks (None: it failed).

        Raises:
            BrowserError: If the browser does not start.
            _StoppingError: If the crawl stops.
        """
        if self._browser is None:
            return None, None
        url = arrived.response.url
        limits = LoadLimits(self._settings.browser_requests, int(self._settings.browser_mb * _MIB))
        loads = PageLoads(url, limits, refusal=self.session.refusal, fetch=self._fetch_for_page)
        visit = Visit(told(_given(arrived)), loads.load, self._settings.browser_seconds, self._agent)
        try:
            async with self._rendering:
                rendered = await self._browser.render(visit)
        except RenderError as error:
            if self.session.stopped:
                raise _StoppingError from error
            outcome.reason = f"not rendered: {error}"
            logger.info("%s is not rendered: %s", urls.shown(url), urls.shown(str(error)))
            return None, None
        finally:
            for host, size in loads.received.items():
                if host == task.host:
                    outcome.received += size
                else:
                    outcome.elsewhere[host] = size
        for load in loads.log:
            if load.reason:
                logger.info("%s asks for %s: %s", urls.shown(url), urls.shown(load.url), load.reason)
        more = None
        if rendered.dom:
            shown = await asyncio.to_thread(extract, rendered.dom, url, "text/html; charset=utf-8")
            found = added(page, shown, loads.log, rendered.led_to)
            changed = any(
                self.session.scope.follow(task, link, url) is not None for link in found.links
            ) or any(not self.session.scope.refusal(medium.url) for medium in found.media)
            if changed or is_scripted(page):
                more = found
                # What was sent says nothing of what scripts make of it: it is not asked whether it changed.
                outcome.etag = outcome.modified = ""
                outcome.sha256 = hashlib.sha256(rendered.dom).digest()
        return more, Rendering(url, rendered, tuple(loads.log))

    @property
    def _agent(self) -> str:
        return str(self.crawler.settings["USER_AGENT"])

    async def _fetch_for_page(
        self, url: str, method: str, headers: Mapping[str, str], reuse: bool, limit: int
    ) -> Fetched:
        """Fetch something for a page that is rendered, under the rules of everything that is fetched.

        Raises:
            RefusedLoadError: If there is no answer.
        """
        etag, modified = self.session.run.validators(url) if reuse else ("", "")
        asked = dict(headers)
        if etag:
            asked["If-None-Match"] = etag
        if modified:
            asked["If-Modified-Since"] = modified

        def request_for(target: str) -> Request:
            return Request(
                target,
                method=method,
                headers=asked,
                dont_filter=True,
                meta={
                    "download_slot": urls.host_of(target),
                    "download_maxsize": min(limit, int(self._settings.max_media_mb * _MIB)),
                    REUSE: reuse,
                },
            )

        try:
            arrived = await self._follow(await self._fetch(request_for(url)), request_for)
        except Exception as error:
            cause = refusal_in(error)
            text = f"refused: {cause}" if cause is not None else urls.shown(str(error))
            raise RefusedLoadError(text or type(error).__name__) from error
        if arrived.response.status == 304:
            raise RefusedLoadError("it has not changed since it was captured", 304)
        received: dict[str, int] = {}
        if not arrived.kept:
            for exchange in (*arrived.hops, arrived.exchange):
                host = urls.host_of(exchange.url)
                received[host] = received.get(host, 0) + len(exchange.body)
        return Fetched(_given(arrived), received)

    # Pages

    def _is_variant(self, task: Task, url: str, canonical: str | None) -> bool:
        """Whether a page calls itself a variant of one that was read, by parameters alone.

        Other claims are not believed: some sites call every page a variant of their first one.
        """
        if canonical is None or urls.key_of(canonical) in (urls.key_of(url), urls.key_of(task.url)):
            return False
        same = canonical.partition("?")[0].rstrip("/") == url.partition("?")[0].rstrip("/")
        return same and self.session.run.done(canonical)

    def _sitemaps(self, task: Task, arrived: _Arrived) -> list[Found]:
        """Return the sitemaps of a whole site: those that robots.txt names, else the usual one."""
        request = arrived.response.request
        named = request.meta.get(SITEMAPS) if request is not None else None
        targets = [urls.absolute(text, arrived.response.url) for text in named or ["/sitemap.xml"]]
        found_as = "robots.txt" if named else "guess"
        return [
            Found(target, Kind.SITEMAP, task.depth, follow=True, found_as=found_as)
            for target in dict.fromkeys(targets)
            if target and not self.session.scope.refusal(target)
        ]

    def _media(self, task: Task, media: Sequence[Medium]) -> list[Found]:
        refusal = self.session.scope.refusal
        alone = sum(1 for medium in media if refusal(medium.url))
        self.session.metrics.refused.labels("left_alone").inc(alone)
        return [
            Found(
                medium.url,
                medium.kind,
                task.depth,
                follow=False,
                found_as=medium.found_as,
                context=medium.context,
                uploader=medium.uploader,
            )
            for medium in media
            if not refusal(medium.url)
        ]

    async def _read_feed(self, task: Task, arrived: _Arrived, outcome: Outcome) -> None:
        body = arrived.response.body
        outcome.sha256 = hashlib.sha256(body).digest()
        limit = int(self._settings.max_page_mb * _MIB)
        try:
            feed = read_feed(body, arrived.response.url, limit=limit)
        except FeedError as error:
            outcome.state = State.LEFT_OUT if task.found_as == "guess" else State.FAILED
            outcome.reason, outcome.cause = f"a feed or sitemap was expected: {error}", "type"
            return
        scope = self.session.scope
        outcome.found = self._media(task, feed.media)
        outcome.found += [
            found
            for link in feed.links
            if (found := scope.follow(task, link, arrived.response.url)) is not None
        ]

    async def _read_medium(self, task: Task, arrived: _Arrived, outcome: Outcome) -> None:
        if self._kind(task, arrived) is None:
            outcome.state, outcome.cause = State.LEFT_OUT, "type"
            outcome.reason = "a page came where a medium was expected"
            return
        if len(arrived.response.body) < _MIN_MEDIUM:
            outcome.state, outcome.cause = State.LEFT_OUT, "size"
            outcome.reason = "too small to be a copy of anything"
            return
        await self._keep(task, outcome, arrived, task.found_as)

    async def _keep(
        self,
        task: Task,
        outcome: Outcome,
        arrived: _Arrived,
        found_as: str,
        *,
        rendering: Rendering | None = None,
        dom: bytes = b"",
    ) -> None:
        """Capture a medium, or a page; of a page that its scripts changed, what they made of it (`dom`)."""
        await self.session.keep(
            task,
            outcome,
            media_url=arrived.response.url,
            hops=arrived.hops,
            exchanges=[arrived.exchange],
            contents=[dom or arrived.response.body],
            content_type="text/html; charset=utf-8" if dom else arrived.content_type,
            found_as=found_as,
            robots=arrived.robots,
            engine=self.crawler.engine,
            rendering=rendering,
        )

    # Streams

    async def _read_playlist(self, task: Task, arrived: _Arrived, outcome: Outcome) -> None:
        hops = [*arrived.hops]
        media_url = arrived.response.url
        try:
            arrived, plan = await self._plan(task, arrived, outcome, hops)
        except PlaylistError as error:
            outcome.state, outcome.cause = State.LEFT_OUT, "stream"
            outcome.reason = f"a stream that cannot be read: {error}"
            return
        hops.append(arrived.exchange)
        exchanges, contents, content_type = await self._pieces(task, plan, outcome)
        if not exchanges:
            outcome.state, outcome.cause = State.FAILED, "stream"
            outcome.reason = "no piece of the stream could be fetched"
            return
        if arrived.response.url != media_url:
            outcome.etag = outcome.modified = ""  # of a playlist of playlists: they say nothing of the pieces
        await self.session.keep(
            task,
            outcome,
            media_url=media_url,
            hops=hops,
            exchanges=exchanges,
            contents=contents,
            content_type=content_type,
            found_as=plan.kind,
            robots=arrived.robots,
            engine=self.crawler.engine,
        )

    async def _plan(
        self, task: Task, arrived: _Arrived, outcome: Outcome, hops: list[Exchange]
    ) -> tuple[_Arrived, Plan]:
        """Read playlists until one names pieces; returns it, and notes the way there in `hops`."""
        for _ in range(_MAX_PLAYLISTS):
            plan = read_playlist(decoded(arrived.response.body, arrived.content_type), arrived.response.url)
            if plan.playlist is None:
                return arrived, plan
            if reason := self.session.scope.refusal(plan.playlist):
                raise PlaylistError(reason)
            hops.append(arrived.exchange)
            request = self._request(task, plan.playlist)
            arrived = await self._after_redirects(task, await self._fetch(request))
            hops.extend(arrived.hops)
            outcome.received += arrived.received
            if arrived.response.status != 200:
                raise PlaylistError(f"a variant answers HTTP {arrived.response.status}")
        raise PlaylistError("playlists lead to playlists")

    async def _pieces(
        self, task: Task, plan: Plan, outcome: Outcome
    ) -> tuple[list[Exchange], list[bytes], str]:
        """Fetch a stream's pieces in order, until there is enough of it, or one is missing."""
        exchanges: list[Exchange] = []
        contents: list[bytes] = []
        content_type = ""
        size, seconds = 0, 0.0
        limit = int(self._settings.max_stream_mb * _MIB)
        for piece in plan.pieces:
            if size >= limit or seconds >= self._settings.max_stream_seconds or self.session.stopped:
                break
            if len(plan.pieces) == 1 and piece.first is None:
                piece = Piece(piece.url, 0, limit)  # noqa: PLW2901  one file: as much of it as is enough
            try:
                if self.session.scope.refusal(piece.url):
                    break
                arrived = await self._after_redirects(
                    task, await self._fetch(self._request(task, piece.url, piece=piece))
                )
            except (OSError, sqlite3.Error):
                raise
            except Exception as error:  # noqa: BLE001  what came until here is enough to look at
                logger.info("a stream ends early at %s: %s", urls.shown(piece.url), urls.shown(str(error)))
                break
            outcome.received += arrived.received
            if arrived.response.status not in (200, 206):
                break
            body = arrived.response.body
            if arrived.response.status == 200 and piece.first is not None and len(plan.pieces) > 1:
                body = body[piece.first : piece.first + piece.length]
            exchanges.append(arrived.exchange)
            contents.append(body)
            content_type = arrived.content_type
            size += len(body)
            seconds += piece.seconds
            await asyncio.sleep(0)
        return exchanges, contents, content_type


def _given(arrived: _Arrived) -> Given:
    """Return an answer as a browser is told it."""
    response = arrived.response
    headers: Any = response.headers
    named = {
        name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
        for name, values in headers.items()
    }
    return Given(response.url, response.status, named, response.body)


def _cause(error: Exception) -> str:
    """The kind of an error, for metrics."""
    kinds: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        (DisallowedError, "robots"),
        (RobotsUnreachableError, "robots_unreachable"),
        (_RedirectError, "redirect"),
        (DownloadCancelledError, "size"),
        (TimeoutError, "timeout"),
        (OSError, "connection"),
    )
    for kind, cause in kinds:
        if isinstance(error, kind):
            return cause
    name = type(error).__name__.lower()
    words = {
        "timeout": "timeout",
        "resolve": "dns",
        "dns": "dns",
        "connect": "connection",
        "response": "answer",
    }
    return next((cause for word, cause in words.items() if word in name), "other")


def _header(response: Response, name: str) -> str:
    value = response.headers.get(name)
    return value.decode("latin-1").strip() if value else ""


def _retry_after(response: Response) -> float | None:
    """Return the seconds that a server asks to wait; None: it does not say."""
    value = _header(response, "Retry-After")
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
