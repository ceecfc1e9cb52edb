"""API keys as texts: making them, reading them, telling whether one is right."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from service.domain import ApiKey, KeyRole
from service.errors import InvalidRequestError

MAX_NAME = 100
"""Most characters of the name of who has a key."""

_PREFIX = "copyhound"


def new_key(
    role: KeyRole, owner: str | None, requests_per_minute: int, bytes_per_minute: int, name: str = ""
) -> tuple[ApiKey, str]:
    """Make a key.

    Returns:
        What the store keeps, and the text that its user keeps: ``copyhound_<id>_<secret>``.
    """
    key_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    key = ApiKey(
        id=key_id,
        role=role,
        owner=owner,
        requests_per_minute=requests_per_minute,
        bytes_per_minute=bytes_per_minute,
        # The secret has 256 random bits: a slow hash would add nothing.
        secret_sha256=hashlib.sha256(secret.encode()).digest(),
        created_at=datetime.now(UTC),
        revoked_at=None,
        name=name,
    )
    return key, f"{_PREFIX}_{key_id}_{secret}"


def read_name(text: str) -> str:
    """Check the name of who has a key: printable, at most 100 characters, without blanks around it.

    Raises:
        InvalidRequestError: If it is not.
    """
    name = text.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidRequestError("name", f"must be at most {MAX_NAME} printable characters")
    return name


@dataclass(frozen=True, slots=True)
class Claim:
    """What a text says that it is, before anybody believed it.

    Attributes:
        key_id: The public part.
        secret_sha256: Digest of the secret part, 32 bytes.
    """

    key_id: str
    secret_sha256: bytes

    def holds_for(self, key: ApiKey | None) -> bool:
        """Whether it is this key, and the key is valid."""
        return (
            key is not None
            and key.revoked_at is None
            and hmac.compare_digest(key.secret_sha256, self.secret_sha256)
        )


def read_key(text: str) -> Claim | None:
    """Take a key's text apart; None: it has not the form of a key."""
    prefix, _, rest = text.strip().partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not key_id or not secret:
        return None
    return Claim(key_id, hashlib.sha256(secret.encode(errors="replace")).digest())
