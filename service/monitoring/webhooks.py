"""Tells webhooks: signed, to public addresses alone, again and again until they take it.

What is to be told stands in the database; each event has an id that is the same for every attempt. Receivers
check by `copyhound.verify_webhook` that it comes from here, and is new.
"""

import asyncio
import http.client
import random
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from urllib.parse import urlsplit

import structlog

from copyhound.webhook import EVENT_HEADER, ID_HEADER, SIGNATURE_HEADER, sign
from crawler.addresses import Network, refusal
from service.catalogue import Catalogue
from service.loop import Loop
from service.metrics import Metrics
from service.monitored import Delivery
from service.store import Transaction

_SECONDS = 1.0
_AT_ONCE = 8
_TIMEOUT_SECONDS = 10.0
_FIRST_PAUSE = timedelta(seconds=10)
_LONGEST_PAUSE = timedelta(hours=6)
_MOST_ATTEMPTS = 20
"""About three days."""
_ANSWER_BYTES = 65_536

log = structlog.get_logger()

Post = Callable[[Delivery], int]
"""Posts an event, and returns the status of the answer; raises OSError or HTTPException."""


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts that failed, at most: ten seconds, doubled up to six hours."""
    return min(_FIRST_PAUSE * (1 << min(attempts - 1, 20)), _LONGEST_PAUSE)


class Webhooks:
    """Posts events that are due."""

    def __init__(self, catalogue: Catalogue, post: Post, metrics: Metrics) -> None:
        """Take what is due from `catalogue`, and tell it by `post`."""
        self._catalogue = catalogue
        self._post = post
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook")
        self._loop = Loop("webhooks", self._work, _SECONDS)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def close(self) -> None:
        """Stop; what is not told yet is told after the next start."""
        await self._loop.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        while due := await asyncio.to_thread(self._due):
            await asyncio.gather(*(self._tell(delivery) for delivery in due))

    def _due(self) -> Sequence[Delivery]:
        with self._catalogue.store.view() as view:
            return view.reports.due_deliveries(datetime.now(UTC), _AT_ONCE)

    async def _tell(self, delivery: Delivery) -> None:
        error = ""
        try:
            status = await asyncio.get_running_loop().run_in_executor(self._threads, self._post, delivery)
            if not 200 <= status < 300:
                error = f"it answered {status}"
        except (OSError, ValueError, http.client.HTTPException) as failure:
            error = str(failure) or type(failure).__name__
        self._metrics.webhooks.labels("failed" if error else "delivered").inc()
        attempts = delivery.attempts + 1
        if error:
            host = urlsplit(delivery.webhook.url).hostname
            log.warning(
                "webhook failed", delivery=str(delivery.id), host=host, attempts=attempts, reason=error
            )
        if error and attempts < _MOST_ATTEMPTS:
            until = datetime.now(UTC) + pause_after(attempts) * random.uniform(0.5, 1.0)
            await self._catalogue.write(partial(_put_off, delivery, attempts, until))
        else:
            await self._catalogue.write(partial(_drop, delivery))


def _put_off(delivery: Delivery, attempts: int, until: datetime, transaction: Transaction) -> None:
    transaction.reports.put_off_delivery(delivery.id, attempts, until)


def _drop(delivery: Delivery, transaction: Transaction) -> None:
    transaction.reports.drop_delivery(delivery.id)


class HttpPost:
    """Posts over HTTP: to addresses that may be connected to, without following redirects. Blocking."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        """Connect to public addresses, and to `allowed` ones whatever they are."""
        self._allowed = tuple(allowed)
        self._agent = f"Copyhound/{version('copyhound')}"
        self._tls = ssl.create_default_context()

    def __call__(self, delivery: Delivery) -> int:
        """Post an event; return the status of the answer.

        Raises:
            OSError: If nobody answers, or the address must not be connected to.
            HTTPException: If the answer is no HTTP.
        """
        parts = urlsplit(delivery.webhook.url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        body = delivery.body.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._agent,
            EVENT_HEADER: delivery.event,
            ID_HEADER: str(delivery.id),
            SIGNATURE_HEADER: sign(delivery.webhook.secret, body, datetime.now(UTC)),
        }
        connection = http.client.HTTPConnection(host, parts.port or (443 if secure else 80))
        # The name is resolved once: what was checked is what is connected to.
        connection.sock = self._connect(host, connection.port)
        try:
            if secure:
                connection.sock = self._tls.wrap_socket(connection.sock, server_hostname=host)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body, {"Host": parts.netloc.rpartition("@")[2], **headers})
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES)
            return answer.status
        finally:
            connection.close()

    def _connect(self, host: str, port: int) -> socket.socket:
        reason = f"{host} has no address"
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            refused = refusal(str(address[0]), self._allowed)
            if refused:
                reason = f"{refused}; COPYHOUND_WEBHOOK_NETWORKS allows networks that are not"
                continue
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(_TIMEOUT_SECONDS)
            try:
                connection.connect(address)
            except OSError as error:
                connection.close()
                reason = str(error)
                continue
            return connection
        raise OSError(reason)
