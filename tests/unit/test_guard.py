"""The guard: who is admitted to which method, before anything of the message is read."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import AsyncMock, Mock

import grpc
import pytest

from service.metrics import Metrics
from service.rpc.access import PERMISSIONS, Gate
from service.rpc.guard import Guard
from service.tracing import NoTracer

METHOD = "/copyhound.v1.MatchService/Match"
SERVED: "grpc.RpcMethodHandler[Any, Any]" = grpc.unary_unary_rpc_method_handler(
    AsyncMock(return_value="served"), request_deserializer=Mock()
)


async def handler_of(
    method: str,
    *,
    metadata: Sequence[tuple[str, str]] = (),
    allow_anonymous: bool = False,
    served: "grpc.RpcMethodHandler[Any, Any] | None" = SERVED,
) -> Any:
    gate = Gate(Mock(find_key=Mock(return_value=None)), allow_anonymous=allow_anonymous)
    details = Mock(method=method, invocation_metadata=metadata)
    return await Guard(gate, Metrics(NoTracer())).intercept_service(AsyncMock(return_value=served), details)


@pytest.mark.parametrize(
    "method",
    ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
)
async def test_health_and_reflection_are_open(method: str) -> None:
    assert await handler_of(method) is SERVED


@pytest.mark.parametrize(
    "method",
    [
        "/google.longrunning.Operations/DeleteOperation",
        "/copyhound.v1.WorkService/NotYet",
        "/grpc.health.v1.HealthX/Check",
        "",
    ],
)
async def test_other_methods_reach_no_servicer(method: str) -> None:
    assert await handler_of(method, allow_anonymous=True) is None


@pytest.mark.parametrize("method", PERMISSIONS)
async def test_without_a_key_no_message_is_taken(method: str) -> None:
    for metadata in ((), (("authorization", "Bearer copyhound_00_00"),)):
        handler = await handler_of(method, metadata=metadata)
        assert handler.request_streaming  # so that gRPC waits for no message
        assert handler.request_deserializer is None
        context = AsyncMock()
        await handler.stream_unary(Mock(), context)
        (status,) = context.abort_with_status.await_args.args
        assert status.code == grpc.StatusCode.UNAUTHENTICATED


async def test_an_admitted_call_is_served() -> None:
    handler = await handler_of(METHOD, allow_anonymous=True)
    deserialize: Any = SERVED.request_deserializer
    assert handler.request_deserializer(b"") is deserialize(b"")
    assert await handler.unary_unary(Mock(), AsyncMock()) == "served"


async def test_before_the_services_are_there_calls_are_told_to_come_back() -> None:
    handler = await handler_of(METHOD, served=None)
    context = AsyncMock()
    await handler.stream_unary(Mock(), context)
    (status,) = context.abort_with_status.await_args.args
    assert status.code == grpc.StatusCode.UNAVAILABLE
    assert "starting" in status.details
