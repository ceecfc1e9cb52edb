"""Batches: many items in one call, each answered or refused by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence, Sized
from typing import TypeVar

from google.rpc import status_pb2

from service.errors import InvalidRequestError
from service.rpc.access import Caller
from service.rpc.errors import failure

_MAX_ITEMS = 256

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def admit(items: Sized, caller: Caller) -> None:
    """Check how many items there are, and charge the caller for all of them.

    Raises:
        InvalidRequestError: If there are none or too many.
        QuotaExceededError: If the caller's quota does not allow them now.
    """
    if not 1 <= len(items) <= _MAX_ITEMS:
        raise InvalidRequestError("requests", f"send 1 to {_MAX_ITEMS}, not {len(items)}")
    caller.charge_items(len(items))


async def answer_each(
    items: Sequence[Item], answer: Callable[[Item], Awaitable[Answer]], *, parallel: int
) -> list[Answer | status_pb2.Status]:
    """Answer each item, or say why not, in order.

    Args:
        items: What is asked.
        answer: Answers one; whatever it raises becomes that item's status.
        parallel: Most items in work at a time, so that one batch never fills the queue for all callers.
    """
    slots = asyncio.Semaphore(parallel)

    async def one(item: Item) -> Answer | status_pb2.Status:
        async with slots:
            try:
                return await answer(item)
            except Exception as error:  # noqa: BLE001 - one bad item never sinks the others
                return failure(error)

    return await asyncio.gather(*(one(item) for item in items))
