"""WorkService: registering works."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import BinaryIO, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from google.longrunning import operations_pb2
from google.rpc import status_pb2

from copyhound.v1 import fingerprint_pb2, work_pb2, work_pb2_grpc
from indexers import containers, registry
from indexers.errors import DamagedMediaError, UnsupportedMediaError
from indexers.modality import Role
from service.catalogue import Catalogue
from service.containers import new_reference, refuse_closed
from service.domain import (
    CONTAINER,
    ImportRow,
    NewReference,
    NewWork,
    RowState,
    StoredResponse,
    Work,
)
from service.errors import (
    InvalidRequestError,
    NotFoundError,
    ServiceError,
    UnreadableMediaError,
)
from service.imports import Importer
from service.matcher import Matcher
from service.previews import PreviewMaker
from service.rpc import batches, convert, pages
from service.rpc.access import Caller, current_caller, not_found
from service.rpc.context import Context
from service.rpc.media import MediaReader, unblocked
from service.rpc.once import Once, digest_of_request
from service.rpc.operations import operation_message
from service.rpc.together import Batch, Together, Wait, at_once
from service.rpc.underway import UploadsUnderWay
from service.rpc.uploads import Spooler, first_message
from service.sandbox import ReadMedia
from service.store import Transaction

T = TypeVar("T")

_MAX_INLINE_REFERENCES = 16
_MAX_IMPORT_ROWS = 100_000
_TOGETHER = 32
"""Items of batches that are made durable together: as many as clients send in one."""
_TOGETHER_SECONDS = 1.0
"""Longest that one waits for others."""


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
        previews: PreviewMaker,
        parallel: int,
    ) -> None:
        """Take the parts; read at most `parallel` media of a call, or of a caller's batches, at a time."""
        self._catalogue = catalogue
        self._matcher = matcher
        self._media = media
        self._spooler = spooler
        self._importer = importer
        self._previews = previews
        self._parallel = parallel
        self._once = Once(catalogue)
        self._under_way = UploadsUnderWay()
        self._together = Together(most=_TOGETHER, seconds=_TOGETHER_SECONDS)
        self._slots = WeakValueDictionary[str, asyncio.Semaphore]()

    async def CreateWork(self, request: work_pb2.CreateWorkRequest, context: Context) -> work_pb2.Work:
        """Create a work with the references that came along."""
        del context
        caller = current_caller()
        kept = await self._once.kept(caller, [request.request_id])
        return await self._create(request, caller, asyncio.Semaphore(self._parallel), kept, at_once)

    async def BatchCreateWorks(
        self, request: work_pb2.BatchCreateWorksRequest, context: Context
    ) -> work_pb2.BatchCreateWorksResponse:
        """Create each, or say why not."""
        del context
        caller = current_caller()
        items = request.requests
        batches.admit(items, caller)
        slots = self._slots_of(caller)
        kept = await self._once.kept(caller, {item.request_id for item in items})
        batch = Batch(self._together, len(items))

        async def create(item: work_pb2.CreateWorkRequest) -> work_pb2.Work:
            with batch.item() as wait:
                return await self._create(item, caller, slots, kept, wait)

        # Those that wait for others leave the workers to those that are to be read.
        answers = await batches.answer_each(items, create, parallel=self._parallel + self._together.most)
        result = work_pb2.BatchCreateWorksResponse.Result
        return work_pb2.BatchCreateWorksResponse(
            results=[
                result(error=answer) if isinstance(answer, status_pb2.Status) else result(work=answer)
                for answer in answers
            ]
        )

    async def GetWork(self, request: work_pb2.GetWorkRequest, context: Context) -> work_pb2.Work:
        """Return a work with its references."""
        del context
        caller = current_caller()
        work_id = convert.read_work_name(request.name, "name")
        work = await asyncio.to_thread(_visible, self._catalogue.store.get_work, work_id, caller)
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
            owner=(owner or None) if caller.owner is None else caller.owner,
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
            _visible(transaction.get_work, work_id, caller)
            return convert.work_message(transaction.update_work(work_id, change, revision=revision))

        return await self._once.write(
            caller, request.request_id, digest_of_request(request), work_pb2.Work, update
        )

    async def DeleteWork(
        self, request: work_pb2.DeleteWorkRequest, context: Context
    ) -> work_pb2.DeleteWorkResponse:
        """Delete a work and erase its fingerprints."""
        del context
        caller = current_caller()
        work_id = convert.read_work_name(request.name, "name")
        revision = convert.read_etag(request.etag, "etag")

        def delete(transaction: Transaction) -> work_pb2.DeleteWorkResponse:
            _visible(transaction.get_work, work_id, caller)
            return work_pb2.DeleteWorkResponse(sequence=transaction.delete_work(work_id, revision=revision))

        return await self._once.write(
            caller, request.request_id, digest_of_request(request), work_pb2.DeleteWorkResponse, delete
        )

    async def UploadReference(
        self, request_iterator: AsyncIterator[work_pb2.UploadReferenceRequest], context: Context
    ) -> work_pb2.UploadReferenceResponse:
        """Take a reference of any size; create its work where the header says so."""
        del context
        caller = current_caller()
        header = (await first_message(request_iterator)).header
        wanted = convert.read_digest(header.sha256, "header.sha256")
        filename = convert.read_text(header.filename, "header.filename", 255)
        modality = convert.read_modality(header.modality, "header.modality")
        request_id = convert.read_request_id(header.request_id)
        work_id, add = _target(header, caller)
        wanted_previews = not header.new_work.policy.no_previews
        if work_id is not None and not await self._once.kept(caller, [request_id]):
            work = await asyncio.to_thread(_visible, self._catalogue.store.get_work, work_id, caller)
            wanted_previews = work.policy.previews
        with contextlib.ExitStack() as stack:
            under_way = stack.enter_context(self._under_way.begun(caller, request_id))
            head = partial(check_head, modality)
            upload = await self._spooler.receive(request_iterator, caller, head, under_way.arrived)
            stack.enter_context(upload.media)
            if wanted not in (None, upload.sha256):
                raise InvalidRequestError(
                    "header.sha256", "does not fit what arrived: the file changed on its way; send it again"
                )
            digest = digest_of_request(header, upload.sha256)
            kind = work_pb2.UploadReferenceResponse
            kept = await self._once.kept(caller, [request_id])
            answer = await self._once.first_answer(kept.get(request_id), digest, kind)
            if answer is not None:
                return answer
            found = await self._matcher.read(
                upload.media, Role.REFERENCE, modality, under_way.reading, show=wanted_previews
            )
            read = upload.vouched(found)
            async with self._previews.kept(upload.media, read, wanted=wanted_previews) as previews:
                reference = new_reference(filename, read, previews)
                return await self._once.write(
                    caller, request_id, digest, kind, lambda transaction: add(transaction, reference)
                )

    async def GetUploadProgress(
        self, request: work_pb2.GetUploadProgressRequest, context: Context
    ) -> work_pb2.UploadProgress:
        """Tell how far an upload has come."""
        del context
        request_id = convert.read_request_id(request.request_id)
        if not request_id:
            raise InvalidRequestError("request_id", "name the upload: the request id in its header")
        found = self._under_way.find(current_caller(), request_id)
        return work_pb2.UploadProgress(
            byte_count=found.byte_count,
            read_seconds=found.reading.seconds,
            read_parts=found.reading.parts,
            part_count=found.reading.part_count,
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
        caller.charge_items(len(request.items))
        rows = [_import_row(i, item, caller) for i, item in enumerate(request.items)]
        failed = [row for row in rows if row.state is RowState.FAILED]
        key_id = None if caller.key is None else caller.key.id
        operation = await self._once.write(
            caller,
            request.request_id,
            digest_of_request(request),
            operations_pb2.Operation,
            lambda transaction: operation_message(transaction.create_import(key_id, rows), failed),
        )
        self._importer.wake()
        return operation

    def _slots_of(self, caller: Caller) -> asyncio.Semaphore:
        """Let media of a caller's batches be read in the order in which they came.

        So batches end one after another, and workers go on with the next while one is made durable.
        """
        return self._slots.setdefault(caller.id, asyncio.Semaphore(self._parallel))

    async def _create(
        self,
        request: work_pb2.CreateWorkRequest,
        caller: Caller,
        slots: asyncio.Semaphore,
        kept: Mapping[str, StoredResponse],
        wait: Wait,
    ) -> work_pb2.Work:
        new = convert.read_new_work(request.work, "work")
        caller.may_write_for(new.owner)
        if len(request.media) + len(request.fingerprints) > _MAX_INLINE_REFERENCES:
            raise InvalidRequestError(
                "media" if len(request.media) > _MAX_INLINE_REFERENCES else "fingerprints",
                f"send at most {_MAX_INLINE_REFERENCES} references; add more by UploadReference",
            )
        request_id = convert.read_request_id(request.request_id)
        digest = (
            await unblocked(request.ByteSize(), lambda: digest_of_request(request)) if request_id else b""
        )
        answer = await self._once.first_answer(kept.get(request_id), digest, work_pb2.Work)
        if answer is not None:
            return answer
        given = [
            convert.read_reference(message, f"fingerprints[{i}]")
            for i, message in enumerate(request.fingerprints)
        ]
        async with self._read_all(request.media, caller, slots, wait, wanted=new.policy.previews) as read:
            return await self._once.write(
                caller,
                request_id,
                digest,
                work_pb2.Work,
                lambda transaction: convert.work_message(transaction.create_work(new, [*read, *given])),
            )

    @contextlib.asynccontextmanager
    async def _read_all(
        self,
        media: Sequence[fingerprint_pb2.Media],
        caller: Caller,
        slots: asyncio.Semaphore,
        wait: Wait,
        *,
        wanted: bool,
    ) -> AsyncIterator[list[NewReference]]:
        """Read media, wait, and keep their previews; what is registered of them is committed inside."""
        names = [
            convert.read_text(item.filename, f"media[{i}].filename", 255) for i, item in enumerate(media)
        ]
        self._media.check_size(media)

        async with contextlib.AsyncExitStack() as stack:

            async def read(i: int, item: fingerprint_pb2.Media) -> tuple[BinaryIO, ReadMedia]:
                async with slots:
                    upload = await self._media.take(item, f"media[{i}]", caller)
                    stack.enter_context(upload.media)
                    found = await self._matcher.read(upload.media, Role.REFERENCE, show=wanted)
                    return upload.media, upload.vouched(found)

            async def keep(name: str, file: BinaryIO, found: ReadMedia) -> NewReference:
                kept = self._previews.kept(file, found, wanted=wanted)
                return new_reference(name, found, await stack.enter_async_context(kept))

            found = await _all_of([read(i, item) for i, item in enumerate(media)])
            await wait()
            yield await _all_of([keep(name, *one) for name, one in zip(names, found, strict=True)])


async def _all_of(work: Sequence[Awaitable[T]]) -> list[T]:
    """Do all of it at the same time, to its end; raise the first error if there is one."""
    if len(work) == 1:  # as it mostly is: without a task of its own
        return [await work[0]]
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


def check_head(modality: str | None, head: bytes) -> None:
    """Refuse a file by its first bytes, before the rest of it arrives: if it is empty, or of unknown kind.

    Containers pass: what is in them is seen when all of it is there. Where the caller names the kind, as for
    the sound of a film, reading it will tell.
    """
    if modality in (None, CONTAINER):
        refuse_closed(head)
    if head and (modality is not None or containers.kind_of(head) is not None):
        return
    try:
        registry.detect(head)
    except DamagedMediaError as error:
        raise UnreadableMediaError("MEDIA_DAMAGED", str(error)) from error
    except UnsupportedMediaError as error:
        raise UnreadableMediaError("MEDIA_UNSUPPORTED", str(error)) from error


def _target(
    header: work_pb2.UploadReferenceRequest.Header, caller: Caller
) -> tuple[UUID | None, Callable[[Transaction, NewReference], work_pb2.UploadReferenceResponse]]:
    """The existing work that an upload goes to, if it does, and what is to be done with the reference."""
    kind = header.WhichOneof("target")
    if kind == "work":
        work_id = convert.read_work_name(header.work, "header.work")

        def add(transaction: Transaction, reference: NewReference) -> work_pb2.UploadReferenceResponse:
            _visible(transaction.get_work, work_id, caller)
            added, present = transaction.add_reference(work_id, reference)
            return work_pb2.UploadReferenceResponse(
                work=convert.work_message(replace(transaction.get_work(work_id), references=(added,))),
                reference=convert.reference_message(added),
                already_present=present,
            )

        return work_id, add
    if kind == "new_work":
        new = convert.read_new_work(header.new_work, "header.new_work")
        caller.may_write_for(new.owner)

        def create(transaction: Transaction, reference: NewReference) -> work_pb2.UploadReferenceResponse:
            work = convert.work_message(transaction.create_work(new, [reference]))
            return work_pb2.UploadReferenceResponse(work=work, reference=work.references[0])

        return None, create
    raise InvalidRequestError("header.target", "name a work, or describe a new one")


def _visible(get_work: Callable[[UUID], Work], work_id: UUID, caller: Caller) -> Work:
    """A work that the caller may see; those of others are as if they were not there.

    Raises:
        NotFoundError: If the work is not there, or not the caller's.
    """
    with contextlib.suppress(NotFoundError):
        work = get_work(work_id)
        if caller.owner in (None, work.owner):
            return work
    raise not_found("work", convert.work_name(work_id))


def _import_row(number: int, item: work_pb2.ImportItem, caller: Caller) -> ImportRow:
    """A row to be imported, or, where it is wrong, one that failed already."""
    field = f"items[{number}]"
    try:
        work = convert.read_new_work(item.work, f"{field}.work")
        caller.may_write_for(work.owner)
        return ImportRow(number, convert.read_text(item.path, f"{field}.path", 4096), work)
    except ServiceError as error:
        named = NewWork(owner="", external_id=_printable(item.work.external_id[:255]) or None)
        path = _printable(item.path[:4096])
        return ImportRow(number, path, named, RowState.FAILED, error.reason, str(error))


def _printable(text: str) -> str:
    """A text as an error may show it, and any database store it."""
    return "".join(character if character.isprintable() else "�" for character in text)
