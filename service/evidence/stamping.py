"""Time stamps over bundles, from an RFC 3161 authority."""

import urllib.request
from typing import Final
from urllib.error import URLError

import structlog
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

_MAX_BYTES: Final = 256 * 1024
_TIMEOUT: Final = 20.0

log = structlog.get_logger()


class StampAuthority:
    """An authority, asked over HTTP (RFC 3161, section 3.4)."""

    def __init__(self, url: str) -> None:
        """Remember where it answers.

        Raises:
            ValueError: If it is no address of HTTP.
        """
        if not url.startswith(("http://", "https://")):
            raise ValueError("it must begin with http:// or https://")
        self._url = url

    def stamp(self, message: bytes) -> bytes | None:
        """The authority's answer over a message, DER; None: it gave none. Blocks."""
        query = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256).build()
        request = urllib.request.Request(  # noqa: S310  the operator's own address, checked above
            self._url, data=query.as_bytes(), headers={"Content-Type": "application/timestamp-query"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310  as above
                answer: bytes = response.read(_MAX_BYTES)
            decode_timestamp_response(answer)
        except (OSError, URLError, ValueError) as error:
            log.warning("no time stamp", authority=self._url, error=str(error))
            return None
        return answer
