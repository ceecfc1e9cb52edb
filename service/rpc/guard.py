"""What happens around every call: admission, errors as statuses, metrics, one line in the log."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any, TypeAlias

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from service.errors import BusyError, InvalidRequestError, ServiceError
from service.metrics import Metrics
from service.rpc.access import PERMISSIONS, Gate, set_caller
from service.rpc.context import Context
from service.rpc.errors import code_of, status_of

log = structlog.get_logger("copyhound.rpc")

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs alone
_Behaviour = Callable[[Any, Context], Awaitable[Any]]


class Guard(grpc.aio.ServerInterceptor):
    """Wraps the methods that `PERMISSIONS` names; lets health and reflection through as they are."""

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
        """Wrap the method's handler."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if method not in PERMISSIONS:
            return handler
        if handler is None:
            return grpc.unary_unary_rpc_method_handler(_refuse_early)
        deserializer = _lenient(handler.request_deserializer)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                self._wrap(method, handler.stream_unary, _each),
                deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._wrap(method, handler.unary_unary, _decoded),
            deserializer,
            handler.response_serializer,
        )

    def _wrap(self, method: str, behaviour: Any, decoded: Callable[[Any], Any]) -> Any:
        call: _Behaviour = behaviour

        async def guarded(request: Any, context: Context) -> Any:
            start = perf_counter()
            structlog.contextvars.bind_contextvars(method=method)
            code = grpc.StatusCode.OK
            self._in_flight += 1
            try:
                with self._metrics.span(method):
                    await self._admit(method, context)
                    return await call(decoded(request), context)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # noqa: BLE001 - every error becomes a status
                code = code_of(error)
                await _abort(context, error)
            finally:
                self._in_flight -= 1
                self._ended.set()
                seconds = perf_counter() - start
                self._metrics.rpcs.labels(method, code.name).observe(seconds)
                log.info("call", code=code.name, seconds=round(seconds, 6))

        return guarded

    async def _admit(self, method: str, context: Context) -> None:
        if self._draining:
            raise BusyError("the server is stopping; send the request to another, or again later")
        metadata = {str(name): value for name, value in context.invocation_metadata() or ()}
        authorization = metadata.get("authorization")
        if isinstance(authorization, bytes):
            authorization = authorization.decode("latin-1")
        caller = await self._gate.admit(method, authorization)
        structlog.contextvars.bind_contextvars(key=caller.id)
        caller.charge(requests=1)
        set_caller(caller)


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


async def _refuse_early(request: bytes, context: Context) -> None:
    """Refuse a call that came before the server was ready."""
    del request
    await _abort(context, BusyError("the server is starting; send the request again in a moment"))


async def _abort(context: Context, error: Exception) -> None:
    error_id = ""
    if not isinstance(error, ServiceError):
        error_id = uuid.uuid4().hex
        log.error("a call failed", error_id=error_id, exc_info=error)
    await context.abort_with_status(rpc_status.to_status(status_of(error, error_id=error_id)))
