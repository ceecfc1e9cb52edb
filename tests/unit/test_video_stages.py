"""In which stages a suspect film is described: coarsely first, more where that is worth a closer look."""

import io
from collections.abc import Collection, Generator

import numpy as np
import pytest

from indexers.fingerprint import Fingerprint
from indexers.image import describe
from indexers.modality import MediaLimits, Role
from indexers.video import VideoModality, views
from indexers.video.frames import FRAMES, Describer, split
from tests import films, sounds

Stages = Generator[list[Fingerprint], Collection[int] | None, None]

CLIP = films.encoded(
    [films.inside(one, films.shown("other", 0.0)) for one in films.frames("first", 1, 7)],
    sounds.tune(5, 6),
)


@pytest.fixture(scope="module")
def modality() -> VideoModality:
    modality = VideoModality()
    modality.load()
    modality.prepare()
    return modality


def stages(modality: VideoModality) -> Stages:
    return modality.fingerprint(modality.decode(io.BytesIO(CLIP), MediaLimits()), Role.QUERY)


def frames_of(found: list[Fingerprint]) -> Fingerprint | None:
    return next((one for one in found if one.scheme == FRAMES), None)


def test_every_second_frame_is_described_first_and_the_others_if_they_are_wanted(
    modality: VideoModality,
) -> None:
    describing = stages(modality)
    first = frames_of(next(describing))
    assert first is not None
    np.testing.assert_allclose(first.spans, [(at, at + 1.0) for at in range(6)], atol=0.01)
    more = frames_of(describing.send({0}))
    assert more is not None
    np.testing.assert_allclose(more.spans[:, 0], np.arange(0.5, 6, 1.0), atol=0.01)
    assert not more.views.any()


def test_what_is_not_worth_a_closer_look_is_described_no_more(modality: VideoModality) -> None:
    describing = stages(modality)
    found = [next(describing), *(describing.send(frozenset()) for _ in modality.stages[1:])]
    counts = {
        stage: len(rows) if (rows := frames_of(one)) else 0
        for stage, one in zip(modality.stages, found, strict=True)
    }
    assert counts["frames"] == 6
    assert not any(counts[stage] for stage in ("more frames", "more of parts", "rest of parts"))
    assert counts["more of tiles"] == counts["rest of tiles"] == 0
    assert 0 < counts["parts"] <= views.GLANCE * (views.FOUND + views.SHAPED)
    assert counts["tiles"] == (views.GLANCE - 1) * len(views.TILES)
    assert found[2]
    assert all(one.scheme != FRAMES for one in found[2])


def test_more_is_described_of_the_views_that_are_named_alone(modality: VideoModality) -> None:
    describing = stages(modality)
    for _ in range(4):
        parts = next(describing)
    glance = frames_of(parts)
    assert glance is not None
    named = int(glance.views[0])
    more = frames_of(describing.send({named}))
    rest = frames_of(describing.send({named}))
    assert more is not None
    assert rest is not None
    seen = [glance.spans[glance.views == named, 0], more.spans[:, 0], rest.spans[:, 0]]
    assert set(more.views.tolist()) == set(rest.views.tolist()) == {named}
    assert len(seen[1]) == views.GLANCE
    assert len(np.unique(np.concatenate(seen))) == sum(map(len, seen)) == 12


def test_what_a_second_look_does_not_confirm_is_described_no_more(modality: VideoModality) -> None:
    describing = stages(modality)
    for _ in range(4):
        parts = next(describing)
    glance = frames_of(parts)
    assert glance is not None
    assert frames_of(describing.send({int(glance.views[0])})) is not None
    assert frames_of(describing.send(frozenset())) is None


def test_all_is_described_where_nobody_chooses(modality: VideoModality) -> None:
    found = [rows for stage in stages(modality) if (rows := frames_of(stage))]
    assert len(found) == 8
    assert sum(map(len, found)) > 2 * views.CLOSER


def test_of_a_long_film_all_frames_are_described_as_they_come(modality: VideoModality) -> None:
    describer = Describer(describe.loaded(describe.BuiltIn()), most_kept=4, most_put_off=2)
    segments = modality.decode(io.BytesIO(CLIP), MediaLimits())
    assert list(split(segments, describer))
    found = describer.fingerprint(regions=True)
    assert sorted(found.spans[:, 0]) == pytest.approx(np.arange(0, 6, 0.5), abs=0.01)
    assert describer.rest() == []
    assert len(describer.pictures) <= 4
