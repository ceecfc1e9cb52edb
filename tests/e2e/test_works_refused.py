"""WorkService over the wire: what it refuses says why, and leaves nothing behind."""

from __future__ import annotations  # the stubs' types exist for mypy alone

from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from copyhound.v1 import fingerprint_pb2, work_pb2, work_pb2_grpc
from service.rpc.uploads import Spooler
from tests.e2e.serving import reason_of, refused_stream, upload

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def works(shared_channel: grpc.aio.Channel) -> work_pb2_grpc.WorkServiceAsyncStub:
    return work_pb2_grpc.WorkServiceStub(shared_channel)


async def test_references_in_one_request_are_bounded(works: work_pb2_grpc.WorkServiceAsyncStub) -> None:
    media, prints = fingerprint_pb2.Media(content=b"x"), fingerprint_pb2.FingerprintSet()
    for media_count, prints_count, field in ((17, 0, "media"), (1, 16, "fingerprints")):
        with pytest.raises(grpc.aio.AioRpcError, match=f"{field}: send at most 16"):
            await works.CreateWork(
                work_pb2.CreateWorkRequest(
                    work=work_pb2.Work(owner="studio"),
                    media=[media] * media_count,
                    fingerprints=[prints] * prints_count,
                )
            )


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("wrong digest", "INVALID_REQUEST"),
        ("no target", "INVALID_REQUEST"),
        ("no such work", "NOT_FOUND"),
        ("empty", "MEDIA_DAMAGED"),
        ("program", "MEDIA_UNSUPPORTED"),
    ],
)
async def test_an_upload_that_cannot_be_taken_says_why(
    works: work_pb2_grpc.WorkServiceAsyncStub, photographs: dict[str, bytes], case: str, reason: str
) -> None:
    header = work_pb2.UploadReferenceRequest.Header(new_work=work_pb2.Work(owner="studio"))
    content = photographs["coffee"]
    match case:
        case "wrong digest":
            header.sha256 = bytes(32)
        case "no target":
            header.ClearField("new_work")
        case "no such work":
            header.work = f"works/{uuid4()}"
        case "empty":
            content = b""
        case "program":
            content = b"\x7fELF\2\1\1\0" * 1000
    error = await refused_stream(lambda: works.UploadReference(upload(header, content)))
    assert reason_of(error) == reason
    assert not (await works.ListWorks(work_pb2.ListWorksRequest())).works


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"work": "works/x"},
        {"work": f"works/{UUID(int=0)}"},
        {"filename": "x" * 256},
        {"request_id": "x" * 65},
        {"modality": 99},
        {"sha256": b"short"},
        {"new_work": work_pb2.Work()},
    ],
)
async def test_a_wrong_header_is_refused_before_any_chunk(
    works: work_pb2_grpc.WorkServiceAsyncStub, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    monkeypatch.setattr(Spooler, "receive", None)
    target = {} if not wrong or "work" in wrong else {"new_work": work_pb2.Work(owner="studio")}
    header = work_pb2.UploadReferenceRequest.Header(**(target | wrong))
    error = await refused_stream(lambda: works.UploadReference(upload(header, b"x")))
    assert reason_of(error) in {"INVALID_REQUEST", "NOT_FOUND"}


async def test_chunks_without_a_header_are_refused(
    works: work_pb2_grpc.WorkServiceAsyncStub,
) -> None:
    chunk = work_pb2.UploadReferenceRequest(chunk=b"x")
    error = await refused_stream(lambda: works.UploadReference(iter([chunk])))
    assert "header" in (error.details() or "")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("works/x", "INVALID_REQUEST"), ("", "INVALID_REQUEST"), (f"works/{UUID(int=0)}", "NOT_FOUND")],
)
async def test_unknown_works(works: work_pb2_grpc.WorkServiceAsyncStub, name: str, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.GetWork(work_pb2.GetWorkRequest(name=name))
    assert reason_of(caught.value) == reason
