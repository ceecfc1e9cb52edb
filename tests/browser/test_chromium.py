"""Chromium has no way out but the crawler's, and no page keeps it for ever."""

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from crawler.chromium import Chromium
from crawler.rendering import BrowserError, Given, RefusedLoadError, Rendered, RenderError, Visit, Wanted

pytestmark = pytest.mark.browser

T = TypeVar("T")

PAGE = "http://site.example/page"


class Site:
    """Answers what pages ask for, and notes it."""

    def __init__(self, answers: dict[str, tuple[str, str]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[tuple[str, str]] = []

    async def load(self, wanted: Wanted) -> Given:
        path = wanted.url.partition("site.example")[2]
        self.asked.append((wanted.kind, path or wanted.url))
        if path not in self.answers:
            raise RefusedLoadError("it is not there")
        target, text = self.answers[path]
        kind = "text/css" if path.endswith(".css") else "text/html"
        return Given(f"http://site.example{target}", 200, {"content-type": kind}, text.encode())

    async def render(self, browser: Chromium, html: str, seconds: float = 120.0) -> Rendered:
        headers = {"content-type": "text/html; charset=utf-8"}
        return await browser.render(Visit(Given(PAGE, 200, headers, html.encode()), self.load, seconds))


class Loop:
    """An event loop in a thread: the tests' own may belong to another browser."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """One event loop for all tests, as the browser is one for all pages."""
    opened = Loop()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shower(loop: Loop, chromium: Path) -> Iterator[Chromium]:
    """The crawler's browser. Without its sandbox: whoever runs the tests may be root."""
    opened = Chromium(chromium, sandbox=False)
    yield opened
    loop.run(opened.close())


def test_pages_that_load_more_for_ever_end(loop: Loop, shower: Chromium) -> None:
    """And references go by where frames and styles moved to."""
    answers = {
        "/old.css": ("/css/new.css", ""),
        "/css/new.css": ("/css/new.css", "body { background: url(sheet.png) }"),
        "/old": ("/frames/new", ""),
        "/frames/new": ("/frames/new", '<img src="framed.png">'),
    }
    site = Site(answers)
    html = """<link rel="stylesheet" href="/old.css"><iframe src="/old"></iframe><script>
    const add = () => document.body.insertAdjacentHTML("beforeend",
      '<p style="height:900px"><img src="/i/' + document.images.length + '.png">');
    onscroll = () => { if (scrollY + innerHeight > document.documentElement.scrollHeight - 50) add() };
    onload = () => { add(); add() };
    </script>"""
    rendered = loop.run(site.render(shower, html))
    assert 5 <= rendered.dom.count(b"<img") <= 60
    assert rendered.screenshot is not None
    assert (rendered.screenshot.height, rendered.screenshot.whole) == (8000, False)
    assert rendered.screenshot.image.startswith(b"\xff\xd8\xff")
    assert {("image", "/css/sheet.png"), ("image", "/frames/framed.png")} <= set(site.asked)


def test_there_is_no_way_out(loop: Loop, shower: Chromium) -> None:
    """Neither by TCP nor by UDP does anything reach the machine that the browser runs on."""
    site = Site()
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        tcp.settimeout(0)
        udp.settimeout(0)
        html = f"""<p id="p">here</p><script>
        const at = "127.0.0.1:{tcp.getsockname()[1]}";
        new WebSocket("ws://" + at);
        const peer = new RTCPeerConnection({{iceServers: [
          {{urls: "stun:127.0.0.1:{udp.getsockname()[1]}"}},
          {{urls: "turn:" + at + "?transport=tcp", username: "u", credential: "c"}}]}});
        peer.createDataChannel("x");
        peer.onicegatheringstatechange = () => {{
          if (peer.iceGatheringState == "complete") fetch("/gathered");
        }};
        peer.createOffer().then(offer => peer.setLocalDescription(offer));
        navigator.sendBeacon("http://" + at + "/beacon", "x");
        new EventSource("http://" + at + "/events");
        new Worker(URL.createObjectURL(new Blob(["fetch('http://" + at + "/worker')"])));
        for (const rel of ["preconnect", "dns-prefetch", "prefetch"]) {{
          const link = document.createElement("link");
          link.rel = rel; link.href = "http://" + at + "/" + rel; document.head.append(link);
        }}
        alert(1); confirm(2); print();
        window.open("/popup");
        const a = document.createElement("a");
        a.href = URL.createObjectURL(new Blob(["x"])); a.download = "file"; a.click();
        onbeforeunload = () => "stay";
        location.href = "/away";
        </script>"""
        rendered = loop.run(site.render(shower, html))
        with pytest.raises(BlockingIOError):
            tcp.accept()
        with pytest.raises(BlockingIOError):
            udp.recvfrom(1)
    kinds = {kind for kind, _ in site.asked}
    assert {"websocket", "ping", "eventsource", "fetch"} <= kinds
    assert b'<p id="p">here</p>' in rendered.dom
    assert set(rendered.led_to) == {"http://site.example/popup", "http://site.example/away"}


def test_a_page_that_never_ends_is_given_up(loop: Loop, shower: Chromium) -> None:
    with pytest.raises(RenderError, match="come to rest"):
        loop.run(Site().render(shower, "<script>for (;;) alert(1)</script>", 2))
    with pytest.raises(RenderError, match="window after window"):
        loop.run(Site().render(shower, "<script>for (let n = 0; n < 50; n++) open('/' + n)</script>"))
    with pytest.raises(RenderError, match="it went to about:blank"):
        loop.run(Site().render(shower, "<script>location = 'about:blank'</script>"))
    assert b"after" in loop.run(Site().render(shower, "<p>after</p>")).dom


@pytest.mark.usefixtures("chromium")
def test_what_is_no_browser(loop: Loop, tmp_path: Path) -> None:
    broken = Chromium(tmp_path / "none", sandbox=False)
    with pytest.raises(BrowserError, match="COPYHOUND_CRAWLER_BROWSER names a Chromium"):
        loop.run(Site().render(broken, "<p>"))
    loop.run(broken.close())


def test_a_driver_that_does_not_start(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", "/bin/false")
    shower = Chromium(tmp_path / "none", sandbox=False)
    with pytest.raises(BrowserError, match=r"Playwright's driver does not start: .*libatomic1"):
        loop.run(Site().render(shower, "<p>"))
    loop.run(shower.close())


def test_its_own_sandbox_is_on_unless_it_is_turned_off(loop: Loop, chromium: Path) -> None:
    """Whoever runs the tests may be one who cannot have it: then it does not start, and says what to do."""
    shower = Chromium(chromium, sandbox=True)
    try:
        if os.geteuid() == 0:
            with pytest.raises(BrowserError, match="not for root: run the crawler as an ordinary user"):
                loop.run(Site().render(shower, "<p>"))
        elif subprocess.run(["unshare", "--user", "true"], check=False).returncode:
            with pytest.raises(BrowserError, match="user namespaces are closed to it"):
                loop.run(Site().render(shower, "<p>"))
        else:
            assert b"shown" in loop.run(Site().render(shower, "<p>shown</p>")).dom
    finally:
        loop.run(shower.close())


def test_closing_ends_what_is_under_way(loop: Loop, shower: Chromium) -> None:
    """The last test of this file: the browser does not start again."""

    async def close_while_it_waits() -> None:
        asked, never = asyncio.Event(), asyncio.Event()

        async def load(_: Wanted) -> Given:
            asked.set()
            await never.wait()
            raise RefusedLoadError("it was not waited for")

        answer = Given(PAGE, 200, {"content-type": "text/html"}, b'<script src="/app.js"></script>')
        showing = asyncio.ensure_future(shower.render(Visit(answer, load, 600.0)))
        await asked.wait()
        await shower.close()
        with pytest.raises(RenderError, match="the browser is closed"):
            await showing

    loop.run(close_while_it_waits())
