"""Too much of anything, be it bytes, waiting, time or disk, is refused by itself; the server goes on."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import resource
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

import copyhound
from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc
from service.app import Running, running
from service.sandbox import ForkServer
from service.settings import Settings
from tests.e2e.serving import connected, reason_of, refused_stream, state_of

MIB = 1024 * 1024
JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"


def picture(number: int = 0, size: int = 64) -> bytes:
    """A picture of noise; large ones take long to read."""
    chance = np.random.default_rng(number)
    out = io.BytesIO()
    Image.fromarray(chance.integers(0, 255, (size, size, 3), np.uint8)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def query(content: bytes) -> match_pb2.MatchRequest:
    return match_pb2.MatchRequest(media=fingerprint_pb2.Media(content=content))


def creation(number: int, labels: int = 0) -> work_pb2.CreateWorkRequest:
    """A work by its fingerprint alone; each label takes a quarter of a kilobyte."""
    digest = hashlib.sha256(str(number).encode()).digest()
    fingerprint = fingerprint_pb2.Fingerprint(scheme="image.pdq.v1", count=1, descriptors=digest)
    filling = {str(i): "x" * 255 for i in range(labels)}
    return work_pb2.CreateWorkRequest(
        work=work_pb2.Work(owner="studio", external_id=str(number), labels=filling),
        fingerprints=[fingerprint_pb2.FingerprintSet(fingerprints=[fingerprint])],
    )


async def found(channel: grpc.aio.Channel, number: int) -> list[str]:
    asked = match_pb2.MatchRequest(fingerprints=creation(number).fingerprints[0])
    answer = await match_pb2_grpc.MatchServiceStub(channel).Match(asked)
    return [match.external_id for match in answer.matches]


class Stream:
    """A picture with many bytes after its end, in chunks of 1 MiB; and how many bytes were taken."""

    def __init__(self, mib: int) -> None:
        self.mib = mib
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[match_pb2.MatchStreamRequest]:
        self.sent = 0
        yield match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamRequest.Header())
        for number in range(self.mib):
            chunk = picture().ljust(MIB, b"\0") if number == 0 else bytes(MIB)
            yield match_pb2.MatchStreamRequest(chunk=chunk)
            self.sent += MIB


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in another process."""
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """Check that a call fails; return its error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_an_endless_stream_is_refused_once_it_passes_the_limit(
    settings: Settings, forks: ForkServer
) -> None:
    limited = settings.model_copy(update={"max_media_bytes": 2 * MIB})
    async with (
        running(limited, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        stream = Stream(2048)
        matches = match_pb2_grpc.MatchServiceStub(channel)
        error = await refused_stream(lambda: matches.MatchStream(aiter(stream)))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stream.sent < 64 * MIB
        assert (await state_of(channel)).max_media_bytes == 2 * MIB


async def test_an_upload_that_is_refused_early_tells_the_client_why(tmp_path: Path) -> None:
    limits = {"max_media_bytes": 2 * MIB, "max_inline_bytes": MIB}
    async with (
        connected(tmp_path / "hound", **limits) as (server, _),
        copyhound.AsyncClient(f"127.0.0.1:{server.port}") as client,
    ):
        for content, expected in (
            (picture() + bytes(8 * MIB), copyhound.MediaTooLargeError),
            (b"\0\1 no media" + bytes(2 * MIB), copyhound.UnreadableMediaError),
        ):
            for _ in range(15):  # what was said and the end of the stream cross each other now and then
                with pytest.raises(expected):
                    await client.match(content)


async def test_a_long_stream_takes_disk_and_no_memory(tmp_path: Path) -> None:
    async with connected(tmp_path / "hound") as (server, channel):
        matches = match_pb2_grpc.MatchServiceStub(channel)
        await matches.MatchStream(aiter(Stream(64)))  # fills what gRPC reads ahead
        process = psutil.Process(server.process.pid)
        before, most = process.memory_info().rss, 0
        call = asyncio.ensure_future(matches.MatchStream(aiter(Stream(300))))
        while not call.done():
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.05)
        assert (await call).reasons
        assert most - before < 100 * MIB


async def small_stream() -> AsyncIterator[match_pb2.MatchStreamRequest]:
    yield match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamRequest.Header())
    yield match_pb2.MatchStreamRequest(chunk=picture())


async def test_messages_that_are_too_large(settings: Settings, forks: ForkServer) -> None:
    limited = settings.model_copy(update={"max_inline_bytes": MIB})
    async with (
        running(limited, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        matches = match_pb2_grpc.MatchServiceStub(channel)
        works = work_pb2_grpc.WorkServiceStub(channel)
        half = fingerprint_pb2.Media(content=bytes(MIB * 2 // 3))
        for call in (
            matches.Match(query(bytes(MIB + 1))),
            matches.BatchMatch(
                match_pb2.BatchMatchRequest(requests=[match_pb2.MatchRequest(media=half)] * 2)
            ),
            works.CreateWork(
                work_pb2.CreateWorkRequest(work=work_pb2.Work(owner="studio"), media=[half] * 2)
            ),
        ):
            error = await refused(call)
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(error) == "MEDIA_TOO_LARGE"
            assert "UploadReference" in (error.details() or "")
        error = await refused(matches.Match(query(bytes(4 * MIB))))  # gRPC's own limit
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in (error.details() or "")
        await matches.Match(query(picture()))


async def test_a_chunk_of_any_allowed_size_is_taken_whatever_the_limit_of_messages(
    settings: Settings, forks: ForkServer
) -> None:
    limited = settings.model_copy(update={"max_inline_bytes": 1})
    async with (
        running(limited, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        assert (await match_pb2_grpc.MatchServiceStub(channel).MatchStream(aiter(Stream(1)))).reasons


async def test_a_deadline_ends_the_work_and_frees_the_worker(
    channel: grpc.aio.Channel, service: Running
) -> None:
    matches = match_pb2_grpc.MatchServiceStub(channel)
    slow = query(picture(size=2000))
    errors = await asyncio.gather(*(refused(matches.Match(slow, timeout=0.05)) for _ in range(20)))
    assert {error.code() for error in errors} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    answer = await asyncio.wait_for(matches.Match(query(picture())), 30)
    assert answer.reasons


async def test_a_client_that_goes_in_mid_upload_leaves_nothing(tmp_path: Path) -> None:
    async with connected(tmp_path / "hound") as (server, channel):
        works = work_pb2_grpc.WorkServiceStub(channel)
        await match_pb2_grpc.MatchServiceStub(channel).MatchStream(small_stream())
        calls = []
        for _ in range(10):
            taken = asyncio.Event()
            call = works.UploadReference(half_an_upload(taken))
            await taken.wait()
            calls.append(call)
        await until(lambda: unnamed_files(server.process.pid) >= len(calls))
        for call in calls:
            call.cancel()
        await until(lambda: unnamed_files(server.process.pid) == 0)
        assert (await state_of(channel)).work_count == 0


def unnamed_files(pid: int) -> int:
    """How many files a process holds that nobody else can open: what is being uploaded."""
    held = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held.append(str(descriptor.readlink()))
    return sum(name.startswith("/") and name.endswith("(deleted)") for name in held)


async def half_an_upload(taken: asyncio.Event) -> AsyncIterator[work_pb2.UploadReferenceRequest]:
    header = work_pb2.UploadReferenceRequest.Header(new_work=work_pb2.Work(owner="studio"))
    yield work_pb2.UploadReferenceRequest(header=header)
    yield work_pb2.UploadReferenceRequest(chunk=JPEG_HEAD)
    taken.set()
    await asyncio.Event().wait()


async def test_more_than_can_wait_is_refused_with_a_time_to_come_back(
    settings: Settings, forks: ForkServer
) -> None:
    narrow = settings.model_copy(update={"queue_limit": 2})
    async with (
        running(narrow, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        matches = match_pb2_grpc.MatchServiceStub(channel)
        content = picture(size=500)
        results = await asyncio.gather(
            *(matches.Match(query(content)) for _ in range(20)), return_exceptions=True
        )
        answered = [one for one in results if isinstance(one, match_pb2.MatchResponse)]
        busy: list[Any] = [one for one in results if isinstance(one, grpc.aio.AioRpcError)]
        assert len(answered) >= 3
        assert len(answered) + len(busy) == 20
        for error in busy:
            assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "BUSY")
            status = rpc_status.from_call(error)
            retry = error_details_pb2.RetryInfo()
            assert status is not None
            assert any(detail.Unpack(retry) for detail in status.details)
            assert retry.retry_delay.ToTimedelta().total_seconds() > 0
        assert busy
        await matches.Match(query(content))


async def test_a_full_disk_loses_nothing_and_is_over_when_there_is_space(tmp_path: Path) -> None:
    """The disk is full at 2 MB for each file: RLIMIT_FSIZE needs no mount, and can be lifted again."""
    data = tmp_path / "hound"
    folding = {"fold_after_changes": 2000, "fold_after_seconds": 1}
    async with connected(data, **folding) as (server, channel):
        works = work_pb2_grpc.WorkServiceStub(channel)
        matches = match_pb2_grpc.MatchServiceStub(channel)
        limit_files(server.process.pid, 2 * MIB)
        acknowledged = []
        error = None
        for number in range(1000):
            try:
                await works.CreateWork(creation(number, labels=64))
            except grpc.aio.AioRpcError as raised:
                error = raised
                break
            acknowledged.append(number)
        assert error is not None
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
        assert acknowledged
        upload = await refused(matches.MatchStream(aiter(Stream(8))))
        assert reason_of(upload) in ("STORAGE_FULL", "")
        for number in acknowledged:
            assert await found(channel, number) == [str(number)]
        assert (await state_of(channel)).work_count == len(acknowledged)
        limit_files(server.process.pid, resource.RLIM_INFINITY)
        await works.CreateWork(creation(1000))
        assert await found(channel, 1000) == ["1000"]
        limit_files(server.process.pid, 2 * MIB)
        server.kill()
    async with connected(data, **folding) as (_, channel):
        for number in [*acknowledged, 1000]:
            assert await found(channel, number) == [str(number)]
        assert await found(channel, 999) == []


def limit_files(pid: int, size: int) -> None:
    """Let no file of a process grow beyond a size."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
