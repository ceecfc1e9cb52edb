"""What went over the wire: requests as they were sent, answers as they came."""

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from ssl import PEM_cert_to_DER_cert
from typing import Any, Final
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.http import Response

EXCHANGE: Final = "copyhound_exchange"
"""Where a request's `meta` keeps its `Exchange`."""
KEPT: Final = "copyhound_kept"
"""Flag of an answer that did not come over the wire now, but earlier in the run."""


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    The heads are put together from what was handed to the HTTP library and what it handed back: names of
    headers are spelt its way, and repeated ones stand together. Bodies are as received, packed if they were.

    Attributes:
        url: What was asked for.
        sent_at: UTC.
        request_head: Request line and headers, with the empty line.
        received_at: When the answer was complete, UTC.
        response_head: Status line and headers, with the empty line.
        body: As received, transfer coding undone.
        status: HTTP status.
        address: IP address that was connected to; empty: unknown.
        certificate: The server's certificate, PEM; empty: no TLS.
        fingerprint: SHA-256 of the certificate in DER, hexadecimal; empty: no TLS.
    """

    url: str
    sent_at: datetime
    request_head: bytes
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    response_head: bytes = b""
    body: bytes = b""
    status: int = 0
    address: str = ""
    certificate: str = ""
    fingerprint: str = ""


class ExchangeRecorder:
    """Scrapy middleware, the nearest to the network: keeps what is sent and received, still packed."""

    def process_request(self, request: Request) -> None:
        """Note the request."""
        parts = urlsplit(request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers: Any = request.headers
        head = b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (
            request.method.encode("ascii"),
            target.encode("ascii", "replace"),
            parts.netloc.encode("ascii", "replace"),
        )
        head += b"".join(
            b"%s: %s\r\n" % (name, value) for name, values in headers.items() for value in values
        )
        request.meta[EXCHANGE] = Exchange(request.url, datetime.now(UTC), head + b"\r\n")

    def process_response(self, request: Request, response: Response) -> Response:
        """Note the answer."""
        exchange: Exchange | None = request.meta.get(EXCHANGE)
        if exchange is None or KEPT in response.flags:
            return response
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:
            phrase = ""
        protocol = response.protocol or "HTTP/1.1"
        headers: Any = response.headers
        head = f"{protocol} {response.status} {phrase}\r\n".encode("ascii", "replace")
        head += b"".join(
            b"%s: %s\r\n" % (name, value) for name, values in headers.items() for value in values
        )
        exchange.received_at = datetime.now(UTC)
        exchange.response_head = head + b"\r\n"
        exchange.body = response.body
        exchange.status = response.status
        exchange.address = str(response.ip_address or "")
        certificate: Any = response.certificate
        if certificate is not None:
            exchange.certificate = certificate.dumpPEM().decode("ascii")
            exchange.fingerprint = hashlib.sha256(PEM_cert_to_DER_cert(exchange.certificate)).hexdigest()
        return response


def exchange_of(response: Response) -> Exchange:
    """Return what was recorded of an answer."""
    request = response.request
    if request is None:  # Scrapy sets it before any callback
        raise RuntimeError("an answer without a request")
    exchange: Exchange = request.meta[EXCHANGE]
    return exchange


def packed(exchange: Exchange) -> bytes:
    """Return an exchange as bytes, to be kept until what its page names was fetched."""
    head = json.dumps(
        {
            "url": exchange.url,
            "sent_at": exchange.sent_at.isoformat(),
            "received_at": exchange.received_at.isoformat(),
            "status": exchange.status,
            "address": exchange.address,
            "certificate": exchange.certificate,
            "fingerprint": exchange.fingerprint,
            "parts": [len(exchange.request_head), len(exchange.response_head)],
        }
    ).encode()
    whole = b"".join((head, b"\n", exchange.request_head, exchange.response_head, exchange.body))
    return zlib.compress(whole, level=1)


def unpacked(data: bytes) -> Exchange:
    """Return the exchange that `packed` packed."""
    head, _, rest = zlib.decompress(data).partition(b"\n")
    fields = json.loads(head)
    request, response = fields.pop("parts")
    return Exchange(
        **{
            **fields,
            "sent_at": datetime.fromisoformat(fields["sent_at"]),
            "received_at": datetime.fromisoformat(fields["received_at"]),
        },
        request_head=rest[:request],
        response_head=rest[request : request + response],
        body=rest[request + response :],
    )
