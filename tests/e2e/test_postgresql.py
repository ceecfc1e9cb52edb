"""The service on PostgreSQL: alone, and two servers with folders of their own on one database."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from PIL import Image

from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc
from tests.e2e.serving import connected, folded, reason_of, state_of


@pytest.fixture
def database_url(new_postgresql_database: Callable[[str], str]) -> str:
    """URL of an empty database."""
    return new_postgresql_database("template0")


def creation(number: int) -> work_pb2.CreateWorkRequest:
    fingerprint = fingerprint_pb2.Fingerprint(
        scheme="image.pdq.v1", count=1, descriptors=hashlib.sha256(bytes([number])).digest()
    )
    return work_pb2.CreateWorkRequest(
        work=work_pb2.Work(owner="studio", external_id=str(number)),
        fingerprints=[fingerprint_pb2.FingerprintSet(fingerprints=[fingerprint])],
        request_id=f"create-{number}",
    )


async def create(channel: grpc.aio.Channel, number: int) -> work_pb2.Work:
    return await work_pb2_grpc.WorkServiceStub(channel).CreateWork(creation(number))


async def delete(channel: grpc.aio.Channel, work: work_pb2.Work) -> work_pb2.DeleteWorkResponse:
    return await work_pb2_grpc.WorkServiceStub(channel).DeleteWork(work_pb2.DeleteWorkRequest(name=work.name))


async def found(channel: grpc.aio.Channel, number: int, sequence: int) -> list[str]:
    answer = await match_pb2_grpc.MatchServiceStub(channel).Match(
        match_pb2.MatchRequest(
            fingerprints=creation(number).fingerprints[0],
            options=match_pb2.MatchOptions(min_sequence=sequence),
        )
    )
    assert answer.sequence >= sequence
    return [match.external_id for match in answer.matches]


async def test_register_match_delete_and_kill(tmp_path: Path, database_url: str) -> None:
    data = tmp_path / "hound"
    async with connected(data, database_url=database_url, fold_after_changes=1) as (server, channel):
        first, second = await create(channel, 1), await create(channel, 2)
        assert await found(channel, 1, second.sequence) == ["1"]
        await delete(channel, first)
        await folded(channel)
        third = await create(channel, 3)
        server.kill()
    async with connected(data, database_url=database_url) as (server, channel):
        assert [await found(channel, number, third.sequence) for number in (1, 2, 3)] == [[], ["2"], ["3"]]
        assert await create(channel, 3) == third
        assert (await state_of(channel)).work_count == 2
        assert not (data / "copyhound.db").exists()
        assert server.stop() == 0


async def test_two_servers_on_one_database(tmp_path: Path, database_url: str) -> None:
    media = tmp_path / "media"
    media.mkdir()
    chance = np.random.default_rng(1)
    for number in range(40):
        noise = Image.fromarray(chance.integers(0, 255, (8, 8, 3), np.uint8))
        noise.resize((64, 64)).save(media / f"{number}.png")
    common: dict[str, Any] = {"database_url": database_url, "import_root": media}
    async with (
        connected(tmp_path / "one", **common) as (_, one),
        connected(tmp_path / "two", **common) as (_, two),
    ):
        first = await create(one, 1)
        assert await found(two, 1, first.sequence) == ["1"]
        second = await create(two, 2)
        assert await found(one, 2, second.sequence) == ["2"]
        assert await create(two, 1) == first  # the request was answered by the other server
        gone = await delete(two, first)
        assert await found(one, 1, gone.sequence) == []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await delete(one, first)
        assert reason_of(caught.value) == "NOT_FOUND"
        operation = await work_pb2_grpc.WorkServiceStub(one).ImportWorks(
            work_pb2.ImportWorksRequest(
                items=[
                    work_pb2.ImportItem(work=work_pb2.Work(owner="studio"), path=f"{number}.png")
                    for number in range(40)
                ]
            )
        )
        stub: Any = operations_pb2_grpc.OperationsStub(one)
        ended = await stub.WaitOperation(operations_pb2.WaitOperationRequest(name=operation.name))
        response = work_pb2.ImportWorksResponse()
        assert ended.response.Unpack(response)
        assert (response.created_count, response.failed_count) == (40, 0)
        assert (await state_of(two)).work_count == 41
