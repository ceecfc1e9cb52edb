"""A crawl of sites that hide media, forbid pages, lie and set traps, then a second one, after a change."""

import gzip
import hashlib
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.crawling import Crawled, crawl
from tests.sites import Answer, Asked, Server, missing, serving, with_validators


def picture(name: str) -> bytes:
    """Bytes that are taken for a picture, others for each name."""
    return b"\x89PNG\r\n\x1a\n" + hashlib.sha256(name.encode()).digest() * 8


def certificate(folder: Path) -> ssl.SSLContext:
    """A certificate of its own for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "site.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


HOME = """<html><head><title>Home</title><link rel="stylesheet" href="/site.css">
<link rel="alternate" type="application/rss+xml" href="/feed">
<meta property="og:image" content="/i/open-graph.png">
<script type="application/ld+json">{"@type":"ImageObject","contentUrl":"/i/json-ld.png"}</script></head><body>
<img src="/i/plain.png"><img src="/i/shared.png"><img srcset="/i/small.png 100w, /i/large.png 900w">
<img src="data:image/gif;base64,R0lGOD" data-src="/i/lazy.png">
<div style="background:url(/i/inline.png)"></div><video poster="/i/poster.png"><source src="/h/master.m3u8"></video>
<a href="/i/linked.png">file</a><a href="/moved/1">moved</a><img src="/old/picture.png"><img src="CDN/i/cdn.png">
<a href="/gallery?page=1">gallery</a><a href="/private/page">private</a><a href="LICENSEE/watch">licensee</a>
<a href="/calendar/2026/1">calendar</a><a href="/circle/0">circle</a><a href="/bomb">bomb</a><a href="/slow">slow</a>
<a href="/cut">cut</a><a href="/inside">inside</a><a href="/metadata">metadata</a><a href="/deep/a">deep</a>
<img src="/lying.jpg"><img src="/error.jpg"><img src="/packed.png"><img src="/pixel.gif"><img src="/huge.png">
<img src="/flaky.png"><a href="/gb">gb</a><a href="/twin">twin</a>
<iframe src="CDN/player"></iframe><a href="/hidden">no</a>SESSIONS</body></html>"""


@dataclass(slots=True)
class Web:
    """The sites.

    Attributes:
        edition: 2 after something has changed.
        main: The site that is crawled.
        cdn: Another host, by TLS.
        licensee: A site to leave alone.
        flaky: How often the flaky picture failed.
    """

    edition: int = 1
    main: Server | None = None
    cdn: Server | None = None
    licensee: Server | None = None
    flaky: int = 0

    def home(self, asked: Asked) -> Answer:
        """The site that is crawled."""
        answers: dict[str, Callable[[], Answer]] = {
            "/robots.txt": lambda: Answer(
                b"User-agent: *\nDisallow: /private/\nDisallow: /i/forbidden\n", "text/plain"
            ),
            "/": self._front,
            "/site.css": lambda: Answer(b"body{background:url(i/sheet.png)}", "text/css"),
            "/feed": self._feed,
            "/moved/1": lambda: Answer(status=302, headers={"Location": "/moved/2"}),
            "/moved/2": lambda: Answer(b'<img src="/i/behind.png"><a href="/twin?copy">x</a>'),
            "/old/picture.png": lambda: Answer(status=301, headers={"Location": "/i/new.png"}),
            "/bomb": lambda: Answer(gzip.compress(b"<a>" * 3_000_000), headers={"Content-Encoding": "gzip"}),
            "/slow": lambda: Answer(b"late", wait=60 if self.edition == 1 else 0),
            "/cut": lambda: Answer(b"x" * 1000, cut=10),
            "/inside": lambda: Answer(status=302, headers={"Location": "http://10.0.0.1/"}),
            "/metadata": lambda: Answer(status=302, headers={"Location": "http://169.254.169.254/latest/"}),
            "/lying.jpg": lambda: Answer(picture("lying"), "text/html"),
            "/error.jpg": lambda: Answer(b"<!DOCTYPE html><title>Sorry</title>" + b" " * 200, "image/jpeg"),
            "/packed.png": lambda: Answer(
                gzip.compress(picture("packed")), "image/png", headers={"Content-Encoding": "gzip"}
            ),
            "/pixel.gif": lambda: Answer(b"GIF89a" + b"\0" * 30, "image/gif"),
            "/huge.png": lambda: Answer(picture("huge") * 5_000, "image/png"),
            "/flaky.png": self._flake,
            "/gb": lambda: Answer(
                '<meta charset="gb2312"><img src="/i/gb.png" alt="作品">'.encode("gb18030"), "text/html"
            ),
            "/twin": lambda: Answer(b'<img src="/i/twin.png"><a href="more">more</a>'),
            "/twin?copy": lambda: Answer(b'<img src="/i/twin.png"><a href="more">more</a>'),
            "/deep/a": lambda: Answer(b'<img src="/i/depth1.png"><a href="/deep/b">b</a>'),
            "/deep/b": lambda: Answer(b'<img src="/i/depth2.png"><a href="/deep/c">c</a>'),
            "/deep/c": lambda: Answer(b'<img src="/i/depth3.png">'),
            "/hidden": lambda: Answer(b'<img src="/i/forbidden.png">'),
            "/h/master.m3u8": lambda: Answer(
                b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\nlow.m3u8\n", "text/plain"
            ),
            "/h/low.m3u8": lambda: Answer(b"#EXTM3U\n#EXTINF:2,\n1.ts\n#EXTINF:2,\n2.ts\n", "text/plain"),
            "/h/1.ts": lambda: Answer(b"G" * 500, "video/mp2t"),
            "/h/2.ts": lambda: Answer(b"H" * 500, "video/mp2t"),
        }
        path = asked.path
        if path in answers:
            return (
                with_validators(answers[path](), asked)
                if path not in ("/flaky.png", "/h/1.ts")
                else answers[path]()
            )
        if path.startswith("/i/"):
            return with_validators(Answer(picture(path), "image/png"), asked)
        if path.startswith("/gallery?page="):
            return with_validators(self._gallery(int(path.partition("=")[2])), asked)
        if path.startswith("/calendar/"):
            month = int(path.rpartition("/")[2])
            return Answer(f'<h1>{month}</h1><a href="/calendar/2026/{month + 1}">next</a>'.encode())
        if path.startswith("/circle/"):
            step = int(path.rpartition("/")[2])
            return Answer(status=302, headers={"Location": f"/circle/{(step + 1) % 3}"})
        if path.startswith("/article"):
            return Answer(b'<img src="/i/article.png"><img src="/i/shared.png">')
        return missing()

    def _front(self) -> Answer:
        assert self.cdn
        assert self.licensee
        sessions = "".join(f'<a href="/article?PHPSESSID={n}">{n}</a>' for n in range(40))
        page = HOME.replace("CDN", self.cdn.url).replace("LICENSEE", self.licensee.url)
        return Answer(page.replace("SESSIONS", sessions).encode())

    def _gallery(self, page: int) -> Answer:
        following = f'<a rel="next" href="/gallery?page={page + 1}">next</a>' if page < 5 else ""
        return Answer(f'<img src="/i/gallery{page}.png"><img src="/i/shared.png">{following}'.encode())

    def _feed(self) -> Answer:
        items = "".join(
            f"<item><title>{n}</title><enclosure url='/i/feed{n}.png'/></item>" for n in range(self.edition)
        )
        return Answer(f"<rss><channel>{items}</channel></rss>".encode(), "application/rss+xml")

    def _flake(self) -> Answer:
        self.flaky += 1
        if self.flaky == 1:
            return Answer(b"busy", status=503, headers={"Retry-After": "0"})
        return Answer(picture("flaky"), "image/png")

    def other(self, asked: Asked) -> Answer:
        """The other host."""
        if asked.path == "/robots.txt":
            return missing()
        if asked.path == "/player":
            return with_validators(
                Answer(b'<video src="/i/framed.png"></video><a href="/i-never">x</a>'), asked
            )
        return with_validators(Answer(picture(asked.path), "image/png"), asked)


EXPECTED = {
    "/i/open-graph.png", "/i/json-ld.png", "/i/plain.png", "/i/shared.png", "/i/large.png", "/i/lazy.png",
    "/i/inline.png", "/i/poster.png", "/i/linked.png", "/i/sheet.png", "/i/behind.png", "/i/new.png", "/i/cdn.png",
    "/i/gallery1.png", "/i/gallery2.png", "/i/gallery3.png", "/i/gallery4.png", "/i/gallery5.png", "/i/gb.png",
    "/i/twin.png", "/i/depth1.png", "/i/depth2.png", "/i/article.png", "/i/feed0.png", "/i/framed.png",
    "/lying.jpg", "/packed.png", "/flaky.png", "/h/master.m3u8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """Two crawls, and what the sites saw of them."""

    web: Web
    main: Server
    cdn: Server
    licensee: Server
    first: Crawled
    bodies: dict[str, int]
    asked: dict[str, int]
    captured: int
    seen: int
    reasons: dict[str, str]

    def reason(self, path: str) -> str:
        """Why the first run left a page of the main site out."""
        return self.reasons[self.main.url + path]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    folder = tmp_path_factory.mktemp("crawl")
    web = Web()
    with ExitStack() as stack:
        web.main = stack.enter_context(serving(web.home))
        web.cdn = stack.enter_context(serving(web.other, tls=certificate(folder)))
        web.licensee = stack.enter_context(serving(web.other, host="127.0.0.3"))
        options = ("--leave-alone", f"127.0.0.3:{web.licensee.port}", "--depth", "2", "--pages", "200")
        first = crawl(folder, [web.main.url + "/"], *options)
        bodies, asked = dict(web.main.bodies), dict(web.main.asked)
        captured, seen = len(first.headers()), len(first.sightings())
        reasons = first.reasons()
        web.edition = 2
        web.main.bodies.clear()
        crawl(folder, [web.main.url + "/"], *options, "--number", "1")
        yield Result(web, web.main, web.cdn, web.licensee, first, bodies, asked, captured, seen, reasons)


def path_of(header: dict[str, object]) -> str:
    return "/" + str(header["media_url"]).split("/", 3)[3]


def find(result: Result, path: str) -> dict[str, object]:
    return next(header for header in result.first.headers() if path_of(header) == path)


def test_every_reachable_medium_is_captured_once(result: Result) -> None:
    assert sorted(path_of(header) for header in result.first.headers()[: result.captured]) == sorted(EXPECTED)


def test_every_capture_is_intact(result: Result) -> None:
    for header in result.first.headers():
        content = hashlib.sha256(result.first.content(header)).hexdigest()
        assert content == header["content_sha256"] == result.first.manifest(header)["content"]["sha256"]


def test_nothing_forbidden_is_asked_for(result: Result) -> None:
    assert not [path for path in result.asked if path.startswith(("/private", "/i/forbidden"))]
    assert result.licensee.asked.total() == 0
    assert "/i-never" not in result.cdn.asked
    assert "/deep/c" not in result.asked
    assert result.reason("/private/page") == "robots.txt forbids it"


def test_traps_end(result: Result) -> None:
    assert sum(path.startswith("/calendar") for path in result.asked) <= 12
    assert sum(count for path, count in result.asked.items() if path.startswith("/circle")) <= 3
    assert sum(path.startswith("/article") for path in result.asked) == 1
    assert result.reason("/circle/0") == "it redirects in a circle"
    assert result.reason("/bomb").startswith("Ignored response")


def test_failures_say_why(result: Result) -> None:
    assert "Timeout" in result.reason("/slow")
    assert "DataLoss" in result.reason("/cut")
    assert result.reason("/error.jpg") == "a page came where a medium was expected"
    assert result.reason("/pixel.gif") == "too small to be a copy of anything"
    assert result.reason("/huge.png") == "it is larger than the limit"
    assert result.reason("/twin?copy") == "another URL brought the very same page"
    assert result.asked["/flaky.png"] == 2


def test_addresses_inside_are_refused_after_redirects(result: Result) -> None:
    assert result.reason("/inside") == "refused: 10.0.0.1 is not a public address"
    assert result.reason("/metadata") == "refused: 169.254.169.254 hands out a cloud's secrets"


def test_the_crawler_says_who_it_is(result: Result) -> None:
    assert all(
        agent.startswith("Copyhound/") and "tests@example.org" in agent for agent in result.main.agents
    )


def test_a_capture_says_how_it_came_to_be(result: Result) -> None:
    header = find(result, "/i/new.png")
    manifest = result.first.manifest(header)
    assert header["requested_url"] == f"{result.main.url}/old/picture.png"
    assert [connection["status"] for connection in manifest["connections"]] == [200, 301, 200]
    assert {connection["address"] for connection in manifest["connections"]} == {"127.0.0.1"}
    assert manifest["robots"]["verdict"] == "allowed"
    assert manifest["found"] == {
        "page_url": f"{result.main.url}/", "page_title": "Home", "as": "img", "context": "",
    }  # fmt: skip
    assert manifest["software"]["scrapy"]


def test_a_capture_by_tls_holds_the_certificate(result: Result) -> None:
    manifest = result.first.manifest(find(result, "/i/cdn.png"))
    (fingerprint, pem), *others = manifest["certificates"].items()
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    assert not others
    assert hashlib.sha256(der).hexdigest() == fingerprint == manifest["connections"][-1]["certificate_sha256"]
    assert manifest["robots"]["verdict"] == "no rules"


def test_streams_are_joined_and_packed_bodies_unpacked(result: Result) -> None:
    assert result.first.content(find(result, "/h/master.m3u8")) == b"G" * 500 + b"H" * 500
    assert find(result, "/h/master.m3u8")["found_as"] == "hls"
    assert result.first.content(find(result, "/packed.png")) == picture("packed")


def test_other_pages_with_the_same_picture_are_told_of(result: Result) -> None:
    seen = {
        s["page_url"].removeprefix(result.main.url)
        for s in result.first.sightings()[: result.seen]
        if s["media_url"].endswith("/i/shared.png")
    }
    galleries = {f"/gallery?page={n}" for n in range(1, 6)}
    assert {path.partition("PHPSESSID")[0] for path in seen} == galleries | {"/article?"}


def test_a_second_run_captures_what_is_new_and_fetches_little(result: Result) -> None:
    new = result.first.headers()[result.captured :]
    assert [path_of(header) for header in new] == ["/i/feed1.png"]
    # What cannot say that it did not change is fetched again, and so is what changed.
    unchanged = {
        path for path in result.main.bodies if path.startswith(("/i/", "/gallery", "/deep", "/moved/2"))
    }
    assert unchanged == {"/i/feed1.png"}
    seen = {s["media_url"] for s in result.first.sightings()[result.seen :]}
    assert f"{result.main.url}/i/plain.png" in seen


def test_progress_is_told(result: Result) -> None:
    progress = result.first.progress
    assert progress["state"] == "done"
    assert progress["queued"] == 0
    assert progress["pages"] > 10
