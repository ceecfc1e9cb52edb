import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
import pytest
import skimage
from PIL import Image, ImageOps

from indexers import registry
from indexers.errors import FingerprintError
from indexers.fingerprint import Fingerprint
from indexers.image import ImageModality, align, decode, hashes
from indexers.modality import WHOLE, Box, MediaLimits, Role, Segment

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "image_hashes.json").read_text("utf-8"))
PHOTOS = Path(skimage.__file__).parent / "data"
MODALITY = ImageModality()

APPLY: dict[str, Callable[[Image.Image], Image.Image]] = {
    "identity": Image.Image.copy,
    "flip_horizontal": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "flip_vertical": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "rotate_90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "rotate_180": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "rotate_270": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "transpose": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    "transverse": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    "invert": ImageOps.invert,
}


def photo(name: str) -> Image.Image:
    with Image.open(PHOTOS / name) as image:
        return image.convert("RGB")


def fingerprints(image: Image.Image, role: Role) -> list[Fingerprint]:
    return hashes.fingerprint([Segment(0.0, 1.0, np.asarray(image))], role)


def bits(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> int:
    return int(np.bitwise_count(first ^ second).sum())


@pytest.mark.parametrize("name", sorted(VECTORS["pictures"]))
def test_golden_vectors(name: str) -> None:
    golden = VECTORS["pictures"][name]
    content = (PHOTOS / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == golden["sha256"]
    pdq, phash = hashes.fingerprint(decode.decode(io.BytesIO(content), MediaLimits()), Role.REFERENCE)
    for fingerprint in (pdq, phash):
        expected = np.frombuffer(bytes.fromhex(golden[fingerprint.scheme.id]), np.uint8)
        tolerance = VECTORS["tolerance_bits"][fingerprint.scheme.id]
        assert bits(fingerprint.descriptors[0], expected) <= tolerance
        assert fingerprint.quality[0] == pytest.approx(golden["quality"][fingerprint.scheme.id], abs=0.02)


@pytest.mark.parametrize("name", sorted(VECTORS["pdqhash"]["pictures"]))
def test_hashes_are_those_of_the_reference_libraries(name: str) -> None:
    image = photo(name)
    square = image.convert("L").resize((320, 320), Image.Resampling.BILINEAR)
    pdq, phash = fingerprints(image, Role.REFERENCE)
    expected = VECTORS["pdqhash"]["pictures"][name]
    assert pdq.descriptors[0].tobytes().hex() == expected["square"]
    assert pdq.quality[0] == np.float32(expected["quality"] / 100)
    assert phash.descriptors[0].tobytes().hex() == str(imagehash.phash(square))
    all_views = fingerprints(image, Role.QUERY)
    assert all_views[0].descriptors[0].tobytes() == pdq.descriptors[0].tobytes()
    assert all_views[1].descriptors[0].tobytes() == phash.descriptors[0].tobytes()


@pytest.mark.parametrize("name", sorted(VECTORS["pdqhash"]["pictures"]))
def test_small_differences_to_hashes_of_the_full_size(name: str) -> None:
    content = (PHOTOS / name).read_bytes()
    pdq, phash = hashes.fingerprint(decode.decode(io.BytesIO(content), MediaLimits()), Role.REFERENCE)
    expected = np.frombuffer(bytes.fromhex(VECTORS["pdqhash"]["pictures"][name]["full_size"]), np.uint8)
    assert bits(pdq.descriptors[0], expected) <= 16
    assert bits(phash.descriptors[0], np.packbits(imagehash.phash(photo(name)).hash)) <= 4


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "astronaut.png"])
@pytest.mark.parametrize("code", range(len(hashes.TRANSFORMS)))
def test_finds_every_flip_turn_and_negative(name: str, code: int) -> None:
    transform = hashes.TRANSFORMS[code]
    image = photo(name)
    reference = fingerprints(image, Role.REFERENCE)
    copy = APPLY[transform](image)
    query = fingerprints(copy, Role.QUERY)
    for mine, theirs in zip(query, reference, strict=True):
        assert mine.views.tolist() == list(range(len(hashes.TRANSFORMS)))
        distances = [bits(row, theirs.descriptors[0]) for row in mine.descriptors]
        assert np.argmin(distances) == code
        assert distances[code] <= 2
    found = align.align(query, reference)
    assert found is not None
    assert found.regions[0].transform == transform
    assert found.regions[0].query == found.regions[0].work == WHOLE
    assert found.signals["pdq_distance"] <= 2


def test_a_flat_picture_has_no_quality() -> None:
    for grey in (0, 128, 255):
        for fingerprint in fingerprints(Image.new("RGB", (200, 100), (grey, grey, grey)), Role.QUERY):
            assert fingerprint.quality.max() < 1e-6


