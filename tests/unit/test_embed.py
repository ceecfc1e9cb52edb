"""Descriptors of pictures by networks: ours, and a user's own."""

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from indexers import models
from indexers.errors import ModelError
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.image import embed
from indexers.image.decode import Picture
from indexers.image.embed import BUILT_IN, CNN, NetworkSpec, OnnxEmbedder

ROOT = Path(__file__).parents[2]
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@pytest.fixture(scope="module")
def pictures(photographs: dict[str, bytes]) -> list[Picture]:
    return [np.asarray(Image.open(BytesIO(data)).convert("RGB")) for data in photographs.values()]


@pytest.fixture(scope="module")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder()


def _copies(picture: Picture) -> Iterable[Picture]:
    height, width = picture.shape[:2]
    yield np.ascontiguousarray(picture[:, ::-1])
    yield picture[height // 10 :, : width * 9 // 10]
    yield np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.0), np.uint8)
    yield np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def test_copies_lie_closer_than_other_pictures(pictures: list[Picture], embedder: OnnxEmbedder) -> None:
    references = embedder.embed(pictures)
    right = [
        int(np.argmax(row)) == index
        for index, picture in enumerate(pictures)
        for row in embedder.embed(list(_copies(picture))) @ references.T
    ]
    assert np.mean(right) > 0.95


def test_descriptors_fit_the_scheme(pictures: list[Picture], embedder: OnnxEmbedder) -> None:
    descriptors = embedder.embed(pictures)
    assert embedder.scheme is CNN
    assert CNN.check(descriptors).shape == (len(pictures), 256)


def test_batches_change_nothing(pictures: list[Picture], embedder: OnnxEmbedder) -> None:
    many = embedder.embed(pictures * 2)  # more than one batch
    singly = np.concatenate([embedder.embed([picture]) for picture in pictures])
    np.testing.assert_allclose(many, np.concatenate([singly, singly]), atol=1e-5)


def test_no_pictures_give_no_descriptors(embedder: OnnxEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 256)


@pytest.mark.parametrize("size", [(1, 1), (1, 512), (512, 3), (160, 160), (161, 159)])
def test_any_size_is_described(size: tuple[int, int], embedder: OnnxEmbedder) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    CNN.check(embedder.embed([picture]))


def test_a_window_of_a_picture_is_described_without_copying_it(
    pictures: list[Picture], embedder: OnnxEmbedder
) -> None:
    window = pictures[0][40:300, 60:400]
    assert not window.flags.c_contiguous
    np.testing.assert_array_equal(embedder.embed([window]), embedder.embed([window.copy()]))


def test_the_networks_are_those_that_the_package_names() -> None:
    for path, digest in (
        (models.COPYDETECT, models.COPYDETECT_SHA256),
        (models.BACKGROUND, models.BACKGROUND_SHA256),
    ):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert models.COPYDETECT.stat().st_size < 20e6
    assert CNN.model_sha256 == models.COPYDETECT_SHA256


def test_a_loaded_network_needs_its_file_no_more(tmp_path: Path, pictures: list[Picture]) -> None:
    path = tmp_path / "copy.onnx"
    path.write_bytes(models.COPYDETECT.read_bytes())
    ours = OnnxEmbedder(NetworkSpec(CNN, path, 160))
    path.unlink()
    CNN.check(ours.embed(pictures[:1]))


def test_a_confined_process_can_embed() -> None:
    program = """
import numpy as np
from indexers.image.embed import OnnxEmbedder
from service.sandbox import confine

embedder = OnnxEmbedder()
confine.confine(memory_bytes=512 * 1024 * 1024)
print(embedder.embed([np.zeros((300, 400, 3), np.uint8)] * 20).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "(20, 256)\n", done.stderr


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "changed.onnx"
    path.write_bytes(models.COPYDETECT.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match="give another file its own scheme"):
        OnnxEmbedder(NetworkSpec(CNN, path, 160))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx cannot be read"):
        OnnxEmbedder(NetworkSpec(CNN, tmp_path / "nowhere.onnx", 160))


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(ModelError, match="is no ONNX network"):
        OnnxEmbedder(NetworkSpec(_scheme(path), path, 160))


def test_a_network_of_another_length_is_refused(pictures: list[Picture]) -> None:
    scheme = Scheme("image.mine", 1, 128, Metric.COSINE, SpanUnit.FRAME, models.COPYDETECT_SHA256)
    with pytest.raises(ModelError, match="is 128-d"):
        OnnxEmbedder(NetworkSpec(scheme, models.COPYDETECT, 160)).embed(pictures[:1])


def test_another_input_size_is_the_users_choice(pictures: list[Picture]) -> None:
    scheme = _scheme(models.COPYDETECT)
    at_224 = OnnxEmbedder(NetworkSpec(scheme, models.COPYDETECT, 224)).embed(pictures)
    assert scheme.check(at_224).shape == (len(pictures), 256)


def test_networks_that_do_not_normalise_get_scaled_floats(pictures: list[Picture]) -> None:
    spec = NetworkSpec(CNN, models.COPYDETECT, 64, MEAN, STD)
    prepared = embed.prepare(pictures[:2], spec)
    squares = embed.prepare(pictures[:2], NetworkSpec(CNN, models.COPYDETECT, 64))
    assert prepared.shape == (2, 3, 64, 64)
    assert prepared.dtype == np.float32
    expected = (squares[1, 10, 20] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(prepared[1, :, 10, 20], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("pixels", "mean", "std"),
    [(160, MEAN, None), (160, None, STD), (0, None, None), (160, MEAN, (1.0, 0.0, 1.0))],
)
def test_specs_that_make_no_sense_are_refused(
    pixels: int, mean: tuple[float, float, float] | None, std: tuple[float, float, float] | None
) -> None:
    with pytest.raises(ModelError):
        NetworkSpec(CNN, BUILT_IN.path, pixels, mean, std)


def _scheme(path: Path) -> Scheme:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Scheme("image.mine", 1, 256, Metric.COSINE, SpanUnit.FRAME, digest)
