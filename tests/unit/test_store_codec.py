"""What stands in a row is what was put there."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from indexers.errors import FingerprintError
from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from service.store import codec

SCHEME = Scheme("test.keys", 1, 32, Metric.HAMMING, SpanUnit.SECOND)


def restored(spans: npt.NDArray[np.float64]) -> tuple[Fingerprint, Fingerprint, bytes | None]:
    """A fingerprint with these spans, what becomes of it in the store, and its spans' bytes."""
    n = len(spans)
    one = Fingerprint(
        SCHEME, np.zeros((n, 4), np.uint8), spans, np.ones(n, np.float32), np.zeros(n, np.uint8)
    )
    data = codec.dump_spans(one.spans)
    other = codec.load_fingerprint(
        SCHEME,
        n,
        descriptors=codec.dump_descriptors(one),
        spans=data,
        quality=codec.dump_quality(one.quality),
        regions=None,
    )
    return one, other, data


_STARTS = st.one_of(
    st.integers(-(10**12), 10**12).map(float),
    st.integers(0, 10**9).map(lambda ms: ms / 1000),
    st.floats(-1e6, 1e6),
)
_LENGTHS = st.one_of(st.integers(1, 10**9).map(float), st.floats(0.001, 1e6))


@given(st.lists(st.tuples(_STARTS, _LENGTHS), min_size=1, max_size=20))
def test_spans_come_back_to_the_bit(spans: list[tuple[float, float]]) -> None:
    one, other, _ = restored(np.array([(start, start + length) for start, length in spans]))
    np.testing.assert_array_equal(other.spans, one.spans)


@pytest.mark.parametrize("unit", [1, 1000])
@given(steps=arrays.arrays(np.int64, (5, 2), elements=st.integers(0, 60_000)))
def test_characters_and_milliseconds_take_few_bytes(unit: int, steps: npt.NDArray[np.int64]) -> None:
    starts = np.cumsum(steps[:, 0])
    one, other, data = restored(np.stack([starts, starts + steps[:, 1] + 1], axis=1) / unit)
    assert data is None or len(data) <= 12 + 5 * 8
    np.testing.assert_array_equal(other.spans, one.spans)


def test_short_steps_and_lengths_take_a_byte_each() -> None:
    starts = np.arange(1000.0) * 3
    _, _, data = restored(np.stack([starts, starts + 20], axis=1))
    assert data is not None
    assert len(data) == 2000 + 12


def test_spans_of_another_number_are_refused() -> None:
    _, _, data = restored(np.array([[1.0, 2.0], [2.0, 3.0]]))
    with pytest.raises(FingerprintError, match="3 spans"):
        codec.load_fingerprint(SCHEME, 3, descriptors=bytes(12), spans=data, quality=None, regions=None)
