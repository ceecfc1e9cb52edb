"""The crawler's process: takes runs, one after another, crawls them, hands over what they brought."""

import asyncio
import contextlib
import fcntl
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from scrapy.crawler import AsyncCrawlerRunner
from scrapy.settings import Settings as ScrapySettings
from uuid_utils import uuid7

import copyhound
from copyhound import errors
from copyhound.monitor_types import Assignment, RunState
from crawler import urls
from crawler.delivery import LATER, Delivery
from crawler.frontier import Frontier
from crawler.handover import Handover
from crawler.metrics import CrawlerMetrics
from crawler.rendering import Browser
from crawler.session import Session
from crawler.settings import CrawlerSettings
from crawler.spider import CrawlSpider
from crawler.spool import FULL, DiskFullError, Spool, is_full

logger = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024
_SAY_SECONDS: Final = 5.0
"""How long a crawler that has to stop waits for the service to take the reason."""

T = TypeVar("T")


class CrawlError(Exception):
    """The crawler cannot go on until a person puts something right."""


def user_agent(settings: CrawlerSettings) -> str:
    """Return how the crawler calls itself: its name, its version, whom to ask."""
    contact = " ".join(settings.contact.encode("ascii", "replace").decode().split())
    return f"Copyhound/{copyhound.__version__} (+{contact})"


def scrapy_settings(settings: CrawlerSettings) -> ScrapySettings:
    """Return Scrapy's settings for a crawler: what it does by itself is off, but for what is named here."""
    return ScrapySettings(
        {
            "USER_AGENT": user_agent(settings),
            "TWISTED_REACTOR": "crawler.guard.GuardedReactor",
            "SCHEDULER": "crawler.spider.FrontierScheduler",
            "DOWNLOADER_MIDDLEWARES_BASE": {},
            "DOWNLOADER_MIDDLEWARES": {
                "crawler.robots.RobotsMiddleware": 100,
                **({"crawler.kept.KeptAnswers": 200} if settings.browser is not None else {}),
                "scrapy.downloadermiddlewares.defaultheaders.DefaultHeadersMiddleware": 400,
                "scrapy.downloadermiddlewares.useragent.UserAgentMiddleware": 500,
                "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": 590,
                "crawler.exchanges.ExchangeRecorder": 990,
            },
            "SPIDER_MIDDLEWARES_BASE": {},
            "EXTENSIONS_BASE": {},
            "EXTENSIONS": {"scrapy.extensions.throttle.AutoThrottle": 0},
            "DOWNLOAD_HANDLERS_BASE": {
                "http": "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler",
                "https": "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler",
            },
            "DEFAULT_REQUEST_HEADERS": {
                "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                "Accept-Language": "*",
            },
            "COPYHOUND_RESPECT_ROBOTS": settings.respect_robots,
            "COPYHOUND_KEPT_MB": settings.browser_kept_mb,
            "AUTOTHROTTLE_ENABLED": settings.throttle,
            "AUTOTHROTTLE_START_DELAY": settings.delay,
            "AUTOTHROTTLE_MAX_DELAY": settings.max_delay,
            "AUTOTHROTTLE_TARGET_CONCURRENCY": float(settings.host_concurrency),
            "DOWNLOAD_DELAY": settings.delay,
            "DOWNLOAD_TIMEOUT": settings.timeout,
            "DOWNLOAD_MAXSIZE": int(settings.max_media_mb * _MIB),
            "DOWNLOAD_WARNSIZE": 0,
            "CONCURRENT_REQUESTS": settings.concurrency,
            "CONCURRENT_REQUESTS_PER_DOMAIN": settings.host_concurrency,
            "COOKIES_ENABLED": False,
            "TELNETCONSOLE_ENABLED": False,
            "CONCURRENT_ITEMS": 1,  # callbacks yield nothing; by default, 100 tasks wait for what one yields
            "STATS_DUMP": False,
            "LOG_ENABLED": False,
            "WARN_ON_GENERATOR_RETURN_VALUE": False,
        },
        priority="cmdline",
    )


