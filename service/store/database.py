"""Connections: a writer and readers, set up for SQLite or PostgreSQL, and what their errors mean."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIModule
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from service.errors import BusyError, ServiceError, StartupError, StorageFullError

_POSTGRES_DISK_FULL = "53100"
_SQLITE_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE,  # no room for the -shm file
    sqlite3.SQLITE_IOERR_WRITE,  # a quota or a limit on file sizes, which are no "full" to SQLite
    sqlite3.SQLITE_IOERR_FSYNC,  # no room after all, where the file system finds out late
}
_POSTGRES_UNAVAILABLE = {"08", "53", "55", "57"}  # no connection, no resources, locked, shutting down
_BUSY_TIMEOUT_MS = 30_000
_WAL_LIMIT_BYTES = 64 * 1024 * 1024
_WRITER_CACHE_KIB = 32 * 1024
_READER_CACHE_KIB = 8 * 1024
_READERS: Final = 8
"""Connections for reading that are kept open."""


DISK_WAS_FULL = "disk_was_full"
"""Key in a connection's `info` after a full disk: SQLite may have rolled back its transaction."""


@dataclass(frozen=True, slots=True)
class Database:
    """The two ways into a database.

    Attributes:
        url: Where it is.
        writer: One connection. On SQLite its transactions hold the write lock from their start.
        reader: Several connections. Each transaction sees one committed state and never waits for the
            writer.
    """

    url: URL
    writer: Engine
    reader: Engine
    _kept: list[Connection] = field(default_factory=list)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A reader, whose transaction ends with the context.

        SQLite's are handed on as they are: the way through SQLAlchemy's pool takes longer than most reads.
        PostgreSQL's are not, since the pool replaces those that are lost.
        """
        try:
            connection = self._kept.pop()
        except IndexError:
            connection = self.reader.connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if self.reader.dialect.name == "sqlite" and len(self._kept) < _READERS:
            connection.rollback()
            self._kept.append(connection)
        else:
            connection.close()

    def dispose(self) -> None:
        """Close all connections."""
        while self._kept:
            self._kept.pop().close()
        self.reader.dispose()
        self.writer.dispose()


def connect(url: str) -> Database:
    """Prepare connections to a database; none is opened yet.

    Raises:
        StartupError: If the URL names no database that Copyhound can use.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            return _postgresql(parsed.set(drivername="postgresql+psycopg"))
    except ModuleNotFoundError as error:
        raise StartupError("PostgreSQL needs psycopg: pip install 'copyhound[postgres]'") from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise StartupError("The database URL cannot be read; see the guide on settings") from error
    raise StartupError(f"{parsed.get_backend_name()} is no database for Copyhound: SQLite or PostgreSQL are")


def _engine(url: URL, **options: Any) -> Engine:
    """An engine whose errors, which are logged, hold none of the values that were written."""
    return create_engine(url, hide_parameters=True, **options)


def _sqlite(url: URL) -> Database:
    if not url.database or url.database == ":memory:" or "uri" in url.query:
        raise StartupError("SQLite needs the path of a file: sqlite:////folder/copyhound.db")
    connect_args = {"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000}
    writer = _engine(url, pool_size=1, max_overflow=0, connect_args=connect_args)
    reader = _engine(url, pool_size=_READERS, max_overflow=24, connect_args=connect_args)

    @event.listens_for(writer, "connect")
    def set_up_writer(connection: sqlite3.Connection, _record: object) -> None:
        _set_up_sqlite(connection, _WRITER_CACHE_KIB)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted leaves the file
        connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")

    @event.listens_for(writer, "begin")
    def begin_write(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(reader, "connect")
    def set_up_reader(connection: sqlite3.Connection, _record: object) -> None:
        _set_up_sqlite(connection, _READER_CACHE_KIB)
        connection.execute("PRAGMA query_only=ON")

    @event.listens_for(reader, "begin")
    def begin_read(connection: Connection) -> None:
        connection.connection.cursor().execute("BEGIN")  # waits for nothing: SQLAlchemy's way takes longer

    return _translating(Database(url, writer, reader))


def _set_up_sqlite(connection: sqlite3.Connection, cache_kib: int) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not where the driver guesses
    connection.execute(f"PRAGMA cache_size=-{cache_kib}")
    connection.execute("PRAGMA temp_store=MEMORY")


def _postgresql(url: URL) -> Database:
    writer = _engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, isolation_level="READ COMMITTED")
    reader = _engine(
        url, pool_size=_READERS, max_overflow=24, pool_pre_ping=True, isolation_level="REPEATABLE READ"
    )

    @event.listens_for(writer, "connect")
    def set_up_writer(connection: Any, _record: object) -> None:
        connection.execute(f"SET lock_timeout = {_BUSY_TIMEOUT_MS}")
        connection.commit()

    return _translating(Database(url, writer, reader))


def _translating(database: Database) -> Database:
    for engine in (database.writer, database.reader):
        event.listen(engine, "handle_error", _translate, retval=True)
    return database


def _translate(context: ExceptionContext) -> ServiceError | None:
    if context.is_pre_ping:  # the pool replaces the connection by itself
        return None
    meaning = _meaning(
        context.original_exception, operational=isinstance(context.sqlalchemy_exception, OperationalError)
    )
    if isinstance(meaning, StorageFullError) and context.connection is not None:
        context.connection.info[DISK_WAS_FULL] = True
    return meaning


def translated(connection: Connection, cursor: Any, error: DBAPIModule.Error) -> Exception:
    """What a driver's error means for a caller, where SQLAlchemy did not meet it; itself: a mistake of ours.

    Args:
        connection: Learns that the disk was full, or that it is lost.
        cursor: Of the driver's, that met it.
        error: The driver's.
    """
    dialect = connection.dialect
    meaning = _meaning(error, operational=isinstance(error, dialect.loaded_dbapi.OperationalError))
    if isinstance(meaning, StorageFullError):
        connection.info[DISK_WAS_FULL] = True
    if dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor):
        connection.invalidate(error)
    return meaning or error


def _meaning(error: BaseException | None, *, operational: bool) -> ServiceError | None:
    """What a driver's error means for a caller; None: a mistake of ours."""
    sqlite_code: int | None = getattr(error, "sqlite_errorcode", None)
    sqlstate: str | None = getattr(error, "sqlstate", None)
    if sqlite_code in _SQLITE_FULL or sqlstate == _POSTGRES_DISK_FULL:
        return StorageFullError(
            "The database's disk is full, or a quota is: nothing was changed. Free space, then try again"
        )
    if sqlite_code is not None:
        busy = sqlite_code & 0xFF == sqlite3.SQLITE_BUSY
        return BusyError("Another process is writing to the database; try again") if busy else None
    if operational and (sqlstate is None or sqlstate[:2] in _POSTGRES_UNAVAILABLE):
        return BusyError("The database does not answer; see whether PostgreSQL runs, then try again")
    return None
