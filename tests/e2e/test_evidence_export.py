"""A report is handed over as a bundle that verifies elsewhere, and as documents; not to strangers."""

from __future__ import annotations

# ruff: noqa: ASYNC110 - what is waited for happens in the server
import asyncio
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
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
from service.keys import new_key
from service.language import words
from service.review import Desk
from service.reviewed import Actor, Chosen, Outcome, Ruling
from service.sandbox import ForkServer
from service.settings import Settings
from tests.authority import Authority
from tests.e2e.pictures import encoded, photograph
from tests.unit.evidence_values import document

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEN_AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
TITLE = "Coffee #let x = 1 <script>alert(1)</script> 한국어 日本語 コーヒー 咖啡 \U0001f600 \u202eevil"
GUIDE, CASE_GUIDE = (
    (Path(__file__).parents[2] / "docs/guides/evidence.md").read_text().split("\n## case.json\n", 1)
)
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


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No PDF is set: the test looks at something else."""
    monkeypatch.setattr("service.evidence.pdf.render", lambda *_: b"%PDF")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bundle(found: Found) -> Path:
    """The report's evidence, in Chinese, with what is kept of the work."""
    async with copyhound.AsyncClient(found.target) as client:
        exported = await client.export_evidence(
            found.report, found.folder / "evidence.zip", language="zh", with_reference=True
        )
    return exported.path


def opened(path: Path) -> dict[str, bytes]:
    """The files of a bundle."""
    with path.open("rb") as file:
        return {name: stored_zip.window(file, place).read() for name, place in stored_zip.read(file).items()}


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def text_of(content: bytes) -> str:
    return "".join("".join(one.extract_text() for one in PdfReader(io.BytesIO(content)).pages).split())


async def test_bundle_verifies_with_the_key_of_the_server(
    found: Found, client: copyhound.AsyncClient, bundle: Path
) -> None:
    key = read_key((await client.index_state()).evidence_key.encode())
    verified = verify_bundle(bundle, key=key)
    assert verified.findings == ()
    assert verified.notes == ("no authority stamped the time of this bundle",)
    assert (verified.subject, verified.pinned, len(verified.captures)) == (found.report, True, 3)


async def test_bundle_holds_all_there_is(found: Found, bundle: Path) -> None:
    parts = opened(bundle)
    report = json.loads(parts["report.json"])
    assert (report["work"]["title"], report["language"], report["sighting_count"]) == (TITLE, "zh", 3)
    assert parts[f"suspect/{hashlib.sha256(found.content).hexdigest()}.bin"] == found.content
    for capture_id, warc in found.warcs.items():
        assert parts[f"captures/{capture_id}.warc"] == warc
        events = json.loads(parts[f"captures/{capture_id}.custody.json"])["events"]
        assert events[0]["action"] == "RECEIVED"
        assert (events[-1]["action"], events[-1]["actor"]) == ("EXPORTED", "anonymous")
    assert {one["software"]["copyhound"] for one in report["captures"]} == {copyhound.__version__}
    (reference,) = found.work.references
    assert reference.sha256 is not None
    proof = json.loads(parts["reference.json"])
    assert (proof["name"], proof["sha256"]) == (reference.name, reference.sha256.hex())
    assert {one["scheme"] for one in proof["fingerprints"]} >= {"image.pdq.v1", "image.phash.v1"}
    assert parts["reference/picture.jpg"][:3] == b"\xff\xd8\xff"
    cases = json.loads(parts["decisions.json"])["cases"]
    assert sorted(case["site"] for case in cases) == ["mirror.example", "pirate.example"]
    (decision,) = [one for case in cases for one in case["decisions"]]
    assert (decision["outcome"], decision["note"]) == ("infringing", NOTE)
    text = text_of(parts["report.pdf"])
    digests = [line.split()[0] for line in parts["SHA256SUMS"].decode().splitlines()]
    for one in ("匹配报告", "侵权副本", "한국어日本語", "[U+1F600]\\u202eevil", "無料", *digests[1:]):
        assert one in text, one


async def test_documents_by_themselves(found: Found, client: copyhound.AsyncClient, tmp_path: Path) -> None:
    said = {}
    for form in (copyhound.EvidenceFormat.JSON, copyhound.EvidenceFormat.PAGE, copyhound.EvidenceFormat.PDF):
        exported = await client.export_evidence(found.report, tmp_path / form, form=form)
        said[form] = exported.path.read_bytes()
        assert (exported.byte_count, exported.key_id) == (len(said[form]), "")
    assert json.loads(said[copyhound.EvidenceFormat.JSON])["content"]["bytes"] == len(found.content)
    page = said[copyhound.EvidenceFormat.PAGE].decode()
    assert page.count("data:image/jpeg;base64,") == 1  # the suspect's alone
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "<b>films" not in page
    assert said[copyhound.EvidenceFormat.PDF].startswith(b"%PDF")
    with_both = await client.export_evidence(
        found.report, tmp_path / "both.html", form=copyhound.EvidenceFormat.PAGE, with_reference=True
    )
    assert with_both.path.read_bytes().count(b"data:image/jpeg;base64,") == 2
    assert files_in(tmp_path) == ["both.html", "json", "page", "pdf"]