def open_browser(settings: CrawlerSettings) -> Browser | None:
    """Return the browser of the settings, which starts with its first page; None: they name none.

    Raises:
        CrawlError: If the extra `browser` is not installed.
    """
    if settings.browser is None:
        return None
    try:
        from crawler.chromium import Chromium  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "playwright":
            raise
        raise CrawlError(
            "COPYHOUND_CRAWLER_BROWSER needs Playwright: pip install 'copyhound[browser]'"
        ) from error
    return Chromium(settings.browser, sandbox=settings.browser_sandbox)


class CrawlerProcess:
    """A crawler with its folder. One process at a time works in a folder."""

    def __init__(self, settings: CrawlerSettings) -> None:
        """Open the folder, and put right what a killed process left.

        Raises:
            CrawlError: If another process works in the folder, or it cannot be used.
        """
        self._settings = settings
        self.metrics = CrawlerMetrics()
        self._stop_metrics: Callable[[], None] = lambda: None
        self._stopping = ""
        self._stop_event = asyncio.Event()
        self._session: Session | None = None
        with _explained(settings.data):
            settings.data.mkdir(parents=True, exist_ok=True)
            self._lock = (settings.data / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise CrawlError(
                f"another crawler works in {settings.data}: give this one a folder of its own"
            ) from error
        with _explained(settings.data):
            self.name = settings.name or _kept_name(settings.data / "name")
            self.frontier = Frontier(settings.data / "crawl.db")
            self.spool = Spool(settings.data / "spool", min_free_mb=settings.min_free_mb)
            self.spool.sweep(self.frontier.has_capture)
        if settings.metrics:
            try:
                _, self._stop_metrics = self.metrics.serve(settings.metrics)
            except (OSError, ValueError) as error:
                self.close()
                raise CrawlError(
                    f"metrics on {settings.metrics!r} cannot be served: {error}; name a free HOST:PORT"
                ) from error

    def stop(self, reason: str = "stopped") -> None:
        """Stop soon: what is under way is fetched again on the next start."""
        self._stopping = reason
        self._stop_event.set()
        if self._session is not None:
            self._session.stop(reason)

    def close(self) -> None:
        """Close the folder."""
        self._stop_metrics()
        self.frontier.close()
        self._lock.close()

    async def run_one(self, handover: Handover, run: str = "") -> bool:
        """Take a run and work on it until it has ended; False: there is none.

        Raises:
            CrawlError: If something has to be put right first.
            CopyhoundError: If the run cannot be had.
        """
        assignment = await self._unless_stopped(handover.lease_run(run))
        if assignment is None:
            return bool(self._stopping)
        await self._work(handover, assignment)
        return True

    async def run_forever(self, handover: Handover) -> None:
        """Work on one run after another until `stop` is called.

        Raises:
            CrawlError: If something has to be put right first.
            CopyhoundError: If the other side refuses the crawler.
        """
        while not self._stopping:
            worked = False
            try:
                worked = await self.run_one(handover)
            except LATER as error:
                logger.warning("no runs can be had, waiting: %s", urls.shown(str(error)))
            except errors.LeaseLostError as error:
                logger.warning("the run went to another crawler: %s", urls.shown(str(error)))
            if not worked and not self._stopping:
                await self._unless_stopped(asyncio.sleep(self._settings.poll_seconds))

    async def _unless_stopped(self, coroutine: Coroutine[Any, Any, T]) -> T | None:
        """Return what a coroutine returns; None, at once, when the crawler is told to stop."""
        working = asyncio.ensure_future(coroutine)
        stopping = asyncio.ensure_future(self._stop_event.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            for task in (working, stopping):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, errors.CopyhoundError):
                await working

    async def _work(self, handover: Handover, assignment: Assignment) -> None:
        settings = self._settings
        logger.info("run %s: %d places", urls.shown(assignment.run), len(assignment.places))
        with _explained(settings.data):
            session = Session(
                settings, assignment, self.frontier, self.spool, crawler=self.name, metrics=self.metrics
            )
        self._session = session
        if self._stopping:
            return
        delivery = Delivery(
            handover, self.frontier, self.spool, session, longest_pause=settings.retry_service_seconds
        )
        carrying = asyncio.create_task(delivery.run())
        reporting = asyncio.create_task(self._report(delivery))
        try:
            with _explained(settings.data):
                await self._crawl(session, carrying)
                delivery.crawled.set()
                await self._until_carried(session, carrying)
        except CrawlError as error:
            session.fail(str(error))
        finally:
            self._session = None
            for task in (carrying, reporting):
                task.cancel()
            # What broke the first was raised above.
            await asyncio.gather(carrying, reporting, return_exceptions=True)
        if session.failure:
            await _said(delivery, session.failure)
            raise CrawlError(session.failure)
        if session.stopped:
            logger.warning("the crawl stops: %s", session.stopped)
            return
        session.run.end()
        await delivery.report(RunState.DONE)
        progress = session.run.progress()
        logger.info("run %s: %s", urls.shown(assignment.run), progress)

    async def _crawl(self, session: Session, carrying: "asyncio.Task[None]") -> None:
        browser = open_browser(self._settings)
        runner = AsyncCrawlerRunner(scrapy_settings(self._settings))
        crawling = runner.crawl(CrawlSpider, session=session, browser=browser)
        self.metrics.read_delays(lambda: _delays(runner))
        stopped = asyncio.create_task(session.until_stopped())
        try:
            await asyncio.wait({crawling, stopped, carrying}, return_when=asyncio.FIRST_COMPLETED)
            if not crawling.done():
                if browser is not None:
                    await browser.close()
                await runner.stop()
            await crawling
            if carrying.done():
                carrying.result()
        finally:
            stopped.cancel()
            if browser is not None:
                await browser.close()

    async def _until_carried(self, session: Session, carrying: "asyncio.Task[None]") -> None:
        """Wait until everything is handed over, or somebody wants to stop."""
        stopped = asyncio.create_task(session.until_stopped())
        try:
            if not session.stopped:
                await asyncio.wait({carrying, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if carrying.done():
                carrying.result()
        finally:
            stopped.cancel()

    async def _report(self, delivery: Delivery) -> None:
        while True:
            if not await delivery.report(RunState.RUNNING):
                return
            await asyncio.sleep(self._settings.report_seconds)


async def _said(delivery: Delivery, failure: str) -> None:
    """Tell the other side why the crawl stands still, if it listens: the run waits for this crawler."""
    with contextlib.suppress(TimeoutError, errors.CopyhoundError, sqlite3.Error):
        await asyncio.wait_for(delivery.report(RunState.RUNNING, failure), _SAY_SECONDS)


def _delays(runner: AsyncCrawlerRunner) -> list[tuple[str, float]]:
    """The pauses of the hosts that are asked now, in seconds."""
    engines: list[Any] = [crawler.engine for crawler in list(runner.crawlers)]
    return [
        (name, slot.delay)
        for engine in engines
        if engine is not None
        for name, slot in list(engine.downloader.slots.items())
    ]


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into one that says what to do."""
    try:
        yield
    except DiskFullError as error:
        raise CrawlError(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        what = FULL if is_full(error) else f"{error}; the crawl goes on where it was when this is put right"
        raise CrawlError(f"{folder}: {what}") from error


def _kept_name(path: Path) -> str:
    """Return the name in a file, which is drawn once."""
    if not path.exists():
        aside = path.with_name("name.partial")
        aside.write_text(f"crawler-{uuid7()}", encoding="ascii")
        aside.replace(path)
    return path.read_text(encoding="ascii").strip()


def install_signal_handlers(loop: asyncio.AbstractEventLoop, stop: Any) -> None:
    """Call `stop` on SIGTERM and SIGINT."""
    import signal  # noqa: PLC0415  used here alone

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
