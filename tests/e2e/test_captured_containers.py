"""Captured containers: opened, their parts matched, and reported as one with the parts named."""

from __future__ import annotations

# ruff: noqa: ASYNC110 - what is waited for happens in the server
import asyncio
import io
import json
import random
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from markupsafe import escape
from pypdf import PdfReader

import copyhound
from benchmarks.quality import text_media
from copyhound.bundle import verify_bundle
from copyhound.where import describe_place
from service.app import Running, running
from service.domain import KeyRole
from service.evidence import Scope, Wish
from service.monitored import key_of_part
from service.previewed import Kind, PreviewState
from service.review import Desk
from service.reviewed import Actor
from service.sandbox import ForkServer
from service.settings import Settings
from tests.documents import epub, page, zipped
from tests.e2e.pictures import encoded, photograph
from tests.e2e.test_monitoring import PAGE, capture_of, crawler_of, leased, reports_of, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = 'x/"><img src=x onerror=alert(1)>.jpg'
STORY = text_media.made_up("en", random.Random(3), works=1, words=2_000).strangers[0][:6_000]


def small(name: str, width: int = 300, quality: int = 80) -> bytes:
    """A photograph, smaller."""
    picture = photograph(name)
    picture.thumbnail((width, width))
    return encoded(picture, quality)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> AsyncIterator[Running]:
    settings = Settings(
        data=tmp_path_factory.mktemp("containers") / "hound",
        listen="127.0.0.1:0",
        workers=1,
        allow_anonymous=True,
        web="127.0.0.1:0",
    )
    async with running(settings, forks=forks) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def client(service: Running) -> AsyncIterator[copyhound.AsyncClient]:
    async with copyhound.AsyncClient(f"127.0.0.1:{service.port}") as client:
        yield client


async def captured(
    client: copyhound.AsyncClient, service: Running, owner: str, *contents: bytes
) -> tuple[copyhound.MonitoringList, list[copyhound.CaptureHeader], copyhound.Run]:
    """A list of an owner that saw some contents, and what became of its run."""
    async with crawler_of(service) as crawler:
        made, job = await leased(client, crawler, copyhound.NewMonitoringList(owner, places=(PAGE,)))
        headers = []
        for number, content in enumerate(contents):
            header, warc = capture_of(content, job.run, f"https://pirate.example/{number}")
            await crawler.ingest_capture(header, warc)
            headers.append(header)
        return made, headers, await settled(client, job.run)


async def test_a_captured_container_is_reported_with_the_parts_that_are_copies(
    client: copyhound.AsyncClient, service: Running, tmp_path: Path
) -> None:
    game = zipped(
        {f"assets/{name}.jpg": small(name) for name in ("astronaut", "chelsea", "coffee", "rocket")}
        | {"story.txt": STORY}
    )
    work = await client.register(game, owner="studio", external_id="G", title="Game", filename="game.apk")
    poster = await client.register(encoded(photograph("china")), owner="studio", title="Poster")
    plundered = zipped(
        {
            "x/1.jpg": small("astronaut", 200, 60),
            HOSTILE: small("rocket", 220, 60),
            "x/3.bin": STORY[1_000:4_000].encode("utf-16"),
            "x/poster.jpg": small("china", 250, 60),
            "x/own.jpg": small("gravel"),
        }
    )
    made, (header,), run = await captured(client, service, "studio", plundered)

    assert run.reports == 2
    reports = {one.match.work: one for one in await reports_of(client, made.name)}
    report = await client.get_report(reports[work.name].name)
    match = report.match
    assert report.modality == "container"
    assert match.probability > 0.9
    assert match.reference == (await client.get_work(work.name)).references[0].name
    assert {part.query_part: part.filename for part in match.parts} == {
        "x/1.jpg": "game.apk!assets/astronaut.jpg",
        HOSTILE: "game.apk!assets/rocket.jpg",
        "x/3.bin": "game.apk!story.txt",
    }
    assert {
        one.modality: (one.query_found, one.query_count, one.work_found, one.work_count)
        for one in match.part_counts
    } == {"image": (2, 4, 2, 4), "text": (1, 1, 1, 1)}
    assert 0.0 < match.query_coverage < 1.0
    (named,) = reports[poster.name].match.parts
    assert (named.query_part, len(named.regions)) == ("x/poster.jpg", 1)

    kept = await client.get_capture(report.sightings[0].capture or "")
    assert json.loads(kept.custody[1].detail)["parts"] == 5
    with service.catalogue.store.view() as view:
        suspect = view.captures.suspect(header.content_sha256)
    assert suspect is not None
    keys = {
        part.name: key_of_part(header.content_sha256, part.place)
        for part in suspect.parts
        if part.name != "x/own.jpg"
    }
    shown = service.previews.find_all(keys.values())
    while any(one.state is PreviewState.PENDING for one in shown.values()):
        await asyncio.sleep(0.05)
        shown = service.previews.find_all(keys.values())
    assert Kind.PICTURE in shown[keys["x/1.jpg"]].files
    assert Kind.TEXT in shown[keys["x/3.bin"]].files
    assert describe_place(match).startswith("2 of 4 pictures and 1 of 1 text; ")
    await check_documents(service, report)
    await check_previews(client, report, reports[poster.name])
    await check_bundle(client, tmp_path, report)
    await check_page(service, report)


