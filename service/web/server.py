"""HTTP in the service's own event loop."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from service.errors import StartupError

_BACKLOG: Final = 128


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files for HTTPS.

    Attributes:
        client_ca: Of the authority whose client certificates are asked for; None: none are.
    """

    certificate: Path
    key: Path
    client_ca: Path | None


class _Server(uvicorn.Server):
    """A server that leaves signals to the service."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Serve what `config` says."""
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class WebServer:
    """Serves the pages between `start` and `stop`."""

    def __init__(self, app: ASGIApp, certificates: Certificates | None) -> None:
        """Serve `app`.

        Raises:
            StartupError: If the certificates cannot be used.
        """
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        try:
            config = uvicorn.Config(
                app,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                http="h11",
                ws="none",
                timeout_keep_alive=30,
                timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=32 * 1024,
                ssl_certfile=None if certificates is None else certificates.certificate,
                ssl_keyfile=None if certificates is None else certificates.key,
                ssl_ca_certs=None
                if certificates is None or certificates.client_ca is None
                else str(certificates.client_ca),
                ssl_cert_reqs=ssl.CERT_REQUIRED
                if certificates is not None and certificates.client_ca is not None
                else ssl.CERT_NONE,
            )
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise StartupError(f"web: cannot use the certificates: {error}") from error
        self._server = _Server(config)

    def bind(self, address: str) -> int:
        """Listen on HOST:PORT; return the port. Nothing is answered before `start`.

        Raises:
            StartupError: If that cannot be listened on.
        """
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, int(port)))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise StartupError(f"cannot serve pages on {address}: {error.strerror or error}") from error
        listener.setblocking(False)
        self._socket = listener
        bound: int = listener.getsockname()[1]
        return bound

    async def start(self) -> None:
        """Begin to answer."""
        if self._socket is None:
            raise AssertionError("bind comes before start")
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Let answers that are under way end, for a moment, and stop."""
        self._server.should_exit = True
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
        if self._socket is not None:
            self._socket.close()
