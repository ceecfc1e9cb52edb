"""Who may do what: keys, roles, owners, quotas, TLS and mTLS."""

from __future__ import annotations  # the stubs' types exist for mypy alone

import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from copyhound.v1 import (
    capture_pb2,
    fingerprint_pb2,
    match_pb2,
    match_pb2_grpc,
    monitor_pb2,
    report_pb2,
    work_pb2,
    work_pb2_grpc,
)
from service.app import Running, running
from service.domain import KeyRole
from service.errors import StartupError
from service.keys import new_key
from service.rpc.access import PERMISSIONS
from service.sandbox import ForkServer
from service.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "hound", listen="127.0.0.1:0", workers=1)


def key_of(
    service: Running, role: KeyRole, owner: str | None = None, requests: int = 0, media_bytes: int = 0
) -> tuple[tuple[str, str], ...]:
    key, text = new_key(role, owner, requests, media_bytes)
    service.catalogue.store.create_key(key)
    return (("authorization", f"Bearer {text}"),)


def create(owner: str, content: bytes) -> work_pb2.CreateWorkRequest:
    return work_pb2.CreateWorkRequest(
        work=work_pb2.Work(owner=owner), media=[fingerprint_pb2.Media(content=content)]
    )


def query(content: bytes) -> match_pb2.MatchRequest:
    return match_pb2.MatchRequest(media=fingerprint_pb2.Media(content=content))


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer ", "Bearer copyhound_x_y", "Basic abc", "Bearer copyhound_0011223344556677_00"],
)
async def test_without_a_valid_key_nothing_is_answered(
    channel: grpc.aio.Channel, authorization: str | None
) -> None:
    metadata = () if authorization is None else (("authorization", authorization),)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await match_pb2_grpc.MatchServiceStub(channel).GetIndexState(
            match_pb2.GetIndexStateRequest(), metadata=metadata
        )
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_health_and_reflection_need_no_key(channel: grpc.aio.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    for name in ("", "copyhound.v1.MatchService", "copyhound.v1.WorkService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflect: Any = reflection_pb2_grpc.ServerReflectionStub
    stub = reflect(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await anext(aiter(call))
    names = {s.name for s in answer.list_services_response.service}
    assert {"copyhound.v1.MatchService", "copyhound.v1.WorkService"} <= names


def test_every_method_has_its_roles() -> None:
    for module in (work_pb2, match_pb2, monitor_pb2, capture_pb2, report_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert PERMISSIONS[f"/{service.full_name}/{method.name}"]


async def test_roles(service: Running, channel: grpc.aio.Channel, photographs: dict[str, bytes]) -> None:
    works = work_pb2_grpc.WorkServiceStub(channel)
    matches = match_pb2_grpc.MatchServiceStub(channel)
    coffee = photographs["coffee"]
    admin = key_of(service, KeyRole.ADMIN)
    work = await works.CreateWork(create("studio", coffee), metadata=admin)
    for role in (KeyRole.PLATFORM, KeyRole.INVESTIGATOR):
        metadata = key_of(service, role)
        assert (await matches.Match(query(coffee), metadata=metadata)).matches[0].work == work.name
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await works.CreateWork(create("studio", coffee), metadata=metadata)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    reader = key_of(service, KeyRole.INVESTIGATOR)
    assert (await works.GetWork(work_pb2.GetWorkRequest(name=work.name), metadata=reader)).name
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.GetWork(
            work_pb2.GetWorkRequest(name=work.name), metadata=key_of(service, KeyRole.PLATFORM)
        )
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_an_owner_sees_and_changes_only_his_own(
    service: Running, channel: grpc.aio.Channel, photographs: dict[str, bytes]
) -> None:
    works = work_pb2_grpc.WorkServiceStub(channel)
    matches = match_pb2_grpc.MatchServiceStub(channel)
    ann = key_of(service, KeyRole.OWNER, "ann")
    bob = key_of(service, KeyRole.OWNER, "bob")
    hers = await works.CreateWork(create("ann", photographs["coffee"]), metadata=ann)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await works.CreateWork(create("ann", photographs["rocket"]), metadata=bob)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    calls: list[Any] = [
        works.GetWork(work_pb2.GetWorkRequest(name=hers.name), metadata=bob),
        works.DeleteWork(work_pb2.DeleteWorkRequest(name=hers.name), metadata=bob),
        works.UpdateWork(work_pb2.UpdateWorkRequest(work=work_pb2.Work(name=hers.name)), metadata=bob),
        matches.CompareMedia(
            match_pb2.CompareMediaRequest(
                a=match_pb2.CompareSide(reference=hers.references[0].name),
                b=match_pb2.CompareSide(reference=hers.references[0].name),
            ),
            metadata=bob,
        ),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    hidden: list[tuple[Any, Callable[[str], Any]]] = [
        (works.GetWork, lambda name: work_pb2.GetWorkRequest(name=name)),
        (works.DeleteWork, lambda name: work_pb2.DeleteWorkRequest(name=name)),
        (works.UpdateWork, lambda name: work_pb2.UpdateWorkRequest(work=work_pb2.Work(name=name))),
        (works.UploadReference, lambda name: iter([upload_header(name)])),
        (matches.CompareMedia, lambda name: compared(f"{name}/references/{hers.name[6:]}")),
    ]
    for method, request_of in hidden:
        absent = f"works/{UUID(int=0)}"
        told = [await refusal(method(request_of(name), metadata=bob)) for name in (hers.name, absent)]
        assert told[0] == told[1].replace(absent, hers.name)  # nothing tells that hers is there
    for owner in ("", "ann"):
        listed = await works.ListWorks(work_pb2.ListWorksRequest(owner=owner), metadata=bob)
        assert not listed.works
    nameless = key_of(service, KeyRole.OWNER, "")
    assert not (await works.ListWorks(work_pb2.ListWorksRequest(), metadata=nameless)).works
    assert not (await matches.Match(query(photographs["coffee"]), metadata=bob)).matches
    assert (await matches.Match(query(photographs["coffee"]), metadata=ann)).matches
    assert (await works.GetWork(work_pb2.GetWorkRequest(name=hers.name), metadata=ann)) == hers


async def test_a_revoked_key_is_refused(
    service: Running, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.rpc.access._CACHE_SECONDS", 0.0)
    matches = match_pb2_grpc.MatchServiceStub(channel)
    key, text = new_key(KeyRole.PLATFORM, None, 0, 0)
    service.catalogue.store.create_key(key)
    metadata = (("authorization", f"Bearer {text}"),)
    await matches.GetIndexState(match_pb2.GetIndexStateRequest(), metadata=metadata)
    service.catalogue.store.revoke_key(key.id, datetime.now(UTC))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await matches.GetIndexState(match_pb2.GetIndexStateRequest(), metadata=metadata)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_quota_that_is_used_up_says_when_to_come_back(
    service: Running, channel: grpc.aio.Channel, photographs: dict[str, bytes]
) -> None:
    matches = match_pb2_grpc.MatchServiceStub(channel)
    metadata = key_of(service, KeyRole.PLATFORM, requests=3)
    digest = match_pb2.MatchRequest(sha256=bytes(32))
    batch = match_pb2.BatchMatchRequest(requests=[digest, digest])
    await matches.BatchMatch(batch, metadata=metadata)  # every item counts
    await matches.Match(digest, metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await matches.Match(digest, metadata=metadata)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    error: Any = caught.value
    status = rpc_status.from_call(error)
    retry = error_details_pb2.RetryInfo()
    assert status is not None
    assert any(detail.Unpack(retry) for detail in status.details)
    assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= 20
    by_bytes = key_of(service, KeyRole.PLATFORM, media_bytes=1000)
    await matches.Match(query(photographs["coffee"]), metadata=by_bytes)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await matches.Match(query(photographs["coffee"]), metadata=by_bytes)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_fresh_key_may_send_a_batch_above_a_minutes_worth(
    service: Running, channel: grpc.aio.Channel
) -> None:
    matches = match_pb2_grpc.MatchServiceStub(channel)
    metadata = key_of(service, KeyRole.PLATFORM, requests=5)
    batch = match_pb2.BatchMatchRequest(requests=[match_pb2.MatchRequest(sha256=bytes(32))] * 6)
    answer = await matches.BatchMatch(batch, metadata=metadata)
    assert all(result.HasField("response") for result in answer.results)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await matches.BatchMatch(batch, metadata=metadata)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_methods_that_nobody_may_call_do_not_exist(channel: grpc.aio.Channel) -> None:
    operations = operations_pb2_grpc.OperationsStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name="operations/x"))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_more_calls_than_the_server_takes_are_refused(settings: Settings, forks: ForkServer) -> None:
    async with (
        running(settings.model_copy(update={"max_concurrent_calls": 1}), forks=forks) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        await anext(aiter(watch))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest())
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        watch.cancel()


def upload_header(work: str) -> work_pb2.UploadReferenceRequest:
    return work_pb2.UploadReferenceRequest(header=work_pb2.UploadReferenceRequest.Header(work=work))


def compared(reference: str) -> match_pb2.CompareMediaRequest:
    side = match_pb2.CompareSide(reference=reference)
    return match_pb2.CompareMediaRequest(a=side, b=side)


async def refusal(call: Any) -> str:
    """Code, text and details of what a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error: Any = caught.value
    return f"{error.code()} {rpc_status.from_call(error)}"


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "example.org:0"])
async def test_anonymous_access_is_for_loopback_alone(settings: Settings, listen: str) -> None:
    open_to_all = settings.model_copy(update={"listen": listen, "allow_anonymous": True})
    with pytest.raises(StartupError, match="loopback"):
        async with running(open_to_all):
            pass


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's certificate, and a client's, each signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
            ],
            check=True,
            capture_output=True,
        )
    return folder


@asynccontextmanager
async def secured(
    port: int, certificates: Path, *, client: bool
) -> AsyncIterator[match_pb2_grpc.MatchServiceAsyncStub]:
    pair = {}
    if client:
        pair = {
            "private_key": (certificates / "client.key").read_bytes(),
            "certificate_chain": (certificates / "client.pem").read_bytes(),
        }
    credentials = grpc.ssl_channel_credentials((certificates / "server.pem").read_bytes(), **pair)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        yield match_pb2_grpc.MatchServiceStub(channel)


@pytest.mark.parametrize("mutual", [False, True])
async def test_tls_and_mtls(
    settings: Settings, certificates: Path, *, mutual: bool, forks: ForkServer
) -> None:
    tls = settings.model_copy(
        update={
            "tls_certificate": certificates / "server.pem",
            "tls_key": certificates / "server.key",
            "tls_client_ca": certificates / "client.pem" if mutual else None,
        }
    )
    async with running(tls, forks=forks) as service:
        metadata = key_of(service, KeyRole.PLATFORM)
        request = match_pb2.GetIndexStateRequest()
        async with secured(service.port, certificates, client=mutual) as stub:
            assert (await stub.GetIndexState(request, metadata=metadata, timeout=10)).version
        if mutual:
            async with secured(service.port, certificates, client=False) as stub:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.GetIndexState(request, metadata=metadata, timeout=10)
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as plain:
            with pytest.raises(grpc.aio.AioRpcError):
                await match_pb2_grpc.MatchServiceStub(plain).GetIndexState(
                    request, metadata=metadata, timeout=5
                )


def missing(settings: Settings) -> Iterator[Settings]:
    yield settings.model_copy(update={"tls_certificate": Path("a.pem")})
    yield settings.model_copy(update={"tls_certificate": Path("a.pem"), "tls_key": Path("a.key")})


async def test_tls_files_that_are_missing_are_named(settings: Settings) -> None:
    for broken in missing(settings):
        with pytest.raises(StartupError, match=r"tls_key|a\.key"):
            async with running(broken):
                pass
