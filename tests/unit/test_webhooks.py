"""Webhooks: signatures, refused addresses, pauses between attempts."""

import socket
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from copyhound import UnauthenticatedError, verify_webhook
from copyhound.webhook import sign
from crawler.addresses import read_networks
from service.monitored import Delivery, Webhook
from service.monitoring.webhooks import HttpPost, pause_after

KEY, BODY = "k" * 32, b'{"id":"1"}'
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_signature_is_the_hmac_of_time_and_body() -> None:
    # By: printf '1795348800.{"id":"1"}' | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
    digest = "32d1dc80e8da6ca69284adc35b42705bf61145820c434ed378642a2d62cb68ad"
    assert sign(KEY, BODY, NOW) == f"t=1795348800,v1={digest}"
    verify_webhook(KEY, sign(KEY, BODY, NOW), BODY, now=NOW)


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_signature_holds_inside_the_replay_window(seconds: int) -> None:
    verify_webhook(KEY, sign(KEY, BODY, NOW), BODY, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("key", "body", "header", "seconds"),
    [
        ("other", BODY, None, 0),
        (KEY, BODY + b" ", None, 0),
        (KEY, BODY, None, 301),
        (KEY, BODY, None, -301),
        (KEY, BODY, "", 0),
        (KEY, BODY, "t=x,v1=00", 0),
        (KEY, BODY, "t=1795348800", 0),
        (KEY, BODY, "t=1795348800,v1=\udcff", 0),
        (KEY, BODY, "t=99999999999999999999,v1=00", 0),
    ],
)
def test_a_wrong_or_old_signature_is_refused(key: str, body: bytes, header: str | None, seconds: int) -> None:
    given = sign(KEY, BODY, NOW) if header is None else header
    with pytest.raises(UnauthenticatedError):
        verify_webhook(key, given, body, now=NOW + timedelta(seconds=seconds))


def test_pauses_double_up_to_six_hours() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, 30)]
    assert pauses[:3] == [timedelta(seconds=seconds) for seconds in (10, 20, 40)]
    assert pauses[-1] == max(pauses) == timedelta(hours=6)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "0.0.0.0"])  # noqa: S104
def test_addresses_that_are_not_public_are_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        pytest.fail("a refused address was connected to")

    monkeypatch.setattr(socket.socket, "connect", connect)
    delivery = Delivery(UUID(int=1), Webhook(f"http://{host}:9/", KEY), "run.ended", "{}", 0)
    with pytest.raises(OSError, match=r"not a public address|cloud's secrets"):
        HttpPost()(delivery)


def test_a_name_is_judged_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.1.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answers)
    delivery = Delivery(UUID(int=1), Webhook("http://public.example/", KEY), "run.ended", "{}", 0)
    with pytest.raises(OSError, match=r"192\.168\.1\.1 is not a public address"):
        HttpPost(read_networks(["127.0.0.0/8"]))(delivery)
