"""Sessions of the pages in the database."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, or_, select, update

from service.domain import Session
from service.store import keys
from service.store.schema import sessions


def create(connection: Connection, token_sha256: bytes, session: Session) -> None:
    """Keep a new session under the digest of its token."""
    connection.execute(
        insert(sessions),
        {
            "token_sha256": token_sha256,
            "key_id": None if session.key is None else session.key.id,
            "created_at": session.created_at,
            "seen_at": session.seen_at,
        },
    )


def find(connection: Connection, token_sha256: bytes) -> Session | None:
    """A session with its key, as it is now; None: there is none, or its key is gone."""
    row = connection.execute(select(sessions).where(sessions.c.token_sha256 == token_sha256)).one_or_none()
    if row is None:
        return None
    key = None if row.key_id is None else keys.find(connection, row.key_id)
    if row.key_id is not None and key is None:
        return None
    return Session(key, row.created_at, row.seen_at)


def touch(connection: Connection, token_sha256: bytes, at: datetime) -> None:
    """Say that a session was used."""
    connection.execute(update(sessions).where(sessions.c.token_sha256 == token_sha256).values(seen_at=at))


def end(connection: Connection, token_sha256: bytes) -> None:
    """Forget a session."""
    connection.execute(delete(sessions).where(sessions.c.token_sha256 == token_sha256))


def end_all(connection: Connection, key_id: str | None) -> int:
    """Forget all sessions of a key, or all anonymous ones; return how many that was."""
    return connection.execute(delete(sessions).where(sessions.c.key_id == key_id)).rowcount


def forget(connection: Connection, created_before: datetime, seen_before: datetime) -> None:
    """Forget the sessions that have expired."""
    expired = or_(sessions.c.created_at < created_before, sessions.c.seen_at < seen_before)
    connection.execute(delete(sessions).where(expired))
