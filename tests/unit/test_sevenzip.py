"""7z files: all that Python can unpack is read, the rest is told, and broken ones do no harm."""

import io
import random
import struct
import zlib
from pathlib import Path

import pytest

from indexers import containers
from indexers.containers import Container, sevenzip_header
from indexers.errors import DamagedMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits
from tests.documents import ENGLISH, zipped

VECTORS = Path(__file__).parent.parent / "vectors" / "containers"
READ = ("apart", "bzip2", "deflate", "delta", "filtered", "solid", "stored")


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def opened(content: bytes, limits: MediaLimits | None = None) -> Container:
    return Container(io.BytesIO(content), limits or MediaLimits())


def checked(content: bytes) -> bytes:
    """The same archive with checksums of its directory that fit."""
    fixed = bytearray(content)
    offset, length = struct.unpack("<QQ", fixed[12:28])
    if offset + length <= len(fixed) - 32:
        fixed[28:32] = struct.pack("<I", zlib.crc32(fixed[32 + offset : 32 + offset + length]))
    fixed[8:12] = struct.pack("<I", zlib.crc32(fixed[12:32]))
    return bytes(fixed)


@pytest.mark.parametrize("name", READ)
def test_parts_are_listed_and_read_in_any_order(name: str) -> None:
    content = vector(f"{name}.7z")
    assert containers.kind_of(content[: containers.HEAD_BYTES]) == "7z"
    container = opened(content)
    found = container.parts()
    assert [(one.name, one.modality) for one in found] == [
        ("a.png", "image"),
        ("b/c.png", "image"),
        ("story.txt", "text"),
    ]
    assert container.left_out == {"links": 1}
    read = {one.name: container.content(one.place).read() for one in reversed(found)}
    assert {len(read[one.name]) for one in found} == {one.byte_count for one in found}
    assert read["story.txt"].decode() == 3 * ENGLISH
    assert read["a.png"] == opened(vector("stored.7z")).content(found[0].place).read()
    assert read["a.png"] != read["b/c.png"]


def test_a_7z_in_a_zip_is_opened_too() -> None:
    container = opened(zipped({"comic.cb7": vector("solid.7z")}))
    found = container.parts()
    assert [one.name for one in found] == ["comic.cb7!a.png", "comic.cb7!b/c.png", "comic.cb7!story.txt"]
    assert container.content(found[2].place).read().decode() == 3 * ENGLISH


@pytest.mark.parametrize("name", ["locked", "hidden"])
def test_a_protected_one_says_so(name: str) -> None:
    with pytest.raises(UnsupportedMediaError, match="7z is protected by a password: save it without one"):
        opened(vector(f"{name}.7z")).parts()


def test_one_that_python_cannot_unpack_says_what_to_do() -> None:
    with pytest.raises(UnsupportedMediaError, match="packed in an unusual way: pack it again as ZIP"):
        opened(vector("ppmd.7z")).parts()


def test_bombs_are_refused_before_anything_is_unpacked() -> None:
    with pytest.raises(MediaLimitError, match="7z unpacks to far more"):
        opened(vector("solid.7z"), MediaLimits(max_unpacked_bytes=1000))
    with pytest.raises(MediaLimitError, match="more than 2 pictures, sounds and texts"):
        opened(vector("solid.7z"), MediaLimits(max_parts=2)).parts()


def test_broken_ones_are_refused() -> None:
    content = vector("apart.7z")
    for cut in (content[:20], content[:-10], content[:6] + bytes(26)):
        with pytest.raises(DamagedMediaError, match="7z is damaged or cut off"):
            opened(cut)
    wrong = bytearray(vector("stored.7z"))
    wrong[wrong.find(b"IDAT") + 100] ^= 0xFF
    container = opened(bytes(wrong))
    first, *others = container.parts()
    with pytest.raises(DamagedMediaError, match="send the whole file, or pack it again as ZIP"):
        container.content(first.place)
    assert [len(container.content(one.place).read()) for one in others] == [one.byte_count for one in others]


def test_whatever_bytes_are_wrong_the_error_is_one_of_media() -> None:
    rng = random.Random(3)
    vectors = [vector(f"{name}.7z") for name in (*READ, "ppmd", "locked", "hidden")]
    outcomes = set()
    for _ in range(400):
        content = bytearray(rng.choice(vectors))
        offset, length = struct.unpack("<QQ", content[12:28])
        for _ in range(rng.choice((1, 2, 4))):
            at = rng.choice((32 + offset + rng.randrange(length), rng.randrange(12, len(content))))
            content[at] = rng.choice((0, 1, 0x80, 0xFF, rng.randrange(256)))
        try:
            container = opened(checked(bytes(content)))
            for part in container.parts():
                container.content(part.place)
        except MediaError as error:
            outcomes.add(type(error))
    assert outcomes == {DamagedMediaError, UnsupportedMediaError, MediaLimitError}


def test_a_directory_that_promises_more_than_it_holds_ends_early() -> None:
    for promised in (b"\xff" * 9, b"\xc0\xff\xff", b"\x05"):
        header = bytes([1, 4, 6]) + promised + promised
        content = sevenzip_header.MAGIC + bytes(6) + struct.pack("<QQ", 0, len(header)) + bytes(4) + header
        with pytest.raises((DamagedMediaError, MediaLimitError)):
            opened(checked(content))


def test_archives_that_cannot_be_opened_are_called_by_their_name() -> None:
    rar = vector("stored.rar")
    assert containers.closed(rar) == "RAR"
    with pytest.raises(
        UnsupportedMediaError,
        match="RAR files cannot be opened: unpack it, and send what is in it, or pack that again as ZIP",
    ):
        opened(rar)
    container = opened(zipped({"story.txt": 3 * ENGLISH, "one.cbr": rar, "two.rar": rar}))
    assert [one.name for one in container.parts()] == ["story.txt"]
    assert container.left_out == {"RAR files": 2}
