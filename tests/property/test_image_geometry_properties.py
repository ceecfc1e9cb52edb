import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from indexers.image import geometry
from indexers.image.geometry import Geometry

Features = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]


@st.composite
def features(draw: st.DrawFn) -> Features:
    """Any descriptors and any squares, most of them of few different values, so that some agree."""
    count = draw(st.integers(0, 40))
    descriptors = draw(arrays.arrays(np.uint8, (count, 32), elements=st.sampled_from([0, 1, 255])))
    number = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(width=32))
    return descriptors, draw(arrays.arrays(np.float32, (count, 4), elements=number))


def as_values(relation: Geometry | None) -> tuple[object, ...]:
    if relation is None:
        return ()
    return relation.transform.tobytes(), relation.inliers, relation.query, relation.work, relation.agreement


@given(features(), features())
@settings(deadline=None)
def test_whatever_is_related_is_finite_and_in_range(query: Features, work: Features) -> None:
    relation = geometry.relate(*query, *work)
    assert as_values(relation) == as_values(geometry.relate(*query, *work))
    if relation is not None:
        assert np.isfinite(relation.transform).all()
        assert geometry.MIN_INLIERS <= relation.inliers <= relation.matches
        for share in (relation.agreement, relation.query_coverage, relation.work_coverage):
            assert 0 <= share <= 1
        for box in (relation.query, relation.work):
            assert 0 <= box.left < box.right <= 1
            assert 0 <= box.top < box.bottom <= 1


@given(st.integers(0, 2**32 - 1), st.integers(4, 120))
@settings(deadline=None, max_examples=30)
def test_relating_is_deterministic(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    descriptors = generator.integers(0, 256, (count, 32), np.uint8)
    corner = generator.uniform(0, 0.9, (count, 2))
    squares = np.concatenate([corner, corner + 0.05], axis=1).astype(np.float32)
    first = geometry.relate(descriptors, squares, descriptors, squares)
    assert as_values(first) == as_values(geometry.relate(descriptors, squares, descriptors, squares))
