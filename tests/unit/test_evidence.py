"""A capture is checked offline, and what was altered is named."""

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from scrapy import Request
from scrapy.http import Response
from typer.testing import CliRunner
from warcio.archiveiterator import ArchiveIterator

from copyhound.cli import app
from copyhound.evidence import NoCaptureError, read_records, read_screenshot, verify
from crawler.capture import Evidence, RobotsVerdict, Written, token_record, write_capture
from crawler.exchanges import Exchange, packed, unpacked
from crawler.frontier import Frontier, Outcome
from crawler.handover import folder_assignment
from crawler.rendering import Load, Rendered, Rendering, Screenshot
from crawler.session import Session
from crawler.settings import CrawlerSettings
from crawler.spool import Spool
from tests.authority import Authority

MEDIA = "https://site.example/b.png"
PICTURE = b"\x89PNG" + bytes(range(256)) * 4
PAGE = b"<html>a page</html>"


def exchange(url: str, body: bytes, status: int = 200) -> Exchange:
    return Exchange(
        url,
        datetime(2026, 11, 22, tzinfo=UTC),
        b"GET /x HTTP/1.1\r\nHost: site.example\r\n\r\n",
        datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC),
        b"HTTP/1.1 %d OK\r\nContent-Type: image/png\r\n\r\n" % status,
        body,
        status,
        "192.0.2.1",
    )


def evidence() -> Evidence:
    return Evidence(
        capture_id=UUID(int=7),
        run="lists/a/runs/b",
        crawler="crawler",
        place_id="place",
        page=exchange("https://site.example/", PAGE),
        page_url="https://site.example/",
        page_title="Home \x1b[31m \u202e",
        media_url=MEDIA,
        found_as="img",
        context="a cat",
        hops=[exchange("https://site.example/a.png", b"", 302)],
        exchanges=[exchange("https://site.example/b.png", PICTURE)],
        contents=[PICTURE],
        content_type="image/png",
        robots=RobotsVerdict("https://site.example/robots.txt", 200, "00", "2026", "allowed"),
    )


def written() -> tuple[bytes, Written]:
    file = io.BytesIO()
    result = write_capture(file, evidence())
    return file.getvalue(), result


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "capture.warc"
    path.write_bytes(written()[0])
    return path


def altered(path: Path, old: bytes, new: bytes, count: int = 1) -> tuple[str, ...]:
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new, count))
    return verify(path).findings


def test_an_untouched_capture_is_intact(capture: Path) -> None:
    data, result = written()
    verified = verify(capture)
    assert verified.findings == ()
    assert verified.capture == str(UUID(int=7))
    assert data[result.content_ranges[0][0] :][: len(PICTURE)] == PICTURE
    assert result.size == len(data)
    assert [c["status"] for c in verified.manifest["connections"]] == [200, 302, 200]
    assert verified.manifest["found"]["context"] == "a cat"


def test_other_readers_of_warc_accept_it(capture: Path) -> None:
    with capture.open("rb") as file:
        kinds = [record.rec_type for record in ArchiveIterator(file, check_digests="raise")]
    assert kinds == ["warcinfo", *["response", "request"] * 3, "metadata"]


def test_an_altered_picture_is_named(capture: Path) -> None:
    findings = altered(capture, PICTURE, PICTURE[::-1])
    assert len(findings) == 2
    assert "(response, https://site.example/b.png): the payload was altered" in findings[0]
    assert findings[1].startswith("the content was altered")


def test_an_altered_page_is_named(capture: Path) -> None:
    (finding,) = altered(capture, PAGE, PAGE.upper())
    assert "(response, https://site.example/): the payload was altered" in finding


def test_an_altered_answer_line_is_named(capture: Path) -> None:
    (finding,) = altered(capture, b"HTTP/1.1 302 OK", b"HTTP/1.1 200 OK")
    assert "(response, https://site.example/a.png): the block was altered" in finding