async def test_a_case_with_all_its_reports(
    found: Found, client: copyhound.AsyncClient, tmp_path: Path
) -> None:
    cases = [one async for one in client.cases(copyhound.CaseFilter())]
    (case,) = [one for one in cases if one.decision is not None]
    exported = await client.export_evidence(case.name, tmp_path / "case.zip", with_reference=True)
    key = read_key((await client.index_state()).evidence_key.encode())
    verified = verify_bundle(exported.path, key=key)
    assert verified.findings == ()
    assert (verified.subject, verified.pinned, len(verified.captures)) == (case.name, True, 3)
    parts = opened(exported.path)
    values = json.loads(parts["case.json"])
    (row,) = values["reports"]
    assert (row["name"], values["case"]["site"], values["work"]["title"]) == (found.report, case.site, TITLE)
    report = json.loads(parts[f"{found.report}.json"])
    assert "cases" not in report
    last = report["captures"][0]["custody"][-1]
    assert (last["action"], json.loads(last["detail"])) == ("EXPORTED", {"case": case.name})
    (reference,) = found.work.references
    proof = f"references/{reference.name.rpartition('/')[2]}"
    assert {f"{proof}.json", f"{proof}/picture.jpg"} <= parts.keys()
    text = text_of(parts["case.pdf"])
    digests = [line.split()[0] for line in parts["SHA256SUMS"].decode().splitlines()]
    for one in ("Reportonacase", "Report1", "日本語", *digests[1:]):
        assert one in text, one
    rows = set(re.findall(r"^\| `([a-z0-9_.\[\]]+)` \| .+ \| .+\. \|$", CASE_GUIDE, re.MULTILINE))
    assert rows == fields(values)
    for form in (copyhound.EvidenceFormat.JSON, copyhound.EvidenceFormat.PAGE):
        alone = await client.export_evidence(case.name, tmp_path / form, form=form)
        assert case.site.encode() in alone.path.read_bytes()
    stranger = key_of(found.service, KeyRole.OWNER, "another")
    async with copyhound.AsyncClient(found.target, api_key=stranger) as other:
        for name in (case.name, f"cases/{uuid4()}"):
            with pytest.raises(copyhound.NotFoundError):
                await other.export_evidence(name, tmp_path / "none.zip")


@pytest.mark.usefixtures("unset")
async def test_only_owners_of_the_work_and_investigators(found: Found, tmp_path: Path) -> None:
    roles: list[tuple[KeyRole, str | None, type[Exception] | None]] = [
        (KeyRole.OWNER, "studio", None),
        (KeyRole.INVESTIGATOR, None, None),
        (KeyRole.OWNER, "another", copyhound.NotFoundError),
        (KeyRole.PLATFORM, None, copyhound.ForbiddenError),
        (KeyRole.CRAWLER, None, copyhound.ForbiddenError),
    ]
    for role, owner, error in roles:
        key = key_of(found.service, role, owner)
        async with copyhound.AsyncClient(found.target, api_key=key) as client:
            for form in (copyhound.EvidenceFormat.JSON, copyhound.EvidenceFormat.BUNDLE):
                target = tmp_path / f"{role}-{owner}.{form}"
                if error is None:
                    exported = await client.export_evidence(found.report, target, form=form)
                    assert exported.byte_count == target.stat().st_size
                else:
                    with pytest.raises(error):
                        await client.export_evidence(found.report, target, form=form)
                    assert not target.exists()


async def test_wrong_wishes(found: Found, client: copyhound.AsyncClient, tmp_path: Path) -> None:
    with pytest.raises(copyhound.NotFoundError):
        await client.export_evidence(f"reports/{uuid4()}", tmp_path / "x")
    with pytest.raises(copyhound.InvalidRequestError, match="language"):
        await client.export_evidence(found.report, tmp_path / "x", language="tlh")
    with pytest.raises(copyhound.InvalidRequestError, match="max_captures"):
        await client.export_evidence(found.report, tmp_path / "x", max_captures=-1)
    with pytest.raises(copyhound.InvalidRequestError, match="name"):
        await client.export_evidence("reports/1", tmp_path / "x")


@pytest.mark.usefixtures("unset")
async def test_fewer_captures(found: Found, client: copyhound.AsyncClient, tmp_path: Path) -> None:
    exported = await client.export_evidence(found.report, tmp_path / "one.zip", max_captures=1)
    assert set(exported.left_out.values()) == {"fewer captures were asked for"}
    verified = verify_bundle(exported.path)
    assert (verified.intact, len(verified.captures)) == (True, 1)
    assert sum("was left out" in note for note in verified.notes) == 2


