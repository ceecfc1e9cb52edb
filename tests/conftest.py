"""What many tests share: how hypothesis searches, real photographs, and a service of their own."""

import os
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import grpc.aio
import hypothesis
import pytest

from service.app import Running, running
from service.settings import Settings

# Without deadlines, since machines differ; deterministic where CI is set.
hypothesis.settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile("house")

_PHOTOGRAPHS = (
    ("skimage.data", ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")),
    ("skimage.data", ("hubble_deep_field.jpg", "retina.jpg", "gravel.png", "camera.png", "coins.png")),
    ("sklearn.datasets.images", ("china.jpg", "flower.jpg")),
)


@pytest.fixture(scope="session")
def photographs() -> dict[str, bytes]:
    """Twelve real photographs that scikit-image and scikit-learn ship, by name without suffix."""
    return {
        name.partition(".")[0]: files(package).joinpath(name).read_bytes()
        for package, names in _PHOTOGRAPHS
        for name in names
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service on a free loopback port, with an empty folder and one worker."""
    return Settings(data=tmp_path / "hound", listen="127.0.0.1:0", allow_anonymous=True, workers=1)


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Running]:
    """A running service."""
    async with running(settings) as service:
        yield service


@pytest.fixture
async def channel(service: Running) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        yield channel
