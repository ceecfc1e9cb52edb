"""Whatever the bytes, reading a picture gives pictures or a MediaError.

HEIC is left out: its decoder (pi-heif 1.4) crashes on some broken files, which is what the sandbox is for.
`test_sandbox.py` holds one that does.
"""

import io
from functools import cache
from itertools import chain, islice
from pathlib import Path

import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from indexers import registry
from indexers.errors import MediaError
from indexers.image import ImageModality, decode
from indexers.modality import MediaLimits, Role

MODALITY = ImageModality()
LIMITS = MediaLimits(max_pixels=1_000_000, max_frames=4)
HEADS = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\0\0\0\0WEBP",
    b"GIF89a",
    b"II*\0",
    b"BM" + b"\0" * 12 + b"\x28\0\0\0",
    b"\0\0\0\x18ftypavif",
]


@cache
def real_files() -> list[bytes]:
    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as image:
        photo = image.convert("RGB").resize((96, 64))
    turned = [photo.rotate(angle) for angle in (0, 20, 40)]
    files = []
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"):
        buffer = io.BytesIO()
        animated = {} if kind in {"JPEG", "BMP"} else {"save_all": True, "append_images": turned[1:]}
        turned[0].save(buffer, kind, **animated)
        files.append(buffer.getvalue())
    return files


def check(content: bytes, stages: int = 1) -> None:
    """Read and describe in so many stages, and look at what comes out."""
    try:
        segments = list(MODALITY.decode(io.BytesIO(content), LIMITS))
    except MediaError:
        return
    assert 1 <= len(segments) <= LIMITS.max_frames
    for segment in segments:
        height, width, channels = segment.data.shape
        assert channels == 3
        assert 1 <= max(height, width) <= decode.WORKING_SIDE
    for fingerprint in chain.from_iterable(islice(MODALITY.fingerprint(segments, Role.QUERY), stages)):
        channel = registry.channel(fingerprint.scheme.id)
        assert len(fingerprint) <= len(segments) * channel.rows_of(Role.QUERY)
        assert fingerprint.views.max() < channel.views_of(Role.QUERY)


@given(st.sampled_from([b"", *HEADS]), st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes(head: bytes, rest: bytes) -> None:
    check(head + rest)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_real_files_with_changed_bytes(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(real_files())))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    check(bytes(content))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_real_files_with_parts_cut_out(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(real_files()))
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    check(content[:start] + content[end:])


@given(st.data())
@settings(max_examples=10, deadline=None)
def test_real_files_that_end_early_in_all_stages(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(real_files()))
    check(content[: data.draw(st.integers(len(content) // 2, len(content)))], len(MODALITY.stages))
