"""Page rate, memory and revisits of the crawler, beside a bare Scrapy spider on the same site.

    python -m benchmarks.speed.bench_crawl --json crawl.json
    python -m benchmarks.speed.bench_crawl --smoke

A site on loopback has pages that link to each other, each with pictures of its own. The bare spider is the
one of Scrapy's tutorial: it follows all links with LinkExtractor and yields the pictures' bytes to nobody.
The crawler does what it always does: robots.txt, frontier in its database, media found wherever they are, a
capture of each picture as WARC, handed over to a folder, or to a service. All run without pauses and with the
same number of requests at a time. Rates are requests by CPU second of the crawling process, of runs that take
turns.

Memory is that of the crawler's process at a tenth of a large site and at its end. The second run visits the
same site when one page in a hundred has changed, with its pictures.

With ``--browser CHROMIUM``, only what rendering costs is measured: a site whose pages have two pictures
in their HTML and two that a script puts there, crawled without the browser and with it.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

import copyhound
from benchmarks.speed import harness
from benchmarks.speed.harness import Bound, Service
from tests.sites import Answer, Asked, Server, missing, with_validators

_AT_ONCE = 16
_FILLER = "<p>" + "Words that make a page as long as pages are. " * 60 + "</p>"

_SCRIPT = b"""fetch("/api/" + document.body.dataset.page).then(answer => answer.json()).then(names => {
  for (const name of names)
    document.getElementById("more").insertAdjacentHTML("beforeend", `<img src="/i/${name}.png" width=300>`);
});"""

_BARE = """
import sys
from scrapy import Spider
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.linkextractors import LinkExtractor

class Bare(Spider):
    name = "bare"
    start_urls = [sys.argv[1]]
    links = LinkExtractor()
    async def parse(self, response):
        if not hasattr(response, "css"):
            return
        for link in self.links.extract_links(response):
            yield response.follow(link)
        for source in response.css("img::attr(src)").getall():
            yield response.follow(source)

process = AsyncCrawlerProcess({"LOG_LEVEL": "ERROR", "ROBOTSTXT_OBEY": True,
    "CONCURRENT_REQUESTS": int(sys.argv[2]),
    "CONCURRENT_REQUESTS_PER_DOMAIN": int(sys.argv[2]),
    "DOWNLOAD_DELAY": 0, "TELNETCONSOLE_ENABLED": False,
    "DEPTH_LIMIT": 0})
process.crawl(Bare)
process.start()
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A site: pages in a tree with ten branches, each page with pictures.

    Attributes:
        pages: How many.
        pictures: On each page.
        picture_bytes: Of one.
        changed: One page in so many is another one than before; 0: none.
    """

    pages: int
    pictures: int
    picture_bytes: int
    changed: int = 0

    def __call__(self, asked: Asked) -> Answer:
        """Answer a request."""
        name, _, number = asked.path.strip("/").partition("/")
        if asked.path == "/robots.txt":
            return Answer(b"User-agent: *\nDisallow: /private/\n", "text/plain")
        if asked.path == "/":
            return with_validators(self._page(0), asked)
        if not number.partition(".")[0].isdigit():
            return missing()
        index = int(number.partition(".")[0])
        if name == "page":
            return with_validators(self._page(index), asked)
        return with_validators(self._picture(index), asked)

    def _edition(self, page: int) -> str:
        return " anew" if self.changed and page % self.changed == 1 else ""

    def _page(self, index: int) -> Answer:
        children = range(10 * index + 1, min(10 * index + 11, self.pages))
        links = "".join(f'<a href="/page/{child}">{child}</a> ' for child in children)
        first = index * self.pictures
        if self._edition(index):
            first += self.pages * self.pictures
        pictures = "".join(f'<img src="/i/{first + k}.png" alt="{k}">' for k in range(self.pictures))
        head = f"<html><head><title>Page {index}</title></head>"
        text = f"{head}<body>{links}{pictures}{_FILLER}</body></html>"
        return Answer(text.encode())

    def _picture(self, index: int) -> Answer:
        seed = b"\x89PNG\r\n\x1a\n" + index.to_bytes(8, "big")
        return Answer((seed * (self.picture_bytes // len(seed) + 1))[: self.picture_bytes], "image/png")


@dataclass(frozen=True, slots=True)
class Scripted:
    """A site whose pages show two pictures, and two more by a script.

    Attributes:
        pages: How many.
    """

    pages: int

    def __call__(self, asked: Asked) -> Answer:
        """Answer a request."""
        name, _, number = asked.path.strip("/").partition("/")
        if name in ("", "page"):
            index = int(number or 0)
            following = f'<a href="/page/{index + 1}">next</a>' if index + 1 < self.pages else ""
            pictures = "".join(f'<img src="/i/{index}-{k}.png" width="300" height="200">' for k in range(2))
            head = f'<title>Page {index}</title><link rel="stylesheet" href="/site.css">'
            script = '<div id="more"></div><script src="/site.js"></script>'
            text = f'<!doctype html><html><head>{head}</head><body data-page="{index}">'
            return with_validators(Answer(f"{text}{following}{pictures}{_FILLER}{script}".encode()), asked)
        if name == "i":
            body = b"\x89PNG\r\n\x1a\n" + (number.encode() * 5_000)[:20_000]
            return with_validators(Answer(body, "image/png"), asked)
        if name == "api":
            names = [f"{number}-{k}" for k in range(2, 4)]
            return Answer(json.dumps(names).encode(), "application/json")
        files = {"site.css": (b"body { margin: 2em }", "text/css"), "site.js": (_SCRIPT, "text/javascript")}
        return Answer(*files[name]) if name in files else missing()


def _serve(shape: Shape | Scripted, pipe: Connection, port: int) -> None:
    server = Server(shape, port=port)
    server.start()
    pipe.send(server.url)
    pipe.recv()
    pipe.send((sum(server.asked.values()), sum(server.bodies.values())))
    server.stop()


@contextmanager
def site(shape: Shape | Scripted, port: int = 0) -> Iterator[tuple[str, Any]]:
    """Serve a site in a process of its own; yields its address, and what counts requests and bodies."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(shape, there, port))
    process.start()
    url = here.recv()
    counted: list[tuple[int, int]] = []

    def count() -> tuple[int, int]:
        if not counted:
            here.send("count")
            counted.append(here.recv())
        return counted[0]

    try:
        yield url, count
    finally:
        count()
        process.join()


