"""A server with a network of the user's own."""

from pathlib import Path

import pytest

import copyhound
from service.app import running
from service.errors import StartupError
from service.settings import Settings
from tests import networks
from tests.e2e.pictures import encoded, photograph
from tests.e2e.serving import connected, state_of

REGISTERED = (
    "astronaut",
    "coffee",
    "rocket",
    "china",
    "retina",
    "chelsea",
    "flower",
    "coins",
    "gravel",
    "brick",
)
PDQ_RADIUS = 64
PHASH_RADIUS = 8


async def test_a_users_network_finds_what_hashes_do_not(tmp_path: Path) -> None:
    settings = {"image_network": networks.write(tmp_path)}
    async with connected(tmp_path / "hound", **settings) as (server, channel):
        state = await state_of(channel)
        schemes = {scheme.scheme: scheme.dim for scheme in state.schemes}
        assert schemes["image.tiny.v2"] == networks.DIM
        assert "image.cnn.v1" not in schemes
        async with copyhound.AsyncClient(f"127.0.0.1:{server.port}") as client:
            for name in REGISTERED:
                await client.register(encoded(photograph(name)), owner="studio", external_id=name)
            coffee = photograph("coffee")
            width, height = coffee.size
            crop = coffee.crop((width // 5, height // 4, width * 9 // 10, height))
            answer = await client.match(encoded(crop))
            (match,) = answer.matches
            assert match.external_id == "coffee"
            assert match.signals["pdq_distance"] > PDQ_RADIUS
            assert match.signals["phash_distance"] > PHASH_RADIUS
            assert match.signals["network_similarity"] > 0.9
            assert match.signals["local_inliers"] > 20
            stranger = await client.match(encoded(photograph("motorcycle_left")))
            assert stranger.matches == ()


async def test_a_network_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    path = networks.write(tmp_path)
    path.with_name("tiny.onnx").write_bytes(b"changed")
    settings = Settings(data=tmp_path / "hound", image_network=path)
    with pytest.raises(StartupError, match=r"^image_network: .*tiny\.onnx has SHA-256"):
        async with running(settings):
            pass
