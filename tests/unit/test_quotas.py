"""Quotas: a minute's worth at once, refilled steadily."""

from datetime import UTC, datetime

import pytest

from service.domain import ApiKey, KeyRole
from service.errors import QuotaExceededError
from service.rpc.quotas import Quotas


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def key(requests: int = 0, media_bytes: int = 0, key_id: str = "k") -> ApiKey:
    return ApiKey(key_id, KeyRole.PLATFORM, None, requests, media_bytes, b"", datetime.now(UTC), None)


def test_a_minutes_worth_then_a_steady_refill() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    limited = key(requests=60)
    quotas.charge(limited, requests=60)
    with pytest.raises(QuotaExceededError) as caught:
        quotas.charge(limited, requests=1)
    assert caught.value.retry_after == pytest.approx(1.0)
    assert caught.value.metadata == {"quota": "requests_per_minute"}
    clock.now += 1.0
    quotas.charge(limited, requests=1)
    with pytest.raises(QuotaExceededError):
        quotas.charge(limited, requests=1)


def test_a_refused_charge_takes_nothing() -> None:
    quotas = Quotas(Clock())
    limited = key(requests=10, media_bytes=100)
    quotas.charge(limited, requests=1)
    with pytest.raises(QuotaExceededError):
        quotas.charge(limited, requests=10, media_bytes=1)
    quotas.charge(limited, requests=9, media_bytes=100)


def test_an_item_larger_than_a_minutes_worth_passes_a_full_bucket() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    limited = key(media_bytes=100)
    quotas.charge(limited, media_bytes=1000)
    with pytest.raises(QuotaExceededError) as caught:
        quotas.charge(limited, media_bytes=1)
    assert caught.value.retry_after > 60
    clock.now += 600
    quotas.charge(limited, media_bytes=1)


def test_keys_do_not_share_and_zero_is_no_quota() -> None:
    quotas = Quotas(Clock())
    quotas.charge(key(requests=1, key_id="a"), requests=1)
    quotas.charge(key(requests=1, key_id="b"), requests=1)
    quotas.charge(key(), requests=10**9, media_bytes=10**15)


def test_what_was_admitted_may_overdraw_and_the_next_waits() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    small = key(media_bytes=60)
    quotas.charge(small, media_bytes=60)
    quotas.charge(small, media_bytes=120, overdraft=True)
    with pytest.raises(QuotaExceededError) as caught:
        quotas.charge(small, media_bytes=1)
    assert caught.value.retry_after == pytest.approx(121)
    clock.now += 121
    quotas.charge(small, media_bytes=1)


def test_a_refund_never_gives_more_than_a_minutes_worth() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    limited = key(requests=2)
    quotas.refund(limited, requests=5)
    quotas.charge(limited, requests=2)
    with pytest.raises(QuotaExceededError):
        quotas.charge(limited, requests=1)
    quotas.refund(key(), requests=1)
