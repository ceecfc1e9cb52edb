"""Whatever a site sends is read, or refused, and never breaks the crawler; a capture with any byte changed is told."""

import contextlib
import io
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from copyhound.evidence import NoCaptureError, verify
from crawler import urls
from crawler.addresses import refusal
from crawler.capture import Evidence, RobotsVerdict, write_capture
from crawler.exchanges import Exchange
from crawler.extract import extract, json_ld_references, largest_of_srcset, style_media
from crawler.feeds import FeedError, read_feed
from crawler.playlists import PlaylistError, read_playlist

FEW = settings().max_examples if settings().max_examples > 100 else 40
"""Examples of one test: CI has little time, `nox -s fuzz` has more."""

BASE = "https://site.example/a"
PARTS = st.sampled_from(
    ["<a href=", "<img srcset=", "<base href=", "'//[", "<!--", "<![CDATA[", "&#0;", "url(", "<script type=application/ld+json>",
     '{"@type":["ImageObject"],"url":', "<svg>", "<iframe srcdoc='", "</p>", "\ud7ff", "\0", "://", "%zz", "<rss><item><link>",
     "<urlset><url><loc>", "<MPD><Period><AdaptationSet><Representation>", "#EXTM3U\n#EXTINF:nan,\n", "#EXT-X-BYTERANGE:9@",
     '<SegmentTemplate media="$Number%099999d$" duration="1e-300"/>', "</MPD>", "\n", '"', ">", " 1x,"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PARTS, st.text(max_size=8)), max_size=12).map("".join)
BODIES = st.one_of(TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=200))


@settings(max_examples=FEW)
@given(
    body=BODIES,
    content_type=st.sampled_from(["", "text/html", "text/html; charset=utf-7", "text/html; charset=\0"]),
)
@example(body=b"<html " * 3000, content_type="")
def test_any_bytes_are_a_page(body: bytes, content_type: str) -> None:
    page = extract(body, BASE, content_type)
    for url in [link.url for link in page.links] + [medium.url for medium in page.media]:
        assert urls.absolute(url) is not None
        urls.key_of(url), urls.shape_of(url), urls.trap(url)
    assert all(urls.absolute(medium.url) for medium in style_media(body, BASE))


@settings(max_examples=FEW)
@given(body=BODIES)
def test_any_bytes_are_a_feed_or_none(body: bytes) -> None:
    with contextlib.suppress(FeedError):
        read_feed(body, BASE, limit=10_000)


@settings(max_examples=FEW)
@given(text=TEXTS)
def test_any_text_is_a_playlist_or_none(text: str) -> None:
    with contextlib.suppress(PlaylistError):
        plan = read_playlist(text, BASE)
        assert plan.playlist or plan.pieces
    json_ld_references(text)
    largest_of_srcset(text)


@settings(max_examples=FEW)
@given(text=TEXTS)
def test_urls_are_what_they_become(text: str) -> None:
    url = urls.absolute(text, BASE)
    if url is not None:
        assert urls.absolute(url) == url
        assert urls.key_of(urls.canonical(url)) == urls.key_of(url)
    assert urls.shown(text).isascii()
    assert refusal(text)


@pytest.fixture(scope="module")
def capture() -> tuple[bytes, str]:
    exchange = Exchange(
        BASE,
        datetime.now(UTC),
        b"GET / HTTP/1.1\r\n\r\n",
        body=b"x" * 50,
        response_head=b"HTTP/1.1 200 OK\r\n\r\n",
    )
    file = io.BytesIO()
    evidence = Evidence(
        capture_id=UUID(int=1), run="r", crawler="c", place_id="p", page=exchange, page_url=BASE, page_title="",
        media_url=BASE, found_as="img", context="", hops=[], exchanges=[exchange], contents=[b"x" * 50],
        content_type="image/png", robots=RobotsVerdict(),
    )  # fmt: skip
    seal = write_capture(file, evidence).seal.hex()
    return file.getvalue(), seal


@settings(max_examples=FEW, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_can_be_changed_unseen(
    capture: tuple[bytes, str], tmp_path: Path, data: st.DataObject
) -> None:
    whole, seal = capture
    position = data.draw(st.integers(0, len(whole) - 1))
    change = data.draw(st.integers(1, 255))
    path = tmp_path / "capture.warc"
    path.write_bytes(whole[:position] + bytes([whole[position] ^ change]) + whole[position + 1 :])
    try:
        intact = verify(path, seal=seal).intact
    except NoCaptureError:
        intact = False
    assert not intact