async def check_documents(service: Running, report: copyhound.MatchReport) -> None:
    """The JSON, the page and the PDF name the parts and how many they are; two are shown."""
    actor, report_id = Actor("tests", KeyRole.ADMIN, None), UUID(report.name.removeprefix("reports/"))
    document = await asyncio.to_thread(service.bundler.document, actor, Wish(Scope.REPORT, report_id))
    assert document["content"]["modality"] == "container"
    assert [one["name"] for one in document["match"]["parts"]] == [
        part.query_part for part in report.match.parts
    ]
    assert document["match"]["part_counts"][0] == {
        "modality": "image",
        "query_found": 2,
        "query_count": 4,
        "work_found": 2,
        "work_count": 4,
    }
    assert any("3 of the media items in it are copies" in one for one in document["explanation"])
    page = await asyncio.to_thread(
        service.bundler.page, actor, Wish(Scope.REPORT, report_id, "zh", with_reference=True)
    )
    assert "game.apk!assets/rocket.jpg" in page
    assert "4 个中的 2 个" in page
    assert page.count("<polygon") >= 4  # two parts are pictures, and each has both sides
    pdf = await asyncio.to_thread(service.bundler.pdf, actor, Wish(Scope.REPORT, report_id))
    text = "".join(one.extract_text() for one in PdfReader(io.BytesIO(pdf)).pages)
    assert "2 of 4" in text
    assert "x/3.bin" in text


async def check_previews(
    client: copyhound.AsyncClient, report: copyhound.MatchReport, other: copyhound.MatchReport
) -> None:
    """Each part, and what it is a copy of, can be shown elsewhere; not under another report's name."""
    kinds = {}
    for part in report.match.parts:
        for name in (part.name, part.reference):
            shown = await client.get_preview(name)
            assert shown.state is copyhound.PreviewState.READY
            kinds[part.query_part] = [one.kind for one in shown.files]
    assert kinds["x/3.bin"] == [copyhound.PreviewKind.TEXT]
    assert copyhound.PreviewKind.PICTURE in kinds["x/1.jpg"]
    (text,) = [part for part in report.match.parts if part.query_part == "x/3.bin"]
    read = b"".join([piece async for piece in client.read_preview(text.name, copyhound.PreviewKind.TEXT)])
    assert read.decode().split() == STORY[1_000:4_000].split()
    assert (await client.get_preview(report.name)).state is copyhound.PreviewState.ABSENT
    (stranger,) = other.match.parts
    key = stranger.name.rpartition("/")[2]
    with pytest.raises(copyhound.NotFoundError, match="no part of a report"):
        await client.get_preview(f"{report.name}/parts/{key}")
    with pytest.raises(copyhound.InvalidRequestError, match=r"the form reports/\{uuid\}/parts/\{key\}"):
        await client.get_preview(f"{report.name}/parts/0")


async def check_bundle(client: copyhound.AsyncClient, folder: Path, report: copyhound.MatchReport) -> None:
    """The bundle shows the parts that are copies, and on request those of the work; all of it is signed."""
    path = folder / "evidence.zip"
    await client.export_evidence(report.name, path, with_reference=True)
    checked = await asyncio.to_thread(verify_bundle, path)
    assert all(one.startswith("captures/") for one in checked.findings)  # which is no real one here
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pdf = "".join(one.extract_text() for one in PdfReader(io.BytesIO(archive.read("report.pdf"))).pages)
        number = [part.query_part for part in report.match.parts].index("x/3.bin") + 1
        (suspect,) = [name for name in names if name.endswith(f".parts/0{number}/text.txt")]
        assert archive.read(suspect).decode().split() == STORY[1_000:4_000].split()
        work = archive.read(f"reference/parts/0{number}/text.txt").decode()
        assert work.split() == STORY.split()
    assert sum(name.endswith("/picture.jpg") for name in names) == 4
    for number, part in enumerate(report.match.parts, 1):
        assert f"Part {number}: {part.query_part}" in pdf
    assert " ".join(STORY[1_000:1_100].split()[1:8]) in " ".join(pdf.split())