def test_an_altered_date_is_named(capture: Path) -> None:
    (finding,) = altered(capture, b"WARC-Date: 2026-11-22T00:00:01", b"WARC-Date: 2025-11-22T00:00:01")
    assert finding.endswith("(response, https://site.example/): its header was altered, its block was not")


def test_an_altered_manifest_is_named(capture: Path) -> None:
    findings = altered(capture, b'"address": "192.0.2.1"', b'"address": "192.0.2.9"')
    assert findings == (findings[0],)
    assert findings[0].startswith("the manifest: the block was altered")


def undetected(path: Path, whole: bytes, places: Iterable[int]) -> list[int]:
    """Places of bytes that can be altered without a finding."""
    missed = []
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            if verify(path).intact:
                missed.append(place)
        except NoCaptureError:
            continue
    return missed


def test_no_byte_can_be_altered_unnoticed(capture: Path) -> None:
    """The head of the manifest, which no digest covers, is looked at byte by byte."""
    whole = capture.read_bytes()
    with capture.open("rb") as file:
        manifest = list(read_records(file))[-1]
    assert undetected(capture, whole, range(manifest.offset, manifest.block)) == []
    assert undetected(capture, whole, range(0, len(whole), 41)) == []
    capture.write_bytes(whole)
    (finding,) = altered(capture, b"WARC-Type: metadata\r\n", b"WARC-Type: resource\r\n")
    assert finding == "the manifest: its header was altered, its block was not"


def test_a_manifest_put_together_anew_breaks_the_chain(capture: Path) -> None:
    data = capture.read_bytes()
    first = json.loads(data[data.index(b'{\n "format"') : data.rindex(b"}") + 1])["records"][1]["sha256"]
    findings = altered(capture, first.encode(), b"0" * 64)
    assert any("the chain is broken here" in finding for finding in findings)


def test_a_record_that_is_missing_or_put_in_is_named(capture: Path) -> None:
    with capture.open("rb") as file:
        records = list(read_records(file))
    whole = capture.read_bytes()
    second = whole[records[1].offset : records[2].offset]
    capture.write_bytes(whole.replace(second, b""))
    assert any("is missing at byte" in finding for finding in verify(capture).findings)
    capture.write_bytes(whole + second)
    (finding,) = verify(capture).findings
    assert "was put in: only a time stamp follows the manifest" in finding


def test_a_file_cut_short_is_named(capture: Path) -> None:
    whole = capture.read_bytes()
    capture.write_bytes(whole[:-10])
    findings = verify(capture).findings
    assert findings[0].startswith("the file is damaged: the file ends inside the record")
    assert findings[1] == "the manifest is missing: nothing can be said of the rest"


def test_another_file_than_the_one_that_the_service_has(capture: Path) -> None:
    verified = verify(capture, sha256="0" * 64, seal="1" * 64)
    assert verified.findings[0].startswith("the file is another one")
    assert verified.findings[1].startswith("the seal is another one")
    assert verify(capture, sha256=verified.sha256, seal=written_seal(capture)).intact


def written_seal(path: Path) -> str:
    """The seal, from the finding that names it."""
    (finding,) = verify(path, seal="0" * 64).findings
    return finding.split("it is ")[1].split(",")[0]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG"])
def test_what_is_no_capture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(NoCaptureError):
        verify(path)
    with pytest.raises(NoCaptureError, match="can be read"):
        verify(tmp_path / "missing")


def test_a_hostile_manifest_is_a_finding(capture: Path) -> None:
    for old, new in (
        (b'"records"', b'"recordz"'),
        (b'"ranges": [', b'"ranges": "'),
        (b'"sha256"', b'"sha25x"'),
    ):
        before = capture.read_bytes()
        whole = before.replace(old, new)
        capture.write_bytes(whole)
        assert not verify(capture).intact
        capture.write_bytes(before)


