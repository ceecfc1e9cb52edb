"""What can go wrong in the service.

::

    ServiceError
    ├── InvalidRequestError        the caller must change the request
    ├── UnauthenticatedError       no key, or a key that is not (or no longer) known
    ├── ForbiddenError             the key's role or owner does not allow it
    ├── QuotaExceededError         the key's quota is used up for now
    ├── NotFoundError              no such work, reference or operation
    ├── AlreadyExistsError         another work has this external id
    ├── RequestIdReusedError       the request id was used for another request
    ├── StaleError                 the work changed meanwhile, or the index has not caught up
    ├── LeaseLostError             the run has ended, or belongs to another crawler
    ├── CaseHeldError              somebody else is deciding the case
    ├── UnreadableMediaError       the media cannot be read; `reason` says why
    ├── MediaTooLargeError         more bytes than the server takes
    ├── BusyError                  the server is starting, stopping or overloaded: try again
    ├── StorageFullError           the disk is full: nothing was registered
    └── StartupError               the service cannot start
        ├── FolderInUseError         another server works on the folder
        └── StoreVersionError        the database was written by a newer version

Each class has a stable `reason`, which clients see as ``google.rpc.ErrorInfo.reason`` and which
docs/guides/errors.md explains. `rpc/errors.py` maps the classes to gRPC status codes, once.
"""

import errno
from collections.abc import Mapping
from typing import ClassVar, Final

DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The system's error numbers that make a `StorageFullError`."""


class ServiceError(Exception):
    """Root of the service's errors.

    Attributes:
        reason: Stable code.
        metadata: Facts for programs, such as the id that was not found.
    """

    reason: str = "INTERNAL"

    def __init__(self, message: str, **metadata: str) -> None:
        """Say what was wrong and what to do next.

        Args:
            message: One English sentence or two, without secrets.
            metadata: Facts for programs.
        """
        super().__init__(message)
        self.metadata: Mapping[str, str] = metadata


class InvalidRequestError(ServiceError):
    """The caller must change the request.

    Attributes:
        field: Path of the field that is wrong, such as ``work.owner``.
    """

    reason = "INVALID_REQUEST"

    def __init__(self, field: str, message: str) -> None:
        """Name the field and what it wants."""
        super().__init__(f"{field}: {message}", field=field)
        self.field = field


class UnauthenticatedError(ServiceError):
    """No key was sent, or one that is not (or no longer) known."""

    reason = "UNAUTHENTICATED"


class ForbiddenError(ServiceError):
    """The key's role or owner does not allow it."""

    reason = "FORBIDDEN"


class QuotaExceededError(ServiceError):
    """The key's quota is used up for now.

    Attributes:
        retry_after: Seconds after which it is worth trying again.
    """

    reason = "QUOTA_EXCEEDED"

    def __init__(self, message: str, *, retry_after: float, **metadata: str) -> None:
        """Say which quota, and when it allows more."""
        super().__init__(message, **metadata)
        self.retry_after = retry_after


class NotFoundError(ServiceError):
    """No such work, reference or operation (or none that the key may see)."""

    reason = "NOT_FOUND"


class AlreadyExistsError(ServiceError):
    """Another work of the owner has this external id."""

    reason = "ALREADY_EXISTS"


class RequestIdReusedError(ServiceError):
    """The request id was used before, for another request."""

    reason = "REQUEST_ID_REUSED"


class StaleError(ServiceError):
    """The work changed meanwhile, or the index has not caught up in time."""

    reason = "STALE"


class LeaseLostError(ServiceError):
    """The run has ended, or belongs to another crawler: nothing more is taken for it."""

    reason = "LEASE_LOST"


class CaseHeldError(ServiceError):
    """Somebody else holds the case: take another, or wait until the metadata's `until`."""

    reason = "CASE_HELD"


class UnreadableMediaError(ServiceError):
    """The media cannot be read.

    The instance's `reason` tells why: ``MEDIA_UNSUPPORTED``, ``MEDIA_DAMAGED``, ``MEDIA_LIMIT`` (it asks
    for more pixels, frames or memory than allowed), ``MEDIA_TIMEOUT``, ``MEDIA_CRASHED`` (reading it
    ended the process that tried) or ``MEDIA_FEATURELESS`` (it was to be registered, and resembles too much).
    """

    reasons: ClassVar[tuple[str, ...]] = (
        "MEDIA_UNSUPPORTED",
        "MEDIA_DAMAGED",
        "MEDIA_LIMIT",
        "MEDIA_TIMEOUT",
        "MEDIA_CRASHED",
        "MEDIA_FEATURELESS",
    )

    def __init__(self, reason: str, message: str) -> None:
        """Take one of `reasons` and a message for people."""
        super().__init__(message)
        self.reason = reason


class MediaTooLargeError(ServiceError):
    """More bytes than the server takes."""

    reason = "MEDIA_TOO_LARGE"


class BusyError(ServiceError):
    """The server is starting, stopping or overloaded.

    Attributes:
        retry_after: Seconds after which it is worth trying again.
    """

    reason = "BUSY"

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        """Say why, and when to try again."""
        super().__init__(message)
        self.retry_after = retry_after


class StorageFullError(ServiceError):
    """The disk is full. What was acknowledged before is safe; this request changed nothing."""

    reason = "STORAGE_FULL"


class StartupError(ServiceError):
    """The service cannot start."""

    reason = "STARTUP"


class FolderInUseError(StartupError):
    """Another server works on the folder."""

    reason = "FOLDER_IN_USE"


class StoreVersionError(StartupError):
    """The database was written by a newer version of Copyhound."""

    reason = "STORE_VERSION"
