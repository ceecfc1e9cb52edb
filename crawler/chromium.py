"""A Chromium without a network, driven by Playwright: it shows pages, the crawler fetches what they ask for.

Every request of a page is stopped before it leaves and answered from `Visit.load`. What would pass by that
finds nothing: the proxy of this browser is a port on which nothing listens, no name resolves, and QUIC and
WebRTC have no way around. Each page has a context of its own, without cookies, cache or storage of others.
"""

import asyncio
import base64
import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TypeVar

from playwright.async_api import Browser as PlaywrightBrowser
from playwright.async_api import BrowserContext, Page, Playwright, Request, Route, WebSocket, async_playwright
from playwright.async_api import Error as PlaywrightError

from crawler import urls
from crawler.rendering import (
    MAX_DOM,
    BrowserError,
    Given,
    RefusedLoadError,
    Rendered,
    RenderError,
    Screenshot,
    Visit,
    Wanted,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

VIEWPORT: Final = (1280, 800)
"""Width and height of the window, pixels."""
_MAX_SCREENS: Final = 25
"""How often a page is scrolled by one window: what loads more for ever ends here."""
_MAX_HEIGHT: Final = 8_000
"""Height of the largest picture of a page, pixels."""
_MAX_IMAGE: Final = 1024 * 1024
"""Largest picture of a page, bytes."""
_QUIET_SECONDS: Final = 0.4
"""A page has come to rest when it asked for nothing for so long."""
_LOADING_PART: Final = 0.7
"""Part of a page's time that loading may take; the rest is for its picture."""
_CLOSE_SECONDS: Final = 5.0
_START_SECONDS: Final = 60.0
_MAX_LED_TO: Final = 100
_MAX_WINDOWS: Final = 10
"""Windows that a page may try to open, which lead nowhere."""
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "FONTCONFIG_PATH", "FONTCONFIG_FILE", "TMPDIR")
"""What of the crawler's environment Chromium gets."""
_ARGUMENTS: Final = (
    # No way out: every connection goes to a proxy that is not there, loopback too, and no name resolves.
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",  # its name in older ones
    "--disable-quic",
    "--dns-prefetch-disable",
    "--no-pings",
    "--disable-domain-reliability",
    # Less to attack, less to compute.
    "--disable-3d-apis",
    "--mute-audio",
    "--js-flags=--max-old-space-size=512",
)
_WORLD: Final = "copyhound"
"""Name of the world that our own code runs in: the page's scripts cannot reach into it."""
_SCROLL: Final = """async () => {
  window.scrollBy({top: window.innerHeight, behavior: "instant"});
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const height = (document.scrollingElement || document.documentElement).scrollHeight;
  return window.scrollY + window.innerHeight >= height - 1;
}"""
_TOP: Final = """async () => {
  window.scrollTo({top: 0, behavior: "instant"});
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
_DOCUMENT: Final = """limit => {
  const roots = [];
  const search = node => {
    for (const element of node.querySelectorAll("*"))
      if (element.shadowRoot) { roots.push(element.shadowRoot); search(element.shadowRoot); }
  };
  search(document);
  const html = document.documentElement.getHTML({shadowRoots: roots});
  return html.length > limit ? "" : html;
}"""
"""Shadow trees are written as templates, whose content is read like any other."""


@dataclass(slots=True)
class _Progress:
    """How far a page is.

    Attributes:
        deadline: Of loading, by the monotonic clock.
        under_way: Requests that wait for an answer.
        last: When the last one was asked or answered.
        begun: Whether the page itself was answered.
        led_to: Where scripts wanted to go.
        windows: How many they opened.
        tasks: Answers under way.
        gone: Whether the page, or the browser, was closed.
    """

    deadline: float
    under_way: int = 0
    last: float = field(default_factory=time.monotonic)
    begun: bool = False
    led_to: list[str] = field(default_factory=list)
    windows: int = 0
    tasks: set["asyncio.Task[Given]"] = field(default_factory=set)
    gone: Callable[[], bool] = bool

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline

    def lead(self, url: str) -> None:
        """Note where a script wanted to go."""
        if len(self.led_to) < _MAX_LED_TO:
            self.led_to.append(url)


class Chromium:
    """A `Browser`. It starts with the first page, and again when it broke."""

    def __init__(self, executable: Path, *, sandbox: bool) -> None:
        """Prepare.

        Args:
            executable: Of Chromium.
            sandbox: Whether it runs in its own sandbox.
        """
        self._executable = executable
        self._sandbox = sandbox
        self._starting = asyncio.Lock()
        self._playwright: Playwright | None = None
        self._browser: PlaywrightBrowser | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._closed = False

    async def render(self, visit: Visit) -> Rendered:
        """Render a page.

        Raises:
            RenderError: If this page cannot be rendered.
            BrowserError: If none can.
        """
        for attempt in (1, 2):
            browser = await self._started()
            try:
                return await self._render(browser, visit)
            except PlaywrightError as error:
                # Another page may have brought it down.
                if attempt == 2 or browser.is_connected():
                    raise RenderError(f"the browser says: {_first_line(error)}") from error
        raise RenderError("the browser broke twice")

    async def close(self) -> None:
        """End it, and whatever is under way."""
        self._closed = True
        await self._drop(self._browser)
        if self._playwright is not None:
            with contextlib.suppress(PlaywrightError, TimeoutError):
                await asyncio.wait_for(self._playwright.stop(), _CLOSE_SECONDS)
            self._playwright = None
        if self._home is not None:
            self._home.cleanup()
            self._home = None

    async def _started(self) -> PlaywrightBrowser:
        async with self._starting:
            if self._closed:
                raise RenderError("the browser is closed")
            if self._browser is not None and self._browser.is_connected():
                return self._browser
            try:
                async with asyncio.timeout(_START_SECONDS):
                    self._browser = await self._start()
            except (PlaywrightError, OSError, TimeoutError) as error:
                raise BrowserError(f"{self._executable} does not start: {why_not(error)}") from error
            return self._browser

    async def _start(self) -> PlaywrightBrowser:
        if self._playwright is None:
            self._playwright = await _driver()
        if self._home is None:
            self._home = tempfile.TemporaryDirectory(prefix="copyhound-browser-", ignore_cleanup_errors=True)
        # The crawler's own environment has its key for the service in it.
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return await self._playwright.chromium.launch(
            executable_path=self._executable,
            chromium_sandbox=self._sandbox,
            args=_ARGUMENTS,
            env={**passed_on, "HOME": self._home.name, "LANG": "C.UTF-8"},
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
            timeout=_START_SECONDS * 1000,
        )

    async def _drop(self, browser: PlaywrightBrowser | None) -> None:
        """End a browser."""
        if browser is None:
            return
        if self._browser is browser:
            self._browser = None
        await _closed(browser)

    async def _render(self, browser: PlaywrightBrowser, visit: Visit) -> Rendered:
        context: BrowserContext | None = None
        progress = _Progress(time.monotonic() + _LOADING_PART * visit.seconds)
        try:
            async with asyncio.timeout(visit.seconds):
                context = await browser.new_context(
                    viewport={"width": VIEWPORT[0], "height": VIEWPORT[1]},
                    user_agent=f"{_own_agent(browser.version)} {visit.agent}".strip(),
                    service_workers="block",
                    accept_downloads=False,
                    locale="en-US",
                    timezone_id="UTC",
                    reduced_motion="reduce",
                )
                page = await context.new_page()
                await context.route("**/*", lambda route: _answer(route, page, visit, progress))
                page.on("websocket", lambda socket: _refuse_socket(socket, visit))
                context.on("page", lambda window: _close_window(window, page, progress))
                return await self._shown(browser, page, visit, progress)
        except TimeoutError as error:
            raise RenderError(f"it does not come to rest in {visit.seconds:g} seconds") from error
        except PlaywrightError as error:
            if progress.windows <= _MAX_WINDOWS:
                raise
            raise RenderError("it opens window after window") from error
        finally:
            for task in progress.tasks:
                task.cancel()
            if context is None or not await _closed(context):
                # A page that does not let go takes the browser with it; the next page starts another.
                await self._drop(browser)

    async def _shown(
        self, browser: PlaywrightBrowser, page: Page, visit: Visit, progress: _Progress
    ) -> Rendered:
        url = visit.answer.url
        await page.goto(url, wait_until="commit", timeout=visit.seconds * 1000)
        session = await page.context.new_cdp_session(page)

        async def run(code: str, *arguments: object) -> Any:
            tree: Any = await session.send("Page.getFrameTree")
            world: Any = await session.send(
                "Page.createIsolatedWorld",
                {"frameId": tree["frameTree"]["frame"]["id"], "worldName": _WORLD},
            )
            answer: Any = await session.send(
                "Runtime.callFunctionOn",
                {
                    "functionDeclaration": code,
                    "executionContextId": world["executionContextId"],
                    "arguments": [{"value": argument} for argument in arguments],
                    "awaitPromise": True,
                    "returnByValue": True,
                },
            )
            if "exceptionDetails" in answer:
                raise RenderError("its document cannot be read")
            return answer["result"].get("value")

        progress.gone = lambda: page.is_closed() or not browser.is_connected()
        await _rest(run, progress)
        await _scroll(run, progress)
        await run(_TOP)
        await _rest(run, progress)
        complete = not progress.late
        if urls.host_of(page.url) != urls.host_of(url):
            raise RenderError(f"it went to {urls.shown(page.url, 100)}")
        html = await run(_DOCUMENT, MAX_DOM // 4)
        taken_at = datetime.now(UTC)
        screenshot = await _screenshot(session)
        return Rendered(
            dom=f"<!DOCTYPE html><html>{html}</html>".encode() if html else b"",
            screenshot=screenshot,
            taken_at=taken_at,
            viewport=VIEWPORT,
            software=f"Chromium/{browser.version} Playwright/{metadata.version('playwright')}",
            led_to=tuple(dict.fromkeys(progress.led_to)),
            complete=complete,
        )


async def _rest(run: Callable[..., Awaitable[Any]], progress: _Progress) -> None:
    """Wait until a page asks for nothing any more, or its time is up."""
    while not progress.late:
        if progress.gone():
            raise PlaywrightError("the page was closed")
        quiet = time.monotonic() - progress.last
        if progress.under_way or quiet < _QUIET_SECONDS:
            await asyncio.sleep(0.02 if progress.under_way else _QUIET_SECONDS - quiet + 0.005)
            continue
        before = progress.last
        # A page that is still at work answers late, and may have asked for something by then.
        await run("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        ready = await run("() => document.readyState")
        if progress.last == before and ready == "complete":
            return


async def _scroll(run: Callable[..., Awaitable[Any]], progress: _Progress) -> None:
    """Go to the end of a page once, so that what loads when it is seen loads; bounded."""
    for _ in range(_MAX_SCREENS):
        if progress.late:
            return
        if await run(_SCROLL):
            before = progress.last
            await _rest(run, progress)
            if progress.last == before:
                return


async def _screenshot(session: Any) -> Screenshot | None:
    """Return a picture of a page; None: none is small enough."""
    metrics = await session.send("Page.getLayoutMetrics")
    full = max(1, round(metrics["cssContentSize"]["height"]))
    for height, quality in ((_MAX_HEIGHT, 70), (_MAX_HEIGHT, 35), (VIEWPORT[1], 50)):
        clip = {"x": 0, "y": 0, "width": VIEWPORT[0], "height": min(full, height), "scale": 1}
        answer = await session.send(
            "Page.captureScreenshot",
            {"format": "jpeg", "quality": quality, "clip": clip, "captureBeyondViewport": True},
        )
        image = base64.b64decode(answer["data"])
        if len(image) <= _MAX_IMAGE:
            return Screenshot(image, VIEWPORT[0], min(full, height), whole=full <= height)
    return None


async def _answer(route: Route, page: Page, visit: Visit, progress: _Progress) -> None:
    """Answer one request of a page, or refuse it."""
    request = route.request
    progress.last = time.monotonic()
    with contextlib.suppress(PlaywrightError):  # the page is gone
        if _leads_away(request, page):
            own = _is_own(request, page)
            if own and not progress.begun:
                progress.begun = True
                await _fulfil(route, visit.answer)
                return
            if not own:
                _count_window(page, progress)
            progress.lead(request.url)
            await route.abort("aborted")
            return
        wanted = Wanted(request.url, request.method, request.resource_type, request.headers)
        loading = asyncio.ensure_future(visit.load(wanted))
        progress.tasks.add(loading)
        progress.under_way += 1
        try:
            given = await loading
        except (RefusedLoadError, asyncio.CancelledError):
            await route.abort("blockedbyclient")
        else:
            await _fulfil(route, _moved(given, wanted) or given)
        finally:
            progress.tasks.discard(loading)
            progress.under_way -= 1
            progress.last = time.monotonic()


def _leads_away(request: Request, page: Page) -> bool:
    """Whether a request would load a document into the page's window, or into another one."""
    if not request.is_navigation_request():
        return False
    try:
        return _is_own(request, page) or request.frame.page is not page
    except PlaywrightError:  # a window that is not there yet
        return True


