"""Errors as gRPC statuses with google.rpc details: the only place that maps them."""

import math
import uuid

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from service import errors

DOMAIN = "copyhound"
"""Domain of every ErrorInfo."""

_MAX_TEXT_BYTES = 600
"""Statuses travel in trailers, of which clients take 8 KiB; there, a byte of a text takes up to three."""

_INTERNAL_MESSAGE = "the server failed on this request; its log tells more under id {id}"

log = structlog.get_logger("copyhound.rpc")

_CODES: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    errors.QuotaExceededError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.RequestIdReusedError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.StaleError: grpc.StatusCode.ABORTED,
    errors.LeaseLostError: grpc.StatusCode.ABORTED,
    errors.CaseHeldError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MediaTooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.BusyError: grpc.StatusCode.UNAVAILABLE,
    errors.StorageFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_BY_REASON = {kind.reason: code for kind, code in _CODES.items()} | {
    "MEDIA_UNSUPPORTED": grpc.StatusCode.INVALID_ARGUMENT,
    "MEDIA_DAMAGED": grpc.StatusCode.INVALID_ARGUMENT,
    "MEDIA_LIMIT": grpc.StatusCode.INVALID_ARGUMENT,
    "MEDIA_TIMEOUT": grpc.StatusCode.FAILED_PRECONDITION,
    "MEDIA_CRASHED": grpc.StatusCode.FAILED_PRECONDITION,
    "MEDIA_FEATURELESS": grpc.StatusCode.INVALID_ARGUMENT,
}


def code_of(error: Exception) -> grpc.StatusCode:
    """The gRPC code of an error; INTERNAL for one that is not the caller's."""
    if isinstance(error, errors.ServiceError):
        return _BY_REASON.get(error.reason, grpc.StatusCode.INTERNAL)
    return grpc.StatusCode.INTERNAL


def row_status(reason: str, message: str) -> status_pb2.Status:
    """The status of an error that was stored as text."""
    code, _ = _BY_REASON.get(reason, grpc.StatusCode.INTERNAL).value
    status = status_pb2.Status(code=code, message=_short(message))
    _attach(status, error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))
    return status


def failure(error: Exception) -> status_pb2.Status:
    """The status of any error; one that is not the caller's goes to the log, under the id that is told."""
    if isinstance(error, errors.ServiceError):
        return status_of(error)
    error_id = uuid.uuid4().hex
    log.error("a call failed", error_id=error_id, exc_info=error)
    return status_of(error, error_id=error_id)


def status_of(error: Exception, *, error_id: str = "") -> status_pb2.Status:
    """The status of an error with its details: ErrorInfo always, others where they help.

    Args:
        error: What happened. The text of an error that is not a `ServiceError` stays in the log.
        error_id: Under which the log tells more of such an error.
    """
    code, _ = code_of(error).value
    if not isinstance(error, errors.ServiceError):
        return status_pb2.Status(code=code, message=_INTERNAL_MESSAGE.format(id=error_id))
    message = _short(str(error))
    metadata = {name: _short(value) for name, value in error.metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    ]
    if isinstance(error, errors.InvalidRequestError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_short(error.field), description=message, reason=error.reason
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.QuotaExceededError | errors.BusyError):
        details.append(error_details_pb2.RetryInfo(retry_delay=_duration(error.retry_after)))
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        _attach(status, detail)
    return status


def _short(text: str) -> str:
    """A text, cut where it repeats what the caller sent at length: a status with more does not arrive."""
    return text.encode()[:_MAX_TEXT_BYTES].decode(errors="ignore")


def _attach(status: status_pb2.Status, detail: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _duration(seconds: float) -> duration_pb2.Duration:
    fraction, whole = math.modf(seconds)
    return duration_pb2.Duration(seconds=int(whole), nanos=int(fraction * 1e9))