LOOKS = Rendering(
    "https://site.example/",
    Rendered(
        b"<p>what scripts made of it</p>",
        Screenshot(b"\xff\xd8\xffa page", 1280, 2000, whole=False),
        datetime(2026, 11, 22, tzinfo=UTC),
        (1280, 800),
        "Chromium/1.2.3 \x1b[31m",
    ),
    (
        Load("https://site.example/app.js", "script", 200, "ab" * 32, 9),
        Load("http://10.0.0.1/", "fetch", reason="refused: 10.0.0.1 is not a public address"),
    ),
)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A capture of a page that was rendered."""
    path = tmp_path / "shown.warc"
    with path.open("wb") as file:
        write_capture(file, replace(evidence(), rendering=LOOKS))
    return path


def test_how_the_page_looked_is_in_the_capture(shown: Path) -> None:
    verified = verify(shown)
    assert verified.findings == ()
    assert verified.manifest["screenshot"]["pixels"] == [1280, 2000]
    assert verified.manifest["screenshot"]["taken_at"] == "2026-11-22T00:00:00.000000Z"
    assert verified.manifest["rendered_from"] == [
        {"url": "https://site.example/app.js", "for": "script", "status": 200, "sha256": "ab" * 32},
        {"url": "http://10.0.0.1/", "for": "fetch", "refused": "refused: 10.0.0.1 is not a public address"},
    ]
    assert read_screenshot(shown, verified) == b"\xff\xd8\xffa page"
    with shown.open("rb") as file:
        records = [(r.rec_type, r.rec_headers.get_header("WARC-Refers-To")) for r in ArchiveIterator(file)]
    kinds = [kind for kind, _ in records]
    assert kinds == [
        "warcinfo",
        "response",
        "request",
        "conversion",
        "resource",
        *["response", "request"] * 2,
        "metadata",
    ]
    assert records[3][1]


def test_an_altered_screenshot_or_document_is_named(shown: Path) -> None:
    before = shown.read_bytes()
    findings = altered(shown, b"\xff\xd8\xffa page", b"\xff\xd8\xffA page")
    assert "(resource, urn:fullPage:https://site.example/): the payload was altered" in findings[0]
    assert findings[1].startswith("the screenshot was altered: its SHA-256 is")
    shown.write_bytes(before)
    findings = altered(shown, b"what scripts made", b"what others  made")
    assert findings[1].startswith("the dom was altered: its SHA-256 is")


def test_a_screenshot_that_is_another_record_is_named(shown: Path) -> None:
    whole = shown.read_bytes()
    said = json.loads(whole[whole.index(b'{\n "format"') : whole.rindex(b"}") + 1])
    shot, dom = (b'"record": "%s"' % said[name]["record"].encode() for name in ("screenshot", "dom"))
    findings = altered(shown, shot, dom)
    assert any(finding.startswith("the screenshot is missing: no resource record") for finding in findings)


@pytest.mark.parametrize(
    "said", [b'"screenshop"', b'"screenshot": 5, "x"', b'"screenshot": {"record": []}, "x"']
)
def test_a_hostile_screenshot_is_a_finding(shown: Path, said: bytes) -> None:
    assert altered(shown, b'"screenshot"', said)
    run = CliRunner().invoke(app, ["verify", str(shown)])
    assert run.exit_code == 1
    assert "ALTERED" in run.stdout


def test_the_command_shows_the_screenshot(shown: Path, capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.jpg"
    run = CliRunner().invoke(app, ["verify", str(shown), "--screenshot", str(target)])
    assert run.exit_code == 0
    assert (
        "  screenshot of https://site.example/: 1280 × 2000 pixels, not to the page's end,"
        " taken at 2026-11-22T00:00:00.000000Z by Chromium/1.2.3 \\x1b[31m\n" in run.stdout
    )
    assert target.read_bytes() == b"\xff\xd8\xffa page"
    run = CliRunner().invoke(app, ["verify", "--json", str(shown)])
    assert json.loads(run.stdout)["screenshot"]["bytes"] == 9
    run = CliRunner().invoke(app, ["verify", str(capture), "--screenshot", str(target)])
    assert run.exit_code == 1
    assert "has no screenshot" in run.stderr


def test_the_command_says_what_was_altered(capture: Path) -> None:
    run = CliRunner().invoke(app, ["verify", str(capture)])
    assert run.exit_code == 0
    assert f"{capture}: intact" in run.stdout
    altered(capture, PICTURE, PICTURE[::-1])
    run = CliRunner().invoke(app, ["verify", "--json", str(capture), str(capture.parent / "none")])
    assert run.exit_code == 1
    first, second = map(json.loads, run.stdout.splitlines())
    assert first["status"] == "altered"
    assert len(first["findings"]) == 2
    assert second["status"] == "failed"


def test_packed_exchanges_come_back() -> None:
    before = exchange("https://site.example/", b"\x00\r\n\r\n\xff" * 10)
    assert unpacked(packed(before)) == before


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    return Authority(tmp_path_factory.mktemp("one")), Authority(tmp_path_factory.mktemp("other"))


def test_time_stamps_of_an_authority(authorities: tuple[Any, Any], tmp_path: Path) -> None:
    one, other = authorities
    data, result = written()
    path = tmp_path / "stamped.warc"
    stamped = data + token_record(one.stamp(result.seal), result, MEDIA)
    path.write_bytes(stamped)
    checked = verify(path, authorities=[one.root])
    assert (checked.findings, checked.notes) == ((), ())
    assert checked.stamped_at.startswith(str(datetime.now(UTC).year))
    unchecked = verify(path)
    assert unchecked.intact
    assert not unchecked.stamped_at
    assert "give its authority's certificate" in unchecked.notes[0]
    (finding,) = verify(path, authorities=[other.root]).findings
    assert finding.startswith("the time stamp is not of the given authorities")
    path.write_bytes(data + token_record(one.stamp(b"x" * 32), result, MEDIA))
    (finding,) = verify(path, authorities=[one.root]).findings
    assert finding.startswith("the time stamp is of something else")
    path.write_bytes(data + token_record(b"no token", result, MEDIA))
    (finding,) = verify(path, authorities=[one.root]).findings
    assert finding.startswith("the time stamp was altered")
    head = stamped.index(b"\r\n\r\n", len(data)) + 4
    assert undetected(path, stamped, range(len(data), head)) == []


class Engine:
    """Scrapy's engine, as far as an authority is asked through it."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer

    async def download_async(self, request: Request) -> Response:
        return Response(request.url, body=self.answer(request.body))


