"""A small server in memory that keeps the contract as far as the client's tests need it.

Media is a copy of a reference if both start with the same four bytes; media that starts with ``bad`` is
damaged. What the client sent is recorded, and failures can be ordered in advance.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn
from uuid import uuid4

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import copyhound
from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc

MAX_INLINE_BYTES = 1_000_000


def _make_status(
    code: int, message: str, reason: str = "", *, field: str = "", retry_after: float = 0.0
) -> status_pb2.Status:
    """A status as the real server makes them."""
    status = status_pb2.Status(code=code, message=message)
    details: list[Any] = []
    if reason:
        details.append(error_details_pb2.ErrorInfo(domain="copyhound", reason=reason))
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_after:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(retry_after * 1e9))
        details.append(retry)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


class RefusedError(Exception):
    """The fake refuses a request."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


@dataclass
class State:
    """What the fake server holds, and what it saw."""

    target: str = ""
    works: dict[str, work_pb2.Work] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    patience: list[float] = field(default_factory=list)
    asked_how_far: threading.Event = field(default_factory=threading.Event)
    failures: list[status_pb2.Status] = field(default_factory=list)
    polls_until_done: int = 2
    refused: type[RefusedError] = RefusedError
    sequence: int = 0

    def begin(self, name: str, request: Any, context: grpc.ServicerContext) -> None:
        """Record a call; fail if that was ordered."""
        self.calls.append((name, request))
        self.metadata.append(dict(context.invocation_metadata()))
        self.patience.append(context.time_remaining())
        if self.failures:
            self.refuse(self.failures.pop(0), context)

    def refuse(self, status: status_pb2.Status, context: grpc.ServicerContext) -> NoReturn:
        """End the call with a status."""
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError

    def named(self, name: str) -> list[Any]:
        """The requests of one method."""
        return [request for method, request in self.calls if method == name]

    def create(self, new: work_pb2.Work) -> work_pb2.Work:
        """Add a work without media."""
        if not new.owner:
            raise RefusedError(
                _make_status(
                    code_pb2.INVALID_ARGUMENT,
                    "work.owner: is empty; name the owner",
                    "INVALID_REQUEST",
                    field="work.owner",
                )
            )
        twins = [
            w for w in list(self.works.values()) if (w.owner, w.external_id) == (new.owner, new.external_id)
        ]
        if new.external_id and twins:
            raise RefusedError(
                _make_status(code_pb2.ALREADY_EXISTS, "the external id is taken", "ALREADY_EXISTS")
            )
        work = work_pb2.Work()
        work.CopyFrom(new)
        work.name = f"works/{uuid4()}"
        self.sequence += 1
        work.sequence = self.sequence
        work.etag = str(self.sequence)
        return work

    def add(self, work: work_pb2.Work, content: bytes, filename: str) -> tuple[work_pb2.Reference, bool]:
        """Add media to a work; True if it was there."""
        if content.startswith(b"bad"):
            raise RefusedError(
                _make_status(code_pb2.INVALID_ARGUMENT, "the media is damaged", "MEDIA_DAMAGED")
            )
        sha256 = hashlib.sha256(content).digest()
        for reference in work.references:
            if reference.sha256 == sha256:
                return reference, True
        reference = work.references.add(
            name=f"{work.name}/references/{uuid4()}",
            filename=filename,
            modality=fingerprint_pb2.MODALITY_IMAGE,
            sha256=sha256,
            byte_count=len(content),
            schemes=["image.pdq.v1"],
            lost=[work_pb2.LostStretch(start=2, end=3.5)] if content.startswith(b"late") else [],
        )
        work.reference_count = len(work.references)
        self.contents[reference.name] = content
        self.works[work.name] = work
        return reference, False

    def answer(self, content: bytes, options: match_pb2.MatchOptions) -> match_pb2.MatchResponse:
        """Match media against what there is."""
        if content.startswith(b"bad"):
            raise RefusedError(
                _make_status(code_pb2.INVALID_ARGUMENT, "the media is damaged", "MEDIA_DAMAGED")
            )
        whole = match_pb2.Box(left=0, top=0, right=1, bottom=1)
        matches = [
            match_pb2.Match(
                work=work.name,
                reference=reference.name,
                owner=work.owner,
                external_id=work.external_id,
                title=work.title,
                probability=0.97,
                signals=[match_pb2.Signal(name="pdq_distance", value=4, unit="bits")],
                regions=[match_pb2.RegionPair(query=whole, work=whole, transform="flip_horizontal")],
                query_coverage=1,
                work_coverage=1,
                action=work_pb2.ACTION_BLOCK,
            )
            for work in list(self.works.values())  # other threads add works
            for reference in work.references
            if self.contents[reference.name][:4] == content[:4]
        ]
        return match_pb2.MatchResponse(
            action=work_pb2.ACTION_BLOCK if matches else work_pb2.ACTION_ALLOW,
            reasons=[match_pb2.Reason(code="COPY_FOUND" if matches else "NO_COPY", text="So it is.")],
            matches=matches[: options.page_size or 10],
            sequence=self.sequence,
            partial=content.startswith(b"late"),
            partial_reasons=["DEADLINE: no time for tiles"] if content.startswith(b"late") else [],
            policy_revision="1",
            modality=fingerprint_pb2.MODALITY_IMAGE,
            sha256=hashlib.sha256(content).digest(),
        )


