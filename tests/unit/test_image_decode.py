import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skimage
from PIL import Image, ImageCms

from indexers import registry
from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError
from indexers.image import decode
from indexers.modality import MediaLimits, Segment

LIMITS = MediaLimits()
VECTORS = Path(__file__).parents[1] / "vectors"
PHOTOS = Path(skimage.__file__).parent / "data"
LOSSY = 12.0
"""Most mean difference, in grey levels, that a lossy codec may make."""


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(PHOTOS / "chelsea.png") as image:
        return image.convert("RGB").crop((60, 20, 380, 260))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.copy().save(buffer, kind, **options)  # saving leaves traces in the picture
    return buffer.getvalue()


def segments(content: bytes, limits: MediaLimits = LIMITS) -> list[Segment[decode.Picture]]:
    return list(decode.decode(io.BytesIO(content), limits))


def pixels(content: bytes) -> npt.NDArray[np.uint8]:
    (segment,) = segments(content)
    return segment.data


def difference(picture: npt.NDArray[np.uint8], image: Image.Image) -> float:
    expected = np.asarray(image.convert("RGB"), np.float64)
    assert picture.shape == expected.shape
    return float(np.abs(picture - expected).mean())


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 90}, LOSSY),
        ("JPEG", {"quality": 90, "progressive": True}, LOSSY),
        ("PNG", {}, 0.0),
        ("WEBP", {"lossless": True}, 0.0),
        ("WEBP", {"quality": 90}, LOSSY),
        ("TIFF", {}, 0.0),
        ("TIFF", {"compression": "tiff_lzw"}, 0.0),
        ("TIFF", {"compression": "jpeg", "quality": 90}, LOSSY),
        ("BMP", {}, 0.0),
        ("AVIF", {"quality": 90}, LOSSY),
        ("GIF", {}, LOSSY),
    ],
)
def test_reads_each_format(photo: Image.Image, kind: str, options: dict[str, Any], tolerance: float) -> None:
    content = encoded(photo, kind, **options)
    (segment,) = segments(content)
    assert (segment.start, segment.end) == (0.0, 1.0)
    assert not segment.data.flags.writeable
    assert difference(segment.data, photo) <= tolerance
    assert registry.detect(content[: decode.HEAD_BYTES]).name == "image"


