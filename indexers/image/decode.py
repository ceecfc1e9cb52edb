"""Pictures from untrusted bytes, as a viewer would show them, at a working size.

What leaves this module is normalised: orientation applied, colours in sRGB, transparency over white, 8 bits
a sample, the longer side at most `WORKING_SIDE`. The hashes are defined on such pictures, so changing
anything here that changes pixels means a new version of every picture scheme.

A file that ends early, were it by its end marker alone, or whose bytes are broken, is refused rather than
shown in part: a reference that was cut off on its way would be registered as a picture that is half grey, and
never match a whole copy.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import pi_heif
from PIL import Image, ImageCms, UnidentifiedImageError

from indexers.errors import DamagedMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits, Segment

Picture: TypeAlias = npt.NDArray[np.uint8]
"""(height, width, 3) sRGB, read-only."""

WORKING_SIDE = 512
"""Longest side of a decoded picture in pixels; smaller pictures keep their size."""

FORMATS = ("JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP", "AVIF", "HEIC")
"""What can be read, as users call it."""

HEAD_BYTES = 4096
"""How much of a file `sniff` wants to see."""

_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WebP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    # Two letters are little to go by: the next header's size is one of those that were ever defined.
    "BMP": rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",
}
_PATTERNS = {kind: re.compile(signature, re.DOTALL) for kind, signature in _SIGNATURES.items()}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what turns the stored picture upright."""

_SUBFILE_TYPE_TAG = 0x00FE
_NOT_A_PAGE = 0b101
"""Bits of TIFF's NewSubfileType: a reduced copy of another page, or a transparency mask."""

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""ICC colour space → Pillow mode of the pictures that it describes."""


def sniff(head: bytes) -> str | None:
    """Tell the format from a file's first bytes, as one of `FORMATS`; None if it is none of them."""
    if head[4:8] == b"ftyp":
        return _sniff_brands(head)
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.match(head)), None)


