import asyncio
import contextlib
import hashlib
import io
import json
import os
import signal
import socket
import struct
import wave
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import skimage
from PIL import Image

from indexers.errors import DamagedMediaError
from indexers.image import ImageModality, hashes
from indexers.modality import MediaLimits, Role, described
from indexers.previews import Facts, Kind
from service.errors import BusyError, UnreadableMediaError
from service.sandbox import ForkServer, Pool, ReadMedia, confine, spool, wire, worker
from service.sandbox.process import WorkerProcess

HOSTILE = Path(__file__).parents[1] / "vectors" / "hostile"
"""Files that end, or once ended, the process that read them."""
PHOTO = (Path(skimage.__file__).parent / "data" / "rocket.jpg").read_bytes()


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png_bomb(side: int) -> bytes:
    content = bytearray(encoded(Image.new("L", (8, 8)), "PNG"))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("picture.png", b"none")
    return buffer.getvalue()


SLOW = encoded(Image.new("L", (13_000, 13_000)), "PNG")
"""A legal picture of few bytes and many pixels: about a second of decoding."""


PoolOf = Callable[..., AbstractAsyncContextManager[Pool]]


@pytest.fixture
def pool_of(forks: ForkServer) -> PoolOf:
    @contextlib.asynccontextmanager
    async def pool_of(
        workers: int = 1,
        *,
        deaths: list[str] | None = None,
        memory_mb: int = 1024,
        seconds: float = 60.0,
        queue_limit: int = 1000,
        forks: ForkServer | None = forks,
    ) -> AsyncIterator[Pool]:
        pool = Pool(
            workers=workers,
            memory_mb=memory_mb,
            seconds=seconds,
            queue_limit=queue_limit,
            limits=MediaLimits(),
            forks=forks,
            on_death=(deaths if deaths is not None else []).append,
        )
        await pool.start()
        try:
            yield pool
        finally:
            await pool.close()

    return pool_of


async def read(pool: Pool, content: bytes, role: Role = Role.REFERENCE) -> ReadMedia:
    with spool(content) as media:
        return await pool.read(media, role=role)


async def reason(pool: Pool, content: bytes) -> str:
    with pytest.raises(UnreadableMediaError) as caught:
        await read(pool, content)
    assert caught.value.reason in UnreadableMediaError.reasons
    assert len(str(caught.value)) > 20
    return caught.value.reason


def children(pid: int) -> list[int]:
    return [int(child) for child in proc(pid, f"task/{pid}/children").split()]


def worker_ids(pool: Pool) -> list[int]:
    forks = pool._forks._process
    return [] if forks is None or forks.poll() is not None else children(forks.pid)


