"""The client for programs that run an event loop."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import chain
from typing import Final, TypeAlias, Unpack

from google.longrunning import operations_pb2_grpc
from google.protobuf.field_mask_pb2 import FieldMask

from copyhound import convert, status
from copyhound.batches import (
    BATCH_BYTES,
    BATCHES_AT_ONCE,
    Item,
    batch_request,
    grouped,
    new_request_id,
)
from copyhound.concurrency import run_bounded
from copyhound.errors import (
    AlreadyExistsError,
    BusyError,
    CopyhoundError,
    LocalFileError,
    MediaTooLargeError,
)
from copyhound.exports import ExportCalls
from copyhound.imports import AsyncImport
from copyhound.media import LocalMedia
from copyhound.monitoring import MonitoringCalls
from copyhound.previews import PreviewCalls
from copyhound.review import ReviewCalls
from copyhound.transport import Connected, Tls, Transport, stream
from copyhound.types import (
    Answer,
    Comparison,
    FingerprintSet,
    ImportRow,
    IndexState,
    NewWork,
    Policy,
    QueryOptions,
    Reference,
    Registration,
    Source,
    UploadProgress,
    Work,
)
from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc

_REFERENCE_NAME: Final = re.compile(r"works/[0-9a-f-]{36}/references/[0-9a-f-]{36}")

_Outcome: TypeAlias = tuple[NewWork, Registration | CopyhoundError]


_WATCH_SECONDS: Final = 1.0


class AsyncClient(Connected, MonitoringCalls, PreviewCalls, ReviewCalls, ExportCalls):
    """Registers works and asks for copies. Made and used inside one running event loop.

    Every method raises a subclass of `CopyhoundError`. What the server refuses because it is busy, and
    what cannot reach it, is repeated within the timeout; request ids keep a repeated change from being
    made twice.
    """

    def __init__(
        self, target: str, *, api_key: str | None = None, tls: Tls | None = None, timeout: float | None = None
    ) -> None:
        """Prepare the connection; the first call makes it.

        Args:
            target: The server's ``HOST:PORT``.
            api_key: None: ask anonymously, which servers allow on loopback addresses only.
            tls: None: no encryption. A key should not cross a network without it.
            timeout: Longest time that one call may take, in seconds, repetitions included; None: a minute,
                and ten seconds more for each MiB of media that it sends.

        Raises:
            LocalFileError: If a PEM file of `tls` cannot be read.
        """
        self._transport = Transport(target, api_key=api_key, tls=tls, timeout=timeout)
        self._works = work_pb2_grpc.WorkServiceStub(self._transport.channel)
        self._matches = match_pb2_grpc.MatchServiceStub(self._transport.channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._transport.channel)
        self._use(self._transport)
        self._show(self._transport)
        self._use_review(self._transport)
        self._max_inline_bytes: int | None = None

    # Works

    async def register(
        self,
        media: Source,
        *,
        owner: str,
        external_id: str | None = None,
        title: str = "",
        labels: Mapping[str, str] | None = None,
        policy: Policy | None = None,
        filename: str = "",
        progress: Callable[[UploadProgress], None] | None = None,
    ) -> Work:
        """Register a work with its media, of any size, and wait until it can be found.

        Either both come to be or neither. If the owner has a work with this external id that holds this
        very file, nothing changes and that work is returned: repeating is safe.

        Args:
            media: Path, bytes or seekable binary file object.
            owner: Who owns the work, 1 to 128 characters.
            external_id: The owner's own id, unique for the owner; None: none.
            title: For people.
            labels: Free labels.
            policy: What to do with copies; None: block, everywhere, no licences.
            filename: The name to keep instead of the file's own.
            progress: Called about once a second, in the client's event loop, with how far it has come.

        Raises:
            AlreadyExistsError: If the owner's work with this external id does not hold this file; add the
                file to it with `add_reference`.
            UnreadableMediaError: If the server cannot read the media.
        """
        new = NewWork(media, owner, external_id, title, labels or {}, policy, filename)
        local = LocalMedia.of(media, filename)
        return (await self._register(new, local, progress, add_to_existing=False)).work

    async def register_many(
        self,
        works: Iterable[NewWork],
        *,
        add_to_existing: bool = False,
        progress: Callable[[NewWork, UploadProgress], None] | None = None,
    ) -> AsyncGenerator[tuple[NewWork, Registration | CopyhoundError], None]:
        """Register many works, and yield what became of each as they finish, in no fixed order.

        Small media travel together, large ones by themselves; one bad item never sinks the others.

        Args:
            works: Taken bit by bit as the server keeps up.
            add_to_existing: If the owner has a work with this external id that does not hold the file, add
                the file to that work instead of failing with `AlreadyExistsError`.
            progress: Called about once a second for each media item that travels by itself, in the client's
                event loop, with how far it has come.

        Yields:
            Each work with its registration, or with the error that kept it from being registered.
        """

        async def register_group(group: list[Item]) -> list[_Outcome]:
            return await self._register_group(group, progress, add_to_existing=add_to_existing)

        limit = min(BATCH_BYTES, await self._inline_limit())
        async for outcomes in run_bounded(register_group, grouped(works, limit), BATCHES_AT_ONCE):
            for outcome in outcomes:
                yield outcome

    async def add_reference(self, work: str, media: Source, *, filename: str = "") -> Registration:
        """Add a media item to a work, and wait until it can be found.

        Args:
            work: ``works/{uuid}``.
            media: Path, bytes or seekable binary file object.
            filename: The name to keep instead of the file's own.
        """
        return await self._upload(
            work_pb2.UploadReferenceRequest.Header(work=work), LocalMedia.of(media, filename)
        )

    async def get_work(self, name: str) -> Work:
        """Return the work ``works/{uuid}`` with its references."""
        request = work_pb2.GetWorkRequest(name=name)
        return convert.work_from_message(await self._unary(self._works.GetWork, request))

    async def works(
        self, *, owner: str = "", external_id: str = "", page_size: int = 0
    ) -> AsyncGenerator[Work, None]:
        """Yield works, oldest first, without their references.

        Args:
            owner: Only works of this owner; empty: all that the key may see.
            external_id: Only the work with this external id; empty: all.
            page_size: Works that are fetched at a time, 1 to 1,000; 0: 100.
        """
        request = work_pb2.ListWorksRequest(owner=owner, external_id=external_id, page_size=page_size)
        while True:
            page = await self._unary(self._works.ListWorks, request)
            for message in page.works:
                yield convert.work_from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def update_work(
        self,
        name: str,
        *,
        external_id: str | None = None,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        policy: Policy | None = None,
        etag: str = "",
    ) -> Work:
        """Change a work; None leaves a field as it is.

        Args:
            name: ``works/{uuid}``.
            external_id: Empty: none from now on.
            title: New title.
            labels: Instead of all labels that it had.
            policy: Instead of the policy that it had.
            etag: Refuse with `StaleError` unless the work still has it; empty: no check.
        """
        changes = {"external_id": external_id, "title": title, "labels": labels, "policy": policy}
        request = work_pb2.UpdateWorkRequest(
            work=work_pb2.Work(
                name=name,
                external_id=external_id or "",
                title=title or "",
                labels=labels or {},
                policy=convert.policy_to_message(policy) if policy else None,
                etag=etag,
            ),
            update_mask=FieldMask(paths=[path for path, value in changes.items() if value is not None]),
            request_id=new_request_id(),
        )
        if not request.update_mask.paths:
            return await self.get_work(name)
        return convert.work_from_message(await self._unary(self._works.UpdateWork, request))

    async def delete_work(self, name: str, *, etag: str = "") -> int:
        """Delete a work and erase its fingerprints: no later query finds it.

        Args:
            name: ``works/{uuid}``.
            etag: Refuse with `StaleError` unless the work still has it; empty: no check.

        Returns:
            Sequence number of the deletion.
        """
        request = work_pb2.DeleteWorkRequest(name=name, etag=etag, request_id=new_request_id())
        return (await self._unary(self._works.DeleteWork, request)).sequence

    async def import_works(self, rows: Iterable[ImportRow]) -> AsyncImport:
        """Start an import of files that lie below the server's import folder, at most 100,000."""
        request = work_pb2.ImportWorksRequest(
            items=[work_pb2.ImportItem(work=convert.new_work_to_message(row), path=row.path) for row in rows],
            request_id=new_request_id(),
        )
        operation = await self._unary(self._works.ImportWorks, request)
        return AsyncImport(self._transport, self._operations, operation.name)

    def get_import(self, name: str) -> AsyncImport:
        """Return the handle of an import that was started before, by its operation's name."""
        return AsyncImport(self._transport, self._operations, name)

    # Questions

    async def match(
        self, /, media: Source, *, filename: str = "", request_id: str = "", **options: Unpack[QueryOptions]
    ) -> Answer:
        """Ask whether media, of any size, holds a copy of something registered.

        Args:
            media: Path, bytes or seekable binary file object.
            filename: The name to send instead of the file's own.
            request_id: Comes back in the answer and in the server's log; at most 64 characters.
            options: How to answer; see `QueryOptions`.
        """
        local = LocalMedia.of(media, filename)
        how = convert.options_to_message(**options)
        if local.size <= await self._inline_limit():
            content = await asyncio.to_thread(local.read)
            request = match_pb2.MatchRequest(
                media=fingerprint_pb2.Media(content=content, filename=local.filename),
                options=how,
                request_id=request_id,
            )
            return convert.answer_from_message(await self._unary(self._matches.Match, request, local.size))
        header = match_pb2.MatchStreamRequest(
            header=match_pb2.MatchStreamRequest.Header(
                filename=local.filename, options=how, request_id=request_id
            )
        )

        async def send(seconds: float) -> match_pb2.MatchResponse:
            call = self._matches.MatchStream(timeout=seconds, metadata=self._transport.metadata)
            chunks = (match_pb2.MatchStreamRequest(chunk=chunk) for chunk in local.chunks())
            return await stream(call, chain([header], chunks))

        return convert.answer_from_message(await self._transport.call(send, local.size))

    async def match_many(
        self, /, media: Iterable[Source], *, concurrency: int = 8, **options: Unpack[QueryOptions]
    ) -> AsyncGenerator[tuple[Source, Answer | CopyhoundError], None]:
        """Ask about many media items, and yield each with its answer as they finish, in no fixed order.

        Args:
            media: Taken bit by bit as the server keeps up.
            concurrency: Questions under way at a time.
            options: How to answer; see `QueryOptions`.

        Yields:
            Each item with its answer, or with the error that kept it from being answered.
        """

        async def ask(source: Source) -> tuple[Source, Answer | CopyhoundError]:
            try:
                return source, await self.match(source, **options)
            except CopyhoundError as error:
                return source, error

        async for outcome in run_bounded(ask, media, concurrency):
            yield outcome

    async def match_fingerprints(
        self, /, fingerprints: FingerprintSet, *, request_id: str = "", **options: Unpack[QueryOptions]
    ) -> Answer:
        """As `match`, by fingerprints alone: the content need not leave the house."""
        request = match_pb2.MatchRequest(
            fingerprints=convert.fingerprints_to_message(fingerprints),
            options=convert.options_to_message(**options),
            request_id=request_id,
        )
        return convert.answer_from_message(await self._unary(self._matches.Match, request))

    async def match_sha256(
        self, /, sha256: bytes, *, request_id: str = "", **options: Unpack[QueryOptions]
    ) -> Answer:
        """As `match`, by the file's digest of 32 bytes: finds identical files only."""
        request = match_pb2.MatchRequest(
            sha256=sha256, options=convert.options_to_message(**options), request_id=request_id
        )
        return convert.answer_from_message(await self._unary(self._matches.Match, request))

    async def compare(
        self,
        a: Source | FingerprintSet | Reference,
        b: Source | FingerprintSet | Reference,
        *,
        modality: str | None = None,
    ) -> Comparison:
        """Explain how two media items relate, whether or not they match.

        Each may be media, fingerprints, a registered reference, or such a reference's name
        ``works/{uuid}/references/{uuid}``.

        Args:
            a: The suspect: regions and segments call it the query.
            b: The original: regions and segments call it the work.
            modality: Kind of media, such as ``image``; None: detect it.

        Raises:
            MediaTooLargeError: If both together are too large for one message.
        """
        request = match_pb2.CompareMediaRequest(
            a=await self._side(a), b=await self._side(b), modality=convert.modality_to_message(modality)
        )
        limit = await self._inline_limit()
        size = len(request.a.media.content) + len(request.b.media.content)
        if size > limit:
            raise MediaTooLargeError(
                f"both items together are larger than the {limit} bytes that the server takes in one "
                "message; register one of them and compare with its reference"
            )
        return convert.comparison_from_message(await self._unary(self._matches.CompareMedia, request, size))

    async def index_state(self) -> IndexState:
        """Tell what is indexed, up to which change, and which limits hold."""
        request = match_pb2.GetIndexStateRequest()
        return convert.index_state_from_message(await self._unary(self._matches.GetIndexState, request))

    # How it is done

    async def _inline_limit(self) -> int:
        """Most media bytes in one message; the server is asked once."""
        if self._max_inline_bytes is None:
            self._max_inline_bytes = (await self.index_state()).max_inline_bytes
        return self._max_inline_bytes

    async def _upload(
        self,
        header: work_pb2.UploadReferenceRequest.Header,
        local: LocalMedia,
        progress: Callable[[UploadProgress], None] | None = None,
    ) -> Registration:
        """Stream media to where the header says."""
        header.filename = local.filename
        header.sha256 = await asyncio.to_thread(local.sha256)
        header.request_id = new_request_id()
        first = work_pb2.UploadReferenceRequest(header=header)

        async def send(seconds: float) -> work_pb2.UploadReferenceResponse:
            call = self._works.UploadReference(timeout=seconds, metadata=self._transport.metadata)
            chunks = (work_pb2.UploadReferenceRequest(chunk=chunk) for chunk in local.chunks())
            return await stream(call, chain([first], chunks))

        async with self._watched(header.request_id, progress):
            response = await self._transport.call(send, local.size)
        return Registration(
            work=convert.work_from_message(response.work),
            reference=convert.reference_from_message(response.reference),
            already_present=response.already_present,
        )

    @asynccontextmanager
    async def _watched(
        self, request_id: str, progress: Callable[[UploadProgress], None] | None
    ) -> AsyncIterator[None]:
        """While an upload is under way, tell how far it has come, if the server can say."""

        async def watch(tell: Callable[[UploadProgress], None]) -> None:
            request = work_pb2.GetUploadProgressRequest(request_id=request_id)
            while True:
                await asyncio.sleep(_WATCH_SECONDS)
                with suppress(CopyhoundError):
                    message = await self._unary(self._works.GetUploadProgress, request)
                    tell(convert.upload_progress_from_message(message))

        watching = None if progress is None else asyncio.create_task(watch(progress))
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()

    async def _register(
        self,
        new: NewWork,
        local: LocalMedia,
        progress: Callable[[UploadProgress], None] | None = None,
        *,
        add_to_existing: bool,
    ) -> Registration:
        """Register one work."""
        header = work_pb2.UploadReferenceRequest.Header(new_work=convert.new_work_to_message(new))
        try:
            return await self._upload(header, local, progress)
        except AlreadyExistsError as error:
            return await self._existing(new, local, error, add_to_existing=add_to_existing)

    async def _existing(
        self, new: NewWork, local: LocalMedia, error: AlreadyExistsError, *, add_to_existing: bool
    ) -> Registration:
        """Find the media in the work that has its external id already, or add it there, or raise `error`."""
        if not new.external_id:
            raise error
        listed = [work async for work in self.works(owner=new.owner, external_id=new.external_id)]
        if len(listed) != 1:
            raise error
        work = await self.get_work(listed[0].name)
        sha256 = await asyncio.to_thread(local.sha256)
        for reference in work.references:
            if reference.sha256 == sha256:
                return Registration(work, reference, already_present=True)
        if not add_to_existing:
            raise error
        return await self._upload(work_pb2.UploadReferenceRequest.Header(work=work.name), local)

    async def _register_group(
        self,
        group: list[Item],
        progress: Callable[[NewWork, UploadProgress], None] | None,
        *,
        add_to_existing: bool,
    ) -> list[_Outcome]:
        """Register works that travel together."""

        async def alone(new: NewWork, local: LocalMedia | LocalFileError) -> _Outcome:
            if isinstance(local, LocalFileError):
                return new, local
            tell = progress and partial(progress, new)
            try:
                return new, await self._register(new, local, tell, add_to_existing=add_to_existing)
            except CopyhoundError as error:
                return new, error

        async def settle(item: Item, result: work_pb2.BatchCreateWorksResponse.Result) -> _Outcome:
            if result.WhichOneof("outcome") == "work":
                work = convert.work_from_message(result.work)
                return item[0], Registration(work, work.references[0], already_present=False)
            error = status.from_status(result.error)
            if isinstance(error, AlreadyExistsError | BusyError):
                return await alone(*item)
            return item[0], error

        if len(group) == 1:
            return [await alone(*group[0])]
        try:
            request = await asyncio.to_thread(batch_request, group)
        except CopyhoundError:  # one of them is wrong: let it not sink the others
            return list(await asyncio.gather(*(alone(*item) for item in group)))
        try:
            response = await self._unary(self._works.BatchCreateWorks, request, request.ByteSize())
        except CopyhoundError as error:
            return [(new, error) for new, _ in group]
        pairs = zip(group, response.results, strict=True)
        return list(await asyncio.gather(*(settle(item, result) for item, result in pairs)))

    async def _side(self, side: Source | FingerprintSet | Reference) -> match_pb2.CompareSide:
        """One side of a comparison."""
        if isinstance(side, FingerprintSet):
            return match_pb2.CompareSide(fingerprints=convert.fingerprints_to_message(side))
        if isinstance(side, Reference):
            return match_pb2.CompareSide(reference=side.name)
        if isinstance(side, str) and _REFERENCE_NAME.fullmatch(side):
            return match_pb2.CompareSide(reference=side)
        local = LocalMedia.of(side)
        content = await asyncio.to_thread(local.read)
        return match_pb2.CompareSide(media=fingerprint_pb2.Media(content=content, filename=local.filename))
