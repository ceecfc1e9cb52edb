"""API keys in the database."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from service.domain import ApiKey, KeyRole
from service.errors import NotFoundError
from service.store.schema import api_keys


def create(connection: Connection, key: ApiKey) -> None:
    """Keep a new key."""
    connection.execute(
        insert(api_keys),
        {
            "id": key.id,
            "role": key.role.value,
            "owner": key.owner,
            "requests_per_minute": key.requests_per_minute,
            "bytes_per_minute": key.bytes_per_minute,
            "secret_sha256": key.secret_sha256,
            "created_at": key.created_at,
            "revoked_at": key.revoked_at,
            "name": key.name,
        },
    )


def find(connection: Connection, key_id: str) -> ApiKey | None:
    """A key, revoked or not."""
    row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
    return None if row is None else _to_key(row)


def list_all(connection: Connection) -> list[ApiKey]:
    """All keys, oldest first."""
    rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
    return [_to_key(row) for row in rows]


def revoke(connection: Connection, key_id: str, at: datetime) -> ApiKey:
    """Revoke a key; the first revocation's time stays.

    Raises:
        NotFoundError: If there is no such key.
    """
    connection.execute(
        update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
    )
    return _found(connection, key_id)


def rename(connection: Connection, key_id: str, name: str) -> ApiKey:
    """Say whose a key is.

    Raises:
        NotFoundError: If there is no such key.
    """
    connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(name=name))
    return _found(connection, key_id)


def names(connection: Connection) -> dict[str, str]:
    """The names of all keys that have one, by their ids; those of revoked ones, too."""
    rows = connection.execute(select(api_keys.c.id, api_keys.c.name).where(api_keys.c.name != ""))
    return {row.id: row.name for row in rows}


def _found(connection: Connection, key_id: str) -> ApiKey:
    key = find(connection, key_id)
    if key is None:
        raise NotFoundError(f"There is no key {key_id}; `copyhound keys list` shows them", key=key_id)
    return key


def _to_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        role=KeyRole(row.role),
        owner=row.owner,
        requests_per_minute=row.requests_per_minute,
        bytes_per_minute=row.bytes_per_minute,
        secret_sha256=row.secret_sha256,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        name=row.name,
    )
