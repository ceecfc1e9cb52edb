"""Time stamps of an authority, by RFC 3161: a proof, in other hands, that a capture was there at a time."""

import logging
from typing import Any, Final

from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response
from scrapy import Request

from crawler import urls
from crawler.robots import EXEMPT

logger = logging.getLogger(__name__)

_MAX_BYTES: Final = 256 * 1024
_TIMEOUT: Final = 20.0


class TimestampAuthority:
    """An authority, asked over HTTP (RFC 3161, section 3.4)."""

    def __init__(self, url: str) -> None:
        """Remember where it answers."""
        self._url = url

    async def stamp(self, seal: bytes, engine: Any) -> bytes | None:
        """Return the authority's answer over a seal, as DER; None: it gave none.

        Args:
            seal: 32 bytes.
            engine: Scrapy's.
        """
        query = TimestampRequestBuilder().data(seal).hash_algorithm(HashAlgorithm.SHA256).build().as_bytes()
        request = Request(
            self._url,
            method="POST",
            body=query,
            headers={"Content-Type": "application/timestamp-query"},
            meta={
                EXEMPT: True,
                "download_slot": f"timestamp {urls.host_of(self._url)}",
                "download_maxsize": _MAX_BYTES,
                "download_timeout": _TIMEOUT,
            },
        )
        try:
            response = await engine.download_async(request)
            decode_timestamp_response(response.body)
        except Exception as error:  # noqa: BLE001  whatever goes wrong with an authority, the capture is kept
            logger.warning("no time stamp from %s: %s", urls.shown(self._url), urls.shown(str(error)))
            return None
        return bytes(response.body)
