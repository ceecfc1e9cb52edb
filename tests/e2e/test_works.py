"""WorkService over the wire: register, read, change, list, delete; what goes wrong says so."""

from __future__ import annotations  # the stubs' types exist for mypy alone

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import code_pb2
from grpc_status import rpc_status

from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc
from indexers import registry
from service.app import Running, running
from service.matcher import Matcher
from service.rpc.once import digest_of_request as works_digest
from service.sandbox import ForkServer
from service.settings import Settings
from tests.e2e.serving import reason_of, refused_stream, upload


def status_of(error: Any) -> Any:
    return rpc_status.from_call(error)


@pytest.fixture
def works(channel: grpc.aio.Channel) -> work_pb2_grpc.WorkServiceAsyncStub:
    return work_pb2_grpc.WorkServiceStub(channel)


@pytest.fixture
def matches(channel: grpc.aio.Channel) -> match_pb2_grpc.MatchServiceAsyncStub:
    return match_pb2_grpc.MatchServiceStub(channel)


def request(content: bytes, external_id: str = "", request_id: str = "") -> work_pb2.CreateWorkRequest:
    return work_pb2.CreateWorkRequest(
        work=work_pb2.Work(owner="studio", external_id=external_id, title="A title"),
        media=[fingerprint_pb2.Media(content=content, filename="../../etc/passwd")],
        request_id=request_id,
    )


async def found(
    matches: match_pb2_grpc.MatchServiceAsyncStub, content: bytes, **options: Any
) -> match_pb2.MatchResponse:
    return await matches.Match(
        match_pb2.MatchRequest(
            media=fingerprint_pb2.Media(content=content), options=match_pb2.MatchOptions(**options)
        )
    )


async def test_what_is_acknowledged_is_found_at_once(
    works: work_pb2_grpc.WorkServiceAsyncStub,
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    photographs: dict[str, bytes],
) -> None:
    for i, (name, content) in enumerate(photographs.items()):
        work = await works.CreateWork(request(content, external_id=name))
        assert work.sequence == i + 1
        answer = await found(matches, content)
        assert answer.sequence >= work.sequence
        assert answer.action == work_pb2.ACTION_BLOCK
        assert answer.matches[0].work == work.name
        assert answer.matches[0].external_id == name
        assert answer.matches[0].probability == 1.0
        assert {s.name: s.value for s in answer.matches[0].signals}["identical_file"] == 1.0
        assert answer.reasons[0].code == "COPY_FOUND"


async def test_a_work_comes_back_as_it_was_given(
    works: work_pb2_grpc.WorkServiceAsyncStub, photographs: dict[str, bytes]
) -> None:
    asked = request(photographs["coffee"], external_id="P-17")
    asked.work.labels["season"] = "1"
    asked.work.policy.action = work_pb2.ACTION_MONITOR
    asked.work.policy.territories.extend(["FR", "DE"])
    asked.work.policy.licences.add(uploader_token="ann", note="contract 5").expire_time.GetCurrentTime()
    created = await works.CreateWork(asked)
    work = await works.GetWork(work_pb2.GetWorkRequest(name=created.name))
    assert work == created
    assert (work.owner, work.external_id, work.title) == ("studio", "P-17", "A title")
    assert work.labels == {"season": "1"}
    assert work.policy == asked.work.policy
    assert work.reference_count == 1
    (reference,) = work.references
    assert reference.sha256 == hashlib.sha256(photographs["coffee"]).digest()
    assert reference.byte_count == len(photographs["coffee"])
    assert reference.modality == fingerprint_pb2.MODALITY_IMAGE
    assert set(reference.schemes) == {channel.scheme.id for channel in registry.by_name("image").channels}
    assert reference.filename == "../../etc/passwd"  # kept for people, never used as a path


