"""Databases for the contract suites: SQLite files, and databases of the PostgreSQL server."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from service.store import Store
from tests.contract.store_values import SCHEMES


@pytest.fixture(scope="session")
def migrated_server(postgresql_server: str) -> str:
    """The server with a database ``migrated``, whose tables are made; gives the URI of its first database."""
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    Store.open(_database(postgresql_server, "migrated"), SCHEMES).close()
    return postgresql_server


def _database(uri: str, name: str) -> str:
    return uri.replace("/postgres?", f"/{name}?")


@pytest.fixture
def new_postgresql_url(migrated_server: str) -> Callable[[str], str]:
    """Makes a database, a copy of the one named: ``migrated`` or ``template0``."""

    def new(template: str) -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(migrated_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return _database(migrated_server, name)

    return new


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file whose tables are made."""
    path = tmp_path_factory.mktemp("migrated") / "copyhound.db"
    Store.open(f"sqlite:///{path}", SCHEMES).close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database on each backend."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path)
        return f"sqlite:///{tmp_path / 'copyhound.db'}"
    url: str = request.getfixturevalue("new_postgresql_url")("migrated")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store on each backend."""
    store = Store.open(store_url, SCHEMES)
    yield store
    store.close()