def _is_own(request: Request, page: Page) -> bool:
    """Whether a request is that of the page's window itself."""
    try:
        return request.frame == page.main_frame
    except PlaywrightError:
        return False


def _moved(given: Given, wanted: Wanted) -> Given | None:
    """Send frames and styles that were redirected to their new address, which their references go by."""
    if urls.absolute(wanted.url) == given.url:
        return None
    if wanted.kind == "stylesheet":
        return Given(given.url, 200, {"content-type": "text/css"}, f'@import "{given.url}";'.encode())
    if wanted.kind == "document":
        refresh = f'<meta http-equiv="refresh" content="0;url={given.url.replace("&", "&amp;")}">'
        return Given(given.url, 200, {"content-type": "text/html"}, refresh.encode())
    return None


async def _fulfil(route: Route, given: Given) -> None:
    try:
        await route.fulfill(status=given.status, headers=dict(given.headers), body=given.body)
    except PlaywrightError:  # a status or header that no browser takes
        await route.abort("failed")


async def _closed(what: BrowserContext | PlaywrightBrowser) -> bool:
    """Close something; whether that worked."""
    try:
        await asyncio.wait_for(what.close(), _CLOSE_SECONDS)
    except (PlaywrightError, TimeoutError):
        return False
    return True


def _refuse_socket(socket: WebSocket, visit: Visit) -> None:
    """Note a WebSocket, which does not get through to anywhere."""
    asking = asyncio.ensure_future(visit.load(Wanted(socket.url, kind="websocket")))
    asking.add_done_callback(lambda done: done.cancelled() or done.exception())


