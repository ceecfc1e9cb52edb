"""What happens around every call: admission, errors as statuses, metrics, one line in the log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from service.errors import BusyError, InvalidRequestError
from service.metrics import Metrics
from service.rpc.access import PERMISSIONS, Caller, Gate, set_caller
from service.rpc.context import Context
from service.rpc.errors import code_of, failure

log = structlog.get_logger("copyhound.rpc")

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs alone
_Behaviour = Callable[[Any, Context], Awaitable[Any]]

_OPEN = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""What the methods begin with that need no key."""


class Guard(grpc.aio.ServerInterceptor):
    """Admits callers to the methods that `PERMISSIONS` names; lets health and reflection through as they are.

    Any other method does not exist, whoever implements it.
    """

    def __init__(self, gate: Gate, metrics: Metrics) -> None:
        """Admit by `gate`, measure with `metrics`."""
        self._gate = gate
        self._metrics = metrics
        self._in_flight = 0
        self._ended = asyncio.Event()
        self._draining = False

    async def drain(self, seconds: float) -> None:
        """Refuse new calls from now on; wait at most `seconds` for those in flight."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._in_flight:
                    self._ended.clear()
                    await self._ended.wait()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["_Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler | None":
        """Admit the caller, before any of the message is read; wrap the method's handler."""
        method = handler_call_details.method
        if method.startswith(_OPEN):
            return await continuation(handler_call_details)
        if method not in PERMISSIONS:
            return None
        handler = await continuation(handler_call_details)
        if handler is None:
            return self._refusing(
                method, BusyError("the server is starting; send the request again in a moment")
            )
        try:
            caller = await self._admit(method, handler_call_details.invocation_metadata)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            return self._refusing(method, error)
        deserializer = _lenient(handler.request_deserializer)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._wrap(method, caller, handler.stream_unary, _each),
                deserializer,
                handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._wrap(method, caller, partial(_written, handler.unary_stream), _decoded),
                deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._wrap(method, caller, handler.unary_unary, _decoded),
            deserializer,
            handler.response_serializer,
        )

    def _refusing(self, method: str, error: Exception) -> "_Handler":
        """A handler that refuses: of a stream, so that it takes no message."""

        async def refuse(_requests: Any, _context: Context) -> Any:
            raise error

        return grpc.stream_unary_rpc_method_handler(self._wrap(method, None, refuse, _each))

    def _wrap(self, method: str, caller: Caller | None, behaviour: Any, decoded: Callable[[Any], Any]) -> Any:
        call: _Behaviour = behaviour

        async def guarded(request: Any, context: Context) -> Any:
            start = perf_counter()
            structlog.contextvars.bind_contextvars(method=method)
            if caller is not None:
                structlog.contextvars.bind_contextvars(key=caller.id)
                set_caller(caller)
            code = grpc.StatusCode.OK
            self._in_flight += 1
            try:
                with self._metrics.span(method):
                    self._check_draining()
                    return await call(decoded(request), context)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # noqa: BLE001 - every error becomes a status
                code = code_of(error)
                refusal = rpc_status.to_status(failure(error))
            finally:
                self._in_flight -= 1
                self._ended.set()
                seconds = perf_counter() - start
                self._metrics.rpcs.labels(method, code.name).observe(seconds)
                log.info("call", code=code.name, seconds=round(seconds, 6))
            return await context.abort_with_status(refusal)  # counted and logged before the caller knows

        return guarded

    def _check_draining(self) -> None:
        if self._draining:
            raise BusyError("the server is stopping; send the request to another, or again later")

    async def _admit(self, method: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> Caller:
        authorization = dict(metadata or ()).get("authorization")
        if isinstance(authorization, bytes):
            authorization = authorization.decode("latin-1")
        caller = await self._gate.admit(method, authorization)
        caller.charge(requests=1)
        return caller


async def _written(behaviour: Any, request: Any, context: Context) -> None:
    """Send what a method yields."""
    async for response in behaviour(request, context):
        await context.write(response)


def _lenient(deserializer: Any) -> Callable[[bytes], Any]:
    """Return a message's DecodeError instead of raising it: gRPC would tell the caller UNKNOWN."""

    def deserialize(data: bytes) -> Any:
        try:
            return deserializer(data)
        except DecodeError as error:
            return error

    return deserialize


def _decoded(request: Any) -> Any:
    """The request.

    Raises:
        InvalidRequestError: If it is what `_lenient` made of bytes that are no message.
    """
    if isinstance(request, DecodeError):
        raise InvalidRequestError("request", f"is no message of this method: {request}") from request
    return request


async def _each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Each request, as `_decoded`."""
    async for request in requests:
        yield _decoded(request)
