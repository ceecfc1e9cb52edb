"""Imports: bad rows never sink good ones, a kill costs nothing, and what is busy is tried again."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from PIL import Image

from copyhound.v1 import work_pb2, work_pb2_grpc
from service.app import Running, running
from service.errors import BusyError, StorageFullError
from service.matcher import Matcher
from service.sandbox import ForkServer
from service.settings import Settings
from tests.e2e.serving import connected, state_of

KINDS = 4
ROWS = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a few small texts and pictures, and with what must not or cannot be imported."""
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    chance = np.random.default_rng(1)
    for number in range(KINDS):
        noise = Image.fromarray(chance.integers(0, 255, (8, 8, 3), np.uint8))
        noise.resize((64, 64)).save(folder / "deep" / f"{number}.png")
        words = " ".join(f"{word:x}" for word in chance.integers(1 << 24, 1 << 28, 60))
        (folder / "deep" / f"{number}.txt").write_text(words)
    (folder / "program.png").write_bytes(b"\x7fELF\2\1\1\0" * 100)
    whole = io.BytesIO()
    noise.resize((640, 640)).save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[:5000])
    (tmp_path / "secret.png").write_bytes((folder / "deep/0.png").read_bytes())
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "loop.png").symlink_to("loop.png")
    return folder


def item(number: int, path: str = "", owner: str = "studio") -> work_pb2.ImportItem:
    """A row; of ten that name no path, nine are texts, which take a tenth of the time of a picture."""
    kind = "txt" if number % 10 else "png"
    return work_pb2.ImportItem(
        work=work_pb2.Work(owner=owner, external_id=f"P-{number}"),
        path=path or f"deep/{number % KINDS}.{kind}",
    )


def manifest() -> tuple[list[work_pb2.ImportItem], dict[int, tuple[str, str]]]:
    """A thousand rows, ten of them bad; of these the reason, and what their message must say."""
    items = [item(number) for number in range(ROWS)]
    bad = {
        0: (item(0, "deep/missing.png"), "INVALID_REQUEST", "No such file"),
        100: (item(100, "../secret.png"), "INVALID_REQUEST", "without `..`"),
        200: (item(200, "/etc/passwd"), "INVALID_REQUEST", "relative"),
        300: (item(300, "out.png"), "INVALID_REQUEST", "no file below"),
        400: (item(400, "loop.png"), "INVALID_REQUEST", "loop"),
        500: (item(500, owner=""), "INVALID_REQUEST", "items[500].work.owner"),
        600: (item(600, "program.png"), "MEDIA_UNSUPPORTED", ""),
        700: (item(700, "cut.jpg"), "MEDIA_DAMAGED", ""),
        800: (item(800, "deep"), "INVALID_REQUEST", "no file below"),
        999: (item(999), "INVALID_REQUEST", "items[999].work.title"),
    }
    bad[999][0].work.title = "x" * 1001
    for number, (replaced, _, _) in bad.items():
        items[number] = replaced
    for row in items:
        row.work.policy.no_previews = True  # half of the time of so small pictures
    return items, {number: (reason, said) for number, (_, reason, said) in bad.items()}


def request(items: list[work_pb2.ImportItem], request_id: str = "") -> work_pb2.ImportWorksRequest:
    return work_pb2.ImportWorksRequest(items=items, request_id=request_id)


def metadata_of(operation: Any) -> work_pb2.ImportWorksMetadata:
    metadata = work_pb2.ImportWorksMetadata()
    assert operation.metadata.Unpack(metadata)
    return metadata


def response_of(operation: Any) -> work_pb2.ImportWorksResponse:
    response = work_pb2.ImportWorksResponse()
    assert operation.done
    assert operation.response.Unpack(response)
    return response


def operations_of(channel: grpc.aio.Channel) -> Any:
    return operations_pb2_grpc.OperationsStub(channel)


async def wait(channel: grpc.aio.Channel, name: str, seconds: int = 300) -> Any:
    return await operations_of(channel).WaitOperation(
        operations_pb2.WaitOperationRequest(name=name, timeout=Duration(seconds=seconds))
    )


async def progress(channel: grpc.aio.Channel, name: str) -> work_pb2.ImportWorksMetadata:
    return metadata_of(
        await operations_of(channel).GetOperation(operations_pb2.GetOperationRequest(name=name))
    )


async def external_ids(channel: grpc.aio.Channel) -> list[str]:
    works = work_pb2_grpc.WorkServiceStub(channel)
    ids, token = [], ""
    while True:
        page = await works.ListWorks(work_pb2.ListWorksRequest(page_size=400, page_token=token))
        ids += [work.external_id for work in page.works]
        if not (token := page.next_page_token):
            return ids


