"""Who calls, and what they may do: API keys, roles, quotas."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic

from service.domain import ApiKey, KeyRole
from service.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from service.keys import read_key
from service.reviewed import Actor
from service.rpc.quotas import Quotas
from service.store import Store

_CACHE_SECONDS = 5.0
_CACHE_KEYS = 10_000

_READERS = frozenset({KeyRole.OWNER, KeyRole.INVESTIGATOR, KeyRole.ADMIN})
_WRITERS = frozenset({KeyRole.OWNER, KeyRole.ADMIN})
_CRAWLERS = frozenset({KeyRole.CRAWLER, KeyRole.ADMIN})
_EVERYBODY = frozenset(KeyRole) - {KeyRole.CRAWLER}

PERMISSIONS: dict[str, frozenset[KeyRole]] = {
    "/copyhound.v1.WorkService/CreateWork": _WRITERS,
    "/copyhound.v1.WorkService/GetWork": _READERS,
    "/copyhound.v1.WorkService/ListWorks": _READERS,
    "/copyhound.v1.WorkService/UpdateWork": _WRITERS,
    "/copyhound.v1.WorkService/DeleteWork": _WRITERS,
    "/copyhound.v1.WorkService/UploadReference": _WRITERS,
    "/copyhound.v1.WorkService/GetUploadProgress": _WRITERS,
    "/copyhound.v1.WorkService/BatchCreateWorks": _WRITERS,
    "/copyhound.v1.WorkService/ImportWorks": _WRITERS,
    "/copyhound.v1.MatchService/Match": _EVERYBODY,
    "/copyhound.v1.MatchService/MatchStream": _EVERYBODY,
    "/copyhound.v1.MatchService/BatchMatch": _EVERYBODY,
    "/copyhound.v1.MatchService/CompareMedia": _EVERYBODY,
    "/copyhound.v1.MatchService/GetIndexState": _EVERYBODY,
    "/copyhound.v1.MonitorService/CreateMonitoringList": _WRITERS,
    "/copyhound.v1.MonitorService/GetMonitoringList": _READERS,
    "/copyhound.v1.MonitorService/ListMonitoringLists": _READERS,
    "/copyhound.v1.MonitorService/UpdateMonitoringList": _WRITERS,
    "/copyhound.v1.MonitorService/DeleteMonitoringList": _WRITERS,
    "/copyhound.v1.MonitorService/ImportItems": _WRITERS,
    "/copyhound.v1.MonitorService/RunList": _WRITERS,
    "/copyhound.v1.MonitorService/GetRun": _READERS,
    "/copyhound.v1.MonitorService/ListRuns": _READERS,
    "/copyhound.v1.MonitorService/CancelRun": _WRITERS,
    "/copyhound.v1.MonitorService/WatchReports": _READERS,
    "/copyhound.v1.CaptureService/LeaseRun": _CRAWLERS,
    "/copyhound.v1.CaptureService/ReportProgress": _CRAWLERS,
    "/copyhound.v1.CaptureService/ReportSightings": _CRAWLERS,
    "/copyhound.v1.CaptureService/IngestCapture": _CRAWLERS,
    "/copyhound.v1.CaptureService/GetCapture": _READERS,
    "/copyhound.v1.CaptureService/ListCaptures": _READERS,
    "/copyhound.v1.ReportService/GetMatchReport": _READERS,
    "/copyhound.v1.ReportService/ListMatchReports": _READERS,
    "/copyhound.v1.ReportService/ExportEvidence": _READERS,
    "/copyhound.v1.PreviewService/GetPreview": _READERS,
    "/copyhound.v1.PreviewService/ReadPreview": _READERS,
    "/copyhound.v1.ReviewService/LeaseNext": _READERS,
    "/copyhound.v1.ReviewService/LeaseCase": _READERS,
    "/copyhound.v1.ReviewService/ReleaseCase": _READERS,
    "/copyhound.v1.ReviewService/GetCase": _READERS,
    "/copyhound.v1.ReviewService/ListCases": _READERS,
    "/copyhound.v1.ReviewService/ListCaseReports": _READERS,
    "/copyhound.v1.ReviewService/Decide": _READERS,
    "/copyhound.v1.ReviewService/BatchDecide": _READERS,
    "/copyhound.v1.ReviewService/Undo": _READERS,
    "/copyhound.v1.ReviewService/ListEvents": _READERS,
    "/copyhound.v1.ReviewService/AssignCase": _READERS,
    "/copyhound.v1.ReviewService/SetCaseDue": _READERS,
    "/copyhound.v1.ReviewService/AddComment": _READERS,
    "/copyhound.v1.ReviewService/SaveView": _READERS,
    "/copyhound.v1.ReviewService/ListSavedViews": _READERS,
    "/copyhound.v1.ReviewService/DeleteSavedView": _READERS,
    "/copyhound.v1.ReviewService/GetOverview": _READERS,
    "/copyhound.v1.ReviewService/GetPrecision": _READERS,
    "/copyhound.v1.ReviewService/ListExamples": _READERS,
    "/copyhound.v1.ReviewService/ListFlagged": _READERS,
    "/copyhound.v1.ReviewService/SuppressReference": _READERS,
    "/copyhound.v1.ReviewService/UnsuppressReference": _READERS,
    "/copyhound.v1.ReviewService/ListSuppressions": _READERS,
    "/copyhound.v1.ReviewService/ListReviewers": _READERS,
    "/google.longrunning.Operations/GetOperation": _WRITERS,
    "/google.longrunning.Operations/ListOperations": _WRITERS,
    "/google.longrunning.Operations/WaitOperation": _WRITERS,
    "/google.longrunning.Operations/CancelOperation": _WRITERS,
}
"""Roles that may call a method. Nobody may call others, but for health and reflection; see `guard`."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        key: None: an anonymous caller, who may do everything.
    """

    key: ApiKey | None
    _quotas: Quotas

    @property
    def id(self) -> str:
        """Key id, or ``anonymous``."""
        return "anonymous" if self.key is None else self.key.id

    @property
    def owner(self) -> str | None:
        """Whose works alone the caller sees; None: all."""
        return None if self.key is None else self.key.owner

    @property
    def actor(self) -> Actor:
        """The caller as review knows people; an anonymous one may do everything."""
        return Actor(self.id, KeyRole.ADMIN if self.key is None else self.key.role, self.owner)

    @property
    def sees_all_imports(self) -> bool:
        """Whether imports of other keys are shown too."""
        return self.key is None or self.key.role is KeyRole.ADMIN

    def may_write_for(self, owner: str) -> None:
        """Check that the caller may register works of `owner`.

        Raises:
            ForbiddenError: If not.
        """
        if self.owner not in (None, owner):
            raise ForbiddenError(
                f"the key registers works of owner “{self.owner}” alone; use that owner or another key"
            )

    def charge(self, *, requests: int = 0, media_bytes: int = 0, overdraft: bool = False) -> None:
        """Take from the key's quotas; see `Quotas.charge`.

        Raises:
            QuotaExceededError: If they do not allow it now.
        """
        if self.key is not None:
            self._quotas.charge(self.key, requests=requests, media_bytes=media_bytes, overdraft=overdraft)

    def charge_items(self, count: int) -> None:
        """Charge a call by its items, in one: what the call itself was charged is given back first.

        Raises:
            QuotaExceededError: If the quota does not allow them now.
        """
        if self.key is not None:
            self._quotas.refund(self.key, requests=1)
            self._quotas.charge(self.key, requests=count)


_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who makes the call that is being served."""
    return _caller.get()


