"""Batches: bounded, charged in one, each item answered by itself."""

import asyncio
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from google.rpc import code_pb2, status_pb2

from service.domain import ApiKey, KeyRole
from service.errors import BusyError, InvalidRequestError, QuotaExceededError
from service.rpc import batches, errors
from service.rpc.access import Caller
from service.rpc.quotas import Quotas


def caller(requests_per_minute: int) -> Caller:
    key = ApiKey("k", KeyRole.PLATFORM, None, requests_per_minute, 0, b"", datetime.now(UTC), None)
    return Caller(key, Quotas(clock=lambda: 0.0))


@pytest.mark.parametrize("count", [0, 257])
def test_a_batch_has_1_to_256_items(count: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        batches.admit(range(count), caller(0))
    assert caught.value.field == "requests"


def test_a_batch_larger_than_a_minutes_worth_passes_an_untouched_quota() -> None:
    limited = caller(5)
    limited.charge(requests=1)  # the call itself, as the guard does
    batches.admit(range(6), limited)
    with pytest.raises(QuotaExceededError) as caught:
        limited.charge(requests=1)
    assert caught.value.retry_after == pytest.approx(24)  # one is owed, one is wanted, 12 seconds each


def test_a_batch_that_is_refused_costs_nothing() -> None:
    limited = caller(5)
    limited.charge(requests=3)
    for _ in range(3):
        limited.charge(requests=1)
        with pytest.raises(QuotaExceededError) as caught:
            batches.admit(range(4), limited)
        assert caught.value.retry_after == pytest.approx(24)
    limited.charge(requests=2)


async def test_few_items_are_in_work_at_a_time() -> None:
    in_work: set[int] = set()
    most = 0

    async def answer(item: int) -> str:
        nonlocal most
        in_work.add(item)
        most = max(most, len(in_work))
        await asyncio.sleep(0)
        in_work.remove(item)
        return f"{item}!"

    assert await batches.answer_each(range(50), answer, parallel=4) == [f"{i}!" for i in range(50)]
    assert most == 4


async def test_whatever_happens_to_an_item_is_that_items_status(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Mock()
    monkeypatch.setattr(errors, "log", log)

    async def answer(item: Exception | str) -> str:
        if isinstance(item, Exception):
            raise item
        return item

    items: list[Exception | str] = ["good", BusyError("later"), IndexError("a secret")]
    first, refused, failed = await batches.answer_each(items, answer, parallel=2)
    assert first == "good"
    assert isinstance(refused, status_pb2.Status)
    assert (refused.code, refused.message) == (code_pb2.UNAVAILABLE, "later")
    assert isinstance(failed, status_pb2.Status)
    assert failed.code == code_pb2.INTERNAL
    assert "secret" not in failed.message
    logged = log.error.call_args.kwargs
    assert logged["error_id"] == failed.message.rpartition(" ")[2]
    assert str(logged["exc_info"]) == "a secret"
