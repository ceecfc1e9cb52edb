"""Values for the store's tests."""

import numpy as np

from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from service.domain import NewReference, NewWork

BITS = Scheme("test.bits", 1, 64, Metric.HAMMING, SpanUnit.FRAME)
FLOATS = Scheme("test.floats", 2, 4, Metric.COSINE, SpanUnit.SECOND)
SCHEMES = {scheme.id: scheme for scheme in (BITS, FLOATS)}


def fingerprint(scheme: Scheme, seed: int, count: int = 1) -> Fingerprint:
    rng = np.random.default_rng(seed)
    if scheme.metric is Metric.HAMMING:
        descriptors = rng.integers(0, 256, (count, scheme.columns), dtype=np.uint8)
    else:
        rows = rng.normal(size=(count, scheme.columns)).astype(np.float32)
        descriptors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Fingerprint(
        scheme=scheme,
        descriptors=descriptors,
        spans=np.tile([0.0, 1.0], (count, 1)),
        quality=np.ones(count, np.float32),
        views=np.zeros(count, np.uint8),
    )


def sha256_of(seed: int) -> bytes:
    return seed.to_bytes(32, "big")


def new_reference(seed: int, *counts: int) -> NewReference:
    """A reference with one fingerprint for each count, under BITS, then FLOATS; one descriptor by default."""
    return NewReference(
        filename=f"{seed}.jpg",
        modality="image",
        sha256=sha256_of(seed),
        byte_count=1000 + seed,
        fingerprints=tuple(
            fingerprint(scheme, seed, count)
            for scheme, count in zip(SCHEMES.values(), counts or (1,), strict=False)
        ),
    )


def new_work(external_id: str | None = None, owner: str = "studio") -> NewWork:
    return NewWork(owner=owner, external_id=external_id)
