"""Many requests at once, and an event loop for callers that have none."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def run_bounded(
    work: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int
) -> AsyncGenerator[R, None]:
    """Yield the results as they come, at most `limit` under way at a time.

    Items are taken as places become free. Ending the iteration early cancels what is under way.
    """
    waiting = iter(items)
    pending: set[asyncio.Future[R]] = set()
    try:
        while True:
            pending |= {asyncio.ensure_future(work(item)) for item in islice(waiting, limit - len(pending))}
            if not pending:
                return
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for future in pending:
            future.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


class LoopThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        """Start it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="copyhound", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end and return the result. An interrupted wait cancels the work."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._loop.is_closed()

    def close(self) -> None:
        """End what is under way, the loop and the thread."""
        if self.closed:
            return
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