@pytest.mark.parametrize("works", [True, False])
async def test_the_crawler_asks_an_authority(
    authorities: tuple[Any, Any], tmp_path: Path, *, works: bool
) -> None:
    frontier = Frontier(tmp_path / "crawl.db")
    settings = CrawlerSettings(data=tmp_path, contact="a@b.example", timestamp_url="http://tsa.example/")
    spool = Spool(tmp_path / "spool", min_free_mb=0)
    assignment = folder_assignment(["media=https://site.example/b.png"], max_depth=0, max_pages=1)
    session = Session(settings, assignment, frontier, spool, crawler="me")
    task, outcome = session.next_task(), Outcome()
    assert task is not None
    await session.keep(
        task,
        outcome,
        media_url=task.url,
        hops=[],
        exchanges=[exchange(task.url, PICTURE)],
        contents=[PICTURE],
        content_type="image/png",
        found_as="media",
        robots=RobotsVerdict(),
        engine=Engine(authorities[0].reply if works else lambda _: b"<html>away</html>"),
    )
    frontier.close()
    assert outcome.header is not None
    path = spool.path(outcome.header.capture_id)
    checked = verify(path, authorities=[authorities[0].root], sha256=outcome.header.sha256.hex())
    assert checked.findings == ()
    assert bool(checked.stamped_at) is works
    assert path.stat().st_size == outcome.header.byte_count
