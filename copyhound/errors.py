"""What can go wrong for a caller.

::

    CopyhoundError
    ├── InvalidRequestError        the request must change; `violations` names the fields
    ├── UnauthenticatedError       no key, or one that is not (or no longer) known
    ├── ForbiddenError             the key's role or owner does not allow it
    ├── QuotaExceededError         the key's quota is used up; `retry_after` says for how long
    ├── NotFoundError              no such work, reference or operation
    ├── AlreadyExistsError         another work of the owner has this external id
    ├── RequestIdReusedError       the request id was used for another request
    ├── StaleError                 the work changed meanwhile, or the index has not caught up
    ├── LeaseLostError             the run has ended, or belongs to another crawler
    ├── CaseHeldError              somebody else is deciding the case; metadata says who and how long
    ├── UnreadableMediaError       the server cannot read the media; `reason` says why
    ├── MediaTooLargeError         more bytes than the server takes
    ├── BusyError                  the server is starting, stopping or overloaded; see `retry_after`
    ├── StorageFullError           the server's disk is full: nothing was registered
    ├── LocalFileError             the file cannot be read on this machine
    ├── DeadlineExceededError      no answer within the client's timeout
    ├── ServerUnreachableError     no server answers at the address
    ├── CancelledError             the request was cancelled
    └── ServerError                the server failed in a way that it does not explain

Each has a stable `reason`; docs/guides/client.md lists them. Messages say what to do next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong.

    Attributes:
        field: Its path, such as ``work.owner``.
        description: What it wants.
    """

    field: str
    description: str


class CopyhoundError(Exception):
    """Root of the client's errors.

    Attributes:
        reason: Stable code.
        metadata: Facts for programs, such as the id that was not found.
        violations: The fields that are wrong, where the server named them.
        retry_after: Seconds after which it is worth trying again; None: the server did not say.
    """

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        """Keep the message and what the server told besides; an empty reason is the class's own."""
        super().__init__(message)
        self.reason = reason or self.default_reason
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations = tuple(violations)
        self.retry_after = retry_after


class InvalidRequestError(CopyhoundError):
    """The request must change; `violations` names the fields."""

    default_reason = "INVALID_REQUEST"


class UnauthenticatedError(CopyhoundError):
    """No key was sent, or one that is not (or no longer) known."""

    default_reason = "UNAUTHENTICATED"


class ForbiddenError(CopyhoundError):
    """The key's role or owner does not allow it."""

    default_reason = "FORBIDDEN"


class QuotaExceededError(CopyhoundError):
    """The key's quota is used up; `retry_after` says for how long."""

    default_reason = "QUOTA_EXCEEDED"


class NotFoundError(CopyhoundError):
    """No such work, reference or operation, or none that the key may see."""

    default_reason = "NOT_FOUND"


class AlreadyExistsError(CopyhoundError):
    """Another work of the owner has this external id."""

    default_reason = "ALREADY_EXISTS"


class RequestIdReusedError(CopyhoundError):
    """The request id was used before, for another request."""

    default_reason = "REQUEST_ID_REUSED"


class StaleError(CopyhoundError):
    """The work changed meanwhile, or the index has not caught up in time."""

    default_reason = "STALE"


class LeaseLostError(CopyhoundError):
    """The run has ended, or belongs to another crawler: stop working on it."""

    default_reason = "LEASE_LOST"


class CaseHeldError(CopyhoundError):
    """Somebody else is deciding the case; metadata `holder` is their key's id, `until` says how long."""

    default_reason = "CASE_HELD"


class UnreadableMediaError(CopyhoundError):
    """The server cannot read the media.

    `reason` is ``MEDIA_UNSUPPORTED`` (unknown format), ``MEDIA_DAMAGED``, ``MEDIA_LIMIT`` (too many pixels
    or frames, or too much memory), ``MEDIA_TIMEOUT``, ``MEDIA_CRASHED`` (reading it ended the process that
    tried) or ``MEDIA_FEATURELESS`` (nothing in it would tell its copies: register another).
    """

    default_reason = "MEDIA_DAMAGED"


class MediaTooLargeError(CopyhoundError):
    """More bytes than the server takes."""

    default_reason = "MEDIA_TOO_LARGE"


class BusyError(CopyhoundError):
    """The server is starting, stopping or overloaded; see `retry_after`."""

    default_reason = "BUSY"


class StorageFullError(CopyhoundError):
    """The server's disk is full: nothing was registered."""

    default_reason = "STORAGE_FULL"


class LocalFileError(CopyhoundError):
    """The file cannot be read on this machine; the cause is the `OSError`."""

    default_reason = "LOCAL_FILE"


class DeadlineExceededError(CopyhoundError):
    """No answer within the client's timeout."""

    default_reason = "DEADLINE_EXCEEDED"


class ServerUnreachableError(CopyhoundError):
    """No server answers at the address."""

    default_reason = "SERVER_UNREACHABLE"


class CancelledError(CopyhoundError):
    """The request was cancelled."""

    default_reason = "CANCELLED"


class ServerError(CopyhoundError):
    """The server failed in a way that it does not explain."""

    default_reason = "INTERNAL"
