"""Copies that hashes of the whole do not see: parts, turned, framed, inside others. Found, and located."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from PIL import Image, ImageOps

import copyhound
from copyhound import Answer, Box
from service.app import Running
from tests.e2e.pictures import encoded, photograph

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGISTERED = ("astronaut", "coffee", "rocket", "china", "retina", "motorcycle_left")
BACKDROP = "chelsea"
STRANGERS = ("flower", "hubble_deep_field", "coins", "gravel", "brick", "clock_motion")
WHOLE = (0.0, 0.0, 1.0, 1.0)

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Altered:
    """A copy, and where in it which part of the original is."""

    picture: Image.Image
    query: Corners
    work: Corners
    transform: str
    covered: float


def crop(picture: Image.Image) -> Altered:
    width, height = picture.size
    left, top, right, bottom = part = (0.2, 0.3, 0.8, 0.9)
    box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
    return Altered(picture.crop(box), WHOLE, part, "identity", 1.0)


def mirrored_crop(picture: Image.Image) -> Altered:
    one = crop(picture)
    return Altered(ImageOps.mirror(one.picture), WHOLE, one.work, "flip_horizontal", 1.0)


def negative_crop(picture: Image.Image) -> Altered:
    one = crop(picture)
    return Altered(ImageOps.invert(one.picture), WHOLE, one.work, "invert", 1.0)


def letterbox(picture: Image.Image) -> Altered:
    width, height = picture.size
    bar = height // 3
    canvas = Image.new("RGB", (width, height + 2 * bar))
    canvas.paste(picture, (0, bar))
    share = bar / canvas.height
    return Altered(canvas, (0.0, share, 1.0, 1.0 - share), WHOLE, "identity", 0.6)


def inside(picture: Image.Image) -> Altered:
    canvas = photograph(BACKDROP).resize((900, 600))
    inner = picture.resize((450, 300))
    canvas.paste(inner, (360, 200))
    return Altered(canvas, (0.4, 1 / 3, 0.9, 5 / 6), WHOLE, "identity", 0.25)


def turned(picture: Image.Image) -> Altered:
    turned_picture = picture.rotate(20, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    covered = picture.width * picture.height / (turned_picture.width * turned_picture.height)
    return Altered(turned_picture, WHOLE, WHOLE, "affine", covered)


ALTERATIONS: dict[str, Callable[[Image.Image], Altered]] = {
    "crop": crop,
    "mirrored crop": mirrored_crop,
    "negative crop": negative_crop,
    "letterbox": letterbox,
    "inside another": inside,
    "turned by 20 degrees": turned,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(shared_service: Running) -> AsyncIterator[copyhound.AsyncClient]:
    async with copyhound.AsyncClient(f"127.0.0.1:{shared_service.port}") as client:
        for name in REGISTERED:
            await client.register(encoded(photograph(name)), owner="studio", external_id=name)
        yield client


def overlap(box: Box, corners: Corners) -> float:
    """Intersection over union."""
    left, top, right, bottom = corners
    width = min(box.right, right) - max(box.left, left)
    height = min(box.bottom, bottom) - max(box.top, top)
    common = max(width, 0.0) * max(height, 0.0)
    union = (box.right - box.left) * (box.bottom - box.top) + (right - left) * (bottom - top) - common
    return common / union


async def test_hard_copies_are_found_and_located(client: copyhound.AsyncClient) -> None:
    for alteration, alter in ALTERATIONS.items():
        found = []
        for name in REGISTERED:
            altered = alter(photograph(name))
            answer = await client.match(encoded(altered.picture))
            if not answer.matches:
                continue
            (match,) = answer.matches
            assert match.external_id == name, alteration
            (region,) = match.regions
            assert region.transform == altered.transform
            assert overlap(region.query, altered.query) >= 0.8
            assert overlap(region.work, altered.work) >= 0.8
            assert match.query_coverage == pytest.approx(altered.covered, abs=0.1)
            found.append(name)
        assert len(found) >= len(REGISTERED) - 1, alteration


async def test_strangers_are_left_alone_whatever_is_done_to_them(client: copyhound.AsyncClient) -> None:
    for name in STRANGERS:
        for alter in ALTERATIONS.values():
            answer = await client.match(encoded(alter(photograph(name)).picture))
            assert answer.matches == ()
            assert not answer.partial


async def test_two_works_in_one_picture_are_both_found(client: copyhound.AsyncClient) -> None:
    canvas = Image.new("RGB", (800, 300))
    canvas.paste(photograph("coffee").resize((400, 300)), (0, 0))
    canvas.paste(photograph("rocket").resize((400, 300)), (400, 0))
    answer = await client.match(encoded(canvas))
    assert {match.external_id for match in answer.matches} == {"coffee", "rocket"}


async def test_a_fast_answer_finds_crops_and_says_nothing_was_left_out(
    client: copyhound.AsyncClient,
) -> None:
    answer = await client.match(encoded(crop(photograph("coffee")).picture), fast=True)
    assert [match.external_id for match in answer.matches] == ["coffee"]
    assert not answer.partial


async def test_whole_copies_are_answered_without_the_dear_stages(client: copyhound.AsyncClient) -> None:
    answer = await client.match(encoded(photograph("coffee").resize((400, 300))))
    (match,) = answer.matches
    assert "pdq_distance" in match.signals
    assert "local_inliers" not in match.signals


async def test_comparing_tells_all_signals(client: copyhound.AsyncClient) -> None:
    picture = photograph("coffee")
    found = await client.compare(encoded(crop(picture).picture), encoded(picture))
    assert found.probability > 0.9
    assert {"pdq_distance", "cnn_similarity", "local_inliers", "local_agreement"} <= found.signals.keys()
    assert overlap(found.regions[0].work, crop(picture).work) >= 0.8
    other = await client.compare(encoded(crop(picture).picture), encoded(photograph("rocket")))
    assert other.probability < 0.1


async def test_many_equal_references_raise_no_storm_and_hide_no_other(
    client: copyhound.AsyncClient,
) -> None:
    icon = Image.new("RGB", (64, 64), "white")
    icon.paste("red", (16, 16, 48, 48))
    for number in range(30):
        await client.register(encoded(icon, quality=60 + number), owner="games", external_id=f"icon {number}")
    answers: list[Answer] = [await client.match(encoded(photograph(name))) for name in STRANGERS]
    assert all(answer.matches == () for answer in answers)
    answer = await client.match(encoded(crop(photograph("coffee")).picture))
    assert [match.external_id for match in answer.matches] == ["coffee"]


async def test_noise_is_no_copy_of_noise(client: copyhound.AsyncClient) -> None:
    rng = random.Random(4)
    noise = [Image.frombytes("RGB", (320, 240), rng.randbytes(320 * 240 * 3)) for _ in range(2)]
    await client.register(encoded(noise[0], quality=95), owner="studio", external_id="noise")
    answer = await client.match(encoded(noise[1], quality=95))
    assert answer.matches == ()
