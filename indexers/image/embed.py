"""Descriptors of pictures by a neural network, run by ONNX Runtime.

`CNN` is our network's (`indexers.models`), trained so that a picture and its copy (cropped, flipped, turned,
inverted, captioned, pasted into another) lie close. Any other ONNX file can be used by a `NetworkSpec` of its
own; `indexers.networks` reads one from a file.

A network is loaded wholly when its embedder is made: a process that gives up opening files after that can
still embed.
"""

import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt

from indexers import models
from indexers.errors import ModelError
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.image.decode import Picture

CNN = Scheme("image.cnn", 1, 256, Metric.COSINE, SpanUnit.FRAME, models.COPYDETECT_SHA256)
"""Our copy-detection network at 160 × 160 pixels, aspect not kept."""

Descriptors = npt.NDArray[np.float32]
"""(n, dim) unit vectors."""

_BATCH = 4  # pictures in one forward: of more, memory is got and given back page by page, which takes time


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network's file and how pictures are fed to it.

    Attributes:
        scheme: What its descriptors are called; `model_sha256` is the file's.
        path: The file: ONNX, with one input and one output.
        pixels: Side of the square that pictures are brought to, aspect not kept.
        mean: Of each channel in 0..1, subtracted before the network. None, for `std` too: the network takes
            (n, pixels, pixels, 3) uint8 and normalises by itself, as `CNN`'s does. Otherwise it takes
            (n, 3, pixels, pixels) float32.
        std: Of each channel in 0..1, divided by.
    """

    scheme: Scheme
    path: Path
    pixels: int
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        """Check that mean and std come together.

        Raises:
            ModelError: If one of them is missing, or a number makes no sense.
        """
        if (self.mean is None) != (self.std is None):
            raise ModelError("give both mean and std, or neither where the network normalises by itself")
        if self.pixels < 1 or (self.std is not None and min(self.std) <= 0):
            raise ModelError(f"{self.path.name}: pixels and std must be positive")

    def read(self) -> bytes:
        """Read the file.

        Raises:
            ModelError: If it cannot be read, or is not the one that the scheme names.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            problem = f"{self.path} cannot be read ({error.strerror})"
            raise ModelError(f"{problem}: give the path of an ONNX file") from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.scheme.model_sha256:
            raise ModelError(
                f"{self.path} has SHA-256 {digest}, {self.scheme.id} wants {self.scheme.model_sha256}: "
                "descriptors of different networks do not compare; give another file its own scheme"
            )
        return data


BUILT_IN = NetworkSpec(CNN, models.COPYDETECT, models.COPYDETECT_PIXELS)
"""The network that ships with the package."""


class Embedder(Protocol):
    """Describes pictures by unit vectors."""

    @property
    def scheme(self) -> Scheme:
        """The scheme of the descriptors."""
        ...

    def embed(self, pictures: Sequence[Picture]) -> Descriptors:
        """Describe pictures of any sizes; no pictures give an array of shape (0, dim)."""
        ...


class OnnxEmbedder:
    """`Embedder` by ONNX Runtime on one thread of the CPU."""

    def __init__(self, spec: NetworkSpec = BUILT_IN) -> None:
        """Load the network.

        Raises:
            ModelError: If the file cannot be read, is not the scheme's, or is no such network.
        """
        import onnxruntime  # noqa: PLC0415 - it starts a thread, which a process that is forked must not have

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # a worker would keep its largest batch's memory for good
        options.log_severity_level = 3
        data = spec.read()
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class but this
            raise ModelError(f"{spec.path} is no ONNX network that can be loaded: {error}") from error
        self._spec = spec
        if len(self._session.get_inputs()) != 1 or len(self._session.get_outputs()) != 1:
            raise ModelError(f"{spec.path}: a network for descriptors has one input and one output")
        self._input = self._session.get_inputs()[0].name
        shape = self._session.get_inputs()[0].shape
        self._batch = 1 if shape and shape[0] == 1 else _BATCH  # many exports take one picture, no more

    @property
    def scheme(self) -> Scheme:
        """The scheme of the descriptors."""
        return self._spec.scheme

    def at(self, pixels: int) -> Self:
        """The same network, loaded once, for pictures brought to squares of another side.

        Args:
            pixels: The side, ≥ 1; one that the network takes.
        """
        other = copy(self)
        other._spec = replace(self._spec, pixels=pixels)  # noqa: SLF001 - its own copy
        return other

    def embed(self, pictures: Sequence[Picture]) -> Descriptors:
        """Describe pictures of any sizes.

        Raises:
            ModelError: If the network's answer does not fit the scheme.
        """
        return in_batches(pictures, self._batch, self.scheme.dim, self._forward)

    def _forward(self, pictures: Sequence[Picture]) -> Descriptors:
        squares = prepare(pictures, self._spec)
        return checked(self._session.run(None, {self._input: squares})[0], self._spec)


def in_batches(
    pictures: Sequence[Picture], size: int, dim: int, forward: Callable[[Sequence[Picture]], Descriptors]
) -> Descriptors:
    """Describe pictures, at most `size` at a time: (n, dim), also of no pictures."""
    parts = [np.empty((0, dim), np.float32)]
    parts += [forward(pictures[start : start + size]) for start in range(0, len(pictures), size)]
    return np.concatenate(parts)


def prepare(
    pictures: Sequence[Picture], spec: NetworkSpec
) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Bring pictures to a network's input: see `NetworkSpec.mean` for shape and type."""
    squares = np.stack([square(picture, spec.pixels) for picture in pictures])
    if spec.mean is None or spec.std is None:
        return squares
    scaled = (squares / np.float32(255) - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)


def square(picture: Picture, pixels: int) -> Picture:
    """Bring a picture to `pixels` × `pixels`: averaged where it shrinks, interpolated where it grows."""
    height, width = picture.shape[:2]
    shrinks = height > pixels or width > pixels
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (pixels, pixels), interpolation=interpolation)  # type: ignore[return-value]


def checked(answer: npt.NDArray[np.floating], spec: NetworkSpec) -> Descriptors:
    """Make descriptors of a network's answer; of zeros alone, one that all such pictures share.

    Raises:
        ModelError: If its shape is not (n, dim) with the scheme's dim, or not all of it is finite.
    """
    if answer.ndim != 2 or answer.shape[1] != spec.scheme.dim:
        raise ModelError(
            f"{spec.path} gives an array of shape {answer.shape}, but {spec.scheme.id} is {spec.scheme.dim}-d"
        )
    if not np.isfinite(answer).all():
        raise ModelError(f"{spec.path} gives numbers that are not finite")
    silent = ~answer.any(axis=1, keepdims=True)
    return unit(np.where(silent, np.float32(1), answer))


def unit(rows: npt.NDArray[np.floating]) -> Descriptors:
    """Scale rows to length 1."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), np.float32)
