"""How long the service waits for a worker."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from service.sandbox.confine import TimeLimit
from service.sandbox.reading import Reading

TIMEOUT: Final = "timeout"
"""Why a worker was ended that took too long."""


class Patience:
    """Ends a worker that takes too long over an item; what it reads of it earns it more time.

    The worker may have been taken over by the item: it earns no more than the longest item would.
    """

    def __init__(
        self,
        end: Callable[[str], object],
        limit: TimeLimit,
        byte_count: int,
        longest: float,
        reading: Reading,
    ) -> None:
        """Describe it; `running` starts the clock.

        Args:
            end: Ends the worker, for `TIMEOUT`.
            limit: How long it may take.
            byte_count: Of the item.
            longest: Most seconds of sound or film that an item may have.
            reading: Kept up to date with how much was read.
        """
        self._end = end
        self._limit = limit
        self._byte_count = byte_count
        self._longest = longest
        self._reading = reading
        self._read = 0.0
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the worker has to answer."""
        self._began = asyncio.get_running_loop().time()
        self._set()
        try:
            yield
        finally:
            self._stop()

    def read(self, seconds: float) -> None:
        """Take note of how much was read."""
        self._read = max(self._read, min(seconds, self._longest))
        self._reading.read(self._read)
        if self._timer is not None:
            self._set()

    def _set(self) -> None:
        self._stop()
        seconds = self._limit.of(self._byte_count, self._read)
        self._timer = asyncio.get_running_loop().call_at(self._began + seconds, self._end, TIMEOUT)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