def _close_window(window: Page, page: Page, progress: _Progress) -> None:
    """Close a window that a page opened."""
    _close_soon(window)
    _count_window(page, progress)


def _count_window(page: Page, progress: _Progress) -> None:
    """Count a window that a page opened; the page is closed if it does nothing else."""
    progress.windows += 1
    if progress.windows > _MAX_WINDOWS:
        _close_soon(page)


def _close_soon(page: Page) -> None:
    closing = asyncio.ensure_future(page.close())
    closing.add_done_callback(lambda done: done.cancelled() or done.exception())


def _own_agent(version: str) -> str:
    """Return the name that a Chromium gives itself: scripts decide by it what they can do."""
    major = version.partition(".")[0]
    engine = "AppleWebKit/537.36 (KHTML, like Gecko)"
    return f"Mozilla/5.0 (X11; Linux x86_64) {engine} Chrome/{major}.0.0.0 Safari/537.36"


async def _driver() -> Playwright:
    """Start Playwright, which is a program of its own.

    Raises:
        BrowserError: If it does not start.
    """
    try:
        return await async_playwright().start()
    except TimeoutError:
        raise
    except Exception as error:  # Playwright raises nothing more special
        raise BrowserError(
            f"Playwright's driver does not start: {_first_line(error)}; it is a Node.js, which wants the"
            " system's libatomic (Debian's libatomic1); PLAYWRIGHT_NODEJS_PATH names another Node.js"
        ) from error


def why_not(error: Exception) -> str:
    """Say why a browser does not start, by what it wrote before it ended, and what to do."""
    said = str(error)
    without = (
        "; where nothing else is on the machine, COPYHOUND_CRAWLER_BROWSER_SANDBOX=false does without it"
    )
    if "Running as root" in said:
        return f"its sandbox is not for root: run the crawler as an ordinary user{without}"
    if "No usable sandbox" in said:
        return (
            "user namespaces are closed to it, of which its sandbox is made: open them (sysctl"
            " user.max_user_namespaces, kernel.unprivileged_userns_clone or"
            " kernel.apparmor_restrict_unprivileged_userns, or a container's seccomp profile), or install the"
            f" system's package chromium-sandbox{without}"
        )
    return f"{_first_line(error)}; COPYHOUND_CRAWLER_BROWSER names a Chromium that runs on this machine"


def _first_line(error: Exception) -> str:
    return urls.shown(str(error).strip().partition("\n")[0]) or type(error).__name__
