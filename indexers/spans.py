"""Spans as bytes: for the store, and for what a worker sends."""

import struct
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.errors import FingerprintError

_SCALES = (1, 1000)
"""Units of a whole and of a thousandth."""
_COUNTABLE = 2.0**53
_HEAD = struct.Struct("<HqBB")
"""Scale of the spans, start of the first; bytes of a step, and of a length. Scale 0: numbers as they are."""
_SIZES = (1, 2, 4, 8)
_FEW = 512
"""Spans of as many descriptors, as a still picture has views or keypoints, are mostly the same again."""


def pack(spans: npt.NDArray[np.float64]) -> bytes:
    """Spans, (n, 2), n ≥ 1, to the bit.

    Spans that count whole characters or frames, or milliseconds, take the few bytes of their lengths and of
    the steps from one start to the next. All others take 16 bytes each.
    """
    return _pack(spans) if len(spans) > _FEW else _pack_few(spans.tobytes(), len(spans))


@lru_cache(maxsize=256)
def _pack_few(stored: bytes, count: int) -> bytes:
    return _pack(np.frombuffer(stored).reshape(count, 2))


def _pack(spans: npt.NDArray[np.float64]) -> bytes:
    for scale in _SCALES:
        counted = np.rint(spans * scale)
        if np.abs(counted).max() < _COUNTABLE and (counted / scale == spans).all():
            starts, ends = counted.astype(np.int64).T
            steps, lengths = _narrow(np.diff(starts, prepend=starts[0])), _narrow(ends - starts)
            head = _HEAD.pack(scale, int(starts[0]), steps.itemsize, lengths.itemsize)
            return head + steps.tobytes() + lengths.tobytes()
    return _HEAD.pack(0, 0, 0, 0) + spans.astype("<f8", copy=False).tobytes()


def unpack(data: bytes | memoryview, count: int) -> npt.NDArray[np.float64]:
    """The opposite of `pack`: (count, 2) float64, read-only.

    Raises:
        FingerprintError: If the bytes are not what `pack` made of as many.
    """
    return _unpack(data, count) if count > _FEW else _unpack_few(bytes(data), count)


@lru_cache(maxsize=256)
def _unpack_few(data: bytes, count: int) -> npt.NDArray[np.float64]:
    return _unpack(data, count)


def _unpack(data: bytes | memoryview, count: int) -> npt.NDArray[np.float64]:
    if len(data) < _HEAD.size:
        raise FingerprintError(f"{len(data)} bytes are no spans")
    scale, first, *sizes = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    known = (scale == 0 and sizes == [0, 0]) or (scale in _SCALES and set(sizes) <= set(_SIZES))
    if not known or len(body) != count * (sum(sizes) or 16):
        raise FingerprintError(f"{len(data)} bytes are not {count} spans")
    if scale == 0:
        return _frozen(np.frombuffer(body, "<f8").astype(np.float64, copy=False).reshape(count, 2))
    steps = np.frombuffer(body, f"<i{sizes[0]}", count).astype(np.int64)
    lengths = np.frombuffer(body, f"<i{sizes[1]}", offset=count * sizes[0])
    starts = first + np.cumsum(steps)
    return _frozen(np.stack([starts, starts + lengths], axis=1) / scale)


def _frozen(spans: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    spans.flags.writeable = False
    return spans


def _narrow(values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The same numbers in as few bytes as they need."""
    largest = max(int(values.max()), -int(values.min()) - 1)
    size = next(size for size in _SIZES if largest < 1 << (8 * size - 1))
    return values.astype(f"<i{size}")
