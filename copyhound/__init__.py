"""Copyhound's client: register works, ask for copies.

>>> import copyhound
>>> with copyhound.Client("localhost:50051") as client:  # doctest: +SKIP
...     work = client.register("poster.png", owner="studio", external_id="P-17")
...     answer = client.match("suspect.jpg")
"""

from importlib import metadata

from copyhound.async_client import AsyncClient
from copyhound.client import Client
from copyhound.errors import (
    AlreadyExistsError,
    BusyError,
    CancelledError,
    CopyhoundError,
    DeadlineExceededError,
    FieldViolation,
    ForbiddenError,
    InvalidRequestError,
    LocalFileError,
    MediaTooLargeError,
    NotFoundError,
    QuotaExceededError,
    RequestIdReusedError,
    ServerError,
    ServerUnreachableError,
    StaleError,
    StorageFullError,
    UnauthenticatedError,
    UnreadableMediaError,
)
from copyhound.folders import packed
from copyhound.imports import AsyncImport, Import
from copyhound.transport import Tls
from copyhound.types import (
    Action,
    Answer,
    Box,
    Comparison,
    Fingerprint,
    FingerprintSet,
    ImportProgress,
    ImportResult,
    ImportRow,
    ImportRowError,
    IndexState,
    Licence,
    Match,
    NewWork,
    PartMatch,
    PartsFound,
    Policy,
    QueryOptions,
    Reason,
    Reference,
    Region,
    Registration,
    SchemeState,
    Segment,
    Source,
    Work,
)

__version__ = metadata.version("copyhound")

__all__ = [
    "Action",
    "AlreadyExistsError",
    "Answer",
    "AsyncClient",
    "AsyncImport",
    "Box",
    "BusyError",
    "CancelledError",
    "Client",
    "Comparison",
    "CopyhoundError",
    "DeadlineExceededError",
    "FieldViolation",
    "Fingerprint",
    "FingerprintSet",
    "ForbiddenError",
    "Import",
    "ImportProgress",
    "ImportResult",
    "ImportRow",
    "ImportRowError",
    "IndexState",
    "InvalidRequestError",
    "Licence",
    "LocalFileError",
    "Match",
    "MediaTooLargeError",
    "NewWork",
    "NotFoundError",
    "PartMatch",
    "PartsFound",
    "Policy",
    "QueryOptions",
    "QuotaExceededError",
    "Reason",
    "Reference",
    "Region",
    "Registration",
    "RequestIdReusedError",
    "SchemeState",
    "Segment",
    "ServerError",
    "ServerUnreachableError",
    "Source",
    "StaleError",
    "StorageFullError",
    "Tls",
    "UnauthenticatedError",
    "UnreadableMediaError",
    "Work",
    "__version__",
    "packed",
]
