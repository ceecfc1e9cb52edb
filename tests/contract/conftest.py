"""Databases for the contract suites: SQLite files, and databases of the PostgreSQL server."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from service.store import Store
from tests.conftest import postgresql_database
from tests.contract.store_values import SCHEMES


@pytest.fixture(scope="session")
def migrated_database(postgresql_server: str) -> str:
    """Name of a database of the server whose tables are made."""
    name = "migrated"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    Store.open(postgresql_database(postgresql_server, name), SCHEMES).close()
    return name


@pytest.fixture
def postgresql_url(new_postgresql_database: Callable[[str], str], migrated_database: str) -> str:
    """URI of an empty PostgreSQL database."""
    return new_postgresql_database(migrated_database)


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
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store on each backend."""
    store = Store.open(store_url, SCHEMES)
    yield store
    store.close()
