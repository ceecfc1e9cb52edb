"""Statements that are compiled once and handed to the driver as they are.

SQLAlchemy takes several times as long to execute a short statement as the database does. What it does before
and after, the types' conversions, is worked out here once for each kind of database.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect, Insert, Select, Update
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from service.store.database import translated

_Convert: TypeAlias = Callable[[Any], Any]
_Statement: TypeAlias = Select[Any] | Insert | Update


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as one driver takes it.

    Attributes:
        text: In SQL.
        constants: Values of parameters that are part of the statement.
        binding: By parameter: what converts its value.
        order: Names of the parameters by place; None: the driver takes them by name.
    """

    text: str
    constants: Mapping[str, Any]
    binding: Mapping[str, _Convert]
    order: Sequence[str] | None

    @classmethod
    def of(cls, statement: _Statement, dialect: Dialect, columns: Collection[str] | None) -> "_Compiled":
        given = {one.key for one in _sql(statement, dialect, columns).bind_names if one.required}
        # What is rendered into the text by its value is rendered now: for that, all others need one too.
        if isinstance(statement, Select):
            statement = statement.params(dict.fromkeys(given))
            compiled = _sql(statement, dialect, columns, render_postcompile=True)
        else:
            compiled = _sql(statement, dialect, columns)
        binding = {
            name: convert
            for one, name in compiled.bind_names.items()
            if (convert := one.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }
        constants = {name: one.value for one, name in compiled.bind_names.items() if name not in given}
        order = compiled.positiontup if compiled.positional else None
        return cls(str(compiled), constants, binding, order)

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """The parameters as the driver takes them."""
        given = {**self.constants, **values}
        for name, convert in self.binding.items():
            given[name] = convert(given[name])
        return given if self.order is None else tuple([given[name] for name in self.order])


def _sql(
    statement: _Statement, dialect: Dialect, columns: Collection[str] | None, **options: bool
) -> SQLCompiler:
    names = None if columns is None else list(columns)
    compiled = statement.compile(dialect=dialect, column_keys=names, compile_kwargs=options)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError(f"{type(compiled).__name__} is not what statements are compiled by")
    return compiled


class Query:
    """A query that is asked often. For many threads at a time."""

    def __init__(self, statement: Select[Any]) -> None:
        """Take a query without expanding parameters; it is compiled when it is first asked."""
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}
        self._results: dict[str, list[tuple[int, _Convert]]] = {}

    def text(self, dialect: Dialect) -> str:
        """It in SQL, with parameters as the dialect's driver takes them."""
        return self._for(dialect).text

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        """Ask it in the connection's transaction; yield plain rows, in the order of the query's columns.

        Args:
            connection: Where to read.
            values: Of its parameters, by name; others than its own are ignored.

        Raises:
            StorageFullError, BusyError: As all statements.
        """
        dialect = connection.dialect
        compiled = self._for(dialect)
        parameters = compiled.parameters(values)
        with _Cursor(connection) as cursor:
            cursor.execute(compiled.text, parameters)
            results = self._results.get(dialect.name)
            if results is None:
                results = self._results[dialect.name] = self._converting(dialect, cursor.description)
            found = cursor.fetchall()
        return (_converted(row, results) for row in found) if results else iter(found)

    def _for(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled.of(self._statement, dialect, None)
        return compiled

    def _converting(
        self, dialect: Dialect, description: Sequence[Sequence[Any]]
    ) -> list[tuple[int, _Convert]]:
        """By number of the column: what converts its values, where anything does."""
        types: list[TypeEngine[Any]] = [one.type for one in self._statement.selected_columns]
        converts = [
            one.dialect_impl(dialect).result_processor(dialect, column[1])
            for one, column in zip(types, description, strict=True)
        ]
        return [(place, convert) for place, convert in enumerate(converts) if convert is not None]


class Change:
    """A statement that is often run, and gives no rows. For many threads at a time."""

    def __init__(self, statement: Insert | Update) -> None:
        """Take a statement; it is compiled when it is first run."""
        self._statement = statement
        self._compiled: dict[tuple[str, tuple[str, ...]], _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it in the connection's transaction, for each of some rows (at least one).

        Args:
            connection: Where to write.
            rows: Of parameters by name; all have the same names.

        Raises:
            StorageFullError, BusyError: As all statements.
        """
        dialect, columns = connection.dialect, tuple(rows[0])
        compiled = self._compiled.get((dialect.name, columns))
        if compiled is None:
            compiled = _Compiled.of(self._statement, dialect, columns)
            self._compiled[dialect.name, columns] = compiled
        with _Cursor(connection) as cursor:
            if len(rows) == 1:
                cursor.execute(compiled.text, compiled.parameters(rows[0]))
            else:
                cursor.executemany(compiled.text, [compiled.parameters(row) for row in rows])


def run(connection: Connection, statement: str) -> None:
    """Run SQL that every database knows, without parameters, in the connection's transaction.

    Raises:
        StorageFullError, BusyError: As all statements.
    """
    with _Cursor(connection) as cursor:
        cursor.execute(statement)


class _Cursor:
    """A cursor of the driver's, in the connection's transaction; its errors are told as all others.

    A class, since a generator as context manager takes as long as a short statement.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor: Any = None

    def __enter__(self) -> Any:
        if not self._connection.in_transaction():
            self._connection.begin()
        self._cursor = self._connection.connection.cursor()
        return self._cursor

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if isinstance(error, self._connection.dialect.loaded_dbapi.Error):
                raise translated(self._connection, self._cursor, error) from error
        finally:
            self._cursor.close()


def _converted(row: Sequence[Any], results: Sequence[tuple[int, _Convert]]) -> list[Any]:
    values = list(row)
    for place, convert in results:
        values[place] = convert(values[place])
    return values
