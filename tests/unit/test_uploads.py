"""Streamed and inline media: order, quotas, and whose word counts for the digest."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import numpy as np
import pytest

from copyhound.v1 import fingerprint_pb2, match_pb2
from indexers.fingerprint import Fingerprint
from indexers.image.hashes import PDQ
from indexers.modality import Role
from service.domain import ApiKey, KeyRole
from service.errors import InvalidRequestError, QuotaExceededError
from service.rpc.access import Caller
from service.rpc.media import MediaReader
from service.rpc.quotas import Quotas
from service.rpc.uploads import Spooler, first_message
from service.sandbox import ReadMedia, digest_of, spool

HEADER = match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamRequest.Header(filename="a.png"))
FREE = Caller(None, Quotas())


class Stream:
    """A stream that counts what was taken of it."""

    def __init__(self, *messages: match_pb2.MatchStreamRequest) -> None:
        self.taken = 0
        self._messages = messages

    async def __aiter__(self) -> AsyncIterator[match_pb2.MatchStreamRequest]:
        for message in self._messages[self.taken :]:
            self.taken += 1
            yield message


def chunk(content: bytes) -> match_pb2.MatchStreamRequest:
    return match_pb2.MatchStreamRequest(chunk=content)


def limited(bytes_per_minute: int) -> Caller:
    key = ApiKey("k", KeyRole.PLATFORM, None, 0, bytes_per_minute, b"", datetime.now(UTC), None)
    return Caller(key, Quotas(clock=lambda: 0.0))


def lie() -> ReadMedia:
    """What a worker says that a file has taken over."""
    prints = Fingerprint(
        PDQ,
        np.zeros((1, 32), np.uint8),
        np.array([[0.0, 1.0]]),
        np.ones(1, np.float32),
        np.zeros(1, np.uint8),
    )
    return ReadMedia("image", (prints,), bytes(32), 2**40, 0.0, 0.0)


async def test_the_header_is_read_before_any_chunk() -> None:
    stream = Stream(HEADER, chunk(b"a"))
    assert (await first_message(aiter(stream))).header.filename == "a.png"
    assert stream.taken == 1
    for wrong in (Stream(), Stream(chunk(b"a")), Stream(match_pb2.MatchStreamRequest())):
        with pytest.raises(InvalidRequestError) as caught:
            await first_message(aiter(wrong))
        assert caught.value.field == "header"


async def test_what_arrives_is_spooled_and_digested(tmp_path: Path) -> None:
    seen: list[bytes] = []
    upload = await Spooler(tmp_path, 100).receive(
        aiter(Stream(chunk(b"one"), chunk(b"two"))), FREE, seen.append
    )
    with upload.media:
        assert upload.media.read() == b"onetwo"
    assert seen == [b"onetwo"]
    read = upload.vouched(lie())
    assert (read.sha256, read.byte_count) == (hashlib.sha256(b"onetwo").digest(), 6)


@pytest.mark.parametrize("wrong", [chunk(b""), chunk(bytes(1024 * 1024 + 1)), HEADER])
async def test_only_chunks_that_hold_something_are_taken(
    tmp_path: Path, wrong: match_pb2.MatchStreamRequest
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await Spooler(tmp_path, 10**7).receive(aiter(Stream(chunk(b"a"), wrong)), FREE, Mock())
    assert caught.value.field == "chunk"


async def test_an_upload_that_has_begun_goes_on_and_the_next_one_waits(tmp_path: Path) -> None:
    caller = limited(100)
    spooler = Spooler(tmp_path, 10**6)
    upload = await spooler.receive(aiter(Stream(*[chunk(bytes(60))] * 10)), caller, Mock())
    upload.media.close()
    assert upload.byte_count == 600
    with pytest.raises(QuotaExceededError) as caught:
        await spooler.receive(aiter(Stream(chunk(b"a"))), caller, Mock())
    assert caught.value.retry_after == pytest.approx(501 * 60 / 100)


@pytest.mark.parametrize("size", [10, 3 * 1024 * 1024])
async def test_the_digest_of_inline_media_is_the_services_own(size: int) -> None:
    matcher = Mock(read=AsyncMock(return_value=lie()))
    content = bytes(size)
    item = fingerprint_pb2.Media(content=content)
    read = await MediaReader(matcher, 10**9).read(item, Role.REFERENCE, None, "media", FREE)
    assert (read.sha256, read.byte_count) == (hashlib.sha256(content).digest(), size)


def test_a_files_digest_is_taken_from_its_beginning_and_leaves_it_there() -> None:
    with spool(b"onetwo") as media:
        assert digest_of(media) == (hashlib.sha256(b"onetwo").digest(), 6)
        assert media.read() == b"onetwo"
