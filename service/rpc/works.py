"""WorkService: registering works."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from copyhound.v1 import fingerprint_pb2, work_pb2, work_pb2_grpc
from indexers import registry
from indexers.errors import DamagedMediaError, UnsupportedMediaError
from indexers.modality import Role
from service.catalogue import Catalogue
from service.domain import ImportRow, NewReference, NewWork, RowState, StoredResponse
from service.errors import (
    InvalidRequestError,
    NotFoundError,
    RequestIdReusedError,
    ServiceError,
    UnreadableMediaError,
)
from service.imports import Importer
from service.matcher import Matcher
from service.rpc import convert, pages
from service.rpc.access import Caller, current_caller
from service.rpc.context import Context
from service.rpc.errors import status_of
from service.rpc.media import MediaReader
from service.rpc.operations import operation_message
from service.rpc.uploads import Spooler
from service.sandbox import ReadMedia
from service.store import Transaction

M = TypeVar("M", bound=Message)

_MAX_INLINE_REFERENCES = 16
_MAX_IMPORT_ROWS = 100_000


class WorkService(work_pb2_grpc.WorkServiceServicer):
    """See proto/copyhound/v1/work.proto, which documents every method."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        matcher: Matcher,
        media: MediaReader,
        spooler: Spooler,
        importer: Importer,
    ) -> None:
        """Take the parts."""
        self._catalogue = catalogue
        self._matcher = matcher
        self._media = media
        self._spooler = spooler
        self._importer = importer

    async def CreateWork(self, request: work_pb2.CreateWorkRequest, context: Context) -> work_pb2.Work:
        """Create a work with the references that came along."""
        del context
        return await self._create(request, current_caller())

    async def BatchCreateWorks(
        self, request: work_pb2.BatchCreateWorksRequest, context: Context
    ) -> work_pb2.BatchCreateWorksResponse:
        """Create each, or say why not."""
        del context
        caller = current_caller()
        items = request.requests
        if not 1 <= len(items) <= convert.MAX_BATCH:
            raise InvalidRequestError("requests", f"send 1 to {convert.MAX_BATCH}, not {len(items)}")
        caller.charge(requests=len(items) - 1)  # the call itself was charged already

        async def one(
            item: work_pb2.CreateWorkRequest,
        ) -> work_pb2.BatchCreateWorksResponse.Result:
            try:
                return work_pb2.BatchCreateWorksResponse.Result(work=await self._create(item, caller))
            except ServiceError as error:
                return work_pb2.BatchCreateWorksResponse.Result(error=status_of(error))

        results = await asyncio.gather(*(one(item) for item in items))
        return work_pb2.BatchCreateWorksResponse(results=results)

    async def GetWork(self, request: work_pb2.GetWorkRequest, context: Context) -> work_pb2.Work:
        """Return a work with its references."""
        del context
        caller = current_caller()
        work_id = convert.read_work_name(request.name, "name")
        work = await asyncio.to_thread(self._catalogue.store.get_work, work_id)
        if caller.owner not in (None, work.owner):
            raise _not_found(request.name)
        return convert.work_message(work)

    async def ListWorks(
        self, request: work_pb2.ListWorksRequest, context: Context
    ) -> work_pb2.ListWorksResponse:
        """Return a page of works."""
        del context
        caller = current_caller()
        owner = convert.read_text(request.owner, "owner", 128)
        external_id = convert.read_text(request.external_id, "external_id", 255)
        if caller.owner is not None and owner not in ("", caller.owner):
            return work_pb2.ListWorksResponse()
        size = convert.read_page_size(request.page_size, "page_size", 100)
        filters = (owner, external_id)
        works = await asyncio.to_thread(
            self._catalogue.store.list_works,
            owner=caller.owner or owner or None,
            external_id=external_id or None,
            after=pages.read_token(request.page_token, filters),
            limit=size + 1,
        )
        return work_pb2.ListWorksResponse(
            works=[convert.work_message(work) for work in works[:size]],
            next_page_token=pages.token(works[size - 1].id, filters) if len(works) > size else "",
        )

    async def UpdateWork(self, request: work_pb2.UpdateWorkRequest, context: Context) -> work_pb2.Work:
        """Change the fields that the mask names."""
        del context
        caller = current_caller()
        work_id = convert.read_work_name(request.work.name, "work.name")
        change = convert.read_work_change(request.work, request.update_mask.paths)
        revision = convert.read_etag(request.work.etag, "work.etag")

        def update(transaction: Transaction) -> work_pb2.Work:
            _check_owner(transaction, work_id, caller)
            return convert.work_message(transaction.update_work(work_id, change, revision=revision))

        return await self._write_once(caller, request.request_id, _digest(request), work_pb2.Work, update)

    async def DeleteWork(
        self, request: work_pb2.DeleteWorkRequest, context: Context
    ) -> work_pb2.DeleteWorkResponse:
        """Delete a work and erase its fingerprints."""
        del context
        caller = current_caller()
        work_id = convert.read_work_name(request.name, "name")
        revision = convert.read_etag(request.etag, "etag")

        def delete(transaction: Transaction) -> work_pb2.DeleteWorkResponse:
            _check_owner(transaction, work_id, caller)
            return work_pb2.DeleteWorkResponse(sequence=transaction.delete_work(work_id, revision=revision))

        return await self._write_once(
            caller, request.request_id, _digest(request), work_pb2.DeleteWorkResponse, delete
        )

    async def UploadReference(
        self, request_iterator: AsyncIterator[work_pb2.UploadReferenceRequest], context: Context
    ) -> work_pb2.UploadReferenceResponse:
        """Take a reference of any size; create its work where the header says so."""
        del context
        caller = current_caller()
        upload = await self._spooler.receive(request_iterator, caller, check_head)
        with upload.media:
            header = upload.first.header
            wanted = convert.read_digest(header.sha256, "header.sha256")
            if wanted not in (None, upload.sha256):
                raise InvalidRequestError(
                    "header.sha256", "does not fit what arrived: the file changed on its way; send it again"
                )
            add = _target(header, caller)
            filename = convert.read_text(header.filename, "header.filename", 255)
            modality = convert.read_modality(header.modality, "header.modality")
            read = await self._matcher.read(upload.media, Role.REFERENCE, modality)
        reference = _reference(filename, read)
        return await self._write_once(
            caller,
            header.request_id,
            _digest(header, upload.sha256),
            work_pb2.UploadReferenceResponse,
            lambda transaction: add(transaction, reference),
        )

    async def ImportWorks(
        self, request: work_pb2.ImportWorksRequest, context: Context
    ) -> operations_pb2.Operation:
        """Begin an import; it goes on by itself, and after a restart where it was."""
        del context
        caller = current_caller()
        if not 1 <= len(request.items) <= _MAX_IMPORT_ROWS:
            raise InvalidRequestError(
                "items", f"send 1 to {_MAX_IMPORT_ROWS:,} rows, not {len(request.items):,}"
            )
        self._importer.check_enabled()
        rows = [_import_row(i, item, caller) for i, item in enumerate(request.items)]
        key_id = None if caller.key is None else caller.key.id
        operation = await self._write_once(
            caller,
            request.request_id,
            _digest(request),
            operations_pb2.Operation,
            lambda transaction: operation_message(transaction.create_import(key_id, rows)),
        )
        self._importer.wake()
        return operation

    async def _create(self, request: work_pb2.CreateWorkRequest, caller: Caller) -> work_pb2.Work:
        new = convert.read_new_work(request.work, "work")
        caller.may_write_for(new.owner)
        if len(request.media) + len(request.fingerprints) > _MAX_INLINE_REFERENCES:
            raise InvalidRequestError(
                "media", f"at most {_MAX_INLINE_REFERENCES} references; add more by UploadReference"
            )
        given = [
            convert.reference_of_query(
                convert.read_fingerprints(message, f"fingerprints[{i}]"), f"fingerprints[{i}]"
            )
            for i, message in enumerate(request.fingerprints)
        ]
        references = [*await self._read_all(request.media, caller), *given]
        return await self._write_once(
            caller,
            request.request_id,
            _digest(request),
            work_pb2.Work,
            lambda transaction: convert.work_message(transaction.create_work(new, references)),
        )

    async def _read_all(self, media: Sequence[fingerprint_pb2.Media], caller: Caller) -> list[NewReference]:
        names = [
            convert.read_text(item.filename, f"media[{i}].filename", 255) for i, item in enumerate(media)
        ]
        self._media.check_size(media)
        reads = await asyncio.gather(
            *(
                self._media.read(item, Role.REFERENCE, None, f"media[{i}]", caller)
                for i, item in enumerate(media)
            )
        )
        return [_reference(name, read) for name, read in zip(names, reads, strict=True)]

    async def _write_once(
        self,
        caller: Caller,
        request_id: str,
        digest: bytes,
        kind: type[M],
        operation: Callable[[Transaction], M],
    ) -> M:
        """Commit an operation; where a request id is given, at most once."""
        request_id = convert.read_request_id(request_id)
        if not request_id:
            return await self._catalogue.write(operation)

        def once(transaction: Transaction) -> M:
            kept = transaction.find_response(caller.id, request_id)
            if kept is None:
                response = operation(transaction)
                stored = StoredResponse(digest, response.SerializeToString())
                transaction.keep_response(caller.id, request_id, stored)
                return response
            if kept.request_sha256 != digest:
                raise RequestIdReusedError(
                    "request_id: was used for another request; make a new one for each request"
                )
            return kind.FromString(kept.response)

        return await self._catalogue.write(once)


