"""The connection to a server: channel, key, deadline, and repetition of what is safe to repeat."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias, TypeVar

import grpc

from copyhound import status
from copyhound.errors import BusyError, CopyhoundError, LocalFileError, ServerUnreachableError

T = TypeVar("T")
Request = TypeVar("Request")
Response = TypeVar("Response")

Metadata: TypeAlias = tuple[tuple[str, str], ...]

_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),  # the server's limit holds
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

_PATIENCE: Final = 60.0
_PATIENCE_PER_BYTE: Final = 10.0 / 2**20
"""A MiB of sound or film is some seconds to a minute of it. A server of two cores that is asked eight things
at a time has two and a half seconds of a core for it."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_SETTLE_STEPS: Final = 20
_SETTLE_STEP_SECONDS: Final = 0.02
_UNREACHABLE_ATTEMPTS: Final = 10
"""About ten seconds: long enough for a server that was started a moment ago, or starts again."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Encryption of the connection.

    Attributes:
        ca: PEM file of the authorities that the server's certificate may come from; None: the usual ones.
        certificate: PEM file of the client's certificate chain, where the server asks for one (mTLS).
        key: PEM file of its private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Transport:
    """One channel to one server. Made inside a running event loop, and used in that loop alone.

    Attributes:
        channel: For stubs.
        metadata: To be sent with every call.
    """

    def __init__(self, target: str, *, api_key: str | None, tls: Tls | None, timeout: float | None) -> None:
        """Prepare the channel; the first call connects it.

        Args:
            target: ``HOST:PORT``.
            api_key: Sent as ``authorization: Bearer …``; over TLS unless the server is near and trusted.
            tls: None: no encryption.
            timeout: Longest time that a call may take, repetitions included, in seconds; None: a minute, and
                ten seconds more for each MiB of media that it sends.

        Raises:
            LocalFileError: If a PEM file cannot be read.
        """
        self.channel: grpc.aio.Channel = (
            grpc.aio.insecure_channel(target, options=_OPTIONS)
            if tls is None
            else grpc.aio.secure_channel(target, _credentials(tls), options=_OPTIONS)
        )
        self.metadata: Metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._timeout = timeout

    async def call(self, send: Callable[[float], Awaitable[T]], media_bytes: int = 0) -> T:
        """Send a request that is safe to repeat, again if the server is busy or cannot be reached.

        Args:
            send: Makes one attempt, given the seconds that are left.
            media_bytes: How much media it sends, which the server has to read.

        Raises:
            CopyhoundError: What the last attempt ended with.
        """
        clock = asyncio.get_running_loop().time
        patience = _PATIENCE + _PATIENCE_PER_BYTE * media_bytes if self._timeout is None else self._timeout
        deadline = clock() + patience
        attempt = 0
        while True:
            try:
                return await send(deadline - clock())
            except grpc.aio.AioRpcError as failure:
                attempt += 1
                error = status.from_call(failure)
                pause = _pause(error, attempt)
                if pause is None or clock() + pause >= deadline:
                    raise error from failure
            await asyncio.sleep(pause)

    async def pause(self, error: CopyhoundError, attempt: int, cause: Exception) -> None:
        """Wait before a stream that broke is asked for again.

        Args:
            error: What it ended with.
            attempt: How often it ended so without an answer in between, from 1.
            cause: The failed call.

        Raises:
            CopyhoundError: `error`, if that is no reason to ask again, or was too often.
        """
        seconds = _pause(error, attempt)
        if seconds is None:
            raise error from cause
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self.channel.close()


class Calls:
    """Calls of one service or several, as a client has them."""

    _transport: Transport

    async def _unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        media_bytes: int = 0,
    ) -> Response:
        """Send one message, get one message."""

        async def send(seconds: float) -> Response:
            return await method(request, timeout=seconds, metadata=self._transport.metadata)

        return await self._transport.call(send, media_bytes)


class Connected:
    """A client of one server, to be used as a context manager, which closes the connection."""

    _transport: Transport

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._transport.close()


def _pause(error: CopyhoundError, attempt: int) -> float | None:
    """Seconds to wait before the next attempt; None: do not repeat.

    Exponential backoff with full jitter, so that clients which failed together do not return together.
    """
    backoff = random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
    if isinstance(error, BusyError):
        return max(error.retry_after or 0.0, backoff)
    if isinstance(error, ServerUnreachableError) and attempt < _UNREACHABLE_ATTEMPTS:
        return backoff
    return None


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Read the PEM files."""
    return grpc.ssl_channel_credentials(
        root_certificates=_pem(tls.ca),
        private_key=_pem(tls.key),
        certificate_chain=_pem(tls.certificate),
    )


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocalFileError(f"{path}: {error.strerror}; name a PEM file that can be read") from error


async def stream(call: grpc.aio.StreamUnaryCall[Request, Response], requests: Iterable[Request]) -> Response:
    """Send messages one by one and return the answer, which may come before the last of them.

    The messages are made in a thread, since making them may read a file, but for those of a list.
    """
    waiting, made = iter(requests), isinstance(requests, list)
    try:
        while True:
            request = next(waiting, None) if made else await asyncio.to_thread(next, waiting, None)
            if request is None:
                break
            try:
                await call.write(request)
            except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await _settle(call)
                return await call  # the server has answered or refused already
        await call.done_writing()
        return await call
    except BaseException:
        call.cancel()
        raise


async def _settle(call: grpc.aio.StreamUnaryCall[Request, Response]) -> None:
    """Wait, after a write that failed, for what the server has said.

    Where it does not arrive, `status.from_call` takes the server for unreachable, and the call is repeated.
    """
    for _ in range(_SETTLE_STEPS):
        if await call.details() != status.LOST_STATUS:
            return
        await asyncio.sleep(_SETTLE_STEP_SECONDS)
