"""A worker process as the service sees it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from indexers.networks import UserNetwork
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


def _ignore(_seconds: float) -> None:
    """Nobody wants to know how much was read."""


_START_SECONDS = 60.0
_STOP_SECONDS = 1.0
_CHUNK = 64 * 1024


class WorkerDiedError(Exception):
    """The process has ended.

    Attributes:
        cause: `patience.TIMEOUT` or whatever else it was killed for, else the signal's name, else
            ``exit N``, or ``orphaned`` where the process that it was forked from has ended.
    """

    def __init__(self, cause: str) -> None:
        """Name the cause."""
        super().__init__(cause)
        self.cause = cause


class WorkerUnfitError(WorkerDiedError):
    """The process has ended because a network cannot be loaded.

    Attributes:
        reason: Why, for people.
    """

    def __init__(self, reason: str) -> None:
        """Say why."""
        super().__init__("unfit")
        self.reason = reason

    def __str__(self) -> str:
        """The reason."""
        return self.reason


class ForkServer:
    """Starts workers, from one process that has loaded all libraries (`forkserver`).

    That process is started for the first worker, and again should it have ended. On Linux it ends, and all
    workers with it, when the thread ends that asked for the worker it was started for.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def launch(self, *arguments: str) -> tuple[socket.socket, socket.socket]:
        """Ask for a worker; return the service's ends of its socket and of its leash. Does not wait.

        Args:
            arguments: Of `worker.main`.

        Raises:
            OSError: If no process can be started.
        """
        channel, leash = _pair(socket.SOCK_STREAM), _pair(socket.SOCK_STREAM)
        with channel[1], leash[1]:
            descriptors = [channel[1].fileno(), leash[1].fileno()]
            try:
                socket.send_fds(self._running(), [json.dumps(arguments).encode()], descriptors)
            except OSError:
                channel[0].close()
                leash[0].close()
                raise
        return channel[0], leash[0]

    def close(self) -> None:
        """End the process, and with it all workers. Blocking."""
        if self._process is None or self._control is None:
            return
        self._control.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = self._control = None

    def _running(self) -> socket.socket:
        """The socket to the process; start it where none runs."""
        if self._process is None or self._control is None or self._process.poll() is not None:
            self.close()
            ours, theirs = _pair(socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-W", "ignore", "-m", "service.sandbox.forkserver"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={"PYTHONPATH": str(_ROOT), **_ENVIRONMENT},
                )
            self._control = ours
        return self._control