def check_head(head: bytes) -> None:
    """Refuse a file that is empty or of unknown kind by its first bytes, before the rest of it arrives."""
    try:
        registry.detect(head)
    except DamagedMediaError as error:
        raise UnreadableMediaError("MEDIA_DAMAGED", str(error)) from error
    except UnsupportedMediaError as error:
        raise UnreadableMediaError("MEDIA_UNSUPPORTED", str(error)) from error


def _target(
    header: work_pb2.UploadReferenceRequest.Header, caller: Caller
) -> Callable[[Transaction, NewReference], work_pb2.UploadReferenceResponse]:
    """What an upload's header wants done with the reference."""
    kind = header.WhichOneof("target")
    if kind == "work":
        work_id = convert.read_work_name(header.work, "header.work")

        def add(transaction: Transaction, reference: NewReference) -> work_pb2.UploadReferenceResponse:
            _check_owner(transaction, work_id, caller)
            added, present = transaction.add_reference(work_id, reference)
            return work_pb2.UploadReferenceResponse(
                work=convert.work_message(replace(transaction.get_work(work_id), references=(added,))),
                reference=convert.reference_message(added),
                already_present=present,
            )

        return add
    if kind == "new_work":
        new = convert.read_new_work(header.new_work, "header.new_work")
        caller.may_write_for(new.owner)

        def create(transaction: Transaction, reference: NewReference) -> work_pb2.UploadReferenceResponse:
            work = convert.work_message(transaction.create_work(new, [reference]))
            return work_pb2.UploadReferenceResponse(work=work, reference=work.references[0])

        return create
    raise InvalidRequestError("header.target", "name a work, or describe a new one")


