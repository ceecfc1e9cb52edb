"""Previews over the wire: made of what is registered or reported, kept, shown to whom it concerns, erased."""

from __future__ import annotations

# ruff: noqa: ASYNC110 - what is waited for happens in the server
import asyncio
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from PIL import Image

import copyhound
from copyhound import PreviewKind, PreviewState
from indexers.previews import Facts, Kind
from service.app import Running, running
from service.domain import KeyRole
from service.previews.making import PreviewMaker
from service.sandbox import ForkServer, Pool, ShownFile
from service.settings import Settings
from tests import films, sounds
from tests.e2e.pictures import encoded, photograph
from tests.e2e.test_monitoring import capture_of, crawler_of, key_of, leased, settled
from tests.previews import frames_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = copyhound.Place(copyhound.PlaceKind.PAGE, "https://pirate.example/")
TEXT = "Es war einmal ein König, der hatte drei Töchter 👑 und wusste nicht, welche. " * 40


@asynccontextmanager
async def served(data: Path, forks: ForkServer, **others: Any) -> AsyncIterator[Running]:
    settings = Settings(data=data, listen="127.0.0.1:0", workers=1, allow_anonymous=True, **others)
    async with running(settings, forks=forks) as started:
        yield started


@asynccontextmanager
async def client_of(service: Running, key: str | None = None) -> AsyncIterator[copyhound.AsyncClient]:
    async with copyhound.AsyncClient(f"127.0.0.1:{service.port}", api_key=key) as client:
        yield client


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("previews") / "hound"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(data: Path, forks: ForkServer) -> AsyncIterator[Running]:
    """One server for all tests here: each works for an owner of its own."""
    async with served(data, forks) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def client(service: Running) -> AsyncIterator[copyhound.AsyncClient]:
    async with client_of(service) as client:
        yield client


@pytest.fixture(scope="module")
def film() -> bytes:
    return films.encoded(films.frames("second", 0.0, 5.0), sounds.tune(8, 5.0))


async def made(client: copyhound.AsyncClient, name: str) -> copyhound.Preview:
    """A preview, once nothing is being made any more."""
    while (found := await client.get_preview(name)).state is PreviewState.PENDING:
        await asyncio.sleep(0.02)
    return found


async def read(client: copyhound.AsyncClient, name: str, kind: PreviewKind, **part: int) -> bytes:
    return b"".join([piece async for piece in client.read_preview(name, kind, **part)])


async def until(there: Callable[[], bool]) -> None:
    while not there():
        await asyncio.sleep(0.02)


def kept_files(data: Path) -> set[str]:
    return {path.name for path in (data / "previews").rglob("*") if path.is_file()}


async def test_a_picture_can_be_shown_as_soon_as_it_is_registered(client: copyhound.AsyncClient) -> None:
    content = encoded(photograph("coffee"), 95)
    work = await client.register(content, owner="pictures")
    reference = work.references[0].name
    preview = await client.get_preview(reference)
    assert (preview.state, preview.modality) == (PreviewState.READY, "image")
    assert {file.kind for file in preview.files} == {PreviewKind.PICTURE, PreviewKind.THUMBNAIL}
    for file in preview.files:
        whole = await read(client, reference, file.kind)
        assert hashlib.sha256(whole).digest() == file.sha256
        assert (len(whole), file.media_type, file.cut) == (file.byte_count, "image/jpeg", False)
        with Image.open(io.BytesIO(whole)) as image:
            assert image.size == (file.width, file.height)
        assert await read(client, reference, file.kind, start=10, length=7) == whole[10:17]
        assert await read(client, reference, file.kind, start=file.byte_count) == b""
    with pytest.raises(copyhound.NotFoundError) as caught:
        await read(client, reference, PreviewKind.CLIP)
    assert caught.value.metadata["preview"] == "ready"


async def test_a_film_is_shown_after_a_while_and_its_file_is_not_kept(
    client: copyhound.AsyncClient, data: Path, film: bytes
) -> None:
    before = kept_files(data)
    work = await client.register(film, owner="films")
    reference = work.references[0].name
    preview = await made(client, reference)
    assert preview.state is PreviewState.READY, preview.reason
    assert {file.kind.value for file in preview.files} == {"clip", "thumbnail", "waveform", "spectrogram"}
    (clip,) = (file for file in preview.files if file.kind is PreviewKind.CLIP)
    assert clip.media_type == "video/webm"
    assert clip.seconds == pytest.approx(5.0, abs=0.4)
    assert len(frames_of(await read(client, reference, PreviewKind.CLIP))) > 10
    await until(lambda: hashlib.sha256(film).hexdigest() not in kept_files(data))
    assert len(kept_files(data) - before) == 4


