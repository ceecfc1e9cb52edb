"""Workers write previews, and what a worker that was taken over writes harms nobody."""

import asyncio
import io
import json
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import skimage
from PIL import Image

from indexers.modality import MediaLimits, Role
from indexers.previews import Facts, Kind
from service.errors import StorageFullError, UnreadableMediaError
from service.previews.files import Receiver
from service.sandbox import ForkServer, Pool, spool, wire
from service.sandbox.process import WorkerProcess
from tests import films

PHOTO = (Path(skimage.__file__).parent / "data" / "rocket.jpg").read_bytes()
MIB = 1024 * 1024

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(forks: ForkServer) -> AsyncIterator[tuple[Pool, list[str]]]:
    """One worker, and why it died, if it did."""
    deaths: list[str] = []
    pool = Pool(
        workers=1,
        memory_mb=1024,
        seconds=60.0,
        queue_limit=100,
        limits=MediaLimits(),
        forks=forks,
        on_death=deaths.append,
    )
    await pool.start()
    yield pool, deaths
    await pool.close()


async def shown(
    pool: Pool, content: bytes, modality: str, folder: Path, max_bytes: int = 64 * MIB
) -> dict[Kind, Facts]:
    with spool(content) as media, Receiver(folder) as receiver:
        await pool.preview(media, modality, receiver, max_bytes=max_bytes)
        return {file.kind: file.facts for file, _, _ in receiver.checked()}


