"""Request ids: a repeated change is made once, and answered the same."""

import asyncio
import hashlib
from collections.abc import Callable, Collection
from typing import TypeVar

from google.protobuf.message import Message

from service.catalogue import Catalogue
from service.domain import StoredResponse
from service.errors import InvalidRequestError, RequestIdReusedError
from service.rpc import convert
from service.rpc.access import Caller
from service.store import Transaction

M = TypeVar("M", bound=Message)


class Once:
    """Makes changes, each at most once for a request id."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Change `catalogue`."""
        self._catalogue = catalogue

    async def kept(self, caller: Caller, request_ids: Collection[str]) -> dict[str, StoredResponse]:
        """What request ids were answered with; those that were not, or are none, are absent."""
        readable = [one for one in request_ids if one and _readable(one)]
        if not readable:
            return {}
        return await asyncio.to_thread(self._catalogue.store.find_responses, caller.id, readable)

    async def first_answer(self, kept: StoredResponse | None, digest: bytes, kind: type[M]) -> M | None:
        """The answer that a repeated request got at first, so that its media are not read again.

        Args:
            kept: What its request id was answered with; None: nothing.
            digest: Of the request.
            kind: Of answer.
        """
        if kept is None:
            return None
        await self._catalogue.write(lambda _: None)  # when this is through, what was answered is searchable
        return _repeated(kept, digest, kind)

    async def write(
        self,
        caller: Caller,
        request_id: str,
        digest: bytes,
        kind: type[M],
        operation: Callable[[Transaction], M],
    ) -> M:
        """Commit an operation; where a request id is given, at most once."""
        request_id = convert.read_request_id(request_id)
        if not request_id:
            return await self._catalogue.write(operation)

        def once(transaction: Transaction) -> M:
            kept = transaction.find_response(caller.id, request_id)
            if kept is None:
                response = operation(transaction)
                stored = StoredResponse(digest, response.SerializeToString())
                transaction.keep_response(caller.id, request_id, stored)
                return response
            return _repeated(kept, digest, kind)

        return await self._catalogue.write(once)


def digest_of_request(request: Message, *more: bytes) -> bytes:
    """What a request id stands for: a request's content, and its kind, which tells the method."""
    digest = hashlib.sha256(f"{request.DESCRIPTOR.full_name}\0".encode())
    digest.update(request.SerializeToString(deterministic=True))
    for part in more:
        digest.update(part)
    return digest.digest()


def _readable(request_id: str) -> bool:
    """Whether it is a request id."""
    try:
        convert.read_request_id(request_id)
    except InvalidRequestError:
        return False
    return True


def _repeated(kept: StoredResponse, digest: bytes, kind: type[M]) -> M:
    """The answer that is kept, if it was given to the same request."""
    if kept.request_sha256 != digest:
        raise RequestIdReusedError(
            "request_id: was used for another request; make a new one for each request"
        )
    return kind.FromString(kept.response)
