"""The events of review in the database: added, never changed."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, insert, select
from uuid_utils.compat import uuid7

from service.reviewed import Event, EventFilter, SubjectKind, digest_of_event
from service.store.schema import review_events

FIRST_DIGEST = bytes(32)
"""What the first event of a subject is chained to."""

_LAST = (
    select(review_events.c.number, review_events.c.sha256)
    .where(review_events.c.subject_id == bindparam("subject_id"))
    .order_by(review_events.c.number.desc())
    .limit(1)
)


def append(
    connection: Connection,
    kind: SubjectKind,
    subject_id: UUID,
    owner: str,
    *,
    actor: str,
    action: str,
    detail: Mapping[str, Any],
    now: datetime,
) -> int:
    """Add an event to a subject's chain; return its number."""
    last = connection.execute(_LAST, {"subject_id": subject_id}).one_or_none()
    number, previous = (1, FIRST_DIGEST) if last is None else (last.number + 1, last.sha256)
    text = json.dumps(detail, ensure_ascii=False, separators=(",", ":"))
    event = Event(uuid7(), kind, subject_id, owner, number, now, actor, action, text)
    connection.execute(
        insert(review_events),
        {
            "id": event.id,
            "kind": kind.value,
            "subject_id": subject_id,
            "owner": owner,
            "number": number,
            "at": now,
            "actor": actor,
            "action": action,
            "detail": text,
            "sha256": digest_of_event(event, previous),
        },
    )
    return number


def page(connection: Connection, which: EventFilter, *, after: UUID | None, limit: int) -> list[Event]:
    """A page of events, newest first, of those that are older than `after`."""
    query = select(review_events)
    if which.subject_id is not None:
        query = query.where(review_events.c.subject_id == which.subject_id)
    if which.owner is not None:
        query = query.where(review_events.c.owner == which.owner)
    if which.actor is not None:
        query = query.where(review_events.c.actor == which.actor)
    if after is not None:
        query = query.where(review_events.c.id < after)
    rows = connection.execute(query.order_by(review_events.c.id.desc()).limit(limit))
    return [_to_event(row) for row in rows]


def chain(connection: Connection, subject_id: UUID) -> list[Event]:
    """All events of a subject, oldest first."""
    query = select(review_events).where(review_events.c.subject_id == subject_id)
    return [_to_event(row) for row in connection.execute(query.order_by(review_events.c.number))]


def _to_event(row: Row[Any]) -> Event:
    return Event(
        id=row.id,
        kind=SubjectKind(row.kind),
        subject_id=row.subject_id,
        owner=row.owner,
        number=row.number,
        at=row.at,
        actor=row.actor,
        action=row.action,
        detail=row.detail,
        sha256=row.sha256,
    )
