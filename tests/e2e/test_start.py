"""Starting and stopping: what cannot start says why in one line, what is derived is built anew."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import signal
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc
from service import app
from service.app import running
from service.errors import StartupError
from service.sandbox import ForkServer
from service.settings import Settings
from tests.e2e.serving import connected, folded, reason_of, refusal, serving, state_of

NOT_SERVING, SERVING = (
    health_pb2.HealthCheckResponse.NOT_SERVING,
    health_pb2.HealthCheckResponse.SERVING,
)
INDEX = "index/image.pdq.v1"


def one_line(data: Path, *options: str, **settings: object) -> str:
    """What a server that cannot start says: one line, with status 1."""
    status, printed = refusal(data, *options, **settings)
    (line,) = printed.splitlines()
    assert status == 1
    assert line.startswith("copyhound: ")
    return line


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def query(number: int) -> fingerprint_pb2.FingerprintSet:
    """Fingerprints that are far from those of every other number."""
    descriptor = hashlib.sha256(bytes([number])).digest()
    return fingerprint_pb2.FingerprintSet(
        fingerprints=[fingerprint_pb2.Fingerprint(scheme="image.pdq.v1", count=1, descriptors=descriptor)]
    )


async def register(channel: grpc.aio.Channel, number: int) -> work_pb2.Work:
    return await work_pb2_grpc.WorkServiceStub(channel).CreateWork(
        work_pb2.CreateWorkRequest(
            work=work_pb2.Work(owner="studio", external_id=str(number)), fingerprints=[query(number)]
        )
    )


async def found(channel: grpc.aio.Channel, number: int) -> list[str]:
    answer = await match_pb2_grpc.MatchServiceStub(channel).Match(
        match_pb2.MatchRequest(fingerprints=query(number))
    )
    return [match.external_id for match in answer.matches]


def test_a_second_server_on_the_folder_names_the_first(tmp_path: Path) -> None:
    data = tmp_path / "hound"
    with serving(data) as server:
        line = one_line(data)
        assert f"process {server.process.pid}" in line
        assert str(data) in line
        assert server.process.poll() is None


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "hound"
    with serving(data) as server:
        assert server.stop() == 0
    with sqlite3.connect(data / "copyhound.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    before = (data / "copyhound.db").read_bytes()
    assert "newer version" in one_line(data)
    assert (data / "copyhound.db").read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"listen": "0.0.0.0:0"}, "loopback"),
        ({"listen": "127.0.0.1"}, "listen must be HOST:PORT"),
        ({"listen": "127.0.0.1:99999"}, "0 to 65535"),
        ({"listen": "192.0.2.1:0", "allow_anonymous": False}, "cannot listen on 192.0.2.1:0"),
        ({"metrics": "127.0.0.1:65536"}, "0 to 65535"),
        ({"metrics": "192.0.2.1:0"}, "cannot serve metrics on 192.0.2.1:0"),
    ],
)
async def test_wrong_addresses(settings: Settings, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(StartupError, match=said):
        async with running(settings.model_copy(update=wrong)):
            pass


def test_an_address_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in one_line(
            tmp_path / "hound", listen=f"127.0.0.1:{port}"
        )
        assert f"cannot serve metrics on 127.0.0.1:{port}" in one_line(
            tmp_path / "hound", metrics=f"127.0.0.1:{port}"
        )


def a_file(data: Path) -> None:
    data.touch()


def no_database(data: Path) -> None:
    data.mkdir()
    (data / "copyhound.db").write_bytes(b"no database " * 1000)


def a_file_for_the_index(data: Path) -> None:
    data.mkdir()
    (data / "index").touch()


def a_file_for_uploads(data: Path) -> None:
    data.mkdir()
    (data / "uploads").touch()


@pytest.mark.parametrize("make", [a_file, no_database, a_file_for_the_index, a_file_for_uploads])
async def test_a_folder_that_cannot_be_used_is_named(
    settings: Settings, make: Callable[[Path], None]
) -> None:
    make(settings.data)
    with pytest.raises(StartupError, match=str(settings.data)):
        async with running(settings):
            pass


async def test_a_folder_that_cannot_be_written(settings: Settings) -> None:
    proc = settings.model_copy(update={"data": Path("/proc")})  # where not even root can
    with pytest.raises(StartupError, match="cannot write to the folder /proc"):
        async with running(proc):
            pass


async def test_health_is_not_serving_until_the_index_is_loaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    load: Any = app._open_catalogue
    loaded = threading.Event()

    def slowly(*parts: Any) -> Any:
        loaded.wait()
        return load(*parts)

    monkeypatch.setattr(app, "_open_catalogue", slowly)
    port = free_port()

    async def run(stop: asyncio.Event) -> None:
        async with running(settings.model_copy(update={"listen": f"127.0.0.1:{port}"})):
            await stop.wait()

    stop = asyncio.Event()
    service = asyncio.create_task(run(stop))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            watch = aiter(health.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True))
            assert (await anext(watch)).status == NOT_SERVING
            for call in (state_of(channel), register(channel, 1)):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
                assert reason_of(caught.value) == "BUSY"
            loaded.set()
            assert (await anext(watch)).status == SERVING
            await register(channel, 1)
            assert await found(channel, 1) == ["1"]
            stop.set()
            assert (await anext(watch)).status == NOT_SERVING
    finally:
        loaded.set()
        stop.set()
        await service


@pytest.mark.parametrize("to_all", [False, True])
async def test_a_stop_finishes_or_refuses_what_is_in_flight(
    tmp_path: Path, photographs: dict[str, bytes], *, to_all: bool
) -> None:
    """`to_all`: as a terminal's Ctrl-C, and as systemd, which signal every process of the service."""
    answered = 0
    busy = asyncio.Event()

    async def press(channel: grpc.aio.Channel, name: str) -> None:
        nonlocal answered
        works = work_pb2_grpc.WorkServiceStub(channel)
        request = work_pb2.CreateWorkRequest(
            work=work_pb2.Work(owner="studio"), media=[fingerprint_pb2.Media(content=photographs[name])]
        )
        while True:
            await works.CreateWork(request)
            answered += 1
            if answered == 5:
                busy.set()

    data = tmp_path / "hound"
    async with connected(data) as (server, channel):
        family = server.family
        pressing = [asyncio.create_task(press(channel, name)) for name in ("coffee", "china", "rocket")]
        await busy.wait()
        if to_all:
            for process in family:
                process.send_signal(signal.SIGINT)
            status = await asyncio.to_thread(server.process.wait, 30)
        else:
            status = await asyncio.to_thread(server.stop)
        ends = await asyncio.gather(*pressing, return_exceptions=True)
        assert status == 0
        assert {end.code() for end in ends if isinstance(end, grpc.aio.AioRpcError)} == {
            grpc.StatusCode.UNAVAILABLE
        }
        assert not any(process.is_running() for process in family)
        assert "Traceback" not in server.log
        assert "FAILED_PRECONDITION" not in server.log  # no worker was ended early
    async with connected(data) as (_, channel):
        assert (await state_of(channel)).work_count >= answered


