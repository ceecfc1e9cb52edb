"""Signatures of what a Copyhound server posts to webhooks: how they are made, and how to check them.

``Copyhound-Signature: t=1764000000,v1=5f…`` holds the time of the attempt, in seconds since 1970, and the
HMAC-SHA256, in hexadecimal, of the time's digits, a full stop and the body, under the webhook's secret.
"""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Final

from copyhound.errors import UnauthenticatedError

SIGNATURE_HEADER: Final = "Copyhound-Signature"
EVENT_HEADER: Final = "Copyhound-Event"
ID_HEADER: Final = "Idempotency-Key"
"""Id of the event: the same for every attempt to post it."""

REPLAY_WINDOW: Final = timedelta(minutes=5)
"""How old, or how far ahead of the receiver's clock, a signature may be."""


def sign(secret: str, body: bytes, now: datetime) -> str:
    """Return the signature's header for a body posted now."""
    seconds = int(now.timestamp())
    return f"t={seconds},v1={_digest(secret, seconds, body)}"


def verify_webhook(
    secret: str,
    header: str,
    body: bytes,
    *,
    now: datetime | None = None,
    window: timedelta = REPLAY_WINDOW,
) -> None:
    """Check that a body was posted by who knows the secret, and just now.

    Args:
        secret: The webhook's secret.
        header: The request's ``Copyhound-Signature``.
        body: The request's body, byte for byte.
        now: None: the clock's time.
        window: How old the signature may be. Within it, remember the ``Idempotency-Key`` of what you have
            handled: the same event may come again.

    Raises:
        UnauthenticatedError: If the signature is wrong, too old or too new.
    """
    fields = dict(part.strip().partition("=")[::2] for part in header.split(","))
    time, given = fields.get("t", ""), fields.get("v1", "")
    if not (time.isascii() and time.isdigit() and len(time) <= 12):
        raise UnauthenticatedError("the signature has no time; refuse the request")
    if not hmac.compare_digest(_digest(secret, int(time), body).encode(), given.encode(errors="replace")):
        raise UnauthenticatedError("the signature does not fit the body; refuse the request")
    age = (now or datetime.now(UTC)) - datetime.fromtimestamp(int(time), UTC)
    if abs(age) > window:
        raise UnauthenticatedError("the signature is too old, or a clock is wrong; refuse the request")


def _digest(secret: str, seconds: int, body: bytes) -> str:
    return hmac.new(secret.encode(), str(seconds).encode() + b"." + body, hashlib.sha256).hexdigest()
