"""Web sites for tests and benchmarks, served on loopback by one thread.

A site is a function from `Asked` to `Answer`, or to bytes as they go over the wire. Every request is noted.
"""

import asyncio
import hashlib
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        path: With its query.
        headers: Names in lower case.
    """

    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a site answers.

    Attributes:
        body: Its bytes.
        type: Its Content-Type.
        status: HTTP status.
        headers: Further headers.
        wait: Seconds before it is sent.
        cut: Bytes of the body after which the connection breaks; None: none.
    """

    body: bytes = b""
    type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: int | None = None


Site: TypeAlias = Callable[[Asked], Answer]


def missing() -> Answer:
    """Nothing is there."""
    return Answer(b"<html><title>Not found</title></html>", status=404)


def with_validators(answer: Answer, asked: Asked) -> Answer:
    """Answer 304 if what the client has is what would be sent."""
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:16]}"'
    if asked.headers.get("if-none-match") == tag:
        return Answer(b"", answer.type, 304, {"ETag": tag})
    return Answer(
        answer.body, answer.type, answer.status, {**answer.headers, "ETag": tag}, answer.wait, answer.cut
    )


class Server:
    """Serves one site on a port of its own.

    Attributes:
        port: Where it listens.
        asked: How often each path was asked for.
        bodies: How often each path's body was sent.
        agents: The User-Agents that asked.
    """

    def __init__(
        self, site: Site, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        """Serve; see `serving`. Port 0: any free one."""
        self.site = site
        self.asked: Counter[str] = Counter()
        self.bodies: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.port = port
        self.host = host
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Stop listening, and end all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        pairs = (line.partition(":") for line in head[1:] if line)
        asked = Asked(path, {name.strip().lower(): value.strip() for name, _, value in pairs})
        await reader.readexactly(int(asked.headers.get("content-length", 0)))
        self.asked[path] += 1
        self.agents.add(asked.headers.get("user-agent", ""))
        answer = self.site(asked)
        if answer.wait:
            await asyncio.sleep(answer.wait)
        if answer.status != 304:
            self.bodies[path] += 1
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Content-Type: {answer.type}",
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + answer.body[: answer.cut])
        await writer.drain()
        return answer.cut is None


@contextmanager
def serving(site: Site, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Server]:
    """Serve a site for as long as the context lasts."""
    server = Server(site, tls=tls, host=host)
    server.start()
    try:
        yield server
    finally:
        server.stop()
