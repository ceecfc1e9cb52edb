"""Items of batches wait for each other, but never for nothing."""

import asyncio

import pytest

from service.rpc.together import Batch, Together

LONG = 1e6
"""Seconds that no test waits."""


async def turns() -> None:
    """Let everything go on as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_as_many_go_on_as_are_enough() -> None:
    together = Together(most=3, seconds=LONG)
    waiting = [asyncio.create_task(together.wait()) for _ in range(2)]
    await turns()
    assert not any(one.done() for one in waiting)
    await together.wait()
    await asyncio.gather(*waiting)
    later = asyncio.create_task(together.wait())  # the next ones wait anew
    await turns()
    assert not later.done()
    together.release()
    await later


async def test_nobody_waits_longer_than_that() -> None:
    together = Together(most=100, seconds=0.0)
    for _ in range(2):
        await together.wait()


async def read(batch: Batch, *, before: bool = False, after: bool = False) -> None:
    """Go through an item that may fail before or after it has waited."""
    with batch.item() as wait:
        if before:
            raise ZeroDivisionError
        await wait()
        if after:
            raise ZeroDivisionError


async def test_the_last_one_of_a_batch_waits_for_nobody() -> None:
    together = Together(most=100, seconds=LONG)
    mine, other = Batch(together, 2), Batch(together, 2)
    first, of_another = asyncio.create_task(read(mine)), asyncio.create_task(read(other))
    await turns()
    assert not first.done()
    await read(mine)
    await asyncio.gather(first, of_another)


@pytest.mark.parametrize("before", [True, False])
async def test_what_fails_holds_nobody_up(*, before: bool) -> None:
    batch = Batch(Together(most=100, seconds=LONG), 2)
    waiting = asyncio.create_task(read(batch))
    await turns()
    with pytest.raises(ZeroDivisionError):
        await read(batch, before=before, after=not before)
    await waiting


async def test_an_item_that_fails_after_it_waited_counts_once() -> None:
    together = Together(most=2, seconds=LONG)
    batch = Batch(together, 3)
    other = asyncio.create_task(together.wait())
    await turns()
    with pytest.raises(ZeroDivisionError):
        await read(batch, after=True)
    await other
    second = asyncio.create_task(read(batch))
    await turns()
    assert not second.done()
    await read(batch)
    await second
