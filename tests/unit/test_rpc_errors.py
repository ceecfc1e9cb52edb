"""Errors as statuses that fit into headers."""

from google.rpc import error_details_pb2

from service.errors import AlreadyExistsError, InvalidRequestError
from service.rpc.errors import row_status, status_of


def test_messages_are_clipped() -> None:
    long = "x" * 100_000
    assert status_of(AlreadyExistsError(long)).message == "x" * 600
    assert row_status("NOT_FOUND", long).message == "x" * 600
    status = status_of(InvalidRequestError("title", long))
    details = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(details)
    assert len(details.field_violations[0].description) == 600
    assert details.field_violations[0].field == "title"
    assert status.ByteSize() < 4000
