"""When lists run by themselves."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.monitored import Schedule

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (time(12, 1), datetime(2026, 11, 22, 12, 1, tzinfo=UTC)),
        (time(12, 0), datetime(2026, 11, 23, 12, 0, tzinfo=UTC)),
        (time(3, 30), datetime(2026, 11, 23, 3, 30, tzinfo=UTC)),
    ],
)
def test_a_time_of_day_is_the_next_one(at: time, expected: datetime) -> None:
    assert Schedule(daily=at).next_after(NOON, NOON) == expected


@given(base=MOMENTS, now=MOMENTS, minutes=st.integers(1, 1_000_000))
def test_an_interval_keeps_its_beat_and_leaves_out_what_was_missed(
    base: datetime, now: datetime, minutes: int
) -> None:
    interval = timedelta(minutes=minutes)
    found = Schedule(interval=interval).next_after(base, now)
    assert found > now
    assert (found - base) % interval == timedelta()
    assert found == base + interval or found - interval <= now
