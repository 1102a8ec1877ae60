"""Statements that are compiled once and carried out past SQLAlchemy.

SQLite takes a few microseconds for a statement of ours, SQLAlchemy ten times that for sending it and reading what
comes back. A run carries out some fifty statements, so those that it needs are prepared. PostgreSQL takes longer, and
it is worth as much there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import JSON, Connection, Dialect
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Row = Mapping[str, Any]
_Convert = Callable[[Any], Any]


def json_text(value: Any) -> str:
    """Return the JSON text that a column keeps."""
    return to_json(value).decode()


@cache
def _dialect(name: str) -> Dialect:
    """Return the dialect of a driver, for statements whose parameters go by their place."""
    if name == "sqlite":
        return SQLiteDialect_pysqlite(paramstyle="qmark", json_serializer=json_text, json_deserializer=from_json)
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg  # takes long to load, and not all need it

    return PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]  # SQLAlchemy's own


class Prepared:
    """One statement of SQLAlchemy Core with named parameters; ``columns`` are those that an ``insert`` fills.

    Parameters that are lists are not supported: give each member a parameter of its own.
    """

    def __init__(self, statement: Any, columns: Iterable[str] | None = None) -> None:
        self._statement = statement
        self._columns = None if columns is None else list(columns)
        self._compiled: dict[str, _Compiled] = {}

    def __repr__(self) -> str:
        return f"Prepared({str(self._statement)!r})"

    def all(self, connection: Connection, values: Row) -> list[Row]:
        """Carry the statement out and return the rows."""
        return self._for(connection).rows(connection, values)

    def one(self, connection: Connection, values: Row) -> Row | None:
        """Carry the statement out and return the one row, ``None`` where there is none."""
        # Read to the end: a statement that changes something and returns it is not carried out before.
        found = self._for(connection).rows(connection, values)
        return found[0] if found else None

    def value(self, connection: Connection, values: Row) -> Any:
        """Carry the statement out and return the first column of the first row, ``None`` where there is none."""
        row = self.one(connection, values)
        return None if row is None else next(iter(row.values()))

    def count(self, connection: Connection, values: Row) -> int:
        """Carry the statement out and return how many rows it changed."""
        return int(self._for(connection).execute(connection, values).rowcount)

    def each(self, connection: Connection, values: Iterable[Row]) -> None:
        """Carry the statement out once for each of ``values``."""
        self._for(connection).execute_each(connection, values)

    def _for(self, connection: Connection) -> "_Compiled":
        name = connection.dialect.name
        compiled = self._compiled.get(name)
        if compiled is None:
            compiled = self._compiled[name] = _Compiled(self._statement, self._columns, _dialect(name))
        return compiled


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter that has to be converted on its way, by its position."""

    position: int
    convert: _Convert


class _Compiled:
    """A statement in the words of one database."""

    def __init__(self, statement: Any, columns: list[str] | None, dialect: Dialect) -> None:
        self._statement = statement
        self._dialect = dialect
        self._compiled: SQLCompiler = statement.compile(dialect=dialect, column_keys=columns)
        self._text = str(self._compiled)
        self._read: tuple[tuple[int, _Convert], ...] | None = None

    def execute(self, connection: Connection, values: Row) -> Any:
        """Carry the statement out and return the driver's cursor."""
        try:
            return _driver(connection).execute(self._text, self._parameters(values))
        except _violated(connection) as error:  # as SQLAlchemy says it, whoever carries a statement out
            raise IntegrityError(self._text, None, error) from error

    def execute_each(self, connection: Connection, values: Iterable[Row]) -> None:
        """Carry the statement out once for each of ``values``."""
        parameters = [self._parameters(each) for each in values]
        cursor = _driver(connection).cursor()
        try:
            cursor.executemany(self._text, parameters)
        except _violated(connection) as error:  # as SQLAlchemy says it, whoever carries a statement out
            raise IntegrityError(self._text, None, error) from error

    def rows(self, connection: Connection, values: Row) -> list[Row]:
        """Carry the statement out and return the rows."""
        cursor = self.execute(connection, values)
        found = cursor.fetchall()
        if not found:
            return []
        conversions = self._read
        if conversions is None:
            conversions = self._conversions(cursor)
        return [self._row(row, conversions) for row in found]

    def _row(self, row: Iterable[Any], conversions: Iterable[tuple[int, _Convert]]) -> Row:
        values = list(row)
        for position, convert in conversions:
            if (value := values[position]) is not None:
                values[position] = convert(value)
        return dict(zip(self._keys, values, strict=True))

    def _conversions(self, cursor: Any) -> tuple[tuple[int, _Convert], ...]:
        """Return the columns that have to be converted on their way, by position."""
        types = zip(self._statement.exported_columns, cursor.description, strict=True)
        converts = [_convert(column.type, self._dialect, described[1]) for column, described in types]
        self._read = tuple((position, convert) for position, convert in enumerate(converts) if convert)
        return self._read

    def _parameters(self, values: Row) -> list[Any]:
        fixed = self._fixed
        given = [values[name] if name in values else fixed[name] for name in self._names]
        for parameter in self._sent:
            given[parameter.position] = parameter.convert(given[parameter.position])
        return given

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self._compiled.positiontup or ())

    @cached_property
    def _fixed(self) -> Row:
        """The values that stand in the statement itself."""
        return {name: bind.value for name, bind in self._compiled.binds.items() if not bind.required}

    @cached_property
    def _sent(self) -> tuple[_Parameter, ...]:
        types = {name: bind.type for name, bind in self._compiled.binds.items()}
        converts = [
            types[name].dialect_impl(self._dialect).bind_processor(self._dialect) if name in types else None
            for name in self._names
        ]
        return tuple(_Parameter(position, convert) for position, convert in enumerate(converts) if convert)

    @cached_property
    def _keys(self) -> tuple[str, ...]:
        return tuple(column.key for column in self._statement.exported_columns)


def _convert(kind: TypeEngine[Any], dialect: Dialect, driver_type: Any) -> _Convert | None:
    convert = kind.dialect_impl(dialect).result_processor(dialect, driver_type)
    # SQLAlchemy's own for JSON are three functions around this one.
    return from_json if convert and isinstance(kind, JSON) else convert


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _violated(connection: Connection) -> type[Exception]:
    """Return what the driver raises where a constraint was violated."""
    error: type[Exception] = connection.dialect.loaded_dbapi.IntegrityError
    return error