def test_phash_quality_is_low_frequency_contrast() -> None:
    x = np.cos(np.pi * (2 * np.arange(320) + 1) / 640)  # the first cosine: standard deviation 1 / sqrt(2)
    wave = np.tile(128 + 8 * x, (320, 1)).round().astype(np.uint8)
    _, phash = fingerprints(Image.fromarray(wave).convert("RGB"), Role.REFERENCE)
    assert phash.quality[0] == pytest.approx(8 / np.sqrt(2) / 16, rel=0.05)


def test_resaving_and_scaling_move_few_bits() -> None:
    image = photo("astronaut.png")
    reference = fingerprints(image, Role.REFERENCE)
    for side, quality in ((512, 30), (300, 75), (150, 75)):
        buffer = io.BytesIO()
        image.resize((side, side)).save(buffer, "JPEG", quality=quality)
        found = align.align(hashes.fingerprint(decode.decode(buffer, MediaLimits()), Role.QUERY), reference)
        assert found is not None
        assert found.signals["pdq_distance"] <= 16
        assert found.signals["phash_distance"] <= 4


def test_unrelated_pictures_are_far_apart() -> None:
    found = align.align(
        fingerprints(photo("chelsea.png"), Role.QUERY), fingerprints(photo("coffee.png"), Role.REFERENCE)
    )
    assert found is not None
    assert found.signals["pdq_distance"] > 76
    assert found.signals["phash_distance"] > 8
    assert found.signals.keys() < MODALITY.signal_units.keys()
    assert found.signals["pdq_quality"] == 1.0


def test_no_common_scheme_gives_no_alignment() -> None:
    pdq, phash = fingerprints(photo("coffee.png"), Role.QUERY)
    assert align.align([pdq], [phash]) is None
    found = align.align([pdq, phash], [phash])
    assert found is not None
    assert found.signals == {"phash_distance": 0.0, "phash_quality": 1.0}


def animation(names: list[str], role: Role) -> list[Fingerprint]:
    return hashes.fingerprint(
        [Segment(float(n), n + 1.0, np.asarray(photo(name))) for n, name in enumerate(names)], role
    )


def test_aligns_the_frames_of_animations() -> None:
    work = animation(["coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg"], Role.REFERENCE)
    found = align.align(animation(["retina.jpg", "chelsea.png", "astronaut.png"], Role.QUERY), work)
    assert found is not None
    (segment,) = found.segments
    assert (segment.query, segment.work, segment.speed) == ((1.0, 3.0), (1.0, 3.0), 1.0)
    assert found.query_coverage == pytest.approx(2 / 3)
    assert found.work_coverage == pytest.approx(2 / 4)


def test_aligns_reversed_frames() -> None:
    names = ["coffee.png", "chelsea.png", "astronaut.png"]
    found = align.align(animation(names[::-1], Role.QUERY), animation(names, Role.REFERENCE))
    assert found is not None
    assert found.segments[0].speed == -1.0
    assert found.query_coverage == found.work_coverage == 1.0


def test_aligns_a_still_with_a_frame() -> None:
    work = animation(["coffee.png", "chelsea.png"], Role.REFERENCE)
    found = align.align(fingerprints(photo("chelsea.png"), Role.QUERY), work)
    assert found is not None
    assert found.segments[0].work == (1.0, 2.0)
    assert (found.query_coverage, found.work_coverage) == (1.0, 0.5)
    unrelated = align.align(fingerprints(photo("retina.jpg"), Role.QUERY), work)
    assert unrelated is not None
    assert unrelated.segments == ()
    assert (unrelated.query_coverage, unrelated.work_coverage) == (0.0, 0.0)


def test_stills_cover_each_other() -> None:
    found = align.align(
        fingerprints(photo("coffee.png"), Role.QUERY), fingerprints(photo("coffee.png"), Role.REFERENCE)
    )
    assert found is not None
    assert (found.query_coverage, found.work_coverage, found.segments) == (1.0, 1.0, ())
    assert found.regions[0].work == Box(0, 0, 1, 1)


def test_the_registry_knows_modalities_and_schemes() -> None:
    assert registry.by_name("image").name == "image"
    assert registry.channel("image.pdq.v1").scheme is hashes.PDQ
    assert registry.channel("image.phash.v1").scheme.dim == 64
    with pytest.raises(FingerprintError, match=r"image\.pdq\.v2.*image\.pdq\.v1"):
        registry.channel("image.pdq.v2")


def test_no_frames_make_no_fingerprint() -> None:
    with pytest.raises(FingerprintError):
        hashes.fingerprint([], Role.QUERY)
