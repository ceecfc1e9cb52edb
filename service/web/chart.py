"""A chart of days, as numbers that a template draws as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from service.reviewed import Day

WIDTH: Final = 800
"""Of the drawing, in its own units."""
HEIGHT: Final = 150


@dataclass(frozen=True, slots=True)
class Bar:
    """A day: two bars beside each other, from the bottom.

    Attributes:
        x: Left edge of the day.
        width: Of each bar.
        opened_height: In the drawing's units.
        decided_height: In the drawing's units.
    """

    day: str
    opened: int
    decided: int
    x: float
    width: float
    opened_height: float
    decided_height: float


@dataclass(frozen=True, slots=True)
class Trend:
    """A chart.

    Attributes:
        top: The number that the height stands for.
        opened: In all.
        decided: In all.
    """

    bars: tuple[Bar, ...]
    top: int
    opened: int
    decided: int


def trend(days: Sequence[Day], today: date, count: int) -> Trend:
    """Lay the last days out, those without anything too.

    Args:
        days: What happened.
        today: The last day, UTC.
        count: How many days, ≥ 1.
    """
    by_day = {one.day: one for one in days}
    shown = [(today - timedelta(days=count - 1 - i)).isoformat() for i in range(count)]
    numbers = [by_day.get(day, Day(day, 0, 0)) for day in shown]
    top = _round_up(max((max(one.opened, one.decided) for one in numbers), default=0))
    step = WIDTH / count
    bars = tuple(
        Bar(
            day=one.day,
            opened=one.opened,
            decided=one.decided,
            x=round(i * step, 2),
            width=round(step * 0.38, 2),
            opened_height=round(HEIGHT * one.opened / top, 2),
            decided_height=round(HEIGHT * one.decided / top, 2),
        )
        for i, one in enumerate(numbers)
    )
    return Trend(bars, top, sum(one.opened for one in numbers), sum(one.decided for one in numbers))


def _round_up(number: int) -> int:
    """The next of 4, 10, 20, 40, 100, 200, ...: a calm top for an axis."""
    scale = 1
    while True:
        for step in (4, 10, 20):
            if number <= step * scale:
                return step * scale
        scale *= 10