def png_bomb() -> bytes:
    """A picture that claims 100,000 × 100,000 pixels."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


async def test_previews_come_from_the_worker(pool: tuple[Pool, list[str]], tmp_path: Path) -> None:
    workers, deaths = pool
    found = await shown(workers, PHOTO, "image", tmp_path)
    assert found[Kind.PICTURE] == Facts(width=640, height=427)
    film = films.encoded(films.frames("first", 0.0, 2.0))
    found = await shown(workers, film, "video", tmp_path)
    assert set(found) == {Kind.CLIP, Kind.THUMBNAIL}
    cut = await shown(workers, film, "video", tmp_path, max_bytes=1)
    assert not cut[Kind.CLIP].whole
    with spool(PHOTO) as media:
        assert (await workers.read(media, role=Role.REFERENCE)).modality == "image"
    assert deaths == []


async def test_a_picture_is_shown_as_it_is_read(pool: tuple[Pool, list[str]]) -> None:
    workers, deaths = pool
    with spool(PHOTO) as media:
        read = await workers.read(media, role=Role.REFERENCE, show=True)
        assert isinstance(read.shown, tuple)
        assert [(one.kind, one.facts) for one in read.shown] == [
            (Kind.PICTURE, Facts(width=640, height=427)),
            (Kind.THUMBNAIL, Facts(width=256, height=171)),
        ]
        with Image.open(io.BytesIO(read.shown[0].content)) as image:
            assert image.size == (640, 427)
        assert (await workers.read(media, role=Role.REFERENCE)).shown is None
    with spool(films.encoded(films.frames("first", 0.0, 2.0))) as media:
        assert (await workers.read(media, role=Role.REFERENCE, show=True)).shown is None
    assert deaths == []


@pytest.mark.parametrize("cause", ["SIGKILL", "wire"])
async def test_a_picture_whose_preview_kills_its_worker_is_read(
    pool: tuple[Pool, list[str]], cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, deaths = pool
    listen = WorkerProcess.listen

    async def hostile(worker: WorkerProcess) -> tuple[bytes, bytes]:
        if cause == "SIGKILL":
            worker._leash.send(b"!")
            while True:
                await listen(worker)
        return b"{}", b""

    monkeypatch.setattr(WorkerProcess, "listen", hostile)
    with spool(PHOTO) as media:
        read = await workers.read(media, role=Role.REFERENCE, show=True)
        monkeypatch.undo()
        assert read.fingerprints
        assert isinstance(read.shown, UnreadableMediaError)
        assert read.shown.reason == "MEDIA_CRASHED"
        assert (await workers.read(media, role=Role.REFERENCE)).fingerprints  # by the one in its place
    assert deaths == [cause]
    deaths.clear()


async def test_a_worker_that_speaks_out_of_turn_is_replaced(
    pool: tuple[Pool, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, deaths = pool
    listen = WorkerProcess.listen

    async def hostile(worker: WorkerProcess) -> tuple[bytes, bytes]:
        shown = await listen(worker)
        worker._ahead += b"the next answer"
        return shown

    monkeypatch.setattr(WorkerProcess, "listen", hostile)
    with spool(PHOTO) as media:
        assert isinstance((await workers.read(media, role=Role.REFERENCE, show=True)).shown, tuple)
        monkeypatch.undo()
        assert (await workers.read(media, role=Role.REFERENCE)).fingerprints  # by the one in its place
    assert deaths == ["wire"]
    deaths.clear()


async def test_a_preview_that_makes_no_sense_is_refused() -> None:
    files = [wire.ShownFile(Kind.PICTURE, Facts(3, 4), b"abc"), wire.ShownFile(Kind.TEXT, Facts(), b"")]
    message = wire.pack_shown(files)
    header, _ = wire.lengths(message[: wire.PREFIX.size])
    text, payload = message[wire.PREFIX.size :][:header], message[wire.PREFIX.size + header :]
    assert wire.unpack_shown(text, payload) == tuple(files)
    refused = wire.unpack_shown(json.dumps({"reason": "MEDIA_LIMIT", "message": "x"}).encode(), b"")
    assert refused == wire.Refusal(wire.Failure.LIMIT, "x")
    for lie, body in (
        (text, payload + b"d"),
        (text.replace(b'"byte_count":3', b'"byte_count":-3'), payload),
        (text.replace(b'"picture"', b'"virus"'), payload),
        (text.replace(b'"width":3', b'"width":4294967296'), payload),
        (b"{}", b""),
        (b"[]", b""),
    ):
        with pytest.raises(wire.WireError):
            wire.unpack_shown(lie, body)


@pytest.mark.parametrize(
    ("content", "modality", "reason"),
    [
        (PHOTO[: len(PHOTO) // 2], "image", "MEDIA_DAMAGED"),
        (png_bomb(), "image", "MEDIA_LIMIT"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image", "MEDIA_UNSUPPORTED"),
        (b"\x1aE\xdf\xa3" + b"\0" * 500, "video", "MEDIA_UNSUPPORTED"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio", "MEDIA_UNSUPPORTED"),
        (b"", "text", "MEDIA_DAMAGED"),
    ],
)
async def test_hostile_media_cost_one_error(
    pool: tuple[Pool, list[str]], tmp_path: Path, content: bytes, modality: str, reason: str
) -> None:
    workers, deaths = pool
    with pytest.raises(UnreadableMediaError) as caught:
        await shown(workers, content, modality, tmp_path)
    assert caught.value.reason in {reason, "MEDIA_DAMAGED"}
    assert deaths == []


async def test_a_worker_whose_preview_is_not_wanted_is_replaced(forks: ForkServer, tmp_path: Path) -> None:
    died = asyncio.Event()
    causes: list[str] = []

    def noted(cause: str) -> None:
        causes.append(cause)
        died.set()

    pool = Pool(
        workers=1,
        memory_mb=1024,
        seconds=60.0,
        queue_limit=9,
        limits=MediaLimits(),
        forks=forks,
        on_death=noted,
    )
    await pool.start()

    class Full:
        """There is no room."""

        def write(self, kind: Kind, at: int, piece: bytes) -> None:
            del kind, at, piece
            raise StorageFullError("full")

        def end(self, kind: Kind, facts: Facts) -> None:
            """Never comes."""

    with spool(PHOTO) as media:
        with pytest.raises(StorageFullError):
            await pool.preview(media, "image", Full(), max_bytes=MIB)
        await died.wait()
        assert (await pool.read(media, role=Role.REFERENCE)).modality == "image"
    assert causes == ["unwanted"]
    assert await shown(pool, PHOTO, "image", tmp_path)
    await pool.close()


FACTS: dict[str, Any] = {"width": 1, "height": 1, "seconds": 0, "characters": 0, "whole": True}


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        ({"write": "script", "at": 0}, b"x"),
        ({"write": "picture", "at": -1}, b"x"),
        ({"write": "picture", "at": "0"}, b"x"),
        ({"write": "picture", "at": 0}, b""),
        ({"write": "picture", "at": 0}, bytes(wire.MAX_PIECE_BYTES + 1)),
        ({"end": "picture"}, b""),
        ({"end": "picture", "facts": FACTS | {"width": 2**31}}, b""),
        ({"end": "picture", "facts": FACTS | {"seconds": "1"}}, b""),
        ({"end": "html", "facts": FACTS}, b""),
        ({"reason": "MEDIA_FINE", "message": ""}, b""),
        ([], b""),
    ],
)
async def test_answers_that_make_no_sense_are_refused(header: object, payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.unpack_preview(json.dumps(header).encode(), payload)


async def test_answers_that_make_sense_are_read() -> None:
    written = wire.Written(Kind.CLIP, 2**33, b"abc")
    ended = wire.Ended(Kind.CLIP, Facts(320, 180, 7.5, 0, whole=False))
    for message, answer in (
        (wire.pack_written(written), written),
        (wire.pack_ended(ended), ended),
        (wire.pack_ended(wire.Ended(None, Facts())), wire.Ended(None, Facts())),
    ):
        header, payload = wire.lengths(message[: wire.PREFIX.size])
        text = message[wire.PREFIX.size :][:header]
        assert wire.unpack_preview(text, message[len(message) - payload :]) == answer
