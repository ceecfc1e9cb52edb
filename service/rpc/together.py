"""Changes of batches go on together, so that they share what it costs to make them durable.

What a batch answers for one item nobody sees before all of it is answered: an item that was read may wait for
others, of its own batch or of another, as long as more of its batch are still to be read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Wait: TypeAlias = Callable[[], Awaitable[None]]
"""Waits until what waits goes on."""


class Together:
    """What waits to go on. For one event loop."""

    def __init__(self, *, most: int, seconds: float) -> None:
        """Let at most so many wait, and none longer than that."""
        self.most = most
        self._seconds = seconds
        self._count = 0
        self._released = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self) -> None:
        """Wait until enough wait, the first has waited for long enough, or `release` is called."""
        released = self._released
        self._count += 1
        if self._count >= self.most:
            self.release()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.release)
        await released.wait()

    def release(self) -> None:
        """Let all that wait go on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._count = 0
        self._released.set()
        self._released = asyncio.Event()


class Batch:
    """The items of one call."""

    def __init__(self, together: Together, count: int) -> None:
        """Wait with others at `together`, as long as some of `count` items are not read yet."""
        self._together = together
        self._unread = count

    @contextmanager
    def item(self) -> Iterator[Wait]:
        """Take up one item; give what it calls, at most once, when it is read."""
        read = False

        async def wait() -> None:
            nonlocal read
            read = True
            if not self._last():
                await self._together.wait()

        try:
            yield wait
        finally:
            if not read:  # it failed, or there was nothing to read
                self._last()

    def _last(self) -> bool:
        """Count an item as read; if it is the last one, nothing waits any longer."""
        self._unread -= 1
        if self._unread == 0:
            self._together.release()
        return self._unread == 0


async def at_once() -> None:
    """Wait for nobody."""