@dataclass(frozen=True, slots=True)
class Cost:
    """What one crawl cost.

    Attributes:
        seconds: CPU seconds.
        early: Resident MiB when a tenth of the requests was answered.
        late: Largest resident MiB.
    """

    seconds: float
    early: float
    late: float


def run(
    command: list[str], environment: Mapping[str, str], *, watch: Path | None = None, tenth: int = 0
) -> Cost:
    """Run a crawl to its end.

    Args:
        command: The command.
        environment: Its environment.
        watch: Where the crawl says how far it is; None: memory is not looked at.
        tenth: Pages of a tenth of the site.
    """
    log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process's end
    before = os.times()
    with log, subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log) as process:
        early, late = 0.0, 0.0
        own = psutil.Process(process.pid)
        while True:
            try:
                process.wait(0.5)
                break
            except subprocess.TimeoutExpired:
                pass
            if watch is not None:
                try:
                    resident = own.memory_info().rss / 2**20
                    pages = json.loads(watch.read_text())["pages"] if watch.exists() else 0
                except (psutil.NoSuchProcess, ValueError):
                    continue
                late = max(late, resident)
                if pages <= tenth:
                    early = max(early, resident)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(log.read().decode(errors="replace")[-2000:])
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(spent, early, late)


def crawl(url: str, folder: Path, pages: int, *, number: int = 0, tenth: int = 0, browser: str = "") -> Cost:
    """Crawl a site with the crawler, into a folder."""
    command = [sys.executable, "-m", "crawler", "places", f"{url}/", "--data", str(folder / "data")]
    command += [
        "--out",
        str(folder / "out"),
        "--depth",
        "100",
        "--pages",
        str(pages),
        "--number",
        str(number),
    ]
    watch = folder / "out/run.json" if tenth else None
    return run(command, _environment(browser), watch=watch, tenth=tenth)


def crawl_for(service: Service, url: str, folder: Path) -> Cost:
    """Crawl a site for a service, which gets every capture."""
    place = copyhound.Place(copyhound.PlaceKind.PAGE, f"{url}/")
    wanted = copyhound.NewMonitoringList("bench", places=(place,), max_depth=100, max_pages=10_000_000)
    with copyhound.Client(service.target) as client:
        name = client.run_list(client.create_list(wanted).name).name
    command = [sys.executable, "-m", "crawler", "run", "--data", str(folder), "--server", service.target]
    return run([*command, "--run", name], _environment())


def _environment(browser: str = "") -> dict[str, str]:
    return {
        **os.environ,
        "COPYHOUND_CRAWLER_THROTTLE": "false",
        "COPYHOUND_CRAWLER_DELAY": "0",
        "COPYHOUND_CRAWLER_CONCURRENCY": str(_AT_ONCE),
        "COPYHOUND_CRAWLER_HOST_CONCURRENCY": str(_AT_ONCE),
        "COPYHOUND_CRAWLER_HOST_PAGES": "10000000",
        "COPYHOUND_CRAWLER_REPORT_SECONDS": "1",
        "COPYHOUND_CRAWLER_CONTACT": "bench@example.org",
        "COPYHOUND_CRAWLER_ALLOW_ADDRESS": "127.0.0.1",
        "COPYHOUND_CRAWLER_BARREN_PAGES": "10000000",
        "COPYHOUND_CRAWLER_BROWSER_SANDBOX": "false" if os.geteuid() == 0 else "true",
        **({"COPYHOUND_CRAWLER_BROWSER": browser} if browser else {}),
    }


