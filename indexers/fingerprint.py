"""Schemes and fingerprints: the values that everything else passes around."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexers.errors import FingerprintError

_BYTES, _FLOATS = np.dtype(np.uint8), np.dtype(np.float32)

_FEW: Final = 32
"""Rows up to which Python looks at all numbers sooner than NumPy begins."""


class Metric(StrEnum):
    """How far apart two descriptors are; smaller is closer."""

    HAMMING = "hamming"
    """Number of differing bits, 0 to dim."""
    COSINE = "cosine"
    """1 - cosine similarity, 0 to 2."""


class SpanUnit(StrEnum):
    """What a span counts."""

    FRAME = "frame"
    SECOND = "second"
    CHARACTER = "character"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to describe media, fixed for ever: what changes descriptors gets a new version.

    Attributes:
        name: What is described and how, such as ``image.pdq``.
        version: From 1.
        dim: Length of a descriptor: bits (Hamming) or float32 numbers (cosine).
        metric: How descriptors are compared.
        span_unit: What the spans of its fingerprints count.
        model_sha256: SHA-256 (hex) of the model's file where a model makes the descriptors.
        id: Name and version, such as ``image.pdq.v1``.
        columns: Length of a row of a descriptor array: bytes (Hamming) or numbers (cosine).
        dtype: Type of a descriptor array: uint8, packed most significant bit first, or float32.
    """

    name: str
    version: int
    dim: int
    metric: Metric
    span_unit: SpanUnit
    model_sha256: str | None = None
    id: str = field(init=False, repr=False, compare=False)
    columns: int = field(init=False, repr=False, compare=False)
    dtype: np.dtype[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the shape, and work out once what is asked for again and again.

        Raises:
            FingerprintError: If `dim` is not positive, or not a multiple of 8 for Hamming.
        """
        packed = self.metric is Metric.HAMMING
        object.__setattr__(self, "id", f"{self.name}.v{self.version}")
        object.__setattr__(self, "columns", self.dim // 8 if packed else self.dim)
        object.__setattr__(self, "dtype", _BYTES if packed else _FLOATS)
        if self.dim < 1 or (packed and self.dim % 8):
            raise FingerprintError(f"scheme {self.id}: {self.dim} is no length of a descriptor")

    def __hash__(self) -> int:
        """As that of its id, which a string remembers; enumerations hash slowly."""
        return hash(self.id)

    def check(self, descriptors: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the descriptors if they fit this scheme.

        Args:
            descriptors: Shape (n, columns), of `dtype`; float rows have length 1 (± 0.001).

        Raises:
            FingerprintError: If shape or type differ, or a row is not finite and of length 1.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self.columns:
            raise FingerprintError(
                f"{self.id} wants descriptors of shape (n, {self.columns}), not {descriptors.shape}"
            )
        if descriptors.dtype != self.dtype:
            raise FingerprintError(f"{self.id} wants {self.dtype}, not {descriptors.dtype}")
        if self.metric is Metric.COSINE and len(descriptors):
            norms = np.linalg.norm(descriptors, axis=1)
            if not np.all(np.abs(norms - 1.0) <= 1e-3):  # NaN fails this too
                raise FingerprintError(f"{self.id} wants L2-normalised rows")
        return descriptors


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """Descriptors of one media item under one scheme. Arrays are read-only after construction.

    Attributes:
        scheme: What made them.
        descriptors: (n, scheme.columns), n ≥ 1.
        spans: (n, 2) float64, half-open, in the scheme's span unit.
        quality: (n,) float32, 0 (carries no information) to 1.
        views: (n,) uint8: which view of the media each was taken from; 0 is the media as it is. The
            modality names the others. References have view 0 alone.
        regions: (n, 4) float32 left, top, right, bottom in 0..1 of the view's source, or None where
            each descriptor describes the whole picture, or there is none.
    """

    scheme: Scheme
    descriptors: npt.NDArray[Any]
    spans: npt.NDArray[np.float64]
    quality: npt.NDArray[np.float32]
    views: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the arrays against each other and freeze them.

        Raises:
            FingerprintError: If a shape, type or range is wrong.
        """
        n = len(self.scheme.check(self.descriptors))
        if n == 0:
            raise FingerprintError(f"{self.scheme.id}: a fingerprint has at least one descriptor")
        if self.spans.shape != (n, 2) or self.spans.dtype != np.float64:
            raise FingerprintError(f"{self.scheme.id}: spans must be float64 of shape ({n}, 2)")
        if not _in_order(self.spans):
            raise FingerprintError(f"{self.scheme.id}: a span must be finite and end after its start")
        if self.quality.shape != (n,) or self.quality.dtype != np.float32:
            raise FingerprintError(f"{self.scheme.id}: quality must be float32 of shape ({n},)")
        if not _in_unit(self.quality):
            raise FingerprintError(f"{self.scheme.id}: quality must lie in 0..1")
        if self.views.shape != (n,) or self.views.dtype != np.uint8:
            raise FingerprintError(f"{self.scheme.id}: views must be uint8 of shape ({n},)")
        if self.regions is not None and (
            self.regions.shape != (n, 4) or self.regions.dtype != np.float32 or not _in_unit(self.regions)
        ):
            raise FingerprintError(f"{self.scheme.id}: regions must be float32 in 0..1, ({n}, 4)")
        for array in (self.descriptors, self.spans, self.quality, self.views, self.regions):
            if array is not None:
                array.flags.writeable = False

    def __len__(self) -> int:
        """Number of descriptors."""
        return len(self.descriptors)


def _in_order(spans: npt.NDArray[np.float64]) -> bool:
    """Whether all of them are finite and end after their start."""
    if len(spans) <= _FEW:
        return all(-inf < start < end < inf for start, end in spans.tolist())
    return bool(np.isfinite(spans).all() and (spans[:, 1] > spans[:, 0]).all())


def _in_unit(numbers: npt.NDArray[np.float32]) -> bool:
    """Whether all of them (at least one) lie in 0..1; NaN does not."""
    if numbers.ndim == 1 and len(numbers) <= _FEW:
        return all(0.0 <= number <= 1.0 for number in numbers.tolist())
    return bool(numbers.min() >= 0 and numbers.max() <= 1)


def joined(fingerprints: Iterable[Fingerprint]) -> tuple[Fingerprint, ...]:
    """One fingerprint of each scheme, in the order of their first appearance: rows after rows.

    Raises:
        FingerprintError: If of one scheme some have regions and some have none.
    """
    by_scheme: dict[str, list[Fingerprint]] = {}
    for fingerprint in fingerprints:
        by_scheme.setdefault(fingerprint.scheme.id, []).append(fingerprint)
    return tuple(parts[0] if len(parts) == 1 else _concatenated(parts) for parts in by_scheme.values())


def _concatenated(parts: list[Fingerprint]) -> Fingerprint:
    regions = [part.regions for part in parts if part.regions is not None]
    if regions and len(regions) < len(parts):
        raise FingerprintError(f"{parts[0].scheme.id}: some parts have regions and some have none")
    return Fingerprint(
        parts[0].scheme,
        np.concatenate([part.descriptors for part in parts]),
        np.concatenate([part.spans for part in parts]),
        np.concatenate([part.quality for part in parts]),
        np.concatenate([part.views for part in parts]),
        np.concatenate(regions) if regions else None,
    )
