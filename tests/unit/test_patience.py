"""How long the service waits for a worker."""

import asyncio

import pytest

from service.sandbox.confine import TimeLimit
from service.sandbox.patience import TIMEOUT, Patience
from service.sandbox.reading import Reading

HOUR = 3600.0


def test_size_and_what_was_read_earn_time() -> None:
    limit = TimeLimit(30.0, 2.0, 120.0)
    assert limit.of(0) == 30.0
    assert limit.of(3 * 2**20) == 36.0
    assert limit.of(3 * 2**20, 2 * HOUR) == 276.0


async def waited(patience: Patience, ends: list[str]) -> list[str]:
    """Let everything happen that is due, and whatever it entails."""
    with patience.running():
        for _ in range(5):
            await asyncio.sleep(0)
    return ends


async def test_a_worker_whose_time_is_over_is_ended() -> None:
    ends: list[str] = []
    assert await waited(Patience(ends.append, TimeLimit(0.0, 2.0, 0.0), 0, HOUR, Reading()), ends) == [
        TIMEOUT
    ]


@pytest.mark.parametrize(
    ("byte_count", "longest", "ended"), [(0, HOUR, False), (0, 0.0, True), (50 * 2**20, 0.0, False)]
)
async def test_what_a_worker_reads_earns_it_time_up_to_the_longest_item(
    byte_count: int, longest: float, *, ended: bool
) -> None:
    ends: list[str] = []
    reading = Reading()
    patience = Patience(ends.append, TimeLimit(0.0, 60.0, 7200.0), byte_count, longest, reading)
    with patience.running():
        patience.read(1e12)
        for _ in range(5):
            await asyncio.sleep(0)
    assert bool(ends) == ended
    assert reading.seconds == longest


async def test_an_answer_in_time_ends_the_waiting() -> None:
    ends: list[str] = []
    patience = Patience(ends.append, TimeLimit(0.0, 0.0, 0.0), 0, HOUR, Reading())
    with patience.running():
        pass
    patience.read(10.0)
    await asyncio.sleep(0.01)
    assert ends == []
