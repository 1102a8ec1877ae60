"""Statements that are compiled once and carried out past SQLAlchemy.

SQLite takes a few microseconds for a statement of ours, SQLAlchemy ten times that for sending it and reading what
comes back. A run carries out some fifty statements, so those that it needs are prepared.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from pydantic_core import from_json, to_json
from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.compiler import SQLCompiler

Row = Mapping[str, Any]
_Convert = Callable[[Any], Any]


def json_text(value: Any) -> str:
    """Return the JSON text that a column keeps."""
    return to_json(value).decode()


_DIALECT = SQLiteDialect_pysqlite(paramstyle="qmark", json_serializer=json_text, json_deserializer=from_json)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that has to be converted on its way, by its position."""

    position: int
    convert: _Convert


class Prepared:
    """One statement of SQLAlchemy Core with named parameters; ``columns`` are those that an ``insert`` fills.

    Parameters that are lists are not supported: give each member a parameter of its own.
    """

    def __init__(self, statement: Any, columns: Iterable[str] | None = None) -> None:
        self._statement = statement
        self._columns = None if columns is None else list(columns)

    def __repr__(self) -> str:
        return f"Prepared({self._text!r})"

    def all(self, connection: Connection, values: Row) -> list[Row]:
        """Carry the statement out and return the rows."""
        return [self._row(row) for row in self._execute(connection, values)]

    def one(self, connection: Connection, values: Row) -> Row | None:
        """Carry the statement out and return the one row, ``None`` where there is none."""
        # Read to the end: a statement that changes something and returns it is not carried out before.
        row = next(iter(self._execute(connection, values).fetchall()), None)
        return None if row is None else self._row(row)

    def value(self, connection: Connection, values: Row) -> Any:
        """Carry the statement out and return the first column of the first row, ``None`` where there is none."""
        row = self.one(connection, values)
        return None if row is None else next(iter(row.values()))

    def count(self, connection: Connection, values: Row) -> int:
        """Carry the statement out and return how many rows it changed."""
        return int(self._execute(connection, values).rowcount)

    def each(self, connection: Connection, values: Iterable[Row]) -> None:
        """Carry the statement out once for each of ``values``."""
        parameters = [self._parameters(each) for each in values]
        try:
            _driver(connection).executemany(self._text, parameters)
        except sqlite3.IntegrityError as error:
            raise IntegrityError(self._text, None, error) from error

    def _execute(self, connection: Connection, values: Row) -> sqlite3.Cursor:
        try:
            return _driver(connection).execute(self._text, self._parameters(values))
        except sqlite3.IntegrityError as error:  # as SQLAlchemy says it, whoever carries a statement out
            raise IntegrityError(self._text, None, error) from error

    def _parameters(self, values: Row) -> list[Any]:
        fixed = self._fixed
        given = [values[name] if name in values else fixed[name] for name in self._names]
        for parameter in self._sent:
            given[parameter.position] = parameter.convert(given[parameter.position])
        return given

    def _row(self, row: Sequence[Any]) -> Row:
        made = dict(zip(self._keys, row, strict=True))
        for key, convert in self._read:
            made[key] = convert(made[key])
        return made

    @cached_property
    def _compiled(self) -> SQLCompiler:
        compiled: SQLCompiler = self._statement.compile(dialect=_DIALECT, column_keys=self._columns)
        return compiled

    @cached_property
    def _text(self) -> str:
        return str(self._compiled)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self._compiled.positiontup or ())

    @cached_property
    def _fixed(self) -> Row:
        """The values that stand in the statement itself."""
        return {name: bind.value for name, bind in self._compiled.binds.items() if not bind.required}

    @cached_property
    def _sent(self) -> tuple[_Column, ...]:
        types = {name: bind.type for name, bind in self._compiled.binds.items()}
        converts = [types[name].dialect_impl(_DIALECT).bind_processor(_DIALECT) if name in types else None
                    for name in self._names]  # fmt: skip
        return tuple(_Column(position, convert) for position, convert in enumerate(converts) if convert)

    @cached_property
    def _keys(self) -> tuple[str, ...]:
        return tuple(column.key for column in self._statement.exported_columns)

    @cached_property
    def _read(self) -> tuple[tuple[str, _Convert], ...]:
        converts = {
            column.key: column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
            for column in self._statement.exported_columns
        }
        return tuple((key, convert) for key, convert in converts.items() if convert)


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.driver_connection)
