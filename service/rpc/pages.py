"""Page tokens: where a list goes on, and with which filters."""

import base64
import hashlib
from collections.abc import Sequence
from uuid import UUID

from service.errors import InvalidRequestError

_ID_BYTES, _FILTER_BYTES = 16, 8


def token(last: UUID, filters: Sequence[str]) -> str:
    """The token of the page after the one that ends with `last`."""
    return base64.urlsafe_b64encode(last.bytes + _fingerprint(filters)).decode()


def read_token(text: str, filters: Sequence[str]) -> UUID | None:
    """The id after which the page begins; None for the first page.

    Raises:
        InvalidRequestError: If the token is not one of ours, or was given with other filters.
    """
    if not text:
        return None
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != _ID_BYTES + _FILTER_BYTES:
        raise InvalidRequestError("page_token", "is not a token that this server gave; begin anew")
    if raw[_ID_BYTES:] != _fingerprint(filters):
        raise InvalidRequestError("page_token", "was given with other filters; keep them, or begin anew")
    return UUID(bytes=raw[:_ID_BYTES])


def _fingerprint(filters: Sequence[str]) -> bytes:
    return hashlib.sha256("\0".join(filters).encode()).digest()[:_FILTER_BYTES]
