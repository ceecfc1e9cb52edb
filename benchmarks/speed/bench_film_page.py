"""The case page of a two-hour film: what has to be sent until its first segment is seen and plays.

    python -m benchmarks.speed.bench_film_page --json film_page.json
    python -m benchmarks.speed.bench_film_page --smoke

A film of a minute and one of `--seconds`, which is the same pictures and sounds over and over, are each found
at a site whole, from a third of it on. Their previews are made as the service makes them; the long one's
packets are the short one's, repeated. A process of its own serves the pages; a browser opens both case pages,
over a line of `LINE` bytes a second, and plays. What the server sent is counted as it leaves the application.
A browser is needed: ``python -m tests.browser.bring`` brings one.
"""

import asyncio
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO

import av
import psutil
from playwright.sync_api import Browser, sync_playwright
from starlette.types import Message, Receive, Scope, Send

from benchmarks.speed import harness
from indexers.fingerprint import SpanUnit
from indexers.modality import AlignedSegment, MediaLimits
from indexers.previews import Budget, Facts, Kind
from indexers.video import preview
from service.web.server import WebServer
from tests import films, sounds
from tests.browser.bring import brought
from tests.pages import Files, pages_in

SHORT_SECONDS = 60
REPEATED = 5
LINE = 1_250_000
"""Bytes a second that the browser's line takes: 10 Mbit/s."""
DELAY_MS = 20
"""From the browser to the server and back."""
_SITE = "films.example"
_SEGMENT = 30.0
_READY = """() => [...document.querySelectorAll('[data-player]')].every(
    (one) => one.currentTime > 0 && one.readyState >= 2 && !one.seeking)"""
_PLAYS = """() => [...document.querySelectorAll('[data-player]')].every(
    (one) => { one.began ??= one.currentTime; return !one.paused && one.currentTime >= one.began + 1; })"""


class _Written:
    """The files of a preview, in memory."""

    def __init__(self) -> None:
        self._open: dict[Kind, io.BytesIO] = {}
        self.files: dict[Kind, tuple[bytes, Facts]] = {}

    def begin(self, kind: Kind) -> BinaryIO:
        return self._open.setdefault(kind, io.BytesIO())

    def end(self, kind: Kind, facts: Facts) -> None:
        self.files[kind] = (self._open.pop(kind).getvalue(), facts)


def short_film() -> Files:
    """The preview of a film with sound."""
    frames = films.frames("first", 0, SHORT_SECONDS)
    written = _Written()
    film = films.encoded(frames, sounds.tune(1, SHORT_SECONDS))
    preview.preview(io.BytesIO(film), MediaLimits(), written, Budget())
    return written.files


def repeated(short: Files, seconds: float) -> Files:
    """The same film, over and over."""
    clip, facts = short[Kind.CLIP]
    target = io.BytesIO()
    with (
        av.open(io.BytesIO(clip), "r") as source,
        av.open(target, "w", "webm", options={"fflags": "+bitexact"}) as output,
    ):
        tracks = [output.add_stream_from_template(one) for one in source.streams]
        packets = [(one, one.pts, one.dts) for one in source.demux() if one.dts is not None]
        ends = [
            float((pts + (one.duration or 0)) * one.time_base) for one, pts, _ in packets if pts is not None
        ]
        period = max(ends) + 0.1
        times = round(seconds / period)
        for number in range(times):
            for one, pts, dts in packets:
                again = av.Packet(bytes(one))
                shift = round(number * period / one.time_base)
                again.pts, again.dts = (pts or 0) + shift, (dts or 0) + shift
                again.time_base, again.duration = one.time_base, one.duration
                again.is_keyframe, again.stream = one.is_keyframe, tracks[one.stream.index]
                output.mux(again)
    length = times * period
    waves, spectrum = short[Kind.WAVEFORM][0] * times, short[Kind.SPECTROGRAM]
    return {
        **short,
        Kind.CLIP: (target.getvalue(), replace(facts, seconds=length)),
        Kind.WAVEFORM: (waves, Facts(seconds=length)),
        Kind.SPECTROGRAM: (spectrum[0], replace(spectrum[1], seconds=length)),
    }


# The server


