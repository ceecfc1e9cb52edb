"""google.longrunning.Operations: how far imports are."""

import asyncio
import contextlib
from collections.abc import Iterable
from itertools import islice

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2
from google.rpc import code_pb2, status_pb2

from copyhound.v1 import work_pb2
from service.catalogue import Catalogue
from service.domain import Import, ImportRow, ImportState, RowState
from service.errors import NotFoundError
from service.imports import Importer
from service.rpc import convert, pages
from service.rpc.access import Caller, current_caller, not_found
from service.rpc.context import Context
from service.rpc.errors import row_status

_MAX_ERRORS = 1000
_DEFAULT_WAIT_SECONDS = 30.0
_MAX_WAIT_SECONDS = 86_400.0


class OperationsService(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]
    """Imports as long-running operations."""

    def __init__(self, *, catalogue: Catalogue, importer: Importer) -> None:
        """Take the parts."""
        self._catalogue = catalogue
        self._importer = importer

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        """Return an import's state."""
        del context
        return await asyncio.to_thread(self._operation, request.name, current_caller())

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, context: Context
    ) -> operations_pb2.ListOperationsResponse:
        """Return a page of imports, oldest first, without their refused rows."""
        del context
        caller = current_caller()
        size = convert.read_page_size(request.page_size, "page_size", 100)
        found = await asyncio.to_thread(
            self._catalogue.store.list_imports,
            key_id=None if caller.sees_all_imports else caller.id,
            after=pages.read_token(request.page_token, ()),
            limit=size + 1,
        )
        return operations_pb2.ListOperationsResponse(
            operations=[operation_message(item) for item in found[:size]],
            next_page_token=pages.token(found[size - 1].id, ()) if len(found) > size else "",
        )

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        """Return an import's state when it has ended, or when the time is over."""
        caller = current_caller()
        seconds = min(request.timeout.seconds + request.timeout.nanos / 1e9, _MAX_WAIT_SECONDS)
        seconds = seconds or _DEFAULT_WAIT_SECONDS
        remaining = context.time_remaining()
        if remaining is not None:
            seconds = min(seconds, remaining * 0.9)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._importer.finished:
                while not (await asyncio.to_thread(self._visible, request.name, caller)).ended:
                    await self._importer.finished.wait()
        return await asyncio.to_thread(self._operation, request.name, caller)

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, context: Context
    ) -> empty_pb2.Empty:
        """Stop an import; what it has registered stays."""
        del context
        import_id = convert.read_operation_name(request.name, "name")
        found = await asyncio.to_thread(self._visible, request.name, current_caller())
        if not found.ended:
            await self._catalogue.write(
                lambda transaction: transaction.set_import_state(import_id, ImportState.CANCELLED)
            )
            await self._importer.notify()
        return empty_pb2.Empty()

    def _visible(self, name: str, caller: Caller) -> Import:
        import_id = convert.read_operation_name(name, "name")
        with contextlib.suppress(NotFoundError):
            found = self._catalogue.store.get_import(import_id)
            if caller.sees_all_imports or found.key_id == caller.id:
                return found
        raise not_found("operation", name)

    def _operation(self, name: str, caller: Caller) -> operations_pb2.Operation:
        found = self._visible(name, caller)
        failed: Iterable[ImportRow] = ()
        if found.ended:
            failed = self._catalogue.store.failed_rows(found.id, limit=_MAX_ERRORS)
        return operation_message(found, failed)


def operation_message(found: Import, failed: Iterable[ImportRow] = ()) -> operations_pb2.Operation:
    """An import as an operation."""
    created = found.counts.get(RowState.CREATED, 0)
    skipped = found.counts.get(RowState.SKIPPED, 0)
    refused = found.counts.get(RowState.FAILED, 0)
    operation = operations_pb2.Operation(name=convert.operation_name(found.id), done=found.ended)
    operation.metadata.Pack(
        work_pb2.ImportWorksMetadata(
            total_count=sum(found.counts.values()),
            created_count=created,
            skipped_count=skipped,
            failed_count=refused,
            create_time=convert.timestamp(found.created_at),
            update_time=convert.timestamp(found.updated_at),
        )
    )
    if found.state is ImportState.CANCELLED:
        message = "the import was cancelled; the metadata tells how far it was"
        operation.error.CopyFrom(status_pb2.Status(code=code_pb2.CANCELLED, message=message))
    elif found.state is ImportState.DONE:
        operation.response.Pack(
            work_pb2.ImportWorksResponse(
                created_count=created,
                skipped_count=skipped,
                failed_count=refused,
                errors=[
                    work_pb2.ImportWorksResponse.RowError(
                        row=row.number,
                        path=row.path,
                        external_id=row.work.external_id or "",
                        error=row_status(row.reason, row.message),
                    )
                    for row in islice(failed, _MAX_ERRORS)
                ],
            )
        )
    return operation
