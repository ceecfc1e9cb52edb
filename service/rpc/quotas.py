"""Quotas by key: token buckets that refill steadily and hold one minute's worth."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from service.domain import ApiKey
from service.errors import QuotaExceededError


@dataclass(slots=True)
class _Bucket:
    level: float
    filled_at: float


class Quotas:
    """What each key has left, in this process."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Start with full buckets."""
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def charge(
        self, key: ApiKey, *, requests: int = 0, media_bytes: int = 0, overdraft: bool = False
    ) -> None:
        """Take from a key's quotas, or take nothing.

        Args:
            key: Whose.
            requests: How many requests.
            media_bytes: How many bytes of media.
            overdraft: Take more than there is, where the quota allows it or not: for what goes on after it
                was admitted. Later charges wait until the debt is paid.

        Raises:
            QuotaExceededError: If one of them does not allow it now.
        """
        wanted = [
            ("requests", requests, key.requests_per_minute),
            ("bytes", media_bytes, key.bytes_per_minute),
        ]
        limited = [(unit, cost, limit) for unit, cost, limit in wanted if limit and cost]
        levels = [self._level(key, unit, limit) for unit, _, limit in limited]
        for (unit, cost, limit), bucket in zip(limited, levels, strict=True):
            # A full bucket always serves: an item larger than a minute's quota would never pass.
            if not overdraft and bucket.level < min(cost, limit):
                missing = min(cost, limit) - bucket.level
                raise QuotaExceededError(
                    f"the key's quota of {limit} {unit} a minute is used up; wait, or ask for a larger one",
                    retry_after=missing * 60 / limit,
                    quota=f"{unit}_per_minute",
                )
        for (_, cost, _), bucket in zip(limited, levels, strict=True):
            bucket.level -= cost

    def refund(self, key: ApiKey, *, requests: int) -> None:
        """Give back requests that were charged."""
        if key.requests_per_minute:
            self._level(key, "requests", key.requests_per_minute).level += requests

    def _level(self, key: ApiKey, unit: str, limit: int) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault((key.id, unit), _Bucket(limit, now))
        bucket.level = min(limit, bucket.level + (now - bucket.filled_at) * limit / 60)
        bucket.filled_at = now
        return bucket