def _pair(kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
    """The service's end of a connection, which never blocks, and the other."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    return ours, theirs


class WorkerProcess:
    """A process that reads one media item at a time."""

    def __init__(self, channel: socket.socket, leash: socket.socket) -> None:
        """Take over the service's ends of the worker's socket and leash; see `start`."""
        self._channel = channel
        self._leash = leash
        self._cause: str | None = None
        self._end: str | None = None
        self._ahead = bytearray()
        self.served = 0
        """Items that it has taken."""

    @classmethod
    async def start(
        cls, forks: ForkServer, *, memory_mb: int, limit: TimeLimit, network: UserNetwork | None = None
    ) -> "WorkerProcess":
        """Start a process and wait until it can take requests.

        Must be called in a thread that lives as long as the process; see `ForkServer`.

        Raises:
            WorkerUnfitError: If it cannot load what describes media.
            WorkerDiedError: If it ends first, or takes a minute.
            OSError: If no process can be started.
        """
        described = () if network is None else (network.text, str(network.path))
        numbers = memory_mb, limit.seconds, limit.seconds_per_mb, limit.seconds_per_hour
        worker = cls(*forks.launch(*map(str, numbers), *described))
        ours = worker._channel
        word = b""
        try:
            async with asyncio.timeout(_START_SECONDS):
                word = await asyncio.get_running_loop().sock_recv(ours, _CHUNK)
        except (TimeoutError, ConnectionError):
            pass
        except BaseException:
            worker.kill("cancelled")
            await worker.stop()
            raise
        if word == wire.READY:
            return worker
        cause = await worker.stop()
        if word.startswith(wire.UNFIT):
            raise WorkerUnfitError(word.removeprefix(wire.UNFIT).decode(errors="replace"))
        raise WorkerDiedError(cause)

    @property
    def ended(self) -> bool:
        """Whether its end is known."""
        return self._end is not None

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._end is None and not _readable(self._leash) and _open(self._channel)

    def kill(self, cause: str) -> None:
        """End the process at once; whoever awaits its answer gets a WorkerDiedError with this cause."""
        if self.alive:
            self._kill(cause)

    def _kill(self, cause: str) -> None:
        if self._cause is None:
            self._cause = cause
            with contextlib.suppress(OSError):  # it has ended in the same moment
                self._leash.send(b"!")

    @property
    def ahead(self) -> bool:
        """Whether it has said more than was taken: by itself, once it was to say no more."""
        return bool(self._ahead)

    async def ask(
        self,
        request: bytes,
        descriptor: int,
        read: Callable[[float], None] = _ignore,
        *,
        followed: bool = False,
    ) -> tuple[bytes, bytes]:
        """Send a request with a file; return header and payload of the answer.

        Closes the descriptor.

        Args:
            request: As a message.
            descriptor: The file's.
            read: Called with how many seconds of it were read, now and then.
            followed: Whether it may say more after the answer; see `listen`.

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
        return await self._receive(read, followed=followed)

    async def ask_on(
        self,
        closer: Collection[int] = wire.ALL,
        read: Callable[[float], None] = _ignore,
        *,
        followed: bool = False,
    ) -> tuple[bytes, bytes]:
        """Let it go on with the next stage of the item, or its preview; return header and payload.

        Args:
            closer: View codes that are worth a closer look.
            read: As for `ask`.
            followed: As for `ask`.

        Raises:
            WorkerDiedError: If there will be no answer.
            WireError: If the answer has a length that none may have.
        """
        await self._tell(wire.pack_go_on(closer))
        return await self._receive(read, followed=followed)

    async def listen(self) -> tuple[bytes, bytes]:
        """Take what it says by itself after an answer; return header and payload.

        Raises:
            WorkerDiedError: If it says nothing more.
            WireError: If that has a length that none may have.
        """
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

    async def _receive(
        self, read: Callable[[float], None] = _ignore, *, followed: bool = False
    ) -> tuple[bytes, bytes]:
        loop = asyncio.get_running_loop()
        received, self._ahead = self._ahead, bytearray()
        wanted = start = wire.PREFIX.size
        header = payload = -1
        while True:
            if header < 0 and len(received) >= wanted:
                header, payload = wire.lengths(received[:wanted])
                wanted += header + payload
            if header < 0 or len(received) < wanted:
                received += await self._some(loop)
            elif header == 0:  # word of how far it is, before the answer
                read(wire.unpack_progress(received[start:wanted]))
                del received[:wanted]
                wanted, header = start, -1
            else:
                break
        if len(received) > wanted:
            if not followed:
                raise wire.WireError("more bytes than an answer has")
            self._ahead = received[wanted:]
        return bytes(received[start : start + header]), bytes(received[start + header : wanted])

    async def _some(self, loop: asyncio.AbstractEventLoop) -> bytes:
        """The next bytes that it sends."""
        try:
            chunk = await loop.sock_recv(self._channel, _CHUNK)
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise WorkerDiedError(await self.stop())
        return chunk

    async def stop(self) -> str:
        """Close the socket, at which an idle worker ends; kill it if it does not.

        Returns:
            Why it ended, as in `WorkerDiedError`.
        """
        if self._end is None:
            self._channel.close()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    end = await self._ended()
            except TimeoutError:
                self._kill("stuck")
                end = await self._ended()
            self._end = self._cause or end
            self._leash.close()
        return self._end

    async def _ended(self) -> str:
        """Wait for the end of the process; return how it came."""
        try:
            told = await asyncio.get_running_loop().sock_recv(self._leash, wire.STATUS.size)
        except ConnectionError:
            told = b""
        if not told:
            return "orphaned"
        (status,) = wire.STATUS.unpack(told)
        return signal.Signals(-status).name if status < 0 else f"exit {status}"


def _readable(leash: socket.socket) -> bool:
    """Whether the end of the worker, or of its parent, was told."""
    try:
        leash.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


def _open(channel: socket.socket) -> bool:
    """Whether the worker holds its end of the connection: known before its end is told."""
    try:
        return channel.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
