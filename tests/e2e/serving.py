"""The service as a process of its own, as a user runs it: to be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from copyhound.service_process import service_command, service_environment
from copyhound.status import LOST_STATUS
from copyhound.v1 import match_pb2, match_pb2_grpc, work_pb2

START_SECONDS = 300
STOP_SECONDS = 120


def launch(data: Path, *options: str, **settings: object) -> subprocess.Popen[str]:
    """Start a server on a free port, in a process group of its own; keyword arguments are settings.

    What it prints on standard error is appended to ``<data>.log``.
    """
    with _log(data).open("a") as log:
        return subprocess.Popen(
            _command(data, options),
            env=_environment(settings),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )


def refusal(data: Path, *options: str, **settings: object) -> tuple[int, str]:
    """Start a server that cannot start; return its exit status and what it printed on standard error."""
    done = subprocess.run(
        _command(data, options),
        env=_environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert not done.stdout
    return done.returncode, done.stderr


def _log(data: Path) -> Path:
    return data.with_name(f"{data.name}.log")


def _command(data: Path, options: tuple[str, ...]) -> list[str]:
    return service_command("serve", "--data", str(data), *options)


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    chosen = {"listen": "127.0.0.1:0", "allow_anonymous": True, "workers": 1, **settings}
    return {**service_environment()} | {
        f"COPYHOUND_{name.upper()}": str(value) for name, value in chosen.items()
    }


@dataclass
class ServerProcess:
    """A server that answers.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        log_file: See `log`.
    """

    process: subprocess.Popen[str]
    port: int
    log_file: Path

    @property
    def log(self) -> str:
        """What it, and servers before it on the folder, printed on standard error."""
        return self.log_file.read_text(encoding="utf-8")

    @property
    def family(self) -> list[psutil.Process]:
        """The server and its workers."""
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def kill(self, *, group: bool = False) -> None:
        """End the server with SIGKILL; with `group`, its workers in the same moment."""
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Ask the server to stop; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def channel(self) -> grpc.aio.Channel:
        """A connection to it."""
        # Without a shared pool of connections, nothing of a server that was killed is left.
        return grpc.aio.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )


@contextmanager
def serving(data: Path, *options: str, **settings: object) -> Iterator[ServerProcess]:
    """Run a server inside; end it, whatever state it is in, on leaving."""
    with launch(data, *options, **settings) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), _log(data).read_text(encoding="utf-8")
            yield ServerProcess(process, int(line.rpartition(":")[2]), _log(data))
        finally:
            process.kill()


@asynccontextmanager
async def connected(
    data: Path, *options: str, **settings: object
) -> AsyncIterator[tuple[ServerProcess, Any]]:
    """As `serving`, with a connection."""
    with serving(data, *options, **settings) as server:
        async with server.channel() as channel:
            yield server, channel


async def state_of(channel: grpc.aio.Channel) -> match_pb2.IndexState:
    """The state of the index."""
    return await match_pb2_grpc.MatchServiceStub(channel).GetIndexState(match_pb2.GetIndexStateRequest())


async def folded(channel: grpc.aio.Channel) -> match_pb2.IndexState:
    """Wait until the snapshots hold all that was written; return the state then."""
    while True:
        state = await state_of(channel)
        if not any(scheme.delta_count or scheme.tombstone_count for scheme in state.schemes):
            return state
        await asyncio.sleep(0.1)


def reason_of(error: Any) -> str:
    """The reason in an error's google.rpc.ErrorInfo; empty where there is none."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    if not (status and status.details and status.details[0].Unpack(info)):
        return ""
    assert info.domain == "copyhound"
    return str(info.reason)


async def refused_stream(send: Callable[[], Awaitable[object]]) -> grpc.aio.AioRpcError:
    """Check that a call that sends a stream is refused; return its error.

    Where a server refuses while a message is on its way, grpc.aio's client loses what was said now and then:
    such a call is made again, as `copyhound.Client` does.
    """
    for _ in range(100):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send()
        if caught.value.details() != LOST_STATUS:
            return caught.value
    pytest.fail(f"{LOST_STATUS}, each time")


async def upload(
    header: work_pb2.UploadReferenceRequest.Header, content: bytes, chunk: int = 10_000
) -> AsyncIterator[work_pb2.UploadReferenceRequest]:
    """What UploadReference is sent."""
    yield work_pb2.UploadReferenceRequest(header=header)
    for start in range(0, len(content), chunk):
        yield work_pb2.UploadReferenceRequest(chunk=content[start : start + chunk])
