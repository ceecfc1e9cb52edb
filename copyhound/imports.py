"""Imports run on the server for as long as they take; these are their handles."""

import asyncio
from typing import Any, Final

from google.longrunning import operations_pb2

from copyhound import convert, status
from copyhound.concurrency import LoopThread
from copyhound.errors import DeadlineExceededError
from copyhound.transport import Transport
from copyhound.types import ImportProgress, ImportResult
from copyhound.v1 import work_pb2

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class AsyncImport:
    """An import under way. It goes on when this handle, the client or the server ends.

    Attributes:
        name: The operation's name; `AsyncClient.get_import` makes a handle from it again.
    """

    def __init__(self, transport: Transport, operations: Any, name: str) -> None:  # untyped stubs
        """Refer to an operation; no call is made."""
        self.name = name
        self._transport = transport
        self._operations = operations

    async def progress(self) -> ImportProgress:
        """Tell how far it is."""
        operation = await self._get()
        metadata = work_pb2.ImportWorksMetadata()
        operation.metadata.Unpack(metadata)
        return convert.import_progress_from_message(metadata, done=operation.done)

    async def wait(self, *, max_seconds: float | None = None) -> ImportResult:
        """Wait for its end.

        Args:
            max_seconds: Longest time to wait; None: as long as it takes.

        Raises:
            DeadlineExceededError: If it is not done in time; it goes on.
            CancelledError: If it was cancelled.
        """
        clock = asyncio.get_running_loop().time
        deadline = None if max_seconds is None else clock() + max_seconds
        pause = _FIRST_PAUSE
        while not (operation := await self._get()).done:
            if deadline is not None and clock() + pause > deadline:
                raise DeadlineExceededError(f"{self.name}: not done yet; it goes on, so wait again")
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.5)
        if operation.WhichOneof("result") == "error":
            raise status.from_status(operation.error)
        response = work_pb2.ImportWorksResponse()
        operation.response.Unpack(response)
        return convert.import_result_from_message(response)

    async def cancel(self) -> None:
        """Stop it; what was registered stays registered."""
        request = operations_pb2.CancelOperationRequest(name=self.name)

        async def send(seconds: float) -> None:
            await self._operations.CancelOperation(
                request, timeout=seconds, metadata=self._transport.metadata
            )

        await self._transport.call(send)

    async def _get(self) -> Any:  # an untyped message
        request = operations_pb2.GetOperationRequest(name=self.name)

        async def send(seconds: float) -> Any:
            return await self._operations.GetOperation(
                request, timeout=seconds, metadata=self._transport.metadata
            )

        return await self._transport.call(send)


class Import:
    """As `AsyncImport`, for programs without an event loop."""

    def __init__(self, thread: LoopThread, operation: AsyncImport) -> None:
        """Drive an `AsyncImport` on the client's thread."""
        self._thread = thread
        self._operation = operation

    @property
    def name(self) -> str:
        """The operation's name; `Client.get_import` makes a handle from it again."""
        return self._operation.name

    def progress(self) -> ImportProgress:
        """Tell how far it is."""
        return self._thread.run(self._operation.progress())

    def wait(self, *, max_seconds: float | None = None) -> ImportResult:
        """Wait for its end; see `AsyncImport.wait`."""
        return self._thread.run(self._operation.wait(max_seconds=max_seconds))

    def cancel(self) -> None:
        """Stop it; what was registered stays registered."""
        self._thread.run(self._operation.cancel())
