"""Answers of a run that are kept in memory for a while, so that page and browser ask for nothing twice."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Self

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response

from crawler.exchanges import EXCHANGE, KEPT, Exchange
from crawler.robots import EXEMPT

REUSE: Final = "copyhound_reuse"
"""Key of a request's `meta`: an answer from earlier in the run will do."""

_MIB: Final = 1024 * 1024
_LARGEST: Final = 8 * _MIB
_STATUSES: Final = frozenset((200, 203, 301, 302, 303, 304, 307, 308))


@dataclass(frozen=True, slots=True)
class _Kept:
    response: Response
    exchange: Exchange
    validators: tuple[bytes | None, bytes | None]

    @property
    def size(self) -> int:
        body = self.response.body
        return len(body) + (len(self.exchange.body) if self.exchange.body is not body else 0) + 1024


class KeptAnswers:
    """Scrapy middleware between robots.txt and the network; the answers asked for last stay.

    What it answers has the flag `KEPT`, and the `Exchange` of when it was fetched.
    """

    def __init__(self, *, limit: int) -> None:
        """Keep at most so many bytes."""
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Read the setting."""
        return cls(limit=int(crawler.settings.getfloat("COPYHOUND_KEPT_MB") * _MIB))

    def process_request(self, request: Request) -> Response | None:
        """Answer a request that may be answered from here."""
        kept = self._kept.get(request.url)
        if kept is None or not request.meta.get(REUSE) or "Range" in request.headers:
            return None
        if kept.response.status == 304 and kept.validators != _validators(request):
            return None
        if len(kept.response.body) > request.meta.get("download_maxsize", _LARGEST):
            return None
        self._kept.move_to_end(request.url)
        request.meta[EXCHANGE] = kept.exchange
        return kept.response.replace(flags=[KEPT])

    def process_response(self, request: Request, response: Response) -> Response:
        """Keep an answer."""
        exchange: Exchange | None = request.meta.get(EXCHANGE)
        if (
            exchange is None
            or request.meta.get(EXEMPT)
            or KEPT in response.flags
            or request.method != "GET"
            or "Range" in request.headers
            or response.status not in _STATUSES
            or len(response.body) > min(_LARGEST, self._limit)
        ):
            return response
        self._forget(request.url)
        kept = _Kept(response.replace(request=None), exchange, _validators(request))
        self._kept[request.url] = kept
        self._size += kept.size
        while self._size > self._limit:
            self._forget(next(iter(self._kept)))
        return response

    def _forget(self, url: str) -> None:
        kept = self._kept.pop(url, None)
        self._size -= kept.size if kept is not None else 0


def _validators(request: Request) -> tuple[bytes | None, bytes | None]:
    return request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since")
