"""Answers to uploads under way: when they are asked for, of what, and what stops them."""

import asyncio
import os
from pathlib import Path
from typing import BinaryIO
from unittest.mock import Mock

import pytest

from service.domain import MatchReport
from service.rpc.early import EarlyAnswer, readable_from_the_start
from tests.sounds import encoded, film, tune

MIB = 1 << 20


def box(kind: bytes, length: int) -> bytes:
    return length.to_bytes(4, "big") + kind + bytes(length - 8)


@pytest.mark.parametrize(
    "beginning",
    [
        encoded(tune(1, 1)),
        encoded(tune(1, 1), "mp3", "libmp3lame", 22_050),
        encoded(tune(1, 1), "adts", "aac", 22_050),
        b"OggS" + bytes(100),
        encoded(tune(1, 1), "flac", "flac"),
        (b"G" + bytes(187)) * 3,
        film(tune(1, 1)),
        box(b"ftyp", 32) + box(b"moov", 100) + box(b"mdat", 100),
    ],
    ids=["WAV", "MP3", "AAC", "Ogg", "FLAC", "MPEG-TS", "Matroska", "MP4 with its index first"],
)
def test_files_that_need_no_end(beginning: bytes) -> None:
    assert readable_from_the_start(beginning)


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(300),
        b"%PDF-1.7",
        b"Great expectations, " * 20,
        box(b"ftyp", 32) + box(b"free", 8) + box(b"mdat", 100),
        box(b"ftyp", 32) + box(b"moov", 100)[:60],
        box(b"ftyp", 32) + bytes(40),
    ],
    ids=["nothing", "PNG", "PDF", "text", "MP4 with its index last", "half an index", "no length"],
)
def test_files_that_need_it(beginning: bytes) -> None:
    assert not readable_from_the_start(beginning)


class Upload:
    """A file that grows; what was asked of it, and with which answers."""

    def __init__(self, path: Path, head: bytes = b"OggS", *answers: MatchReport | None) -> None:
        self.media = path.open("w+b", buffering=0)
        self.media.write(head.ljust(4096, b"\0"))
        self.asked: list[int] = []
        self._answers = list(answers)

    async def ask(self, beginning: BinaryIO) -> MatchReport | None:
        self.asked.append(os.fstat(beginning.fileno()).st_size)
        return self._answers.pop(0)

    async def grow(self, early: EarlyAnswer, size: int) -> None:
        self.media.truncate(size)
        early.arrived(self.media, size)
        for _ in range(3):  # let what was begun end
            await asyncio.sleep(0)


async def test_the_beginning_is_asked_about_whenever_enough_has_arrived(tmp_path: Path) -> None:
    report = Mock(MatchReport)
    upload = Upload(tmp_path / "upload", b"OggS", None, report)
    with upload.media:
        early = EarlyAnswer(upload.ask)
        for size in (4096, MIB - 1, MIB, 2 * MIB, 4 * MIB - 1):
            await upload.grow(early, size)
        assert upload.asked == [MIB]
        assert not early.found.done()
        await upload.grow(early, 5 * MIB)
        assert upload.asked == [MIB, 5 * MIB]
        assert early.found.result() is report
        await early.stop()
        await upload.grow(early, 17 * MIB)
        assert len(upload.asked) == 2


async def test_of_what_needs_its_end_nothing_is_asked(tmp_path: Path) -> None:
    upload = Upload(tmp_path / "upload", b"%PDF")
    with upload.media:
        early = EarlyAnswer(upload.ask)
        for size in (MIB, 4 * MIB, 16 * MIB):
            await upload.grow(early, size)
        await early.stop()
    assert upload.asked == []


async def test_one_question_at_a_time_and_none_after_the_end(tmp_path: Path) -> None:
    begun: list[BinaryIO] = []

    async def never(beginning: BinaryIO) -> MatchReport | None:
        begun.append(beginning)
        await asyncio.get_running_loop().create_future()
        return None

    upload = Upload(tmp_path / "upload")
    with upload.media:
        early = EarlyAnswer(never)
        for size in (MIB, 4 * MIB):
            await upload.grow(early, size)
        await early.stop()
    assert [one.closed for one in begun] == [True]
    assert not early.found.done()


async def test_a_question_that_fails_changes_nothing(tmp_path: Path) -> None:
    upload = Upload(tmp_path / "upload")  # it has no answer, so asking fails
    with upload.media:
        early = EarlyAnswer(upload.ask)
        await upload.grow(early, MIB)
        assert upload.asked == [MIB]
        await early.stop()
    assert not early.found.done()
