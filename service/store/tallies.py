"""Counts that are kept up to date with what they count, so that reading them takes no time."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from service.store.schema import tallies

STATE, SITE, LIST, DAY = "state", "site", "list", "day"
"""Of cases. By state: how many; by site and list: open, and others; by day: opened, and decided."""

OUTCOME = "outcome"
"""Of decisions, by what they say: how many were made, and how many of these were undone."""

ALL = ""
"""The owner under which counts of all owners stand."""

_MAX_NAME = 255


class Tally:
    """Changes of counts, gathered to be written at once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._first: Counter[tuple[str, str]] = Counter()
        self._second: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, name: str, first: int = 0, second: int = 0) -> None:
        """Add to the counts of a name."""
        key = (kind, name[:_MAX_NAME])
        self._first[key] += first
        self._second[key] += second

    def write(self, connection: Connection, owner: str) -> None:
        """Add what was gathered to the counts of an owner, and to those of all."""
        keys = sorted(key for key in self._first if self._first[key] or self._second[key])
        rows = [
            {
                "owner": whose,
                "kind": kind,
                "name": name,
                "first": self._first[kind, name],
                "second": self._second[kind, name],
            }
            for whose in (ALL, owner)
            for kind, name in keys
        ]
        if not rows:
            return
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = insert(tallies)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[tallies.c.owner, tallies.c.kind, tallies.c.name],
                set_={
                    "first": tallies.c.first + statement.excluded.first,
                    "second": tallies.c.second + statement.excluded.second,
                },
            ),
            rows,
        )


def day_of(moment: datetime) -> str:
    """The name under which a moment (UTC) counts."""
    return moment.date().isoformat()


def read(
    connection: Connection, owner: str | None, kind: str, *, order: str, limit: int
) -> Mapping[str, tuple[int, int]]:
    """The counts of a kind, without those that are 0.

    Args:
        connection: To read through.
        owner: Whose; None: of all.
        kind: Which.
        order: Column by which the largest come first: ``first``, ``second`` or ``name``.
        limit: Most names.
    """
    query = (
        select(tallies.c.name, tallies.c.first, tallies.c.second)
        .where(tallies.c.owner == (owner or ALL), tallies.c.kind == kind)
        .order_by(tallies.c[order].desc(), tallies.c.name.desc())
        .limit(limit)
    )
    rows = connection.execute(query)
    return {name: (first, second) for name, first, second in rows if first or second}
