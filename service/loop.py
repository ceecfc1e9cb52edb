"""A task that does what there is to do, again and again, and survives its failures."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from service.errors import BusyError, StorageFullError

log = structlog.get_logger()


class Loop:
    """Runs one function: when it is woken, and every so often."""

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Take what is to be done.

        Args:
            name: For the log.
            work: Does all that there is to do.
            seconds: Longest time from the end of one time to the next.
        """
        self._name = name
        self._work = work
        self._seconds = seconds
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._woken.set()
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Say that there is something to do."""
        self._woken.set()

    async def close(self) -> None:
        """Stop; what is under way is given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self._work()
            except (BusyError, StorageFullError) as error:
                log.warning("waits", task=self._name, reason=error.reason)
                await asyncio.sleep(self._seconds)
            except Exception:
                log.exception("failed; it is tried again", task=self._name)
                await asyncio.sleep(self._seconds)