def rates(shape: Shape, rounds: int) -> dict[str, Any]:
    """Requests by CPU second of the bare spider, of the crawler without and with a service, in turns."""
    measured: dict[str, list[float]] = {"bare": [], "crawler": [], "served": []}
    for _ in range(rounds):
        with site(shape) as (url, count):
            cost = run([sys.executable, "-c", _BARE, f"{url}/", str(_AT_ONCE)], os.environ)
            measured["bare"].append(count()[0] / cost.seconds)
        with site(shape) as (url, count), tempfile.TemporaryDirectory() as name:
            cost = crawl(url, Path(name), 10_000_000)
            measured["crawler"].append(count()[0] / cost.seconds)
        with site(shape) as (url, count), tempfile.TemporaryDirectory() as name:
            with harness.service(Path(name) / "hound") as service:
                cost = crawl_for(service, url, Path(name) / "data")
            measured["served"].append(count()[0] / cost.seconds)
    middle = {name: statistics.median(values) for name, values in measured.items()}
    return {
        "pages": shape.pages,
        "pictures": shape.pages * shape.pictures,
        "bare_requests_per_cpu_second": middle["bare"],
        "crawler_requests_per_cpu_second": middle["crawler"],
        "served_requests_per_cpu_second": middle["served"],
        "ratio": middle["crawler"] / middle["bare"],
        "served_ratio": middle["served"] / middle["bare"],
    }


def revisits(shape: Shape, changed: int) -> dict[str, Any]:
    """Bodies of a second run after one page in `changed` has changed, as a part of those of the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with site(shape) as (url, count):
            port = int(url.rpartition(":")[2])
            crawl(url, folder, 10_000_000)
            first = count()
        with site(Shape(shape.pages, shape.pictures, shape.picture_bytes, changed), port) as (url, count):
            crawl(url, folder, 10_000_000, number=1)
            second = count()
    changes = len(range(1, shape.pages, changed))
    return {
        "requests": first[0],
        "changed_part": changes * (1 + shape.pictures) / (shape.pages * (1 + shape.pictures)),
        "bodies_part": second[1] / first[1],
    }


def memory(pages: int) -> dict[str, float]:
    """Resident MiB over a large site."""
    with site(Shape(pages, 0, 0)) as (url, _), tempfile.TemporaryDirectory() as name:
        cost = crawl(url, Path(name), 10_000_000, tenth=pages // 10)
    return {
        "pages": pages,
        "mib_at_a_tenth": cost.early,
        "mib_at_most": cost.late,
        "growth": cost.late - cost.early,
    }


def rendering(pages: int, browser: str) -> dict[str, Any]:
    """What a page costs without and with a browser."""
    figures: dict[str, Any] = {"pages": pages}
    for name, program in (("without", ""), ("with", browser)):
        with site(Scripted(pages)) as (url, count), tempfile.TemporaryDirectory() as folder:
            cost = crawl(url, Path(folder), 10_000_000, browser=program)
            captures = json.loads((Path(folder) / "out/run.json").read_text())["captures"]
            size = sum(path.stat().st_size for path in (Path(folder) / "out/captures").iterdir())
        figures[name] = {
            "cpu_seconds_a_page": cost.seconds / pages,
            "requests_a_page": count()[0] / pages,
            "pictures_a_page": captures / pages,
            "kib_a_capture": size / 1024 / captures,
        }
    return figures


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--pages", type=int, default=600, help="pages of the site that rates are taken on")
    parser.add_argument("--rounds", type=int, default=3, help="crawls of each kind, in turns")
    parser.add_argument("--urls", type=int, default=100_000, help="pages of the site that memory is taken on")
    parser.add_argument("--browser", default="", help="measure rendering instead, with this Chromium")
    options: argparse.Namespace = parser.parse_args()
    if options.browser:
        return harness.finish(options, {"rendering": rendering(options.pages, options.browser)}, [])
    if options.smoke:
        return harness.finish(options, {"rate": rates(Shape(12, 2, 500), 1)}, [])
    figures: dict[str, Any] = {
        "rate": rates(Shape(options.pages, 2, 20_000), options.rounds),
        "second_run": revisits(Shape(400, 2, 2_000), 100),
        "memory": memory(options.urls),
    }
    bounds = [
        Bound.at_least(0.7, "requests by CPU second, crawler to bare spider", figures["rate"]["ratio"]),
        Bound.at_least(0.7, "the same, with a service to hand over to", figures["rate"]["served_ratio"]),
        Bound.at_most(
            0.02,
            "bodies of a second run with 1 % changed, part of the first",
            figures["second_run"]["bodies_part"],
        ),
        Bound.at_most(
            40, "growth of memory from a tenth of the URLs to all, MiB", figures["memory"]["growth"]
        ),
    ]
    return harness.finish(options, figures, bounds)


if __name__ == "__main__":
    raise SystemExit(main())
