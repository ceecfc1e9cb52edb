"""A worker process as the service sees it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from service.sandbox import wire
from service.sandbox.confine import TimeLimit

_ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENT = {
    # One item, one core: the pool has a process for each.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # glibc would give a picture's memory back to the system after each item, and fetch it for the next.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}
"""All that a worker sees of it, beside where to find this package."""

_START_SECONDS = 60.0
_STOP_SECONDS = 1.0
_CHUNK = 64 * 1024

TIMEOUT = "timeout"
"""Cause of a death by `WorkerProcess.kill`, because an item took too long."""


class WorkerDiedError(Exception):
    """The process has ended.

    Attributes:
        cause: `TIMEOUT` or whatever else it was killed for, else the signal's name, else ``exit N``.
    """

    def __init__(self, cause: str) -> None:
        """Name the cause."""
        super().__init__(cause)
        self.cause = cause


class WorkerProcess:
    """A process that reads one media item at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
        """Take over the process and the service's end of its socket; see `start`."""
        self._process = process
        self._channel = channel
        self._cause: str | None = None
        self.served = 0
        """Items that it has taken."""

    @classmethod
    async def start(cls, *, memory_mb: int, limit: TimeLimit) -> "WorkerProcess":
        """Start a process and wait until it can take requests.

        Must be called in a thread that lives as long as the process: on Linux, the end of this thread
        ends the process.

        Raises:
            WorkerDiedError: If it ends first, or takes a minute.
        """
        worker = cls(*_launch(str(memory_mb), str(limit.seconds), str(limit.seconds_per_mb)))
        ours = worker._channel
        try:
            async with asyncio.timeout(_START_SECONDS):
                if await asyncio.get_running_loop().sock_recv(ours, len(wire.READY)) == wire.READY:
                    return worker
        except (TimeoutError, ConnectionError):
            pass
        except BaseException:
            worker.kill("cancelled")
            await worker.stop()
            raise
        raise WorkerDiedError(await worker.stop())

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def kill(self, cause: str) -> None:
        """End the process at once; whoever awaits its answer gets a WorkerDiedError with this cause."""
        if self._cause is None and self.alive:
            self._cause = cause
            self._process.kill()

    async def ask(self, request: bytes, descriptor: int) -> tuple[bytes, bytes]:
        """Send a request with a file; return header and payload of the answer.

        Closes the descriptor.

        Raises:
            WorkerDiedError: If there will be no answer.
            WireError: If the answer has a length that none may have.
        """
        self.served += 1
        try:
            # One request at a time, far smaller than a socket's buffer: this never blocks.
            socket.send_fds(self._channel, [request], [descriptor])
        except OSError as error:
            raise WorkerDiedError(await self.stop()) from error
        finally:
            os.close(descriptor)
        return await self._receive()

    async def ask_on(self) -> tuple[bytes, bytes]:
        """Let it go on with the next stage of the item; return header and payload of the answer.

        Raises:
            WorkerDiedError: If there will be no answer.
            WireError: If the answer has a length that none may have.
        """
        await self._tell(wire.GO_ON)
        return await self._receive()

    async def dismiss(self) -> None:
        """Tell it that the item needs no further stage.

        Raises:
            WorkerDiedError: If it has ended.
        """
        await self._tell(wire.ENOUGH)

    async def _tell(self, word: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._channel, word)
        except OSError as error:
            raise WorkerDiedError(await self.stop()) from error

    async def _receive(self) -> tuple[bytes, bytes]:
        loop = asyncio.get_running_loop()
        received = bytearray()
        wanted = wire.PREFIX.size
        header = payload = -1
        while len(received) < wanted:
            try:
                chunk = await loop.sock_recv(self._channel, _CHUNK)
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise WorkerDiedError(await self.stop())
            received += chunk
            if header < 0 and len(received) >= wanted:
                header, payload = wire.lengths(received[:wanted])
                wanted += header + payload
        if len(received) > wanted:
            raise wire.WireError("more bytes than an answer has")
        start = wire.PREFIX.size
        return bytes(received[start : start + header]), bytes(received[start + header :])

    async def stop(self) -> str:
        """Close the socket, at which an idle worker ends; kill it if it does not.

        Returns:
            Why it ended, as in `WorkerDiedError`.
        """
        self._channel.close()
        try:
            status = await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill("stuck")
            status = await asyncio.to_thread(self._process.wait)
        if self._cause is not None:
            return self._cause
        return signal.Signals(-status).name if status < 0 else f"exit {status}"


def _launch(*arguments: str) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """Start the program with one end of a socket as its standard input; return the other."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - no word of it comes from outside
            [sys.executable, "-P", "-W", "ignore", "-m", "service.sandbox.worker", *arguments],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            env={"PYTHONPATH": str(_ROOT), **_ENVIRONMENT},
        )
    return process, ours