async def test_a_stop_cuts_off_what_outlives_the_drain_time(tmp_path: Path) -> None:
    async with connected(tmp_path / "hound", drain_seconds=0.5) as (server, channel):
        endless = asyncio.Event()

        async def stream() -> Any:
            yield match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamRequest.Header())
            endless.set()
            await asyncio.Event().wait()

        call = match_pb2_grpc.MatchServiceStub(channel).MatchStream(stream())
        await endless.wait()
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(server.stop) == 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def delete_index(data: Path) -> None:
    shutil.rmtree(data / "index")


def damage_snapshots(data: Path) -> None:
    """One with other bytes, one cut short, and a third that was never finished."""
    (snapshot,) = (data / INDEX).glob("*.snapshot")
    content = bytearray(snapshot.read_bytes())
    content[-1] ^= 1
    snapshot.write_bytes(content)
    snapshot.with_stem(f"{1:020d}").write_bytes(content[:-10])
    (data / INDEX / f"{99:020d}.writing").write_bytes(content[:-10])


def move(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))


@asynccontextmanager
async def folding(settings: Settings, forks: ForkServer) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to a service in this process that folds each change into its snapshots."""
    async with (
        running(settings.model_copy(update={"fold_after_changes": 1}), forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        yield channel


@pytest.mark.parametrize("happens", [delete_index, damage_snapshots, move])
async def test_the_index_is_built_anew(
    settings: Settings, forks: ForkServer, happens: Callable[[Path], None]
) -> None:
    data = settings.data
    async with folding(settings, forks) as channel:
        works = [await register(channel, number) for number in range(1, 6)]
        await work_pb2_grpc.WorkServiceStub(channel).DeleteWork(
            work_pb2.DeleteWorkRequest(name=works[2].name)
        )
        await folded(channel)
    happens(data)
    data = data if data.exists() else data.with_name("elsewhere")
    async with folding(settings.model_copy(update={"data": data}), forks) as channel:
        assert [await found(channel, number) for number in range(1, 6)] == [["1"], ["2"], [], ["4"], ["5"]]
        await register(channel, 3)
        assert await found(channel, 3) == ["3"]
        state = await folded(channel)
        assert (state.work_count, state.sequence) == (5, 7)
        assert {s.scheme: s.descriptor_count for s in state.schemes}["image.pdq.v1"] == 5
    assert [re.sub(r"\d", "", path.name) for path in (data / INDEX).iterdir()] == [".snapshot"]


async def test_an_index_newer_than_the_database_is_built_anew(
    settings: Settings, forks: ForkServer, tmp_path: Path
) -> None:
    """As after the database was put back from a backup."""
    data, backup = settings.data, tmp_path / "backup.db"
    async with folding(settings, forks) as channel:
        await register(channel, 1)
    shutil.copy(data / "copyhound.db", backup)
    async with folding(settings, forks) as channel:
        await register(channel, 2)
        await folded(channel)
    shutil.copy(backup, data / "copyhound.db")
    async with folding(settings, forks) as channel:
        assert await found(channel, 1) == ["1"]
        assert await found(channel, 2) == []
        await register(channel, 3)
        assert await found(channel, 3) == ["3"]
