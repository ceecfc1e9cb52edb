"""Statements that are compiled once and handed to the driver as they are.

SQLAlchemy takes several times as long to execute a short statement as the database does. What it does before
and after, the types' conversions, is worked out here once for each kind of database.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

_Convert: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as one driver takes it.

    Attributes:
        text: In SQL.
        constants: Values of parameters that are part of the statement.
        binding: By parameter: what converts its value.
        order: Names of the parameters by place; None: the driver takes them by name.
        types: Of the columns.
    """

    text: str
    constants: Mapping[str, Any]
    binding: Mapping[str, _Convert]
    order: Sequence[str] | None
    types: Sequence[TypeEngine[Any]]

    @classmethod
    def of(cls, statement: Select[Any], dialect: Dialect) -> "_Compiled":
        given = {one.key for one in _sql(statement, dialect).bind_names if one.required}
        # What is rendered into the text by its value is rendered now: for that, all others need one too.
        compiled = _sql(statement.params(dict.fromkeys(given)), dialect, render_postcompile=True)
        binding = {
            name: convert
            for one, name in compiled.bind_names.items()
            if (convert := one.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }
        types = [one.type.dialect_impl(dialect) for one in statement.selected_columns]
        constants = {name: one.value for one, name in compiled.bind_names.items() if name not in given}
        order = compiled.positiontup if compiled.positional else None
        return cls(str(compiled), constants, binding, order, types)

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """The parameters as the driver takes them."""
        given = {**self.constants, **values}
        for name, convert in self.binding.items():
            given[name] = convert(given[name])
        return given if self.order is None else tuple([given[name] for name in self.order])

    def results(self, dialect: Dialect, description: Sequence[Sequence[Any]]) -> list[tuple[int, _Convert]]:
        """By number of the column: what converts its values, where anything does.

        Args:
            dialect: It was compiled for.
            description: Of the columns, by the driver.
        """
        converts = [
            one.result_processor(dialect, column[1])
            for one, column in zip(self.types, description, strict=True)
        ]
        return [(place, convert) for place, convert in enumerate(converts) if convert is not None]


def _sql(statement: Select[Any], dialect: Dialect, **options: bool) -> SQLCompiler:
    compiled = statement.compile(dialect=dialect, compile_kwargs=options)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError(f"{type(compiled).__name__} is not what queries are compiled by")
    return compiled


class Prepared:
    """A query that is asked often. For many threads at a time."""

    def __init__(self, statement: Select[Any]) -> None:
        """Take a query without expanding parameters; it is compiled when it is first asked."""
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}
        self._results: dict[str, list[tuple[int, _Convert]]] = {}

    def text(self, dialect: Dialect) -> str:
        """It in SQL, with parameters as the dialect's driver takes them."""
        return _Compiled.of(self._statement, dialect).text

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        """Ask it in the connection's transaction; yield plain rows, in the order of the query's columns.

        Args:
            connection: Where to read.
            values: Of its parameters, by name; others than its own are ignored.
        """
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled.of(self._statement, dialect)
        if not connection.in_transaction():
            connection.begin()
        parameters = compiled.parameters(values)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(compiled.text, parameters)
            results = self._results.get(dialect.name)
            if results is None:
                results = self._results[dialect.name] = compiled.results(dialect, cursor.description)
            found = cursor.fetchall()
        except dialect.loaded_dbapi.Error:  # SQLAlchemy meets it again, and says what it means
            return iter(connection.execute(self._statement, dict(values)).all())
        finally:
            cursor.close()
        return (_converted(row, results) for row in found) if results else iter(found)


def _converted(row: Sequence[Any], results: Sequence[tuple[int, _Convert]]) -> list[Any]:
    values = list(row)
    for place, convert in results:
        values[place] = convert(values[place])
    return values