def _sniff_brands(head: bytes) -> str | None:
    """Tell AVIF and HEIC apart by the brands of their ISO base media file header."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None


def decode(source: BinaryIO, limits: MediaLimits, *, side: int = WORKING_SIDE) -> Iterator[Segment[Picture]]:
    """Yield the picture, or the frames of an animation or the pages of a TIFF.

    Of n > `limits.max_frames` frames, as many as that are taken, spread evenly from the first to the last.
    A frame that looks exactly like the one taken before it is left out. A segment's span is the frame's
    number in the file.

    Samples of 16 bits are scaled to 8. Integer samples of 32 bits and floating-point samples have no
    agreed range: they are stretched from the picture's smallest finite value (black) to its largest (white).

    Args:
        source: The file.
        limits: What it may ask for.
        side: Longest side of what is yielded, in pixels; fingerprints are of `WORKING_SIDE`.

    Raises:
        UnsupportedMediaError: If the format is none of `FORMATS`.
        DamagedMediaError: If the bytes are broken, cut off, or of a variant that cannot be read.
        MediaLimitError: If a picture has more than `limits.max_pixels`; its header is enough to tell.
    """
    source.seek(0)
    head = source.read(HEAD_BYTES)
    source.seek(0)
    if not head:
        raise DamagedMediaError("the file is empty: send the whole file")
    kind = sniff(head)
    if kind is None:
        raise UnsupportedMediaError(f"this is no picture that can be read: send {', '.join(FORMATS)}")
    with _as_media_errors(kind):
        frames = _heic(source, limits, side) if kind == "HEIC" else _pillow(source, kind, limits, side)
        previous: Picture | None = None
        for number, picture in frames:
            if previous is None or not np.array_equal(picture, previous):
                yield Segment(start=float(number), end=number + 1.0, data=picture)
            previous = picture


@contextmanager
def _as_media_errors(kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises on broken bytes into a `MediaError`."""
    try:
        yield
    except (MediaError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise MediaLimitError(f"the {kind} has too many pixels: send a smaller picture") from error
    except Exception as error:  # decoders raise nearly anything: OSError, SyntaxError, KeyError, struct.error
        # That of an unknown file names an object of Python's.
        why = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise DamagedMediaError(
            f"the {kind} is damaged, cut off or of an unusual variant{why}: send the whole file, "
            "or save it again as PNG or JPEG"
        ) from error


def _check_pixels(size: tuple[int, int], limits: MediaLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise MediaLimitError(
            f"the picture has {width} x {height} pixels, more than the limit of {limits.max_pixels}: "
            "send a smaller one"
        )


def _heic(source: BinaryIO, limits: MediaLimits, side: int) -> Iterator[tuple[int, Picture]]:
    """Yield the primary picture; libheif has turned it upright."""
    file = pi_heif.open_heif(source)
    _check_pixels(file.size, limits)
    yield 0, _normalise(file.to_pillow(), orientation=1, side=side)


def _pillow(source: BinaryIO, kind: str, limits: MediaLimits, side: int) -> Iterator[tuple[int, Picture]]:
    """Yield what Pillow reads, with the frame numbers."""
    with _pillow_rules(limits):
        image = Image.open(source, formats=(kind.upper(),))
    with image:
        _check_pixels(image.size, limits)
        numbers = [0]
        if kind not in {"JPEG", "BMP"}:  # a JPEG's further pictures (MPO) are no frames: depth, other eye
            with _pillow_rules(limits):
                count = getattr(image, "n_frames", 1)
            numbers = np.unique(np.linspace(0, count - 1, min(count, limits.max_frames)).round()).tolist()
        for number in map(int, numbers):
            with _pillow_rules(limits):
                image.seek(number)
                if len(numbers) > 1 and _is_auxiliary(image):
                    continue
                picture = _current(image, limits, side)
            yield number, picture


@contextmanager
def _pillow_rules(limits: MediaLimits) -> Iterator[None]:
    """Put the caller's pixel limit in the place of Pillow's own, and drop warnings of odd metadata.

    WebP allocates while it opens, a GIF may grow from frame to frame: both check nothing but Pillow's global
    limit, from half of which it only warns.
    """
    pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, -(-limits.max_pixels // 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = pillow_limit


def _is_auxiliary(image: Image.Image) -> bool:
    """Tell whether the current TIFF directory is a thumbnail or a mask instead of a page."""
    tags = getattr(image, "tag_v2", {})
    return bool(int(tags.get(_SUBFILE_TYPE_TAG, 0)) & _NOT_A_PAGE)


def _current(image: Image.Image, limits: MediaLimits, side: int) -> Picture:
    _check_pixels(image.size, limits)
    image.draft(
        None, _working_size(image.size, side)
    )  # a JPEG decodes at 1/2, 1/4 or 1/8 then, never below this
    # Pillow turns TIFFs upright itself, while it loads them.
    orientation = 1 if image.format == "TIFF" else _orientation(image)
    return _normalise(image, orientation=orientation, side=side)


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; 1 (upright) where there is none that makes sense."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken metadata: viewers show the picture as it is stored
        return 1
    return value if isinstance(value, int) else 1


def _normalise(image: Image.Image, *, orientation: int, side: int) -> Picture:
    """Bring a picture to the form that the module's docstring describes."""
    profile = image.info.get("icc_profile")
    plain = _eight_bit(image)
    size = _working_size(plain.size, side)
    if size != plain.size:
        plain = plain.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    if plain.mode in {"LA", "RGBA"}:
        plain = _over_white(plain)
    plain = _to_srgb(plain, profile)
    if orientation in _UPRIGHT:
        plain = plain.transpose(_UPRIGHT[orientation])
    picture = np.asarray(plain)
    picture.flags.writeable = False
    return picture


def _working_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    if scale >= 1:
        return size
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring any mode that Pillow decodes to one of L, LA, RGB, RGBA and CMYK."""
    image.load()
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in {"I", "F"}:
        return _stretched(image)
    if image.mode == "LAB":
        return _transformed(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if image.mode in {"CMYK", "LA"}:
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in {"1", "L"} else "RGB")


def _stretched(image: Image.Image) -> Image.Image:
    values = np.asarray(image, np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise DamagedMediaError("the picture holds no finite number: save it again as PNG or JPEG")
    low, high = values[finite].min(), values[finite].max()
    scale = 255.0 / (high - low) if high > low else 0.0
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return Image.fromarray(((values - low) * scale).round().astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    base = image.mode.removesuffix("A")
    white = Image.new(base, image.size, "white")
    white.paste(image.convert(base), mask=image.getchannel("A"))
    return white


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply the ICC profile if it makes sense for the picture; viewers ignore one that does not."""
    if profile:
        try:
            parsed = ImageCms.ImageCmsProfile(BytesIO(profile))
            fits = _PROFILE_MODES.get(parsed.profile.xcolor_space.strip()) == image.mode
            if fits and "srgb" not in (parsed.profile.profile_description or "").lower():
                return _transformed(image, parsed)
        except (OSError, ImageCms.PyCMSError):
            pass
    return image.convert("RGB")


def _transformed(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    result = ImageCms.profileToProfile(image, profile, _SRGB, outputMode="RGB")
    if result is None:  # only where it works in place
        raise DamagedMediaError("the colour profile cannot be applied: save the picture again as sRGB")
    return result
