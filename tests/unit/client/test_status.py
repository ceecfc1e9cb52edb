import inspect
from collections.abc import Callable

import grpc
import pytest
from google.rpc import code_pb2, status_pb2

import copyhound
from copyhound import errors, status
from service import errors as service_errors

MakeStatus = Callable[..., status_pb2.Status]


def service_reasons() -> list[str]:
    """Every reason that the service may send: errors on start-up never travel."""
    kinds = [kind for _, kind in inspect.getmembers(service_errors, inspect.isclass)]
    travelling = [kind for kind in kinds if not issubclass(kind, service_errors.StartupError)]
    reasons = {kind.reason for kind in travelling if issubclass(kind, service_errors.ServiceError)}
    return sorted(reasons | set(service_errors.UnreadableMediaError.reasons))


@pytest.mark.parametrize("reason", service_reasons())
def test_every_reason_of_the_service_has_its_error(reason: str, make_status: MakeStatus) -> None:
    error = status.from_status(make_status(code_pb2.UNKNOWN, "what to do next", reason))
    assert error.reason == reason
    assert str(error) == "what to do next"
    expected = "UnreadableMediaError" if reason.startswith("MEDIA_") else ""
    if reason == "MEDIA_TOO_LARGE":
        expected = "MediaTooLargeError"
    if reason == "INTERNAL":
        expected = "ServerError"
    if not expected:
        expected = "".join(word.capitalize() for word in reason.split("_")) + "Error"
    assert type(error).__name__ == expected


def test_details_are_kept(make_status: MakeStatus) -> None:
    made = make_status(
        code_pb2.INVALID_ARGUMENT, "is empty", "INVALID_REQUEST", field="work.owner", retry_after=1.5
    )
    error = status.from_status(made)
    assert error.violations == (copyhound.FieldViolation("work.owner", "is empty"),)
    assert error.retry_after == 1.5


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (code_pb2.INVALID_ARGUMENT, errors.InvalidRequestError),
        (code_pb2.OUT_OF_RANGE, errors.InvalidRequestError),
        (code_pb2.FAILED_PRECONDITION, errors.InvalidRequestError),
        (code_pb2.UNAUTHENTICATED, errors.UnauthenticatedError),
        (code_pb2.PERMISSION_DENIED, errors.ForbiddenError),
        (code_pb2.RESOURCE_EXHAUSTED, errors.QuotaExceededError),
        (code_pb2.NOT_FOUND, errors.NotFoundError),
        (code_pb2.ALREADY_EXISTS, errors.AlreadyExistsError),
        (code_pb2.ABORTED, errors.StaleError),
        (code_pb2.CANCELLED, errors.CancelledError),
        (code_pb2.DEADLINE_EXCEEDED, errors.DeadlineExceededError),
        (code_pb2.UNAVAILABLE, errors.ServerUnreachableError),
        (code_pb2.UNIMPLEMENTED, errors.ServerError),
        (code_pb2.INTERNAL, errors.ServerError),
        (code_pb2.DATA_LOSS, errors.ServerError),
    ],
)
def test_a_bare_code_becomes_an_error_with_advice(code: int, kind: type[errors.CopyhoundError]) -> None:
    error = status.from_status(status_pb2.Status(code=code, message="so said gRPC"))
    assert type(error) is kind
    assert str(error).startswith("so said gRPC: ")
    assert error.reason == kind.default_reason


def test_the_reason_of_another_service_is_not_ours(make_status: MakeStatus) -> None:
    made = make_status(code_pb2.NOT_FOUND, "no such bucket", "BUSY")
    made.details[0].value = made.details[0].value.replace(b"copyhound", b"other.com")
    assert type(status.from_status(made)) is errors.NotFoundError


@pytest.mark.parametrize("details", [b"\xff\xff", b"", status_pb2.Status(code=5).SerializeToString()])
def test_details_that_do_not_fit_the_code_are_left_aside(details: bytes) -> None:
    failure = grpc.aio.AioRpcError(
        grpc.StatusCode.ABORTED,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(("grpc-status-details-bin", details)),
        "changed",
    )
    assert type(status.from_call(failure)) is errors.StaleError


def test_an_answer_that_was_lost_while_sending_is_asked_for_again() -> None:
    nothing = grpc.aio.Metadata()
    lost = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL, nothing, nothing, details="Internal error from Core"
    )
    assert isinstance(status.from_call(lost), errors.ServerUnreachableError)


def test_every_error_is_part_of_the_tree_and_of_the_package() -> None:
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]
    for kind in kinds:
        assert kind.__name__ in copyhound.__all__
        if issubclass(kind, Exception):
            assert issubclass(kind, errors.CopyhoundError)
            assert kind.__name__ in (errors.__doc__ or "")
