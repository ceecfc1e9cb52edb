"""Spans come back from bytes as they were."""

import struct

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from indexers import spans
from indexers.errors import FingerprintError

_STARTS = st.one_of(
    st.integers(-(10**12), 10**12).map(float),
    st.integers(0, 10**9).map(lambda ms: ms / 1000),
    st.floats(-1e6, 1e6),
)
_LENGTHS = st.one_of(st.integers(1, 10**9).map(float), st.floats(0.001, 1e6))


@given(st.lists(st.tuples(_STARTS, _LENGTHS), min_size=1, max_size=20))
def test_any_spans_come_back_to_the_bit(found: list[tuple[float, float]]) -> None:
    given_ = np.array([(start, start + length) for start, length in found])
    np.testing.assert_array_equal(spans.unpack(spans.pack(given_), len(found)), given_)


@pytest.mark.parametrize("unit", [1, 1000])
@given(steps=arrays.arrays(np.int64, (5, 2), elements=st.integers(0, 60_000)))
def test_characters_and_milliseconds_take_few_bytes(unit: int, steps: npt.NDArray[np.int64]) -> None:
    starts = np.cumsum(steps[:, 0])
    counted = np.stack([starts, starts + steps[:, 1] + 1], axis=1) / unit
    packed = spans.pack(counted)
    assert len(packed) <= 12 + 5 * 8
    np.testing.assert_array_equal(spans.unpack(packed, 5), counted)


def test_short_steps_and_lengths_take_a_byte_each() -> None:
    starts = np.arange(1000.0) * 3
    assert len(spans.pack(np.stack([starts, starts + 20], axis=1))) == 2000 + 12


@pytest.mark.parametrize(
    "data",
    [
        b"",
        spans.pack(np.array([[1.0, 2.0], [2.0, 3.0]])),
        spans.pack(np.array([[0.1, 0.2345678], [2.0, 3.0]])),
        struct.pack("<HqBB", 7, 0, 1, 1) + bytes(6),
        struct.pack("<HqBB", 1, 0, 3, 3) + bytes(18),
        struct.pack("<HqBB", 0, 0, 1, 1) + bytes(6),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FingerprintError, match="spans"):
        spans.unpack(data, 3)