def set_caller(caller: Caller) -> None:
    """Say who makes the call that is being served, for the rest of its task."""
    _caller.set(caller)


def not_found(kind: str, name: str) -> NotFoundError:
    """Say that something is not there; the same for what is not, and for what the caller may not see.

    Args:
        kind: Such as ``work``.
        name: Its resource name.
    """
    return NotFoundError(f"there is no {kind} {name}; it may have been deleted", name=name)


class Gate:
    """Tells callers by their keys. A revoked key is refused within five seconds."""

    def __init__(self, store: Store, *, allow_anonymous: bool) -> None:
        """Look keys up in `store`."""
        self._store = store
        self._allow_anonymous = allow_anonymous
        self._quotas = Quotas()
        self._cache: dict[str, tuple[float, ApiKey | None]] = {}

    async def admit(self, method: str, authorization: str | None) -> Caller:
        """Tell who calls, and check that their role allows the method.

        Args:
            method: Full name of the method.
            authorization: The call's `authorization` metadata: ``Bearer <key>``.

        Raises:
            UnauthenticatedError: If there is no valid key.
            ForbiddenError: If the key's role does not allow it.
        """
        if authorization is None:
            if self._allow_anonymous:
                return Caller(None, self._quotas)
            raise UnauthenticatedError(
                "send an API key as metadata `authorization: Bearer <key>`; `copyhound keys create` makes one"
            )
        key = await self._find(authorization)
        if key.role not in PERMISSIONS[method]:
            roles = ", ".join(sorted(PERMISSIONS[method]))
            raise ForbiddenError(f"the key's role is {key.role}; this method takes: {roles}")
        return Caller(key, self._quotas)

    async def _find(self, authorization: str) -> ApiKey:
        scheme, _, text = authorization.partition(" ")
        claim = read_key(text)
        if scheme.lower() == "bearer" and claim is not None:
            key = await self._cached(claim.key_id)
            if key is not None and claim.holds_for(key):
                return key
        raise UnauthenticatedError("the API key is not valid, or was revoked; ask for a new one")

    async def _cached(self, key_id: str) -> ApiKey | None:
        now = monotonic()
        known = self._cache.get(key_id)
        if known is not None and now - known[0] < _CACHE_SECONDS:
            return known[1]
        key = await asyncio.to_thread(self._store.find_key, key_id)
        if len(self._cache) >= _CACHE_KEYS:
            self._cache.clear()
        self._cache[key_id] = (now, key)
        return key
