"""robots.txt, by RFC 9309: asked for before anything else of a host, and obeyed."""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

from protego import Protego
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from crawler import urls
from crawler.capture import RobotsVerdict
from crawler.guard import RefusedAddressError, refusal_in

logger = logging.getLogger(__name__)

EXEMPT: Final = "copyhound_exempt"
"""Key of a request's `meta`: it is no part of the crawl, such as robots.txt itself."""
VERDICT: Final = "copyhound_robots"
"""Where a request's `meta` gets its `RobotsVerdict`."""
SITEMAPS: Final = "copyhound_sitemaps"
"""Where it gets the sitemaps that robots.txt names."""
TOKEN: Final = "Copyhound"  # noqa: S105  no password
"""The name that robots.txt may call the crawler by."""

_FRESH_SECONDS: Final = 24 * 3600.0
"""RFC 9309, section 2.4: no longer than a day."""
_UNREACHABLE_SECONDS: Final = 300.0
_MAX_HOSTS: Final = 5_000
_MAX_BYTES: Final = 2 * 1024 * 1024
"""The RFC asks for 500 KiB at least."""
_MAX_REDIRECTS: Final = 5
_TIMEOUT: Final = 30.0


class DisallowedError(IgnoreRequest):
    """robots.txt forbids the URL."""


class RobotsUnreachableError(IgnoreRequest):
    """robots.txt could not be read, which forbids everything until it can."""


@dataclass(frozen=True, slots=True)
class _Rules:
    parsed: Any
    verdict: RobotsVerdict
    until: float
    refused: str = ""


class RobotsMiddleware:
    """Scrapy middleware that asks a host's robots.txt, and gives its requests the pause that it asks for."""

    def __init__(self, crawler: Crawler, *, respect: bool, max_delay: float, host_concurrency: int) -> None:
        """Prepare.

        Args:
            crawler: Whose engine fetches robots.txt.
            respect: False: ask nobody.
            max_delay: Longest pause that is kept, in seconds.
            host_concurrency: Most requests at a time to a host that asks for no pause.
        """
        self._crawler = crawler
        self._respect = respect
        self._max_delay = max_delay
        self._concurrency = host_concurrency
        self._rules: OrderedDict[str, asyncio.Future[_Rules]] = OrderedDict()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Read the settings."""
        settings = crawler.settings
        return cls(
            crawler,
            respect=settings.getbool("COPYHOUND_RESPECT_ROBOTS"),
            max_delay=settings.getfloat("AUTOTHROTTLE_MAX_DELAY"),
            host_concurrency=settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN"),
        )

    async def process_request(self, request: Request) -> None:
        """Let a request pass, or not.

        Raises:
            DisallowedError: If robots.txt forbids it.
            RobotsUnreachableError: If robots.txt cannot be read.
            RefusedAddressError: If its host must not be connected to.
        """
        if request.meta.get(EXEMPT):
            return
        if not self._respect:
            request.meta[VERDICT] = RobotsVerdict()
            return
        rules = await self._of(request.url)
        verdict = rules.verdict
        if rules.refused:
            raise RefusedAddressError(rules.refused)
        if verdict.verdict == "unreachable":
            raise RobotsUnreachableError(f"robots.txt cannot be read (status {verdict.status})")
        if rules.parsed is not None:
            allowed = rules.parsed.can_fetch(request.url, TOKEN)
            verdict = replace(verdict, verdict="allowed" if allowed else "disallowed")
            if not allowed:
                raise DisallowedError("robots.txt forbids it")
            self._slow_down(request, rules.parsed.crawl_delay(TOKEN))
            request.meta[SITEMAPS] = list(rules.parsed.sitemaps)
        request.meta[VERDICT] = verdict

    def _slow_down(self, request: Request, delay: float | None) -> None:
        if not delay or self._crawler.engine is None:
            return
        slot = request.meta["download_slot"]
        pause = min(float(delay), self._max_delay)
        downloader = self._crawler.engine.downloader
        downloader.per_slot_settings[slot] = {"delay": pause, "concurrency": 1, "jitter": 0.0}
        request.meta["autothrottle_dont_adjust_delay"] = True
        if (present := downloader.slots.get(slot)) is not None and present.delay < pause:
            present.delay, present.concurrency, present.jitter = pause, 1, 0.0

    async def _of(self, url: str) -> _Rules:
        """Return a site's rules; many requests at a time wait for one answer."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        known = self._rules.get(site)
        if known is not None and (not known.done() or known.result().until > time.monotonic()):
            return await known
        future = asyncio.ensure_future(self._read(f"{site}/robots.txt"))
        self._rules[site] = future
        self._rules.move_to_end(site)
        while len(self._rules) > _MAX_HOSTS:
            self._rules.popitem(last=False)
        return await future

    async def _read(self, url: str) -> _Rules:
        now = time.monotonic()
        asked = datetime.now(UTC).isoformat()
        try:
            response = await self._fetch(url)
        except Exception as error:  # noqa: BLE001  whatever keeps it from being read forbids everything, for a while
            if (refused := refusal_in(error)) is not None:
                return _Rules(None, RobotsVerdict(url), now + _UNREACHABLE_SECONDS, str(refused))
            logger.info(
                "%s cannot be read: %s %s", urls.shown(url), type(error).__name__, urls.shown(str(error))
            )
            return _Rules(None, RobotsVerdict(url, 0, "", asked, "unreachable"), now + _UNREACHABLE_SECONDS)
        status = response.status
        if status == 429 or status >= 500:
            verdict = RobotsVerdict(url, status, "", asked, "unreachable")
            return _Rules(None, verdict, now + _UNREACHABLE_SECONDS)
        if status != 200:
            return _Rules(None, RobotsVerdict(url, status, "", asked, "no rules"), now + _FRESH_SECONDS)
        body = response.body
        verdict = RobotsVerdict(url, status, hashlib.sha256(body).hexdigest(), asked, "allowed")
        return _Rules(Protego.parse(body.decode("utf-8-sig", "replace")), verdict, now + _FRESH_SECONDS)

    async def _fetch(self, url: str) -> Response:
        engine = self._crawler.engine
        if engine is None:  # there are no requests without one
            raise RuntimeError("robots.txt is asked for before the engine runs")
        response: Response | None = None
        for _ in range(_MAX_REDIRECTS + 1):
            request = Request(
                url,
                meta={
                    EXEMPT: True,
                    "download_slot": urls.host_of(url),
                    "download_maxsize": _MAX_BYTES,
                    "download_timeout": _TIMEOUT,
                },
            )
            response = await engine.download_async(request)
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            target = urls.absolute(urljoin(url, location.decode("latin-1")))
            if target is None:
                return response
            url = target
        if response is None:
            raise RuntimeError("no redirect was followed")
        return response.replace(status=404)  # RFC 9309, section 2.3.1.2: too many redirects are no rules
