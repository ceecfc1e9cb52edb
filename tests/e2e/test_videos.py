"""Films through the running service: clips are found and located, by their pictures and by their sound."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

import copyhound
from copyhound.where import describe_place
from tests import films, sounds
from tests.e2e.serving import ServerProcess, serving

SONG = sounds.tune(11, 40)
SOUND = sounds.tune(12, 30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("films") / "hound") as server:
        with copyhound.Client(f"127.0.0.1:{server.port}") as client:
            first = films.encoded(films.frames("first", 0, 30), SOUND)
            client.register(first, owner="studio", external_id="first")
            client.register(
                films.encoded(films.frames("second", 0, 18)), owner="studio", external_id="second"
            )
            client.register(sounds.encoded(SONG), owner="label", external_id="song")
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[copyhound.Client]:
    with copyhound.Client(f"127.0.0.1:{server.port}") as client:
        yield client


def found(answer: copyhound.Answer, external_id: str) -> copyhound.Match:
    return next(match for match in answer.matches if match.external_id == external_id)


def test_a_clip_is_found_and_located_by_pictures_and_sound(client: copyhound.Client) -> None:
    clip = films.encoded(films.frames("first", 8, 20), sounds.cut(SOUND, 8, 20), container="mp4")
    answer = client.match(clip)
    match = found(answer, "first")
    (segment,) = match.segments
    assert answer.modality == "video"
    assert answer.action is copyhound.Action.BLOCK
    assert match.probability > 0.99
    assert segment.query_start == pytest.approx(0, abs=0.8)
    assert segment.work_start - segment.query_start == pytest.approx(8, abs=0.5)
    assert match.query_coverage > 0.9


def test_an_identical_file_is_a_copy_from_beginning_to_end_though_nothing_moves_in_it(
    client: copyhound.Client,
) -> None:
    still = films.encoded(films.frames("first", 3, 3.1) * 40)
    client.register(still, owner="gallery", external_id="still")
    match = found(client.match(still), "still")
    (segment,) = match.segments
    assert match.probability == 1.0
    assert segment.query_start == segment.work_start == 0
    assert segment.query_end == segment.work_end == pytest.approx(40 / films.FPS, abs=0.3)


def test_a_mirrored_clip_at_another_speed_is_found(client: copyhound.Client) -> None:
    pictures = films.changed(films.frames("second", 2, 17, 1.25), lambda one: one[:, ::-1])
    match = found(client.match(films.encoded(pictures)), "second")
    assert match.segments[0].speed == pytest.approx(1.25, abs=0.05)
    assert describe_place(match).endswith("x speed")


def test_a_picture_in_picture_is_found_with_its_region(client: copyhound.Client) -> None:
    pictures = [
        films.inside(one, other)
        for one, other in zip(films.frames("first", 3, 13), films.frames("other", 0, 10), strict=True)
    ]
    match = found(client.match(films.encoded(pictures)), "first")
    region = match.segments[0].region
    assert region is not None
    assert (region.left, region.top) == pytest.approx((250 / 512, 20 / 288), abs=0.08)
    assert (region.right, region.bottom) == pytest.approx((480 / 512, 150 / 288), abs=0.08)


def test_a_vertical_short_between_blurred_bars_is_found(client: copyhound.Client) -> None:
    def upright(one: np.ndarray) -> np.ndarray:
        canvas = cv2.GaussianBlur(cv2.resize(one, (180, 320)), (0, 0), 9)
        canvas[110:211] = cv2.resize(one, (180, 101))
        return canvas

    match = found(
        client.match(films.encoded(films.changed(films.frames("second", 4, 14), upright))), "second"
    )
    assert match.segments[0].work_start == pytest.approx(4, abs=1)


def test_an_unrelated_film_is_allowed(client: copyhound.Client) -> None:
    answer = client.match(films.encoded(films.frames("other", 0, 15), sounds.tune(77, 15)))
    assert answer.action is copyhound.Action.ALLOW
    assert answer.matches == ()


def test_the_sound_of_a_film_alone_asks_for_review(client: copyhound.Client) -> None:
    answer = client.match(sounds.encoded(sounds.cut(SOUND, 5, 25)))
    match = found(answer, "first")
    assert match.action is copyhound.Action.REVIEW
    assert answer.action is copyhound.Action.REVIEW
    assert [reason.code for reason in answer.reasons] == ["ACCOMPANIMENT"]
    assert {segment.content for segment in match.segments} == {"sound"}


def test_a_song_in_another_film_is_found_as_the_song(client: copyhound.Client) -> None:
    clip = films.encoded(films.frames("other", 0, 12), sounds.cut(SONG, 10, 22))
    answer = client.match(clip)
    (match,) = answer.matches
    assert match.external_id == "song"
    assert match.segments[0].work_start - match.segments[0].query_start == pytest.approx(10, abs=0.3)
    assert answer.action is copyhound.Action.BLOCK


def test_a_clip_with_another_sound_is_told_as_such(client: copyhound.Client) -> None:
    clip = films.encoded(films.frames("first", 6, 18), sounds.tune(5, 12))
    comparison = client.compare(clip, films.encoded(films.frames("first", 0, 30), SOUND))
    assert comparison.probability > 0.9
    assert {segment.content for segment in comparison.segments} == {"picture"}
    assert any("sound is another one" in sentence for sentence in comparison.explanation)