@dataclass
class _Count:
    """What was sent since it was asked last."""

    requests: int = 0
    sent: int = 0

    def around(self, app: Any) -> Any:
        """An application that counts what `app` sends."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            async def pass_on(message: Message) -> None:
                self.sent += len(message.get("body", b""))
                await send(message)

            self.requests += scope["type"] == "http"
            await app(scope, receive, pass_on)

        return counted


def serve(folder: str, sides: Mapping[str, Files], line: Connection) -> None:
    """Serve the pages of both films until `line` closes; tell over it what was sent, and what it cost."""
    asyncio.run(_serve(Path(folder), sides, line))


async def _serve(folder: Path, sides: Mapping[str, Files], line: Connection) -> None:
    async with pages_in(folder) as pages:
        addresses = {}
        for name, files in sides.items():
            length = files[Kind.CLIP][1].seconds
            work = pages.add_work(name, filename=f"{name}.mp4", modality="video", files=files)
            start = round(length / 3)
            segment = AlignedSegment(
                (start + 7, start + 7 + _SEGMENT), (start, start + _SEGMENT), 1.0, SpanUnit.SECOND
            )
            pages.add_report(work, _SITE, modality="video", files=files, segments=[segment])
            addresses[name] = f"/cases/{pages.case_of(work, _SITE).id}"
        count = _Count()
        server = WebServer(count.around(pages.app), None)
        port = server.bind("127.0.0.1:0")
        await server.start()
        me = psutil.Process()
        line.send((port, pages.keys["admin"], addresses))
        while await asyncio.to_thread(_asked, line):
            times = me.cpu_times()
            line.send((count.requests, count.sent, times.user + times.system, me.memory_info().rss))
        await server.stop()


def _asked(line: Connection) -> bool:
    try:
        return bool(line.recv())
    except EOFError:
        return False


# The browser


def look(browser: Browser, url: str, key: str, path: str, line: Connection) -> dict[str, float]:
    """Open a case's page, and play: what the server sent until then, and what that cost it."""

    def spent() -> tuple[int, int, float, int]:
        line.send(True)
        values: tuple[int, int, float, int] = line.recv()
        return values

    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-ready=yes]")
    control = context.new_cdp_session(page)
    control.send("Network.enable")
    how = {"offline": False, "latency": DELAY_MS, "downloadThroughput": LINE, "uploadThroughput": LINE}
    control.send("Network.emulateNetworkConditions", how)
    control.send("Network.setCacheDisabled", {"cacheDisabled": True})
    before = spent()
    began = time.monotonic()
    page.goto(url + path)
    page.wait_for_selector("[data-viewer][data-ready=yes]")
    page.wait_for_function(_READY)
    seen, seen_after = spent(), time.monotonic() - began
    page.keyboard.press("Space")
    page.wait_for_function(_PLAYS)
    played = spent()
    context.close()
    return {
        "requests": seen[0] - before[0],
        "megabytes_until_seen": (seen[1] - before[1]) / 1e6,
        "megabytes_until_played_a_second": (played[1] - before[1]) / 1e6,
        "seconds_until_seen": seen_after,
        "server_cpu_ms": 1000 * (played[2] - before[2]),
        "server_megabytes": played[3] / 1e6,
    }


def measure(sides: Mapping[str, Files], times: int) -> dict[str, Any]:
    """Medians of looking at each film, by turns."""
    looks: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        mine, other = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, sides, other))
        process.start()
        stack.callback(process.join)
        stack.callback(mine.close)
        other.close()
        port, key, addresses = mine.recv()
        url = f"http://127.0.0.1:{port}"
        found = brought()
        os.environ["PLAYWRIGHT_NODEJS_PATH"] = str(found.node)
        driver = stack.enter_context(sync_playwright())
        browser = driver.chromium.launch(
            executable_path=found.chromium,
            env={**found.environment},
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"],
        )
        stack.callback(browser.close)
        for _ in range(times):
            for name in sides:
                looks[name].append(look(browser, url, key, addresses[name], mine))
    return {
        name: {
            "seconds": files[Kind.CLIP][1].seconds,
            "clip_megabytes": len(files[Kind.CLIP][0]) / 1e6,
            **{what: statistics.median(one[what] for one in looks[name]) for what in looks[name][0]},
        }
        for name, files in sides.items()
    }


def bounds_of(figures: Mapping[str, Mapping[str, float]]) -> list[harness.Bound]:
    """The page of the long film against that of the short one, and against the films themselves."""
    short, long = figures["short"], figures["long"]
    share = long["megabytes_until_seen"] / (2 * long["clip_megabytes"])
    cost = long["server_cpu_ms"] / short["server_cpu_ms"]
    grown = long["server_megabytes"] - short["server_megabytes"]
    return [
        harness.Bound.at_most(0.1, "of both films' clips is sent until the first segment is seen", share),
        harness.Bound.at_most(3.0, "server's CPU, of the short film's page", cost),
        harness.Bound.at_most(16.0, "megabytes that the server grows by", grown),
    ]


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--seconds", type=int, default=7200, help="of the long film")
    options = parser.parse_args()
    seconds, times = (1200, 1) if options.smoke else (options.seconds, REPEATED)
    short = short_film()
    figures = measure({"short": short, "long": repeated(short, seconds)}, times)
    return harness.finish(options, figures, bounds_of(figures))


if __name__ == "__main__":
    raise SystemExit(main())