def test_reads_heic() -> None:
    with Image.open(PHOTOS / "chelsea.png") as image:
        expected = image.convert("RGB").resize((226, 150), Image.Resampling.LANCZOS)
    assert difference(pixels((VECTORS / "chelsea.heic").read_bytes()), expected) < LOSSY


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_applies_orientation(photo: Image.Image, kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = photo.transpose(undo[orientation]) if orientation in undo else photo
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(pixels(encoded(stored, kind, exif=exif)), photo) < LOSSY


def test_ignores_a_broken_orientation(photo: Image.Image) -> None:
    content = encoded(photo, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert difference(pixels(content), photo) < LOSSY


def test_reads_cmyk_as_adobe_writes_it(photo: Image.Image) -> None:
    content = encoded(photo.convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in content[:200]  # and therefore inverted
    assert difference(pixels(content), photo) < LOSSY
    assert difference(pixels(encoded(photo.convert("CMYK"), "TIFF")), photo) < 1.0


def test_scales_sixteen_bits(photo: Image.Image) -> None:
    grey = photo.convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    for kind in ("PNG", "TIFF"):
        assert difference(pixels(encoded(wide, kind)), grey) == 0.0


def test_stretches_floats_from_black_to_white() -> None:
    ramp = np.linspace(-3.0, 5.0, 64, dtype=np.float32).reshape(8, 8)
    picture = pixels(encoded(Image.fromarray(ramp), "TIFF"))
    assert picture.min() == 0
    assert picture.max() == 255
    assert (np.diff(picture[..., 0].ravel().astype(int)) > 0).all()


def test_refuses_floats_that_are_no_numbers() -> None:
    with pytest.raises(DamagedMediaError, match="no finite number"):
        segments(encoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"))


def test_reads_grey_and_bilevel(photo: Image.Image) -> None:
    assert difference(pixels(encoded(photo.convert("L"), "PNG")), photo.convert("L")) == 0.0
    assert difference(pixels(encoded(photo.convert("1"), "PNG")), photo.convert("1")) == 0.0
    assert (
        difference(pixels(encoded(photo.convert("1"), "TIFF", compression="group4")), photo.convert("1")) == 0
    )


def test_shows_transparency_over_white() -> None:
    image = Image.new("RGBA", (8, 4), (200, 0, 0, 0))
    image.paste((0, 0, 200, 255), (0, 0, 4, 4))
    image.putpixel((7, 3), (0, 0, 0, 128))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        picture = pixels(encoded(image, kind, **options))
        assert picture[0, 0].tolist() == [0, 0, 200]
        assert picture[0, 6].tolist() == [255, 255, 255]
        assert picture[3, 7].tolist() == [127, 127, 127]
    grey = pixels(encoded(image.convert("LA"), "PNG"))
    assert grey[0, 6].tolist() == [255, 255, 255]


def test_shows_palette_transparency_over_white() -> None:
    image = Image.new("P", (8, 4), 1)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(0, (4, 0, 8, 4))
    for kind in ("PNG", "GIF"):
        picture = pixels(encoded(image, kind, transparency=0))
        assert picture[0, 0].tolist() == [0, 0, 200]
        assert picture[0, 6].tolist() == [255, 255, 255]


def test_shows_a_transparent_colour_over_white() -> None:
    image = Image.new("RGB", (8, 4), (0, 0, 200))
    image.paste((1, 2, 3), (4, 0, 8, 4))
    assert pixels(encoded(image, "PNG", transparency=(1, 2, 3)))[0, 6].tolist() == [255, 255, 255]


def test_applies_the_colour_profile(photo: Image.Image) -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(photo, srgb, lab, outputMode="LAB")
    assert converted is not None
    content = encoded(converted, "TIFF")
    assert difference(pixels(content), photo) < 2.0


def test_ignores_a_colour_profile_that_is_none(photo: Image.Image) -> None:
    assert difference(pixels(encoded(photo, "PNG", icc_profile=b"not a profile")), photo) == 0.0


def test_reduces_to_the_working_size() -> None:
    with Image.open(PHOTOS / "retina.jpg") as image:
        whole = image.convert("RGB")
    expected = whole.resize((512, 512), Image.Resampling.BILINEAR)
    for kind in ("JPEG", "PNG"):
        assert difference(pixels(encoded(whole, kind)), expected) < 2.0
    assert pixels(encoded(Image.new("RGB", (3000, 2)), "PNG")).shape == (1, 512, 3)


def frames_of(photo: Image.Image, count: int) -> list[Image.Image]:
    small = photo.resize((80, 60))
    return [small.rotate(7 * number) for number in range(count)]


@pytest.mark.parametrize(
    ("kind", "options"),
    [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("AVIF", {"quality": 90}), ("TIFF", {})],
)
def test_yields_the_frames_of_animations(photo: Image.Image, kind: str, options: dict[str, Any]) -> None:
    frames = frames_of(photo, 6)
    found = segments(
        encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **options)
    )
    assert [segment.start for segment in found] == [0, 1, 2, 3, 4, 5]
    for segment, frame in zip(found, frames, strict=True):
        assert difference(segment.data, frame) < LOSSY


def test_takes_frames_evenly_and_drops_repeated_ones(photo: Image.Image) -> None:
    frames = frames_of(photo, 21)
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert [s.start for s in segments(content, MediaLimits(max_frames=5))] == [0, 5, 10, 15, 20]
    assert [s.start for s in segments(content, MediaLimits(max_frames=1))] == [0]
    stuck = [frames[0], frames[1], frames[2], frames[2]]
    content = encoded(stuck[0], "TIFF", save_all=True, append_images=stuck[1:])
    assert [s.start for s in segments(content)] == [0, 1, 2]


def test_leaves_out_thumbnail_pages(photo: Image.Image) -> None:
    thumbnail = photo.resize((40, 30))
    thumbnail.encoderinfo = {"tiffinfo": {0x00FE: 1}}
    content = encoded(photo, "TIFF", save_all=True, append_images=[thumbnail])
    assert [s.data.shape for s in segments(content)] == [(240, 320, 3)]


def png_bomb(side: int) -> bytes:
    content = bytearray(encoded(Image.new("L", (8, 8)), "PNG"))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def webp_bomb(side: int) -> bytes:
    canvas = (side - 1).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_refuses_bombs_by_their_header() -> None:
    with pytest.raises(MediaLimitError, match="pixels"):
        segments(png_bomb(50_000))
    with pytest.raises(MediaLimitError, match="pixels"):
        segments(webp_bomb(16_383))


def test_the_pixel_limit_is_inclusive_and_the_callers(photo: Image.Image) -> None:
    content = encoded(photo, "PNG")
    assert segments(content, MediaLimits(max_pixels=320 * 240))
    with pytest.raises(MediaLimitError, match="limit of 76799"):
        segments(content, MediaLimits(max_pixels=320 * 240 - 1))
    before = Image.MAX_IMAGE_PIXELS
    large = encoded(Image.new("1", (20_000, 9_500)), "PNG")
    assert segments(large, MediaLimits(max_pixels=200_000_000))[0].data.shape == (243, 512, 3)
    assert before == Image.MAX_IMAGE_PIXELS


def test_refuses_a_large_page_after_a_small_one(photo: Image.Image) -> None:
    content = encoded(photo.resize((8, 8)), "TIFF", save_all=True, append_images=[photo])
    with pytest.raises(MediaLimitError, match="320 x 240"):
        segments(content, MediaLimits(max_pixels=1000))


def test_refuses_a_gif_frame_that_is_larger_than_its_screen() -> None:
    content = bytearray(encoded(Image.new("L", (24, 16)), "GIF"))
    frame = content.index(b"\x2c\0\0\0\0")
    content[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 1000)
    with pytest.raises(MediaLimitError, match="pixels"):
        segments(bytes(content), MediaLimits(max_pixels=1_000_000))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_refuses_a_file_that_was_cut_off(photo: Image.Image, kind: str) -> None:
    content = encoded(photo, kind)
    for share in (0.2, 0.6, 0.95):
        with pytest.raises(DamagedMediaError, match="send the whole file"):
            segments(content[: int(len(content) * share)])


def test_refuses_what_only_begins_like_a_picture() -> None:
    with pytest.raises(DamagedMediaError, match="of an unusual variant: send the whole file"):
        segments(b"\xff\xd8\xff" + bytes(200))


def test_refuses_a_jpeg_without_its_end_marker(photo: Image.Image) -> None:
    content = encoded(photo, "JPEG")
    assert content.endswith(b"\xff\xd9")
    with pytest.raises(DamagedMediaError, match="send the whole file"):
        segments(content[:-2])


def test_refuses_a_cut_off_heic() -> None:
    content = (VECTORS / "chelsea.heic").read_bytes()
    with pytest.raises(DamagedMediaError, match="send the whole file"):
        segments(content[: len(content) // 2])


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("picture.png", b"none")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [archive(), b"%!PS-Adobe-3.0\n", b"BM is no bitmap\0\1\2", b"\0" * 64])
def test_names_the_formats_to_whom_sends_another(content: bytes) -> None:
    readers: list[Callable[[], object]] = [lambda: segments(content), lambda: registry.detect(content)]
    for read in readers:
        with pytest.raises(UnsupportedMediaError, match="JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC"):
            read()


def test_says_that_an_empty_file_is_empty() -> None:
    readers: list[Callable[[], object]] = [lambda: segments(b""), lambda: registry.detect(b"")]
    for read in readers:
        with pytest.raises(DamagedMediaError, match="empty"):
            read()
