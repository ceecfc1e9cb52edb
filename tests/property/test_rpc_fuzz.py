"""Whatever is sent to a method, it is answered or refused with a reason; the server never fails on it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from copyhound.v1 import (
    capture_pb2,
    fingerprint_pb2,
    match_pb2,
    monitor_pb2,
    preview_pb2,
    report_pb2,
    review_pb2,
    work_pb2,
)
from service.app import running
from service.rpc.access import PERMISSIONS
from service.sandbox import ForkServer
from service.settings import Settings

WORKS, MATCHES, MONITOR, CAPTURES, REPORTS, PREVIEWS, REVIEW, OPERATIONS = (
    "/copyhound.v1.WorkService/",
    "/copyhound.v1.MatchService/",
    "/copyhound.v1.MonitorService/",
    "/copyhound.v1.CaptureService/",
    "/copyhound.v1.ReportService/",
    "/copyhound.v1.PreviewService/",
    "/copyhound.v1.ReviewService/",
    "/google.longrunning.Operations/",
)
METHODS: dict[str, type[Message]] = {
    WORKS + "CreateWork": work_pb2.CreateWorkRequest,
    WORKS + "GetWork": work_pb2.GetWorkRequest,
    WORKS + "ListWorks": work_pb2.ListWorksRequest,
    WORKS + "UpdateWork": work_pb2.UpdateWorkRequest,
    WORKS + "DeleteWork": work_pb2.DeleteWorkRequest,
    WORKS + "UploadReference": work_pb2.UploadReferenceRequest,
    WORKS + "GetUploadProgress": work_pb2.GetUploadProgressRequest,
    WORKS + "BatchCreateWorks": work_pb2.BatchCreateWorksRequest,
    WORKS + "ImportWorks": work_pb2.ImportWorksRequest,
    MATCHES + "Match": match_pb2.MatchRequest,
    MATCHES + "MatchStream": match_pb2.MatchStreamRequest,
    MATCHES + "BatchMatch": match_pb2.BatchMatchRequest,
    MATCHES + "CompareMedia": match_pb2.CompareMediaRequest,
    MATCHES + "GetIndexState": match_pb2.GetIndexStateRequest,
    MONITOR + "CreateMonitoringList": monitor_pb2.CreateMonitoringListRequest,
    MONITOR + "GetMonitoringList": monitor_pb2.GetMonitoringListRequest,
    MONITOR + "ListMonitoringLists": monitor_pb2.ListMonitoringListsRequest,
    MONITOR + "UpdateMonitoringList": monitor_pb2.UpdateMonitoringListRequest,
    MONITOR + "DeleteMonitoringList": monitor_pb2.DeleteMonitoringListRequest,
    MONITOR + "ImportItems": monitor_pb2.ImportItemsRequest,
    MONITOR + "RunList": monitor_pb2.RunListRequest,
    MONITOR + "GetRun": monitor_pb2.GetRunRequest,
    MONITOR + "ListRuns": monitor_pb2.ListRunsRequest,
    MONITOR + "CancelRun": monitor_pb2.CancelRunRequest,
    MONITOR + "WatchReports": monitor_pb2.WatchReportsRequest,
    CAPTURES + "LeaseRun": capture_pb2.LeaseRunRequest,
    CAPTURES + "ReportProgress": capture_pb2.ReportProgressRequest,
    CAPTURES + "ReportSightings": capture_pb2.ReportSightingsRequest,
    CAPTURES + "IngestCapture": capture_pb2.IngestCaptureRequest,
    CAPTURES + "GetCapture": capture_pb2.GetCaptureRequest,
    CAPTURES + "ListCaptures": capture_pb2.ListCapturesRequest,
    REPORTS + "GetMatchReport": report_pb2.GetMatchReportRequest,
    REPORTS + "ListMatchReports": report_pb2.ListMatchReportsRequest,
    REPORTS + "ExportEvidence": report_pb2.ExportEvidenceRequest,
    PREVIEWS + "GetPreview": preview_pb2.GetPreviewRequest,
    PREVIEWS + "ReadPreview": preview_pb2.ReadPreviewRequest,
    **{
        REVIEW + method.name: GetMessageClass(method.input_type)
        for method in review_pb2.DESCRIPTOR.services_by_name["ReviewService"].methods
    },
    OPERATIONS + "GetOperation": operations_pb2.GetOperationRequest,
    OPERATIONS + "ListOperations": operations_pb2.ListOperationsRequest,
    OPERATIONS + "WaitOperation": operations_pb2.WaitOperationRequest,
    OPERATIONS + "CancelOperation": operations_pb2.CancelOperationRequest,
}
STREAMS = {WORKS + "UploadReference", MATCHES + "MatchStream", CAPTURES + "IngestCapture"}
WATCHING = MONITOR + "WatchReports"
"""Answers without end."""
ANSWERED_IN_STREAMS = {REPORTS + "ExportEvidence", PREVIEWS + "ReadPreview"}
ENDS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
}
NOWHERE = UUID(int=1)


class Service:
    """A running service, the event loop that it runs in, and a connection to it."""

    def __init__(self, runner: asyncio.Runner, channel: grpc.aio.Channel) -> None:
        self._runner = runner
        self._channel = channel

    def call(self, method: str, *sent: bytes) -> tuple[grpc.StatusCode, str, bool]:
        """Send raw messages; return how the call ended, what was said, and whether there were details."""
        return self._runner.run(self._call(method, sent))

    async def _call(self, method: str, sent: tuple[bytes, ...]) -> tuple[grpc.StatusCode, str, bool]:
        channel: Any = self._channel  # the stubs know no methods of bytes
        if method in STREAMS:
            call = channel.stream_unary(method)(iter(sent), timeout=60)
        elif method == WATCHING:
            return await self._watch(channel.unary_stream(method)(sent[0]))
        elif method in ANSWERED_IN_STREAMS:
            call = channel.unary_stream(method)(sent[0], timeout=60)
        else:
            call = channel.unary_unary(method)(sent[0], timeout=60)
        details = any(name == "grpc-status-details-bin" for name, _ in await call.trailing_metadata())
        return await call.code(), await call.details(), details

    async def _watch(self, call: Any) -> tuple[grpc.StatusCode, str, bool]:
        """How a stream ended, or that it goes on: there are no reports here that could come."""
        try:
            async with asyncio.timeout(0.02):
                details = any(name == "grpc-status-details-bin" for name, _ in await call.trailing_metadata())
                return await call.code(), await call.details(), details
        except TimeoutError:
            call.cancel()
            return grpc.StatusCode.OK, "", False

    def check(self, method: str, *sent: bytes) -> None:
        """Send raw messages; check that they are answered or refused, and that a good query still is."""
        code, said, details = self.call(method, *sent)
        # grpc.aio's client says the latter by itself where a call is refused while it is still sending.
        if said != "Internal error from Core":
            assert code in ENDS, f"{code}: {said}"
            assert details == (code is not grpc.StatusCode.OK), said
        code, _, _ = self.call(MATCHES + "Match", GOOD_QUERY)
        assert code is grpc.StatusCode.OK


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fuzz")
    chosen = Settings(
        data=folder / "hound", listen="127.0.0.1:0", allow_anonymous=True, workers=1, import_root=folder
    )
    with (
        asyncio.Runner() as runner,
        inside(runner, running(chosen, forks=forks)) as server,
        inside(runner, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")) as channel,
    ):
        service = Service(runner, channel)
        for scheme, size in SCHEMES.items():  # something to be found
            known = creation(scheme=scheme, descriptors=KNOWN[:size])
            service.check(WORKS + "CreateWork", known.SerializeToString())
        yield service


@contextmanager
def inside(runner: asyncio.Runner, manager: Any) -> Iterator[Any]:
    """Enter and leave an asynchronous context manager from outside its loop."""

    async def enter() -> Any:
        return await manager.__aenter__()

    value = runner.run(enter())
    try:
        yield value
    finally:
        runner.run(manager.__aexit__(None, None, None))


SCHEMES = {"image.pdq.v1": 32, "image.phash.v1": 8}
"""Bytes of a descriptor."""
KNOWN = hashlib.sha256(b"known").digest()


def fingerprint(**fields: Any) -> fingerprint_pb2.Fingerprint:
    return fingerprint_pb2.Fingerprint(
        **{"scheme": "image.pdq.v1", "count": 1, "descriptors": KNOWN, **fields}
    )


def query(**fields: Any) -> match_pb2.MatchRequest:
    return match_pb2.MatchRequest(
        fingerprints=fingerprint_pb2.FingerprintSet(fingerprints=[fingerprint(**fields)])
    )


def creation(**fields: Any) -> work_pb2.CreateWorkRequest:
    return work_pb2.CreateWorkRequest(
        work=work_pb2.Work(owner="studio"),
        fingerprints=[fingerprint_pb2.FingerprintSet(fingerprints=[fingerprint(**fields)])],
    )


GOOD_QUERY = query().SerializeToString()


def a_picture() -> bytes:
    out = io.BytesIO()
    Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 50).save(out, "PNG")
    return out.getvalue()


PICTURE = a_picture()

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "\0", "\x7f", "a" * 300, "🏴‍☠️" * 70, "\u202e", "\ud7ff\uffff", "works/", "*", "/"]),
)
names = st.sampled_from(
    [
        f"works/{NOWHERE}",
        f"works/{NOWHERE}/references/{NOWHERE}",
        f"operations/{NOWHERE}",
        f"lists/{NOWHERE}",
        f"lists/{NOWHERE}/runs/{NOWHERE}",
        f"reports/{NOWHERE}",
        f"cases/{NOWHERE}",
        f"batches/{NOWHERE}",
        "works/{00000000-0000-0000-0000-000000000001}",
        "works/../etc",
    ]
)
addresses = st.one_of(
    texts,
    st.sampled_from(
        [
            "https://x.example/?q={keywords}",
            "https://[::1/",
            "http://x.example:99999/",
            "http://x.example:٣/",
            "http://u:p@x.example/",
            "x.example",
            "x..example:80",
            "https://x.example/" + "a" * 3000,
        ]
    ),
)
numbers = st.one_of(
    st.floats(0, 1), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e-320, 1.8e308 / 2, -1.0])
)
media = st.one_of(
    st.just(PICTURE),
    st.integers(1, len(PICTURE)).map(lambda length: PICTURE[:length]),
    st.binary(max_size=64),
    st.sampled_from([b"", b"PK\x03\x04", b"\xff\xd8\xff\xe0", b"GIF89a"]),
)


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.one_of(st.integers(0, 5), st.integers(low, high), st.sampled_from([low, high]))


@st.composite
def fingerprints(draw: st.DrawFn) -> fingerprint_pb2.Fingerprint:
    """Fingerprints whose parts fit together, most of the time."""
    scheme = draw(st.sampled_from(sorted(SCHEMES)))
    size = SCHEMES[scheme]
    count = draw(st.integers(1, 4))
    row = st.one_of(st.just(KNOWN[:size]), st.binary(min_size=size, max_size=size))
    starts = draw(st.lists(numbers, min_size=count, max_size=count))
    spans = [bound for start in starts for bound in (start, start + draw(numbers))]
    return fingerprint_pb2.Fingerprint(
        scheme=scheme,
        count=count,
        descriptors=b"".join(draw(st.lists(row, min_size=count, max_size=count))),
        spans=draw(st.one_of(st.just([]), st.just(spans), st.lists(numbers, max_size=4))),
        quality=draw(st.one_of(st.just([]), st.lists(numbers, min_size=count, max_size=count))),
        views=draw(st.one_of(st.just(b""), st.binary(min_size=count, max_size=count))),
    )


SPECIAL: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "copyhound.v1.FingerprintSet.fingerprints": fingerprints,
    "copyhound.v1.Fingerprint.scheme": lambda: st.sampled_from([*SCHEMES, "image.sift.v1", "", "x" * 10_000]),
    "copyhound.v1.Media.content": lambda: media,
    "copyhound.v1.UploadReferenceRequest.chunk": lambda: media,
    "copyhound.v1.MatchStreamRequest.chunk": lambda: media,
    "copyhound.v1.MatchRequest.sha256": lambda: st.sampled_from([b"", bytes(32), bytes(31)]),
    "copyhound.v1.MatchOptions.min_sequence": lambda: st.sampled_from([0, -1, -(2**63), 1]),  # others wait
    "copyhound.v1.Licence.territories": lambda: st.sampled_from(["FR", "fr", "FRA", ""]),
    "copyhound.v1.Work.owner": lambda: st.one_of(st.just("studio"), texts),
    "copyhound.v1.MonitoringList.owner": lambda: st.one_of(st.just("studio"), texts),
    "copyhound.v1.ImportItemsRequest.owner": lambda: st.one_of(st.just("studio"), texts),
    "copyhound.v1.MonitoringList.works": lambda: st.one_of(names, texts),
    "copyhound.v1.Place.kind": lambda: integers(4, signed=True),
    "copyhound.v1.Place.url": lambda: addresses,
    "copyhound.v1.MonitoringList.leave_alone": lambda: addresses,
    "copyhound.v1.CaptureHeader.media_url": lambda: addresses,
    "copyhound.v1.CaptureHeader.run": lambda: names,
    "copyhound.v1.UndoRequest.case": lambda: names,
    "copyhound.v1.DecideRequest.etag": lambda: st.sampled_from(['"1"', '"0"', "1", ""]),
    "copyhound.v1.ChosenCase.etag": lambda: st.sampled_from(['"1"', '"99999999999999999999"']),
    "copyhound.v1.CaseFilter.states": lambda: integers(4, signed=False),
    "copyhound.v1.UpdateMonitoringListRequest.update_mask": lambda: st.builds(
        FieldMask, paths=st.lists(st.sampled_from(["title", "works", "webhook", "owner", ""]), max_size=3)
    ),
    "copyhound.v1.UpdateWorkRequest.update_mask": lambda: st.builds(
        FieldMask,
        paths=st.lists(
            st.sampled_from(["title", "labels", "policy", "owner", "", "*", "x" * 10_000]), max_size=3
        ),
    ),
}
"""Values of fields for which any value would hardly ever be a good one."""


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kinds: dict[int, st.SearchStrategy[Any]] = {
        FieldDescriptor.TYPE_STRING: st.one_of(names, texts) if "name" in field.name else texts,
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=40),
        FieldDescriptor.TYPE_DOUBLE: numbers,
        FieldDescriptor.TYPE_FLOAT: st.sampled_from([0.5, math.nan, math.inf, -1.0]),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_ENUM: integers(32, signed=True),
        FieldDescriptor.TYPE_INT32: integers(32, signed=True),
        FieldDescriptor.TYPE_INT64: integers(64, signed=True),
        FieldDescriptor.TYPE_UINT32: integers(32, signed=False),
    }
    return kinds[field.type]


@st.composite
def messages(draw: st.DrawFn, kind: Any) -> Message:
    """Any message of a type, given by its descriptor: some fields set, to anything that their types allow."""
    message = GetMessageClass(kind)()
    chosen = {draw(st.sampled_from(list(oneof.fields))).name for oneof in kind.oneofs}
    for field in kind.fields:
        alternative = field.containing_oneof is not None and field.name not in chosen
        if alternative or not draw(st.booleans()):
            continue
        made = draw(values(field))
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update(made)
        elif field.is_repeated:
            getattr(message, field.name).extend(made)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(made)
        else:
            setattr(message, field.name, made)
    return message


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return st.one_of(
            st.dictionaries(texts, texts, max_size=3),
            st.just({str(number): "x" for number in range(1000)}),
        )
    if field.full_name in SPECIAL:
        one = SPECIAL[field.full_name]()
    elif field.message_type is not None:
        one = messages(field.message_type)
    else:
        one = scalars(field)
    return st.lists(one, max_size=3) if field.is_repeated else one


def test_every_method_is_fuzzed() -> None:
    assert METHODS.keys() == PERMISSIONS.keys()


ALL_VIEWS = bytes(range(256))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (MATCHES + "Match", query(count=256, descriptors=KNOWN * 256, views=ALL_VIEWS[::-1])),
        (MATCHES + "Match", query(views=b"\x08")),
        (MATCHES + "Match", query(scheme="x" * 100_000)),
        (MATCHES + "Match", query(scheme="🏴" * 1000)),
        (MATCHES + "Match", query(quality=[math.nan])),
        (MATCHES + "Match", query(spans=[0, math.nan])),
        (MATCHES + "Match", query(count=2**32 - 1)),
        (MATCHES + "Match", query(count=2, descriptors=KNOWN * 2, spans=[0, 1, 5e-324, 1])),
        (WORKS + "CreateWork", creation(count=100_000, descriptors=KNOWN * 100_000)),
        (MATCHES + "Match", query(count=100_000, descriptors=KNOWN * 100_000)),
        (WORKS + "CreateWork", work_pb2.CreateWorkRequest(work=work_pb2.Work(owner="🏴" * 128))),
        (WORKS + "GetWork", work_pb2.GetWorkRequest(name="🏴" * 100_000)),
        (OPERATIONS + "GetOperation", operations_pb2.GetOperationRequest(name="🏴" * 100_000)),
        (
            WORKS + "UpdateWork",
            work_pb2.UpdateWorkRequest(
                work=work_pb2.Work(name=f"works/{NOWHERE}"), update_mask=FieldMask(paths=["🏴" * 100_000])
            ),
        ),
    ],
)
def test_what_was_found(service: Service, method: str, message: Message) -> None:
    service.check(method, message.SerializeToString())


@given(
    method=st.sampled_from(sorted(METHODS)), sent=st.lists(st.binary(max_size=100), min_size=1, max_size=3)
)
@example(method=WORKS + "CreateWork", sent=[b"\xff"])
@example(method=MATCHES + "MatchStream", sent=[b"\x0a\x00", b"\xff"])
def test_any_bytes(service: Service, method: str, sent: list[bytes]) -> None:
    service.check(method, *sent)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_any_message(service: Service, method: str) -> None:
    usual = settings().max_examples

    share = 10 if method.startswith(REVIEW) else 5 if method.startswith((MONITOR, CAPTURES, REPORTS)) else 2

    @settings(max_examples=max(10, usual // share))
    @given(sent=st.lists(messages(METHODS[method].DESCRIPTOR), min_size=1, max_size=3))
    def check(sent: list[Message]) -> None:
        service.check(method, *(message.SerializeToString() for message in sent))

    check()