async def test_an_external_id_is_taken_once(
    works: work_pb2_grpc.WorkServiceAsyncStub, photographs: dict[str, bytes]
) -> None:
    first = await works.CreateWork(request(photographs["coffee"], external_id="P-17"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.CreateWork(request(photographs["rocket"], external_id="P-17"))
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert reason_of(caught.value) == "ALREADY_EXISTS"
    assert first.name.removeprefix("works/") in str(status_of(caught.value))


async def test_a_repeated_request_is_done_once(
    works: work_pb2_grpc.WorkServiceAsyncStub, photographs: dict[str, bytes]
) -> None:
    asked = request(photographs["coffee"], request_id=str(uuid4()))
    answers = await asyncio.gather(*(works.CreateWork(asked) for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)
    assert len((await works.ListWorks(work_pb2.ListWorksRequest())).works) == 1
    asked.work.title = "Another"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.CreateWork(asked)
    assert reason_of(caught.value) == "REQUEST_ID_REUSED"


async def test_how_far_an_upload_has_come_is_told_while_it_is_under_way(
    works: work_pb2_grpc.WorkServiceAsyncStub, photographs: dict[str, bytes]
) -> None:
    coffee, sent = photographs["coffee"], asyncio.Event()
    header = work_pb2.UploadReferenceRequest.Header(new_work=work_pb2.Work(owner="studio"), request_id="u")
    asked = work_pb2.GetUploadProgressRequest(request_id="u")

    async def by_halves() -> AsyncIterator[work_pb2.UploadReferenceRequest]:
        async for message in upload(header, coffee, chunk=len(coffee) // 2):
            if message.chunk == coffee[len(coffee) // 2 : len(coffee) // 2 * 2]:
                await sent.wait()
            yield message

    call = works.UploadReference(by_halves())
    told = work_pb2.UploadProgress()
    while told.byte_count < len(coffee) // 2:
        with contextlib.suppress(grpc.aio.AioRpcError):  # until it has begun
            told = await works.GetUploadProgress(asked)
    assert told == work_pb2.UploadProgress(byte_count=len(coffee) // 2)
    sent.set()
    assert (await call).reference.byte_count == len(coffee)
    for request_id, code in (("u", "NOT_FOUND"), ("v", "NOT_FOUND"), ("", "INVALID_ARGUMENT")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await works.GetUploadProgress(work_pb2.GetUploadProgressRequest(request_id=request_id))
        assert caught.value.code().name == code


async def test_a_repeated_request_reads_no_media_again(
    works: work_pb2_grpc.WorkServiceAsyncStub,
    photographs: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = work_pb2.UploadReferenceRequest.Header(new_work=work_pb2.Work(owner="studio"), request_id="b")
    asked, coffee = request(photographs["coffee"], request_id="a"), photographs["coffee"]
    created = await works.CreateWork(asked)
    uploaded = await works.UploadReference(upload(header, coffee))
    header_of_old = work_pb2.UploadReferenceRequest.Header(work=created.name, request_id="c")
    added = await works.UploadReference(upload(header_of_old, photographs["rocket"]))
    await works.DeleteWork(work_pb2.DeleteWorkRequest(name=created.name))
    monkeypatch.setattr(Matcher, "read", None)
    assert await works.CreateWork(asked) == created
    assert await works.UploadReference(upload(header, coffee)) == uploaded
    assert await works.UploadReference(upload(header_of_old, photographs["rocket"])) == added
    error = await refused_stream(lambda: works.UploadReference(upload(header, photographs["rocket"])))
    assert reason_of(error) == "REQUEST_ID_REUSED"


async def test_a_request_id_is_of_one_method(works: work_pb2_grpc.WorkServiceAsyncStub) -> None:
    deletion = work_pb2.DeleteWorkRequest(name=f"works/{UUID(int=0)}")
    assert works_digest(deletion) != works_digest(work_pb2.GetWorkRequest(name=deletion.name))
    created = await works.CreateWork(
        work_pb2.CreateWorkRequest(work=work_pb2.Work(owner="studio"), request_id="once")
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.DeleteWork(work_pb2.DeleteWorkRequest(name=created.name, request_id="once"))
    assert reason_of(caught.value) == "REQUEST_ID_REUSED"


async def test_a_batch_larger_than_the_queue_is_answered(
    settings: Settings, photographs: dict[str, bytes], forks: ForkServer
) -> None:
    narrow = settings.model_copy(update={"queue_limit": 2, "workers": 1})
    async with (
        running(narrow, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        item = request(photographs["coffee"])
        item.media.extend([item.media[0]] * 2)
        created = await work_pb2_grpc.WorkServiceStub(channel).BatchCreateWorks(
            work_pb2.BatchCreateWorksRequest(requests=[item] * 6)
        )
        assert [result.WhichOneof("outcome") for result in created.results] == ["work"] * 6
        asked = match_pb2.MatchRequest(media=item.media[0])
        answers = await match_pb2_grpc.MatchServiceStub(channel).BatchMatch(
            match_pb2.BatchMatchRequest(requests=[asked] * 12)
        )
        assert [result.WhichOneof("outcome") for result in answers.results] == ["response"] * 12


async def test_a_repeated_deletion_gives_the_first_answer(
    works: work_pb2_grpc.WorkServiceAsyncStub, photographs: dict[str, bytes]
) -> None:
    work = await works.CreateWork(request(photographs["coffee"]))
    asked = work_pb2.DeleteWorkRequest(name=work.name, request_id="once")
    assert await works.DeleteWork(asked) == await works.DeleteWork(asked)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.DeleteWork(work_pb2.DeleteWorkRequest(name=work.name))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_deleted_work_is_found_no_more(
    works: work_pb2_grpc.WorkServiceAsyncStub,
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    photographs: dict[str, bytes],
    service: Running,
) -> None:
    work = await works.CreateWork(request(photographs["coffee"]))
    deleted = await works.DeleteWork(work_pb2.DeleteWorkRequest(name=work.name))
    answer = await found(matches, photographs["coffee"], min_probability=0.0)
    assert answer.sequence >= deleted.sequence > work.sequence
    assert answer.action == work_pb2.ACTION_ALLOW
    assert not answer.matches
    assert [reason.code for reason in answer.reasons] == ["NOTHING_FOUND"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.GetWork(work_pb2.GetWorkRequest(name=work.name))
    assert reason_of(caught.value) == "NOT_FOUND"
    assert service.catalogue.store.counts().works == 0


async def test_update_changes_what_the_mask_names(
    works: work_pb2_grpc.WorkServiceAsyncStub, photographs: dict[str, bytes]
) -> None:
    work = await works.CreateWork(request(photographs["coffee"], external_id="P-17"))
    changed = await works.UpdateWork(
        work_pb2.UpdateWorkRequest(
            work=work_pb2.Work(name=work.name, title="New", external_id="ignored", etag=work.etag),
            update_mask=FieldMask(paths=["title"]),
        )
    )
    assert (changed.title, changed.external_id) == ("New", "P-17")
    assert changed.etag != work.etag
    assert changed.sequence > work.sequence
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.UpdateWork(work_pb2.UpdateWorkRequest(work=work_pb2.Work(name=work.name, etag=work.etag)))
    assert caught.value.code() == grpc.StatusCode.ABORTED
    with pytest.raises(grpc.aio.AioRpcError, match="owner") as caught:
        await works.UpdateWork(
            work_pb2.UpdateWorkRequest(
                work=work_pb2.Work(name=work.name), update_mask=FieldMask(paths=["owner"])
            )
        )
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_lists_page_through_all(
    works: work_pb2_grpc.WorkServiceAsyncStub, photographs: dict[str, bytes]
) -> None:
    created = []
    for i, content in enumerate(list(photographs.values())[:5]):
        asked = request(content, external_id=str(i))
        asked.work.owner = "odd" if i % 2 else "even"
        created.append(await works.CreateWork(asked))
    seen, token = [], ""
    while True:
        page = await works.ListWorks(work_pb2.ListWorksRequest(page_size=2, page_token=token))
        seen += [work.name for work in page.works]
        token = page.next_page_token
        if not token:
            break
    assert seen == [work.name for work in created]
    odd = await works.ListWorks(work_pb2.ListWorksRequest(owner="odd"))
    assert [work.external_id for work in odd.works] == ["1", "3"]
    one = await works.ListWorks(work_pb2.ListWorksRequest(owner="even", external_id="2"))
    assert [work.name for work in one.works] == [created[2].name]
    with pytest.raises(grpc.aio.AioRpcError, match="page_token"):
        await works.ListWorks(work_pb2.ListWorksRequest(page_token="nonsense"))


async def test_one_bad_item_never_sinks_a_batch(
    works: work_pb2_grpc.WorkServiceAsyncStub,
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    photographs: dict[str, bytes],
) -> None:
    coffee = photographs["coffee"]
    answer = await works.BatchCreateWorks(
        work_pb2.BatchCreateWorksRequest(
            requests=[
                request(coffee, external_id="good"),
                request(b"\0\1 no media", external_id="text"),
                request(coffee[: len(coffee) // 2], external_id="cut"),
                request(photographs["rocket"], external_id="good"),
                work_pb2.CreateWorkRequest(work=work_pb2.Work(title="nobody's")),
                request(photographs["rocket"], external_id="also good"),
            ]
        )
    )
    codes = [code_pb2.OK if result.HasField("work") else result.error.code for result in answer.results]
    refused = code_pb2.INVALID_ARGUMENT
    assert sorted([codes[0], codes[3]]) == [code_pb2.OK, code_pb2.ALREADY_EXISTS]
    assert [codes[1], codes[2], codes[4], codes[5]] == [refused, refused, refused, code_pb2.OK]
    assert (await found(matches, photographs["rocket"])).action == work_pb2.ACTION_BLOCK


async def test_an_upload_makes_a_work_and_adds_to_it(
    works: work_pb2_grpc.WorkServiceAsyncStub,
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    photographs: dict[str, bytes],
) -> None:
    header = work_pb2.UploadReferenceRequest.Header
    coffee, rocket = photographs["coffee"], photographs["rocket"]
    first = await works.UploadReference(
        upload(header(new_work=work_pb2.Work(owner="studio"), filename="coffee.png"), coffee)
    )
    assert first.reference == first.work.references[0]
    again = await works.UploadReference(upload(header(work=first.work.name), coffee))
    assert again.already_present
    assert again.reference == first.reference
    second = await works.UploadReference(upload(header(work=first.work.name), rocket))
    assert not second.already_present
    assert ([*second.work.references], second.work.reference_count) == ([second.reference], 2)
    work = await works.GetWork(work_pb2.GetWorkRequest(name=first.work.name))
    assert [*work.references] == [first.reference, second.reference]
    answer = await found(matches, rocket)
    assert answer.matches[0].reference == second.reference.name