def proc(pid: int | str, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def until_dead(pid: int) -> None:
    """Wait for the end of a process, and until its parent has noticed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(60)


async def until_busy(pid: int) -> None:
    """Wait until the process has taken CPU time for an item: it is decoding."""
    before = os.times()
    start = _cpu_ticks(pid)
    while _cpu_ticks(pid) <= start + 2:
        assert os.times().elapsed - before.elapsed < 60
        await asyncio.sleep(0.01)


def _cpu_ticks(pid: int) -> int:
    fields = proc(pid, "stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def test_answers_as_the_modality_does(pool_of: PoolOf) -> None:
    modality = ImageModality()
    async with pool_of() as pool:
        for role in Role:
            media = await read(pool, PHOTO, role)
            expected = described(modality, modality.decode(io.BytesIO(PHOTO), MediaLimits()), role)
            assert media.modality == "image"
            assert media.sha256 == b""  # the service knows it already
            assert media.byte_count == len(PHOTO)
            assert media.decode_seconds >= 0
            assert media.fingerprint_seconds >= 0
            for mine, theirs in zip(media.fingerprints, expected, strict=True):
                assert mine.scheme == theirs.scheme
                # Another process may add floats up in another order.
                np.testing.assert_allclose(mine.descriptors, theirs.descriptors, atol=1e-5)
                assert np.array_equal(mine.spans, theirs.spans)
                np.testing.assert_allclose(mine.quality, theirs.quality, atol=1e-5)
                assert np.array_equal(mine.views, theirs.views)


async def test_stages_come_one_after_another_as_long_as_they_are_wanted(pool_of: PoolOf) -> None:
    stages = ImageModality.stages
    found: list[ReadMedia] = []

    async def until(last: int) -> ReadMedia:
        found.clear()

        async def consider(stage: ReadMedia) -> Collection[int] | None:
            found.append(stage)
            return wire.ALL if len(found) < last else None

        with spool(PHOTO) as media:
            return await pool.read(media, role=Role.QUERY, consider=consider)

    async with pool_of() as pool:
        workers = worker_ids(pool)
        for last in (1, len(stages), 2):
            read_media = await until(last)
            assert len(found) == last
            assert [stage.more for stage in found] == [number + 1 < len(stages) for number in range(last)]
            counts = {one.scheme.id: len(one) for one in read_media.fingerprints}
            for scheme, count in counts.items():
                parts = [len(one) for stage in found for one in stage.fingerprints if one.scheme.id == scheme]
                assert sum(parts) == count
        assert worker_ids(pool) == workers


async def test_an_error_while_a_stage_is_considered_costs_its_caller_alone(pool_of: PoolOf) -> None:
    async def consider(_: ReadMedia) -> Collection[int] | None:
        raise LookupError("the index is on fire")

    deaths: list[str] = []
    async with pool_of(deaths=deaths) as pool:
        workers = worker_ids(pool)
        with spool(PHOTO) as media, pytest.raises(LookupError, match="on fire"):
            await pool.read(media, role=Role.QUERY, consider=consider)
        assert (await read(pool, PHOTO)).modality == "image"
        assert worker_ids(pool) == workers
    assert deaths == []


async def test_each_bad_file_has_its_reason(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        assert await reason(pool, PHOTO[: len(PHOTO) // 2]) == "MEDIA_DAMAGED"
        assert await reason(pool, b"") == "MEDIA_DAMAGED"
        assert await reason(pool, archive()) == "MEDIA_UNSUPPORTED"
        assert await reason(pool, png_bomb(50_000)) == "MEDIA_LIMIT"
        with spool(PHOTO) as media, pytest.raises(UnreadableMediaError, match="no modality 'smell'"):
            await pool.read(media, role=Role.QUERY, modality="smell")
        assert (await read(pool, PHOTO)).byte_count == len(PHOTO)


async def test_a_file_that_takes_too_much_memory_is_refused_and_the_worker_lives_on(pool_of: PoolOf) -> None:
    deaths: list[str] = []
    async with pool_of(memory_mb=100, deaths=deaths) as pool:
        assert await reason(pool, SLOW) == "MEDIA_LIMIT"
        assert (await read(pool, PHOTO)).modality == "image"
    assert deaths == []


async def test_a_file_that_takes_too_long_ends_its_worker_alone(pool_of: PoolOf) -> None:
    deaths: list[str] = []
    async with pool_of(seconds=0.5, deaths=deaths) as pool:
        (before,) = worker_ids(pool)
        assert await reason(pool, SLOW) == "MEDIA_TIMEOUT"
        assert (
            await read(pool, encoded(Image.linear_gradient("L").resize((9, 9)), "PNG"))
        ).modality == "image"
        assert worker_ids(pool) != [before]
    assert deaths[0] == "timeout"


async def test_a_worker_that_is_killed_costs_one_item(pool_of: PoolOf) -> None:
    deaths: list[str] = []
    async with pool_of(deaths=deaths) as pool:
        (pid,) = worker_ids(pool)
        victim = asyncio.create_task(read(pool, SLOW))
        others = [asyncio.create_task(read(pool, PHOTO)) for _ in range(3)]
        await until_busy(pid)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(UnreadableMediaError, match="SIGKILL") as caught:
            await victim
        assert caught.value.reason == "MEDIA_CRASHED"
        assert [media.byte_count for media in await asyncio.gather(*others)] == [len(PHOTO)] * 3
    assert deaths == ["SIGKILL"]


@pytest.mark.parametrize(
    "content", [pytest.param(path.read_bytes(), id=path.name) for path in sorted(HOSTILE.iterdir())]
)
async def test_what_fuzzing_found_costs_at_most_one_item(pool_of: PoolOf, content: bytes) -> None:
    deaths: list[str] = []
    async with pool_of(deaths=deaths) as pool:
        refused = await reason(pool, content)
        assert (await read(pool, PHOTO)).modality == "image"
    assert deaths == (["SIGSEGV"] if refused == "MEDIA_CRASHED" else [])


async def test_a_worker_that_dies_idle_costs_nothing(pool_of: PoolOf) -> None:
    deaths: list[str] = []
    async with pool_of(deaths=deaths) as pool:
        (pid,) = worker_ids(pool)
        os.kill(pid, signal.SIGSEGV)
        until_dead(pid)
        assert (await read(pool, PHOTO)).modality == "image"
    assert deaths == ["SIGSEGV"]


async def test_a_worker_that_does_not_end_is_killed(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        (worker,) = worker_ids(pool)
        os.kill(worker, signal.SIGSTOP)
    until_dead(worker)
    assert not psutil.pid_exists(worker)


async def test_workers_go_with_what_they_are_forked_from_and_come_back(pool_of: PoolOf) -> None:
    deaths: list[str] = []
    async with pool_of(2, deaths=deaths, forks=None) as pool:
        assert pool._forks._process is not None
        first = pool._forks._process.pid
        workers = worker_ids(pool)
        os.kill(first, signal.SIGKILL)
        for pid in workers:
            until_dead(pid)
        assert [(await read(pool, PHOTO)).modality for _ in range(3)] == ["image"] * 3
        assert pool._forks._process.pid != first
    assert deaths == ["orphaned"] * 2


async def test_a_cancelled_item_leaves_the_queue(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        running = asyncio.create_task(read(pool, PHOTO))
        waiting = asyncio.create_task(read(pool, PHOTO))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pool.waiting == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.waiting == 0
        assert (await running).modality == "image"


async def test_a_cancelled_small_item_finishes_in_its_worker(pool_of: PoolOf) -> None:
    deaths: list[str] = []
    async with pool_of(deaths=deaths) as pool:
        before = worker_ids(pool)
        task = asyncio.create_task(read(pool, PHOTO))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await read(pool, PHOTO)).modality == "image"
        assert worker_ids(pool) == before
    assert deaths == []


async def test_a_cancelled_long_item_ends_with_its_worker(
    pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.sandbox.pool._GRACE_SECONDS", 0.0)
    deaths: list[str] = []
    async with pool_of(deaths=deaths) as pool:
        (pid,) = worker_ids(pool)
        task = asyncio.create_task(read(pool, SLOW))
        await until_busy(pid)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await read(pool, PHOTO)).modality == "image"
    assert deaths == ["cancelled"]


async def test_the_queue_has_an_end(pool_of: PoolOf) -> None:
    async with pool_of(queue_limit=2) as pool:
        tasks = [asyncio.create_task(read(pool, PHOTO)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pool.waiting == 2
        with pytest.raises(BusyError, match="2 media items"):
            await read(pool, PHOTO)
        assert len(await asyncio.gather(*tasks)) == 3


async def test_closing_finishes_what_runs_and_refuses_the_rest(pool_of: PoolOf) -> None:
    async with pool_of() as pool:
        running = asyncio.create_task(read(pool, PHOTO))
        waiting = asyncio.create_task(read(pool, PHOTO))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await pool.close()
        assert (await running).modality == "image"
        with pytest.raises(BusyError):
            await waiting
        with pytest.raises(BusyError):
            await read(pool, PHOTO)
        assert worker_ids(pool) == []


async def test_an_old_worker_is_replaced(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.sandbox.pool._ITEMS_PER_WORKER", 2)
    deaths: list[str] = []
    async with pool_of(deaths=deaths) as pool:
        before = worker_ids(pool)
        for _ in range(3):
            await read(pool, PHOTO)
        assert set(worker_ids(pool)).isdisjoint(before)
    assert deaths == []


async def test_mixed_items_are_all_answered_and_nothing_leaks(pool_of: PoolOf) -> None:
    small = encoded(Image.linear_gradient("L"), "PNG")
    contents = [PHOTO, b"", archive(), small, PHOTO[:5000], png_bomb(50_000), small, small]
    async with pool_of(2) as pool:
        await read(pool, small)
        before = open_files()
        answers = await asyncio.gather(
            *(read(pool, contents[n % 8]) for n in range(200)), return_exceptions=True
        )
        after = open_files()
    for number, answer in enumerate(answers):
        if number % 8 in {0, 3, 6, 7}:
            assert isinstance(answer, ReadMedia)
            assert answer.byte_count == len(contents[number % 8])
        else:
            assert isinstance(answer, UnreadableMediaError)
    assert after == before


async def test_the_worker_is_confined(pool_of: PoolOf) -> None:
    async with pool_of(memory_mb=300) as pool:
        (pid,) = worker_ids(pool)
        status = proc(pid, "status")
        limits = proc(pid, "limits")
    assert "NoNewPrivs:\t1" in status
    assert [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max file size")] == [
        ["0", "0"]
    ]
    assert [line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")] == ["16"]
    (space,) = [line.split()[3] for line in limits.splitlines() if line.startswith("Max address space")]
    assert int(space) < 2**31


def test_spooled_bytes_cannot_change() -> None:
    with spool(b"some bytes") as media:
        assert media.read() == b"some bytes"
        with pytest.raises(PermissionError):
            media.write(b"more")


ASKED = wire.Request(Role.QUERY, None, MediaLimits())


def honest() -> tuple[dict[str, Any], bytes]:
    modality = ImageModality()
    prints = described(modality, modality.decode(io.BytesIO(PHOTO), MediaLimits()), Role.QUERY)
    message = wire.pack_media(ReadMedia("image", tuple(prints), b"", 7, 0.5, 0.25))
    header, _ = wire.lengths(message[: wire.PREFIX.size])
    start = wire.PREFIX.size
    return json.loads(message[start : start + header]), message[start + header :]


async def answered(*messages: bytes) -> tuple[tuple[bytes, bytes], list[float]]:
    """What a worker that sends these in one go is taken to answer, and to have read before."""
    (ours, its), (leash, its_leash) = socket.socketpair(), socket.socketpair()
    with its, its_leash, ours, leash:
        ours.setblocking(False)
        leash.setblocking(False)
        its.sendall(b"".join(messages))
        told: list[float] = []
        with spool(b"a film") as media:
            answer = await WorkerProcess(ours, leash).ask(b"read it", os.dup(media.fileno()), told.append)
        return answer, told


async def test_a_worker_tells_how_far_it_is_before_it_answers() -> None:
    refusal = wire.pack_refusal(DamagedMediaError("it is cut off"))
    words = [wire.pack_progress(seconds) for seconds in (1.5, 64.0)]
    (header, payload), told = await answered(*words, refusal)
    assert (json.loads(header)["message"], payload) == ("it is cut off", b"")
    assert told == [1.5, 64.0]
    assert (await answered(refusal))[1] == []


async def test_what_follows_an_answer_is_taken_where_it_may_follow() -> None:
    shown = wire.pack_shown([wire.ShownFile(Kind.PICTURE, Facts(3, 4), b"abc")])
    refusal = wire.pack_refusal(DamagedMediaError("it is cut off"))
    with pytest.raises(wire.WireError):
        await answered(refusal, shown)
    (ours, its), (leash, its_leash) = socket.socketpair(), socket.socketpair()
    with its, its_leash, ours, leash:
        ours.setblocking(False)
        leash.setblocking(False)
        its.sendall(refusal + shown)
        process = WorkerProcess(ours, leash)
        with spool(b"a picture") as media:
            header, payload = await process.ask(b"read it", os.dup(media.fileno()), followed=True)
        assert (json.loads(header)["message"], payload) == ("it is cut off", b"")
        assert process.ahead
        assert (await process.listen())[1] == b"abc"
        assert not process.ahead


@pytest.mark.parametrize(
    "word", [wire.pack_progress(-1.0), wire.pack_progress(float("nan")), wire.PREFIX.pack(0, 3) + b"abc"]
)
async def test_a_word_that_makes_no_sense_is_not_believed(word: bytes) -> None:
    with pytest.raises(wire.WireError):
        await answered(word)


def test_how_much_was_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    hum = np.random.default_rng(1).normal(0, 3000, 24 * 8000).astype(np.int16)
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(hum.tobytes())
    of_sound, of_query, of_picture = ([], [], [])  # type: tuple[list[float], list[float], list[float]]
    for content, role, told in (
        (sound.getvalue(), Role.REFERENCE, of_sound),
        (sound.getvalue(), Role.QUERY, of_query),
        (PHOTO, Role.REFERENCE, of_picture),
    ):
        list(worker._stages(io.BytesIO(content), wire.Request(role, None, MediaLimits()), told.append, []))
    for told in (of_sound, of_query):
        assert told == sorted(told)
        assert told[-1] == pytest.approx(24, abs=0.1)
    assert not of_picture

    ours, its = socket.socketpair()
    with ours, its:
        granted: list[float] = []
        monkeypatch.setattr(confine, "limit_cpu", granted.append)
        tell = worker._Told(its, confine.TimeLimit(30.0, 2.0, 3600.0), 5 * 2**20)
        tell(7.0)  # a moment after it began: too early
        monkeypatch.setattr(worker, "_TOLD_EVERY", 0.0)
        tell(8.0)
        assert ours.recv(100) == wire.pack_progress(8.0)
    assert granted == [pytest.approx(30 + 5 * 2 + 8, abs=5)]


@pytest.mark.parametrize(
    "lie",
    [
        {"modality": "smell"},
        {"modality": None},
        {"sha256": "00"},
        {"sha256": 5},
        {"byte_count": -1},
        {"byte_count": True},
        {"decode_seconds": float("nan")},
        {"decode_seconds": "1"},
        {"fingerprints": []},
        {"fingerprints": [{"scheme": "image.pdq.v1", "count": 8, "regions": False}]},
        {"fingerprints": [{"scheme": "image.pdq.v9", "count": 8, "regions": False}]},
        {"fingerprints": [{"scheme": "image.pdq.v1", "count": 10**9, "regions": False}]},
        {"fingerprints": 3},
        {"lost": 3},
        {"lost": [[1.0]]},
        {"lost": [[-1.0, 2.0]]},
        {"reason": "MEDIA_NICE", "message": ""},
    ],
)
def test_a_lying_worker_is_not_believed(lie: dict[str, object]) -> None:
    header, payload = honest()
    assert isinstance(wire.unpack_answer(json.dumps(header).encode(), payload, ASKED), ReadMedia)
    with pytest.raises(wire.WireError):
        wire.unpack_answer(json.dumps(header | lie).encode(), payload, ASKED)


@pytest.mark.parametrize(
    "asked",
    [
        wire.Request(Role.REFERENCE, None, MediaLimits()),  # which has one view
        wire.Request(Role.QUERY, "sound", MediaLimits()),
        wire.Request(Role.QUERY, None, MediaLimits(max_frames=0)),
    ],
)
def test_an_answer_to_another_request_is_not_believed(asked: wire.Request) -> None:
    header, payload = honest()
    with pytest.raises(wire.WireError):
        wire.unpack_answer(json.dumps(header).encode(), payload, asked)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (500, 3)])
async def test_a_picture_too_small_for_windows_is_read_in_all_stages(
    pool_of: PoolOf, size: tuple[int, int]
) -> None:
    deaths: list[str] = []
    async with pool_of(deaths=deaths) as pool:
        media = await read(pool, encoded(Image.effect_noise(size, 80), "PNG"), Role.QUERY)
    assert {one.scheme.id for one in media.fingerprints} >= {"image.pdq.v1", "image.cnn.v1"}
    assert deaths == []


def test_a_later_stage_may_have_nothing_to_add() -> None:
    header, _ = honest()
    nothing = json.dumps(header | {"fingerprints": []}).encode()
    answer = wire.unpack_answer(nothing, b"", ASKED, stage=2)
    assert isinstance(answer, ReadMedia)
    assert answer.fingerprints == ()


def test_no_worker_has_more_stages_than_its_modality() -> None:
    header, payload = honest()
    endless = json.dumps(header | {"more": True}).encode()
    stages = len(ImageModality.stages)
    for stage in range(1, stages + 2):
        answer = wire.unpack_answer(endless, payload, ASKED, stage)
        assert isinstance(answer, ReadMedia)
        assert answer.more == (stage < stages)


def test_a_view_that_the_modality_does_not_have_is_not_believed() -> None:
    header, payload = honest()
    views = np.frombuffer(payload, np.uint8).copy()
    count = len(hashes.TRANSFORMS)
    spans = header["fingerprints"][0]["spans"]
    views[spans + count * (32 + 4) + count - 1] = count  # the last of PDQ's views
    with pytest.raises(wire.WireError, match="views"):
        wire.unpack_answer(json.dumps(header).encode(), views.tobytes(), ASKED)


def test_a_garbled_answer_is_not_believed() -> None:
    header, payload = honest()
    text = json.dumps(header).encode()
    broken = np.frombuffer(payload, np.uint8).copy()
    broken[0] = 255  # the first spans have no such unit
    for bad_text, bad_payload in (
        (b"", payload),
        (b"[]", payload),
        (b"[" * 60_000, payload),
        (text, payload[:-1]),
        (text, payload + b"\0"),
        (text, broken.tobytes()),
    ):
        with pytest.raises(wire.WireError):
            wire.unpack_answer(bad_text, bad_payload, ASKED)
    with pytest.raises(wire.WireError):
        wire.lengths(wire.PREFIX.pack(100, 2**31))


def packed(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return buffer.getvalue()


async def test_the_parts_of_a_container_are_listed_and_read_one_by_one(pool_of: PoolOf) -> None:
    deaths: list[str] = []
    parts = {
        "a.jpg": PHOTO,
        "cut.jpg": PHOTO[:5000],
        "deep/b.zip": packed({"c.jpg": PHOTO}),
        "x.bin": bytes(999),
    }
    icon = encoded(Image.effect_noise((40, 400), 80), "PNG")
    with spool(packed(parts | {"icon.png": icon})) as media:
        async with pool_of(deaths=deaths) as pool:
            listing = await pool.list_parts(media)
            assert listing.kind == "ZIP"
            assert [part.name for part in listing.parts] == [
                "a.jpg",
                "cut.jpg",
                "deep/b.zip!c.jpg",
                "icon.png",
            ]
            first, cut, nested, icon_part = listing.parts
            for part in (nested, first):
                found = await pool.read(media, role=Role.QUERY, part=part)
                assert (found.modality, found.weight) == ("image", 1.0)
                assert found.sha256 == hashlib.sha256(PHOTO).digest()
            for part, expected in ((cut, "MEDIA_DAMAGED"), (icon_part, "MEDIA_UNSUPPORTED")):
                with pytest.raises(UnreadableMediaError) as caught:
                    await pool.read(media, role=Role.REFERENCE, part=part)
                assert caught.value.reason == expected
            assert (await read(pool, icon)).weight == 1.0  # an icon that is no part of anything counts
            with spool(archive()) as empty, pytest.raises(UnreadableMediaError, match="holds no picture"):
                await pool.list_parts(empty)
    assert deaths == []


LISTED: list[object] = [["a.jpg", "image", 7, [0]], ["b!c.jpg", "image", 7, [1, 5]]]


@pytest.mark.parametrize(
    "lie",
    [
        [],
        LISTED * 20,
        [["", "image", 7, [0]]],
        [["x" * 9_999, "image", 7, [0]]],
        [["a\n.jpg", "image", 7, [0]]],
        [["a", "smell", 7, [0]]],
        [["a", "image", -1, [0]]],
        [["a", "image", 7, []]],
        [["a", "image", 7, [0] * 99]],
        [["a", "image", 7, [True]]],
        [["a", "image", 7, "0"]],
        [["a", "image", 7]],
        [7],
        7,
    ],
)
def test_a_list_that_makes_no_sense_is_not_believed(lie: object) -> None:
    asked = wire.ListRequest(MediaLimits(max_parts=10))
    header = json.dumps({"kind": "ZIP", "left_out": {"links": 2}}).encode()
    listing = wire.unpack_listing(header, json.dumps(LISTED).encode(), asked)
    assert isinstance(listing, wire.Listing)
    assert [part.place for part in listing.parts] == [(0,), (1, 5)]
    with pytest.raises(wire.WireError):
        wire.unpack_listing(header, json.dumps(lie).encode(), asked)
    with pytest.raises(wire.WireError):
        wire.unpack_listing(b'{"kind":"ZIP","left_out":[]}', json.dumps(LISTED).encode(), asked)


def test_requests_arrive_as_they_were_sent() -> None:
    limits = MediaLimits(max_parts=7)
    for request in (
        wire.ListRequest(limits),
        ASKED,
        wire.Request(Role.REFERENCE, "image", limits, (3, -1), 99),
    ):
        message = wire.pack_request(request)
        assert wire.unpack_request(message[wire.PREFIX.size :]) == request