def _check_owner(transaction: Transaction, work_id: UUID, caller: Caller) -> None:
    """Hide the works of others.

    Raises:
        NotFoundError: If the work is not there, or not the caller's.
    """
    if caller.owner not in (None, transaction.get_work(work_id).owner):
        raise _not_found(convert.work_name(work_id))


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(f"there is no work {name}; it may have been deleted", name=name)


def _import_row(number: int, item: work_pb2.ImportItem, caller: Caller) -> ImportRow:
    """A row to be imported, or, where it is wrong, one that failed already."""
    field = f"items[{number}]"
    try:
        work = convert.read_new_work(item.work, f"{field}.work")
        caller.may_write_for(work.owner)
        return ImportRow(number, convert.read_text(item.path, f"{field}.path", 4096), work)
    except ServiceError as error:
        owner, external_id = _shown(item.work.owner, 128), _shown(item.work.external_id, 255)
        named = NewWork(owner=owner, external_id=external_id or None)
        return ImportRow(number, _shown(item.path, 4096), named, RowState.FAILED, error.reason, str(error))


def _shown(text: str, most: int) -> str:
    """What of a wrong text can be kept to be shown."""
    return "".join(character for character in text[:most] if character.isprintable())


def _reference(filename: str, read: ReadMedia) -> NewReference:
    return NewReference(filename, read.modality, read.sha256, read.byte_count, read.fingerprints)


def _digest(request: Message, *more: bytes) -> bytes:
    digest = hashlib.sha256(request.SerializeToString(deterministic=True))
    for part in more:
        digest.update(part)
    return digest.digest()