async def test_ten_bad_rows_of_a_thousand_and_a_kill_in_between(tmp_path: Path, folder: Path) -> None:
    data = tmp_path / "hound"
    items, bad = manifest()
    asked = request(items, "import-1")
    async with connected(data, import_root=folder) as (server, channel):
        works = work_pb2_grpc.WorkServiceStub(channel)
        operation = await works.ImportWorks(asked)
        assert not operation.done
        while (now := await progress(channel, operation.name)).created_count < ROWS // 5:
            assert now.total_count == ROWS
        server.kill()
    async with connected(data, import_root=folder) as (_, channel):
        works = work_pb2_grpc.WorkServiceStub(channel)
        assert await works.ImportWorks(asked) == operation  # the same request begins no second import
        ended = await wait(channel, operation.name)
        response = response_of(ended)
        assert (response.created_count, response.skipped_count, response.failed_count) == (990, 0, 10)
        assert [error.row for error in response.errors] == sorted(bad)
        for error in response.errors:
            reason, said = bad[error.row]
            info = error_details_pb2.ErrorInfo()
            assert error.error.details[0].Unpack(info)
            assert (info.reason, error.path) == (reason, items[error.row].path)
            assert said in error.error.message
        good = [i.work.external_id for number, i in enumerate(items) if number not in bad]
        assert sorted(await external_ids(channel)) == sorted(good)
        state = await state_of(channel)
        assert (state.work_count, state.reference_count) == (990, 990)
        again = await works.ImportWorks(request(items[:50]))
        assert response_of(await wait(channel, again.name)).skipped_count == 49
        listed = [operation async for operation in pages(channel)]
        assert [one.name for one in listed] == [operation.name, again.name]
        assert metadata_of(listed[0]) == metadata_of(ended)


async def pages(channel: grpc.aio.Channel) -> AsyncIterator[Any]:
    token = ""
    while True:
        page = await operations_of(channel).ListOperations(
            operations_pb2.ListOperationsRequest(page_size=1, page_token=token)
        )
        for operation in page.operations:
            yield operation
        if not (token := page.next_page_token):
            return


@pytest.fixture
def settings(tmp_path: Path, folder: Path) -> Settings:
    return Settings(
        data=tmp_path / "hound", listen="127.0.0.1:0", allow_anonymous=True, workers=1, import_root=folder
    )


async def test_an_import_that_is_cancelled_ends_at_once(
    channel: grpc.aio.Channel, service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    works = work_pb2_grpc.WorkServiceStub(channel)
    items, _ = manifest()
    first = await works.ImportWorks(request(items))
    second = await works.ImportWorks(request(items))  # waits for the first
    waiting = [asyncio.create_task(wait(channel, one.name)) for one in (first, second)]
    await asyncio.sleep(0.3)
    for one in (second, first):
        await operations_of(channel).CancelOperation(operations_pb2.CancelOperationRequest(name=one.name))
    for ended in await asyncio.wait_for(asyncio.gather(*waiting), 20):
        assert ended.error.code == code_pb2.CANCELLED
    third = await works.ImportWorks(request(items[-5:-1]))
    assert response_of(await wait(channel, third.name)).failed_count == 0
    counted = metadata_of(await wait(channel, first.name)).created_count
    assert (await state_of(channel)).work_count <= counted + 4
    assert "Traceback" not in caplog.text


async def test_an_import_of_bad_rows_alone_is_done_at_once(
    channel: grpc.aio.Channel, service: Running
) -> None:
    operation = await work_pb2_grpc.WorkServiceStub(channel).ImportWorks(
        request([item(0, owner=""), item(1, "\0" * 5000)])
    )
    response = response_of(operation)
    assert [error.row for error in response.errors] == [0, 1]
    assert (
        await operations_of(channel).GetOperation(operations_pb2.GetOperationRequest(name=operation.name))
    ) == operation
    assert (await state_of(channel)).work_count == 0


async def import_of_eight(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, errors: list[Exception], forks: ForkServer
) -> work_pb2.ImportWorksResponse:
    """Import eight rows while the first reads of media raise these errors, the last one first."""
    read: Any = Matcher.read

    async def hampered(*args: Any, **how: Any) -> Any:
        if errors:
            raise errors.pop()
        return await read(*args, **how)

    monkeypatch.setattr(Matcher, "read", hampered)
    async with (
        running(settings, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        works = work_pb2_grpc.WorkServiceStub(channel)
        operation = await works.ImportWorks(request([item(number) for number in range(8)]))
        return response_of(await wait(channel, operation.name))


async def test_rows_that_meet_a_busy_pool_or_a_full_disk_are_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, forks: ForkServer
) -> None:
    refusals: list[Exception] = [BusyError("busy"), StorageFullError("full"), BusyError("busy")]
    response = await import_of_eight(settings, monkeypatch, refusals, forks)
    assert (response.created_count, response.failed_count) == (8, 0)


async def test_a_row_that_the_server_fails_on_never_holds_up_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, forks: ForkServer
) -> None:
    mistakes: list[Exception] = [ZeroDivisionError("a secret of the server")]
    response = await import_of_eight(settings, monkeypatch, mistakes, forks)
    assert (response.created_count, response.failed_count) == (7, 1)
    assert response.errors[0].error.code == code_pb2.INTERNAL
    assert "secret" not in str(response)


async def test_a_server_without_the_folder_leaves_imports_to_others(
    settings: Settings, forks: ForkServer
) -> None:
    """As two servers on one database, or a start that forgot the setting."""
    async with (
        running(settings, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        works = work_pb2_grpc.WorkServiceStub(channel)
        operation = await works.ImportWorks(request([item(number) for number in range(200)]))
    without = settings.model_copy(update={"import_root": None})
    async with (
        running(without, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="import_root"):
            await work_pb2_grpc.WorkServiceStub(channel).ImportWorks(request([item(0)]))
        assert not (await wait(channel, operation.name, 1)).done
    async with (
        running(settings, forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        assert response_of(await wait(channel, operation.name)).created_count == 200


@pytest.mark.parametrize("seconds", [-(10**11), 10**18])
async def test_waits_of_any_length_are_taken(
    channel: grpc.aio.Channel, service: Running, seconds: int
) -> None:
    operation = await work_pb2_grpc.WorkServiceStub(channel).ImportWorks(request([item(0)]))
    assert (await wait(channel, operation.name, seconds)).name == operation.name