async def test_a_text_keeps_its_characters(client: copyhound.AsyncClient, service: Running) -> None:
    work = await client.register(TEXT.encode(), owner="texts", filename="a.txt")
    reference = work.references[0].name
    (file,) = (await client.get_preview(reference)).files
    assert (file.kind, file.characters) == (PreviewKind.TEXT, len(TEXT))
    assert (await read(client, reference, file.kind)).decode() == TEXT
    subject = UUID(reference.rpartition("/")[2])
    assert await asyncio.to_thread(service.previews.text, subject, 10, 60) == TEXT[10:60]


async def test_the_parts_of_a_container_are_shown_each(client: copyhound.AsyncClient, data: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", encoded(photograph("rocket"), 90))
        archive.writestr("b.wav", sounds.encoded(sounds.tune(3, 6.0)))
    work = await client.register(file.getvalue(), owner="boxes", filename="box.zip")
    every = (await client.get_work(work.name)).references
    states = {one.filename: (await made(client, one.name)) for one in every}
    assert {name: preview.state for name, preview in states.items()} == {
        "box.zip": PreviewState.ABSENT,
        "box.zip!a.jpg": PreviewState.READY,
        "box.zip!b.wav": PreviewState.READY,
    }
    assert {one.kind.value for one in states["box.zip!b.wav"].files} == {"sound", "waveform", "spectrogram"}
    await until(lambda: hashlib.sha256(file.getvalue()).hexdigest() not in kept_files(data))


async def test_an_owner_may_want_none(client: copyhound.AsyncClient) -> None:
    none = copyhound.Policy(previews=False)
    work = await client.register(encoded(photograph("chelsea"), 90), owner="shy", policy=none)
    assert not work.policy.previews
    assert (await client.get_preview(work.references[0].name)).state is PreviewState.NOT_KEPT

    other = await client.register(encoded(photograph("chelsea"), 80), owner="shy")
    name = other.references[0].name
    assert (await client.get_preview(name)).state is PreviewState.READY
    await client.update_work(other.name, policy=none)
    assert (await client.get_preview(name)).state is PreviewState.NOT_KEPT
    with pytest.raises(copyhound.NotFoundError) as caught:
        await read(client, name, PreviewKind.PICTURE)
    assert caught.value.metadata["preview"] == "not_kept"


async def test_fingerprints_alone_have_nothing_to_show(client: copyhound.AsyncClient) -> None:
    work = await client.register(encoded(photograph("gravel"), 90), owner="bare")
    assert (await client.get_preview(work.references[0].name)).state is PreviewState.READY
    gone = work.references[0].name
    await client.delete_work(work.name)
    with pytest.raises(copyhound.NotFoundError):
        await client.get_preview(gone)


async def test_shared_files_are_erased_with_the_last_work_that_needs_them(
    client: copyhound.AsyncClient, service: Running, data: Path
) -> None:
    content = encoded(photograph("hubble_deep_field"), 90)
    one = await client.register(content, owner="sharing", external_id="1")
    two = await client.register(content, owner="sharing", external_id="2")
    name = two.references[0].name
    digests = {file.sha256.hex() for file in (await client.get_preview(name)).files}
    await client.delete_work(one.name)

    def looked_at() -> bool:
        with service.catalogue.store.view() as view:
            return not view.previews.erasures(9)

    await until(looked_at)
    assert digests <= kept_files(data)
    assert await read(client, name, PreviewKind.PICTURE)
    await client.delete_work(two.name)
    await until(lambda: not digests & kept_files(data))


async def test_a_preview_that_fails_fails_nothing_else(
    client: copyhound.AsyncClient, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make: Callable[..., Awaitable[object]] = Pool._shown

    async def hostile(*asked: object) -> tuple[ShownFile, ...]:  # as a worker that was taken over
        files = await make(*asked)
        assert isinstance(files, tuple)
        return (*files, ShownFile(Kind.THUMBNAIL, Facts(), b"x"))

    monkeypatch.setattr(Pool, "_shown", staticmethod(hostile))
    before = kept_files(data)
    work = await client.register(encoded(photograph("coins"), 90), owner="hostile")
    preview = await client.get_preview(work.references[0].name)
    assert preview.state is PreviewState.FAILED
    assert preview.reason.startswith("MEDIA_CRASHED: ")
    assert kept_files(data) == before
    monkeypatch.undo()
    assert (await client.match(encoded(photograph("coins"), 70))).matches


async def test_reviewers_are_shown_reported_contents_and_owners_their_own(
    client: copyhound.AsyncClient, service: Running
) -> None:
    photo = photograph("retina")
    await client.register(encoded(photo, 95), owner="mine", external_id="R")
    copy = encoded(photo.resize((300, 300)), 50)
    async with crawler_of(service) as crawler:
        made_list, job = await leased(client, crawler, copyhound.NewMonitoringList("mine", places=(PAGE,)))
        unreported = encoded(photograph("camera"), 60)
        await crawler.ingest_capture(*capture_of(copy, job.run))
        await crawler.ingest_capture(*capture_of(unreported, job.run, "https://pirate.example/2"))
        await crawler.report_progress(job.run, copyhound.Progress(), state=copyhound.RunState.DONE)
    await settled(client, job.run)
    (report,) = [one async for one in client.reports(list_name=made_list.name)]
    preview = await made(client, report.name)
    assert preview.state is PreviewState.READY, preview.reason
    with Image.open(io.BytesIO(await read(client, report.name, PreviewKind.PICTURE))) as image:
        assert image.size == (300, 300)
    find = service.previews.find
    assert find(hashlib.sha256(unreported).digest()).state.value == "absent"
    assert find(b"0" * 32).state.value == "deleted"

    for role, owner, sees in (
        (KeyRole.OWNER, "mine", True),
        (KeyRole.INVESTIGATOR, None, True),
        (KeyRole.OWNER, "other", False),
        (KeyRole.PLATFORM, None, False),
    ):
        async with client_of(service, key_of(service, role, owner)) as reader:
            for name in (report.name, report.match.reference):
                if sees:
                    assert (await made(reader, name)).state is PreviewState.READY
                    assert await read(reader, name, PreviewKind.THUMBNAIL)
                    continue
                with pytest.raises((copyhound.NotFoundError, copyhound.ForbiddenError)):
                    await reader.get_preview(name)
                with pytest.raises((copyhound.NotFoundError, copyhound.ForbiddenError)):
                    await read(reader, name, PreviewKind.THUMBNAIL)


async def test_what_was_not_made_or_erased_is_after_a_restart(
    tmp_path: Path, forks: ForkServer, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "hound"

    async def nothing(_: PreviewMaker) -> None:
        """As if the server were cut off before it comes to that."""

    with monkeypatch.context() as patch:
        patch.setattr(PreviewMaker, "_make", nothing)
        patch.setattr(PreviewMaker, "_erase", nothing)
        async with served(data, forks) as service, client_of(service) as client:
            kept = await client.register(film, owner="o", external_id="kept")
            gone = await client.register(encoded(photograph("coffee"), 90), owner="o", external_id="gone")
            lost = await client.register(
                films.encoded(films.frames("other", 0.0, 2.0)), owner="o", external_id="lost"
            )
            assert (await client.get_preview(kept.references[0].name)).state is PreviewState.PENDING
            for work in (gone, lost):
                await client.delete_work(work.name)
            with pytest.raises(copyhound.NotFoundError):
                await client.get_preview(lost.references[0].name)
            orphan = data / "previews" / "ab" / "cd" / ("abcd" + "0" * 60)
            orphan.parent.mkdir(parents=True)
            orphan.write_bytes(b"kept before a crash, and never noted")
            assert len(kept_files(data)) == 5
    async with served(data, forks) as service, client_of(service) as client:
        preview = await made(client, kept.references[0].name)
        assert preview.state is PreviewState.READY, preview.reason
        expected = {file.sha256.hex() for file in preview.files}
        await until(lambda: kept_files(data) == expected)


async def test_while_too_much_waits_previews_are_made_before_the_answer(
    tmp_path: Path, forks: ForkServer, film: bytes
) -> None:
    async with (
        served(tmp_path / "hound", forks, preview_backlog_mb=0) as service,
        client_of(service) as client,
    ):
        work = await client.register(film, owner="o")
        assert (await client.get_preview(work.references[0].name)).state is PreviewState.READY