async def check_page(service: Running, report: copyhound.MatchReport) -> None:
    """The case page shows each part beside what it is a copy of, in the viewer of its kind."""
    names = [part.query_part for part in report.match.parts]
    with service.catalogue.store.view() as view:
        (case,) = Desk().cases_of_report(
            view, Actor("tests", KeyRole.ADMIN, None), UUID(report.name.removeprefix("reports/"))
        )
    base_url = f"http://127.0.0.1:{service.web_port}"
    async with httpx.AsyncClient(base_url=base_url, headers={"origin": base_url}) as visitor:
        asked = await visitor.get("/sign-in")
        token = asked.text.partition('name="form_token" value="')[2].partition('"')[0]
        assert (await visitor.post("/sign-in", data={"anonymous": "yes", "form_token": token})).is_redirect
        for number, name in enumerate(names):
            shown = await visitor.get(f"/cases/{case.id}", params={"part": number})
            assert shown.status_code == 200
            assert f'title="{escape(name)}">' in shown.text
            assert ("<blockquote" in shown.text) is (name == "x/3.bin")
            assert "2 of 4" in shown.text
            assert "3 of the media items in it are copies" in shown.text
        pictures = [
            await visitor.get(f"/{report.name}/{side}/picture", params={"part": names.index("x/1.jpg")})
            for side in ("work", "found")
        ]
        assert [one.headers["content-type"] for one in pictures] == ["image/jpeg", "image/jpeg"]
        assert pictures[0].content != pictures[1].content
        missing = await visitor.get(f"/{report.name}/found/picture", params={"part": 99})
        assert missing.status_code == 404


async def test_a_container_registered_later_is_found_in_a_captured_one_once(
    client: copyhound.AsyncClient, service: Running
) -> None:
    names = ("camera", "coins", "flower")
    pirated = zipped({f"{number}.jpg": small(name, 260, 60) for number, name in enumerate(names)})
    alone = zipped({"a.jpg": small("gravel"), "b.jpg": small("grass")})
    made, (header, _), run = await captured(client, service, "press", pirated, alone)
    assert run.reports == 0
    watch = client.watch_reports(list_name=made.name)
    event = asyncio.create_task(anext(watch))

    comic = zipped({f"{number:03}.jpg": small(name) for number, name in enumerate(names)})
    work = await client.register(comic, owner="press", title="Comic", filename="comic.cbz")
    told = await event
    await watch.aclose()
    report = told.report
    assert (report.match.work, report.on_registration) == (work.name, True)
    assert report.match.probability > 0.9
    assert sorted(part.filename for part in report.match.parts) == [
        f"comic.cbz!{number:03}.jpg" for number in range(3)
    ]
    identical = await client.register(small("grass"), owner="press", title="Grass")
    while len(found := await reports_of(client, made.name)) < 2:
        await asyncio.sleep(0.02)
    assert {one.match.work for one in found} == {work.name, identical.name}

    await client.delete_list(made.name)
    with service.catalogue.store.view() as view:
        assert view.captures.suspect(header.content_sha256) is None
        keys = [key_of_part(header.content_sha256, (number,)) for number in range(3)]
        assert not view.captures.suspect_fingerprints(keys)
        assert not view.captures.containers_of(keys)


async def test_what_cannot_be_opened_says_so_and_a_book_of_one_text_is_that_text(
    client: copyhound.AsyncClient, service: Running
) -> None:
    await client.register(STORY.encode(), owner="letters", filename="story.txt", title="Story")
    empty = zipped({"classes.dex": random.Random(1).randbytes(3_000)})
    book = epub([page(STORY)], {})
    _, _, run = await captured(client, service, "letters", empty, book)
    assert (run.unreadable_contents, run.reports) == (1, 1)
    (report,) = [one async for one in client.reports(owner="letters")]
    assert (report.modality, report.match.parts) == ("text", ())
