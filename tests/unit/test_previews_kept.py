"""Files of previews: pinned while somebody is about to need them, bounded and looked at, read by ranges."""

import asyncio
import errno
import hashlib
import io
import os
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO

import pytest

from indexers.previews import Facts, Kind
from service.blobs import FolderBlobs
from service.errors import BusyError, NotFoundError, StorageFullError, UnreadableMediaError
from service.previewed import PreviewFile
from service.previews.files import Receiver, checked
from service.previews.keeping import Keeping
from service.previews.pins import Pins
from service.previews.reading import OpenPreview, characters
from service.sandbox import ShownFile

JPEG = b"\xff\xd8\xff\xe0" + bytes(100)
ONE, TWO = b"1" * 32, b"2" * 32


def test_a_file_is_received_in_pieces_at_any_place(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver:
        receiver.write(Kind.PICTURE, 4, JPEG[4:])
        receiver.write(Kind.PICTURE, 0, JPEG[:4])
        receiver.end(Kind.PICTURE, Facts(width=3))
        ((file, sha256, size),) = receiver.checked()
        assert (file.kind, file.facts) == (Kind.PICTURE, Facts(width=3))
        assert (sha256, size) == (hashlib.sha256(JPEG).digest(), len(JPEG))
    assert file.content.closed
    with pytest.raises(BusyError):  # from a worker whose caller was cancelled
        receiver.write(Kind.THUMBNAIL, 0, JPEG)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (Kind.PICTURE, b"<svg onload=alert(1)>"),
        (Kind.THUMBNAIL, b"GIF89a"),
        (Kind.CLIP, b"<html>"),
        (Kind.SOUND, b"\x1aE\xdf"),
        (Kind.SPECTROGRAM, b"\0\xff\xd8\xff"),
        (Kind.TEXT, b"ab\xff"),
        (Kind.TEXT, "é".encode()[:1]),
    ],
)
def test_what_begins_unlike_its_kind_is_not_ours(tmp_path: Path, kind: Kind, content: bytes) -> None:
    with Receiver(tmp_path) as receiver:
        receiver.write(kind, 0, content)
        receiver.end(kind, Facts())
        with pytest.raises(UnreadableMediaError):
            receiver.checked()


