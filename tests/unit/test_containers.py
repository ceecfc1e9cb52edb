"""Opening containers: what is in them, what is left out, and what hostile ones are told."""

import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from indexers import containers, streams
from indexers.containers import Container, Part, labels, levels
from indexers.containers.worth import FULL_PIXELS, Watched
from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits, Segment
from tests.documents import ENGLISH, docx, epub, page, paragraph, pdf, zipped

TEXT = ENGLISH * 3


def picture(seed: int = 1, width: int = 80, height: int = 60, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def tarred(parts: dict[str, bytes], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:  # type: ignore[call-overload]
        for name, content in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return buffer.getvalue()


def parts_of(content: bytes, limits: MediaLimits | None = None) -> list[Part]:
    return Container(io.BytesIO(content), limits or MediaLimits()).parts()


def nested(depth: int, content: bytes) -> bytes:
    for _ in range(depth):
        content = zipped({"inner.zip": content}, compression=zipfile.ZIP_STORED)
    return content


PICTURES = {"a.png": picture(1), "b/c.png": picture(2)}


@pytest.mark.parametrize(
    "make",
    [zipped, lambda parts: tarred(parts, "w"), lambda parts: tarred(parts, "w:gz")],
    ids=["zip", "tar", "tar.gz"],
)
def test_parts_are_listed_and_read(make: Callable[[dict[str, bytes]], bytes]) -> None:
    content = make(PICTURES)
    assert containers.kind_of(content[: containers.HEAD_BYTES]) is not None
    container = Container(io.BytesIO(content), MediaLimits())
    found = container.parts()
    assert [(one.name, one.modality) for one in found] == [("a.png", "image"), ("b/c.png", "image")]
    for one in reversed(found):
        assert container.content(one.place).read() == PICTURES[one.name]
        assert one.byte_count == len(PICTURES[one.name])


@pytest.mark.parametrize(
    "make",
    [
        zipped,
        lambda parts: zipped(parts, compression=zipfile.ZIP_STORED),
        lambda parts: tarred(parts, "w"),
        lambda parts: zipped({"in.zip": zipped(parts)}),
    ],
    ids=["deflated", "stored", "tar", "nested"],
)
def test_what_is_too_large_for_memory_is_read_piece_by_piece(
    make: Callable[[dict[str, bytes]], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "MAX_ENTRY_BYTES", 1000)
    monkeypatch.setattr(streams, "_APART_BYTES", 300_000)
    large = b"".join(picture(seed, 300, 300) + bytes(100_000) for seed in range(5))
    container = Container(io.BytesIO(make({"a.png": large, "b.png": picture(9)})), MediaLimits())
    first, second = container.parts()
    assert "too large" not in container.left_out
    assert first.byte_count == len(large)
    file = container.content(first.place)
    assert not isinstance(file, io.BytesIO)
    assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(large).digest()  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(large), 30).tolist():
        file.seek(at)
        assert file.read(500) == large[at : at + 500]
    assert file.seek(-10, io.SEEK_END) == len(large) - 10
    assert file.read() == large[-10:]
    assert container.content(second.place).read() == picture(9)


def test_large_entries_that_promise_too_much_or_are_broken_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(levels, "MAX_ENTRY_BYTES", 1000)
    zeros = Container(io.BytesIO(zipped({"zeros.txt": b"0" * 3_000_000})), MediaLimits())
    with pytest.raises(MediaLimitError, match="unpacks to far more"):
        zeros.content(zeros.parts()[0].place)
    noise = np.random.default_rng(1).integers(0, 16, 300_000, dtype=np.uint8).tobytes()
    content = bytearray(zipped({"a.png": picture(1) + noise}))
    at = content.find(b"a.png") + 120_000
    content[at : at + 3000] = b"\xff" * 3000
    broken = Container(io.BytesIO(bytes(content)), MediaLimits())
    with pytest.raises(DamagedMediaError, match="the ZIP is damaged or cut off"):
        broken.content(broken.parts()[0].place).read()
    solid = tarred({"a.png": picture(1), "b.txt": TEXT[:900].encode()}, "w:gz")
    packed = Container(io.BytesIO(solid), MediaLimits())
    assert [one.name for one in packed.parts()] == ["b.txt"]
    assert packed.left_out == {"links": 1, "too large": 1}


def test_containers_in_containers_are_opened_a_few_levels_deep() -> None:
    content = zipped({"one.apk": nested(1, zipped(PICTURES)), "x.png": picture(3)})
    container = Container(io.BytesIO(content), MediaLimits())
    found = container.parts()
    assert [one.name for one in found] == ["one.apk!inner.zip!a.png", "one.apk!inner.zip!b/c.png", "x.png"]
    assert [container.content(one.place).read() for one in found] == [*PICTURES.values(), picture(3)]


def test_fifty_containers_in_each_other_are_refused() -> None:
    with pytest.raises(MediaLimitError, match="more than 4 deep: unpack the outer ones"):
        parts_of(nested(50, zipped(PICTURES)))


def test_a_document_is_its_text_and_its_pictures() -> None:
    large = {"OEBPS/cover.png": picture(1)}
    for content in (epub([page(TEXT)], large), docx(paragraph(TEXT), parts={"word/media/1.png": picture(1)})):
        found = parts_of(content)
        assert [one.modality for one in found] == ["text", "image"]
        assert found[0].place == (containers.ITSELF,)
    for content in (epub([page(TEXT)]), docx(paragraph(TEXT)), pdf(["text"])):
        assert [one.place for one in parts_of(content)] == [(containers.ITSELF,)]
    inner = parts_of(zipped({"book.epub": epub([page(TEXT)], large)}))
    assert [one.name for one in inner] == ["book.epub!text", "book.epub!OEBPS/cover.png"]


def test_pictures_on_the_pages_of_a_pdf_are_found_each_once() -> None:
    first, second = (Image.open(io.BytesIO(picture(seed, kind="JPEG"))) for seed in (1, 2))
    small = Image.new("RGB", (20, 20))
    buffer = io.BytesIO()
    first.save(buffer, "PDF", save_all=True, append_images=[second.convert("1"), small])
    container = Container(io.BytesIO(buffer.getvalue()), MediaLimits())
    found = [one for one in container.parts() if one.modality == "image"]
    assert [one.name for one in found] == ["page 1", "page 2"]
    for one in found:
        with Image.open(container.content(one.place)) as read:
            assert read.size == (80, 60)


def test_a_protected_container_says_so() -> None:
    locked = bytearray(zipped(PICTURES))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = locked.find(signature)
        while at >= 0:
            locked[at + flags] |= 1
            at = locked.find(signature, at + 1)
    with pytest.raises(UnsupportedMediaError, match="protected by a password"):
        parts_of(bytes(locked))
    with pytest.raises(UnsupportedMediaError, match="protected by a password"):
        parts_of(pdf(["secret"], password="x"))


def test_names_lead_nowhere_and_links_are_left_out() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("../../etc/a.png", "/b.png", "c\\..\\d.png", "e\u202egnp.png", "same.png"):
            file.writestr(name, picture())
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("same.png", picture(2))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd" * 50)
    container = Container(buffer, MediaLimits())
    names = [one.name for one in container.parts()]
    assert names == ["etc/a.png", "b.png", "c/d.png", "e�gnp.png", "same.png", "same.png"]
    assert container.left_out == {"links": 1}
    assert container.content((4,)).read() != container.content((5,)).read()


def test_bombs_and_crowds_are_refused() -> None:
    bomb = zipped({"a.zip": zipped({"b.bmp": b"BM" + bytes(30_000_000)})})
    with pytest.raises(MediaLimitError, match="unpacks to more than"):
        parts_of(zipped(PICTURES), MediaLimits(max_unpacked_bytes=10_000))
    with pytest.raises(MediaLimitError, match="more than 1 pictures, sounds and texts"):
        parts_of(zipped(PICTURES), MediaLimits(max_parts=1))
    with pytest.raises(MediaLimitError, match="unpacks to far more"):
        parts_of(
            zipped({"outer.zip": zipped({"x": bomb, "y": bytes(9_000_000)})}),
            MediaLimits(max_unpacked_bytes=1000),
        )
    zeros = Container(io.BytesIO(zipped({"zeros.txt": b"0" * 30_000_000})), MediaLimits())
    with pytest.raises(MediaLimitError, match="unpacks to far more"):
        zeros.content(zeros.parts()[0].place)
    with pytest.raises(MediaLimitError, match=r"tar\.gz unpacks to far more"):
        parts_of(tarred({"a": bytes(200_000)}, "w:gz"), MediaLimits(max_unpacked_bytes=10_000))


@pytest.mark.parametrize(
    "content",
    [
        zipped(PICTURES)[:-30],
        zipped({"a.png": picture()})[: len(picture()) // 2],
        b"PK\3\4" + bytes(100),
        tarred(PICTURES, "w:gz")[:2000],
        tarred(PICTURES, "w")[:700],
    ],
)
def test_damaged_containers_are_refused(content: bytes) -> None:
    with pytest.raises(
        (DamagedMediaError, UnsupportedMediaError), match=r"damaged|cut off|no tar|no picture"
    ):
        parts_of(content)


def test_a_damaged_part_is_left_out_and_an_unknown_place_is_refused() -> None:
    content = bytearray(zipped(PICTURES, compression=zipfile.ZIP_STORED))
    content[content.find(picture(1)) + 2000] ^= 0xFF
    container = Container(io.BytesIO(bytes(content)), MediaLimits())
    (second,) = container.parts()
    assert container.left_out == {"damaged": 1}
    assert container.content(second.place).read() == picture(2)
    for place in ((0,), (7,), (-2,), (1, 1)):
        with pytest.raises((DamagedMediaError, UnsupportedMediaError)):
            container.content(place)


def test_programs_settings_and_licences_are_no_parts() -> None:
    parts = dict.fromkeys(("LICENSE", "a/COPYING.txt", "readme.md", "x.js", "strings.XML", "story.txt"), TEXT)
    assert [one.name for one in parts_of(zipped(parts))] == ["story.txt"]
    assert not labels.is_stock("the licence of love.txt")
    with pytest.raises(UnsupportedMediaError, match="holds no picture, sound or text"):
        parts_of(zipped({"classes.dex": bytes(range(256)) * 50}))


@pytest.mark.parametrize("mark", [b"%PDF-1.7\n%%EOF", bytes(200) + b"ustar\x0000"])
def test_a_picture_that_also_looks_like_a_container_is_a_picture(mark: bytes) -> None:
    jpeg = picture(kind="JPEG")
    comment = b"\xff\xfe\x03\xe8"
    for at in range(60):
        head = (jpeg[:2] + comment + bytes(at) + mark + jpeg[2:])[: containers.HEAD_BYTES]
        assert containers.kind_of(head) is None
    assert containers.kind_of(b"\n%PDF-1.7\n") == "PDF"


def segments(*pictures: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Watched:
    return Watched((Segment(0.0, 1.0, one) for one in pictures), "image")


def test_pictures_weigh_by_their_size_and_blank_or_tiny_ones_nothing() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for side, weight in ((300, 1.0), (128, 128 * 128 / FULL_PIXELS)):
        watched = segments(noise[:side, :side])
        assert len(list(watched)) == 1
        assert watched.weight == pytest.approx(weight)
    for nothing in (noise[:40, :200], np.full((300, 300, 3), 255, np.uint8)):
        with pytest.raises(UnsupportedMediaError, match="too small or too empty"):
            list(segments(nothing))


@pytest.mark.parametrize(
    ("modality", "end", "weight"), [("audio", 10.0, 0.5), ("text", 4000.0, 2.0), ("smell", 1.0, 1.0)]
)
def test_sounds_and_texts_weigh_by_their_length(modality: str, end: float, weight: float) -> None:
    watched = Watched(iter([Segment(0.0, end / 2, None), Segment(end / 2, end, None)]), modality)
    list(watched)
    assert watched.weight == pytest.approx(weight)


@pytest.mark.parametrize(("modality", "end"), [("audio", 1.0), ("text", 200.0)])
def test_short_sounds_and_texts_say_nothing(modality: str, end: float) -> None:
    with pytest.raises(UnsupportedMediaError, match="too small or too empty"):
        list(Watched(iter([Segment(0.0, end, None)]), modality))