class WorkServicer(work_pb2_grpc.WorkServiceServicer):
    """The fake's works."""

    def __init__(self, state: State) -> None:
        self.state = state

    def GetWork(self, request: work_pb2.GetWorkRequest, context: grpc.ServicerContext) -> work_pb2.Work:  # noqa: N802
        self.state.begin("GetWork", request, context)
        work = self.state.works.get(request.name)
        if work is None:
            self.state.refuse(_make_status(code_pb2.NOT_FOUND, "there is no such work", "NOT_FOUND"), context)
        return work

    def ListWorks(  # noqa: N802
        self, request: work_pb2.ListWorksRequest, context: grpc.ServicerContext
    ) -> work_pb2.ListWorksResponse:
        self.state.begin("ListWorks", request, context)
        found = [
            work
            for work in list(self.state.works.values())
            if request.owner in ("", work.owner) and request.external_id in ("", work.external_id)
        ]
        start, size = int(request.page_token or 0), request.page_size or 100
        token = str(start + size) if start + size < len(found) else ""
        return work_pb2.ListWorksResponse(works=found[start : start + size], next_page_token=token)

    def UpdateWork(  # noqa: N802
        self, request: work_pb2.UpdateWorkRequest, context: grpc.ServicerContext
    ) -> work_pb2.Work:
        self.state.begin("UpdateWork", request, context)
        work = self.state.works[request.work.name]
        if request.work.etag not in ("", work.etag):
            self.state.refuse(_make_status(code_pb2.ABORTED, "the work changed meanwhile", "STALE"), context)
        if "title" in request.update_mask.paths:
            work.title = request.work.title
        return work

    def DeleteWork(  # noqa: N802
        self, request: work_pb2.DeleteWorkRequest, context: grpc.ServicerContext
    ) -> work_pb2.DeleteWorkResponse:
        self.state.begin("DeleteWork", request, context)
        del self.state.works[request.name]
        self.state.sequence += 1
        return work_pb2.DeleteWorkResponse(sequence=self.state.sequence)

    def UploadReference(  # noqa: N802
        self, request_iterator: Iterator[work_pb2.UploadReferenceRequest], context: grpc.ServicerContext
    ) -> work_pb2.UploadReferenceResponse:
        header = next(request_iterator).header
        content = b"".join(
            message.chunk for message in request_iterator
        )  # gRPC loses errors that come earlier
        self.state.begin("UploadReference", header, context)
        if content.startswith(b"slow"):
            self.state.asked_how_far.wait(60)
        if hashlib.sha256(content).digest() != header.sha256:
            self.state.refuse(_make_status(code_pb2.INVALID_ARGUMENT, "digest differs"), context)
        try:
            new = header.WhichOneof("target") == "new_work"
            work = self.state.create(header.new_work) if new else self.state.works[header.work]
            reference, present = self.state.add(work, content, header.filename)
        except RefusedError as error:
            self.state.refuse(error.status, context)
        return work_pb2.UploadReferenceResponse(work=work, reference=reference, already_present=present)

    def GetUploadProgress(  # noqa: N802
        self, request: work_pb2.GetUploadProgressRequest, context: grpc.ServicerContext
    ) -> work_pb2.UploadProgress:
        self.state.begin("GetUploadProgress", request, context)
        self.state.asked_how_far.set()
        return work_pb2.UploadProgress(byte_count=7, read_seconds=2.5)

    def BatchCreateWorks(  # noqa: N802
        self, request: work_pb2.BatchCreateWorksRequest, context: grpc.ServicerContext
    ) -> work_pb2.BatchCreateWorksResponse:
        self.state.begin("BatchCreateWorks", request, context)
        response = work_pb2.BatchCreateWorksResponse()
        for item in request.requests:
            try:
                work = self.state.create(item.work)
                for media in item.media:
                    self.state.add(work, media.content, media.filename)
                response.results.add(work=work)
            except RefusedError as error:
                response.results.add(error=error.status)
        return response

    def ImportWorks(  # noqa: N802
        self, request: work_pb2.ImportWorksRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        self.state.begin("ImportWorks", request, context)
        return operations_pb2.Operation(name="operations/import-1")


class MatchServicer(match_pb2_grpc.MatchServiceServicer):
    """The fake's answers."""

    def __init__(self, state: State) -> None:
        self.state = state

    def Match(  # noqa: N802
        self, request: match_pb2.MatchRequest, context: grpc.ServicerContext
    ) -> match_pb2.MatchResponse:
        self.state.begin("Match", request, context)
        try:
            response = self.state.answer(request.media.content, request.options)
        except RefusedError as error:
            self.state.refuse(error.status, context)
        response.request_id = request.request_id
        return response

    def MatchStream(  # noqa: N802
        self, request_iterator: Iterator[match_pb2.MatchStreamRequest], context: grpc.ServicerContext
    ) -> match_pb2.MatchResponse:
        header = next(request_iterator).header
        self.state.begin("MatchStream", header, context)
        first = next(request_iterator).chunk  # sure after the first chunk: the others are not read
        return self.state.answer(first, header.options)

    def CompareMedia(  # noqa: N802
        self, request: match_pb2.CompareMediaRequest, context: grpc.ServicerContext
    ) -> match_pb2.CompareMediaResponse:
        self.state.begin("CompareMedia", request, context)
        return match_pb2.CompareMediaResponse(
            probability=0.97,
            signals=[match_pb2.Signal(name="pdq_distance", value=4)],
            segments=[
                match_pb2.Segment(
                    query_start=0, query_end=2, work_start=60, work_end=64, speed=2, unit="second"
                )
            ],
            explanation=["PDQ hashes differ in 4 of 256 bits."],
        )

    def GetIndexState(  # noqa: N802
        self, request: match_pb2.GetIndexStateRequest, context: grpc.ServicerContext
    ) -> match_pb2.IndexState:
        self.state.begin("GetIndexState", request, context)
        return match_pb2.IndexState(
            sequence=self.state.sequence,
            committed_sequence=self.state.sequence,
            work_count=len(self.state.works),
            reference_count=len(self.state.contents),
            schemes=[
                match_pb2.IndexState.SchemeState(
                    scheme="image.pdq.v1",
                    modality=fingerprint_pb2.MODALITY_IMAGE,
                    dim=256,
                    metric="hamming",
                    span_unit="frame",
                    descriptor_count=len(self.state.contents),
                )
            ],
            disk_bytes=2048,
            max_inline_bytes=MAX_INLINE_BYTES,
            max_media_bytes=1 << 30,
            version="0.1.0",
        )


class OperationsServicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # untyped stubs
    """The fake's one import: done after some polls, with one row refused."""

    def __init__(self, state: State) -> None:
        self.state = state

    def GetOperation(self, request: Any, context: grpc.ServicerContext) -> operations_pb2.Operation:  # noqa: N802
        self.state.begin("GetOperation", request, context)
        polls = len(self.state.named("GetOperation"))
        operation = operations_pb2.Operation(name=request.name, done=polls > self.state.polls_until_done)
        operation.metadata.Pack(
            work_pb2.ImportWorksMetadata(total_count=2, created_count=1, failed_count=int(operation.done))
        )
        if operation.done:
            response = work_pb2.ImportWorksResponse(created_count=1, failed_count=1)
            status = _make_status(code_pb2.INVALID_ARGUMENT, "the media is damaged", "MEDIA_DAMAGED")
            response.errors.add(row=1, path="b.png", external_id="b", error=status)
            operation.response.Pack(response)
        return operation

    def CancelOperation(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.state.begin("CancelOperation", request, context)
        self.state.refuse(_make_status(code_pb2.NOT_FOUND, "it has ended", "NOT_FOUND"), context)


@pytest.fixture
def make_status() -> Callable[..., status_pb2.Status]:
    """Makes a status as the real server does."""
    return _make_status


@pytest.fixture
def server() -> Iterator[State]:
    """A running fake server."""
    state = State()
    with ThreadPoolExecutor(8) as pool:
        running = grpc.server(pool, options=[("grpc.max_receive_message_length", 32 * 1024 * 1024)])
        work_pb2_grpc.add_WorkServiceServicer_to_server(WorkServicer(state), running)  # type: ignore[abstract]  # partial
        match_pb2_grpc.add_MatchServiceServicer_to_server(MatchServicer(state), running)  # type: ignore[abstract]  # partial
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(state), running)
        state.target = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
        running.start()
        yield state
        running.stop(None).wait()


@pytest.fixture
def client(server: State) -> Iterator[copyhound.Client]:
    """A client of the fake."""
    with copyhound.Client(server.target, timeout=10) as connected:
        yield connected
