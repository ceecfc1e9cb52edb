"""Who visits the pages: signing in with a key, sessions, tokens against forged forms."""

import asyncio
import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final
from unicodedata import bidirectional

from service.domain import KeyRole, Session
from service.errors import ForbiddenError, QuotaExceededError, UnauthenticatedError
from service.keys import read_key
from service.reviewed import ANONYMOUS, Actor
from service.store import Store

ROLES: Final = frozenset({KeyRole.OWNER, KeyRole.INVESTIGATOR, KeyRole.ADMIN})
"""Roles that may sign in."""

_TOUCH: Final = timedelta(minutes=1)
_ATTEMPTS: Final = 10
"""Failed attempts to sign in that one address has in `_WINDOW` seconds; all addresses together have ten times
as many."""
_WINDOW: Final = 60.0
_MOST_ADDRESSES: Final = 10_000
_PEOPLE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who is signed in.

    Attributes:
        token: The session's secret, from the cookie.
        anonymous: Whether they came in without a key.
    """

    token: str
    actor: Actor
    anonymous: bool

    @property
    def form_token(self) -> str:
        """What every form of this session carries, and nobody else can know."""
        return form_token(self.token)


def form_token(secret: str) -> str:
    """Derive what a form carries from a secret that only a cookie holds."""
    return hmac.new(secret.encode(), b"copyhound form", hashlib.sha256).hexdigest()


class Attempts:
    """Counts failed attempts to sign in, so that nobody tries keys by the thousand."""

    def __init__(self) -> None:
        """Begin with none."""
        self._failed: dict[str, deque[float]] = {}
        self._all: deque[float] = deque()

    def check(self, address: str) -> None:
        """Let an address try.

        Raises:
            QuotaExceededError: If it failed too often, or all did.
        """
        now = monotonic()
        for times, most in ((self._failed.get(address), _ATTEMPTS), (self._all, 10 * _ATTEMPTS)):
            while times and times[0] <= now - _WINDOW:
                times.popleft()
            if times and len(times) >= most:
                raise QuotaExceededError(
                    "too many attempts to sign in failed; wait a minute",
                    retry_after=times[0] + _WINDOW - now,
                )

    def failed(self, address: str) -> None:
        """Note that an attempt failed."""
        if len(self._failed) >= _MOST_ADDRESSES:
            self._failed.clear()
        now = monotonic()
        self._failed.setdefault(address, deque()).append(now)
        self._all.append(now)


def isolated(name: str) -> str:
    """A name as part of a sentence: one that is written from right to left leaves the rest as it is.

    By first strong isolates, Unicode Standard Annex 9, section 2.5.
    """
    turned = any(bidirectional(character) in {"R", "AL"} for character in name)
    return f"\u2068{name}\u2069" if turned else name


class Visits:
    """Starts, finds and ends sessions."""

    def __init__(self, store: Store, *, idle: timedelta, longest: timedelta, allow_anonymous: bool) -> None:
        """Keep sessions in `store`.

        Args:
            store: Where keys and sessions are.
            idle: How long a session lasts without being used.
            longest: How long it lasts at all.
            allow_anonymous: Whether anybody may come in, with every right.
        """
        self._store = store
        self._idle = idle
        self._longest = longest
        self.allow_anonymous = allow_anonymous
        self.attempts = Attempts()
        self._people: Mapping[str, str] = {}
        self._people_until = 0.0

    async def people(self) -> Mapping[str, str]:
        """Who has which key, by the keys' ids; a name that changed shows some seconds later."""
        if monotonic() >= self._people_until:
            self._people_until = monotonic() + _PEOPLE_SECONDS
            names = await asyncio.to_thread(self._store.key_names)
            self._people = {key_id: isolated(name) for key_id, name in names.items()}
        return self._people

    async def sign_in(self, key_text: str, address: str) -> Visit:
        """Start a session with a key.

        Raises:
            UnauthenticatedError: If the key is not valid.
            ForbiddenError: If its role has no business here.
            QuotaExceededError: If this address failed too often.
        """
        self.attempts.check(address)
        claim = read_key(key_text)
        key = None if claim is None else await asyncio.to_thread(self._store.find_key, claim.key_id)
        if claim is None or key is None or not claim.holds_for(key):
            self.attempts.failed(address)
            raise UnauthenticatedError("the API key is not valid, or was revoked; ask for a new one")
        if key.role not in ROLES:
            raise ForbiddenError(
                f"a key of role {key.role} is for programs; ask for one of role investigator"
            )
        return await self._start(Session(key, *2 * (datetime.now(UTC),)))

    async def come_in(self) -> Visit:
        """Start an anonymous session, with every right.

        Raises:
            UnauthenticatedError: If a key is asked for here.
        """
        if not self.allow_anonymous:
            raise UnauthenticatedError("sign in with an API key; `copyhound keys create` makes one")
        return await self._start(Session(None, *2 * (datetime.now(UTC),)))

    async def find(self, token: str | None) -> Visit | None:
        """Tell whose session a token is; None: nobody's, or it has ended."""
        if not token:
            return None
        digest = _digest(token)
        session = await asyncio.to_thread(self._store.find_session, digest)
        now = datetime.now(UTC)
        if session is None or not self._valid(session, now):
            return None
        if now - session.seen_at >= _TOUCH:
            await asyncio.to_thread(self._store.touch_session, digest, now)
        return _visit(token, session)

    async def end(self, visit: Visit) -> None:
        """Sign out."""
        await asyncio.to_thread(self._store.end_session, _digest(visit.token))

    async def end_all(self, visit: Visit) -> int:
        """Sign out everywhere: end every session of the visitor's key; return how many there were."""
        key_id = None if visit.anonymous else visit.actor.id
        return await asyncio.to_thread(self._store.end_sessions, key_id)

    async def _start(self, session: Session) -> Visit:
        token = secrets.token_urlsafe(32)
        await asyncio.to_thread(self._open, _digest(token), session)
        return _visit(token, session)

    def _open(self, digest: bytes, session: Session) -> None:
        now = session.created_at
        self._store.forget_sessions(created_before=now - self._longest, seen_before=now - self._idle)
        self._store.create_session(digest, session)

    def _valid(self, session: Session, now: datetime) -> bool:
        if session.key is None:
            allowed = self.allow_anonymous
        else:
            allowed = session.key.revoked_at is None and session.key.role in ROLES
        return allowed and now - session.created_at < self._longest and now - session.seen_at < self._idle


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _visit(token: str, session: Session) -> Visit:
    key = session.key
    if key is None:
        return Visit(token, Actor(ANONYMOUS, KeyRole.ADMIN, None), anonymous=True)
    return Visit(token, Actor(key.id, key.role, key.owner), anonymous=False)
