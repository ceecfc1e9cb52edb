"""One browser, one server and one database for all tests that need a browser."""

import asyncio
import os
import shlex
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, expect, sync_playwright

from service.web.server import WebServer
from tests.browser.bring import Brought
from tests.browser.bring import brought as found
from tests.browser.world import World, fill
from tests.pages import pages_in

PATIENCE_MS = 120_000
"""How long anything may take before a test gives up: only faults wait so long, even on a busy machine."""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def brought() -> Brought:
    """The browser's program, and what it needs."""
    return found()


@pytest.fixture(scope="session")
def browser(brought: Brought) -> Iterator[Browser]:
    """A browser that runs."""
    os.environ["PLAYWRIGHT_NODEJS_PATH"] = str(brought.node)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=brought.chromium,
            env={**brought.environment},
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"],
        )
        yield running
        running.close()


@pytest.fixture(scope="session")
def chromium(brought: Brought, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that starts the browser with what it needs: the crawler is told no more than a program."""
    os.environ["PLAYWRIGHT_NODEJS_PATH"] = str(brought.node)
    program = tmp_path_factory.mktemp("chromium") / "chromium"
    needs = "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name, value in brought.environment.items()
        if name in ("LD_LIBRARY_PATH", "FONTCONFIG_PATH")
    )
    program.write_text(f'#!/bin/sh\n{needs}exec {shlex.quote(str(brought.chromium))} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Pages that are served, and what they show."""
    with _serving(tmp_path_factory.mktemp("world")) as world:
        yield world


@contextmanager
def _serving(folder: Path) -> Iterator[World]:
    """Serve pages from a thread with a loop of its own."""
    ready: list[World] = []
    failed: list[BaseException] = []
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with pages_in(folder) as pages:
            server = WebServer(pages.app, None)
            port = server.bind("127.0.0.1:0")
            await server.start()
            ready.append(fill(pages, f"http://127.0.0.1:{port}"))
            started.set()
            try:
                await stop.wait()
            finally:
                await server.stop()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    with ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(lambda: loops[0].call_soon_threadsafe(stop.set) if ready else None)
        started.wait()
        if failed:
            raise failed[0]
        yield ready[0]


class Tab:
    """A page of the browser, with what went wrong in it."""

    def __init__(self, page: Page, world: World) -> None:
        self.page = page
        self.world = world
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", self._asked)
        page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def _asked(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def open(self, path: str) -> None:
        """Go to a page, and wait until its scripts are ready."""
        self.page.goto(self.world.url + path)
        self.ready()

    def ready(self) -> None:
        """Wait until the page's scripts are ready, the viewer's too."""
        self.page.wait_for_selector("body[data-ready=yes]")
        if self.page.query_selector("[data-viewer]:not([data-viewer=none])"):
            self.page.wait_for_selector("[data-viewer][data-ready=yes]")

    def sign_in(self, name: str, onward: str = "/") -> None:
        """Sign in with a key."""
        self.page.goto(f"{self.world.url}/sign-in?next={onward}")
        self.page.fill("#key", self.world.pages.keys[name])
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(lambda url: "/sign-in" not in url)
        self.ready()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture
def tabs(browser: Browser, world: World) -> Iterator["Tabs"]:
    """Opens pages; in the end nothing may have gone wrong in any."""
    opened = Tabs(browser, world)
    yield opened
    opened.close()


class Tabs:
    """Opens pages in contexts of their own: as different people would."""

    def __init__(self, browser: Browser, world: World) -> None:
        self._browser = browser
        self._world = world
        self._tabs: list[Tab] = []

    def __call__(
        self,
        name: str = "",
        *,
        width: int = 1280,
        height: int = 800,
        language: str = "en-GB",
        dark: bool = False,
    ) -> Tab:
        """Open one, and sign in there with a key."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            locale=language,
            color_scheme="dark" if dark else "light",
            has_touch=width < 500,
            accept_downloads=True,
        )
        context.set_default_timeout(PATIENCE_MS)
        tab = Tab(context.new_page(), self._world)
        self._tabs.append(tab)
        if name:
            tab.sign_in(name)
        return tab

    def close(self) -> None:
        """Close them all; raise if anything went wrong in one."""
        faults = [fault for tab in self._tabs for fault in tab.faults]
        for tab in self._tabs:
            tab.page.context.close()
        assert not faults