@pytest.mark.usefixtures("unset")
async def test_a_time_stamp(found: Found, client: copyhound.AsyncClient, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(found.service.bundler, "_authority", authority)
        exported = await client.export_evidence(found.report, tmp_path / "stamped.zip")
    assert exported.stamped
    verified = verify_bundle(exported.path, authorities=[authority.root])
    assert verified.intact
    assert verified.stamped_at


@pytest.mark.usefixtures("unset")
async def test_the_commands(found: Found, tmp_path: Path) -> None:
    def call(*arguments: object) -> str:
        """Output of a command; the server writes its log there, too."""
        run = CliRunner().invoke(app, [*map(str, arguments)])
        assert run.exit_code == 0, run.output
        return run.stdout

    def commands() -> None:
        server = ("--server", found.target)
        exported = call("reports", "export", found.report, "-o", tmp_path / "a.zip", "--json", *server)
        (line,) = [one for one in exported.splitlines() if one.startswith('{"export"')]
        values = json.loads(line)["export"]
        assert values["byte_count"] == (tmp_path / "a.zip").stat().st_size
        assert ".pdf: " in call("reports", "export", found.report, "-o", tmp_path / "a.pdf", *server)
        call("reports", "key", "-o", tmp_path / "key.pem", *server)
        assert (tmp_path / "key.pem").read_text() in call("reports", "key", *server)
        key_id = values["key_id"]
        assert f"signed by {key_id}" in call("status", *server)
        told = call("verify", tmp_path / "a.zip", "--key", tmp_path / "key.pem")
        assert f"signed by the given key, {key_id}" in told
        for wrong in ("a.doc", "none/a.zip"):
            wish = ["reports", "export", found.report, "-o", str(tmp_path / wrong), *server]
            assert CliRunner().invoke(app, wish).exit_code == 2

    await asyncio.to_thread(commands)


@pytest.mark.usefixtures("unset")
async def test_a_capture_that_is_not_what_was_received(
    found: Found, client: copyhound.AsyncClient, tmp_path: Path
) -> None:
    """It is left out and named: what is left still is evidence."""
    ids = sorted(found.warcs)
    kept = {}
    for number, capture_id in enumerate(ids):
        name = hashlib.sha256(found.warcs[capture_id]).hexdigest()
        path = found.folder / "hound" / "captures" / name[:2] / name
        kept[path] = path.read_bytes()
        if number == 0:
            path.unlink()
        else:
            path.write_bytes(kept[path].replace(b"free films", b"FREE FILMS"))
        exported = await client.export_evidence(found.report, tmp_path / f"{number}.zip")
        assert len(exported.left_out) == (number + 1 if number < 2 else 4)  # at last the suspect, too
        verified = verify_bundle(exported.path)
        assert verified.intact
        assert len(verified.captures) == 2 - number
    for path, content in kept.items():
        path.write_bytes(content)


async def test_guide_describes_every_field_of_a_document(
    found: Found, client: copyhound.AsyncClient, tmp_path: Path
) -> None:
    exported = await client.export_evidence(
        found.report, tmp_path / "report.json", form=copyhound.EvidenceFormat.JSON
    )
    rows = re.findall(r"^\| `([a-z0-9_.\[\]]+)` \| .+ \| .+\. \|$", GUIDE, re.MULTILINE)
    real = fields(json.loads(exported.path.read_bytes()))
    assert sorted(rows) == sorted(real | fields(document(words("en", "report"))))


def fields(value: object, path: str = "") -> set[str]:
    """Paths of all values that are no objects or lists of objects themselves."""
    if isinstance(value, dict) and path not in FREE:
        inside = (fields(one, f"{path}.{name}" if path else name) for name, one in value.items())
        return set().union(*inside)
    if isinstance(value, list) and (not value or isinstance(value[0], dict)):
        return set().union(*(fields(one, f"{path}[]") for one in value))
    return {path}


FREE = {"software", "people", "captures[].software", "captures[].robots"}
"""Objects whose names are not the document's."""


@pytest.mark.usefixtures("unset")
async def test_what_stays_when_the_work_is_deleted(
    found: Found, client: copyhound.AsyncClient, tmp_path: Path
) -> None:
    await client.delete_work(found.work.name)
    exported = await client.export_evidence(found.report, tmp_path / "after.zip", with_reference=True)
    assert verify_bundle(exported.path).intact
    parts = opened(exported.path)
    assert json.loads(parts["reference.json"])["deleted"]
    assert json.loads(parts["report.json"])["work"]["title"] == TITLE
    assert not [name for name in parts if name.startswith("reference/")]
