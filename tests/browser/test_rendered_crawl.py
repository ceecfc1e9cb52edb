"""A crawl with a browser: what scripts show is found, what they ask for keeps the crawler's rules."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from copyhound import evidence
from copyhound.cli import app
from tests.e2e.crawling import Crawled, command, crawl, environment
from tests.sites import Answer, Asked, Server, missing, serving, with_validators

pytestmark = pytest.mark.browser

SETTINGS = {"BROWSER_SANDBOX": "false", "ALLOW_ADDRESS": "127.0.0.1", "MAX_MEDIA_MB": "4"}
"""The sites are ours; and whoever runs the tests may be root."""

HOME = (
    b"""<title>Home</title><img src="/i/home.png"><a href="/gallery">g</a>""" + b"<p>Many words. </p>" * 150
)
GALLERY = b"""<title>Gallery</title><div id="g"></div><script src="/app.js"></script>
<script src="/private/app.js"></script><script>
for (const url of ["http://169.254.169.254/latest/", "OTHER/secret", "/api/vote"])
  fetch(url, {method: url.startsWith("/") ? "POST" : "GET"}).catch(() => 0);
</script><div style="height:3000px"></div><div id="d" style="height:9px"></div>"""
APP = b"""fetch("/api/list").then(a => a.json()).then(names => {
  const g = document.getElementById("g").attachShadow({mode: "open"});
  for (const name of names)
    g.innerHTML += `<figure><img src="/i/${name}.png"><figcaption>${name}</figcaption></figure>`;
  document.body.insertAdjacentHTML("beforeend", '<a href="/found">more</a>');
  new Image().src = "/i/drawn.png";
  new IntersectionObserver(seen => {
    if (seen[0].isIntersecting) d.innerHTML = '<img src="/i/lazy.png">';
  }).observe(d);
});"""


def picture(name: str) -> bytes:
    """Bytes that are taken for a picture, others for each name."""
    return b"\x89PNG\r\n\x1a\n" + name.encode() * 40


@dataclass(slots=True)
class Site:
    """The site, and another on an address that may not be connected to."""

    other: str = ""

    def __call__(self, asked: Asked) -> Answer:
        pages = {
            "/": HOME,
            "/gallery": GALLERY.replace(b"OTHER", self.other.encode()),
            "/found": b"<title>Found</title>",
        }
        if asked.path == "/robots.txt":
            return Answer(b"User-agent: *\nDisallow: /private/\n", "text/plain")
        if asked.path == "/app.js":
            return Answer(APP, "text/javascript")
        if asked.path == "/api/list":
            return Answer(json.dumps(["one", "two"]).encode(), "application/json")
        if asked.path.startswith("/i/"):
            return with_validators(Answer(picture(asked.path), "image/png"), asked)
        if asked.path in pages:
            return with_validators(Answer(pages[asked.path]), asked)
        return missing()


@dataclass(frozen=True, slots=True)
class Result:
    """Two crawls, of which the second was killed once, and what the site saw of them.

    Attributes:
        captured: Captures of the first.
        left: Processes that were left when the second was killed.
    """

    server: Server
    other: Server
    crawled: Crawled
    asked: dict[str, int]
    again: dict[str, int]
    bodies: dict[str, int]
    captured: int
    left: int

    def header(self, path: str) -> dict[str, object]:
        return next(h for h in self.crawled.headers() if h["media_url"] == self.server.url + path)


def killed(arguments: list[str], server: Server, settings: dict[str, str]) -> int:
    """Kill a crawl while it renders; return how many processes stay."""
    process = subprocess.Popen(
        arguments, env=environment(**settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not server.asked["/api/list"]:
        assert process.poll() is None
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.wait()
    return len(psutil.wait_procs(children, timeout=120)[1])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, chromium: Path) -> Iterator[Result]:
    folder = tmp_path_factory.mktemp("rendered")
    site = Site()
    with ExitStack() as stack:
        server = stack.enter_context(serving(site))
        other = stack.enter_context(serving(lambda _: Answer(b"a secret"), host="127.0.0.3"))
        site.other = other.url
        settings = {**SETTINGS, "BROWSER": str(chromium)}
        crawled = crawl(folder, [server.url + "/"], **settings)
        asked, captured = dict(server.asked), len(crawled.headers())
        server.asked.clear()
        server.bodies.clear()
        second = ("--number", "1")
        left = killed(command(folder, [server.url + "/"], *second), server, settings)
        crawl(folder, [server.url + "/"], *second, **settings)
        yield Result(server, other, crawled, asked, dict(server.asked), dict(server.bodies), captured, left)


def paths(result: Result) -> set[str]:
    return {str(h["media_url"]).removeprefix(result.server.url) for h in result.crawled.headers()}


def test_what_scripts_show_is_captured(result: Result) -> None:
    assert paths(result) == {f"/i/{name}.png" for name in ("home", "one", "two", "drawn", "lazy")}
    assert result.header("/i/one.png")["found_as"] == "rendered img"
    assert result.crawled.manifest(result.header("/i/one.png"))["found"]["context"] == "one"
    assert result.header("/i/drawn.png")["found_as"] == "rendered request"
    assert result.header("/i/home.png")["found_as"] == "img"


def test_links_of_scripts_are_followed(result: Result) -> None:
    assert result.asked["/found"] == 1


def test_nothing_is_fetched_twice(result: Result) -> None:
    assert {path: count for path, count in result.asked.items() if count > 1} == {}


def test_a_second_run_fetches_no_medium_again(result: Result) -> None:
    assert len(result.crawled.headers()) == result.captured
    assert not [path for path in result.bodies if path.startswith("/i/")]
    assert "/" not in result.bodies
    assert "/gallery" in result.bodies  # its shell says nothing of what it shows


def test_requests_of_scripts_keep_the_rules(result: Result) -> None:
    assert result.other.asked.total() == 0
    assert "/private/app.js" not in result.asked
    loads = {
        load["url"].removeprefix(result.server.url): load
        for load in result.crawled.manifest(result.header("/i/lazy.png"))["rendered_from"]
    }
    assert loads["http://169.254.169.254/latest/"]["refused"].startswith("refused: 169.254.169.254 hands out")
    assert loads[result.other.url + "/secret"]["refused"] == "refused: 127.0.0.3 is not a public address"
    assert loads["/api/vote"]["refused"] == "POST would change something"
    assert loads["/private/app.js"]["refused"] == "robots.txt forbids it"
    assert loads["/i/one.png"]["status"] == 200
    agents = result.server.agents
    assert agents
    assert all(agent.startswith("Copyhound/") for agent in agents)


def test_a_capture_shows_the_page(result: Result, tmp_path: Path) -> None:
    header = result.header("/i/lazy.png")
    path = result.crawled.path(header)
    shot = result.crawled.manifest(header)["screenshot"]
    assert shot["url"] == f"{result.server.url}/gallery"
    assert (shot["pixels"][0], shot["whole"], shot["complete"]) == (1280, True, True)
    assert shot["pixels"][1] > 3000
    run = CliRunner().invoke(app, ["verify", str(path), "--screenshot", str(tmp_path / "page.jpg")])
    assert run.exit_code == 0
    assert f"screenshot of {result.server.url}/gallery: 1280 × {shot['pixels'][1]} pixels" in run.stdout
    picture = (tmp_path / "page.jpg").read_bytes()
    assert picture.startswith(b"\xff\xd8\xff")
    dom = result.crawled.manifest(header)["dom"]
    whole = path.read_bytes()
    assert b'<img src="/i/lazy.png">' in whole
    assert dom["bytes"] > 100
    (tmp_path / "altered.warc").write_bytes(whole.replace(picture, picture[:-3] + b"x\xff\xd9"))
    findings = evidence.verify(tmp_path / "altered.warc").findings
    assert len(findings) == 2
    assert "(resource, urn:fullPage:" in findings[0]
    assert findings[1].startswith("the screenshot was altered")


def test_killed_while_rendering(result: Result) -> None:
    """The browser ends with the crawler; what was under way is asked for again, what was done is not."""
    assert result.left == 0
    assert max(result.again.values()) <= 2
    assert result.again["/"] == 1
