"""From what the server says went wrong to the client's errors: the only place that knows both."""

from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from copyhound import errors

DOMAIN: Final = "copyhound"
"""The server's `google.rpc.ErrorInfo.domain`."""

_DETAILS_KEY: Final = "grpc-status-details-bin"

_BY_REASON: Final[Mapping[str, type[errors.CopyhoundError]]] = {
    "INVALID_REQUEST": errors.InvalidRequestError,
    "UNAUTHENTICATED": errors.UnauthenticatedError,
    "FORBIDDEN": errors.ForbiddenError,
    "QUOTA_EXCEEDED": errors.QuotaExceededError,
    "NOT_FOUND": errors.NotFoundError,
    "ALREADY_EXISTS": errors.AlreadyExistsError,
    "REQUEST_ID_REUSED": errors.RequestIdReusedError,
    "STALE": errors.StaleError,
    "LEASE_LOST": errors.LeaseLostError,
    "CASE_HELD": errors.CaseHeldError,
    "MEDIA_UNSUPPORTED": errors.UnreadableMediaError,
    "MEDIA_DAMAGED": errors.UnreadableMediaError,
    "MEDIA_LIMIT": errors.UnreadableMediaError,
    "MEDIA_TIMEOUT": errors.UnreadableMediaError,
    "MEDIA_CRASHED": errors.UnreadableMediaError,
    "MEDIA_FEATURELESS": errors.UnreadableMediaError,
    "MEDIA_TOO_LARGE": errors.MediaTooLargeError,
    "BUSY": errors.BusyError,
    "STORAGE_FULL": errors.StorageFullError,
    "INTERNAL": errors.ServerError,
}

LOST_STATUS: Final = "Internal error from Core"
"""What grpc.aio says where a server answers while a message is being sent, until the answer arrives; often it
does in a moment (`transport.stream` waits for it), and where it is lost, the call is to be repeated."""

# What to do next, for errors that gRPC itself or a proxy raised: these explain nothing.
_BY_CODE: Final[Mapping[int, tuple[type[errors.CopyhoundError], str]]] = {
    code_pb2.INVALID_ARGUMENT: (errors.InvalidRequestError, "change the request"),
    code_pb2.OUT_OF_RANGE: (errors.InvalidRequestError, "change the request"),
    code_pb2.FAILED_PRECONDITION: (errors.InvalidRequestError, "change the request"),
    code_pb2.UNAUTHENTICATED: (errors.UnauthenticatedError, "pass a valid API key"),
    code_pb2.PERMISSION_DENIED: (errors.ForbiddenError, "use a key whose role allows it"),
    code_pb2.RESOURCE_EXHAUSTED: (errors.QuotaExceededError, "send less, or wait and try again"),
    code_pb2.NOT_FOUND: (errors.NotFoundError, "check the name"),
    code_pb2.ALREADY_EXISTS: (errors.AlreadyExistsError, "choose another external id"),
    code_pb2.ABORTED: (errors.StaleError, "read the work again and repeat"),
    code_pb2.CANCELLED: (errors.CancelledError, "repeat the request if it is still wanted"),
    code_pb2.DEADLINE_EXCEEDED: (
        errors.DeadlineExceededError,
        "give the client a longer timeout, or look at the server's load",
    ),
    code_pb2.UNAVAILABLE: (
        errors.ServerUnreachableError,
        "check the address, whether the server runs, and whether it wants TLS",
    ),
    code_pb2.UNIMPLEMENTED: (errors.ServerError, "the server is older than this client: update it"),
}


def from_status(status: status_pb2.Status) -> errors.CopyhoundError:
    """Turn a status into an error: by its reason, or by its code where it has none of ours."""
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_after: float | None = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(request)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    violations = tuple(
        errors.FieldViolation(violation.field, violation.description)
        for violation in request.field_violations
    )
    if info.domain == DOMAIN and info.reason in _BY_REASON:
        error, message, reason = _BY_REASON[info.reason], status.message, info.reason
    else:
        error, advice = _BY_CODE.get(status.code, (errors.ServerError, "look at the server's log"))
        message, reason = f"{status.message or code_pb2.Code.Name(status.code)}: {advice}", ""
    return error(
        message,
        reason=reason,
        metadata=dict(info.metadata),
        violations=violations,
        retry_after=retry_after,
    )


def from_call(error: grpc.aio.AioRpcError) -> errors.CopyhoundError:
    """Turn a failed call into an error."""
    number = error.code().value[0]
    if error.details() == LOST_STATUS:
        number = code_pb2.UNAVAILABLE
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                continue
            if status.code == number:
                return from_status(status)
    return from_status(status_pb2.Status(code=number, message=error.details() or ""))
