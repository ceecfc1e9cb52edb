"""A report is handed over as a bundle that verifies elsewhere, and as documents; not to strangers."""

from __future__ import annotations

# ruff: noqa: ASYNC110, ASYNC240 - what is waited for happens in the server; small files of this test alone
import asyncio
import hashlib
import io
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from pypdf import PdfReader
from typer.testing import CliRunner

import copyhound
from copyhound import stored_zip
from copyhound.bundle import read_key, verify_bundle
from copyhound.cli import app
from crawler.capture import Evidence, RobotsVerdict, Written, write_capture
from crawler.exchanges import Exchange
from service.app import Running, running
from service.domain import KeyRole
from service.review import Desk
from service.reviewed import Actor, Chosen, Outcome, Ruling
from service.rpc.access import new_key
from service.sandbox import ForkServer
from service.settings import Settings
from tests.e2e.pictures import encoded, photograph

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEN_AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
TITLE = "Coffee #let x = 1 <script>alert(1)</script> 한국어 日本語 コーヒー 咖啡 \U0001f600 \u202eevil"
NOTE = "沒有授權 <img src=x onerror=alert(1)>"


@dataclass(frozen=True, slots=True)
class Found:
    """What all tests here look at.

    Attributes:
        report: Its resource name.
        warcs: The captures, by id.
    """

    service: Running
    report: str
    work: copyhound.Work
    content: bytes
    warcs: dict[UUID, bytes]
    folder: Path

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.service.port}"


def captured(content: bytes, run: str, number: int) -> tuple[copyhound.CaptureHeader, bytes]:
    """A capture as the crawler writes it, on one of two sites."""
    host = "pirate.example" if number % 2 else "mirror.example"
    page_url, media_url = f"https://{host}/{number}", f"https://{host}/{number}.jpg"
    at = SEEN_AT + timedelta(minutes=number)

    def exchange(url: str, body: bytes) -> Exchange:
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n"
        return Exchange(url, at, request, at + timedelta(seconds=1), head, body, 200, "192.0.2.1")

    capture_id = uuid4()
    file = io.BytesIO()
    written: Written = write_capture(
        file,
        Evidence(
            capture_id=capture_id,
            run=run,
            crawler="spider",
            place_id="place",
            page=exchange(page_url, b"<html>free films</html>"),
            page_url=page_url,
            page_title="Free <b>films</b> 無料 무료\x1b[2J",
            media_url=media_url,
            found_as="img",
            context="",
            hops=[],
            exchanges=[exchange(media_url, content)],
            contents=[content],
            content_type="image/jpeg",
            robots=RobotsVerdict(f"https://{host}/robots.txt", 200, "00", "2026", "allowed"),
        ),
    )
    header = copyhound.CaptureHeader(
        capture_id=capture_id,
        run=run,
        crawler="spider",
        media_url=media_url,
        content_sha256=hashlib.sha256(content).digest(),
        content_ranges=written.content_ranges,
        byte_count=len(file.getvalue()),
        sha256=hashlib.sha256(file.getvalue()).digest(),
        captured_at=at,
        page_url=page_url,
        page_title="Free <b>films</b> 無料 무료\x1b[2J",
        found_as="img",
        content_type="image/jpeg",
        remote_address="192.0.2.1",
    )
    return header, file.getvalue()


def key_of(service: Running, role: KeyRole, owner: str | None = None) -> str:
    key, text = new_key(role, owner, 0, 0)
    service.catalogue.store.create_key(key)
    return text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> AsyncIterator[Found]:
    """A server on which one report was made, seen at two sites, with a decision on one of them."""
    folder = tmp_path_factory.mktemp("evidence")
    settings = Settings(data=folder / "hound", listen="127.0.0.1:0", workers=1, allow_anonymous=True)
    async with (
        running(settings, forks=forks) as service,
        copyhound.AsyncClient(f"127.0.0.1:{service.port}") as client,
    ):
        photo = photograph("coffee")
        work = await client.register(encoded(photo, 95), owner="studio", external_id="P-1", title=TITLE)
        content = encoded(photo.crop((60, 40, 540, 360)), 60)
        place = copyhound.Place(copyhound.PlaceKind.PAGE, "https://pirate.example/")
        made = await client.create_list(copyhound.NewMonitoringList("studio", places=(place,)))
        run = await client.run_list(made.name)
        key = key_of(service, KeyRole.CRAWLER)
        warcs = {}
        target = f"127.0.0.1:{service.port}"
        async with copyhound.AsyncCrawlerClient(target, crawler="spider", api_key=key) as crawler:
            assert await crawler.lease_run(run.name)
            for number in range(3):
                header, warc = captured(content, run.name, number)
                await crawler.ingest_capture(header, warc)
                warcs[header.capture_id] = warc
        while not (reports := [one async for one in client.reports(list_name=made.name)]):
            await asyncio.sleep(0.02)
        report = reports[0].name
        while (await client.get_preview(report)).state is not copyhound.PreviewState.READY:
            await asyncio.sleep(0.02)
        await decide(service, UUID(report.removeprefix("reports/")))
        yield Found(service, report, work, content, warcs, folder)


async def decide(service: Running, report_id: UUID) -> None:
    """Two decisions on the first case, of which the first is undone."""
    desk, actor = Desk(), Actor("reviewer", KeyRole.ADMIN, None)
    with service.catalogue.store.view() as view:
        case = desk.cases_of_report(view, actor, report_id)[0]
    now = datetime.now(UTC)
    ruling = Ruling(Outcome.INFRINGING, "EXCERPT", NOTE)
    await service.catalogue.write(
        lambda transaction: desk.decide(transaction, actor, Chosen(case.id, case.revision), ruling, now)
    )


@pytest_asyncio.fixture(loop_scope="module")
async def client(found: Found) -> AsyncIterator[copyhound.AsyncClient]:
    async with copyhound.AsyncClient(found.target) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bundle(found: Found) -> Path:
    """The report's evidence, in Chinese, with what is kept of the work."""
    async with copyhound.AsyncClient(found.target) as client:
        exported = await client.export_evidence(
            found.report, found.folder / "evidence.zip", language="zh", with_reference=True
        )
    return exported.path


async def test_bundle_verifies_with_the_key_of_the_server(
    found: Found, client: copyhound.AsyncClient, bundle: Path
) -> None:
    state = await client.index_state()
    key = read_key(state.evidence_key.encode())
    verified = verify_bundle(bundle, key=key)
    assert verified.findings == ()
    assert (verified.report, verified.pinned, len(verified.captures)) == (found.report, True, 3)
    assert verified.notes == (
        "no authority stamped the time of this bundle",
        *["nothing"][:0],
    )
