"""The queue's filters: from an address to a filter, and back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from service.reviewed import Actor, Case, CaseFilter, CaseOrder, CaseState, Outcome, Position

STATES: Final = ("open", "waiting", "decided", "all")
"""What may be asked for; ``open`` where nothing is."""
WHOSE: Final = ("", "mine", "nobody")
"""Whose cases: everybody's, those that are assigned to oneself, those that are assigned to nobody."""
DUES: Final = ("", "overdue", "week")
"""By due date: any, those whose date has passed, those of the next seven days."""
MODALITIES: Final = ("", "image", "video", "audio", "text", "container")

_MAX_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Query:
    """What the queue is asked for.

    Attributes:
        state: One of `STATES`.
        text: Words that are looked for.
        site: Host; empty: any.
        list_id: A monitoring list; None: any.
        work_id: A work; None: any.
        modality: One of `MODALITIES`.
        at_least: Least probability in percent, 0..100.
        at_most: Greatest probability in percent, 0..100.
        whose: One of `WHOSE`.
        due: One of `DUES`.
        outcome: Of the decision that stands; None: any.
    """

    state: str = "open"
    text: str = ""
    site: str = ""
    list_id: UUID | None = None
    work_id: UUID | None = None
    modality: str = ""
    at_least: int = 0
    at_most: int = 100
    whose: str = ""
    due: str = ""
    outcome: Outcome | None = None
    order: CaseOrder = field(default=CaseOrder.NEWEST)

    @property
    def encoded(self) -> str:
        """As the part of an address after ``?``: what differs from the default; canonical."""
        values = {
            "state": self.state if self.state != "open" else "",
            "q": self.text,
            "site": self.site,
            "list": str(self.list_id or ""),
            "work": str(self.work_id or ""),
            "modality": self.modality,
            "min": str(self.at_least or ""),
            "max": str(self.at_most) if self.at_most < 100 else "",
            "whose": self.whose,
            "due": self.due,
            "outcome": "" if self.outcome is None else self.outcome.value,
            "order": self.order.value if self.order is not CaseOrder.NEWEST else "",
        }
        return urlencode({name: value for name, value in values.items() if value})

    @property
    def narrowed(self) -> bool:
        """Whether anything but order and state is asked for."""
        return Query(state=self.state, order=self.order) != self

    def filter(self, actor: Actor, now: datetime) -> CaseFilter:
        """As the desk takes it.

        Args:
            actor: Who asks; whose own cases are meant.
            now: UTC.
        """
        due_before = {"overdue": now, "week": now + timedelta(days=7)}.get(self.due)
        return CaseFilter(
            states=() if self.state == "all" else (CaseState(self.state),),
            list_id=self.list_id,
            site=self.site or None,
            work_id=self.work_id,
            modality=self.modality or None,
            min_probability=self.at_least / 100,
            max_probability=self.at_most / 100,
            assignee={"mine": actor.id, "nobody": ""}.get(self.whose),
            due_before=due_before,
            text=self.text,
            outcome=self.outcome,
        )


def read_query(values: Mapping[str, str]) -> Query:
    """Read an address's values; what is wrong is left out, so that an old address still leads somewhere."""
    at_least = _percent(values.get("min", ""), 0)
    at_most = _percent(values.get("max", ""), 100)
    return Query(
        state=_one_of(values.get("state", ""), STATES),
        text=_text(values.get("q", "")),
        site=_text(values.get("site", "")).lower(),
        list_id=_id(values.get("list", "")),
        work_id=_id(values.get("work", "")),
        modality=_one_of(values.get("modality", ""), MODALITIES),
        at_least=at_least,
        at_most=max(at_least, at_most),
        whose=_one_of(values.get("whose", ""), WHOSE),
        due=_one_of(values.get("due", ""), DUES),
        outcome=next((one for one in Outcome if one.value == values.get("outcome")), None),
        order=next((one for one in CaseOrder if one.value == values.get("order")), CaseOrder.NEWEST),
    )


def position_text(position: Position) -> str:
    """Where a page begins, for an address."""
    return f"{position.value!r}~{position.id}"


def read_position(text: str) -> Position | None:
    """The opposite; None: the first page, also where the text is wrong."""
    value, _, case_id = text.partition("~")
    found = _id(case_id)
    try:
        number = float(value)
    except ValueError:
        return None
    return Position(number, found) if found is not None and math.isfinite(number) else None


def overdue(case: Case, now: datetime | None = None) -> bool:
    """Whether a case should have been decided by now (UTC)."""
    moment = now or datetime.now(UTC)
    return case.due_at is not None and case.due_at < moment and case.state is not CaseState.DECIDED


def _text(value: str) -> str:
    return "".join(char for char in value if char.isprintable()).strip()[:_MAX_TEXT]


def _one_of(value: str, allowed: tuple[str, ...]) -> str:
    return value if value in allowed else allowed[0]


def _percent(value: str, default: int) -> int:
    return min(100, int(value)) if value.isascii() and value.isdecimal() and len(value) <= 3 else default


def _id(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None