def test_a_worker_cannot_write_without_end(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver:
        with pytest.raises(UnreadableMediaError):
            receiver.checked()
        with pytest.raises(UnreadableMediaError):
            receiver.end(Kind.CLIP, Facts())
        with pytest.raises(UnreadableMediaError):
            receiver.write(Kind.THUMBNAIL, 2**40, b"x")
        receiver.write(Kind.THUMBNAIL, 0, JPEG)
        receiver.end(Kind.THUMBNAIL, Facts())
        with pytest.raises(UnreadableMediaError):
            receiver.write(Kind.THUMBNAIL, 0, JPEG)


def thumbnail(mark: bytes) -> ShownFile:
    return ShownFile(Kind.THUMBNAIL, Facts(width=3), JPEG + mark)


@pytest.mark.parametrize(
    "shown",
    [
        (),
        (thumbnail(b"a"), thumbnail(b"b")),
        (ShownFile(Kind.PICTURE, Facts(), b"<svg>"),),
        (ShownFile(Kind.THUMBNAIL, Facts(), JPEG + bytes(1024 * 1024)),),
        (ShownFile(Kind.TEXT, Facts(), b"ab\xff"),),
        UnreadableMediaError("MEDIA_DAMAGED", "cut off"),
    ],
)
def test_a_whole_preview_is_looked_at_too(shown: tuple[ShownFile, ...] | UnreadableMediaError) -> None:
    with pytest.raises(UnreadableMediaError):
        checked(shown)


class Counted(FolderBlobs):
    """Notes how many files come together."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.together: list[int] = []

    def put_all(self, files: Sequence[tuple[bytes, IO[bytes]]]) -> None:
        super().put_all(files)
        self.together.append(len(files))


async def test_previews_that_wait_together_are_kept_together(tmp_path: Path) -> None:
    blobs, pinned = Counted(tmp_path), list[bytes]()
    keeping = Keeping(blobs)
    contents = [b"a", b"b", b"c"]
    kept = await asyncio.gather(*(keeping.keep((thumbnail(one),), pinned.append) for one in contents))
    assert blobs.together == [3]
    digests = [hashlib.sha256(JPEG + one).digest() for one in contents]
    assert kept == [
        (PreviewFile(Kind.THUMBNAIL, digest, len(JPEG) + 1, Facts(width=3)),) for digest in digests
    ]
    assert pinned == digests
    for digest, content in zip(digests, contents, strict=True):
        with blobs.open(digest) as file:
            assert file.read() == JPEG + content


async def test_a_preview_that_is_none_harms_no_other(tmp_path: Path) -> None:
    blobs = Counted(tmp_path)
    keeping = Keeping(blobs)
    good, bad, none = await asyncio.gather(
        keeping.keep((thumbnail(b"a"),), lambda _: None),
        keeping.keep((ShownFile(Kind.PICTURE, Facts(), b"<svg>"),), lambda _: None),
        keeping.keep(UnreadableMediaError("MEDIA_DAMAGED", "cut off"), lambda _: None),
        return_exceptions=True,
    )
    assert isinstance(good, tuple)
    assert isinstance(bad, UnreadableMediaError)
    assert str(none) == "cut off"
    assert len(set(blobs.digests())) == 1


async def test_a_full_disk_is_told_to_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = Keeping(FolderBlobs(tmp_path))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcomes = await asyncio.gather(
        *(keeping.keep((thumbnail(one),), lambda _: None) for one in (b"a", b"b")), return_exceptions=True
    )
    assert [type(one) for one in outcomes] == [StorageFullError] * 2
    monkeypatch.undo()
    assert await keeping.keep((thumbnail(b"a"),), lambda _: None)


async def test_who_gave_up_is_left_out(tmp_path: Path) -> None:
    blobs = Counted(tmp_path)
    keeping = Keeping(blobs)
    gone = asyncio.ensure_future(keeping.keep((thumbnail(b"a"),), lambda _: None))
    stays = asyncio.ensure_future(keeping.keep((thumbnail(b"b"),), lambda _: None))
    await asyncio.sleep(0)  # both wait
    gone.cancel()
    await stays
    assert blobs.together == [1]


def test_what_is_pinned_is_not_erased_and_loose_afterwards() -> None:
    pins, erased = Pins(), list[bytes]()

    def in_use(some: Collection[bytes]) -> set[bytes]:
        return {TWO} & set(some)

    with pins.pinned() as pin, pins.pinned() as again:
        pin(ONE)
        again(ONE)
        again(TWO)
        assert pins.take_loose() == []
        assert pins.unless_held([ONE, TWO], in_use, erased.append) == []
    assert sorted(pins.take_loose()) == [ONE, TWO]
    assert pins.take_loose() == []
    assert pins.unless_held([ONE, TWO], in_use, erased.append) == [ONE, TWO]
    assert erased == [ONE]


def test_who_needs_a_file_that_is_being_erased_keeps_it_again() -> None:
    pins = Pins()
    order: list[str] = []
    erasing, asked = threading.Event(), threading.Event()

    def erase(_: bytes) -> None:
        erasing.set()
        assert not asked.wait(0.05)  # the other waits
        order.append("erased")

    def keep() -> None:
        with pins.pinned() as pin:
            erasing.wait()
            pin(ONE)
            asked.set()
            order.append("kept")

    keeper = threading.Thread(target=keep)
    keeper.start()
    pins.unless_held([ONE], lambda _: set(), erase)
    keeper.join()
    assert order == ["erased", "kept"]


def test_blobs_are_erased_and_listed(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    digests = set()
    for content in (b"a", b"b"):
        digests.add(hashlib.sha256(content).digest())
        blobs.put(hashlib.sha256(content).digest(), io.BytesIO(content))
    (tmp_path / "notes").mkdir()
    assert set(blobs.digests()) == digests
    gone = hashlib.sha256(b"a").digest()
    for _ in range(2):
        blobs.delete(gone)
    assert set(blobs.digests()) == digests - {gone}
    with pytest.raises(NotFoundError):
        blobs.open(gone)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (3, 4, b"3456"),
        (8, 100, b"89"),
        (10, None, b""),
        (99, 1, b""),
        (5, 0, b""),
        (-4, 2, b"01"),
    ],
)
def test_a_file_is_read_by_ranges(start: int, length: int | None, expected: bytes) -> None:
    content = b"0123456789"
    preview = OpenPreview(PreviewFile(Kind.TEXT, ONE, len(content)), io.BytesIO(content))
    with preview:
        assert b"".join(preview.pieces(start, length)) == expected


def test_a_file_that_ends_early_is_an_error() -> None:
    with (
        OpenPreview(PreviewFile(Kind.TEXT, ONE, 20), io.BytesIO(b"short")) as preview,
        pytest.raises(NotFoundError),
    ):
        list(preview.pieces())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 1000])
def test_characters_are_found_wherever_the_bytes_are_cut(size: int) -> None:
    text = "aé日🙂b" * 9
    encoded = text.encode()
    pieces = [encoded[at : at + size] for at in range(0, len(encoded), size)]
    for start, end in ((0, 5), (3, 30), (44, 99), (45, 99), (7, 7)):
        assert characters(iter(pieces), start, end) == text[start:end]
